-- An order names one of the customers of the batch half, once that is loaded.
{% from 'references.sql' import unknown %}
{{ unknown('orders', 'PRODUCTION.ORDERS', 'ORDER_LINE_ID', 'CUSTOMER_ID', 'BATCH_DATA.CUSTOMERS', 'CUSTOMER_ID', windowed) }}
