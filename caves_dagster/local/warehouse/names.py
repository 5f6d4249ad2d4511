"""Names of objects: resolved against a session's database and schema, and quoted for DuckDB."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import exp

from caves_dagster.local.warehouse.errors import StatementError

HIDDEN = "_caves"
"""Schema of every database that holds what the server itself keeps; no SHOW lists it."""


def quote(name: str) -> str:
    """A name as a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """A text as a DuckDB string literal."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


class Name(NamedTuple):
    """A fully qualified object."""

    database: str
    schema: str
    name: str

    @property
    def sql(self) -> str:
        """Quoted for DuckDB."""
        return ".".join(quote(part) for part in self)

    @property
    def dotted(self) -> str:
        """As Snowflake prints it."""
        return ".".join(self)

    def table(self) -> exp.Table:
        """As a node of a statement."""
        return exp.table_(self.name, db=self.schema, catalog=self.database, quoted=True)


def folded(identifier: exp.Expr | None) -> str:
    """An identifier as Snowflake stores it: upper case unless quoted."""
    if not isinstance(identifier, exp.Identifier):
        return ""
    return identifier.name if identifier.quoted else identifier.name.upper()


def resolve(parts: list[str], database: str | None, schema: str | None) -> Name:
    """A name of one to three parts, completed by the current database and schema.

    Raises:
        StatementError: 90105 or 90106 where the session has none.
    """
    if len(parts) > 3 or not parts:
        raise StatementError(f"SQL compilation error:\nInvalid name '{'.'.join(parts)}'.", 1003)
    filled = [database, schema][: 3 - len(parts)] + parts
    if filled[0] is None:
        raise StatementError(
            "Cannot perform the operation. This session does not have a current database. "
            "Call 'USE DATABASE', or use a qualified name.",
            90105,
            "22000",
        )
    if filled[1] is None:
        raise StatementError(
            "Cannot perform the operation. This session does not have a current schema. "
            "Call 'USE SCHEMA', or use a qualified name.",
            90106,
            "22000",
        )
    return Name(str(filled[0]), str(filled[1]), str(filled[2]))


def resolve_table(table: exp.Table, database: str | None, schema: str | None) -> Name:
    """The object a table node stands for."""
    parts = [folded(table.args.get(key)) for key in ("catalog", "db", "this")]
    return resolve([part for part in parts if part], database, schema)
