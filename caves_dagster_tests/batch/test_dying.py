"""A load that dies at any of its statements leaves the old rows or the new ones, whole."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from snowflake.connector import errors
from snowflake.connector.cursor import SnowflakeCursor

from caves_dagster.settings import Settings
from caves_dagster.shops import find_shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.batch.conftest import Batches
from caves_dagster_tests.batch.sources import SALE

pytestmark = pytest.mark.filterwarnings("default")

OLD = [(key, *SALE[1:]) for key in (1, 2, 3)]
NEW = [(key, *SALE[1:4], 12, *SALE[5:]) for key in (2, 3, 4, 5)]
OLD_ROWS = [(1, 6), (2, 6), (3, 6)]
NEW_ROWS = [(2, 12), (3, 12), (4, 12), (5, 12)]
STATEMENTS = ("CREATE TEMP", "PUT", "COPY", "BEGIN", "UPDATE", "DELETE", "INSERT", "COMMIT")


def interfere(number: int, act: Callable[[], None], patch: Callable[[Any, str, Any], None]) -> list[str]:
    """Do something instead of the connector's n-th statement, uploads included; the statements so far."""
    seen: list[str] = []
    execute, upload = SnowflakeCursor.execute, SnowflakeCursor._upload

    def asked(statement: str) -> None:
        seen.append(statement)
        if len(seen) == number:
            act()

    def executing(self: Any, command: str, *arguments: Any, **options: Any) -> Any:
        asked(command)
        return execute(self, command, *arguments, **options)

    def uploading(self: Any, *arguments: Any, **options: Any) -> Any:
        asked("PUT")
        return upload(self, *arguments, **options)

    patch(SnowflakeCursor, "execute", executing)
    patch(SnowflakeCursor, "_upload", uploading)
    return seen


@pytest.fixture
def loaded(batches: Batches) -> Batches:
    """The old rows loaded, the source holding the new ones."""
    batches.write(sales=OLD)
    assert batches.load("sales").success
    batches.write(sales=NEW)
    return batches


def stored(batches: Batches) -> list[tuple[Any, ...]]:
    return batches.rows("SALES", "SALE_ID, QUANTITY_SOLD")


def test_a_statement_that_fails_at_any_step_leaves_the_old_rows(
    loaded: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise errors.OperationalError("the line went dead", errno=250001)

    ran: list[str] = []
    for number in range(1, 100):
        with monkeypatch.context() as patched:
            seen = interfere(number, fail, patched.setattr)
            if loaded.load("sales").success:
                ran = seen
                break
        assert stored(loaded) == OLD_ROWS, f"at {seen[-1]}"
    assert number > len(STATEMENTS)
    for word in STATEMENTS:
        assert any(word in statement for statement in ran), f"{word} was not among the steps"
    assert stored(loaded) == NEW_ROWS


def die_loading(settings: Settings, number: int) -> None:
    """Load the sales in a process that is killed instead of running its n-th statement."""
    interfere(number, lambda: os.kill(os.getpid(), signal.SIGKILL), setattr)
    with dg.DagsterInstance.ephemeral() as instance, Warehouse(settings.snowflake) as warehouse:
        Batches(settings, find_shop(settings, "caves"), warehouse, instance).load("sales")


@pytest.mark.slow
def test_a_load_killed_at_any_step_leaves_the_old_rows_or_the_new_ones(loaded: Batches) -> None:
    # A fork of a process that has imported everything: the import takes longer than the load.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "caves_dagster.batch.io_manager"])
    outcomes = []
    for number in range(1, 100):
        process = context.Process(target=die_loading, args=(loaded.settings, number))
        process.start()
        process.join(timeout=120)
        found = stored(loaded)
        assert found in (OLD_ROWS, NEW_ROWS), f"killed at statement {number}"
        outcomes.append(found)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        if found == NEW_ROWS:
            # The kill came after COMMIT: back to the old rows for the next.
            loaded.write(sales=OLD)
            assert loaded.load("sales").success
            loaded.write(sales=NEW)
    assert len(outcomes) > len(STATEMENTS)
    assert outcomes[0] == OLD_ROWS
    assert outcomes[-1] == NEW_ROWS


@pytest.mark.slow
def test_a_transaction_left_open_by_a_dead_load_is_not_waited_for_for_ever(
    loaded: Batches, tmp_path: Path
) -> None:
    """It holds the lock until the server rolls it back; the next load tries until then."""
    dead = Warehouse(loaded.settings.snowflake)
    dead.execute("BEGIN TRANSACTION NAME CAVES_LOAD_BATCH_DATA")
    dead.execute("UPDATE BATCH_DATA.LOAD_FENCE SET EPOCH = EPOCH + 1")
    dead.execute("DELETE FROM BATCH_DATA.SALES")
    assert loaded.load("sales").success
    assert stored(loaded) == NEW_ROWS
