{# Runs of a shop's tasks, the newest first. The function gives the account's newest 10,000 and is then filtered: the
   shorter the time, the surer it is that none of these is missing. #}
SELECT
    NAME,
    STATE,
    RUN_ID,
    QUERY_ID,
    SCHEDULED_FROM,
    ERROR_CODE,
    ERROR_MESSAGE,
    SCHEDULED_TIME,
    QUERY_START_TIME,
    COMPLETED_TIME
FROM TABLE({{ database }}.INFORMATION_SCHEMA.TASK_HISTORY(
    SCHEDULED_TIME_RANGE_START => DATEADD('second', -{{ seconds }}, CURRENT_TIMESTAMP()),
    RESULT_LIMIT => 10000
))
WHERE DATABASE_NAME = '{{ database }}'
    AND SCHEMA_NAME = '{{ schema }}'
    AND NAME IN ('{{ names | join("', '") }}')
ORDER BY COALESCE(COMPLETED_TIME, SCHEDULED_TIME) DESC, SCHEDULED_TIME DESC
LIMIT {{ limit }}
