-- RAW to STAGING: orders, typed.
{% from 'raw_rows.sql' import decimal, first_copy, integer, is_not_in, moment, record, record_columns, text %}
INSERT INTO STAGING.STG_ORDERS (
    ORDER_LINE_ID, CUSTOMER_ID, PRODUCT_ID, PRODUCT_NAME, PRODUCT_CATEGORY, QUANTITY, UNIT_PRICE, DISCOUNT,
    TOTAL_AMOUNT, BOTTLE_SIZE_LITERS, SALES_CHANNEL, EVENT_TIME,
    {{ record_columns() }}
)
SELECT
    {{ integer('order_line_id') }},
    r.CUSTOMER_ID,
    r.PRODUCT_ID,
    {{ text('product_name', 200) }},
    {{ text('category', 50) }},
    {{ integer('quantity') }},
    {{ decimal('unit_price', 10, 2) }},
    {{ decimal('discount', 5, 4) }},
    {{ decimal('total_price', 10, 2) }},
    {{ decimal('bottle_size_liters', 5, 3) }},
    {{ text('sales_channel', 100) }},
    {{ moment('timestamp') }},
    {{ record() }}
FROM {{ source }} AS r
WHERE r.EVENT_TYPE = 'ORDER_CREATED'
    AND {{ is_not_in('STAGING.STG_ORDERS') }}
{{ first_copy() }};
