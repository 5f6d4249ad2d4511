"""Snowflake SQL to DuckDB SQL: fakesnow's rewrites of the tree, and this server's own before them.

The tree is rewritten in place, one walk a rule. `expressions.py` holds the rules for single expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

# sqlglot loads a dialect when it is first asked for; a second thread that asks meanwhile gets it half made.
import sqlglot.dialects.duckdb
import sqlglot.dialects.snowflake  # noqa: F401
from fakesnow import checks, transforms
from sqlglot import exp

from caves_dagster.local.warehouse import expressions
from caves_dagster.local.warehouse.errors import StatementError, not_found
from caves_dagster.local.warehouse.metadata import INFORMATION_SCHEMA
from caves_dagster.local.warehouse.names import HIDDEN, folded
from caves_dagster.local.warehouse.words import Words

Rule = Callable[[exp.Expr], exp.Expr]

_FAKESNOW: tuple[Rule, ...] = (
    transforms.current_version,
    transforms.semi_structured_types,
    transforms.split,
    transforms.trim_cast_varchar,
    # indices_to_json_extract must come before regex_substr
    transforms.indices_to_json_extract,
    transforms.json_extract_cast_as_varchar,
    transforms.json_extract_cased_as_varchar,
    transforms.json_extract_precedence,
    transforms.flatten,
    transforms.regex_replace,
    transforms.regex_substr,
    transforms.sequence_nextval,
    transforms.values_columns,
    transforms.to_date,
    transforms.timestamp_offsets,
    transforms.to_decimal,
    expressions.to_timestamp,
    transforms.to_variant,
    transforms.object_construct,
    transforms.timestamp_ntz,
    transforms.float_to_double,
    transforms.integer_precision,
    transforms.sample,
    transforms.array_size,
    transforms.random,
    transforms.array_agg_within_group,
    transforms.array_agg,
    transforms.object_agg,
    transforms.array_construct_etc,
    transforms.dateadd_date_cast,
    transforms.dateadd_string_literal_timestamp_cast,
    transforms.datediff_string_literal_timestamp_cast,
    transforms.haversine,
    transforms.hex_string,
    transforms.sha256,
    transforms.create_clone,
    transforms.alias_in_join,
    transforms.alias_in_where,
)


@dataclass(frozen=True)
class Context:
    """What a session's statements are read against."""

    database: str | None
    schema: str | None
    functions: dict[str, str | None]
    """Values of the context functions: CURRENT_SESSION, CURRENT_TRANSACTION, CURRENT_USER …"""


def normalise(tree: exp.Expr, context: Context) -> exp.Expr:
    """IDENTIFIER() resolved, unquoted names folded, tables qualified; still Snowflake's dialect."""
    tree = tree.transform(_identifier, copy=False).transform(
        transforms.upper_case_unquoted_identifiers, copy=False
    )
    return tree.transform(lambda node: _qualify(node, context), copy=False)


def check_current(tree: exp.Expr, context: Context) -> None:
    """Refuse names that need a current database or schema where the session has none."""
    no_database, no_schema = checks.is_unqualified_table_expression(tree)
    missing = ("database", 90105) if no_database and not context.database else None
    missing = missing or (("schema", 90106) if no_schema and not context.schema else None)
    if missing:
        raise StatementError(
            f"Cannot perform {tree.key.upper()}. This session does not have a current {missing[0]}. "
            f"Call 'USE {missing[0].upper()}', or use a qualified name.",
            missing[1],
            "22000",
        )


def to_duckdb(tree: exp.Expr, context: Context) -> str:
    """The DuckDB text of a normalised tree."""
    return duckdb_tree(tree, context).sql(dialect="duckdb", identify=True)


def duckdb_tree(tree: exp.Expr, context: Context) -> exp.Expr:
    """The DuckDB tree of a normalised tree."""
    tree = tree.transform(lambda node: expressions.context_function(node, context.functions), copy=False)
    for rule in (*expressions.RULES, *_FAKESNOW):
        tree = tree.transform(rule, copy=False)
    if seed := tree.args.get("seed"):
        tree.args.pop("seed")
        raise StatementError(f"RANDOM with a seed ({seed}) is not supported.", 2, "0A000")
    return tree


def _identifier(node: exp.Expr) -> exp.Expr:
    if not isinstance(node, exp.Table):
        return node
    inner = node.this
    if isinstance(inner, exp.Anonymous) and str(inner.this).upper() == "IDENTIFIER":
        argument = inner.expressions[0]
    elif isinstance(inner, exp.DynamicIdentifier):
        argument = inner.this
    else:
        return node
    text = argument.name if isinstance(argument, exp.Expr) else str(argument)
    parts = Words(text).name()
    table, schema, database = [*reversed(parts), None, None][:3]
    found = exp.table_(table, db=schema, catalog=database, quoted=True)
    for key in ("alias", "joins"):
        if node.args.get(key):
            found.set(key, node.args[key])
    return found


def _qualify(node: exp.Expr, context: Context) -> exp.Expr:
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        return node
    schema = folded(node.args.get("db"))
    if schema.upper() == HIDDEN.upper() or folded(node.args.get("catalog")).upper() in (
        "MEMORY",
        "TEMP",
        "SYSTEM",
    ):
        raise not_found("Object", node.sql())
    if schema == "INFORMATION_SCHEMA" or (not schema and context.schema == "INFORMATION_SCHEMA"):
        view = node.name.upper()
        if view not in INFORMATION_SCHEMA:
            raise not_found("Object", f"INFORMATION_SCHEMA.{view}")
        node.set("alias", node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(view, quoted=True)))
        node.set("this", exp.to_identifier(f"information_{view.lower()}", quoted=True))
        node.set("db", exp.to_identifier(HIDDEN, quoted=True))
        if not node.args.get("catalog") and context.database:
            node.set("catalog", exp.to_identifier(context.database, quoted=True))
        return node
    # A name of two parts could also be a database's table in `main` to DuckDB, which then calls it ambiguous.
    is_schema_node = isinstance(node.parent, exp.Create | exp.Drop | exp.Use)
    if schema and not node.args.get("catalog") and context.database and not is_schema_node:
        node.set("catalog", exp.to_identifier(context.database, quoted=True))
    return node
