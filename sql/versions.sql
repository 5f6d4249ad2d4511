{# Which of two versions of one row is the newer. Event time first, then where Kafka had it: the answer does not
   depend on the order of arrival or on where batches end. A time that is missing counts as the oldest, said by
   COALESCE: Snowflake would put NULL first. #}
{% macro or_oldest(moment) -%}
COALESCE({{ moment }}, '1970-01-01'::TIMESTAMP_NTZ)
{%- endmacro %}

{% macro version_order() -%}
{{ or_oldest('EVENT_TIME') }} DESC,
            {{ or_oldest('KAFKA_TIMESTAMP') }} DESC,
            KAFKA_TOPIC DESC,
            KAFKA_PARTITION DESC,
            KAFKA_OFFSET DESC
{%- endmacro %}

{% macro is_newer(s, t, time="EVENT_TIME") -%}
{% set old_time = or_oldest(t ~ "." ~ time) -%}
{% set new_time = or_oldest(s ~ ".EVENT_TIME") -%}
{% set old_record = or_oldest(t ~ ".KAFKA_TIMESTAMP") -%}
{% set new_record = or_oldest(s ~ ".KAFKA_TIMESTAMP") -%}
(
    {{ new_time }} > {{ old_time }}
    OR (
        {{ new_time }} = {{ old_time }}
        AND {{ new_record }}
        > {{ old_record }}
    )
    OR (
        {{ new_time }} = {{ old_time }}
        AND {{ new_record }}
        = {{ old_record }}
        AND (
            {{ s }}.KAFKA_TOPIC > {{ t }}.KAFKA_TOPIC
            OR (
                {{ s }}.KAFKA_TOPIC = {{ t }}.KAFKA_TOPIC
                AND {{ s }}.KAFKA_PARTITION > {{ t }}.KAFKA_PARTITION
            )
            OR (
                {{ s }}.KAFKA_TOPIC = {{ t }}.KAFKA_TOPIC
                AND {{ s }}.KAFKA_PARTITION = {{ t }}.KAFKA_PARTITION
                AND {{ s }}.KAFKA_OFFSET > {{ t }}.KAFKA_OFFSET
            )
        )
    )
)
{%- endmacro %}
