{# One task of a shop's graph. The root has the schedule; it is never suspended for its failures, as who drives is for
   people to decide, and a stopped root would hand over to Dagster without a word. #}
CREATE OR ALTER TASK {{ task.full_name }}
    WAREHOUSE = {{ warehouse }}
{% if task.schedule %}
    SCHEDULE = '{{ task.schedule }}'
{% endif %}
    LOCK_TIMEOUT = 300,
    TIMESTAMP_TYPE_MAPPING = 'TIMESTAMP_NTZ',
    TIMEZONE = 'UTC',
    TRANSACTION_ABORT_ON_ERROR = TRUE
{% if task.schedule %}
    SUSPEND_TASK_AFTER_NUM_FAILURES = 0
{% endif %}
    COMMENT = '{{ comment }}'
{% if task.after %}
    AFTER {{ task.after }}
{% endif %}
{% if task.condition %}
    WHEN {{ task.condition }}
{% endif %}
AS
{{ task.body }}
