"""One line of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What is done to an object."""

    CREATE = "create"
    ADD_COLUMN = "add column"
    FILL_COLUMN = "fill column"
    WIDEN_COLUMN = "widen column"
    ALLOW_NULL = "allow NULL"
    COMMENT = "comment"
    REPLACE_VIEW = "replace view"
    RUN = "run"
    UNCHANGED = "unchanged"
    KEPT = "kept as it is"
    DECIDE = "decide by hand"


@dataclass(frozen=True)
class Step:
    """One line of a plan.

    Attributes:
        name: `SCHEMA.NAME`, or `SCHEMA.NAME.COLUMN`.
        kind: as `Declared.kind`, or "column" or "database".
        statements: what is run for it, in order.
        detail: what is different, for people.
        remedy: of a decision: what a person could do.
    """

    name: str
    kind: str
    action: Action
    statements: tuple[str, ...] = ()
    detail: str = ""
    remedy: str = ""
