{# Rows of PRODUCTION that are not, column by column, what the record they come from says: that of their Kafka position, as
   staging typed it. #}
{% from 'checks.sql' import since, wrong_rows %}
{% macro not_as_staged(subject, table, staging, key, columns, windowed) -%}
{% call wrong_rows(subject) %}
SELECT
    p.{{ key }} AS K,
    s.EVENT_ID IS NULL
{% for column in columns %}
    OR NOT EQUAL_NULL(p.{{ column }}, s.{{ column }})
{% endfor %} AS IS_WRONG
FROM {{ table }} AS p
LEFT JOIN {{ staging }} AS s
    ON p.{{ key }} = s.{{ key }}
    AND p.KAFKA_TOPIC = s.KAFKA_TOPIC
    AND p.KAFKA_PARTITION = s.KAFKA_PARTITION
    AND p.KAFKA_OFFSET = s.KAFKA_OFFSET
    AND EQUAL_NULL(p.KAFKA_TIMESTAMP, s.KAFKA_TIMESTAMP)
{% if windowed %}
WHERE p.UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
{%- endmacro %}
