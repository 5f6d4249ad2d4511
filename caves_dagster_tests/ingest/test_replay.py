"""Dead letters tried again: what is valid today lands once and where it stood, the rest is counted."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Producer

from caves_dagster.errors import LandingRefused, WarehouseUnreachable
from caves_dagster.ingest.dead_letters import Chosen, DeadLetters
from caves_dagster.ingest.refused import TRUNCATED
from caves_dagster.ingest.replay import Replay, ReplayReport
from caves_dagster.ingest.stage import Stage
from caves_dagster.kafka.client import client_config
from caves_dagster.kafka.producer import publish
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster.shop import Contract, InvalidEvent, Message
from caves_dagster.warehouse.connection import Row, Warehouse
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import (
    DEAD_LETTERS,
    accounted_for,
    dead_letters,
    environment,
    files_on_stage,
    ingest,
    landed_ids,
    require_exactly_once,
)
from caves_dagster_tests.ingest.spoiling import SPOILERS, lets_through, spoilt
from caves_dagster_tests.ingest.test_crashes import begin, end_open_transactions, worker

RAW = "RAW_DATA.RAW_EVENTS_STREAM"
REPLAYS = "RAW_DATA.DEAD_LETTER_REPLAYS"
_FEW_BYTES = 1024
"""Yesterday's limit of bytes, which an event with a long note breaks; a replay has today's."""

_ANY = Chosen()


def with_note(message: Message, length: int = 2000) -> Message:
    """The event with a field more, too long for yesterday's limit."""
    event = json.loads(message.value or b"")
    event["event_content"]["note"] = "x" * length
    return replace(message, value=json.dumps(event).encode())


def feed(caves: Caves, count: int = 60, every: int = 3) -> tuple[list[Message], list[Message], int]:
    """Land events of which each third is dead for its length alone; (all, those, how many are invalid)."""
    events = caves.events(count, invalid_rate=0.2)
    long = [number for number, event in enumerate(events) if event.event_id and number % every == 0]
    for number in long:
        events[number] = with_note(events[number])
    caves.publish(events)
    invalid = sum(event.event_id is None for event in events)
    report = ingest(caves, max_event_bytes=_FEW_BYTES)
    assert report.dead_by_class["TOO_LARGE"] == len(long) > 0
    return events, [events[number] for number in long], invalid


def replay(
    caves: Caves,
    chosen: Chosen = _ANY,
    warehouse: Warehouse | None = None,
    limits: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> ReplayReport:
    """Replay under the settings as they are, with some limits changed."""
    settings = caves.settings.model_copy(update=dict(limits or {}))
    session = caves.warehouse if warehouse is None else warehouse
    return Replay(settings, caves.shop, session, "test").run(chosen, **arguments)


def states(caves: Caves) -> list[tuple[str, int, bool]]:
    """Class, attempts and whether it was replayed, of each letter."""
    return [
        (row["FAILURE_CLASS"], row["ATTEMPTS"], row["REPLAYED_AT"] is not None) for row in dead_letters(caves)
    ]


def require_replayed(caves: Caves, events: list[Message], invalid: int) -> None:
    """Every valid event once in RAW, the others dead, and every offset accounted for, windowed or not."""
    assert landed_ids(caves) == Counter(event.event_id for event in events if event.event_id)
    assert sum(not replayed for _, _, replayed in states(caves)) == invalid
    outcome = accounted_for(caves)
    assert outcome.status == "PASS", outcome.offending_keys
    assert files_on_stage(caves) == []


# --- what lands and what stays


def test_what_is_valid_today_lands_where_it_stood_and_the_rest_counts_an_attempt(caves: Caves) -> None:
    events, long, invalid = feed(caves)
    before = {row["DEAD_LETTER_ID"]: row for row in dead_letters(caves)}

    report = replay(caves)

    assert (report.matching, report.landed, report.tried) == (len(before), len(long), len(before))
    assert report.dead_by_class.total() == invalid
    assert report.dead_by_class["TOO_LARGE"] == 0
    require_replayed(caves, events, invalid)
    after = {row["DEAD_LETTER_ID"]: row for row in dead_letters(caves)}
    assert {row["ATTEMPTS"] for row in after.values()} == {2}
    rows = {
        (row["KAFKA_PARTITION"], row["KAFKA_OFFSET"]): row
        for row in caves.warehouse.query(f"SELECT * FROM {RAW}")
    }
    ids = {event.value: event.event_id for event in long}
    for letter in after.values():
        old = before[letter["DEAD_LETTER_ID"]]
        assert (letter["VALUE"], letter["HEADERS"], letter["FIRST_SEEN"]) == (
            old["VALUE"], old["HEADERS"], old["FIRST_SEEN"],
        )  # fmt: skip
        if letter["REPLAYED_AT"] is None:
            continue
        row = rows[letter["KAFKA_PARTITION"], letter["KAFKA_OFFSET"]]
        assert row["EVENT_ID"] == ids[bytes(letter["VALUE"])]
        for column in ("KAFKA_TOPIC", "KAFKA_TIMESTAMP", "BATCH_ID"):
            assert row[column] == letter[column]
        assert json.loads(row["EVENT_CONTENT"])["note"] == "x" * 2000
        assert letter["FAILURE_CLASS"] == "TOO_LARGE", "why it had been dead is kept"
        assert letter["REPLAYED_AT"] >= letter["FIRST_SEEN"]


def test_a_second_replay_lands_nothing_more(caves: Caves) -> None:
    events, _, invalid = feed(caves)
    replay(caves)
    report = replay(caves)
    assert (report.matching, report.landed) == (invalid, 0)
    require_replayed(caves, events, invalid)
    assert sorted({attempts for _, attempts, replayed in states(caves) if not replayed}) == [3]
    assert sorted({attempts for _, attempts, replayed in states(caves) if replayed}) == [2]


def test_a_dry_run_says_the_same_and_changes_nothing(caves: Caves) -> None:
    _, long, invalid = feed(caves)
    before = dead_letters(caves)
    (epoch,) = caves.warehouse.query("SELECT EPOCH FROM RAW_DATA.INGEST_FENCE")

    report = replay(caves, dry_run=True)

    assert (report.landed, report.dead_by_class.total()) == (len(long), invalid)
    assert dead_letters(caves) == before
    assert caves.count(REPLAYS) == 0
    assert caves.warehouse.query("SELECT EPOCH FROM RAW_DATA.INGEST_FENCE") == [epoch]


def test_a_reason_of_today_takes_the_place_of_the_old_one_and_each_attempt_is_kept(caves: Caves) -> None:
    caves.publish([Message(b"1", b"{}" + b" " * 2000)])
    ingest(caves, max_event_bytes=_FEW_BYTES)
    replay(caves)
    (letter,) = dead_letters(caves)
    assert (letter["FAILURE_CLASS"], letter["FAILURE_PATH"]) == ("CONTRACT", "$")
    assert "event_type" in letter["FAILURE_REASON"]
    (attempt,) = DeadLetters(caves.warehouse, caves.shop).replays(letter["DEAD_LETTER_ID"])
    assert (attempt["LANDED"], attempt["FAILURE_CLASS"], attempt["RUN_ID"]) == (False, "CONTRACT", "test")


def test_what_was_replayed_flows_on_through_the_stream(caves: Caves) -> None:
    caves.publish([with_note(event) for event in caves.events(5)])
    ingest(caves, max_event_bytes=_FEW_BYTES)
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 0
    replay(caves)
    assert caves.count("RAW_DATA.STREAM_RAW_EVENTS") == 5


def test_a_letter_whose_bytes_are_not_whole_is_left_dead_whatever_is_left_of_it(caves: Caves) -> None:
    caves.publish([with_note(event) for event in caves.events(2)])
    ingest(caves, max_event_bytes=_FEW_BYTES)
    caves.warehouse.execute(f"UPDATE {DEAD_LETTERS} SET FAILURE_CLASS = '{TRUNCATED}'")
    assert replay(caves).dead_by_class == {TRUNCATED: 2}
    assert caves.count(RAW) == 0
    assert states(caves) == [(TRUNCATED, 2, False)] * 2


def test_nothing_that_matches_is_no_error(caves: Caves) -> None:
    report = replay(caves, Chosen(failure_class="NONE"))
    assert (report.matching, report.tried) == (0, 0)


# --- which letters


def test_only_the_chosen_ones_are_tried(caves: Caves) -> None:
    events, long, _ = feed(caves)
    letters = [row for row in dead_letters(caves) if row["FAILURE_CLASS"] == "TOO_LARGE"]
    first = letters[0]
    orders = sum(b"ORDER_CREATED" in (event.value or b"") for event in long)
    for chosen, count in (
        (Chosen(failure_class="too_large"), len(long)),
        (Chosen(failure_class="TOO_LARGE", event_type="ORDER_CREATED"), orders),
        (Chosen(failure_class="TOO_LARGE", event_type="ORDER"), 0),
        (Chosen(text="BYTES, AT MOST 1024"), len(long)),
        (Chosen(dead_letter_id=first["DEAD_LETTER_ID"][:13].upper()), 1),
        (Chosen(partition=first["KAFKA_PARTITION"], offset=first["KAFKA_OFFSET"]), 1),
        (Chosen(since=datetime.now(UTC)), 0),
        (Chosen(until=first["FIRST_SEEN"]), 0),
        (Chosen(failure_class="TOO_LARGE", since=first["FIRST_SEEN"]), len(long)),
    ):
        assert replay(caves, chosen, dry_run=True).matching == count, chosen
    assert 0 < orders < len(long)
    report = replay(caves, Chosen(failure_class="TOO_LARGE"), limit=2)
    assert (report.matching, report.landed) == (2, 2)
    assert sum(replayed for _, _, replayed in states(caves)) == 2
    assert {attempts for kind, attempts, _ in states(caves) if kind != "TOO_LARGE"} == {1}
    assert landed_ids(caves).total() == sum(e.event_id is not None for e in events) - len(long) + 2


@pytest.mark.parametrize(
    "limits", [{"batch_max_events": 4}, {"batch_max_bytes": 6000}, {"batch_max_bytes": 1}]
)
def test_pages_are_bounded_and_together_are_all_letters_once(caves: Caves, limits: dict[str, int]) -> None:
    events, _, invalid = feed(caves)
    sizes = [len(row["VALUE"] or b"") + len(row["MESSAGE_KEY"] or b"") for row in dead_letters(caves)]
    letters = DeadLetters(caves.warehouse, caves.shop)
    most, most_bytes = limits.get("batch_max_events", 1000), limits.get("batch_max_bytes", 2**30)
    pages = [letters.read(Chosen(), page) for page in letters.pages(Chosen(), most, most_bytes)]
    assert len(pages) > 5
    ids = [letter.dead_letter_id for page in pages for letter in page]
    assert len(set(ids)) == len(ids) == len(sizes)
    for page in pages:
        total = sum(len(one.letter.message.value or b"") + len(one.letter.message.key or b"") for one in page)
        assert len(page) <= most
        assert total <= most_bytes or len(page) == 1

    report = replay(caves, limits=limits)

    assert report.tried == len(sizes)
    require_replayed(caves, events, invalid)


def test_letters_that_come_in_while_it_runs_are_left_for_the_next_time(caves: Caves) -> None:
    feed(caves, 20)
    count = caves.count(DEAD_LETTERS)

    def more(_: ReplayReport) -> None:
        caves.publish([Message(b"1", b"late")])
        ingest(caves)

    settings = caves.settings.model_copy(update={"batch_max_events": 1})
    report = Replay(settings, caves.shop, caves.warehouse, "test", more).run(Chosen())
    assert report.tried == count
    assert caves.count(DEAD_LETTERS) == 2 * count


# --- what the warehouse refuses


def test_a_row_that_the_warehouse_refuses_stays_dead_and_its_neighbours_land(caves: Caves) -> None:
    careless = lets_through(caves, SPOILERS["content that is not JSON"])
    events = [with_note(event) for event in careless.events(12)]
    for number in (3, 7):
        events[number] = spoilt(events[number])
    careless.publish(events)
    assert ingest(careless, max_event_bytes=_FEW_BYTES).dead == 12

    report = replay(careless)

    assert (report.landed, report.dead_by_class) == (10, {"LANDING": 2})
    still = [row for row in dead_letters(careless) if row["REPLAYED_AT"] is None]
    assert {bytes(row["VALUE"]) for row in still} == {events[3].value, events[7].value}
    assert {(row["FAILURE_CLASS"], row["ATTEMPTS"]) for row in still} == {("LANDING", 2)}
    assert all("COPY failed" in row["FAILURE_REASON"] for row in still)
    assert accounted_for(careless).status == "PASS"
    assert replay(careless).dead_by_class == {"LANDING": 2}, "all of a page refused is no table's fault"


def test_a_table_that_is_at_fault_stops_the_replay_and_blames_no_letter(caves: Caves) -> None:
    feed(caves)
    before = states(caves)
    caves.warehouse.execute(f"ALTER TABLE {RAW} DROP COLUMN EVENT_ID")
    with pytest.raises(LandingRefused):
        replay(caves)
    assert states(caves) == before
    assert caves.count(REPLAYS) == 0
    assert files_on_stage(caves) == []


# --- several at once, and connections that break


def test_two_replays_and_an_ingestion_at_once_land_every_event_once(caves: Caves) -> None:
    events, long, invalid = feed(caves, 120)
    more = caves.events(120, seed=2)
    caves.publish(more)
    together = threading.Barrier(3)
    reports: list[ReplayReport] = []
    failures: list[BaseException] = []

    def guarded(work: Any) -> None:
        together.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    def one_replay() -> None:
        with Warehouse(caves.settings.snowflake) as session:
            reports.append(replay(caves, warehouse=session, limits={"batch_max_events": 5}))

    threads = [threading.Thread(target=guarded, args=(one_replay,)) for _ in range(2)]
    threads.append(threading.Thread(target=guarded, args=(lambda: ingest(caves, batch_max_events=20),)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    assert sum(report.landed for report in reports) == len(long)
    require_replayed(caves, events + more, invalid)


class _Breaking(Warehouse):
    """Loses its connection around a COMMIT: before it reaches the server, or with its answer."""

    def __init__(self, caves: Caves, commits: bool) -> None:
        super().__init__(caves.settings.snowflake)
        self.commits = commits
        self.broken = 0

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        if sql != "COMMIT" or self.broken:
            return super().execute(sql, parameters)
        self.broken += 1
        if self.commits:
            super().execute(sql, parameters)
        self._drop()
        raise WarehouseUnreachable("The connection broke.", "Wait.")


@pytest.mark.parametrize("commits", [True, False], ids=["answer lost", "request lost"])
def test_a_commit_whose_fate_is_unknown_lands_once_and_counts_one_attempt(
    caves: Caves, commits: bool
) -> None:
    events, long, invalid = feed(caves)
    with _Breaking(caves, commits) as warehouse:
        report = replay(caves, warehouse=warehouse)
    assert (report.landed, report.dead_by_class.total()) == (len(long), invalid)
    require_replayed(caves, events, invalid)
    assert {attempts for _, attempts, _ in states(caves)} == {2}


class _Overtaken(Warehouse):
    """Somebody else replays everything between its reading of the letters and its fence."""

    def __init__(self, caves: Caves) -> None:
        super().__init__(caves.settings.snowflake)
        self._caves = caves
        self.overtaken = 0

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        if sql.startswith("BEGIN") and not self.overtaken:
            self.overtaken += 1
            assert replay(self._caves).landed > 0
        return super().execute(sql, parameters)


def test_letters_that_another_replay_landed_meanwhile_are_not_landed_again(caves: Caves) -> None:
    events, _, invalid = feed(caves)
    with _Overtaken(caves) as warehouse:
        report = replay(caves, warehouse=warehouse)
    assert (report.landed, report.dead_by_class.total()) == (0, invalid)
    require_replayed(caves, events, invalid)


# --- killed

_WORKER = """
import sys
from caves_dagster.ingest.dead_letters import Chosen
from caves_dagster.ingest.replay import Replay
from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
import pyarrow.parquet, snowflake.connector
settings = load_settings()
print("ready", flush=True)
sys.stdin.readline()
with Warehouse(settings.snowflake) as warehouse:
    shop = find_shop(settings, "caves")
    Replay(settings, shop, warehouse, sys.argv[1], lambda report: print("page", flush=True)).run(Chosen())
"""


@pytest.mark.slow
def test_a_replay_killed_again_and_again_beside_an_ingestion_loses_and_doubles_nothing(caves: Caves) -> None:
    draw = random.Random(20_261_121)
    events, _, invalid = feed(caves, 240, every=2)
    more = caves.events(300, seed=2, invalid_rate=0.1)
    stop = threading.Event()

    def produce() -> None:
        publish(caves.settings.kafka, caves.shop.topic, more, rate=60, stop=stop).require_delivery()

    def start(number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _WORKER, f"killed {number}"],
            cwd=PROJECT_ROOT,
            env=environment(caves, CAVES_BATCH_MAX_EVENTS="8"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    producer = threading.Thread(target=produce)
    producer.start()
    killed, following = 0, start(0)
    try:
        for number in range(1, 7):
            process, following = following, start(number)
            landing = worker(caves, f"beside {number}", 20)
            begin(landing)
            begin(process)
            assert process.stdout is not None
            for _ in range(draw.randrange(3)):
                process.stdout.readline()
            time.sleep(draw.uniform(0.0, 0.3))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
            end_open_transactions(caves)
            landing.communicate(timeout=120)
            assert landing.returncode == 0
    finally:
        following.kill()
        following.communicate()
        if sys.exc_info()[0] is not None:
            stop.set()
        producer.join()
    assert killed >= 3, "most replays ended before they could be killed"
    before = sum(replayed for _, _, replayed in states(caves))
    assert before > 0, "no killed replay had landed anything: the kills came too early"
    ingest(caves)
    replay(caves)
    # What a killed one had put on the stage stays for an hour.
    Stage(caves.warehouse, caves.shop).sweep(timedelta())
    late = sum(event.event_id is None for event in more)
    require_replayed(caves, events + more, invalid + late)
    doubled: list[Row] = caves.warehouse.query(
        f"SELECT DEAD_LETTER_ID FROM {REPLAYS} WHERE LANDED GROUP BY DEAD_LETTER_ID HAVING COUNT(*) > 1"
    )
    assert doubled == []


def test_a_contract_that_became_wider_lets_its_letters_in(caves: Caves) -> None:
    """Yesterday a source called "till 9" was not known."""
    contract = caves.shop.contract

    def row(event: Any, value: bytes) -> tuple[Any, ...]:
        if event.event_metadata.source == "till 9":
            raise InvalidEvent("CONTRACT", "till 9 is not known", "$.event_metadata.source")
        return contract.row(event, value)

    strict = replace(
        caves, shop=replace(caves.shop, contract=Contract(contract.columns, contract.event, row))
    )
    events = caves.events(9)
    for number in (0, 4):
        event = json.loads(events[number].value or b"")
        event["event_metadata"]["source"] = "till 9"
        events[number] = replace(events[number], value=json.dumps(event).encode())
    producer = Producer(client_config(caves.settings.kafka))
    for sent in events:
        producer.produce(caves.shop.topic, sent.value, sent.key, headers=[("trace", b"\xff")])
    assert producer.flush(10) == 0
    assert ingest(strict).dead_by_class == {"CONTRACT": 2}
    assert replay(strict).landed == 0
    assert replay(caves, Chosen(text="event_metadata.source")).landed == 2
    assert landed_ids(caves) == Counter(event.event_id for event in events)
    assert accounted_for(caves).status == "PASS"


def test_events_landed_by_ingestion_are_never_touched(caves: Caves) -> None:
    events = caves.events(30, invalid_rate=0.3)
    caves.publish(events)
    ingest(caves)
    replay(caves)
    require_exactly_once(caves, events)
