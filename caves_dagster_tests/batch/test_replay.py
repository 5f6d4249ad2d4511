"""The history, or a file, as messages: the same each time, all valid or none published."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from typer.testing import CliRunner

from caves_dagster.batch.replay import replay_file, replay_history
from caves_dagster.cli import app
from caves_dagster.errors import CavesError, DeliveryFailed, SourceRefused, TopicNotFound
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.settings import Settings, embedded_settings
from caves_dagster.shop import Message, Shop
from caves_dagster.shops import find_shop
from caves_dagster.shops.caves.events import generate_labelled
from caves_dagster.shops.caves.history import FIRST_ORDER_LINE
from caves_dagster.shops.caves.invalid import INVALID_KINDS
from caves_dagster_tests.batch.sources import CUSTOMER, PRODUCT, SALE, SALES, sqlite_source
from caves_dagster_tests.batch.test_seed_files import write
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import environment, ingest

BYTES = 4 * 2**20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return embedded_settings(tmp_path)


@pytest.fixture
def shop(settings: Settings) -> Shop:
    """The wine shop with one sale in its history."""
    sqlite_source(settings.db_path, {"customers": [CUSTOMER], "inventory": [PRODUCT], "sales": [SALE]})
    return find_shop(settings, "caves")


def history(shop: Shop) -> list[Message]:
    replay = replay_history(shop, BYTES)
    found = list(replay.messages())
    assert len(found) == replay.count
    return found


def test_a_sale_becomes_the_order_it_was(shop: Shop) -> None:
    (message,) = history(shop)
    event = json.loads(message.value or b"")
    assert message.key == b"1015"
    assert event["event_type"] == "ORDER_CREATED"
    assert UUID(event["event_metadata"]["event_id"]).version == 5
    assert event["event_content"] == {
        "order_line_id": FIRST_ORDER_LINE + 1,
        "customer_id": 1,
        "product_id": 1015,
        "product_name": "Chardonnay Réserve 🥂",
        "category": "Blanc",
        "quantity": 6,
        "unit_price": 18.5,
        "discount": 0,
        "total_price": 111.0,
        "bottle_size_liters": 0.75,
        "sales_channel": "E-com",
        "timestamp": "2026-06-30T18:30:00.123456Z",
    }
    assert event["event_metadata"]["timestamp"] == "2026-06-30T18:30:00.123456Z"


def test_the_same_history_is_the_same_messages(tmp_path: Path) -> None:
    seeded = find_shop(embedded_settings(tmp_path / "seeded"), "caves")
    write(seeded, with_csv=False)
    first = history(seeded)
    assert first == history(seeded)
    assert len({message.event_id for message in first}) == 500
    contents = [json.loads(message.value or b"")["event_content"] for message in first]
    assert sorted(one["order_line_id"] for one in contents) == [FIRST_ORDER_LINE + n for n in range(1, 501)]
    moments = [one["timestamp"] for one in contents]
    assert moments == sorted(moments)


def test_no_live_event_has_an_id_of_the_history(shop: Shop) -> None:
    events = islice(generate_labelled(1, 0.0, lambda: datetime.now(UTC)), 20_000)
    contents = [event.event["event_content"] for event in events]
    identifiers = [one.get("order_line_id") or one["adjustment_id"] for one in contents]
    assert 0 < min(identifiers) <= max(identifiers) < FIRST_ORDER_LINE
    assert max(identifiers) > FIRST_ORDER_LINE // 2, "they use the room there is"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"product_id": 1}, ("sale_id 7", "product_name")),
        ({"sales_channel": "Minitel"}, ("sale_id 7", "sales_channel")),
        ({"sales_channel": None}, ("sale_id 7", "sales_channel")),
        ({"sale_date": "1969-12-31 10:00:00"}, ("sale_id 7", "1970")),
        ({"sale_id": 2**62}, (f"sale_id {2**62}", "order_line_id")),
    ],
)
def test_a_sale_that_is_no_valid_event_is_named_before_anything_is_published(
    shop: Shop, settings: Settings, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    broken = [{"sale_id": 7, **change}.get(name, value) for name, value in zip(SALES, SALE, strict=True)]
    sqlite_source(
        settings.db_path, {"customers": [CUSTOMER], "inventory": [PRODUCT], "sales": [SALE, broken]}
    )
    with pytest.raises(SourceRefused) as caught:
        history(shop)
    for word in (*words, "1 of 2 events", "Nothing was published"):
        assert word in str(caught.value)


def test_a_shop_without_a_history_says_so(shop: Shop) -> None:
    with pytest.raises(CavesError, match=r"declares no history\. Replay a file"):
        replay_history(replace(shop, history=None), BYTES)


# --- a file


def lines(count: int) -> list[bytes]:
    events = islice(generate_labelled(1, 0.0, lambda: datetime.now(UTC)), count)
    return [event.value or b"" for event in events]


def test_a_file_s_lines_are_the_messages_keyed_as_the_generator_keys_them(shop: Shop, tmp_path: Path) -> None:
    moment = datetime.now(UTC)
    sent = list(islice(shop.generate(1, 0.0, lambda: moment), 50))
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(message.value or b"" for message in sent) + b"\r\n\n  \n")
    replay = replay_file(shop, path, BYTES)
    assert (replay.count, list(replay.messages())) == (50, sent)


def test_broken_lines_are_named_by_number_before_anything_is_published(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    good = lines(8)
    broken = [b"{", b"null", b'{"event_type":"X"}', *good[:1], *[b"[]"] * 5]
    path.write_bytes(b"\n".join([*good, b"", *broken]))
    with pytest.raises(SourceRefused) as caught:
        replay_file(shop, path, BYTES)
    said = str(caught.value)
    for words in (
        "8 of 17 events",
        "line 10: ",
        "line 11: ",
        "line 12: ",
        "line 14: ",
        "; and 3 more",
        "--as-is",
    ):
        assert words in said
    assert "line 13:" not in said


def test_as_is_a_broken_line_is_published_without_a_key(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    (good,) = lines(1)
    path.write_bytes(good + b"\n\xff\xfe broken\n")
    replay = replay_file(shop, path, BYTES, as_is=True)
    valid, broken = replay.messages()
    assert replay.count == 2
    assert valid.value == good
    assert valid.key is not None
    assert broken == Message(None, b"\xff\xfe broken")


def test_every_kind_of_invalid_line_is_found(shop: Shop, tmp_path: Path) -> None:
    events = list(islice(generate_labelled(1, 0.0, lambda: datetime.now(UTC)), 100))
    for kind in INVALID_KINDS.values():
        event = next(one for one in events if kind.fits(one.event))
        value = kind.spoil(event.event)
        if not value or b"\n" in value:
            continue
        (tmp_path / "one.jsonl").write_bytes(value)
        with pytest.raises(SourceRefused, match="line 1: "):
            replay_file(shop, tmp_path / "one.jsonl", BYTES)


def test_a_file_that_is_not_there_is_named(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"nothing\.jsonl cannot be read"):
        replay_file(shop, tmp_path / "nothing.jsonl", BYTES)


# --- the command


def produce(caves: Caves, db_path: Path, *options: str) -> Any:
    """`caves produce --mode replay` on the test's topic."""
    return CliRunner().invoke(
        app,
        ["produce", "--mode", "replay", *options],
        env=dict(environment(caves, COLUMNS="200", DB_PATH=str(db_path))),
    )


def test_the_command_publishes_the_history_and_twice_it_is_in_production_once(
    caves: Caves, tmp_path: Path
) -> None:
    seeded = find_shop(embedded_settings(tmp_path), "caves")
    write(seeded, with_csv=False)
    for _ in range(2):
        done = produce(caves, tmp_path / "wine_data.db", "--rate", "0")
        assert done.exit_code == 0, done.output
        assert "Replaying 500 events." in done.output
        assert "500 delivered, 0 failed" in done.output
    ingest(caves)
    assert caves.count("RAW_DATA.RAW_EVENTS_STREAM") == 1000
    assert caves.count("RAW_DATA.DEAD_LETTER_EVENTS") == 0
    (row,) = caves.warehouse.query("SELECT COUNT(DISTINCT EVENT_ID) AS N FROM RAW_DATA.RAW_EVENTS_STREAM")
    assert row["N"] == 500


def test_the_command_publishes_at_most_so_many_at_a_rate(caves: Caves, tmp_path: Path) -> None:
    write(find_shop(embedded_settings(tmp_path), "caves"), with_csv=False)
    began = time.monotonic()
    done = produce(caves, tmp_path / "wine_data.db", "--rate", "20", "--count", "30")
    assert done.exit_code == 0, done.output
    assert time.monotonic() - began > 1.4
    state = KafkaClient(caves.settings.kafka).inspect(caves.shop.topic)
    assert sum(marks.end for marks in state.partitions.values()) == 30


def test_the_command_publishes_nothing_of_a_file_with_a_broken_line_unless_told_to(
    caves: Caves, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join([*lines(3), b"broken"]))
    refused = produce(caves, tmp_path, "--file", str(path))
    assert isinstance(refused.exception, SourceRefused)
    state = KafkaClient(caves.settings.kafka).inspect(caves.shop.topic)
    assert sum(marks.end for marks in state.partitions.values()) == 0
    done = produce(caves, tmp_path, "--file", str(path), "--as-is", "--rate", "0")
    assert done.exit_code == 0, done.output
    ingest(caves)
    assert (caves.count("RAW_DATA.RAW_EVENTS_STREAM"), caves.count("RAW_DATA.DEAD_LETTER_EVENTS")) == (3, 1)


def test_the_command_fails_when_not_all_was_delivered(caves: Caves, tmp_path: Path) -> None:
    write(find_shop(embedded_settings(tmp_path), "caves"), with_csv=False)
    unknown = produce(caves, tmp_path / "wine_data.db", "--topic", "nowhere")
    assert unknown.exit_code != 0
    assert isinstance(unknown.exception, TopicNotFound)
    huge = tmp_path / "huge.jsonl"
    (line,) = lines(1)
    event = msgspec.json.decode(line)
    event["padding"] = "x" * 2_000_000
    huge.write_bytes(msgspec.json.encode(event))
    refused = produce(caves, tmp_path, "--file", str(huge))
    assert isinstance(refused.exception, DeliveryFailed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mode", "replay", "--seed", "1"], "a replay makes nothing up"),
        (["--mode", "replay", "--invalid-rate", "0.1"], "a replay makes nothing up"),
        (["--mode", "replay", "--as-is"], "needs --file"),
        (["--file", "x.jsonl"], "needs --mode replay"),
        (["--as-is"], "needs --mode replay"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["produce", *options], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert words in done.output
