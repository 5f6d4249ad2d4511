"""Seed files: the same bytes for the same options, and never half a file."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caves_dagster.batch.seed_files import Written, write_seed
from caves_dagster.errors import SettingsError, SourceRefused
from caves_dagster.settings import PROJECT_ROOT, embedded_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop

# What any machine must write; a change of the seed's code changes them, a change of machine must not.
SHA256 = {
    "wine_data.db": "75ce637d3e43",
    "customers.csv": "e82507c555e5",
    "inventory.csv": "379fe3e03736",
    "sales.csv": "6b2c3bdac5d7",
}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The wine shop, its files in the test's folder."""
    return find_shop(embedded_settings(tmp_path), "caves")


def write(shop: Shop, with_csv: bool = True, **options: Any) -> Written:
    assert shop.seed is not None
    return write_seed(shop, replace(shop.seed.defaults, **options), with_csv)


def digests(written: Written) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in written.files}


def database(shop: Shop) -> Path:
    assert shop.seed is not None
    assert shop.seed.sqlite is not None
    return shop.seed.sqlite


def test_the_default_seed_has_these_bytes(shop: Shop) -> None:
    assert digests(write(shop)) == SHA256
    assert digests(write(shop)) == SHA256, "written over the first"


def test_bytes_do_not_depend_on_hash_seed_locale_or_time_zone(shop: Shop, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from caves_dagster_tests.batch import test_seed_files as t; "
        "shop = t.find_shop(t.embedded_settings(Path(sys.argv[1])), 'caves'); print(t.digests(t.write(shop)))"
    )
    for number, (hash_seed, zone, locale) in enumerate(
        [("1", "Asia/Tokyo", "C"), ("2", "America/Lima", "C.UTF-8")]
    ):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": locale}
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"other_{number}")],
            env=environment,
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(SHA256)


def test_sqlite_and_csv_hold_the_same_rows(shop: Shop) -> None:
    written = write(shop)
    assert written.rows == {"customers": 150, "sales": 500, "inventory": 50}
    with sqlite3.connect(database(shop)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for path in written.files[1:]:
            with path.open(encoding="utf-8", newline="") as file:
                header, *lines = list(csv.reader(file))
            cursor = connection.execute(f"SELECT * FROM {path.stem} ORDER BY 1")
            assert [column[0] for column in cursor.description] == header
            for row, line in zip(cursor, lines, strict=True):
                for value, text in zip(row, line, strict=True):
                    assert (float(value) == float(text)) if isinstance(value, float | int) else value == text
    connection.close()


def test_csv_is_written_on_request_only(shop: Shop) -> None:
    assert write(shop, with_csv=False).files == (database(shop),)


def test_progress_is_told(shop: Shop) -> None:
    assert shop.seed is not None
    seen: list[tuple[str, int]] = []
    options = replace(shop.seed.defaults, sales=25_000)
    write_seed(shop, options, on_progress=lambda table, rows: seen.append((table, rows)))
    assert [rows for table, rows in seen if table == "sales"] == [10_000, 20_000, 25_000]


def test_a_file_that_no_seed_wrote_is_left_as_it_is(shop: Shop) -> None:
    path = database(shop)
    path.parent.mkdir(exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sales (mine TEXT)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SourceRefused, match=r"was not written by a seed.*DB_PATH"):
        write(shop)
    assert path.read_bytes() == before
    path.write_text("not a database")
    with pytest.raises(SourceRefused, match="was not written by a seed"):
        write(shop)


def test_a_seed_that_fails_leaves_the_old_files_and_no_other(shop: Shop) -> None:
    before = digests(written := write(shop))

    def fail(table: str, rows: int) -> None:
        if table == "inventory":
            raise KeyboardInterrupt

    assert shop.seed is not None
    with pytest.raises(KeyboardInterrupt):
        write_seed(shop, replace(shop.seed.defaults, seed=12), True, fail)
    assert digests(written) == before
    assert [path.name for path in database(shop).parent.rglob("*.partial")] == []


def test_a_seed_that_is_killed_leaves_the_old_file_whole(shop: Shop, tmp_path: Path) -> None:
    before = digests(written := write(shop))
    code = (
        "import os, signal, sys; from dataclasses import replace; from pathlib import Path; "
        "from caves_dagster_tests.batch import test_seed_files as t; "
        "shop = t.find_shop(t.embedded_settings(Path(sys.argv[1])), 'caves'); "
        "kill = lambda table, rows: os.kill(os.getpid(), signal.SIGKILL) if table == 'sales' else None; "
        "t.write_seed(shop, replace(shop.seed.defaults, seed=12, sales=50_000), True, kill)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT_ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert digests(written) == before
    assert digests(write(shop)) == before, "what it left does not stand in the way"


def test_a_folder_that_cannot_be_written_to_is_named(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    assert shop.seed is not None
    blocked = replace(shop, seed=replace(shop.seed, sqlite=tmp_path / "taken" / "wine.db"))
    with pytest.raises(SourceRefused, match=r"taken.*DB_PATH"):
        write(blocked)


def test_an_end_date_that_is_none_is_named() -> None:
    from caves_dagster.batch.seed_files import parse_end_date

    with pytest.raises(SettingsError, match=r"'30/06/2026', which is no date\. Write it as YYYY-MM-DD"):
        parse_end_date("30/06/2026")
