-- A batch table's rows, or those of some days, for the rows of a loading table.
{% if day %}
-- The second takes a row whose day has changed in the source away from its old day.
DELETE FROM {{ table }} WHERE {{ day }}::DATE >= %(first)s AND {{ day }}::DATE <= %(last)s;

DELETE FROM {{ table }} WHERE {{ key }} IN (SELECT {{ key }} FROM {{ loading }});
{% else %}
DELETE FROM {{ table }};
{% endif %}

INSERT INTO {{ table }} (
    {{ columns | join(', ') }}
)
SELECT
    {{ columns | join(', ') }}
FROM {{ loading }};
