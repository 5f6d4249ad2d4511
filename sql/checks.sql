{# What the checks share. A statement gives a row a subject: SUBJECT, CHECKED (rows looked at), SEVERITY, OFFENDING (how
   many of them) and OFFENDING_KEYS (the first of those); more columns are figures for people. #}

{# The moment from which a windowed check looks at what a table holds. #}
{% macro since() -%}
%(since)s::TIMESTAMP_LTZ
{%- endmacro %}

{# Common table expressions after `looked_at`, which has a row's key K and whether IS_WRONG: `named`, the first keys as
   `label` has them, and `counted`. #}
{% macro summed_up(label='K::VARCHAR') -%}
numbered AS (
    SELECT *, ROW_NUMBER() OVER (ORDER BY K ASC) AS N
    FROM looked_at
    WHERE IS_WRONG
),

named AS (
    SELECT LISTAGG({{ label }}, ', ') WITHIN GROUP (ORDER BY N ASC) AS OFFENDING_KEYS
    FROM numbered
    WHERE N <= 20
),

counted AS (
    SELECT
        COUNT(*) AS CHECKED,
        COALESCE(COUNT_IF(IS_WRONG), 0) AS OFFENDING
    FROM looked_at
)
{%- endmacro %}

{# A check of single rows: the body selects each row's key K and whether IS_WRONG; `before` are the common table
   expressions that it uses, if any. #}
{% macro wrong_rows(subject, severity='ERROR', before='') -%}
WITH {{ before | trim ~ '\n\n' if before else '' }}looked_at AS (
    {{ caller() | trim | indent(4) }}
),

{{ summed_up() }}

SELECT
    '{{ subject }}' AS SUBJECT,
    c.CHECKED,
    '{{ severity }}' AS SEVERITY,
    c.OFFENDING,
    n.OFFENDING_KEYS
FROM counted AS c
CROSS JOIN named AS n;
{%- endmacro %}

{# Whether any of the columns is NULL. #}
{% macro any_null(columns) -%}
{{ columns | join(' IS NULL\n        OR ') }} IS NULL
{%- endmacro %}
