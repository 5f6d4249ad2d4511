CREATE SCHEMA IF NOT EXISTS DROPSHIP;

CREATE TABLE IF NOT EXISTS DROPSHIP.CUSTOMERS (
    ID STRING NOT NULL COMMENT 'Customer; one row each',
    NAME STRING NOT NULL COMMENT 'First and last name',
    EMAIL STRING COMMENT 'E-mail address',
    CITY STRING COMMENT 'City to deliver to',
    COUNTRY STRING COMMENT 'Its country',
    PRIMARY KEY (ID)
) COMMENT = 'The dropshipper''s customers, from customers.csv';

CREATE TABLE IF NOT EXISTS DROPSHIP.INVENTORY (
    ID STRING NOT NULL COMMENT 'Product; one row each',
    PRODUCT_NAME STRING NOT NULL COMMENT 'Name of the product',
    CATEGORY STRING NOT NULL COMMENT 'Kind of clothing',
    PRICE DECIMAL(10, 2) NOT NULL COMMENT 'Price of a piece, euros',
    STOCK_QUANTITY INTEGER NOT NULL COMMENT 'Pieces at the supplier',
    PRIMARY KEY (ID)
) COMMENT = 'What the dropshipper sells, from inventory.csv';

CREATE TABLE IF NOT EXISTS DROPSHIP.ORDERS (
    ID STRING NOT NULL COMMENT 'Order; one row each',
    PRODUCT_ID STRING COMMENT 'Product',
    CUSTOMER_ID STRING COMMENT 'Customer',
    QUANTITY INTEGER COMMENT 'Pieces',
    UNIT_PRICE DECIMAL(10, 2) COMMENT 'Price of a piece, euros',
    SOLD_AT TIMESTAMP_NTZ COMMENT 'When it was sold, UTC',
    INGESTED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the winning event was read from Kafka, UTC',
    EVENT_TIME TIMESTAMP_NTZ NOT NULL COMMENT 'Time of the winning event, UTC',
    KAFKA_TOPIC VARCHAR(249) NOT NULL COMMENT 'Topic of the winning record',
    KAFKA_PARTITION INTEGER NOT NULL COMMENT 'Partition of the winning record',
    KAFKA_OFFSET INTEGER NOT NULL COMMENT 'Offset of the winning record',
    KAFKA_TIMESTAMP TIMESTAMP_NTZ COMMENT 'Timestamp of the winning record, UTC',
    LOADED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the order first came here, UTC',
    UPDATED_AT TIMESTAMP_NTZ NOT NULL COMMENT 'When the order last changed, UTC',
    PRIMARY KEY (ID)
) COMMENT = 'One row per order: the latest version of each';
