"""Column definitions: what DuckDB is told of them, and what only the hidden metadata keeps.

VARCHAR(n) and BINARY(n) become CHECK constraints, so that every way of writing obeys them. PRIMARY KEY,
UNIQUE and FOREIGN KEY are recorded but not enforced, and a key column is NOT NULL: as in Snowflake.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from caves_dagster.local.warehouse.errors import unsupported
from caves_dagster.local.warehouse.names import HIDDEN, Name, folded, literal, quote

_LONGEST = 16_777_216
_TYPE = exp.DataType.Type
_FIXED_TEXT = {_TYPE.CHAR, _TYPE.NCHAR}
_TEXT = {_TYPE.VARCHAR, _TYPE.TEXT, _TYPE.NVARCHAR, *_FIXED_TEXT}
_BINARY = {_TYPE.BINARY, _TYPE.VARBINARY}
_KEYS = (exp.PrimaryKeyColumnConstraint, exp.UniqueColumnConstraint, exp.Reference, exp.ForeignKey)
_TABLE_KEYS = (exp.PrimaryKey, exp.UniqueColumnConstraint, exp.ForeignKey, exp.Constraint)


@dataclass
class Columns:
    """The columns of a definition, apart from what only the metadata keeps."""

    definitions: list[exp.Expr] = field(default_factory=list)
    declared: list[tuple[str, str | None, str | None, bool]] = field(default_factory=list)
    """(name, type as declared, comment, whether it is of the primary key), one a column."""

    def insert_sql(self, table: Name) -> str | None:
        """The statement that records them."""
        if not self.declared:
            return None
        values = ", ".join(
            f"({literal(table.schema)}, {literal(table.name)}, {literal(name)}, {literal(kind)}, "
            f"{literal(comment)}, {key})"
            for name, kind, comment, key in self.declared
        )
        return f"INSERT INTO {quote(table.database)}.{HIDDEN}.columns VALUES {values}"


def read_columns(nodes: list[exp.Expr]) -> Columns:
    """Split column definitions into what DuckDB takes and what the metadata keeps."""
    found = Columns()
    keys = {
        folded(part if isinstance(part, exp.Identifier) else part.find(exp.Identifier))
        for node in nodes
        if isinstance(node, _TABLE_KEYS) and (primary := node.find(exp.PrimaryKey))
        for part in primary.expressions
    }
    for node in nodes:
        if isinstance(node, exp.Identifier):
            found.definitions.append(node)
            found.declared.append((node.name, None, None, False))
        elif isinstance(node, exp.ColumnDef):
            _read_column(node, found, in_key=node.name in keys)
    return found


def _read_column(node: exp.ColumnDef, found: Columns, *, in_key: bool) -> None:
    kept, comment = [], None
    for constraint in node.args.get("constraints") or []:
        inner = constraint.kind if isinstance(constraint, exp.ColumnConstraint) else constraint
        if isinstance(inner, exp.CommentColumnConstraint):
            comment = inner.this.name
        elif isinstance(inner, exp.PrimaryKeyColumnConstraint):
            in_key = True
        elif isinstance(inner, exp.AutoIncrementColumnConstraint | exp.GeneratedAsIdentityColumnConstraint):
            raise unsupported("AUTOINCREMENT and IDENTITY columns")
        elif not isinstance(inner, _KEYS):
            kept.append(constraint)
    if in_key and not any(isinstance(c.kind, exp.NotNullColumnConstraint) for c in kept):
        kept.append(exp.ColumnConstraint(kind=exp.NotNullColumnConstraint()))
    declared = declared_type(node.kind) if node.kind else None
    if node.kind and (limit := _limit(node.kind)):
        kept.append(exp.ColumnConstraint(kind=exp.CheckColumnConstraint(this=limit(node.name))))
    definition = node.copy()
    definition.set("constraints", [c.copy() for c in kept])
    if definition.kind and definition.kind.this in _TEXT:
        definition.set("kind", exp.DataType(this=_TYPE.TEXT))
    elif definition.kind and definition.kind.this in _BINARY:
        definition.set("kind", exp.DataType(this=_TYPE.VARBINARY))
    found.definitions.append(definition)
    found.declared.append((node.name, declared, comment, in_key))


class _limit:
    """The CHECK that a sized text or binary column needs; false where it needs none."""

    def __init__(self, kind: exp.DataType) -> None:
        self.function = "length" if kind.this in _TEXT else "octet_length" if kind.this in _BINARY else ""
        self.size = _size(kind) or (1 if kind.this in _FIXED_TEXT else 0)

    def __bool__(self) -> bool:
        return bool(self.function) and 0 < self.size < _LONGEST

    def __call__(self, column: str) -> exp.Expr:
        length = exp.Anonymous(this=self.function, expressions=[exp.column(column, quoted=True)])
        return exp.LTE(this=length, expression=exp.Literal.number(self.size))


def _size(kind: exp.DataType) -> int:
    return int(kind.expressions[0].name) if kind.expressions else 0


def declared_type(kind: exp.DataType) -> str:
    """A type as DESCRIBE and INFORMATION_SCHEMA name it."""
    if kind.this in _TEXT:
        return f"TEXT({_size(kind) or (1 if kind.this in _FIXED_TEXT else _LONGEST)})"
    if kind.this in _BINARY:
        return f"BINARY({_size(kind) or 8388608})"
    if kind.this is _TYPE.DECIMAL:
        digits = [part.name for part in kind.expressions]
        return f"NUMBER({digits[0] if digits else 38},{digits[1] if len(digits) > 1 else 0})"
    if kind.this in exp.DataType.INTEGER_TYPES:
        return "NUMBER(38,0)"
    if kind.this in (_TYPE.FLOAT, _TYPE.DOUBLE):
        return "FLOAT"
    if kind.this is _TYPE.TIMESTAMPLTZ:
        return "TIMESTAMP_LTZ"
    if kind.this is _TYPE.TIMESTAMPTZ:
        return "TIMESTAMP_TZ"
    if kind.this in (_TYPE.TIMESTAMP, _TYPE.TIMESTAMPNTZ, _TYPE.DATETIME):
        return "TIMESTAMP_NTZ"
    return str(kind.this.value) if isinstance(kind.this, exp.DataType.Type) else kind.sql(dialect="snowflake")
