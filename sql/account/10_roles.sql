-- Three roles: one makes and owns the objects, one moves data, one reads.
USE ROLE USERADMIN;

CREATE ROLE IF NOT EXISTS CAVES_DEPLOYER
    COMMENT = 'Owns the objects: caves snowflake deploy, tasks, streams made anew';
CREATE ROLE IF NOT EXISTS CAVES_LOADER
    COMMENT = 'The pipeline: reads and writes rows, makes and drops nothing that lasts';
CREATE ROLE IF NOT EXISTS CAVES_READER
    COMMENT = 'Dashboards: reads the views and the tables of production';

-- A service signs in by key pair alone: ALTER USER {{ user }} SET RSA_PUBLIC_KEY = '…'.
CREATE USER IF NOT EXISTS {{ user }}
    TYPE = SERVICE
    DEFAULT_ROLE = CAVES_LOADER
    DEFAULT_WAREHOUSE = {{ warehouse }}
    COMMENT = 'caves_dagster';

GRANT ROLE CAVES_LOADER TO USER {{ user }};
GRANT ROLE CAVES_DEPLOYER TO USER {{ user }};
GRANT ROLE CAVES_LOADER TO ROLE CAVES_DEPLOYER;
GRANT ROLE CAVES_READER TO ROLE CAVES_DEPLOYER;
GRANT ROLE CAVES_DEPLOYER TO ROLE SYSADMIN;
