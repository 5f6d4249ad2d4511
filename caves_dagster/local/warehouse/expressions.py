"""Rules for single expressions: where DuckDB's function, cast or type differs from Snowflake's."""

from __future__ import annotations

from collections.abc import Callable

from fakesnow import transforms
from sqlglot import exp

from caves_dagster.local.warehouse.errors import StatementError, unsupported

_TEXT = exp.DataType.TEXT_TYPES
_CONTEXT_NODES: dict[type[exp.Expr], str] = {
    exp.CurrentTransaction: "CURRENT_TRANSACTION",
    exp.CurrentSession: "CURRENT_SESSION",
    exp.CurrentUser: "CURRENT_USER",
    exp.CurrentDatabase: "CURRENT_DATABASE",
    exp.CurrentSchema: "CURRENT_SCHEMA",
    exp.CurrentRole: "CURRENT_ROLE",
    exp.CurrentWarehouse: "CURRENT_WAREHOUSE",
    exp.CurrentAccount: "CURRENT_ACCOUNT",
}


def context_function(node: exp.Expr, values: dict[str, str | None]) -> exp.Expr:
    """CURRENT_SESSION() and its like become the value they have now."""
    name = _CONTEXT_NODES.get(type(node))
    if name is None and isinstance(node, exp.Anonymous):
        name = str(node.this).upper()
    if name is None or name not in values:
        return node
    value = values[name]
    return exp.Null() if value is None else exp.Literal.string(value)


def _parse_json(node: exp.Expr) -> exp.Expr:
    safe = False
    if isinstance(node, exp.ParseJSON):
        safe = bool(node.args.get("safe"))
    elif isinstance(node, exp.Anonymous) and str(node.this).upper() == "TRY_PARSE_JSON":
        safe = True
    else:
        return node
    text = node.this if isinstance(node, exp.ParseJSON) else node.expressions[0]
    call = exp.Anonymous(this="_caves_try_json" if safe else "_caves_strict_json", expressions=[text])
    return exp.Cast(this=call, to=exp.DataType.build("JSON"))


def _check_text(operand: exp.Expr, target: str) -> exp.Expr:
    """The operand of a TRY_ function, which Snowflake refuses where it is a VARIANT."""
    inner = operand.unnest() if isinstance(operand, exp.Paren) else operand
    variant = isinstance(inner, exp.Cast) and inner.to.is_type("VARIANT", "OBJECT", "ARRAY", "JSON")
    if variant or isinstance(inner, exp.JSONExtract | exp.ParseJSON | exp.Bracket | exp.ToVariant):
        raise StatementError(
            "SQL compilation error:\n"
            f"Function TRY_CAST cannot be used with arguments of types VARIANT and {target}",
            1065,
            "22023",
        )
    if isinstance(inner, exp.Cast) or inner.is_string:
        return operand
    return exp.Anonymous(this="_caves_try_text", expressions=[operand, exp.Literal.string(target)])


def _try_cast(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.TryCast) and not node.meta.get("checked"):
        node.set("this", _check_text(node.this, node.to.sql(dialect="snowflake")))
        node.meta["checked"] = True
        if node.to.is_type(*exp.DataType.NUMERIC_TYPES):
            node.set("this", exp.Anonymous(this="_caves_number_text", expressions=[node.this]))
    return node


def _try_number(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.ToNumber) and node.args.get("safe") and not node.meta.get("checked"):
        operand = _check_text(node.this, "NUMBER")
        node.set("this", exp.Anonymous(this="_caves_number_text", expressions=[operand]))
        node.meta["checked"] = True
    return node


def _cast_to_text(node: exp.Expr) -> exp.Expr:
    """A cast to VARCHAR prints what Snowflake prints. Path expressions are left to fakesnow's ->>."""
    if type(node) is exp.Cast and node.to.this in _TEXT:
        operand = node.this
        if isinstance(operand, exp.JSONExtract | exp.Bracket) or operand.is_string:
            return node
        return _text(operand)
    if isinstance(node, exp.ToChar):
        shape = node.args.get("format")
        return _formatted(node.this, shape.name) if shape is not None else _text(node.this)
    return node


def _text(operand: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="_caves_text", expressions=[operand])


# Longest first: FF3 before FF, HH24 before MM's neighbours.
_FORMATS = (
    ("YYYY", "%Y"), ("HH24", "%H"), ("HH12", "%I"), ("MMMM", "%B"), ("FF9", "%n"), ("FF6", "%f"),
    ("FF3", "%g"), ("MON", "%b"), ("DY", "%a"), ("YY", "%y"), ("MM", "%m"), ("DD", "%d"), ("HH",
        "%H"), ("MI", "%M"),
    ("SS", "%S"), ("FF", "%n"), ("AM", "%p"), ("PM", "%p"),
)  # fmt: skip
_DECODERS = {"UTF-8": "decode", "UTF8": "decode", "BASE64": "to_base64", "HEX": "hex"}


def _formatted(operand: exp.Expr, shape: str) -> exp.Expr:
    """TO_VARCHAR(x, format): a date or timestamp by its format, a BINARY by its encoding."""
    if decoder := _DECODERS.get(shape.upper()):
        return exp.Anonymous(this=decoder, expressions=[operand])
    out, rest = "", shape
    while rest:
        found = next(((code, made) for code, made in _FORMATS if rest.upper().startswith(code)), None)
        step = found or (rest[0], rest[0].replace("%", "%%").replace('"', ""))
        out, rest = out + step[1], rest[len(step[0]) :]
    moment = exp.Cast(this=operand, to=exp.DataType.build("TIMESTAMP"))
    return exp.Anonymous(this="strftime", expressions=[moment, exp.Literal.string(out)])


def _divide(node: exp.Expr) -> exp.Expr:
    """DuckDB makes infinity of a division by zero; Snowflake refuses it."""
    if not isinstance(node, exp.Div) or node.meta.get("checked"):
        return node
    divisor = node.expression.unnest()
    if isinstance(divisor, exp.Literal) and divisor.this.strip("0.") != "":
        return node
    node.meta["checked"] = True
    return exp.Anonymous(this="_caves_divide", expressions=[node.this, node.expression])


def _ratio_to_report(node: exp.Expr) -> exp.Expr:
    if (
        isinstance(node, exp.Window)
        and isinstance(node.this, exp.Anonymous)
        and str(node.this.this).upper() == "RATIO_TO_REPORT"
    ):
        part = node.this.expressions[0]
        whole = node.copy()
        whole.set("this", exp.Sum(this=part.copy()))
        return exp.Paren(this=exp.Div(this=part.copy(), expression=whole))
    return node


_BINARY = {"BASE64": "from_base64", "HEX": "unhex", "UTF-8": "encode", "UTF8": "encode"}


def _to_binary(node: exp.Expr) -> exp.Expr:
    if not isinstance(node, exp.ToBinary):
        return node
    encoding = node.args.get("format")
    name = encoding.name.upper() if encoding is not None else "HEX"
    if name not in _BINARY:
        raise StatementError(f"SQL compilation error:\ninvalid value ['{name}'] for TO_BINARY", 1008, "22023")
    call = exp.Anonymous(this=_BINARY[name], expressions=[node.this])
    return exp.Anonymous(this="TRY", expressions=[call]) if node.args.get("safe") else call


_ZONED = {"TRY_TO_TIMESTAMP_TZ", "TRY_TO_TIMESTAMP_LTZ", "TO_TIMESTAMP_TZ", "TO_TIMESTAMP_LTZ"}


def _to_timestamp(node: exp.Expr) -> exp.Expr:
    if not isinstance(node, exp.Anonymous):
        return node
    name = str(node.this).upper()
    if name in _ZONED and len(node.expressions) == 1:
        operand = node.expressions[0]
        if name.startswith("TRY_"):
            return exp.TryCast(
                this=_check_text(operand, "TIMESTAMP_TZ"), to=exp.DataType.build("TIMESTAMPTZ")
            )
        return exp.cast(operand, "TIMESTAMPTZ")
    if name in ("TRY_TO_TIMESTAMP", "TRY_TO_TIMESTAMP_NTZ") and len(node.expressions) == 1:
        operand = _check_text(node.expressions[0], "TIMESTAMP_NTZ")
        return exp.TryCast(this=operand, to=exp.DataType.build("TIMESTAMP"))
    return node


def to_timestamp(node: exp.Expr) -> exp.Expr:
    """fakesnow's rule, kept from TRY_CAST: it makes of it a function that fails."""
    return node if isinstance(node, exp.TryCast) else transforms.to_timestamp(node)


_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike)


def _compare_text(node: exp.Expr) -> exp.Expr:
    """A path into a VARIANT compared with a text is compared as text; as JSON it still has its quotes."""
    if isinstance(node, exp.In) and any(item.is_string for item in node.expressions):
        _as_text(node.this)
    elif isinstance(node, _COMPARISONS):
        for one, two in ((node.this, node.expression), (node.expression, node.this)):
            if two.is_string:
                _as_text(one)
    return node


def _as_text(operand: exp.Expr) -> None:
    if isinstance(operand, exp.JSONExtract):
        operand.replace(exp.JSONExtractScalar(this=operand.this, expression=operand.expression))


def _flatten(node: exp.Expr) -> exp.Expr:
    """fakesnow's FLATTEN reads its input and drops the other arguments without a word."""
    if isinstance(node, exp.Explode) and node.expressions:
        given = ", ".join(item.sql(dialect="snowflake") for item in node.expressions)
        raise unsupported(f"FLATTEN with {given}")
    return node


RULES: tuple[Callable[[exp.Expr], exp.Expr], ...] = (
    _try_number,
    _to_timestamp,
    _try_cast,
    _parse_json,
    _flatten,
    _compare_text,
    _cast_to_text,
    _to_binary,
    _ratio_to_report,
    _divide,
)
"""In the order they are applied."""
