{# How a row `r` of a raw table is read into typed columns. Whatever `content`, the column with the event, holds,
   nothing here raises: a value that cannot be read or does not fit its column is NULL, a text that is too long is
   cut. One row must not block a stream, and RAW keeps the whole. #}
{% macro text(field, width, content='EVENT_CONTENT') -%}
LEFT(r.{{ content }}:{{ field }}::VARCHAR, {{ width }})
{%- endmacro %}

{% macro decimal(field, precision, scale, content='EVENT_CONTENT') -%}
TRY_TO_DECIMAL(r.{{ content }}:{{ field }}::VARCHAR, {{ precision }}, {{ scale }})
{%- endmacro %}

{# Of 64 bits, as in the contract: Snowflake's INTEGER has 38 digits, which others have not. #}
{% macro integer(field, content='EVENT_CONTENT') -%}
CASE
        WHEN
            {{ decimal(field, 38, 0, content) }}
            BETWEEN -9223372036854775808 AND 9223372036854775807
            THEN {{ decimal(field, 38, 0, content) }}
    END
{%- endmacro %}

{% macro boolean(field, content='EVENT_CONTENT') -%}
CASE r.{{ content }}:{{ field }}::VARCHAR WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END
{%- endmacro %}

{# In UTC, and in the years of the contract: one in the year 20000 could be stored, but not read by a client. #}
{% macro moment(field, content='EVENT_CONTENT') -%}
{% set utc = "CONVERT_TIMEZONE('UTC', TRY_TO_TIMESTAMP_TZ(r." ~ content ~ ":" ~ field ~ "::VARCHAR))::TIMESTAMP_NTZ" -%}
CASE
        WHEN
            YEAR({{ utc }})
            BETWEEN 1970 AND 2199
            THEN
            {{ utc }}
    END
{%- endmacro %}

{# Where the record came from: the last columns of every staging table, and their values. #}
{% macro record_columns() -%}
EVENT_ID, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, INGESTION_TIME, STAGED_AT
{%- endmacro %}

{% macro record() -%}
r.EVENT_ID,
    r.KAFKA_TOPIC,
    r.KAFKA_PARTITION,
    r.KAFKA_OFFSET,
    r.KAFKA_TIMESTAMP::TIMESTAMP_NTZ,
    r.INGESTION_TIME::TIMESTAMP_NTZ,
    SYSDATE()
{%- endmacro %}

{# A record that is already staged is left out, so a second pass changes nothing. #}
{% macro is_not_in(table) -%}
NOT EXISTS (
        SELECT 1
        FROM {{ table }} AS s
        WHERE s.EVENT_ID = r.EVENT_ID
            AND s.KAFKA_TOPIC = r.KAFKA_TOPIC
            AND s.KAFKA_PARTITION = r.KAFKA_PARTITION
            AND s.KAFKA_OFFSET = r.KAFKA_OFFSET
    )
{%- endmacro %}

{# One of the copies of a record that was landed twice: the one that came first, whether they pass together or not. #}
{% macro first_copy() -%}
QUALIFY ROW_NUMBER() OVER (
    PARTITION BY r.EVENT_ID, r.KAFKA_TOPIC, r.KAFKA_PARTITION, r.KAFKA_OFFSET
    ORDER BY r.INGESTION_TIME ASC, r.BATCH_ID ASC
) = 1
{%- endmacro %}
