-- Loads one batch.
{% from 'copy.sql' import copy_into %}
{% set columns = {
    'EVENT_TYPE': 'VARCHAR', 'PRODUCT_ID': 'INTEGER', 'CUSTOMER_ID': 'INTEGER', 'EVENT_METADATA': 'OBJECT',
    'EVENT_CONTENT': 'VARIANT', 'EVENT_EXTRA': 'VARIANT', 'EVENT_ID': 'VARCHAR',
} %}
{{ copy_into('RAW_DATA.RAW_EVENTS_STREAM', 'RAW_DATA.LANDING', columns, file) }}
