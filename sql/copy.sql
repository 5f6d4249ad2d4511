{# How one batch is loaded into a raw table. `columns`: name to type of those that the contract gives; type VARIANT is
   JSON text. The columns come by name out of the Parquet file; MATCH_BY_COLUMN_NAME would store JSON as VARIANT
   strings. FORCE, because Snowflake remembers file names for 64 days. #}
{% macro copy_into(table, stage, columns, file) -%}
COPY INTO {{ table }} (
    {{ columns | join(', ') }},
    INGESTION_TIME, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, BATCH_ID
)
FROM (
    SELECT
        {% for name, type in columns.items() %}
        {% if type in ('VARIANT', 'OBJECT') %}
        PARSE_JSON($1:{{ name }}::VARCHAR){{ '::OBJECT' if type == 'OBJECT' }},
        {% elif type in ('VARCHAR', 'INTEGER') %}
        $1:{{ name }}::{{ type }},
        {% else %}
        $1:{{ name }}::VARCHAR::{{ type }},
        {% endif %}
        {% endfor %}
        $1:INGESTION_TIME::VARCHAR::TIMESTAMP_LTZ,
        $1:KAFKA_TOPIC::VARCHAR,
        $1:KAFKA_PARTITION::INTEGER,
        $1:KAFKA_OFFSET::INTEGER,
        $1:KAFKA_TIMESTAMP::VARCHAR::TIMESTAMP_LTZ,
        $1:BATCH_ID::VARCHAR
    FROM @{{ stage }}
)
FILES = ('{{ file }}')
FILE_FORMAT = (TYPE = PARQUET)
FORCE = TRUE
ON_ERROR = ABORT_STATEMENT;
{%- endmacro %}
