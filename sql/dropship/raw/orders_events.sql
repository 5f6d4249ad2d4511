-- Loads one batch.
{% from 'copy.sql' import copy_into %}
{% set columns = {
    'EVENT_ID': 'VARCHAR', 'EVENT_TYPE': 'VARCHAR', 'ORDER_ID': 'VARCHAR', 'PAYLOAD': 'VARIANT',
    'CREATED_AT': 'TIMESTAMP_NTZ',
} %}
{{ copy_into('DROPSHIP_RAW.ORDERS_EVENTS', 'DROPSHIP_RAW.LANDING', columns, file) }}
