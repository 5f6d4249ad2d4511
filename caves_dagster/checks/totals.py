"""Whether a batch table still adds up to its source."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from caves_dagster.batch.reading import Window, read_table
from caves_dagster.batch.source import missing
from caves_dagster.checks.check import Evidence
from caves_dagster.shop import Batch, BatchTable
from caves_dagster.warehouse.connection import Row


def totals_rows(batch: Batch, table: BatchTable, evidence: Evidence) -> Sequence[Row]:
    """One row: rows and sums of the table and of its source, of the days up to the last one that is loaded.

    Raises:
        SourceRefused: the source holds what the table does not take.
    """
    stored = _stored(table, evidence)
    if reason := missing(batch.source):
        return [_row(table, stored, {}, f"nothing to compare with: {reason}", "WARN")]
    if not stored["ROWS"]:
        return [_row(table, stored, {}, f"{table.table.full_name} is empty: load it", "WARN")]
    window = Window(batch.first_day, stored["LAST_DAY"]) if table.day else None
    source = _in_source(batch, table, evidence, window)
    wrong = [
        f"{name} {stored[name]}, in the source {source[name]}"
        for name in source
        if stored[name] != source[name]
    ]
    return [_row(table, stored, source, ", ".join(wrong), "ERROR")]


def _stored(table: BatchTable, evidence: Evidence) -> Row:
    sums = "".join(f", COALESCE(SUM({name}), 0) AS {name}" for name in table.totals)
    day = f", MAX({table.day}::DATE) AS LAST_DAY" if table.day else ""
    (row,) = evidence.warehouse.query(f'SELECT COUNT(*) AS "ROWS"{sums}{day} FROM {table.table.full_name}')
    return row


def _in_source(batch: Batch, table: BatchTable, evidence: Evidence, window: Window | None) -> dict[str, Any]:
    import pyarrow.compute as pc

    rows = read_table(evidence.shop, batch, table, window).rows
    sums = {name: pc.sum(rows.column(name.lower())).as_py() or Decimal(0) for name in table.totals}
    return {"ROWS": rows.num_rows} | sums


def _row(table: BatchTable, stored: Row, source: dict[str, Any], wrong: str, severity: str) -> Row:
    figures = {name: stored[name] for name in ("ROWS", *table.totals)}
    return {
        "SUBJECT": table.source_name,
        "CHECKED": stored["ROWS"],
        **figures,
        **{f"{name}_IN_SOURCE": source.get(name) for name in figures},
        "SEVERITY": severity,
        "OFFENDING": int(bool(wrong)),
        "OFFENDING_KEYS": wrong,
    }
