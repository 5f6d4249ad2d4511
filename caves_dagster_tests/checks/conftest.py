"""What the tests that corrupt rows share; the sound rows, a fixture `sound`, are each module's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from caves_dagster_tests.conftest import Caves


class _Undo(Exception):
    """Rolls a corruption back."""


@pytest.fixture
def spoilt(sound: Caves) -> Iterator[Caves]:
    """The sound data in a transaction that is rolled back after the test."""
    try:
        with sound.warehouse.transaction():
            yield sound
            raise _Undo
    except _Undo:
        pass
