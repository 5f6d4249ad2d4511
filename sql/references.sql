{# Rows that name something another table does not have. Where that table is empty nothing can be told of any row, which is
   a warning: half of the shop is not loaded. #}
{% from 'checks.sql' import since, summed_up %}
{% macro unknown(subject, table, key, column, other, other_key, windowed=False) -%}
WITH others AS (
    SELECT DISTINCT {{ other_key }} AS OTHER_KEY
    FROM {{ other }}
),

looked_at AS (
    SELECT
        t.{{ key }} AS K,
        t.{{ column }} AS NAMED,
        t.{{ column }} IS NOT NULL AND o.OTHER_KEY IS NULL AS IS_WRONG
    FROM {{ table }} AS t
    LEFT JOIN others AS o ON t.{{ column }} = o.OTHER_KEY
{% if windowed %}
    WHERE t.UPDATED_AT >= {{ since() }}
{% endif %}
),

known AS (
    SELECT COUNT(*) AS KNOWN
    FROM others
),

{{ summed_up("K::VARCHAR || ' names ' || NAMED::VARCHAR") }}

SELECT
    '{{ subject }}' AS SUBJECT,
    c.CHECKED,
    k.KNOWN,
    CASE WHEN k.KNOWN = 0 THEN 'WARN' ELSE 'ERROR' END AS SEVERITY,
    c.OFFENDING,
    CASE
        WHEN k.KNOWN = 0 AND c.OFFENDING > 0 THEN '{{ other }} is empty: load it'
        ELSE n.OFFENDING_KEYS
    END AS OFFENDING_KEYS
FROM counted AS c
CROSS JOIN known AS k
CROSS JOIN named AS n;
{%- endmacro %}
