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
