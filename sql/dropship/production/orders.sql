-- RAW to production: one row per order, the newest version of it.
{% from 'raw_rows.sql' import decimal, integer, moment, text %}
{% from 'versions.sql' import is_newer, version_order %}
{% set columns = ['PRODUCT_ID', 'CUSTOMER_ID', 'QUANTITY', 'UNIT_PRICE', 'SOLD_AT', 'INGESTED_AT', 'EVENT_TIME',
    'KAFKA_TOPIC', 'KAFKA_PARTITION', 'KAFKA_OFFSET', 'KAFKA_TIMESTAMP'] %}
MERGE INTO DROPSHIP.ORDERS AS t
USING (
    SELECT *
    FROM (
        SELECT
            r.ORDER_ID AS ID,
            {{ text('"order".product_id', 200, 'PAYLOAD') }} AS PRODUCT_ID,
            {{ text('"order".customer_id', 200, 'PAYLOAD') }} AS CUSTOMER_ID,
            {{ integer('"order".quantity', 'PAYLOAD') }} AS QUANTITY,
            {{ decimal('"order".unit_price', 10, 2, 'PAYLOAD') }} AS UNIT_PRICE,
            {{ moment('"order".sold_at', 'PAYLOAD') }} AS SOLD_AT,
            r.INGESTION_TIME::TIMESTAMP_NTZ AS INGESTED_AT,
            r.CREATED_AT AS EVENT_TIME,
            r.KAFKA_TOPIC,
            r.KAFKA_PARTITION,
            r.KAFKA_OFFSET,
            r.KAFKA_TIMESTAMP::TIMESTAMP_NTZ AS KAFKA_TIMESTAMP
        FROM {{ source }} AS r
        WHERE r.EVENT_TYPE = 'order_created'
    )
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY ID
        ORDER BY
            {{ version_order() }}
    ) = 1
) AS s
    ON t.ID = s.ID
WHEN MATCHED AND {{ is_newer('s', 't') }} THEN UPDATE SET
    {% for column in columns %}
    {{ column }} = s.{{ column }},
    {% endfor %}
    UPDATED_AT = SYSDATE()
WHEN NOT MATCHED THEN INSERT (
    ID, {{ columns | join(', ') }},
    LOADED_AT, UPDATED_AT
) VALUES (
    s.ID, s.{{ columns | join(', s.') }},
    SYSDATE(), SYSDATE()
);
