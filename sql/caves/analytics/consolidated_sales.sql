-- An order whose line is 2^62 + a sale's id is that sale, replayed (`caves produce --mode replay`): it counts once.
CREATE OR REPLACE VIEW ANALYTICS.CONSOLIDATED_SALES
    COMMENT = 'Every sale of both halves once: the history loaded in batch and the orders of the stream'
AS
SELECT
    SALE_DATE,
    CUSTOMER_ID,
    PRODUCT_ID,
    QUANTITY_SOLD,
    TOTAL_PRICE,
    'BATCH' AS SOURCE
FROM BATCH_DATA.SALES
UNION ALL
SELECT
    o.EVENT_TIME AS SALE_DATE,
    o.CUSTOMER_ID,
    o.PRODUCT_ID,
    o.QUANTITY AS QUANTITY_SOLD,
    o.TOTAL_AMOUNT AS TOTAL_PRICE,
    'STREAMING' AS SOURCE
FROM PRODUCTION.ORDERS AS o
LEFT JOIN BATCH_DATA.SALES AS s ON o.ORDER_LINE_ID = s.SALE_ID + 4611686018427387904
WHERE s.SALE_ID IS NULL;
