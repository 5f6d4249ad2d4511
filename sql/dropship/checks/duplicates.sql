-- No order stands twice, and no record was landed twice by one batch.
{% from 'shop_checks.sql' import duplicates %}
{% set subjects = [
    ('DROPSHIP.ORDERS', 'ID', ['ID'], 'UPDATED_AT'),
    (
        'DROPSHIP_RAW.ORDERS_EVENTS',
        "KAFKA_TOPIC || ' ' || KAFKA_PARTITION::VARCHAR || ':' || KAFKA_OFFSET::VARCHAR",
        ['BATCH_ID', 'KAFKA_TOPIC', 'KAFKA_PARTITION', 'KAFKA_OFFSET'],
        'INGESTION_TIME',
    ),
] %}
{{ duplicates(subjects, windowed) }}
