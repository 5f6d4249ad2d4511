-- Every row of {{ table.full_name }} names rows that are there.
{% from 'references.sql' import unknown %}
{{ unknown(column | lower, table.full_name, key, column, other.full_name, other_key) }}
