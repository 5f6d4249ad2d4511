"""Dropship: its seed, its events, its contract, and its way from the topic and the files to its tables."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest

from caves_dagster.batch.replay import replay_history
from caves_dagster.batch.seed_files import write_seed
from caves_dagster.checks.catalogue import integrity_checks, shop_checks
from caves_dagster.checks.check import run_check
from caves_dagster.definitions import build_definitions
from caves_dagster.errors import SettingsError
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.invalid_events import spoilt
from caves_dagster.rebuild import rebuild
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster.shop import InvalidEvent, Message, Shop
from caves_dagster.shops.dropship import DROPSHIP
from caves_dagster.shops.dropship.contract import CONTRACT
from caves_dagster.shops.dropship.events import generate
from caves_dagster.shops.dropship.seed import OPTIONS, rows
from caves_dagster.status import shop_status
from caves_dagster_tests.conftest import Caves

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def decoded(value: bytes | None) -> tuple[Any, ...]:
    """The row that a message becomes."""
    return decode(KafkaMessage("t", 0, 0, 0, b"k", value, ()), CONTRACT, 2**20)


def event(order_id: str = "O1", at: datetime = NOW, **order: Any) -> Message:
    """An event about an order."""
    timestamp = at.isoformat()
    fields = {
        "id": order_id,
        "product_id": "P000001",
        "customer_id": "C000001",
        "quantity": 2,
        "unit_price": 19.99,
        "sold_at": "2026-07-01T14:00:00+02:00",
        **order,
    }
    event_id = f"{order_id} {timestamp}"
    whole = {
        "event_type": "order_created",
        "event_id": event_id,
        "timestamp": timestamp,
        "order": fields,
        "x": {"kept": 1},
    }
    return Message(order_id.encode(), json.dumps(whole).encode(), event_id)


def test_declaring_it_takes_at_most_400_lines_of_python_and_sql() -> None:
    package = PROJECT_ROOT / "caves_dagster" / "shops" / "dropship"
    files = [*package.glob("*.py"), *DROPSHIP.folder.rglob("*.sql")]
    assert len(files) > 10
    assert sum(len(path.read_text().splitlines()) for path in files) <= 400


# --- the seed


def test_the_defaults_are_the_specification_s() -> None:
    made = {name: list(content) for name, content in rows(OPTIONS).items()}

    assert OPTIONS.seed == 42
    assert {name: len(content) for name, content in made.items()} == {
        "customers": 1000,
        "inventory": 200,
        "orders": 5000,
    }
    prices = {row[0]: row[3] for row in made["inventory"]}
    customers = {row[0] for row in made["customers"]}
    assert len({row[2] for row in made["customers"]}) == 1000, "an e-mail address each"
    assert all(prices[row[1]] == row[4] and row[2] in customers for row in made["orders"])
    moments = [row[5] for row in made["orders"]]
    assert moments == sorted(moments)
    first, last = moments[0][:10], moments[-1][:10]
    assert (date.fromisoformat(first), last) == (OPTIONS.end_date - timedelta(days=29), "2026-06-30")


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"customers is 0\. Choose a number from 1 to"):
        rows(replace(OPTIONS, customers=0))


def seeded(folder: Path, **options: Any) -> Shop:
    """Dropship with files of its own."""
    assert DROPSHIP.seed is not None
    assert DROPSHIP.batch is not None
    shop = replace(
        DROPSHIP,
        seed=replace(DROPSHIP.seed, csv=folder),
        batch=replace(DROPSHIP.batch, source=folder),
    )
    write_seed(shop, replace(OPTIONS, **options))
    return shop


def test_the_same_options_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 42), ("b", 42), ("c", 43)):
        seeded(tmp_path / name, seed=seed, customers=50, products=20, sales=100)
    a, b, c = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b", "c")
    )
    assert set(a) == {"customers.csv", "inventory.csv", "orders.csv"}
    assert a == b
    assert all(a[name] != c[name] for name in a)
    with (tmp_path / "a" / "orders.csv").open() as file:
        first = next(csv.DictReader(file))
    assert list(first) == ["id", "product_id", "customer_id", "quantity", "unit_price", "sold_at"]
    assert datetime.fromisoformat(first["sold_at"]).tzinfo is not None
    assert len(first["unit_price"].partition(".")[2]) == 2


# --- events


def generated(count: int, seed: int = 1, invalid_rate: float = 0.0) -> list[Message]:
    return list(islice(generate(seed, invalid_rate, lambda: NOW), count))


def test_generated_events_are_valid_and_belong_to_the_seed_s_customers_and_products() -> None:
    made = {name: list(content) for name, content in rows(OPTIONS).items()}
    prices = {row[0]: float(row[3]) for row in made["inventory"]}
    customers = {row[0] for row in made["customers"]}
    messages = generated(500)

    for message in messages:
        row = dict(zip(CONTRACT.columns, decoded(message.value), strict=True))
        order = json.loads(row["PAYLOAD"])["order"]
        assert (row["EVENT_ID"], row["ORDER_ID"].encode()) == (message.event_id, message.key)
        assert prices[order["product_id"]] == order["unit_price"]
        assert order["customer_id"] in customers
        assert row["CREATED_AT"] == "2026-07-01 12:00:00.000000"
    assert len({message.key for message in messages}) == 500
    assert messages == generated(500)
    assert messages != generated(500, seed=2)


def test_every_invalid_message_is_refused_and_no_valid_one_is_missing() -> None:
    messages = generated(200, invalid_rate=0.25)

    assert sum(message.event_id is None for message in messages) == 50
    for message in messages:
        if message.event_id is None:
            with pytest.raises(InvalidEvent):
                decoded(message.value)
    assert [message for message in messages if message.event_id] == generated(150)


def test_every_way_of_spoiling_an_event_makes_it_invalid() -> None:
    value = generated(1)[0].value
    assert value is not None
    for number in range(40):
        with pytest.raises(InvalidEvent):
            decoded(spoilt(value, number))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"quantity": 0}, "$.order.quantity"),
        ({"quantity": "2"}, "$.order.quantity"),
        ({"unit_price": -0.01}, "$.order.unit_price"),
        ({"unit_price": 100_000_000}, "$.order.unit_price"),
        ({"sold_at": "2026-07-01T12:00:00"}, "$.order.sold_at"),
        ({"sold_at": "2026-02-30T12:00:00Z"}, "$.order.sold_at"),
        ({"product_id": ""}, "$.order.product_id"),
    ],
)
def test_what_the_contract_refuses(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        decoded(event(**changes).value)
    assert refused.value.path == path


# --- the way


@pytest.fixture
def run(dropship: Caves, instance: dg.DagsterInstance) -> Any:
    """Runs the pipeline, and wants it to succeed with every check passed."""
    job = build_definitions(dropship.settings).resolve_job_def("dropship_pipeline")

    def run_once() -> dg.ExecuteInProcessResult:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert result.success
        checks = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
        assert {"offsets_accounted_for", "raw_vs_prod_counts", "duplicates"} <= set(checks)
        assert {name for name, passed in checks.items() if not passed} == set()
        return result

    return run_once


def orders(dropship: Caves) -> dict[str, Any]:
    """Rows of ORDERS by id."""
    return {row["ID"]: row for row in dropship.warehouse.query("SELECT * FROM DROPSHIP.ORDERS")}


def test_every_event_reaches_orders_and_every_invalid_one_is_a_dead_letter(dropship: Caves, run: Any) -> None:
    messages = dropship.events(300, invalid_rate=0.1)
    dropship.publish(messages)

    run()

    ids = [
        row["EVENT_ID"] for row in dropship.warehouse.query("SELECT EVENT_ID FROM DROPSHIP_RAW.ORDERS_EVENTS")
    ]
    assert sorted(ids) == sorted(message.event_id for message in messages if message.event_id)
    assert dropship.count("DROPSHIP_RAW.DEAD_LETTER_EVENTS") == 30
    found = orders(dropship)
    assert set(found) == {(message.key or b"").decode() for message in messages if message.event_id}
    (first,) = [message for message in messages[:1] if message.event_id]
    sent = msgspec.json.decode(first.value or b"")["order"]
    row = found[sent["id"]]
    assert (row["PRODUCT_ID"], row["CUSTOMER_ID"]) == (sent["product_id"], sent["customer_id"])
    assert (int(row["QUANTITY"]), float(row["UNIT_PRICE"])) == (sent["quantity"], sent["unit_price"])
    assert f"{row['SOLD_AT'].isoformat(timespec='microseconds')}Z" == sent["sold_at"]
    status = shop_status(dropship.settings, dropship.shop, dropship.warehouse)
    assert (status.lag, status.tables["DROPSHIP.ORDERS"]) == (0, 270)


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in batches of their own"])
def test_a_later_event_updates_an_order_and_an_older_one_does_not(
    dropship: Caves, run: Any, together: bool
) -> None:
    versions = [
        event("A", NOW, quantity=1),
        event("A", NOW + timedelta(hours=1), quantity=2, unit_price=5),
        event("A", NOW - timedelta(hours=1), quantity=3),
        event("B", NOW, quantity=7),
        event("B", NOW, quantity=8),  # the same time: what Kafka had later
    ]
    if together:
        dropship.publish(versions)
        run()
    else:
        for version in versions:
            dropship.publish([version])
            run()

    found = orders(dropship)
    assert set(found) == {"A", "B"}
    assert (int(found["A"]["QUANTITY"]), float(found["A"]["UNIT_PRICE"])) == (2, 5.0)
    assert found["A"]["EVENT_TIME"] == (NOW + timedelta(hours=1)).replace(tzinfo=None)
    assert found["A"]["SOLD_AT"] == NOW.replace(tzinfo=None)
    assert int(found["B"]["QUANTITY"]) == 8
    (raw,) = dropship.warehouse.query(
        "SELECT PAYLOAD FROM DROPSHIP_RAW.ORDERS_EVENTS ORDER BY KAFKA_PARTITION, KAFKA_OFFSET LIMIT 1"
    )
    assert json.loads(raw["PAYLOAD"])["x"] == {"kept": 1}


def test_a_rebuild_gives_the_same_orders(dropship: Caves, run: Any) -> None:
    dropship.publish([*dropship.events(50), event("A", NOW), event("A", NOW + timedelta(days=1), quantity=9)])
    run()
    volatile = {"LOADED_AT", "UPDATED_AT"}
    before = {
        key: {k: v for k, v in row.items() if k not in volatile} for key, row in orders(dropship).items()
    }

    rebuild(dropship.warehouse, dropship.shop)

    after = {
        key: {k: v for k, v in row.items() if k not in volatile} for key, row in orders(dropship).items()
    }
    assert after == before
    assert len(after) == 51


def test_a_wrong_figure_and_a_double_are_found_by_the_checks(dropship: Caves, run: Any) -> None:
    dropship.publish([event("A"), event("B"), event("C")])
    run()
    dropship.warehouse.execute("UPDATE DROPSHIP.ORDERS SET UNIT_PRICE = 20 WHERE ID = 'A'")
    dropship.warehouse.execute("INSERT INTO DROPSHIP.ORDERS SELECT * FROM DROPSHIP.ORDERS WHERE ID = 'B'")
    dropship.warehouse.execute("DELETE FROM DROPSHIP.ORDERS WHERE ID = 'C'")

    found = {
        check.name: run_check(dropship.warehouse, dropship.shop, check)
        for check in integrity_checks(dropship.shop)
        if check.name in ("raw_vs_prod_counts", "duplicates")
    }

    assert found["raw_vs_prod_counts"].offending_keys == ["orders: A, C"]
    assert found["duplicates"].offending_keys == ["DROPSHIP.ORDERS: B"]


# --- the files


# Of dagster and its integrations, not ours.
@pytest.mark.filterwarnings("default")
def test_the_files_are_made_loaded_and_replayed(
    dropship: Caves, run: Any, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = dropship.settings.model_copy(update={"seed_dir": tmp_path / "seed"})
    definitions = build_definitions(settings)
    sizes = {"customers": 40, "products": 10, "sales": 60}
    seeds = definitions.resolve_job_def("dropship_seed")
    config = {"ops": {"seed__dropship": {"config": sizes}}}
    assert seeds.execute_in_process(run_config=config, instance=instance).success
    assert definitions.resolve_job_def("dropship_batch").execute_in_process(instance=instance).success
    assert dropship.count("DROPSHIP.CUSTOMERS") == 40
    assert dropship.count("DROPSHIP.INVENTORY") == 10

    shop = seeded(tmp_path / "seed", **sizes)
    replay = replay_history(replace(shop, topic=dropship.shop.topic), settings.max_event_bytes)
    assert replay.count == 60
    for _ in range(2):
        dropship.publish(list(replay.messages()))
        run()

    assert dropship.count("DROPSHIP_RAW.ORDERS_EVENTS") == 120
    assert dropship.count("DROPSHIP.ORDERS") == 60
    with (tmp_path / "seed" / "orders.csv").open() as file:
        expected = {row["id"]: row for row in csv.DictReader(file)}
    for key, row in orders(dropship).items():
        assert str(row["UNIT_PRICE"]) == expected[key]["unit_price"]
        assert f"{row['SOLD_AT'].isoformat()}Z" == expected[key]["sold_at"]
    (unknown,) = dropship.warehouse.query(
        "SELECT COUNT(*) AS N FROM DROPSHIP.ORDERS AS o "
        "LEFT JOIN DROPSHIP.CUSTOMERS AS c ON o.CUSTOMER_ID = c.ID "
        "LEFT JOIN DROPSHIP.INVENTORY AS i ON o.PRODUCT_ID = i.ID WHERE c.ID IS NULL OR i.ID IS NULL"
    )
    assert unknown["N"] == 0
    found = [
        run_check(dropship.warehouse, shop, check, instance=instance) for check in shop_checks(settings, shop)
    ]
    assert {one.name: one.offending_keys for one in found if one.status == "FAIL"} == {}
    assert {one.name for one in found if one.status == "WARN"} == {"task_status"}, "no sensor has ticked"
