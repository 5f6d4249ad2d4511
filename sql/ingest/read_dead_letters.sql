{% from 'dead_letters.sql' import matching, behind %}
SELECT
    d.DEAD_LETTER_ID,
    d.VALUE,
    d.MESSAGE_KEY,
    d.HEADERS,
    d.KAFKA_TOPIC,
    d.KAFKA_PARTITION,
    d.KAFKA_OFFSET,
    d.KAFKA_TIMESTAMP,
    d.FAILURE_CLASS,
    d.FAILURE_REASON,
    d.FAILURE_PATH,
    d.FIRST_SEEN,
    d.ATTEMPTS,
    d.REPLAYED_AT,
    d.BATCH_ID
FROM {{ raw.schema }}.DEAD_LETTER_EVENTS AS d
WHERE {{ matching() }}
    AND {{ behind() }}
    AND (
        d.FIRST_SEEN < %(last)s::TIMESTAMP_LTZ
        OR (d.FIRST_SEEN = %(last)s::TIMESTAMP_LTZ AND d.DEAD_LETTER_ID <= %(last_id)s)
    )
ORDER BY d.FIRST_SEEN ASC, d.DEAD_LETTER_ID ASC;
