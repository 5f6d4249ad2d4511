"""How often the warehouse is asked, and what is shown when it does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from caves_dagster.dashboard.period import Period
from caves_dagster.dashboard.snapshots import SETTLING_SECONDS, Snapshots, due
from caves_dagster.errors import KafkaUnreachable, WarehouseNotSetUp, WarehouseUnreachable
from caves_dagster.settings import DashboardSettings
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.dashboard.rows import insert_orders

SETTINGS = DashboardSettings.model_construct()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """Snapshots of a shop, with every statement that reached the warehouse."""

    def __init__(self, caves: Caves, monkeypatch: pytest.MonkeyPatch) -> None:
        self.caves, self.clock, self.statements = caves, Clock(), list[str]()
        self.snapshots = Snapshots(caves.settings, self.clock)
        query = Warehouse.query

        def counted(warehouse: Warehouse, sql: str, *arguments: object) -> list[Row]:
            if warehouse is not caves.warehouse:
                self.statements.append(sql)
            return query(warehouse, sql, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(Warehouse, "query", counted)

    def look(self, after: float = 0.0, period: Period = Period()) -> int:  # noqa: B008 - frozen
        """Look at the page after some seconds; the statements that it took."""
        self.clock.now += after
        before = len(self.statements)
        self.snapshots.get(self.caves.shop, period)
        return len(self.statements) - before


@pytest.fixture
def counted(caves: Caves, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    found = Counted(caves, monkeypatch)
    yield found
    found.snapshots.close()


def test_ten_browsers_cost_what_one_does(counted: Counted) -> None:
    with ThreadPoolExecutor(10) as browsers:
        found = list(browsers.map(lambda _: counted.snapshots.get(counted.caves.shop, Period()), range(10)))

    assert len(counted.statements) == 2, "positions and figures"
    assert all(one is found[0] or one == found[0] for one in found)
    assert all(sql.lstrip().upper().startswith(("SELECT", "WITH")) for sql in counted.statements)


def test_every_selection_is_asked_for_by_itself(counted: Counted) -> None:
    june = Period(date(2026, 6, 1), date(2026, 6, 30))

    assert [counted.look(), counted.look(0, june), counted.look(), counted.look(0, june)] == [2, 2, 0, 0]


def test_it_is_asked_at_the_interval_while_events_come_and_seldom_once_they_do_not(counted: Counted) -> None:
    assert counted.look() == 2
    assert [counted.look(2), counted.look(3)] == [0, 2]
    looks = sum(counted.look(5) for _ in range(20))
    assert looks >= 2 * 18, "for a while after the last event"
    counted.look(60)
    assert sum(counted.look(60) for _ in range(10)) == 2, "once in 600 s"
    counted.caves.publish(counted.caves.events(1))
    assert counted.look(5) == 2, "an event came"
    assert counted.look(5) == 2, "and waits to be read"


def test_nobody_looks_nobody_asks(counted: Counted) -> None:
    counted.look()
    counted.clock.now += 86_400

    assert len(counted.statements) == 2


@pytest.mark.parametrize(
    ("age", "since_moved", "is_due"),
    [
        (4.9, 0, False),
        (5, 0, True),
        (5, SETTLING_SECONDS, True),
        (5, SETTLING_SECONDS + 1, False),
        (600, 86_400, True),
        (float("inf"), 86_400, True),
    ],
)
def test_when_the_warehouse_is_due(age: float, since_moved: float, is_due: bool) -> None:
    assert due(age, since_moved, SETTINGS) == is_due


def test_an_unreachable_warehouse_leaves_the_last_figures_and_says_so(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_orders(counted.caves.warehouse, 5, 60, "2026-07-01 00:00:00")
    counted.look()
    away = WarehouseUnreachable("The warehouse at x cannot be reached.", "Start it.")

    def refuse(*_: object) -> list[Row]:
        raise away

    with monkeypatch.context() as patched:
        patched.setattr(Warehouse, "query", refuse)
        counted.clock.now += 5
        found = counted.snapshots.get(counted.caves.shop, Period())
        assert found.warehouse_error is away
        assert found.figures is not None
        assert found.figures.total.items == 5

    counted.clock.now += 5
    found = counted.snapshots.get(counted.caves.shop, Period())
    assert found.warehouse_error is None, "it recovers by itself"


def test_a_warehouse_that_is_not_set_up_says_what_to_run(counted: Counted) -> None:
    counted.caves.warehouse.execute("DROP TABLE RAW_DATA.KAFKA_OFFSETS")

    found = counted.snapshots.get(counted.caves.shop, Period())

    assert isinstance(found.warehouse_error, WarehouseNotSetUp)
    assert "caves setup" in found.warehouse_error.remedy
    assert found.figures is None


def test_an_unreachable_broker_leaves_the_figures_and_the_lag_unknown(
    caves: Caves, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = caves.settings.kafka.model_copy(
        update={"bootstrap_servers": "127.0.0.1:1", "timeout_seconds": 0.5}
    )
    snapshots = Snapshots(caves.settings.model_copy(update={"kafka": kafka}), Clock())
    found = snapshots.get(caves.shop, Period())
    snapshots.close()

    assert isinstance(found.kafka_error, KafkaUnreachable)
    assert found.figures is not None
    assert found.lag is None


def test_lag_is_what_the_positions_are_behind(counted: Counted) -> None:
    counted.caves.publish(counted.caves.events(7))

    assert counted.snapshots.get(counted.caves.shop, Period()).lag == 7


def test_it_reads_with_a_role_and_a_patience_of_its_own(caves: Caves) -> None:
    dashboard = SETTINGS.model_copy(update={"role": "CAVES_READER", "timeout_seconds": 4})
    snapshots = Snapshots(caves.settings.model_copy(update={"dashboard": dashboard}))
    used = snapshots._warehouse.settings

    assert (used.role, used.network_timeout, used.login_timeout) == ("CAVES_READER", 4, 4)
