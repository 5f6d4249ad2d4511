CREATE SCHEMA IF NOT EXISTS RAW_DATA;

CREATE TABLE IF NOT EXISTS RAW_DATA.RAW_EVENTS_STREAM (
    EVENT_TYPE VARCHAR(50) NOT NULL COMMENT 'ORDER_CREATED or INVENTORY_ADJUSTED',
    PRODUCT_ID INTEGER NOT NULL COMMENT 'Product the event is about',
    CUSTOMER_ID INTEGER COMMENT 'Customer of an order; NULL for adjustments',
    EVENT_METADATA OBJECT NOT NULL COMMENT 'The event''s event_metadata, whole',
    EVENT_CONTENT VARIANT NOT NULL COMMENT 'The event''s event_content, whole, unknown fields included',
    EVENT_EXTRA VARIANT COMMENT 'Fields beside those two and the type, whole; NULL where there are none',
    INGESTION_TIME TIMESTAMP_LTZ NOT NULL COMMENT 'When the message was read from Kafka',
    EVENT_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the event',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic the record came from',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition the record came from',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset in the partition',
    KAFKA_TIMESTAMP TIMESTAMP_LTZ COMMENT 'Timestamp of the record',
    BATCH_ID VARCHAR(36) NOT NULL COMMENT 'Batch in INGEST_BATCHES that landed it'
) COMMENT = 'Every valid event of the topic, as it came';

CREATE STREAM IF NOT EXISTS RAW_DATA.STREAM_RAW_EVENTS
    ON TABLE RAW_DATA.RAW_EVENTS_STREAM
    APPEND_ONLY = TRUE
    COMMENT = 'Raw events not yet distributed to staging';
