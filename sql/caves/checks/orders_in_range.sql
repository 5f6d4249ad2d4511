-- What an order holds is in the ranges of the contract, and its date is that of its time. NULL is another rule's.
{% from 'checks.sql' import since, wrong_rows %}
{% call wrong_rows('orders') %}
SELECT
    ORDER_LINE_ID AS K,
    COALESCE(ORDER_LINE_ID < 1, FALSE)
    OR COALESCE(CUSTOMER_ID < 1, FALSE)
    OR COALESCE(PRODUCT_ID < 1, FALSE)
    OR COALESCE(QUANTITY < 1, FALSE)
    OR COALESCE(UNIT_PRICE < 0, FALSE)
    OR COALESCE(TOTAL_AMOUNT < 0, FALSE)
    OR COALESCE(DISCOUNT < 0 OR DISCOUNT >= 1, FALSE)
    OR COALESCE(BOTTLE_SIZE_LITERS <= 0, FALSE)
    OR COALESCE(PRODUCT_CATEGORY NOT IN ('Rouge', 'Blanc', 'Rosé', 'Effervescent', 'Spiritueux'), FALSE)
    OR COALESCE(SALES_CHANNEL NOT IN ('E-com', 'Boutique', 'Téléphone', 'Salon'), FALSE)
    OR COALESCE(ORDER_DATE <> EVENT_TIME::DATE, FALSE) AS IS_WRONG
FROM PRODUCTION.ORDERS
{% if windowed %}
WHERE UPDATED_AT >= {{ since() }}
{% endif %}
{% endcall %}
