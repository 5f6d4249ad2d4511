-- Rows of the tables that hold one row each.
{% for table in tables %}
SELECT '{{ table }}' AS NAME, COUNT(*) AS N FROM {{ table }}{{ ";" if loop.last else "" }}
{{ "UNION ALL" if not loop.last else "" }}
{% endfor %}
