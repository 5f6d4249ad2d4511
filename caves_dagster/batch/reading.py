"""One table of a source as typed rows, or refused with the rows and values at fault: nothing is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from caves_dagster.batch.column_types import column_type
from caves_dagster.batch.source import read
from caves_dagster.errors import SourceRefused
from caves_dagster.shop import Batch, BatchTable, Shop
from caves_dagster.warehouse.ddl import Column, source_columns

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 5


@dataclass(frozen=True)
class Window:
    """Days from `first` up to and with `last`."""

    first: date
    last: date


@dataclass
class Loaded:
    """What was read of a source's table."""

    rows: pa.Table
    """Typed columns in the order of the DDL, in lower case; the rows of the window only."""
    in_source: int
    """Rows of the source, in the window or not."""
    days: dict[date, int] = field(default_factory=dict)
    """Rows of the source by day, where the table has daily partitions."""


@dataclass(frozen=True)
class _Fault:
    row: int
    key: str
    column: str
    value: str
    expected: str


class Reading:
    """One table of a source, batch by batch.

    The key and the day are checked in every row: which day a row belongs to, and whether it is there twice,
    cannot be told otherwise. The other columns are checked in the rows of the window.

    Args:
        table: its declaration.
        columns: its columns, from the DDL.
        where: the source's table, for messages.
        window: the days wanted; None for all rows.
    """

    def __init__(
        self, table: BatchTable, columns: tuple[Column, ...], where: str, window: Window | None
    ) -> None:
        self._table, self._where, self._window = table, where, window
        self._columns = {column.name.lower(): column_type(column, table.at_least) for column in columns}
        self._key = table.key.lower()
        self._day = table.day.lower() if table.day else None
        self._faults: list[_Fault] = []
        self._fault_count = 0

    def read(self, batches: Iterable[pa.RecordBatch]) -> Loaded:
        """All rows of the window, typed.

        Raises:
            SourceRefused: at least one value does not fit its column, or a key is there twice.
        """
        import pyarrow as pa

        schema = pa.schema([(name, typed.arrow) for name, typed in self._columns.items()])
        parts, keys, days, seen = [], [], [], 0
        for batch in batches:
            part, key, day = self._batch(batch, seen)
            parts.append(part)
            keys.append(key)
            days.append(day)
            seen += batch.num_rows
        if self._faults:
            raise self._refusal()
        self._require_unique(pa.chunked_array(keys, self._columns[self._key].arrow))
        return Loaded(pa.Table.from_batches(parts, schema), seen, _counts(days))

    def _batch(self, batch: pa.RecordBatch, before: int) -> tuple[pa.RecordBatch, pa.Array, pa.Array | None]:
        """The batch's typed rows of the window, and of all its rows the key and the day."""
        import pyarrow as pa
        import pyarrow.compute as pc

        numbers = pa.array(range(before + 1, before + batch.num_rows + 1))
        whole = {name: self._column(name, batch, numbers) for name in (self._key, self._day) if name}
        day = None
        if self._day is not None:
            day = whole[self._day].cast(pa.date32())
            if self._window is not None:
                wanted = pc.and_(
                    pc.greater_equal(day, self._window.first), pc.less_equal(day, self._window.last)
                )
                batch, numbers = batch.filter(wanted), numbers.filter(wanted)
                kept = {name: values.filter(wanted) for name, values in whole.items()}
            else:
                kept = whole
        else:
            kept = whole
        arrays = {
            name: kept[name] if name in kept else self._column(name, batch, numbers) for name in self._columns
        }
        return pa.RecordBatch.from_pydict(arrays), whole[self._key], day

    def _column(self, name: str, batch: pa.RecordBatch, numbers: pa.Array) -> pa.Array:
        """One column typed; what does not fit is noted, and NULL in the result."""
        typed = self._columns[name]
        values, bad = typed.convert(batch.column(name))
        for index in bad[: _SHOWN - len(self._faults)]:
            self._faults.append(
                _Fault(
                    numbers[index].as_py(),
                    _shown(batch.column(self._key)[index].as_py()),
                    name,
                    _shown(batch.column(name)[index].as_py()),
                    typed.expected,
                )
            )
        self._fault_count += len(bad)
        return values

    def _refusal(self) -> SourceRefused:
        said = [
            f"row {one.row} ({self._key} {one.key}): {one.column} is {one.value}, expected {one.expected}"
            for one in self._faults
        ]
        more = self._fault_count - len(self._faults)
        return SourceRefused(
            f"{self._where} holds values that {self._table.table.full_name} does not take: "
            f"{'; '.join(said)}{f'; and {more:,} more' if more else ''}.",
            "Nothing was loaded. Correct the source and load again.",
        )

    def _require_unique(self, keys: pa.ChunkedArray) -> None:
        import pyarrow.compute as pc

        if pc.count_distinct(keys).as_py() == len(keys):
            return
        counted = pc.value_counts(keys)
        twice = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
        shown = ", ".join(str(key) for key in twice[:_SHOWN].to_pylist())
        raise SourceRefused(
            f"{self._where} holds {len(twice):,} values of {self._key} more than once: {shown}"
            f"{', …' if len(twice) > _SHOWN else ''}.",
            "Nothing was loaded. It is the primary key: each may be there once.",
        )


def read_table(shop: Shop, batch: Batch, table: BatchTable, window: Window | None) -> Loaded:
    """A batch table's rows out of the source, typed by its DDL; those of the window's days only.

    Raises:
        SourceRefused: there is no source, or it holds what the table does not take.
    """
    columns = source_columns(shop, table)
    where = f"{table.source_name} of {batch.source}"
    batches = read(batch.source, table.source_name, [column.name.lower() for column in columns])
    return Reading(table, columns, where, window).read(batches)


def _counts(days: list[pa.Array | None]) -> dict[date, int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    present = [day for day in days if day is not None]
    counted = pc.value_counts(pa.chunked_array(present, pa.date32())).to_pylist()
    return dict(sorted((one["values"], one["counts"]) for one in counted))


def _shown(value: bytes | None) -> str:
    """A value for people."""
    if value is None:
        return "NULL"
    text = value.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 60 else text[:59] + "…")
