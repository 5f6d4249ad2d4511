{# Which of two versions of one row is the newer. Event time first, then where Kafka had it: the answer does not
   depend on the order of arrival or on where batches end. #}
{% macro version_order() -%}
COALESCE(EVENT_TIME, '1970-01-01'::TIMESTAMP_NTZ) DESC,
            COALESCE(KAFKA_TIMESTAMP, '1970-01-01'::TIMESTAMP_NTZ) DESC,
            KAFKA_TOPIC DESC,
            KAFKA_PARTITION DESC,
            KAFKA_OFFSET DESC
{%- endmacro %}

{% macro is_newer(s, t, time="EVENT_TIME") -%}
{% set old_time = "COALESCE(" ~ t ~ "." ~ time ~ ", '1970-01-01'::TIMESTAMP_NTZ)" -%}
{% set new_time = "COALESCE(" ~ s ~ ".EVENT_TIME, '1970-01-01'::TIMESTAMP_NTZ)" -%}
{% set old_record = "COALESCE(" ~ t ~ ".KAFKA_TIMESTAMP, '1970-01-01'::TIMESTAMP_NTZ)" -%}
{% set new_record = "COALESCE(" ~ s ~ ".KAFKA_TIMESTAMP, '1970-01-01'::TIMESTAMP_NTZ)" -%}
(
    {{ new_time }} > {{ old_time }}
    OR ({{ new_time }} = {{ old_time }} AND (
        {{ new_record }} > {{ old_record }}
        OR ({{ new_record }} = {{ old_record }} AND (
            {{ s }}.KAFKA_TOPIC > {{ t }}.KAFKA_TOPIC
            OR ({{ s }}.KAFKA_TOPIC = {{ t }}.KAFKA_TOPIC AND (
                {{ s }}.KAFKA_PARTITION > {{ t }}.KAFKA_PARTITION
                OR (
                    {{ s }}.KAFKA_PARTITION = {{ t }}.KAFKA_PARTITION
                    AND {{ s }}.KAFKA_OFFSET > {{ t }}.KAFKA_OFFSET
                )
            ))
        ))
    ))
)
{%- endmacro %}
