"""A shop's landing stage: files are put on it, loaded by COPY, and removed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

from caves_dagster.errors import CavesError, LandingRefused, StatementFailed
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements

log = logging.getLogger(__name__)


class Stage:
    """The stage of one shop, through one warehouse session.

    The name of a file must be new each time: PUT passes over a name that is there, and COPY remembers those
    it has loaded for 64 days.
    """

    def __init__(self, warehouse: Warehouse, shop: Shop) -> None:
        self._warehouse = warehouse
        self._shop = shop
        self._name = f"@{shop.raw.schema}.LANDING"

    @contextmanager
    def holding(self, *paths: Path | None) -> Iterator[list[str | None]]:
        """Put files on the stage for the length of the block; gives their names there, None for None.

        The local files are gone after that.
        """
        names = [None if path is None else path.name for path in paths]
        try:
            for path in paths:
                if path is not None:
                    self._warehouse.query(
                        f"PUT 'file://{path}' {self._name} OVERWRITE=TRUE AUTO_COMPRESS=FALSE"
                    )
                    path.unlink()
            yield names
        finally:
            for name in names:
                if name is not None:
                    self._remove(name)

    def copy_rows(self, file: str, sent: int) -> None:
        """COPY a file of `sent` rows into the raw table; raises as `_copy` does."""
        name = f"{self._shop.name}/raw/{self._shop.raw.name.lower()}.sql"
        self._copy(render(self._shop.sql, name, file=file), sent)

    def copy_dead_letters(self, file: str, sent: int) -> None:
        """COPY a file of dead letters; raises as `_copy` does."""
        self._copy(render(SQL_ROOT, "ingest/copy_dead_letters.sql", raw=self._shop.raw, file=file), sent)

    def copy_replays(self, file: str, sent: int) -> None:
        """COPY a file of a replay's verdicts; raises as `_copy` does."""
        self._copy(render(SQL_ROOT, "ingest/copy_replays.sql", raw=self._shop.raw, file=file), sent)

    def _copy(self, sql: str, sent: int) -> None:
        """COPY, and see that as many rows were loaded as were sent.

        Raises:
            LandingRefused: the warehouse refused the data.
            CavesError: it loaded another number of rows; no row can be blamed for that.
        """
        (statement,) = statements(sql)
        try:
            rows = self._warehouse.query(statement)
        except StatementFailed as error:
            raise LandingRefused(f"COPY failed: {error.problem}") from error
        loaded = sum(int(row.get("ROWS_LOADED") or 0) for row in rows)
        if loaded != sent:
            raise CavesError(
                f"COPY loaded {loaded} rows of {sent}: nothing was landed.",
                "Run it again; if it stays so, look at COPY_HISTORY of the table.",
            )

    def sweep(self, older_than: timedelta = timedelta(hours=1)) -> int:
        """Remove files that a killed writer left; returns how many."""
        removed = 0
        for row in self._warehouse.query(f"LIST {self._name}"):
            modified = parsedate_to_datetime(str(row["LAST_MODIFIED"]))
            if datetime.now(UTC) - modified > older_than:
                self._remove(str(row["NAME"]).rpartition("/")[2])
                removed += 1
        return removed

    def _remove(self, name: str) -> None:
        try:
            self._warehouse.query(f"REMOVE {self._name}/{name}")
        except CavesError as error:
            # The file stays on the stage until the next sweep; nothing loads it again.
            log.warning("Removing %s from the stage failed: %s", name, error)
