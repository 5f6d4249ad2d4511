"""Every SQL file as the product renders it: Snowflake's grammar by two parsers, house rules, SPEC's names.

sqlfluff lints by `.sqlfluff`; the policies are read off sqlglot's tree or tokens. Nothing here connects.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import sqlglot
from sqlglot import TokenType, exp
from sqlglot.dialects.snowflake import Snowflake

import caves_dagster
from caves_dagster.checks.catalogue import shop_checks
from caves_dagster.checks.check import SqlFinder
from caves_dagster.settings import PROJECT_ROOT, embedded_settings
from caves_dagster.shop import SQL_ROOT, Shop, Table
from caves_dagster.shops import shops
from caves_dagster.warehouse.ddl import described
from caves_dagster.warehouse.scripts import render, setup_sql, statements

_LIBRARY = {
    "as_staged.sql",
    "checks.sql",
    "copy.sql",
    "dead_letters.sql",
    "panels.sql",
    "raw_rows.sql",
    "references.sql",
    "shop_checks.sql",
    "versions.sql",
}
"""Macros, which other files import."""
_BIND = re.compile(r"%\((\w+)\)s")


def declared_shops() -> tuple[Shop, ...]:
    return shops(embedded_settings(Path("unused")))


@dataclass(frozen=True)
class Rendered:
    """One file, rendered one way; binds replaced by text."""

    name: str
    sql: str
    how: str = ""

    def __str__(self) -> str:
        return f"{self.name}{self.how}"


def _uses(shop: Shop) -> Iterator[Rendered]:
    """What the product reads for a shop: the same names and the same arguments."""

    def rendered(name: str, how: str = "", **names: object) -> Rendered:
        return Rendered(name, _BIND.sub(r"'\1'", render(shop.sql, name, **names)), how)

    for path in sorted((SQL_ROOT / "ingest" / "setup").glob("*.sql")):
        yield rendered(f"ingest/setup/{path.name}", raw=shop.raw)
    for path in sorted((SQL_ROOT / "ingest").glob("*.sql")):
        yield rendered(f"ingest/{path.name}", raw=shop.raw, file="f.parquet")
    for path in sorted((SQL_ROOT / "ingest" / "fill").glob("*.sql")):
        yield rendered(f"ingest/fill/{path.name}", raw=shop.raw)
    for path in sorted((SQL_ROOT / "deploy").glob("*.sql")):
        yield rendered(f"deploy/{path.name}", raw=shop.raw, schemas=["RAW_DATA", "B"], tables=["A.F", "B.F"])
    for path in sorted((SQL_ROOT / "transform").glob("*.sql")):
        step = shop.transformations[0]
        names = {"stream": step.stream.full_name, "source": step.source.full_name}
        yield rendered(f"transform/{path.name}", raw=shop.raw, **names)
    yield from _batch_uses(shop)
    for path in sorted((shop.folder / "setup").glob("*.sql")):
        yield rendered(f"{shop.name}/setup/{path.name}")
    yield rendered(f"{shop.name}/raw/{shop.raw.name.lower()}.sql", file="f.parquet")
    for step in shop.transformations:
        for table in step.writes:
            for source in (step.stream, step.source):
                name = f"{shop.name}/{step.layer}/{table.name.lower()}.sql"
                yield rendered(name, f" from {source.full_name}", source=source.full_name)
    for view in shop.views:
        yield rendered(f"{shop.name}/analytics/{view.name.lower()}.sql")
        if view.summarised:
            yield rendered(f"{shop.name}/analytics/summary/{view.name.lower()}.sql")
    yield rendered("dashboard/figures.sql", shop=shop)
    for part in shop.dashboard.parts:
        yield rendered(f"{shop.name}/dashboard/{part}.sql")
    for check in shop_checks(embedded_settings(Path("unused")), shop):
        if isinstance(check.find, SqlFinder):
            for windowed in (False, True)[: 1 + check.windowed]:
                how = f" of {check.name}{' windowed' if windowed else ''}"
                yield Rendered(check.find.path, _BIND.sub(r"'\1'", check.find.sql(shop, windowed)), how)


def _batch_uses(shop: Shop) -> Iterator[Rendered]:
    """What the batch half reads: the same names and the same arguments."""
    if shop.batch is None:
        return
    for path in sorted((SQL_ROOT / "batch" / "setup").glob("*.sql")):
        sql = render(SQL_ROOT, f"batch/setup/{path.name}", schema=shop.batch.schema)
        yield Rendered(f"batch/setup/{path.name}", sql)
    yield Rendered("batch/take_fence.sql", render(SQL_ROOT, "batch/take_fence.sql", schema=shop.batch.schema))
    for table in shop.batch.tables:
        names = {
            "table": table.table.full_name,
            "loading": f"{table.table.full_name}_LOADING",
            "key": table.key,
            "columns": [column.name for column in described(shop)[table.table.full_name].columns],
        }
        for day in dict.fromkeys((table.day, None)):
            sql = _BIND.sub("'2026-06-30'", render(SQL_ROOT, "batch/exchange.sql", day=day, **names))
            yield Rendered("batch/exchange.sql", sql, f" {table.table.name} by {day}")


@cache
def _all() -> tuple[Rendered, ...]:
    return tuple(one for shop in declared_shops() for one in _uses(shop))


@cache
def _statements() -> tuple[tuple[str, str], ...]:
    """File and text of every statement."""
    return tuple((str(one), text) for one in _all() for text in statements(one.sql))


def _trees(text: str) -> list[exp.Expr]:
    return [tree for tree in sqlglot.parse(text, dialect="snowflake") if tree is not None]


every_rendering = pytest.mark.parametrize("rendered", _all(), ids=str)
# From its table a transformation reads as from its stream: one of the two is enough for the slower parser.
once_a_source = pytest.mark.parametrize(
    "rendered", [one for one in _all() if not one.how.startswith(" from ") or ".STREAM_" in one.how], ids=str
)


def test_the_product_uses_every_file() -> None:
    files = {path.relative_to(SQL_ROOT).as_posix() for path in SQL_ROOT.rglob("*.sql")}
    # Those are for people: deploy/test_account.py.
    files = {name for name in files if not name.startswith("account/")}

    # `tasks/test_graph.py` tries those of task mode, which are blocks and not scripts.
    assert {name for name in files - _LIBRARY if not name.startswith("tasks/")} == {
        one.name for one in _all()
    }


def test_the_code_names_every_file_of_ingestion() -> None:
    code = "".join(path.read_text() for path in Path(caves_dagster.__file__).parent.rglob("*.py"))

    for path in (SQL_ROOT / "ingest").glob("*.sql"):
        assert f'"ingest/{path.name}"' in code


@once_a_source
def test_is_snowflake_s_sql_and_lints_clean(rendered: Rendered) -> None:
    from sqlfluff.core import FluffConfig, Linter

    config = FluffConfig.from_path(str(PROJECT_ROOT))
    linted = Linter(config=config).lint_string(rendered.sql.rstrip() + "\n", fname=rendered.name)

    assert linted.tree is not None
    assert not list(linted.tree.recursive_crawl("unparsable"))
    assert [f"{v.line_no}: {v.rule_code()} {v.desc()}" for v in linted.get_violations()] == []


@every_rendering
def test_parses_in_a_second_grammar(rendered: Rendered, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="sqlglot")

    for statement in statements(rendered.sql):
        (tree,) = _trees(statement)
        # Only streams are beyond it.
        assert not isinstance(tree, exp.Command) or re.match(r"CREATE (OR REPLACE )?STREAM ", statement)


# --- house rules ---

_LOSSY = {
    exp.DType.DECIMAL,
    exp.DType.DATE,
    exp.DType.TIMESTAMP,
    exp.DType.TIMESTAMPNTZ,
    exp.DType.TIMESTAMPLTZ,
    exp.DType.TIMESTAMPTZ,
}
_NUMBERS = {f"{t}TO_{n}" for t in ("", "TRY_") for n in ("NUMBER", "DECIMAL", "NUMERIC")}
_WITHOUT_OFFSET = {f"{t}TO_TIMESTAMP{n}" for t in ("", "TRY_") for n in ("", "_NTZ")}
_ITS_SOURCE_IS_A_DICTIONARY = "ingest/write_positions.sql"


def broken_rules(text: str, name: str = "") -> list[str]:
    """The house rules that a statement breaks."""
    return [*_by_tokens(text), *(rule for tree in _trees(text) for rule in _by_tree(tree, name))]


def _by_tree(tree: exp.Expr, name: str) -> Iterator[str]:
    for cast in tree.find_all(exp.Cast):
        operand = cast.this.unnest()
        is_variant = isinstance(operand, exp.JSONExtract | exp.ParseJSON | exp.Bracket | exp.GetExtract) or (
            isinstance(operand, exp.Cast) and operand.to.is_type("VARIANT", "OBJECT", "ARRAY")
        )
        if is_variant and isinstance(cast, exp.TryCast):
            yield "TRY_CAST of a VARIANT"
        elif is_variant and cast.to.this in _LOSSY:
            yield f"plain cast of a VARIANT to {cast.to.sql('snowflake')}"
    for merge in tree.find_all(exp.Merge):
        source = merge.args["using"].unnest()
        qualify = source.args.get("qualify") if isinstance(source, exp.Select) else None
        if name != _ITS_SOURCE_IS_A_DICTIONARY and (qualify is None or not qualify.find(exp.RowNumber)):
            yield "MERGE whose source is not deduplicated"
    if tree.find(exp.MultitableInserts):
        yield "INSERT ALL"
    if tree.find(exp.SwapTable):
        yield "SWAP"
    if (
        isinstance(tree, exp.Create)
        and tree.kind != "VIEW"
        and (tree.args["replace"] or not tree.args["exists"])
    ):
        yield f"CREATE {tree.kind} that is not IF NOT EXISTS"


def _by_tokens(text: str) -> Iterator[str]:
    tokens = Snowflake().tokenize(text)
    words = [token.text.upper() for token in tokens]
    for place, word in enumerate(words):
        if word in _NUMBERS and words[place + 1] == "(" and _arguments(tokens[place + 1 :]) < 3:
            yield f"{word} without precision and scale"
        if word in _WITHOUT_OFFSET and words[place + 1] == "(":
            yield f"{word}, which drops the offset of a timestamp"
    said = " ".join(words)
    if re.match(r"CREATE (OR REPLACE )?STREAM", said):
        if not said.startswith("CREATE STREAM IF NOT EXISTS"):
            yield "CREATE STREAM that is not IF NOT EXISTS"
        if "APPEND_ONLY = TRUE" not in said:
            yield "stream that is not APPEND_ONLY"
        if " COMMENT = " not in said:
            yield "stream without a COMMENT"


def _arguments(tokens: list[sqlglot.Token]) -> int:
    """Arguments of a call, from its opening parenthesis on."""
    depth, count = 0, 1
    for token in tokens:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth == 0:
            break
        count += depth == 1 and token.token_type == TokenType.COMMA
    return count


def test_no_statement_breaks_a_house_rule() -> None:
    found = {(name, rule) for name, text in _statements() for rule in broken_rules(text, name)}

    # The one that replaces a stream, once it is stale: it then holds all rows of its table.
    assert found == {("transform/recreate_stream.sql", "CREATE STREAM that is not IF NOT EXISTS")}
    replacing = [text for name, text in _statements() if name == "transform/recreate_stream.sql"]
    assert len(replacing) == len(declared_shops())
    assert all("SHOW_INITIAL_ROWS = TRUE" in text for text in replacing)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("SELECT v:x::DECIMAL(10, 2) FROM t", "plain cast of a VARIANT to DECIMAL(10, 2)"),
        ("SELECT v:x.y[0]::NUMBER(10, 2) FROM t", "plain cast of a VARIANT to DECIMAL(10, 2)"),
        ("SELECT v:x::TIMESTAMP_TZ FROM t", "plain cast of a VARIANT to TIMESTAMPTZ"),
        ("SELECT v:x::TIMESTAMP_NTZ FROM t", "plain cast of a VARIANT to TIMESTAMPNTZ"),
        ("SELECT CAST((v:x) AS DATE) FROM t", "plain cast of a VARIANT to DATE"),
        ("SELECT v['x']::DATE FROM t", "plain cast of a VARIANT to DATE"),
        ("SELECT TRY_CAST(v:x AS INTEGER) FROM t", "TRY_CAST of a VARIANT"),
        ("SELECT TRY_CAST(PARSE_JSON(x) AS INTEGER) FROM t", "TRY_CAST of a VARIANT"),
        ("SELECT TRY_TO_NUMBER(v:x::VARCHAR) FROM t", "TRY_TO_NUMBER without precision and scale"),
        ("SELECT TRY_TO_DECIMAL(COALESCE(a, b), 10) FROM t", "TRY_TO_DECIMAL without precision and scale"),
        ("SELECT TRY_TO_TIMESTAMP_NTZ(v:x::VARCHAR) FROM t",
         "TRY_TO_TIMESTAMP_NTZ, which drops the offset of a timestamp"),
        ("CREATE OR REPLACE TABLE t (x INT)", "CREATE TABLE that is not IF NOT EXISTS"),
        ("CREATE OR REPLACE STREAM s ON TABLE t APPEND_ONLY = TRUE COMMENT = 'c'",
         "CREATE STREAM that is not IF NOT EXISTS"),
        ("CREATE STREAM IF NOT EXISTS s ON TABLE t COMMENT = 'c'", "stream that is not APPEND_ONLY"),
        ("CREATE STREAM IF NOT EXISTS s ON TABLE t APPEND_ONLY = TRUE", "stream without a COMMENT"),
        ("INSERT ALL INTO a INTO b SELECT 1", "INSERT ALL"),
        ("ALTER TABLE a SWAP WITH b", "SWAP"),
        ("MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE",
         "MERGE whose source is not deduplicated"),
        ("MERGE INTO t USING (SELECT a FROM s) AS s ON t.a = s.a WHEN MATCHED THEN DELETE",
         "MERGE whose source is not deduplicated"),
    ],
)  # fmt: skip
def test_the_house_rules_find(text: str, rule: str) -> None:
    assert broken_rules(text) == [rule]


def _unguarded(tree: exp.Expr, types: dict[str, str]) -> Iterator[str]:
    """Columns of an INSERT … SELECT that a value out of a VARIANT may not fit."""
    assert isinstance(tree, exp.Insert)
    columns = [column.name for column in tree.this.expressions]
    for name, value in zip(columns, tree.expression.selects, strict=True):
        if not value.find(exp.JSONExtract):
            continue
        kind = exp.DataType.build(types[name], dialect="snowflake")
        sizes = [int(size.name) for size in kind.expressions]
        if kind.is_type("VARCHAR"):
            fits = isinstance(value, exp.Left) and int(value.expression.name) == sizes[0]
        elif kind.is_type("DECIMAL"):
            given = [value.args.get("precision"), value.args.get("scale")]
            fits = isinstance(value, exp.ToNumber) and [int(n.name) for n in given if n is not None] == sizes
        else:
            fits = isinstance(value, exp.Case) and value.find(exp.Between) is not None
        if not fits:
            yield name


@pytest.mark.parametrize("rendered", [one for one in _all() if "/staging/" in one.name], ids=str)
def test_what_is_read_from_a_variant_is_made_to_fit_its_column(rendered: Rendered) -> None:
    """One row that does not fit would block its stream for ever."""
    (statement,) = statements(rendered.sql)
    (tree,) = _trees(statement)
    shop = next(one for one in declared_shops() if rendered.name.startswith(f"{one.name}/"))
    tables = described(shop)
    table = f"{tree.this.this}"
    types = {column.name: column.type for column in tables[table].columns}

    assert list(_unguarded(tree, types)) == []
    for text, wrong in (("LEFT(v:A, 9)", ["A"]), ("v:A::VARCHAR", ["A"]), ("LEFT(v:A, 10)", [])):
        (other,) = _trees(f"INSERT INTO t (A) SELECT {text} FROM s")
        assert list(_unguarded(other, {"A": "VARCHAR(10)"})) == wrong


def test_production_is_as_wide_as_staging() -> None:
    for shop in declared_shops():
        tables = described(shop)
        for step in shop.transformations:
            staged = {c.name: c.type for c in tables[step.source.full_name].columns}
            for table in step.writes if step.source.schema == "STAGING" else ():
                produced = {c.name: c.type for c in tables[table.full_name].columns}
                assert {name: staged[name] for name in staged.keys() & produced.keys()} == {
                    name: produced[name] for name in staged.keys() & produced.keys()
                }


# --- COPY ---

_COPY_FUNCTIONS = {"PARSE_JSON", "TO_BINARY", "TO_OBJECT", "TO_VARIANT", "CONVERT_TIMEZONE", "IFNULL", "NVL"}
"""Those of use here that Snowflake supports in the SELECT of a COPY, from "Supported functions" in
https://docs.snowflake.com/en/user-guide/data-load-transform. Casts by :: are supported too."""


@pytest.mark.parametrize("rendered", [one for one in _all() if "COPY INTO" in one.sql], ids=str)
def test_a_copy_uses_only_functions_that_copy_supports(rendered: Rendered) -> None:
    (statement,) = statements(rendered.sql)
    select = statement[statement.index("SELECT") : statement.index("FILES =")]

    assert set(re.findall(r"\b([A-Z_]+)\s*\(", select)) <= _COPY_FUNCTIONS
    assert {"FORCE = TRUE", "ON_ERROR = ABORT_STATEMENT"} <= set(statement.splitlines())


# --- names and types of SPEC, section 1 ---

_POSITION = {
    "KAFKA_TOPIC": "VARCHAR(249)",
    "KAFKA_PARTITION": "INTEGER",
    "KAFKA_OFFSET": "INTEGER",
}
_TABLES: dict[str, dict[str, str]] = {
    "RAW_DATA.RAW_EVENTS_STREAM": {
        "EVENT_TYPE": "VARCHAR(50)",
        "PRODUCT_ID": "INTEGER",
        "CUSTOMER_ID": "INTEGER",
        "EVENT_METADATA": "OBJECT",
        "EVENT_CONTENT": "VARIANT",
        "INGESTION_TIME": "TIMESTAMP_LTZ",
        "EVENT_ID": "VARCHAR(36)",
        **_POSITION,
        "KAFKA_TIMESTAMP": "TIMESTAMP_LTZ",
    },
    "RAW_DATA.DEAD_LETTER_EVENTS": {
        "VALUE": "BINARY(67108864)",
        "MESSAGE_KEY": "BINARY(67108864)",
        "HEADERS": "VARIANT",
        **_POSITION,
        "KAFKA_TIMESTAMP": "TIMESTAMP_LTZ",
        "FAILURE_CLASS": "VARCHAR(50)",
        "FAILURE_REASON": "VARCHAR(2000)",
        "FAILURE_PATH": "VARCHAR(1000)",
        "FIRST_SEEN": "TIMESTAMP_LTZ",
        "ATTEMPTS": "INTEGER",
        "REPLAYED_AT": "TIMESTAMP_LTZ",
    },
    "RAW_DATA.KAFKA_OFFSETS": {
        "CLUSTER_ID": "VARCHAR(200)",
        "TOPIC": "VARCHAR(249)",
        "TOPIC_ID": "VARCHAR(64)",
        "PARTITION_ID": "INTEGER",
        "NEXT_OFFSET": "INTEGER",
        "LAST_RECORD_TIMESTAMP_MS": "INTEGER",
    },
    "RAW_DATA.INGEST_FENCE": {"EPOCH": "INTEGER"},
    "RAW_DATA.TRANSFORM_FENCE": {"EPOCH": "INTEGER"},
    "RAW_DATA.INGEST_GAPS": {
        "TOPIC": "VARCHAR(249)",
        "PARTITION_ID": "INTEGER",
        "OFFSET_FROM": "INTEGER",
        "OFFSET_TO": "INTEGER",
        "REASON": "VARCHAR(50)",
        "FOUND_AT": "TIMESTAMP_LTZ",
        "ACKNOWLEDGED_AT": "TIMESTAMP_LTZ",
        "ACKNOWLEDGED_BY": "VARCHAR(200)",
    },
    "RAW_DATA.DEPLOYMENTS": {"VERSION": "VARCHAR(50)", "SQL_HASH": "VARCHAR(64)"},
    "RAW_DATA.DEAD_LETTER_REPLAYS": {"DEAD_LETTER_ID": "VARCHAR(36)", "LANDED": "BOOLEAN"},
    "RAW_DATA.INGEST_BATCHES": {
        "RUN_ID": "VARCHAR(100)",
        "CONSUMED": "INTEGER",
        "LANDED": "INTEGER",
        "DEAD": "INTEGER",
        "BYTES": "INTEGER",
        "PARTITIONS": "VARIANT",
        "READ_SECONDS": "FLOAT",
        "DECODE_SECONDS": "FLOAT",
        "UPLOAD_SECONDS": "FLOAT",
        "LOAD_SECONDS": "FLOAT",
    },
    "BATCH_DATA.LOAD_FENCE": {"EPOCH": "INTEGER"},
    "BATCH_DATA.CUSTOMERS": {
        "CUSTOMER_ID": "INTEGER",
        "NAME": "VARCHAR(200)",
        "EMAIL": "VARCHAR(200)",
        "REGISTRATION_DATE": "DATE",
    },
    "BATCH_DATA.INVENTORY": {
        "PRODUCT_ID": "INTEGER",
        "PRODUCT_NAME": "VARCHAR(200)",
        "CATEGORY": "VARCHAR(50)",
        "PRICE_PER_UNIT": "DECIMAL(10, 2)",
        "BOTTLE_SIZE_LITERS": "DECIMAL(5, 3)",
        "STOCK_QUANTITY": "INTEGER",
    },
    "BATCH_DATA.SALES": {
        "SALE_ID": "INTEGER",
        "SALE_DATE": "TIMESTAMP",
        "CUSTOMER_ID": "INTEGER",
        "PRODUCT_ID": "INTEGER",
        "QUANTITY_SOLD": "INTEGER",
        "TOTAL_PRICE": "DECIMAL(10, 2)",
        "SALES_CHANNEL": "VARCHAR(100)",
    },
    "STAGING.STG_ORDERS": {"EVENT_ID": "VARCHAR(36)", "EVENT_TIME": "TIMESTAMP_NTZ", **_POSITION},
    "STAGING.STG_INVENTORY_ADJUSTMENTS": {
        "EVENT_ID": "VARCHAR(36)",
        "EVENT_TIME": "TIMESTAMP_NTZ",
        **_POSITION,
    },
    "PRODUCTION.ORDERS": {
        "ORDER_LINE_ID": "INTEGER",
        "CUSTOMER_ID": "INTEGER",
        "PRODUCT_ID": "INTEGER",
        "PRODUCT_NAME": "VARCHAR(200)",
        "PRODUCT_CATEGORY": "VARCHAR(50)",
        "QUANTITY": "INTEGER",
        "UNIT_PRICE": "DECIMAL(10, 2)",
        "DISCOUNT": "DECIMAL(5, 4)",
        "TOTAL_AMOUNT": "DECIMAL(10, 2)",
        "BOTTLE_SIZE_LITERS": "DECIMAL(5, 3)",
        "SALES_CHANNEL": "VARCHAR(100)",
        "EVENT_TIME": "TIMESTAMP_NTZ",
        "ORDER_DATE": "DATE",
        "LOADED_AT": "TIMESTAMP_NTZ",
        "UPDATED_AT": "TIMESTAMP_NTZ",
    },
    "PRODUCTION.INVENTORY_HISTORY": {"ADJUSTMENT_ID": "INTEGER", "QUANTITY_CHANGE": "INTEGER"},
    "PRODUCTION.INVENTORY_CURRENT": {
        "PRODUCT_ID": "INTEGER",
        "PRODUCT_NAME": "VARCHAR(200)",
        "PRODUCT_CATEGORY": "VARCHAR(50)",
        "WAREHOUSE_LOCATION": "VARCHAR(100)",
        "CURRENT_STOCK_LEVEL": "INTEGER",
        "LAST_MOVEMENT_AT": "TIMESTAMP_NTZ",
    },
}
_DROPSHIP = {
    "DROPSHIP_RAW.ORDERS_EVENTS": {
        "EVENT_ID": "VARCHAR",
        "EVENT_TYPE": "VARCHAR",
        "PAYLOAD": "VARIANT",
        "CREATED_AT": "TIMESTAMP_NTZ",
        **_POSITION,
    },
    "DROPSHIP.ORDERS": {
        "ID": "VARCHAR",
        "PRODUCT_ID": "VARCHAR",
        "CUSTOMER_ID": "VARCHAR",
        "QUANTITY": "INTEGER",
        "UNIT_PRICE": "DECIMAL(10, 2)",
        "SOLD_AT": "TIMESTAMP_NTZ",
        "INGESTED_AT": "TIMESTAMP_NTZ",
    },
    "DROPSHIP.CUSTOMERS": dict.fromkeys(("ID", "NAME", "EMAIL", "CITY", "COUNTRY"), "VARCHAR"),
    "DROPSHIP.INVENTORY": {
        "ID": "VARCHAR",
        "PRODUCT_NAME": "VARCHAR",
        "CATEGORY": "VARCHAR",
        "PRICE": "DECIMAL(10, 2)",
        "STOCK_QUANTITY": "INTEGER",
    },
}
_VIEWS = {
    "ANALYTICS.DAILY_SALES": ["ORDER_DATE", "ORDER_COUNT", "DAILY_REVENUE", "AVG_ORDER_VALUE"],
    "ANALYTICS.TOP_WINES": [
        "PRODUCT_NAME", "PRODUCT_CATEGORY", "ORDER_COUNT", "TOTAL_QUANTITY", "TOTAL_REVENUE",
    ],
    "ANALYTICS.STOCK_BY_CATEGORY": [
        "PRODUCT_CATEGORY", "PRODUCT_COUNT", "TOTAL_STOCK", "AVG_STOCK_PER_PRODUCT",
    ],
    "ANALYTICS.CONSOLIDATED_SALES": [
        "SALE_DATE", "CUSTOMER_ID", "PRODUCT_ID", "QUANTITY_SOLD", "TOTAL_PRICE", "SOURCE", "SALE_ID",
        "SALES_CHANNEL",
    ],
    "ANALYTICS.SALES_BY_CHANNEL": ["SALES_CHANNEL", "ORDERS", "AVERAGE_ORDER"],
    "ANALYTICS.ADJUSTMENTS_BY_TYPE": ["TYPE", "ADJUSTMENTS", "TOTAL_QUANTITY"],
    "ANALYTICS.LOW_STOCK": [
        "PRODUCT_ID", "PRODUCT_NAME", "PRODUCT_CATEGORY", "WAREHOUSE_LOCATION", "CURRENT_STOCK_LEVEL",
        "LAST_MOVEMENT_AT",
    ],
}  # fmt: skip
_STREAMS = {
    "RAW_DATA.STREAM_RAW_EVENTS": "RAW_DATA.RAW_EVENTS_STREAM",
    "STAGING.STREAM_STG_ORDERS": "STAGING.STG_ORDERS",
    "STAGING.STREAM_STG_INVENTORY_FOR_HISTORY": "STAGING.STG_INVENTORY_ADJUSTMENTS",
    "STAGING.STREAM_STG_INVENTORY_FOR_CURRENT": "STAGING.STG_INVENTORY_ADJUSTMENTS",
}


def _caves() -> Shop:
    return next(shop for shop in declared_shops() if shop.name == "caves")


@pytest.mark.parametrize("table", _TABLES)
def test_the_table_has_the_columns_of_the_specification(table: str) -> None:
    columns = {column.name: column.type for column in described(_caves())[table].columns}

    assert {name: columns.get(name) for name in _TABLES[table]} == _TABLES[table]


@pytest.mark.parametrize("table", _DROPSHIP)
def test_the_table_of_dropship_has_the_columns_of_the_specification(table: str) -> None:
    (shop,) = (one for one in declared_shops() if one.name == "dropship")
    columns = {column.name: column.type for column in described(shop)[table].columns}

    assert {name: columns.get(name) for name in _DROPSHIP[table]} == _DROPSHIP[table]


@pytest.mark.parametrize("view", _VIEWS)
def test_the_view_has_the_columns_of_the_specification(view: str) -> None:
    created = [_trees(text)[0] for text in setup_sql(_caves()) if text.startswith("CREATE OR REPLACE VIEW")]
    (tree,) = [tree for tree in created if f"{tree.find(exp.Table)}" == view]

    assert isinstance(tree, exp.Create)
    assert tree.expression.named_selects == _VIEWS[view]


def test_the_tables_and_views_are_those_of_the_specification() -> None:
    assert set(described(_caves())) == {*_TABLES, *_VIEWS}, "add it to _TABLES or _VIEWS"


def test_the_streams_of_the_specification_stand_on_their_tables() -> None:
    found = {}
    for text in setup_sql(_caves()):
        if match := re.match(r"CREATE STREAM IF NOT EXISTS (\S+)\s+ON TABLE (\S+)", text):
            found[match[1]] = match[2]

    assert found == _STREAMS
    declared = {step.stream.full_name: step.source.full_name for step in _caves().transformations}
    assert declared == _STREAMS


@pytest.mark.parametrize("shop", declared_shops(), ids=lambda shop: shop.name)
def test_every_table_view_and_column_has_a_comment(shop: Shop) -> None:
    found = described(shop)
    without = [name for name, one in found.items() if not one.comment.strip()]
    without += [
        f"{name}.{column.name}"
        for name, one in found.items()
        for column in one.columns
        if not column.comment.strip()
    ]

    assert found
    assert without == []


@pytest.mark.parametrize("shop", declared_shops(), ids=lambda shop: shop.name)
def test_every_declared_table_is_created(shop: Shop) -> None:
    batch = [one.table for one in shop.batch.tables] if shop.batch else []
    declared = {table.full_name for table in (*shop.tables, *shop.views, *batch)}

    assert declared <= set(described(shop))


def test_the_code_names_every_file_of_deployment() -> None:
    code = "".join(path.read_text() for path in (PROJECT_ROOT / "caves_dagster" / "deploy").glob("*.py"))

    for path in (SQL_ROOT / "deploy").glob("*.sql"):
        assert f'"{path.stem}"' in code or f'"deploy/{path.name}"' in code


def test_setup_can_run_again_without_losing_anything() -> None:
    for text in setup_sql(_caves()):
        assert re.match(r"CREATE \w+ IF NOT EXISTS |CREATE OR REPLACE VIEW |INSERT INTO \S+_FENCE ", text)


def test_a_missing_file_is_named() -> None:
    from caves_dagster.errors import DeclarationError
    from caves_dagster.warehouse.scripts import transformation_sql

    with pytest.raises(DeclarationError, match=r"caves/staging/nowhere\.sql does not exist"):
        transformation_sql(_caves(), "staging", Table("S", "NOWHERE"), Table("S", "T"))


def test_a_name_that_is_not_given_is_refused() -> None:
    from caves_dagster.errors import DeclarationError

    with pytest.raises(DeclarationError, match="'source' is undefined"):
        render(SQL_ROOT, "caves/production/orders.sql")
