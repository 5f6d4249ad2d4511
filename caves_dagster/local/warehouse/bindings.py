"""Bind values of `?` placeholders, written into the statement as literals before it is parsed.

The client sends each with its Snowflake type. Literals, because fakesnow and the parts of this server read
their arguments (a stage's name, IDENTIFIER(?), ON_ERROR = ?) from the tree.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlglot
from sqlglot import TokenType

from caves_dagster.local.warehouse.errors import StatementError

Binding = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_of(bindings: dict[str, Binding]) -> list[list[Binding]]:
    """The rows of values to run a statement with: one, or as many as an array binding holds."""
    ordered = [bindings[key] for key in sorted(bindings, key=int)]
    if not any(isinstance(binding["value"], list) for binding in ordered):
        return [ordered]
    columns = [[{"type": b["type"], "value": value} for value in b["value"]] for b in ordered]
    return [list(row) for row in zip(*columns, strict=True)]


def inline(sql: str, values: list[Binding]) -> str:
    """The statement with its placeholders replaced.

    Raises:
        StatementError: 2049, if there are more placeholders than values.
    """
    out, at, used = [], 0, 0
    for token in sqlglot.tokenize(sql, read="snowflake"):
        if token.token_type != TokenType.PLACEHOLDER:
            continue
        if used == len(values):
            raise StatementError(f"SQL compilation error:\nBind variable ?{used + 1} not set.", 2049, "22000")
        out.append(sql[at : token.start])
        out.append(_literal(values[used]))
        at, used = token.end + 1, used + 1
    return "".join(out) + sql[at:]


def merge_rows(sql: str, rows: list[list[Binding]]) -> str | None:
    """One statement for a whole array binding of `INSERT … VALUES (?, …)`, or None for any other form."""
    tokens = sqlglot.tokenize(sql, read="snowflake")
    places = [i for i, t in enumerate(tokens) if t.token_type == TokenType.VALUES]
    if len(places) != 1 or tokens[0].token_type != TokenType.INSERT:
        return None
    rest = sql[tokens[places[0]].end + 1 :].strip().rstrip(";")
    if not rest.startswith("("):
        return None
    return sql[: tokens[places[0]].end + 1] + " " + ", ".join(inline(rest, row) for row in rows)


def _literal(binding: Binding) -> str:
    kind, value = binding["type"], binding["value"]
    if value is None:
        return "NULL"
    text = str(value)
    if kind in ("FIXED", "REAL"):
        float(text)  # nothing but a number goes in unquoted
        return f"({text})" if kind == "FIXED" else f"({_quoted(text)}::FLOAT)"
    if kind == "BOOLEAN":
        return "TRUE" if text.lower() in ("true", "1") else "FALSE"
    if kind == "DATE":
        return f"({_quoted((_EPOCH + timedelta(milliseconds=int(text))).date().isoformat())}::DATE)"
    if kind == "TIME":
        return f"({_quoted((_EPOCH + timedelta(microseconds=int(text) // 1000)).time().isoformat())}::TIME)"
    if kind in ("TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ"):
        moment = _EPOCH + timedelta(microseconds=int(text.split(" ")[0]) // 1000)
        shown = moment.replace(tzinfo=None).isoformat(sep=" ")
        return f"({_quoted(shown if kind == 'TIMESTAMP_NTZ' else shown + '+00:00')}::{kind})"
    if kind == "BINARY":
        return f"X'{bytes.fromhex(text).hex()}'"
    return _quoted(text)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
