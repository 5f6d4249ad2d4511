"""What the tables are, read from their DDL: the one description of columns, types and comments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import sqlglot
from sqlglot import exp

from caves_dagster.shop import BatchTable, Shop
from caves_dagster.warehouse.scripts import setup_sql

# The parser's spelling of some types, and Snowflake's documentation's.
_SPELLING = {
    "INT": "INTEGER",
    "DOUBLE": "FLOAT",
    "TIMESTAMPLTZ": "TIMESTAMP_LTZ",
    "TIMESTAMPNTZ": "TIMESTAMP_NTZ",
}


@dataclass(frozen=True)
class Column:
    """One column as its CREATE TABLE gives it."""

    name: str
    type: str
    comment: str
    nullable: bool
    default: str = ""


@dataclass(frozen=True)
class Described:
    """A table or view, with its COMMENT; a view has no columns here."""

    full_name: str
    comment: str
    columns: tuple[Column, ...]


@cache
def described(shop: Shop) -> dict[str, Described]:
    """Every table and view in a shop's setup, by `SCHEMA.NAME`."""
    found = {}
    for statement in setup_sql(shop):
        # Streams and stages are not tables, and sqlglot does not parse every one of their options.
        if not statement.lstrip().upper().startswith(("CREATE TABLE", "CREATE OR REPLACE VIEW")):
            continue
        created = sqlglot.parse_one(statement, dialect="snowflake")
        assert isinstance(created, exp.Create)
        table = created.find(exp.Table)
        assert table is not None
        full_name = f"{table.db}.{table.name}".upper()
        columns = created.this.find_all(exp.ColumnDef) if created.kind == "TABLE" else ()
        found[full_name] = Described(full_name, _comment(created), tuple(_column(item) for item in columns))
    return found


def source_columns(shop: Shop, table: BatchTable) -> tuple[Column, ...]:
    """The columns that a table of the batch source has, in the order of the DDL."""
    found = described(shop)[table.table.full_name].columns
    return tuple(column for column in found if not table.columns or column.name in table.columns)


def _comment(created: exp.Create) -> str:
    found = created.find(exp.SchemaCommentProperty)
    return found.this.name if found is not None else ""


def _column(definition: exp.ColumnDef) -> Column:
    constraints = [constraint.kind for constraint in definition.constraints]
    comment = next((c.this.name for c in constraints if isinstance(c, exp.CommentColumnConstraint)), "")
    not_null = any(isinstance(c, exp.NotNullColumnConstraint) for c in constraints)
    kind = definition.kind.sql(dialect="snowflake") if definition.kind is not None else ""
    default = next(
        (c.this.sql("snowflake") for c in constraints if isinstance(c, exp.DefaultColumnConstraint)), ""
    )
    return Column(definition.name.upper(), _SPELLING.get(kind, kind), comment, not not_null, default)
