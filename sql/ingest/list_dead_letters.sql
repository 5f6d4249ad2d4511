-- The newest first; of their bytes only as many as tell the event's type.
{% from 'dead_letters.sql' import matching %}
SELECT
    d.DEAD_LETTER_ID,
    d.FIRST_SEEN,
    d.KAFKA_PARTITION,
    d.KAFKA_OFFSET,
    d.FAILURE_CLASS,
    d.FAILURE_REASON,
    d.FAILURE_PATH,
    d.ATTEMPTS,
    d.REPLAYED_AT,
    LEFT(HEX_ENCODE(d.VALUE), 8192) AS HEAD
FROM {{ raw.schema }}.DEAD_LETTER_EVENTS AS d
WHERE {{ matching() }}
ORDER BY d.FIRST_SEEN DESC, d.DEAD_LETTER_ID DESC
LIMIT %(limit)s;
