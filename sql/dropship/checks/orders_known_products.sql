{% from 'references.sql' import unknown %}
{{ unknown('orders', 'DROPSHIP.ORDERS', 'ID', 'PRODUCT_ID', 'DROPSHIP.INVENTORY', 'ID', windowed) }}
