"""A third shop from sample events, outside the repository: generated, loaded, and carried by the sensors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from caves_dagster.cli import app
from caves_dagster.declared_sql import check_sql
from caves_dagster.definitions import build_definitions
from caves_dagster.deploy.carry_out import set_up
from caves_dagster.errors import CavesError, DeclarationError, SourceRefused
from caves_dagster.ingest.decode import decode
from caves_dagster.ingest.reader import KafkaMessage
from caves_dagster.kafka.client import KafkaClient
from caves_dagster.new_shop.proposal import propose
from caves_dagster.new_shop.samples import from_file, from_topic
from caves_dagster.new_shop.writing import write_shop
from caves_dagster.settings import PROJECT_ROOT, Settings
from caves_dagster.shop import InvalidEvent, Message, Shop
from caves_dagster.shops import shop_in, shops
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render
from caves_dagster_tests.conftest import Caves

NOW = datetime(2026, 6, 30, 18, 30, tzinfo=UTC)


def event(number: int, minutes: int = 0, **loaf: Any) -> dict[str, Any]:
    """An event of a bakery, with a bit of everything."""
    return {
        "event_id": f"e-{number}-{minutes}",
        "timestamp": (NOW + timedelta(minutes=minutes)).isoformat(),
        "type": "baked",
        "loaf": {
            "id": number,
            "kind": "Pain d'épices",
            "weight-g": 250,
            "price": 1.25,
            "group": "sweet",
            "gluten": True,
            "baked_at": "2026-06-30T05:00:00+02:00",
            **loaf,
        },
        "tags": ["warm"],
        "updated_at": NOW.isoformat(),
        "class": None,
    }


def message(content: dict[str, Any]) -> Message:
    return Message(str(content["loaf"]["id"]).encode(), json.dumps(content).encode(), content["event_id"])


def generate(into: Path, samples: Sequence[dict[str, Any]], name: str = "bakery", **options: str) -> Shop:
    """A shop written and loaded."""
    folder = write_shop(name, f"{name}_events", into, propose(samples, **options), f"team:{name}")
    return shop_in(folder)


def decoded(shop: Shop, content: object) -> dict[str, Any]:
    value = json.dumps(content).encode()
    row = decode(KafkaMessage("t", 0, 0, None, None, value, ()), shop.contract, 2**20)
    return dict(zip(shop.contract.columns, row, strict=True))


# --- done when


def in_repository() -> str:
    """What git sees of the repository's files."""
    return subprocess.run(
        ["git", "status", "--porcelain"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout


class Bakery:
    """The generated shop on an empty database, with a topic of its own, as the daemon runs it."""

    def __init__(self, base: Caves, folder: Path, topic: str, instance: dg.DagsterInstance) -> None:
        chosen = {"shops": (str(folder),), "topics": {"bakery": topic}, "sensor_interval_seconds": 1}
        self.settings: Settings = base.settings.model_copy(update=chosen)
        self.warehouse: Warehouse = base.warehouse
        (self.shop,) = (shop for shop in shops(self.settings) if shop.name == "bakery")
        self.definitions = build_definitions(self.settings)
        self.instance = instance
        set_up(self.warehouse, self.shop)

    def tick(self, kind: str, cursor: str | None = None) -> list[dg.ExecuteInProcessResult]:
        """One tick of a sensor, and the runs it asks for."""
        sensor = self.definitions.resolve_sensor_def(f"bakery_{kind}_sensor")
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, sensor_name=sensor.name, definitions=self.definitions
        )
        wanted = sensor.evaluate_tick(context).run_requests or []
        job = self.definitions.resolve_job_def("bakery_pipeline")
        return [
            job.execute_in_process(
                instance=self.instance,
                tags=dict(one.tags),
                asset_selection=list(one.asset_selection or []) or None,
            )
            for one in wanted
        ]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.warehouse.query(sql)


@pytest.fixture
def bakery(dropship: Caves, tmp_path: Path, instance: dg.DagsterInstance) -> Bakery:
    """Written by the command, from one event."""
    (tmp_path / "sample.json").write_text(json.dumps(event(1)))
    before = in_repository()
    done = CliRunner().invoke(
        app, ["new-shop", "bakery", "--from-event", str(tmp_path / "sample.json"), "--into", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "loaf.weight-g" in done.output
    assert in_repository() == before
    return Bakery(dropship, tmp_path / "bakery", dropship.shop.topic, instance)


def test_a_generated_shop_s_events_reach_production_through_the_sensors_exactly_once(
    bakery: Bakery, dropship: Caves
) -> None:
    first = [message(event(number)) for number in range(1, 41)]
    spoilt = [Message(b"x", b'{"event_id": "no loaf"}', None), Message(b"x", b"nothing", None)]
    dropship.publish([*first, *spoilt])

    (run,) = bakery.tick("kafka")
    assert run.success
    assert bakery.tick("kafka") == [], "nothing is left"
    later = [message(event(number, 5, price=2)) for number in range(1, 11)]
    older = [message(event(number, -5, price=9)) for number in range(11, 21)]
    dropship.publish([*later, *older, *first[:5]])
    (run,) = bakery.tick("kafka")

    assert run.success
    checks = {one.check_name: one.passed for one in run.get_asset_check_evaluations()}
    assert {"offsets_accounted_for", "raw_vs_prod_counts", "duplicates"} <= set(checks)
    assert all(checks.values()), checks
    assert bakery.tick("kafka") == bakery.tick("stream") == []
    ids = [row["EVENT_ID"] for row in bakery.rows("SELECT EVENT_ID FROM BAKERY_RAW.EVENTS")]
    assert sorted(ids) == sorted(one.event_id or "" for one in [*first, *later, *older, *first[:5]])
    (dead,) = bakery.rows("SELECT COUNT(*) AS N FROM BAKERY_RAW.DEAD_LETTER_EVENTS")
    assert dead["N"] == 2
    latest = {int(row["ID"]): row for row in bakery.rows("SELECT * FROM BAKERY.LATEST")}
    assert set(latest) == set(range(1, 41))
    assert {number: float(row["PRICE"]) for number, row in latest.items()} == {
        number: 2.0 if number <= 10 else 1.25 for number in range(1, 41)
    }
    row = latest[1]
    assert (row["KIND"], int(row["WEIGHT_G"]), row["GLUTEN"]) == ("Pain d'épices", 250, True)
    assert (row["SENT_GROUP"], row["BAKED_AT"].isoformat()) == ("sweet", "2026-06-30T03:00:00")
    assert row["EVENT_TIME"].isoformat() == "2026-06-30T18:35:00"
    (raw,) = bakery.rows("SELECT PAYLOAD FROM BAKERY_RAW.EVENTS WHERE EVENT_ID = 'e-40-0'")
    assert json.loads(raw["PAYLOAD"])["tags"] == ["warm"]


def test_its_own_test_passes_where_it_was_written(bakery: Bakery) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(bakery.shop.sql.parent)],
        cwd=bakery.shop.sql.parent.parent,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 passed" in done.stdout


def test_a_command_in_another_process_finds_it(bakery: Bakery) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("caves")), "produce", "--shop", "bakery"],
        env={**os.environ, "CAVES_SHOPS": str(bakery.shop.sql.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "declares no generated events" in done.stderr


# --- what is proposed


def test_what_samples_disagree_on_is_optional_or_left_out(tmp_path: Path) -> None:
    samples = [
        {
            "order_id": "A",
            "n": 1,
            "note": None,
            "at": "2026-06-30T18:30:00Z",
            "mixed": 1,
            "who": {"name": "x"},
        },
        {"order_id": "B", "n": 1.125, "note": "é" * 150, "at": "2026-06-30T18:30:00Z", "mixed": "a"},
    ]
    proposal = propose(samples)
    assert {one.dotted: (one.type, one.required) for one in proposal.fields} == {
        "order_id": ("VARCHAR(200)", True),
        "n": ("DECIMAL(18, 3)", True),
        "note": ("VARCHAR(1000)", False),
        "at": ("TIMESTAMP_NTZ", True),
        "who.name": ("VARCHAR(200)", True),
    }
    assert (proposal.key.dotted, proposal.time and proposal.time.dotted) == ("order_id", "at")
    assert proposal.notes[0].startswith("mixed is integer and text")
    shop = generate(tmp_path, samples)
    for sample in samples:
        assert decoded(shop, sample)["EVENT_ID"] == sample["order_id"]
    assert decoded(shop, {"order_id": "C", "n": 2, "at": "2026-06-30T18:30:00Z"})["EVENT_ID"] == "C"
    wrongs: list[Any] = [{"n": 2, "at": "2026-06-30T18:30:00Z"}, {"order_id": "C", "n": "2", "at": "x"}, []]
    for wrong in wrongs:
        with pytest.raises(InvalidEvent):
            decoded(shop, wrong)


def test_a_few_samples_that_are_no_such_events_do_not_spoil_the_proposal(tmp_path: Path) -> None:
    samples = [event(number) for number in range(20)]
    proposal = propose([*samples, {"event_id": "no loaf"}])
    assert proposal == replace(propose(samples), notes=proposal.notes)
    assert proposal.notes[0] == "1 of 21 samples lack what nearly all have, and were left out."


def test_options_say_which_fields_they_are(tmp_path: Path) -> None:
    samples = [
        {"a": {"no": 1, "b": "x"}, "id": "1", "t1": "2026-01-01T00:00:00Z", "t2": "2026-01-02T00:00:00Z"}
    ]
    proposal = propose(samples, key="a.no", time="t2", event_id="id")
    assert (proposal.key.dotted, proposal.event_id.dotted) == ("a.no", "id")
    shop = generate(tmp_path, samples, key="a.no", time="t2", event_id="id")
    assert decoded(shop, samples[0])["CREATED_AT"] == "2026-01-02 00:00:00.000000"
    for option in ("key", "time", "event_id"):
        with pytest.raises(
            CavesError, match=rf"--{option.replace('_', '-')} nowhere is no field.*There are: "
        ):
            propose(samples, **{option: "nowhere"})
    with pytest.raises(CavesError, match="--time id is text"):
        propose(samples, time="id")
    with pytest.raises(CavesError, match=r"No field looks like the key.*There are: b"):
        propose([{"b": True}])


@pytest.mark.parametrize(
    "sample",
    [
        {"id": 1},
        {
            "id": "x",
            "class": "c",
            "from": 1,
            "select": True,
            "Größe": 2.5,
            "1st": "a",
            "_x": 1,
            "event": {"id": 2},
        },
        {
            "id": 1,
            "event_time": "2026-01-01T00:00:00Z",
            "loaded_at": "2026-01-01T00:00:00Z",
            "kafka_offset": 1,
        },
        {
            "orderId": 7,
            "item": {"orderId": 8, "name": "n"},
            "customer": {"name": "m", "address": {"name": "o"}},
        },
        {"id": "quo'te", "a b": 1, "dot.ted": 2},
    ],
    ids=["one field", "odd names", "names that are taken", "the same name twice", "quotes and blanks"],
)
def test_whatever_the_names_the_shop_holds_together_and_runs(
    sample: dict[str, Any], dropship: Caves, tmp_path: Path
) -> None:
    shop = generate(tmp_path, [sample])
    check_sql(shop)
    shop = replace(shop, topic=dropship.shop.topic)
    set_up(dropship.warehouse, shop)
    dropship.publish([Message(None, json.dumps(sample).encode())])
    from caves_dagster.ingest.run import Ingestion

    report = Ingestion(dropship.settings, shop, dropship.kafka, dropship.warehouse, "test").run()
    from caves_dagster.assets.transformation import transform

    assert (report.landed, report.dead) == (1, 0)
    assert transform(dropship.warehouse, shop, shop.transformations[0]) == {"BAKERY.LATEST": 1}
    (row,) = dropship.warehouse.query("SELECT * FROM BAKERY.LATEST")
    values = [str(value) for value in row.values()]
    for value in sample.values():
        assert isinstance(value, dict) or value is True or str(value)[:9] in " ".join(values), (value, row)


def test_its_sql_lints_clean_as_snowflake_s(tmp_path: Path) -> None:
    from sqlfluff.core import FluffConfig, Linter

    odd = {"class": "c", "from": 1, "bool": True, "Größe": 2.5, "1st": "a", "a b": "c"}
    nested = {"group": {"order": 1}, "a": {"b": {"c": 1}}, "a_b": {"d": 1}}
    shop = generate(tmp_path, [event(1) | odd | nested])
    config = FluffConfig.from_path(str(PROJECT_ROOT))
    names = {"source": shop.raw.full_name, "file": "f.parquet", "raw": shop.raw}
    files = sorted(path.relative_to(shop.sql).as_posix() for path in shop.folder.rglob("*.sql"))
    assert len(files) == 7
    for file in files:
        for windowed in (False, True):
            sql = render(shop.sql, file, windowed=windowed, **names).replace("%(since)s", "'2026-01-01'")
            linted = Linter(config=config).lint_string(sql.rstrip() + "\n", fname=file)
            assert linted.tree is not None
            assert not list(linted.tree.recursive_crawl("unparsable")), file
            assert [f"{one.line_no}: {one.desc()}" for one in linted.get_violations()] == [], file


@pytest.mark.parametrize("name", ["it's", 'say "x"', "back\\slash", "50%", "{{ x }}", " "])
def test_a_name_that_no_sql_file_can_hold_gets_no_column(name: str, tmp_path: Path) -> None:
    proposal = propose([{"id": 1, name: 2}])
    assert [one.dotted for one in proposal.fields] == ["id"]
    assert "cannot hold: it gets no column" in proposal.notes[0]
    generate(tmp_path, [{"id": 1, name: 2}])


# --- samples


def test_samples_come_as_one_event_an_array_or_lines(tmp_path: Path) -> None:
    file = tmp_path / "samples"
    for text, count in (('{"a": 1}', 1), ('[{"a": 1}, {"a": 2}]', 2), ('{"a": 1}\n\n{"a": 2}\n', 2)):
        file.write_text(text)
        assert len(from_file(file)) == count
    for text in ("", "no JSON", "[]", "[1]", "{}", '{"a": 1}\n{'):
        file.write_text(text)
        with pytest.raises(SourceRefused, match="samples"):
            from_file(file)


def test_samples_are_read_of_a_topic_and_what_is_no_event_is_passed_over(dropship: Caves) -> None:
    with pytest.raises(SourceRefused, match="is empty"):
        from_topic(dropship.settings.kafka, dropship.shop.topic)
    others = [Message(b"k", value) for value in (None, b"[1]", b"\xff", b'{"a": 1, "a": 2}')]
    dropship.publish([*others, *(message(event(number)) for number in range(20))])

    found = from_topic(dropship.settings.kafka, dropship.shop.topic)

    assert sorted(one["loaf"]["id"] for one in found) == list(range(20))
    assert KafkaClient(dropship.settings.kafka).inspect(dropship.shop.topic)


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "bakery").mkdir()
    with pytest.raises(CavesError, match="bakery is there already"):
        generate(tmp_path, [event(1)])
    with pytest.raises(DeclarationError, match="Shop 'Bakery!', name"):
        generate(tmp_path, [event(1)], name="Bakery!")
    assert list((tmp_path / "bakery").iterdir()) == []
    assert not (tmp_path / "Bakery!").exists()
