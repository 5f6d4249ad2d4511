-- What the first version of this project set up for the wine shop, in the order it did. Never to be changed: an upgrade from
-- it is tested.
-- The tables of exactly-once ingestion, once per shop, in its raw schema.
CREATE SCHEMA IF NOT EXISTS RAW_DATA;

CREATE TABLE IF NOT EXISTS RAW_DATA.KAFKA_OFFSETS (
    CLUSTER_ID VARCHAR(200) NOT NULL COMMENT 'Kafka cluster id',
    TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'Topic id, empty where the broker has none',
    PARTITION_ID INTEGER NOT NULL COMMENT 'Kafka partition',
    NEXT_OFFSET INTEGER NOT NULL COMMENT 'The next offset to read',
    LAST_RECORD_OFFSET INTEGER COMMENT 'Offset of the last record consumed',
    LAST_RECORD_TIMESTAMP_MS INTEGER COMMENT 'Its timestamp, milliseconds since 1970; tells a recreated topic',
    UPDATED_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When the position last moved',
    PRIMARY KEY (CLUSTER_ID, TOPIC, TOPIC_ID, PARTITION_ID)
) COMMENT = 'Position of record of each partition: where ingestion goes on';

CREATE TABLE IF NOT EXISTS RAW_DATA.INGEST_FENCE (
    ID INTEGER NOT NULL COMMENT 'Always 1',
    EPOCH INTEGER NOT NULL COMMENT 'Counts landing transactions; updating it is the lock',
    PRIMARY KEY (ID)
) COMMENT = 'One row: the lock of the writers of this shop';

INSERT INTO RAW_DATA.INGEST_FENCE (ID, EPOCH)
SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM RAW_DATA.INGEST_FENCE);

CREATE TABLE IF NOT EXISTS RAW_DATA.INGEST_GAPS (
    GAP_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the gap',
    CLUSTER_ID VARCHAR(200) NOT NULL COMMENT 'Kafka cluster id after the gap',
    TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'Topic id after the gap',
    PARTITION_ID INTEGER NOT NULL COMMENT 'Kafka partition',
    OFFSET_FROM INTEGER COMMENT 'First offset that could not be read',
    OFFSET_TO INTEGER COMMENT 'Offset where ingestion went on; NULL: the end of what was lost is unknown',
    REASON VARCHAR(50) NOT NULL COMMENT 'RETENTION, LOG_TRUNCATED, TOPIC_RECREATED or NEW_CLUSTER',
    FOUND_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When ingestion came upon it',
    ACKNOWLEDGED_AT TIMESTAMP_LTZ COMMENT 'When somebody accepted it',
    ACKNOWLEDGED_BY VARCHAR(200) COMMENT 'Who accepted it',
    PRIMARY KEY (GAP_ID)
) COMMENT = 'Ranges of offsets that were or may have been lost before ingestion could read them';

CREATE TABLE IF NOT EXISTS RAW_DATA.INGEST_BATCHES (
    BATCH_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the batch; rows and dead letters carry it',
    RUN_ID VARCHAR(100) NOT NULL COMMENT 'Dagster run, or the process that landed it',
    CLUSTER_ID VARCHAR(200) NOT NULL COMMENT 'Kafka cluster id',
    TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    TOPIC_ID VARCHAR(64) NOT NULL COMMENT 'Topic id, empty where the broker has none',
    CONSUMED INTEGER NOT NULL COMMENT 'Messages read',
    LANDED INTEGER NOT NULL COMMENT 'Rows in the raw table',
    DEAD INTEGER NOT NULL COMMENT 'Rows in DEAD_LETTER_EVENTS',
    SKIPPED INTEGER NOT NULL COMMENT 'Offsets without a message: control records, aborted or compacted ones',
    BYTES INTEGER NOT NULL COMMENT 'Bytes of keys and values',
    PARTITIONS VARIANT NOT NULL COMMENT 'Array of {partition, from, to, landed, dead}; to is exclusive',
    READ_SECONDS FLOAT COMMENT 'Waiting for and reading messages',
    DECODE_SECONDS FLOAT COMMENT 'Decoding, validating and writing the files',
    UPLOAD_SECONDS FLOAT COMMENT 'PUT to the stage',
    LOAD_SECONDS FLOAT COMMENT 'From BEGIN to the statement before COMMIT',
    COMMITTED_AT TIMESTAMP_LTZ NOT NULL COMMENT 'When the batch was about to commit',
    PRIMARY KEY (BATCH_ID)
) COMMENT = 'One row per committed landing transaction';

CREATE TABLE IF NOT EXISTS RAW_DATA.DEAD_LETTER_EVENTS (
    DEAD_LETTER_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the dead letter',
    VALUE BINARY(67108864) COMMENT 'The original bytes; NULL where the message had no value',
    MESSAGE_KEY BINARY(67108864) COMMENT 'The original key',
    HEADERS VARIANT COMMENT 'Array of {name, value}; value in base64, null where the header had none',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Kafka topic',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Kafka partition',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset in the partition',
    KAFKA_TIMESTAMP TIMESTAMP_LTZ COMMENT 'Timestamp of the record',
    FAILURE_CLASS VARCHAR(50) NOT NULL COMMENT 'What kind of failure, for counting',
    FAILURE_REASON VARCHAR(2000) NOT NULL COMMENT 'What was wrong, for people',
    FAILURE_PATH VARCHAR(1000) NOT NULL COMMENT 'JSON path that failed, $ for the whole message',
    FIRST_SEEN TIMESTAMP_LTZ NOT NULL COMMENT 'When it was first read',
    ATTEMPTS INTEGER NOT NULL COMMENT 'How often it was tried, the first time included',
    REPLAYED_AT TIMESTAMP_LTZ COMMENT 'When a replay landed it; NULL while it is dead',
    BATCH_ID VARCHAR(36) NOT NULL COMMENT 'Batch that read it',
    PRIMARY KEY (DEAD_LETTER_ID)
) COMMENT = 'Messages that were not valid events, whole';

CREATE STAGE IF NOT EXISTS RAW_DATA.LANDING COMMENT = 'Batches on their way into the raw table';
CREATE SCHEMA IF NOT EXISTS RAW_DATA;

CREATE TABLE IF NOT EXISTS RAW_DATA.RAW_EVENTS_STREAM (
    EVENT_TYPE VARCHAR(50) NOT NULL COMMENT 'ORDER_CREATED or INVENTORY_ADJUSTED',
    PRODUCT_ID INTEGER NOT NULL COMMENT 'Product the event is about',
    CUSTOMER_ID INTEGER COMMENT 'Customer of an order; NULL for adjustments',
    EVENT_METADATA OBJECT NOT NULL COMMENT 'The event''s event_metadata, whole',
    EVENT_CONTENT VARIANT NOT NULL COMMENT 'The event''s event_content, whole, unknown fields included',
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

CREATE SCHEMA IF NOT EXISTS STAGING;

CREATE TABLE IF NOT EXISTS STAGING.STG_ORDERS (
    ORDER_LINE_ID INTEGER COMMENT 'Order line',
    CUSTOMER_ID INTEGER COMMENT 'Customer',
    PRODUCT_ID INTEGER COMMENT 'Product',
    PRODUCT_NAME VARCHAR(200) COMMENT 'Name of the product as the event gave it',
    PRODUCT_CATEGORY VARCHAR(50) COMMENT 'Category as the event gave it',
    QUANTITY INTEGER COMMENT 'Bottles',
    UNIT_PRICE DECIMAL(10, 2) COMMENT 'Price of a bottle before discount, euros',
    DISCOUNT DECIMAL(5, 4) COMMENT 'Discount as a fraction',
    TOTAL_AMOUNT DECIMAL(10, 2) COMMENT 'Price of the line after discount, euros',
    BOTTLE_SIZE_LITERS DECIMAL(5, 3) COMMENT 'Size of a bottle',
    SALES_CHANNEL VARCHAR(100) COMMENT 'Where it was sold',
    EVENT_TIME TIMESTAMP_NTZ COMMENT 'Time of the event, UTC',
    EVENT_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the event',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic the record came from',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition the record came from',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset in the partition',
    KAFKA_TIMESTAMP TIMESTAMP_NTZ COMMENT 'Timestamp of the record, UTC',
    INGESTION_TIME TIMESTAMP_NTZ NOT NULL COMMENT 'When the message was read from Kafka, UTC',
    STAGED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the row was staged, UTC'
) COMMENT = 'ORDER_CREATED events, typed';

CREATE TABLE IF NOT EXISTS STAGING.STG_INVENTORY_ADJUSTMENTS (
    ADJUSTMENT_ID INTEGER COMMENT 'Adjustment',
    PRODUCT_ID INTEGER COMMENT 'Product',
    PRODUCT_NAME VARCHAR(200) COMMENT 'Name of the product as the event gave it',
    PRODUCT_CATEGORY VARCHAR(50) COMMENT 'Category as the event gave it',
    WAREHOUSE_LOCATION VARCHAR(100) COMMENT 'City of the warehouse',
    ADJUSTMENT_TYPE VARCHAR(50) COMMENT 'RESTOCK, SALE_CORRECTION, RETURN, DAMAGE or COUNT',
    QUANTITY_CHANGE INTEGER COMMENT 'Bottles gained or lost',
    STOCK_LEVEL INTEGER COMMENT 'Bottles after the change',
    EVENT_TIME TIMESTAMP_NTZ COMMENT 'Time of the event, UTC',
    EVENT_ID VARCHAR(36) NOT NULL COMMENT 'UUID of the event',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic the record came from',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition the record came from',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset in the partition',
    KAFKA_TIMESTAMP TIMESTAMP_NTZ COMMENT 'Timestamp of the record, UTC',
    INGESTION_TIME TIMESTAMP_NTZ NOT NULL COMMENT 'When the message was read from Kafka, UTC',
    STAGED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the row was staged, UTC'
) COMMENT = 'INVENTORY_ADJUSTED events, typed';

CREATE STREAM IF NOT EXISTS STAGING.STREAM_STG_ORDERS
    ON TABLE STAGING.STG_ORDERS
    APPEND_ONLY = TRUE
    COMMENT = 'Staged orders not yet merged into PRODUCTION.ORDERS';

CREATE STREAM IF NOT EXISTS STAGING.STREAM_STG_INVENTORY_FOR_HISTORY
    ON TABLE STAGING.STG_INVENTORY_ADJUSTMENTS
    APPEND_ONLY = TRUE
    COMMENT = 'Staged adjustments not yet in PRODUCTION.INVENTORY_HISTORY';

CREATE STREAM IF NOT EXISTS STAGING.STREAM_STG_INVENTORY_FOR_CURRENT
    ON TABLE STAGING.STG_INVENTORY_ADJUSTMENTS
    APPEND_ONLY = TRUE
    COMMENT = 'Staged adjustments not yet in PRODUCTION.INVENTORY_CURRENT';

CREATE SCHEMA IF NOT EXISTS PRODUCTION;

CREATE TABLE IF NOT EXISTS PRODUCTION.ORDERS (
    ORDER_LINE_ID INTEGER NOT NULL COMMENT 'Order line; one row each',
    CUSTOMER_ID INTEGER COMMENT 'Customer',
    PRODUCT_ID INTEGER COMMENT 'Product',
    PRODUCT_NAME VARCHAR(200) COMMENT 'Name of the product',
    PRODUCT_CATEGORY VARCHAR(50) COMMENT 'Category of the product',
    QUANTITY INTEGER COMMENT 'Bottles',
    UNIT_PRICE DECIMAL(10, 2) COMMENT 'Price of a bottle before discount, euros',
    DISCOUNT DECIMAL(5, 4) COMMENT 'Discount as a fraction',
    TOTAL_AMOUNT DECIMAL(10, 2) COMMENT 'Price of the line after discount, euros',
    BOTTLE_SIZE_LITERS DECIMAL(5, 3) COMMENT 'Size of a bottle',
    SALES_CHANNEL VARCHAR(100) COMMENT 'Where it was sold',
    EVENT_TIME TIMESTAMP_NTZ COMMENT 'Time of the winning event, UTC',
    ORDER_DATE DATE COMMENT 'Its date, UTC',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic of the winning record',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition of the winning record',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset of the winning record',
    KAFKA_TIMESTAMP TIMESTAMP_NTZ COMMENT 'Timestamp of the winning record, UTC',
    LOADED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the line first came here, UTC',
    UPDATED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the line last changed, UTC',
    PRIMARY KEY (ORDER_LINE_ID)
) COMMENT = 'One row per order line: the latest version of each';

CREATE TABLE IF NOT EXISTS PRODUCTION.INVENTORY_HISTORY (
    ADJUSTMENT_ID INTEGER NOT NULL COMMENT 'Adjustment; one row each',
    PRODUCT_ID INTEGER COMMENT 'Product',
    PRODUCT_NAME VARCHAR(200) COMMENT 'Name of the product',
    PRODUCT_CATEGORY VARCHAR(50) COMMENT 'Category of the product',
    WAREHOUSE_LOCATION VARCHAR(100) COMMENT 'City of the warehouse',
    ADJUSTMENT_TYPE VARCHAR(50) COMMENT 'RESTOCK, SALE_CORRECTION, RETURN, DAMAGE or COUNT',
    QUANTITY_CHANGE INTEGER COMMENT 'Bottles gained or lost',
    STOCK_LEVEL INTEGER COMMENT 'Bottles after the change',
    EVENT_TIME TIMESTAMP_NTZ COMMENT 'Time of the winning event, UTC',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic of the winning record',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition of the winning record',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset of the winning record',
    KAFKA_TIMESTAMP TIMESTAMP_NTZ COMMENT 'Timestamp of the winning record, UTC',
    LOADED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the movement first came here, UTC',
    UPDATED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the movement last changed, UTC',
    PRIMARY KEY (ADJUSTMENT_ID)
) COMMENT = 'Every stock movement, once';

CREATE TABLE IF NOT EXISTS PRODUCTION.INVENTORY_CURRENT (
    PRODUCT_ID INTEGER NOT NULL COMMENT 'Product',
    PRODUCT_NAME VARCHAR(200) COMMENT 'Name of the product',
    PRODUCT_CATEGORY VARCHAR(50) COMMENT 'Category of the product',
    WAREHOUSE_LOCATION VARCHAR(100) NOT NULL COMMENT 'City of the warehouse',
    CURRENT_STOCK_LEVEL INTEGER COMMENT 'Bottles after the latest movement',
    LAST_ADJUSTMENT_ID INTEGER COMMENT 'The latest movement',
    LAST_MOVEMENT_AT TIMESTAMP_NTZ COMMENT 'Its time, UTC',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic of the winning record',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition of the winning record',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset of the winning record',
    KAFKA_TIMESTAMP TIMESTAMP_NTZ COMMENT 'Timestamp of the winning record, UTC',
    UPDATED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the level last changed, UTC',
    PRIMARY KEY (PRODUCT_ID, WAREHOUSE_LOCATION)
) COMMENT = 'Stock per product and warehouse; a late event never overwrites a newer one';

CREATE SCHEMA IF NOT EXISTS ANALYTICS;

CREATE OR REPLACE VIEW ANALYTICS.DAILY_SALES
    COMMENT = 'Streamed orders per day, UTC'
AS
SELECT
    ORDER_DATE,
    COUNT(*) AS ORDER_COUNT,
    SUM(TOTAL_AMOUNT) AS DAILY_REVENUE,
    ROUND(AVG(TOTAL_AMOUNT), 2) AS AVG_ORDER_VALUE
FROM PRODUCTION.ORDERS
GROUP BY ORDER_DATE
ORDER BY ORDER_DATE DESC;

CREATE OR REPLACE VIEW ANALYTICS.STOCK_BY_CATEGORY
    COMMENT = 'Current stock per category, over all warehouses'
AS
SELECT
    PRODUCT_CATEGORY,
    COUNT(DISTINCT PRODUCT_ID) AS PRODUCT_COUNT,
    SUM(CURRENT_STOCK_LEVEL) AS TOTAL_STOCK,
    ROUND(SUM(CURRENT_STOCK_LEVEL) / COUNT(DISTINCT PRODUCT_ID), 2) AS AVG_STOCK_PER_PRODUCT
FROM PRODUCTION.INVENTORY_CURRENT
GROUP BY PRODUCT_CATEGORY
ORDER BY PRODUCT_CATEGORY ASC;

CREATE OR REPLACE VIEW ANALYTICS.TOP_WINES
    COMMENT = 'The ten wines with the highest revenue'
AS
SELECT
    PRODUCT_NAME,
    PRODUCT_CATEGORY,
    COUNT(*) AS ORDER_COUNT,
    SUM(QUANTITY) AS TOTAL_QUANTITY,
    SUM(TOTAL_AMOUNT) AS TOTAL_REVENUE
FROM PRODUCTION.ORDERS
GROUP BY PRODUCT_NAME, PRODUCT_CATEGORY
ORDER BY TOTAL_REVENUE DESC, PRODUCT_NAME ASC
LIMIT 10;

