"""Names of fields, as columns and in Python: free ones, whatever an event calls its fields."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_UNQUOTABLE = re.compile(r"""['"\\%{}\x00-\x1f]""")
_TAKEN = {
    "EVENT_ID", "EVENT_TIME", "PAYLOAD", "CREATED_AT", "INGESTION_TIME", "INGESTED_AT", "LOADED_AT",
    "UPDATED_AT", "BATCH_ID", "KAFKA_TOPIC", "KAFKA_PARTITION", "KAFKA_OFFSET", "KAFKA_TIMESTAMP",
}  # fmt: skip
# https://docs.snowflake.com/en/sql-reference/reserved-keywords, as far as they are likely names of fields
_RESERVED = {
    "ACCOUNT", "ALL", "ALTER", "AND", "ANY", "AS", "BETWEEN", "BY", "CASE", "CAST", "CHECK", "COLUMN",
    "CONNECT", "CONNECTION", "CONSTRAINT", "CREATE", "CROSS", "CURRENT", "DATABASE", "DELETE",
    "DISTINCT", "DROP", "ELSE", "EXISTS", "FALSE", "FOLLOWING", "FOR", "FROM", "FULL", "GRANT", "GROUP",
    "HAVING", "ILIKE", "IN", "INCREMENT", "INNER", "INSERT", "INTERSECT", "INTO", "IS", "ISSUE", "JOIN",
    "LATERAL", "LEFT", "LIKE", "LOCALTIME", "LOCALTIMESTAMP", "MINUS", "NATURAL", "NOT", "NULL", "OF",
    "ON", "OR", "ORDER", "ORGANIZATION", "QUALIFY", "REGEXP", "REVOKE", "RIGHT", "RLIKE", "ROW", "ROWS",
    "SAMPLE", "SCHEMA", "SELECT", "SET", "SOME", "START", "TABLE", "TABLESAMPLE", "THEN", "TO",
    "TRIGGER", "TRUE", "TRY_CAST", "UNION", "UNIQUE", "UPDATE", "USING", "VALUES", "VIEW", "WHEN",
    "WHENEVER", "WHERE", "WITH",
}  # fmt: skip


def holdable(path: Sequence[str]) -> bool:
    """Whether a SQL file can name the field: no quotes, and nothing that templates or binds would read."""
    return not any(_UNQUOTABLE.search(part) or not part.strip() for part in path)


def sql_path(path: Sequence[str]) -> str:
    """The path behind the colon of a VARIANT."""
    plain = (_PLAIN.fullmatch(part.lower()) and part.upper() not in _RESERVED for part in path)
    return ".".join(part if is_plain else f'"{part}"' for part, is_plain in zip(path, plain, strict=True))


def column_name(path: Sequence[str], taken: Sequence[str]) -> str:
    """A name that is free: the field's own, or with that of its object before it."""
    for start in range(len(path) - 1, -1, -1):
        name = upper("_".join(path[start:]))
        if name in _RESERVED or name in _TAKEN:
            name = f"SENT_{name}"
        if name not in taken:
            return name
    return f"{name}_{len(taken)}"


def upper(name: str) -> str:
    """A name as columns have it."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    without_accents = unicodedata.normalize("NFKD", parted.upper()).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Z0-9]+", "_", without_accents).strip("_") or "FIELD"
    return f"F_{plain}" if plain[0].isdigit() else plain


def attribute(name: str) -> str:
    """A field's name in Python; not `bool`, which is a type there."""
    if _PLAIN.fullmatch(name) and not keyword.iskeyword(name) and name[0] != "_" and name != "bool":
        return name
    return f"{upper(name).lower()}_"
