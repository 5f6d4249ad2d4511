"""The figures of one statement, held against questions asked one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from caves_dagster.dashboard.figures import Amount, read_figures
from caves_dagster.dashboard.period import Period, period
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.new_shop.proposal import propose
from caves_dagster.new_shop.writing import write_shop
from caves_dagster.shop import Shop
from caves_dagster.shops import BUILT_IN, shop_in
from caves_dagster.warehouse.scripts import render, statements
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.dashboard.rows import insert_dead_letter, insert_orders, insert_sales

NOW = datetime(2026, 7, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def filled(caves: Caves) -> Caves:
    """A hundred orders up to now, one an hour; three ahead of it; fifty sales in the month before."""
    insert_orders(caves.warehouse, 100, 3600, "2026-07-10 12:00:00")
    insert_orders(caves.warehouse, 3, 60, "2026-07-12 00:00:00", first=500)
    insert_sales(caves.warehouse, 50, "2026-06-12 12:00:00")
    return caves


def asked(caves: Caves, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in caves.warehouse.query(sql)]


def test_every_figure_is_what_the_warehouse_answers(filled: Caves) -> None:
    figures = read_figures(filled.warehouse, filled.shop, Period(), NOW)

    sales = "FROM ANALYTICS.CONSOLIDATED_SALES"
    ((count, quantity, revenue),) = asked(
        filled, f"SELECT COUNT(*), SUM(QUANTITY_SOLD), SUM(TOTAL_PRICE) {sales}"
    )
    assert count == 153
    assert figures.total == Amount(153, int(str(quantity)), Decimal(str(revenue)))
    days = asked(
        filled,
        f"SELECT SALE_DATE::DATE AS D, SOURCE, COUNT(*), SUM(TOTAL_PRICE) {sales} "
        "GROUP BY D, SOURCE ORDER BY D, SOURCE",
    )
    found = [
        (line.moment, line.source, line.amount.items, line.amount.revenue) for line in figures.lines("day")
    ]
    assert [(moment.date() if moment else None, *rest) for moment, *rest in found] == days
    channels = asked(
        filled, f"SELECT SALES_CHANNEL, SUM(TOTAL_PRICE) AS R {sales} GROUP BY SALES_CHANNEL ORDER BY R DESC"
    )
    assert [(line.name, line.amount.revenue) for line in figures.lines("channel")] == channels
    for panel, column in (("by_quantity", "QUANTITY_SOLD"), ("by_revenue", "TOTAL_PRICE")):
        top = asked(
            filled,
            f"SELECT PRODUCT_ID::VARCHAR, SUM({column}) AS S {sales} GROUP BY PRODUCT_ID "
            "ORDER BY S DESC, PRODUCT_ID LIMIT 5",
        )
        lines = figures.lines(panel)
        assert [(line.id, getattr(line.amount, panel[3:])) for line in lines] == top
        assert [line.name for line in lines] == [f"Vin {int(line.id or 0) - 1000}" for line in lines]


def test_the_last_day_and_the_one_before_end_now(filled: Caves) -> None:
    figures = read_figures(filled.warehouse, filled.shop, Period(), NOW)

    # One an hour, at the full hour: the one at the beginning of a day belongs to the day before.
    assert figures.amount("last_day").items == figures.amount("day_before").items == 24
    assert (
        read_figures(filled.warehouse, filled.shop, Period(), NOW + timedelta(days=1)).amount("last_day")
        == Amount()
    )


def test_the_latest_are_not_those_dated_ahead(filled: Caves) -> None:
    latest = read_figures(filled.warehouse, filled.shop, Period(), NOW).lines("latest")

    assert [line.moment for line in latest] == [
        NOW.replace(tzinfo=None) - timedelta(hours=n) for n in range(20)
    ]
    assert latest[0].id == "1"
    assert latest[0].customer == "2"


def test_a_period_is_whole_days_and_the_last_day_does_not_heed_it(filled: Caves) -> None:
    june = Period(date(2026, 6, 1), date(2026, 6, 30))
    figures = read_figures(filled.warehouse, filled.shop, june, NOW)

    assert figures.total == Amount(50, 100, Decimal("367.50"))
    assert {line.source for line in figures.lines("day")} == {"BATCH"}
    assert figures.amount("last_day").items == 24
    one = Period(date(2026, 7, 10), date(2026, 7, 10))
    assert read_figures(filled.warehouse, filled.shop, one, NOW).total.items == 13


def test_names_come_from_the_inventory_where_it_is_loaded(filled: Caves) -> None:
    filled.warehouse.execute(
        "INSERT INTO BATCH_DATA.INVENTORY (PRODUCT_ID, PRODUCT_NAME, CATEGORY, PRICE_PER_UNIT, "
        "BOTTLE_SIZE_LITERS, STOCK_QUANTITY) SELECT DISTINCT PRODUCT_ID, 'Inventaire', 'Blanc', 1, 1, 1 "
        "FROM PRODUCTION.ORDERS"
    )
    figures = read_figures(filled.warehouse, filled.shop, Period(), NOW)

    assert {(line.name, line.detail) for line in figures.lines("by_revenue")} == {("Inventaire", "Blanc")}
    assert figures.total.items == 153, "nothing is counted twice"


def test_dead_letters_are_those_that_no_replay_landed(caves: Caves) -> None:
    for id, seen, replayed in (
        ("a", "2026-07-10 11:00:00", None),
        ("b", "2026-07-01 11:00:00", None),
        ("c", "2026-07-10 11:00:00", "2026-07-10 11:30:00"),
    ):
        insert_dead_letter(caves.warehouse, "RAW_DATA", id, seen, replayed)

    figures = read_figures(caves.warehouse, caves.shop, Period(), NOW)

    assert (figures.dead_letters, figures.recent_dead_letters) == (2, 1)


def test_an_empty_shop_has_no_sales_and_is_no_error(caves: Caves) -> None:
    figures = read_figures(caves.warehouse, caves.shop, Period(), NOW)

    assert figures.total == figures.amount("last_day") == Amount()
    assert figures.total.average is None
    assert (figures.dead_letters, figures.lines("latest"), figures.amount("low").items) == (0, (), 0)


def test_stock_is_the_analytics_views(caves: Caves) -> None:
    columns = "PRODUCT_ID, PRODUCT_NAME, PRODUCT_CATEGORY, WAREHOUSE_LOCATION, CURRENT_STOCK_LEVEL"
    rows = ", ".join(
        f"({number}, 'P{number:02}', 'Rouge', 'Lyon', {number}, 't', 0, 0, SYSDATE())" for number in range(15)
    )
    caves.warehouse.execute(
        f"INSERT INTO PRODUCTION.INVENTORY_CURRENT ({columns}, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, "
        f"UPDATED_AT) VALUES {rows}"
    )
    figures = read_figures(caves.warehouse, caves.shop, Period(), NOW)

    (stock,) = figures.lines("stock")
    assert (stock.name, stock.amount.items, stock.amount.quantity) == ("Rouge", 15, sum(range(15)))
    assert figures.amount("low").items == 10
    assert [(line.name, line.detail, line.amount.quantity) for line in figures.lines("lowest")] == [
        (f"P{number:02}", "Lyon", number) for number in range(10)
    ]


def test_dropship_has_the_same_figures(dropship: Caves) -> None:
    dropship.warehouse.execute(
        "INSERT INTO DROPSHIP.ORDERS (ID, PRODUCT_ID, CUSTOMER_ID, QUANTITY, UNIT_PRICE, SOLD_AT, "
        "INGESTED_AT, EVENT_TIME, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, LOADED_AT, UPDATED_AT) "
        "SELECT N::VARCHAR, 'P' || MOD(N, 7)::VARCHAR, 'C', 2, 9.99, AT, AT, AT, 't', 0, N, AT, AT "
        "FROM (SELECT N, DATEADD('hour', -N, "
        "'2026-07-10 12:00:00'::TIMESTAMP_NTZ) AS AT FROM (SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) AS N "
        "FROM TABLE(GENERATOR(ROWCOUNT => 30))))"
    )
    dropship.warehouse.execute(
        "INSERT INTO DROPSHIP.INVENTORY (ID, PRODUCT_NAME, CATEGORY, PRICE, STOCK_QUANTITY) "
        "VALUES ('P1', 'Jeans', 'Denim', 9.99, 3)"
    )
    figures = read_figures(dropship.warehouse, dropship.shop, Period(), NOW)

    assert figures.total == Amount(30, 60, Decimal("599.40"))
    assert figures.amount("last_day") == Amount(23, 46, Decimal("459.54"))
    assert figures.lines("channel") == ()
    assert [line.name for line in figures.lines("by_quantity")][:2] == ["Jeans", "P2"]
    assert [(line.name, line.amount.quantity) for line in figures.lines("lowest")] == [("Jeans", 3)]


def test_a_generated_shop_shows_its_rows(dropship: Caves, tmp_path: Path) -> None:
    event = {"id": 1, "kind": "Baguette", "price": 1.25, "at": "2026-07-10T11:00:00Z"}
    shop = shop_in(write_shop("bakery", "bakery_events", tmp_path, propose([event]), "team:bakery"))
    set_up(dropship.warehouse, shop)
    dropship.warehouse.execute(
        "INSERT INTO BAKERY.LATEST (ID, KIND, PRICE, INGESTED_AT, EVENT_TIME, KAFKA_TOPIC, KAFKA_PARTITION, "
        "KAFKA_OFFSET, LOADED_AT, UPDATED_AT) "
        "VALUES (1, 'Baguette', 1.25, SYSDATE(), '2026-07-10 11:00:00', 't', 0, 0, SYSDATE(), SYSDATE()), "
        "(2, NULL, 2, SYSDATE(), '2026-07-08 13:00:00', 't', 0, 1, SYSDATE(), SYSDATE())"
    )
    figures = read_figures(dropship.warehouse, shop, Period(), NOW)

    assert [(line.name, line.amount.items) for line in figures.lines("rows")] == [("BAKERY.LATEST", 2)]
    assert figures.amount("rows_last_day") == Amount(1, 1)
    latest = figures.lines("latest_rows")
    assert [line.id for line in latest] == ["1", "2"]
    assert (latest[0].detail or "").split("  ")[:2] == ["kind Baguette", "price 1.25"]
    assert "kind" not in (latest[1].detail or "")


@pytest.mark.parametrize("shop", BUILT_IN, ids=lambda shop: shop.name)
def test_it_is_one_statement_that_only_reads(shop: Shop) -> None:
    (text,) = statements(render(shop.sql, "dashboard/figures.sql", shop=shop))
    tree = sqlglot.parse_one(text.replace("%(", "'").replace(")s", "'"), dialect="snowflake")

    assert isinstance(tree, exp.Query)
    assert not list(tree.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Command))


def test_periods_end_today_and_are_as_long_as_they_are_called() -> None:
    today = date(2026, 7, 10)

    assert period("7d", (), today) == Period(date(2026, 7, 4), today)
    assert period("chosen", (today,), today) == Period(today, today)
    assert period("all", (), today) == period("chosen", (), today) == Period()
    assert Period(today, today).end - Period(today, today).begin == timedelta(days=1)
