-- After the first `caves snowflake deploy`: tables can be named once they are there.
USE ROLE ACCOUNTADMIN;

{% for schema in read %}
GRANT USAGE ON SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_READER;
{% endfor %}
{% for schema in viewed %}
GRANT SELECT ON ALL VIEWS IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_READER;
-- A view that is replaced is a new one.
GRANT SELECT ON FUTURE VIEWS IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_READER;
{% endfor %}
{% for table in tables %}
GRANT SELECT ON TABLE {{ database }}.{{ table }} TO ROLE CAVES_READER;
{% endfor %}
