-- Grants on objects that are still to come need MANAGE GRANTS.
USE ROLE ACCOUNTADMIN;

CREATE DATABASE IF NOT EXISTS {{ database }} COMMENT = 'caves_dagster';

GRANT USAGE, CREATE SCHEMA ON DATABASE {{ database }} TO ROLE CAVES_DEPLOYER;
GRANT USAGE ON DATABASE {{ database }} TO ROLE CAVES_LOADER;
GRANT USAGE ON DATABASE {{ database }} TO ROLE CAVES_READER;

{% for schema in schemas %}
-- Made here, so that what is granted on its future objects is there before they are.
CREATE SCHEMA IF NOT EXISTS {{ database }}.{{ schema }};
GRANT OWNERSHIP ON SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_DEPLOYER COPY CURRENT GRANTS;
GRANT USAGE ON SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
GRANT SELECT, INSERT, UPDATE, DELETE ON FUTURE TABLES IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
GRANT SELECT ON FUTURE VIEWS IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
GRANT SELECT ON FUTURE STREAMS IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
GRANT READ, WRITE ON FUTURE STAGES IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
GRANT MONITOR ON FUTURE TASKS IN SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
{% endfor %}

{% for schema in loaded %}
-- A batch load writes to a table of its own, by way of a stage and a file format of its own; all end with the session.
GRANT CREATE TABLE, CREATE STAGE, CREATE FILE FORMAT
    ON SCHEMA {{ database }}.{{ schema }} TO ROLE CAVES_LOADER;
{% endfor %}
