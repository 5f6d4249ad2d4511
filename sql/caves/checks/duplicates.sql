-- No key stands twice, and no record was landed twice by one batch (`offsets_accounted_for` sees to it that no two
-- batches read the same offset). Windowed, of the keys that changed since a moment.
{% from 'shop_checks.sql' import duplicates %}
{% set subjects = [
    ('PRODUCTION.ORDERS', 'ORDER_LINE_ID::VARCHAR', ['ORDER_LINE_ID'], 'UPDATED_AT'),
    ('PRODUCTION.INVENTORY_HISTORY', 'ADJUSTMENT_ID::VARCHAR', ['ADJUSTMENT_ID'], 'UPDATED_AT'),
    (
        'PRODUCTION.INVENTORY_CURRENT',
        "PRODUCT_ID::VARCHAR || ' ' || WAREHOUSE_LOCATION",
        ['PRODUCT_ID', 'WAREHOUSE_LOCATION'],
        'UPDATED_AT',
    ),
    (
        'RAW_DATA.RAW_EVENTS_STREAM',
        "KAFKA_TOPIC || ' ' || KAFKA_PARTITION::VARCHAR || ':' || KAFKA_OFFSET::VARCHAR",
        ['BATCH_ID', 'KAFKA_TOPIC', 'KAFKA_PARTITION', 'KAFKA_OFFSET'],
        'INGESTION_TIME',
    ),
] %}
{{ duplicates(subjects, windowed) }}
