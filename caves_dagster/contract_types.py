"""Types that contracts are made of, and what a type cannot tell: strict, as one bad row blocks a stream.

A number in a string is not a number, times carry a zone, integers have 64 bits, amounts fit their column.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from caves_dagster.shop import InvalidEvent

# The spellings of RFC 3339 that Snowflake's TRY_TO_TIMESTAMP_TZ reads. Not \d: that is any script's digits.
# No hour 24, which some versions of Python read.
_RFC3339 = (
    r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\Z"
)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_LATE = datetime(2200, 1, 1, tzinfo=UTC)
_MAX_INT64 = 2**63 - 1

Identifier = Annotated[int, Meta(ge=1, le=_MAX_INT64)]
Integer = Annotated[int, Meta(ge=-_MAX_INT64 - 1, le=_MAX_INT64)]
Count = Annotated[int, Meta(ge=1, le=_MAX_INT64)]
Level = Annotated[int, Meta(ge=0, le=_MAX_INT64)]
Amount = Annotated[float, Meta(ge=0, le=99_999_999.99)]
"""Fits DECIMAL(10,2); more than two decimals are rounded where it is typed."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Uuid = Annotated[str, Meta(pattern=r"\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")]
Timestamp = Annotated[str, Meta(pattern=_RFC3339)]
"""RFC 3339; `moment` tells whether it is a date, and one in range."""


def moment(text: str, path: str) -> datetime:
    """The moment that a `Timestamp` names, to the microsecond.

    Args:
        path: JSON path of the field, for the error.

    Raises:
        InvalidEvent: it is no date, or out of range whatever its offset.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidEvent("CONTRACT", f"{text} is no date: {error}", path) from None
    if not _EARLIEST <= found < _TOO_LATE:
        raise InvalidEvent("CONTRACT", f"{text} is outside the years 1970 to 2199 in UTC", path)
    return found


def utc(found: datetime) -> str:
    """A moment as a column takes it: UTC, without an offset."""
    return found.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def check_moment(event: object, path: str) -> None:
    """Refuse a `Timestamp` field, named by its dotted path, that is no date or out of range; None is not."""
    found = event
    for name in path.split("."):
        found = getattr(found, name, None)
    if isinstance(found, str):
        moment(found, f"$.{path}")
