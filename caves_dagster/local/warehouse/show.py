"""SHOW and DESCRIBE: DuckDB's catalogue and the hidden metadata in the columns Snowflake gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from caves_dagster.local.warehouse import results, streams, tasks
from caves_dagster.local.warehouse.commands import Show
from caves_dagster.local.warehouse.errors import not_found
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote, resolve_table

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

# {d} is the database quoted, {n} its name as a literal, {h} its hidden schema.
_QUERIES = {
    "TABLES": """SELECT t.CREATED AS "created_on", t.TABLE_NAME AS "name", 'TABLE' AS "kind",
        {n} AS "database_name", t.TABLE_SCHEMA AS "schema_name", coalesce(t.COMMENT, '') AS "comment",
        '' AS "cluster_by", t.ROW_COUNT AS "rows", 0 AS "bytes", 'SYSADMIN' AS "owner",
        '1' AS "retention_time"
        FROM {h}.information_tables t WHERE t.TABLE_TYPE = 'BASE TABLE'""",
    "VIEWS": """SELECT v.CREATED AS "created_on", v.TABLE_NAME AS "name", '' AS "reserved",
        {n} AS "database_name", v.TABLE_SCHEMA AS "schema_name", 'SYSADMIN' AS "owner",
        coalesce(v.COMMENT, '') AS "comment",
        v.VIEW_DEFINITION AS "text", false AS "is_secure", false AS "is_materialized"
        FROM {h}.information_views v""",
    "OBJECTS": """SELECT t.CREATED AS "created_on", t.TABLE_NAME AS "name", {n} AS "database_name",
        t.TABLE_SCHEMA AS "schema_name", replace(t.TABLE_TYPE, 'BASE ', '') AS "kind",
        coalesce(t.COMMENT, '') AS "comment" FROM {h}.information_tables t""",
    "SCHEMAS": """SELECT s.CREATED AS "created_on", s.SCHEMA_NAME AS "name", 'N' AS "is_default",
        'N' AS "is_current", {n} AS "database_name", 'SYSADMIN' AS "owner",
        coalesce(s.COMMENT, '') AS "comment", '' AS "options",
        '1' AS "retention_time" FROM {h}.information_schemata s""",
    "STAGES": """SELECT created_on AS "created_on", name AS "name", {n} AS "database_name",
        schema_name AS "schema_name", '' AS "url", 'N' AS "has_credentials", 'SYSADMIN' AS "owner",
        coalesce(comment, '') AS "comment", 'INTERNAL' AS "type" FROM {h}.objects WHERE kind = 'STAGE'""",
    "DATABASES": """SELECT created_on AS "created_on", name AS "name", 'N' AS "is_default",
        'N' AS "is_current", '' AS "origin", 'SYSADMIN' AS "owner", coalesce(comment, '') AS "comment",
        '' AS "options",
        '1' AS "retention_time", 'STANDARD' AS "kind" FROM {h}.objects WHERE kind = 'DATABASE'""",
    "COLUMNS": """SELECT TABLE_NAME AS "table_name", TABLE_SCHEMA AS "schema_name",
        COLUMN_NAME AS "column_name",
        json_object('type', DATA_TYPE, 'nullable', IS_NULLABLE = 'YES')::VARCHAR AS "data_type",
        CASE IS_NULLABLE WHEN 'YES' THEN 'true' ELSE 'false' END AS "null?",
        coalesce(COLUMN_DEFAULT, '') AS "default",
        'COLUMN' AS "kind", coalesce(COMMENT, '') AS "comment", {n} AS "database_name", '' AS "autoincrement"
        FROM {h}.information_columns""",
}
_WHOLE_DATABASE = {"SCHEMAS", "DATABASES"}


def run(session: Session, command: Show) -> results.Result:
    """SHOW … [LIKE] [IN scope] [STARTS WITH] [LIMIT]."""
    if command.what == "TRANSACTIONS":
        return session.show_transactions()
    if command.what == "PARAMETERS":
        rows = [
            (key, value, "", "SESSION", "", "STRING") for key, value in sorted(session.parameters.items())
        ]
        names = ("key", "value", "default", "level", "description", "type")
        return results.rows(dict.fromkeys(names, "VARCHAR"), rows)
    if command.what == "WAREHOUSES":
        columns = {"name": "VARCHAR", "state": "VARCHAR", "type": "VARCHAR", "size": "VARCHAR"}
        return results.rows(columns, [(session.warehouse or "COMPUTE_WH", "STARTED", "STANDARD", "X-Small")])
    database, schema, table = _scope(session, command)
    databases = {database} if database and command.what != "DATABASES" else session.catalog.names()
    if unknown := databases - session.catalog.names():
        raise not_found("Database", min(unknown))
    if command.what == "STREAMS":
        sql = streams.show_sql(session, databases) if databases else "SELECT NULL AS name WHERE false"
    elif command.what == "TASKS":
        sql = tasks.show_sql(databases) if databases else "SELECT NULL AS name WHERE false"
    else:
        sql = " UNION ALL ".join(
            _QUERIES[command.what].format(d=quote(d), n=literal(d), h=f"{quote(d)}.{HIDDEN}")
            for d in sorted(databases)
        )
    name = "column_name" if command.what == "COLUMNS" else "name"
    where = ["true"]
    if schema and command.what not in _WHOLE_DATABASE:
        if database and not session.catalog.has_schema(session.cursor, database, schema):
            raise not_found("Schema", f"{database}.{schema}")
        where.append(f'"schema_name" = {literal(schema)}')
    if table:
        where.append(f'"table_name" = {literal(table)}')
    if command.like is not None:
        where.append(f"\"{name}\" ILIKE {literal(command.like)} ESCAPE '\\'")
    if command.starts is not None:
        where.append(f'starts_with("{name}", {literal(command.starts)})')
    limit = f" LIMIT {command.limit}" if command.limit is not None else ""
    order = "" if command.what == "COLUMNS" else ' ORDER BY "name"'
    return results.fetch(
        session.cursor, f"SELECT * FROM ({sql}) WHERE {' AND '.join(where)}{order}{limit}", results.SHOW
    )


def describe_table(session: Session, tree: exp.Describe) -> results.Result:
    """DESCRIBE TABLE | VIEW."""
    name = resolve_table(tree.this, session.database, session.schema)
    if not session.exists(name):
        raise not_found("Table", name.dotted)
    sql = f"""SELECT COLUMN_NAME AS "name",
        replace(CASE WHEN FULL_TYPE = 'TEXT' THEN 'TEXT(16777216)'
             WHEN FULL_TYPE LIKE 'TIME%' THEN FULL_TYPE || '(9)'
             WHEN FULL_TYPE = 'BINARY' THEN 'BINARY(8388608)'
             ELSE FULL_TYPE END, 'TEXT', 'VARCHAR') AS "type",
        'COLUMN' AS "kind", CASE IS_NULLABLE WHEN 'YES' THEN 'Y' ELSE 'N' END AS "null?",
        COLUMN_DEFAULT AS "default", CASE WHEN IS_KEY THEN 'Y' ELSE 'N' END AS "primary key",
        'N' AS "unique key",
        NULL::VARCHAR AS "check", NULL::VARCHAR AS "expression", COMMENT AS "comment",
        NULL::VARCHAR AS "policy name", NULL::VARCHAR AS "privacy domain"
        FROM {quote(name.database)}.{HIDDEN}.information_columns
        WHERE TABLE_SCHEMA = {literal(name.schema)} AND TABLE_NAME = {literal(name.name)}
        ORDER BY ORDINAL_POSITION"""
    return results.fetch(session.cursor, sql, results.DESCRIBE)


def _scope(session: Session, command: Show) -> tuple[str | None, str | None, str | None]:
    """(database, schema, table) a SHOW is about; None stands for all of them."""
    parts = command.name
    if command.scope == "ACCOUNT":
        return None, None, None
    if command.scope == "DATABASE":
        return (parts[0] if parts else session.database), None, None
    if command.scope in ("TABLE", "VIEW"):
        name = Name(*([session.database or "", session.schema or ""][: 3 - len(parts)] + parts))
        return name
    if parts:
        if command.what == "SCHEMAS" or (
            len(parts) == 1 and parts[0] in session.catalog.names() and not command.scope
        ):
            return parts[0], None, None
        return (parts[0] if len(parts) > 1 else session.database), parts[-1], None
    return session.database, session.schema, None
