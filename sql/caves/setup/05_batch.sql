CREATE SCHEMA IF NOT EXISTS BATCH_DATA;

CREATE TABLE IF NOT EXISTS BATCH_DATA.CUSTOMERS (
    CUSTOMER_ID INTEGER NOT NULL COMMENT 'Customer; one row each',
    NAME VARCHAR(200) NOT NULL COMMENT 'First and last name',
    EMAIL VARCHAR(200) COMMENT 'E-mail address',
    REGISTRATION_DATE DATE COMMENT 'Day of registration',
    PRIMARY KEY (CUSTOMER_ID)
) COMMENT = 'The merchant''s customers, as the batch source has them';

CREATE TABLE IF NOT EXISTS BATCH_DATA.INVENTORY (
    PRODUCT_ID INTEGER NOT NULL COMMENT 'Product; one row each',
    PRODUCT_NAME VARCHAR(200) NOT NULL COMMENT 'Name of the product',
    CATEGORY VARCHAR(50) NOT NULL COMMENT 'Rouge, Blanc, Rosé, Effervescent or Spiritueux',
    PRICE_PER_UNIT DECIMAL(10, 2) NOT NULL COMMENT 'Price of a bottle, euros',
    BOTTLE_SIZE_LITERS DECIMAL(5, 3) COMMENT 'Size of a bottle',
    STOCK_QUANTITY INTEGER NOT NULL COMMENT 'Bottles left after the sales of the history',
    PRIMARY KEY (PRODUCT_ID)
) COMMENT = 'What the merchant sells, as the batch source has it';

CREATE TABLE IF NOT EXISTS BATCH_DATA.SALES (
    SALE_ID INTEGER NOT NULL COMMENT 'Sale; one row each',
    SALE_DATE TIMESTAMP NOT NULL COMMENT 'When it was sold, UTC',
    CUSTOMER_ID INTEGER NOT NULL COMMENT 'Customer',
    PRODUCT_ID INTEGER NOT NULL COMMENT 'Product',
    QUANTITY_SOLD INTEGER NOT NULL COMMENT 'Bottles',
    TOTAL_PRICE DECIMAL(10, 2) NOT NULL COMMENT 'Price of the sale, euros',
    SALES_CHANNEL VARCHAR(100) COMMENT 'Where it was sold',
    PRIMARY KEY (SALE_ID)
) COMMENT = 'The history of sales, as the batch source has it, loaded by day';
