{% from 'references.sql' import unknown %}
{{ unknown('orders', 'DROPSHIP.ORDERS', 'ID', 'CUSTOMER_ID', 'DROPSHIP.CUSTOMERS', 'ID', windowed) }}
