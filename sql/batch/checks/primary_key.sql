-- No key of {{ table.full_name }} is missing or there twice.
SELECT
    '{{ table.name | lower }}' AS SUBJECT,
    COALESCE(SUM(VERSIONS), 0) AS CHECKED,
    'ERROR' AS SEVERITY,
    COALESCE(COUNT_IF(IS_WRONG), 0) AS OFFENDING,
    LISTAGG(CASE WHEN IS_WRONG AND N <= 20 THEN COALESCE(K::VARCHAR, 'NULL') END, ', ')
        WITHIN GROUP (ORDER BY N ASC) AS OFFENDING_KEYS
FROM (
    SELECT
        {{ key }} AS K,
        COUNT(*) AS VERSIONS,
        {{ key }} IS NULL OR COUNT(*) > 1 AS IS_WRONG,
        ROW_NUMBER() OVER (ORDER BY {{ key }} IS NULL OR COUNT(*) > 1 DESC, {{ key }} ASC) AS N
    FROM {{ table.full_name }}
    GROUP BY {{ key }}
);
