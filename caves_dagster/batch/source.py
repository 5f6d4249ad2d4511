"""A batch source, a SQLite file or a folder of CSV files, read as it is: every value as its bytes.

Both give the same: record batches of binary columns, NULL where the source has none (in CSV, an empty field
without quotes). What the bytes mean is decided in `column_types.py`, for both alike.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from caves_dagster.errors import SourceRefused

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 50_000
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK": "zip"}
_CHOOSE = (
    "Write one with `caves seed`, or name a SQLite file or a folder of CSV files in CAVES_BATCH_SOURCE "
    "(in CAVES_SEED_DIR for dropship)."
)


def missing(source: Path) -> str:
    """Why there is nothing to read at `source`; empty when there is a file or a folder."""
    return "" if source.exists() else f"There is no batch source at {source}. {_CHOOSE}"


def read(source: Path, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of one table: batches with the `columns` (lower case) in this order, of type binary.

    Raises:
        SourceRefused: there is no such source or table, its columns are others, or it cannot be read.
    """
    if not source.exists():
        raise SourceRefused(f"There is no batch source at {source}.", _CHOOSE)
    try:
        if source.is_dir():
            yield from _csv(source / f"{name}.csv", columns)
        else:
            yield from _sqlite(source, name, columns)
    except OSError as error:
        raise SourceRefused(f"{error.filename or source} cannot be read ({error.strerror}).") from None


def _require_columns(where: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Refuse columns that are missing, unknown or there twice; their order and case do not matter."""
    names = [name.lower() for name in found]
    lacking = [name for name in expected if name not in names]
    unknown = [name for name in found if name.lower() not in expected]
    twice = sorted({name for name in names if names.count(name) > 1})
    said = [
        f"{words} {', '.join(map(repr, some))}"
        for words, some in (("it lacks", lacking), ("unknown are", unknown), ("there twice are", twice))
        if some
    ]
    if said:
        raise SourceRefused(
            f"The columns of {where} are not those of the table: {'; '.join(said)}.",
            f"Expected: {', '.join(expected)}.",
        )


def _sqlite(path: Path, name: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    where = f"table {name} of {path}"
    schema = pa.schema([(column, pa.binary()) for column in columns])
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
            if not found:
                raise SourceRefused(f"There is no {where}.", f"Expected columns: {', '.join(columns)}.")
            _require_columns(where, found, columns)
            connection.text_factory = bytes
            # SQLite's own text of a REAL has 15 digits: 54.300000000000004 is 54.3.
            wanted = ", ".join(f'CAST("{column}" AS TEXT)' for column in columns)
            cursor = connection.execute(f'SELECT {wanted} FROM "{name}"')
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                arrays = [pa.array(values, pa.binary()) for values in zip(*rows, strict=True)]
                yield pa.record_batch(arrays, schema=schema)
    except sqlite3.Error as error:
        raise SourceRefused(f"The {where} cannot be read: {error}.", "Is it a SQLite file?") from None


def _csv(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        header = file.readline()
    for start, encoding in _OTHER_ENCODINGS.items():
        if header.startswith(start):
            raise SourceRefused(f"{path} is {encoding}, not text in UTF-8.", "Save it as CSV in UTF-8.")
    try:
        names = csv.open_csv(path).schema.names
        _require_columns(str(path), names, columns)
        by_name = {name.lower(): name for name in names}
        reader = csv.open_csv(
            path,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.binary() for name in names},
                include_columns=[by_name[column] for column in columns],
                check_utf8=False,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield batch.rename_columns(list(columns))
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise SourceRefused(
            f"{path} cannot be read as CSV: {str(error)[:300]}.",
            f"Expected UTF-8, commas, and a first line with: {', '.join(columns)}.",
        ) from None
