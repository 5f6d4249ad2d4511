-- How large the next ones are, before they are read.
{% from 'dead_letters.sql' import matching, behind %}
SELECT
    d.DEAD_LETTER_ID,
    d.FIRST_SEEN,
    COALESCE(OCTET_LENGTH(d.VALUE), 0) + COALESCE(OCTET_LENGTH(d.MESSAGE_KEY), 0)
    + COALESCE(LENGTH(d.HEADERS::VARCHAR), 0) AS BYTES
FROM {{ raw.schema }}.DEAD_LETTER_EVENTS AS d
WHERE {{ matching() }}
    AND {{ behind() }}
ORDER BY d.FIRST_SEEN ASC, d.DEAD_LETTER_ID ASC
LIMIT %(limit)s;
