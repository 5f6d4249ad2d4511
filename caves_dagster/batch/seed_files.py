"""A shop's seed, written to a SQLite file and, on request, to CSV: the same options, the same bytes.

Each file is written whole beside its place, and then takes it: a reader finds the old file or the new one.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from caves_dagster.errors import SettingsError, SourceRefused
from caves_dagster.shop import BatchTable, Seed, SeedOptions, Shop
from caves_dagster.warehouse.ddl import Column, source_columns

Row = tuple[Any, ...]
Progress = Callable[[str, int], None]
"""Called with a table's name and its rows so far."""

# In the header of every SQLite file a seed was written to; another one is never overwritten.
_APPLICATION_ID = 0x43415645
_ROWS_AT_ONCE = 10_000
# The header says which version of SQLite wrote the file. https://www.sqlite.org/fileformat.html, offset 96
_VERSION_AT, _VERSION = 96, 3_040_000


@dataclass(frozen=True)
class Written:
    """What a seed wrote."""

    files: tuple[Path, ...]
    rows: dict[str, int]


def parse_end_date(text: str) -> date:
    """A date as it stands in config and options.

    Raises:
        SettingsError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"end_date is {text!r}, which is no date.", "Write it as YYYY-MM-DD.") from None


def write_seed(
    shop: Shop,
    options: SeedOptions,
    with_csv: bool = False,
    on_progress: Progress = lambda table, rows: None,
) -> Written:
    """Write the files of the shop's seed; CSV on request, or where the seed has no SQLite file.

    Raises:
        SourceRefused: the SQLite file is there and is not a seed's, or a folder cannot be written to.
        SettingsError: an option is out of range.
    """
    seed, batch = shop.seed, shop.batch
    assert seed is not None
    assert batch is not None
    rows = seed.rows(options)
    try:
        with ExitStack() as stack:
            outputs = _Outputs(shop, seed, batch.in_source, with_csv, stack)
            counts = {name: outputs.write(name, content, on_progress) for name, content in rows.items()}
            outputs.finish()
    except OSError as error:
        raise SourceRefused(
            f"The seed cannot be written: {error}.", "Choose another place with DB_PATH or CAVES_SEED_DIR."
        ) from None
    return Written(tuple(outputs.files), counts)


class _Outputs:
    """The files of one seed, while they are written."""

    def __init__(
        self, shop: Shop, seed: Seed, tables: Sequence[BatchTable], with_csv: bool, stack: ExitStack
    ) -> None:
        self.files: list[Path] = []
        self._columns = {one.source_name: source_columns(shop, one) for one in tables}
        self._csv: dict[str, Any] = {}
        self._sqlite: sqlite3.Connection | None = None
        if seed.sqlite is not None:
            _require_own(seed.sqlite)
            self._path = stack.enter_context(_whole(seed.sqlite))
            self._sqlite = stack.enter_context(_closing(_empty_database(self._path, tables, self._columns)))
            self.files.append(seed.sqlite)
        for name, columns in self._columns.items() if with_csv or seed.sqlite is None else ():
            path = seed.csv / f"{name}.csv"
            partial = stack.enter_context(_whole(path))
            file = stack.enter_context(partial.open("w", encoding="utf-8", newline=""))
            self._csv[name] = csv.writer(file, lineterminator="\n")
            self._csv[name].writerow(column.name.lower() for column in columns)
            self.files.append(path)

    def write(self, name: str, rows: Iterable[Row], on_progress: Progress) -> int:
        """The rows of one table into every file; how many."""
        written, left = 0, iter(rows)
        places = ", ".join("?" * len(self._columns[name]))
        while chunk := list(islice(left, _ROWS_AT_ONCE)):
            if self._sqlite is not None:
                self._sqlite.executemany(f"INSERT INTO {name} VALUES ({places})", chunk)
            if name in self._csv:
                self._csv[name].writerows(chunk)
            written += len(chunk)
            on_progress(name, written)
        return written

    def finish(self) -> None:
        """Close the SQLite file, and make its header say nothing of this machine."""
        if self._sqlite is None:
            return
        self._sqlite.commit()
        self._sqlite.close()
        with self._path.open("r+b") as file:
            file.seek(_VERSION_AT)
            file.write(struct.pack(">I", _VERSION))


def _empty_database(
    path: Path, tables: Sequence[BatchTable], columns: dict[str, tuple[Column, ...]]
) -> sqlite3.Connection:
    """A new file with the tables, and every choice of layout made here rather than by SQLite's build."""
    connection = sqlite3.connect(path)
    for pragma in (
        "page_size = 4096",
        "auto_vacuum = NONE",
        "encoding = 'UTF-8'",
        f"application_id = {_APPLICATION_ID}",
        "journal_mode = OFF",
        "synchronous = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")
    for table in tables:
        lines = [
            f"{column.name.lower()} {column.type}"
            + (" PRIMARY KEY" if column.name == table.key else "")
            + ("" if column.nullable else " NOT NULL")
            for column in columns[table.source_name]
        ]
        connection.execute(f"CREATE TABLE {table.source_name} ({', '.join(lines)})")
    connection.commit()
    return connection


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end of the block, and goes when the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _require_own(path: Path) -> None:
    """Refuse to write over a file that is not a seed's: DB_PATH may name somebody's data."""
    if not path.exists():
        return
    remedy = "Move it away, or choose another place with DB_PATH."
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise SourceRefused(f"{path} cannot be read ({error.strerror}).", remedy) from None
    found = struct.unpack(">I", header[68:72])[0] if len(header) == 100 else None
    if found != _APPLICATION_ID:
        raise SourceRefused(f"{path} was not written by a seed; it is left as it is.", remedy)
