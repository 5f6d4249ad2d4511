"""`caves dead-letters` as a user meets it: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from caves_dagster.kafka.client import client_config
from caves_dagster.shop import Message
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.ingest.accounting import dead_letters, ingest, landed_ids, require_exactly_once
from caves_dagster_tests.test_cli import caves_command, require_one_line

_EVERYTHING = bytes(range(256))


def letters_command(caves: Caves, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `caves dead-letters` and see that it ended well."""
    done = caves_command(caves, "dead-letters", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def feed(caves: Caves) -> list[dict[str, Any]]:
    """Two dead letters of bytes, an empty one, and an event."""
    producer = Producer(client_config(caves.settings.kafka))
    headers: list[tuple[str, str | bytes | None]] = [("clé", b"\xff"), ("trace", b"1"), ("vide", None)]
    text = '{"event_type": "ORDER_CREATED", "note": "Rosé \u202e🌸"'.encode()
    producer.produce(caves.shop.topic, _EVERYTHING, _EVERYTHING, partition=0, headers=headers)
    producer.produce(caves.shop.topic, text, b"1001", partition=0, timestamp=1_772_360_000_123)
    producer.produce(caves.shop.topic, None, None, partition=0)
    (event,) = caves.events(1)
    producer.produce(caves.shop.topic, event.value, event.key, partition=0)
    assert producer.flush(10) == 0
    ingest(caves)
    found = dead_letters(caves)
    assert [row["FAILURE_CLASS"] for row in found] == ["ENCODING", "SYNTAX", "EMPTY"]
    return found


def test_list_counts_by_class_and_shows_the_newest(caves: Caves) -> None:
    letters = feed(caves)
    done = letters_command(caves, "list")
    assert done.stdout.index("dead letters by class") < done.stdout.index("the newest 3 of 3")
    for row in letters:
        assert row["FAILURE_CLASS"] in done.stdout
        assert row["DEAD_LETTER_ID"][:8] in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if letters[1]["DEAD_LETTER_ID"][:8] in line)
    assert "ORDER_CREATED" in line
    assert "0@1" in line
    one = letters_command(caves, "list", "--type", "ORDER_CREATED", "--limit", "0").stdout
    assert "SYNTAX" in one
    assert "ENCODING" not in one


@pytest.mark.parametrize("command", ["list", "export", "replay"])
def test_a_filter_that_matches_nothing_says_so_and_is_no_error(caves: Caves, command: str) -> None:
    feed(caves)
    done = letters_command(caves, command, "--class", "NONE")
    assert "No dead letter matches." in done.stdout + done.stderr
    assert caves.count("RAW_DATA.DEAD_LETTER_REPLAYS") == 0


def test_show_gives_one_letter_whole(caves: Caves) -> None:
    binary, text, _ = feed(caves)
    shown = letters_command(caves, "show", binary["DEAD_LETTER_ID"][:13]).stdout
    assert _EVERYTHING.hex() in shown
    assert "header      clé: hex ff" in shown
    assert "header      trace: 1" in shown
    assert "header      vide: none" in shown
    shown = letters_command(caves, "show", text["DEAD_LETTER_ID"]).stdout
    assert bytes(text["VALUE"]).hex() in shown, "a character that turns a line around is not printed"
    for words in (
        "class       SYNTAX",
        "path        $",
        "ORDER_CREATED",
        "offset 1",
        "attempts    1, not replayed",
    ):
        assert words in shown
    assert "2026-03-01T10:13:20.123+00:00" in shown
    letters_command(caves, "replay", "--class", "SYNTAX")
    shown = letters_command(caves, "show", text["DEAD_LETTER_ID"]).stdout
    assert "attempts    2, not replayed" in shown
    assert "by caves dead-letters replay by" in shown


def test_show_of_no_letter_is_one_line(caves: Caves) -> None:
    feed(caves)
    require_one_line(
        caves_command(caves, "dead-letters", "show", "none"), "'none'", "caves dead-letters list"
    )
    require_one_line(caves_command(caves, "dead-letters", "show", ""), "More than one")


def test_export_loses_nothing(caves: Caves, tmp_path: Path) -> None:
    letters = feed(caves)
    file = tmp_path / "letters.jsonl"
    done = letters_command(caves, "export", "--output", str(file))
    assert "3 dead letters written" in done.stderr
    assert letters_command(caves, "export").stdout == file.read_text(encoding="utf-8")
    lines = {line["id"]: line for line in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    assert len(lines) == 3
    for row in letters:
        line = lines[row["DEAD_LETTER_ID"]]
        for name, column in (("value", "VALUE"), ("key", "MESSAGE_KEY")):
            assert _read(line, name) == (None if row[column] is None else bytes(row[column]))
        assert (line["partition"], line["offset"]) == (row["KAFKA_PARTITION"], row["KAFKA_OFFSET"])
        assert (line["failure_class"], line["attempts"]) == (row["FAILURE_CLASS"], 1)
        assert line["failure_reason"] == row["FAILURE_REASON"]
    (binary,) = (line for line in lines.values() if "value_base64" in line)
    assert [(one["name"], _read(one, "value")) for one in binary["headers"]] == [
        ("clé", b"\xff"), ("trace", b"1"), ("vide", None),
    ]  # fmt: skip


def _read(line: dict[str, Any], name: str) -> bytes | None:
    if f"{name}_base64" in line:
        return base64.b64decode(line[f"{name}_base64"])
    return None if line[name] is None else str(line[name]).encode()


def test_export_raw_is_the_bytes_and_nothing_else(caves: Caves, tmp_path: Path) -> None:
    letters = feed(caves)
    file = tmp_path / "letter"
    letters_command(caves, "export", "--raw", "--id", letters[0]["DEAD_LETTER_ID"], "-o", str(file))
    assert file.read_bytes() == _EVERYTHING
    require_one_line(caves_command(caves, "dead-letters", "export", "--raw"), "--id")
    missing = str(tmp_path / "no" / "file")
    require_one_line(caves_command(caves, "dead-letters", "export", "-o", missing), missing)


def test_replay_prints_the_counts_and_ends_well_although_some_stay_dead(caves: Caves) -> None:
    (event,) = caves.events(1)
    messages = [event, Message(b"1", b"not JSON")]
    caves.publish(messages)
    ingest(caves, max_event_bytes=10)
    said = letters_command(caves, "replay", "--dry-run").stdout
    assert "2 dead letters of Les Caves d'Albert tried" in said
    assert "1 would land, 1 would stay dead" in said
    assert landed_ids(caves).total() == 0

    said = letters_command(caves, "replay").stdout

    assert "1 landed, 1 stay dead" in said
    assert "SYNTAX: 1" in said
    assert set(landed_ids(caves)) == {event.event_id}
    assert "1 dead letters of Les Caves d'Albert tried" in letters_command(caves, "replay").stdout
    again = letters_command(caves, "list", "--replayed").stdout
    assert "2, replayed" in again
    require_exactly_once(caves, messages, dead=2)


@pytest.mark.parametrize("moment", ["yesterday", "5", "2026-13-01", "999999d"])
def test_a_moment_that_is_none_is_named(caves: Caves, moment: str) -> None:
    require_one_line(caves_command(caves, "dead-letters", "list", "--since", moment), f"'{moment}'", "24h")


def test_a_replay_without_its_table_says_what_to_do(caves: Caves) -> None:
    feed(caves)
    caves.warehouse.execute("DROP TABLE RAW_DATA.DEAD_LETTER_REPLAYS")
    require_one_line(caves_command(caves, "dead-letters", "replay"), "`caves setup`")
