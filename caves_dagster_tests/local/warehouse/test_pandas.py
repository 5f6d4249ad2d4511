"""What the batch half uses: write_pandas, fetch_pandas_all, dagster-snowflake-pandas' IO manager."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from snowflake.connector.pandas_tools import write_pandas

from caves_dagster_tests.local.warehouse.conftest import DATABASE, Server, Sql


def _frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ID": [1, 2, 3],
            "PRICE": [18.5, float("nan"), -0.25],
            "NAME": ["Chardonnay Réserve 🥂", None, "it's"],
            "DAY": [dt.date(2025, 1, 1), None, dt.date(1999, 12, 31)],
            "AT": pd.DatetimeIndex(["2025-01-01T10:00:00.123456", "NaT", "2025-06-01"], tz="UTC"),
            "OK": [True, False, True],
        }
    )


def test_write_pandas_creates_the_table_and_its_rows_come_back(sql: Sql, schema: str) -> None:
    done, _, rows, _ = write_pandas(
        sql.connection,
        _frame(),
        "T",
        database=DATABASE,
        schema=schema,
        auto_create_table=True,
        use_logical_type=True,
    )
    assert (done, rows) == (True, 3)
    found = sql("SELECT * FROM T ORDER BY ID")
    assert found[0] == (
        1,
        18.5,
        "Chardonnay Réserve 🥂",
        dt.date(2025, 1, 1),
        dt.datetime(2025, 1, 1, 10, 0, 0, 123456, dt.UTC),
        True,
    )
    assert found[1][2:5] == (None, None, None)


def test_write_pandas_overwrites(sql: Sql, schema: str) -> None:
    for frame in (_frame(), _frame().head(1)):
        write_pandas(
            sql.connection,
            frame,
            "T",
            schema=schema,
            auto_create_table=True,
            overwrite=True,
            use_logical_type=True,
        )
    assert sql.one("SELECT COUNT(*) FROM T") == 1
    write_pandas(sql.connection, _frame().head(2), "T", schema=schema, overwrite=True, use_logical_type=True)
    assert sql.one("SELECT COUNT(*) FROM T") == 2


def test_frames_are_fetched_with_the_types_snowflake_gives(sql: Sql) -> None:
    sql("CREATE TABLE T (i INTEGER, d NUMBER(10,2), t TIMESTAMP_NTZ, z TIMESTAMP_TZ, s VARCHAR, b BOOLEAN)")
    sql(
        "INSERT INTO T VALUES (1, 2.50, '2025-01-01', '2025-01-01T00:00:00Z', 'é', TRUE), (2, NULL, "
        "NULL, NULL, NULL, NULL)"
    )
    frame = sql.cursor.execute("SELECT * FROM T ORDER BY i").fetch_pandas_all()
    assert list(frame.columns) == ["I", "D", "T", "Z", "S", "B"]
    assert frame["I"].tolist() == [1, 2]
    assert frame["D"].dtype == "float64"
    assert frame["T"].iloc[0] == pd.Timestamp("2025-01-01")
    assert pd.isna(frame["T"].iloc[1])
    assert pd.isna(frame["Z"].iloc[1])
    arrow = sql.cursor.execute("SELECT * FROM T ORDER BY i").fetch_arrow_all()
    assert arrow.num_rows == 2
    assert arrow.column("T").null_count == 1


def test_an_empty_result_is_an_empty_frame(sql: Sql) -> None:
    frame = sql.cursor.execute("SELECT 1 AS A, 'x' AS B WHERE FALSE").fetch_pandas_all()
    assert frame.empty
    assert list(frame.columns) == ["A", "B"]


@pytest.mark.filterwarnings("default")  # of dagster and its integrations, not ours
def test_the_pandas_io_manager_round_trips_a_table_and_its_daily_partitions(
    server: Server, sql: Sql, schema: str
) -> None:
    import dagster as dg
    from dagster_snowflake_pandas import SnowflakePandasIOManager

    endpoint = server.endpoint()
    manager = SnowflakePandasIOManager(
        account="caves_local",
        user="caves",
        password="caves",
        database=DATABASE,
        warehouse="COMPUTE_WH",
        additional_snowflake_connection_args={
            "host": endpoint["host"],
            "port": endpoint["port"],
            "protocol": "http",
            "platform_detection_timeout_seconds": 0.0,
        },
    )
    days = dg.DailyPartitionsDefinition("2025-01-01", end_date="2025-01-04")

    @dg.asset(key=[schema, "WINES"])
    def wines() -> pd.DataFrame:
        return _frame()

    @dg.asset(key=[schema, "SALES"], partitions_def=days, metadata={"partition_expr": "DAY"})
    def sales(context) -> pd.DataFrame:  # type: ignore[no-untyped-def]  # dagster reads annotations eagerly
        day = pd.Timestamp(context.partition_key, tz="UTC")
        return pd.DataFrame({"DAY": [day, day], "N": [1, 2]})

    seen: dict[str, pd.DataFrame] = {}

    @dg.asset(key=[schema, "COPY_OF_WINES"], ins={"wines": dg.AssetIn(key=[schema, "WINES"])})
    def copied(wines: pd.DataFrame) -> pd.DataFrame:
        seen["wines"] = wines
        return wines

    def run(asset: Any, **options: Any) -> None:
        assert dg.materialize(
            [wines, copied, sales], selection=[asset], resources={"io_manager": manager}, **options
        ).success

    with dg.DagsterInstance.ephemeral() as instance:
        run(wines, instance=instance)
        run(wines, instance=instance)  # the second run replaces the rows of the first
        run(copied, instance=instance)
        for day in ("2025-01-01", "2025-01-02", "2025-01-02"):
            run(sales, instance=instance, partition_key=day)
    frame = seen["wines"].sort_values("id").reset_index(drop=True)
    assert len(frame) == 3
    assert frame["name"].tolist()[0] == "Chardonnay Réserve 🥂"
    assert frame["at"].iloc[0] == pd.Timestamp("2025-01-01T10:00:00.123456Z")
    assert pd.isna(frame["price"].iloc[1])
    assert sql("SELECT DAY::DATE, COUNT(*) FROM SALES GROUP BY 1 ORDER BY 1") == [
        (dt.date(2025, 1, 1), 2),
        (dt.date(2025, 1, 2), 2),
    ]


def test_temporary_objects_go_with_their_session(connect: Callable[..., Any], sql: Sql, schema: str) -> None:
    short = Sql(connect(schema=schema))
    short("CREATE TEMPORARY STAGE TS")
    short("CREATE TEMPORARY TABLE TT (a INTEGER)")
    assert len(sql(f"SHOW STAGES IN SCHEMA {schema}")) == 1
    short.connection.close()
    assert sql(f"SHOW STAGES IN SCHEMA {schema}") == []
    sql.fails(2003, "SELECT * FROM TT")
