"""Sources read and typed: what fits arrives as it is, what does not is refused by row, column and value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caves_dagster.batch.column_types import column_type
from caves_dagster.batch.reading import Loaded, Window, read_table
from caves_dagster.errors import DeclarationError, SourceRefused
from caves_dagster.shop import Batch
from caves_dagster.shops.caves import CAVES
from caves_dagster.warehouse.ddl import Column
from caves_dagster_tests.batch.sources import (
    COLUMNS,
    CUSTOMER,
    PRODUCT,
    SALE,
    SALES,
    Rows,
    csv_source,
    sqlite_source,
)

Make = Callable[..., Path]


@pytest.fixture(params=["sqlite", "csv"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a source of either kind."""

    def made(tables: Mapping[str, Rows], columns: Mapping[str, Sequence[str]] = COLUMNS) -> Path:
        if request.param == "sqlite":
            return sqlite_source(tmp_path / "source.db", tables, columns)
        return csv_source(tmp_path / "source", tables, columns)

    return made


def read(source: Path, name: str, window: Window | None = None) -> Loaded:
    """One table of the wine shop out of a source."""
    assert CAVES.batch is not None
    (table,) = [one for one in CAVES.batch.tables if one.source_name == name]
    return read_table(CAVES, Batch(source, date(2025, 1, 1), (table,)), table, window)


def refused(source: Path, name: str, *words: str) -> None:
    """Reading is refused, and the message has these words."""
    with pytest.raises(SourceRefused) as caught:
        read(source, name)
    for word in words:
        assert word in str(caught.value)


def sale(**changes: Any) -> list[Any]:
    return [changes.get(name, value) for name, value in zip(SALES, SALE, strict=True)]


def test_rows_arrive_typed_and_exact(make: Make) -> None:
    source = make({"customers": [CUSTOMER], "inventory": [PRODUCT], "sales": [SALE]})

    assert read(source, "customers").rows.to_pylist() == [
        {
            "customer_id": 1,
            "name": "Élodie Le Gall",
            "email": "elodie@example.fr",
            "registration_date": date(2024, 2, 29),
        }
    ]
    (product,) = read(source, "inventory").rows.to_pylist()
    assert (product["price_per_unit"], product["bottle_size_liters"]) == (Decimal("18.50"), Decimal("0.750"))
    (found,) = read(source, "sales").rows.to_pylist()
    assert found["sale_date"].isoformat(sep=" ") == "2026-06-30 18:30:00.123456"
    assert found["total_price"] == Decimal("111.00")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-06-30 18:30:00", "2026-06-30 18:30:00.000000"),
        ("2026-06-30T18:30:00", "2026-06-30 18:30:00.000000"),
        ("2026-06-30 18:30", "2026-06-30 18:30:00.000000"),
        ("2026-06-30", "2026-06-30 00:00:00.000000"),
        ("2026-06-30 18:30:00.5", "2026-06-30 18:30:00.500000"),
        ("2026-06-30T18:30:00Z", "2026-06-30 18:30:00.000000"),
        ("2026-07-01T00:30:00.000001+02:00", "2026-06-30 22:30:00.000001"),
        ("2026-06-30 18:30-0130", "2026-06-30 20:00:00.000000"),
        ("1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999"),
        ("9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
        ("0001-01-01 00:00:00", "0001-01-01 00:00:00.000000"),
    ],
)
def test_a_time_is_read_to_the_microsecond_and_taken_to_utc(make: Make, text: str, moment: str) -> None:
    (row,) = read(make({"sales": [sale(sale_date=text)]}), "sales").rows.to_pylist()
    assert row["sale_date"].isoformat(sep=" ", timespec="microseconds") == moment


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("quantity_sold", "many", "expected an integer of at least 1"),
        ("quantity_sold", -3, "expected an integer of at least 1"),
        ("quantity_sold", 0, "expected an integer of at least 1"),
        ("quantity_sold", 1.5, "expected an integer"),
        ("quantity_sold", "", "expected an integer"),
        ("quantity_sold", " 3", "expected an integer"),
        ("quantity_sold", "3\n", "expected an integer"),
        ("quantity_sold", "٣", "expected an integer"),
        ("quantity_sold", 2**63 - 1 + 0.0, "expected an integer"),
        ("quantity_sold", "9223372036854775808", "expected an integer"),
        ("quantity_sold", None, "quantity_sold is NULL"),
        ("customer_id", 0, "expected an integer of at least 1"),
        ("sale_id", None, "sale_id is NULL"),
        ("sale_id", "A1", "sale_id is 'A1'"),
        ("total_price", "12,50", "total_price is '12,50'"),
        ("total_price", "12.505", "up to 8 digits before and 2 behind the point"),
        ("total_price", 12.505, "total_price is '12.505'"),
        ("total_price", "1e3", "total_price is '1e3'"),
        ("total_price", "NaN", "total_price is 'NaN'"),
        ("total_price", "inf", "total_price is 'inf'"),
        ("total_price", "123456789.00", "up to 8 digits before"),
        ("total_price", -0.01, "expected a number of at least 0"),
        ("total_price", None, "total_price is NULL"),
        ("sale_date", "30/06/2026", "sale_date is '30/06/2026'"),
        ("sale_date", "2026-02-30 10:00:00", "sale_date is '2026-02-30 10:00:00'"),
        ("sale_date", "2026-06-30 24:00:00", "sale_date is"),
        ("sale_date", "2026-06-30 10:00:00.1234567", "up to six decimals"),
        ("sale_date", "2026-06-30 10:00:00+99:99", "sale_date is"),
        ("sale_date", 1_782_000_000, "sale_date is '1782000000'"),
        ("sale_date", "", "sale_date is ''"),
        ("sale_date", None, "sale_date is NULL"),
        ("sales_channel", "x" * 101, "text in UTF-8 of at most 100 characters"),
        ("sales_channel", b"T\xe9l\xe9phone", r"sales_channel is 'T\\xe9l\\xe9phone'"),
    ],
)
def test_a_broken_value_is_refused_by_row_column_and_value(
    make: Make, column: str, value: Any, expected: str
) -> None:
    rows = [
        sale(sale_id=7),
        sale(sale_id=8, **{column: value}) if column != "sale_id" else sale(sale_id=value),
    ]
    refused(make({"sales": rows}), "sales", "sales of", "row 2", expected, "Nothing was loaded")


def test_at_most_five_broken_values_are_shown_and_all_are_counted(make: Make) -> None:
    rows = [sale(sale_id=number, quantity_sold=-1, total_price="x") for number in range(1, 11)]
    refused(make({"sales": rows}), "sales", "row 5 (sale_id '5')", "and 15 more", "quantity_sold is '-1'")


@pytest.mark.parametrize("value", ["x" * 100, "é" * 100, "", "1", "NULL", 'say "oui", please', "a\nb", "🥂"])
def test_text_that_fits_arrives_as_it_is(make: Make, value: str) -> None:
    (row,) = read(make({"sales": [sale(sales_channel=value)]}), "sales").rows.to_pylist()
    assert row["sales_channel"] == value


def test_null_is_taken_where_the_ddl_takes_it(make: Make) -> None:
    (row,) = read(make({"sales": [sale(sales_channel=None)]}), "sales").rows.to_pylist()
    assert row["sales_channel"] is None


@given(cents=st.integers(0, 10**10 - 1))
def test_every_amount_stored_as_a_real_is_read_to_the_cent(
    cents: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source = sqlite_source(
        tmp_path_factory.getbasetemp() / "cents.db", {"sales": [sale(total_price=cents / 100)]}
    )
    (row,) = read(source, "sales").rows.to_pylist()
    assert row["total_price"] == Decimal(cents) / 100


def test_a_real_that_arithmetic_left_a_little_off_is_the_amount_it_shows(tmp_path: Path) -> None:
    source = sqlite_source(tmp_path / "source.db", {"sales": [sale(total_price=3 * 18.1)]})
    (row,) = read(source, "sales").rows.to_pylist()
    assert row["total_price"] == Decimal("54.30")


def test_a_key_that_is_there_twice_is_refused_with_the_keys(make: Make) -> None:
    rows = [sale(sale_id=key) for key in (1, 2, 3, 2, 3)]
    refused(make({"sales": rows}), "sales", "holds 2 values of sale_id more than once: 2, 3")


def test_only_the_window_s_days_are_read_but_all_days_are_known(make: Make) -> None:
    days = ["2026-06-28 23:59:59.999999", "2026-06-29 00:00:00", "2026-06-30 23:59:59.999999", "2026-07-01"]
    source = make({"sales": [sale(sale_id=key, sale_date=day) for key, day in enumerate(days, 1)]})

    loaded = read(source, "sales", Window(date(2026, 6, 29), date(2026, 6, 30)))

    assert loaded.rows.column("sale_id").to_pylist() == [2, 3]
    assert loaded.in_source == 4
    assert loaded.days == {date(2026, 6, day): 1 for day in (28, 29, 30)} | {date(2026, 7, 1): 1}
    empty = read(source, "sales", Window(date(2026, 1, 1), date(2026, 1, 1)))
    assert (empty.rows.num_rows, empty.in_source) == (0, 4)
    assert empty.rows.schema.names == list(SALES)


@pytest.mark.parametrize("broken", [{"sale_id": 1}, {"sale_id": None}, {"sale_date": "soon"}])
def test_a_row_whose_day_or_key_cannot_be_told_is_refused_whatever_the_window(
    make: Make, broken: dict[str, Any]
) -> None:
    source = make({"sales": [sale(), sale(**{"sale_id": 2, "sale_date": "2020-01-01"} | broken)]})
    with pytest.raises(SourceRefused):
        read(source, "sales", Window(date(2026, 6, 30), date(2026, 6, 30)))


def test_a_broken_value_of_another_day_does_not_stop_this_one(make: Make) -> None:
    source = make({"sales": [sale(), sale(sale_id=2, sale_date="2026-06-01", quantity_sold=-1)]})
    assert read(source, "sales", Window(date(2026, 6, 30), date(2026, 6, 30))).rows.num_rows == 1
    with pytest.raises(SourceRefused, match=r"row 2 \(sale_id '2'\): quantity_sold is '-1'"):
        read(source, "sales", Window(date(2026, 6, 1), date(2026, 6, 30)))


def test_columns_may_stand_in_another_order_and_case(make: Make) -> None:
    names = tuple(name.upper() for name in reversed(SALES))
    source = make({"sales": [list(reversed(SALE))]}, {"sales": names})
    assert read(source, "sales").rows.column("sale_id").to_pylist() == [1]


def test_unknown_and_missing_columns_are_named_with_those_expected(make: Make) -> None:
    names = tuple("discount" if name == "total_price" else name for name in SALES)
    refused(
        make({"sales": [SALE]}, {"sales": names}),
        "sales",
        "it lacks 'total_price'",
        "unknown are 'discount'",
        "Expected: sale_id, sale_date, customer_id",
    )


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    source = csv_source(tmp_path / "s", {"sales": [(*SALE, 1)]}, {"sales": (*SALES, "SALE_ID")})
    refused(source, "sales", "there twice are 'sale_id'")


def test_a_table_or_file_that_is_missing_is_named(make: Make) -> None:
    source = make({"customers": [CUSTOMER]})
    with pytest.raises(SourceRefused, match=r"sales(\.csv| of ).*"):
        read(source, "sales")


def test_a_source_that_is_missing_is_named_and_not_made(tmp_path: Path) -> None:
    refused(tmp_path / "nothing.db", "sales", "nothing.db", "`caves seed`", "CAVES_BATCH_SOURCE")
    assert not (tmp_path / "nothing.db").exists()


def test_what_is_no_sqlite_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source.db").write_bytes(b"sale_id,sale_date\n" * 100)
    refused(tmp_path / "source.db", "sales", "source.db cannot be read", "Is it a SQLite file?")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as CSV"),
        ("sale_id,…".encode("utf-16"), "UTF-16, not text in UTF-8"),
        (b"\x1f\x8b\x08\x00", "gzip, not text"),
        (b"sale_id;sale_date;customer_id\n1;2;3\n", "it lacks 'sale_id'"),
        (",".join(SALES).encode() + b"\n1,2026-06-30,1,1015,6\n", "Expected 7 columns, got 5"),
        (b"sale_id,d\xe9tail\n1,2\n", "sales.csv"),
    ],
)
def test_a_file_that_is_no_csv_in_utf_8_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "sales.csv").write_bytes(content)
    refused(tmp_path, "sales", words)


def test_a_csv_file_may_begin_with_a_byte_order_mark_and_end_lines_with_cr_lf(tmp_path: Path) -> None:
    text = ",".join(SALES) + "\r\n" + ",".join(map(str, SALE)) + "\r\n"
    (tmp_path / "sales.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read(tmp_path, "sales").rows.num_rows == 1


def test_no_rows_at_all_are_no_rows(make: Make) -> None:
    loaded = read(make({"customers": []}), "customers")
    assert (loaded.rows.num_rows, loaded.in_source, loaded.days) == (0, 0, {})
    assert loaded.rows.schema.names == list(COLUMNS["customers"])


def test_more_rows_than_one_batch_are_all_read_and_numbered(make: Make) -> None:
    rows = [sale(sale_id=number) for number in range(1, 120_001)]
    source = make({"sales": rows})
    assert read(source, "sales").rows.column("sale_id").to_pylist() == list(range(1, 120_001))
    refused(make({"sales": [*rows, sale(sale_id=0)]}), "sales", "row 120001")


def test_a_type_that_no_batch_table_may_have_is_named() -> None:
    with pytest.raises(DeclarationError, match="X has type VARIANT"):
        column_type(Column("X", "VARIANT", "", True), {})
