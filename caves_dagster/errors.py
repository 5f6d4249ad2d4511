"""Every error this project raises on purpose.

CavesError                  what went wrong, the value, the remedy
├── SettingsError           a setting is missing or malformed
├── DeclarationError        a shop's declaration does not hold together
├── RetryableError          the same call may succeed later
│   ├── KafkaUnreachable    no broker answers
│   ├── WarehouseUnreachable  no warehouse answers
│   ├── WriteConflict       another transaction holds or changed the same rows
│   └── PositionsMoved      another writer committed first: re-read and go on
├── TopicNotFound           the broker answers, the topic is not there
├── SignInRefused           the warehouse answers, and refuses the credentials
├── WarehouseNotSetUp       the warehouse answers, its tables are not there
├── StreamStale             a stream has lost its place
├── DeploymentRefused       a database cannot be brought to what the SQL says without losing something
├── StatementFailed         the warehouse refused a statement
├── PrivilegeMissing        the warehouse's role may not do what was asked
├── DeliveryFailed          the producer could not deliver every event
├── AlertNotDelivered       a webhook or a mail server did not take an alert
├── LandingRefused          the warehouse refused a batch's data
├── SourceRefused           a batch source is missing, or holds what its table does not take
├── NotConfirmed            something that cannot be taken back was not confirmed
└── PlatformError           the embedded platform could not do what was asked
"""

from __future__ import annotations


class CavesError(Exception):
    """A failure somebody can act on.

    Commands print it as one line and exit 1; sensors show it as the reason of a skip.

    Args:
        problem: what went wrong, naming the value that was at fault.
        remedy: what to do about it, as an instruction or a command.
    """

    retryable = False

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[CavesError], tuple[str, str]]:
        return (type(self), (self.problem, self.remedy))


class SettingsError(CavesError):
    """A setting is missing or malformed."""


class DeclarationError(CavesError):
    """A shop's declaration does not hold together."""


class RetryableError(CavesError):
    """The same call may succeed later, unchanged."""

    retryable = True


class KafkaUnreachable(RetryableError):
    """No broker answers at the configured address."""


class WarehouseUnreachable(RetryableError):
    """No warehouse answers at the configured address."""


class WriteConflict(RetryableError):
    """Another transaction holds or has just changed the same rows."""


class PositionsMoved(RetryableError):
    """Another writer committed between the plan and the transaction."""


class TopicNotFound(CavesError):
    """The broker answers, but has no such topic."""


class SignInRefused(CavesError):
    """The warehouse answers, and refuses the credentials."""


class WarehouseNotSetUp(CavesError):
    """The warehouse answers, but a table, stream or stage is missing."""


class StreamStale(CavesError):
    """A stream has lost its place: it cannot be read any more, and has to be made anew."""


class DeploymentRefused(CavesError):
    """The database differs from the SQL in a way that only a person can decide; nothing was changed."""


class StatementFailed(CavesError):
    """The warehouse refused a statement: its syntax, its data, a privilege, no virtual warehouse."""


class PrivilegeMissing(CavesError):
    """The warehouse's role may not do what was asked; the remedy names the grants."""


class DeliveryFailed(CavesError):
    """At least one event was not acknowledged by the broker."""


class AlertNotDelivered(CavesError):
    """A webhook or a mail server did not take an alert."""


class LandingRefused(CavesError):
    """The warehouse refused the data of a batch (not a connection or lock failure)."""


class NotConfirmed(CavesError):
    """Something that cannot be taken back was asked for without the words that confirm it."""


class SourceRefused(CavesError):
    """A batch source (SQLite, CSV, JSON lines) is missing or holds what cannot be taken; nothing was."""


class PlatformError(CavesError):
    """The embedded platform could not do what was asked."""
