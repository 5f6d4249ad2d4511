{# The rows of one of the dashboard's panels. All have the same columns, so that all panels are one statement; the first
   of them gives the columns their names and types. #}
{% macro first(panel, name, items, quantity) %}
SELECT
    '{{ panel }}'::VARCHAR AS PANEL,
    NULL::INTEGER AS POSITION,
    NULL::VARCHAR AS ID,
    NULL::TIMESTAMP_NTZ AS MOMENT,
    {{ name }}::VARCHAR AS NAME,
    NULL::VARCHAR AS DETAIL,
    NULL::VARCHAR AS CUSTOMER,
    NULL::VARCHAR AS SOURCE,
    {{ items }}::INTEGER AS ITEMS,
    {{ quantity }}::INTEGER AS QUANTITY,
    NULL::DECIMAL(38, 2) AS REVENUE
{%- endmacro %}

{% macro next(panel, position='NULL', id='NULL', moment='NULL', name='NULL', detail='NULL', customer='NULL', source='NULL', items='NULL', quantity='NULL', revenue='NULL') %}
UNION ALL
SELECT
    {{ panel }},
    {{ position }},
    {{ id }},
    {{ moment }},
    {{ name }},
    {{ detail }},
    {{ customer }},
    {{ source }},
    {{ items }},
    {{ quantity }},
    {{ revenue }}
{%- endmacro %}
