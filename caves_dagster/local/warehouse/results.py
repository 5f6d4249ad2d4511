"""Results as the Snowflake connector wants to read them: an Arrow stream with Snowflake's column metadata."""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SELECT, DML, INSERT, UPDATE, DELETE, MERGE, COPY = 0x1000, 0x3000, 0x3100, 0x3200, 0x3300, 0x3400, 0x3600
SHOW, DESCRIBE, SCL, TCL, DDL = 0x4400, 0x4500, 0x4000, 0x5000, 0x6000
"""Statement type ids; the connector counts affected rows by them."""

_COUNTED = {DML, INSERT, UPDATE, DELETE, MERGE}
_TYPES = {
    "BIGINT": "fixed", "HUGEINT": "fixed", "INTEGER": "fixed", "SMALLINT": "fixed", "TINYINT": "fixed",
    "UBIGINT": "fixed", "UINTEGER": "fixed", "USMALLINT": "fixed", "UTINYINT": "fixed", "UHUGEINT": "fixed",
    "BLOB": "binary", "BOOLEAN": "boolean", "DATE": "date", "DOUBLE": "real", "FLOAT": "real",
    "JSON": "variant", "TIME": "time", "TIMESTAMP WITH TIME ZONE": "timestamp_tz",
}  # fmt: skip
_PRECISION_OF_INT64 = 18


@dataclass
class Result:
    """What a statement gave back.

    `kinds` are DuckDB's type names, one a column. `rowcount` is what DML affected; `upload` answers a PUT.
    """

    table: pa.Table
    kinds: list[str]
    statement_type: int = SELECT
    upload: dict[str, Any] | None = None
    query_id: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory the rows take."""
        return int(self.table.nbytes)

    def payload(self) -> dict[str, Any]:
        """The part of the response that carries columns and rows."""
        rowtype = [
            _column(name, kind) for name, kind in zip(self.table.column_names, self.kinds, strict=True)
        ]
        shared = {"rowtype": rowtype, "total": self.table.num_rows, "returned": self.table.num_rows}
        if self.statement_type in _COUNTED:
            # clients read affected rows from `rowset`, not from Arrow
            rows = zip(*[column.to_pylist() for column in self.table.columns], strict=True)
            texts = [[None if value is None else str(value) for value in row] for row in rows]
            return {**shared, "queryResultFormat": "json", "rowset": texts}
        encoded = _encode(self.table, self.kinds, rowtype)
        return {**shared, "queryResultFormat": "arrow", "rowsetBase64": b64encode(encoded).decode("ascii")}


def fetch(cursor: duckdb.DuckDBPyConnection, sql: str, statement_type: int = SELECT) -> Result:
    """Run one DuckDB statement and take its whole result."""
    relation = cursor.sql(sql)  # not execute(): its rows would be copied once more on their way to Arrow
    return Result(relation.to_arrow_table(), [str(kind) for kind in relation.types], statement_type)


def rows(columns: dict[str, str], values: list[tuple[Any, ...]], statement_type: int = SHOW) -> Result:
    """A result made here; `columns` maps names to DuckDB types."""
    arrow = {
        "BIGINT": pa.int64(), "VARCHAR": pa.string(), "BOOLEAN": pa.bool_(), "JSON": pa.string(),
        "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    arrays = [
        pa.array([row[index] for row in values], arrow[kind]) for index, kind in enumerate(columns.values())
    ]
    return Result(pa.Table.from_arrays(arrays, names=list(columns)), list(columns.values()), statement_type)


def status(text: str = "Statement executed successfully.", statement_type: int = DDL) -> Result:
    """The one-row result of statements that have none of their own."""
    return rows({"status": "VARCHAR"}, [(text,)], statement_type)


def counts(statement_type: int, **values: int) -> Result:
    """The result of DML: `rows_inserted=3` becomes the column "number of rows inserted"."""
    columns = {f"number of {name.replace('_', ' ')}": "BIGINT" for name in values}
    return rows(columns, [tuple(values.values())], statement_type)


class Recent:
    """The latest results, for RESULT_SCAN; bounded by count and by bytes."""

    def __init__(self, most: int = 64, most_bytes: int = 64 * 2**20) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[str, Result] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, result: Result) -> None:
        """Remember a result, forgetting the oldest beyond the bounds."""
        if result.nbytes > self._most_bytes:
            return
        with self._lock:
            self._kept[result.query_id] = result
            self._bytes += result.nbytes
            while len(self._kept) > self._most or self._bytes > self._most_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes

    def find(self, query_id: str) -> Result | None:
        """A result that is still remembered."""
        return self._kept.get(query_id)

    def __len__(self) -> int:
        return len(self._kept)


def _column(name: str, kind: str) -> dict[str, Any]:
    found = _TYPES.get(kind)
    precision, scale, length = None, None, None
    if kind.startswith("DECIMAL"):
        digits = re.findall(r"\d+", kind)
        found, precision, scale = "fixed", int(digits[0]), int(digits[1])
    elif kind.startswith("TIMESTAMP") and found is None:
        found = "timestamp_tz" if "TZ" in kind or "TIME ZONE" in kind else "timestamp_ntz"
    elif found == "fixed":
        precision, scale = 38, 0
    elif found is None:
        found = "variant" if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")) else "text"
    if found.startswith("time"):
        precision, scale = 0, 9
    if found == "text":
        length = 16777216
    if found == "binary":
        length = 8388608
    return {
        "name": name, "database": "", "schema": "", "table": "", "nullable": True, "type": found,
        "byteLength": length, "length": length, "scale": scale, "precision": precision, "collation": None,
    }  # fmt: skip


def _encode(table: pa.Table, kinds: list[str], rowtype: list[dict[str, Any]]) -> bytes:
    if table.num_rows == 0:
        return b""  # what Snowflake sends; on a batch without rows the connector crashes
    arrays, fields = [], []
    for column, kind, info in zip(table.columns, kinds, rowtype, strict=True):
        array = _snowflake_array(column, kind)
        metadata = {
            "logicalType": info["type"].upper(),
            "precision": str(info["precision"] or 38),
            "scale": str(info["scale"] or 0),
            "charLength": str(info["length"] or 0),
        }
        arrays.append(array)
        fields.append(pa.field(info["name"], array.type, metadata=metadata))
    sink = pa.BufferOutputStream()
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _snowflake_array(column: pa.ChunkedArray, kind: str) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_timestamp(array.type):
        return _timestamp(array)
    if pa.types.is_time(array.type):
        return pc.multiply(array.cast(pa.int64()), 1000)
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    if pa.types.is_decimal(array.type):
        return _decimal(array)
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64())
    if pa.types.is_floating(array.type):
        return array.cast(pa.float64())
    if pa.types.is_nested(array.type):
        import json  # rare: a DuckDB list or struct that no rule made JSON of

        return pa.array([None if v is None else json.dumps(v, default=str) for v in array.to_pylist()])
    return array


def _timestamp(array: pa.Array) -> pa.Array:
    """Snowflake's struct of seconds and nanoseconds. The mask matters: without it NULL reads as 1970."""
    mask = array.is_null()
    micros = (
        array.cast(pa.timestamp("us", tz=array.type.tz), safe=False).cast(pa.int64()).fill_null(0).to_numpy()
    )
    seconds, rest = np.divmod(micros, 1_000_000)
    parts = [pa.array(seconds, pa.int64()), pa.array((rest * 1000).astype(np.int32), pa.int32())]
    fields = [pa.field("epoch", pa.int64(), False), pa.field("fraction", pa.int32(), False)]
    if array.type.tz:
        parts.append(pa.array(np.full(len(array), 1440, np.int32), pa.int32()))  # minutes, 1440 being UTC
        fields.append(pa.field("timezone", pa.int32(), False))
    return pa.StructArray.from_arrays(parts, fields=fields, mask=mask)


def _decimal(array: pa.Array) -> pa.Array:
    """As Snowflake sends them: unscaled integers where they fit 64 bits, 128-bit decimals otherwise."""
    precision = array.type.precision
    if precision > _PRECISION_OF_INT64:
        bound = 10**_PRECISION_OF_INT64
        if array.type.scale > 0:
            return array
        extremes = pc.min_max(array)
        low, high = extremes["min"].as_py(), extremes["max"].as_py()
        if low is not None and not (-bound < low and high < bound):
            return array
    buffers = array.buffers()
    if buffers[1] is None:
        return array.cast(pa.int64())
    words = np.frombuffer(buffers[1], dtype="<i8")[::2][array.offset : array.offset + len(array)]
    return pa.array(words, pa.int64(), mask=array.is_null().to_numpy(zero_copy_only=False))
