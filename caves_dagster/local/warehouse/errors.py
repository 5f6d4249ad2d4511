"""What a statement may fail with: Snowflake's numbers for DuckDB's exceptions.

Clients decide by the number (`ProgrammingError.errno`), so that is what has to be right: 2003 for what does
not exist, 625 for a write conflict, the 1000xx family for data that was refused. Texts follow Snowflake's
where the ecosystem looks at them: dagster-snowflake-pandas looks for "does not exist or not authorized".
"""

from __future__ import annotations

import re

import duckdb


class StatementError(Exception):
    """A statement failed in a way a Snowflake client understands.

    Args:
        message: the text of the error.
        errno: Snowflake's error number.
        sqlstate: the five-character SQLSTATE.
    """

    def __init__(self, message: str, errno: int, sqlstate: str = "42000") -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno
        self.sqlstate = sqlstate


def syntax_error(message: str) -> StatementError:
    """The statement does not parse."""
    return StatementError(f"SQL compilation error:\n{message}", 1003, "42000")


def not_found(kind: str, name: str) -> StatementError:
    """An object does not exist; `kind` is written as Snowflake does, capitalised."""
    message = f"SQL compilation error:\n{kind} '{name}' does not exist or not authorized."
    return StatementError(message, 2003, "42S02")


def already_exists(name: str) -> StatementError:
    """An object of that name exists."""
    return StatementError(f"SQL compilation error:\nObject '{name}' already exists.", 2002, "42710")


def cannot_change_type(column: str, before: str, after: str) -> StatementError:
    """A column's type becomes another one, or narrower. (Snowflake does the latter where the values fit.)"""
    message = f"SQL compilation error: cannot change column {column} from type {before} to {after}"
    return StatementError(message, 2108, "22000")


def unsupported(what: str) -> StatementError:
    """Snowflake could, this server cannot."""
    return StatementError(f"Unsupported feature on the embedded warehouse: {what}.", 2, "0A000")


def conflict(detail: str) -> StatementError:
    """Another transaction changed the same rows first; the same transaction may succeed if run again."""
    return StatementError(f"Transaction aborted by a write conflict, run it again: {detail}", 625, "57014")


def duplicate_rows() -> StatementError:
    """A MERGE whose source holds more than one row for one row of the target."""
    return StatementError("Duplicate row detected during DML action", 100090, "42P18")


# (pattern in DuckDB's message, errno, sqlstate, message). The first that matches is taken.
_PATTERNS: tuple[tuple[str, int, str, str], ...] = (
    (r"Schema with name \"?([^\s\"!]+)\"? does not exist", 2003, "02000", "Schema '{0}' {missing}"),
    (r"(?:Table|View) with name \"?([^\s\"!]+)\"? does not exist", 2003, "42S02", "Object '{0}' {missing}"),
    (r"(?:Catalog|Database) \"?([^\s\"!]+)\"? does not exist", 2003, "02000", "Database '{0}' {missing}"),
    (r"Function with name \"?([^\s\"!]+)\"? does not exist", 2140, "42601", "Unknown function {0}"),
    (r"with name \"?([^\s\"!]+)\"? already exists", 2002, "42710", "Object '{0}' already exists."),
    (r"Referenced (?:column|table) \"([^\"]+)\" not found", 904, "42000", "invalid identifier '{0}'"),
    (r"does not have a column (?:with name|named) \"([^\"]+)\"", 904, "42000", "invalid identifier '{0}'"),
    (r"Ambiguous reference to column name \"([^\"]+)\"", 2028, "42601", "ambiguous column name '{0}'"),
)
_DATA: tuple[tuple[str, int, str, str], ...] = (
    (r"Error parsing JSON: (.*)", 100069, "22P02", "Error parsing JSON: {0}"),
    (r"(Malformed JSON at byte .*)", 100069, "22P02", "Error parsing JSON: {0}"),
    (
        r"NOT NULL constraint failed: (?:\S+\.)?([^.\s]+)$",
        100072,
        "22000",
        "NULL result in a non-nullable column '{0}'",
    ),
    (r"CHECK constraint failed .*<= (\d+)", 100078, "22000", "String is too long and would be truncated"),
    (r"Could not convert string '(.*)' to BOOL", 100037, "22018", "Boolean value '{0}' is not recognized"),
    (
        r"Could not convert string [\"'](.*)[\"'] to ",
        100038,
        "22018",
        "Numeric value '{0}' is not recognized",
    ),
    (r"Could not cast value (\S+) to ", 100039, "22003", "Numeric value '{0}' is out of range"),
    (r"(?:Casting value|Type \S+ with value) \"?(\S+?)\"? ", 100039, "22003", "Number out of range: '{0}'"),
    (r"invalid timestamp field format: \"(.*?)\"", 100035, "22007", "Timestamp '{0}' is not recognized"),
    (r"timestamp field value out of range: \"(.*?)\"", 100035, "22007", "Timestamp '{0}' is not recognized"),
    (r"invalid date field format: \"(.*?)\"", 100040, "22007", "Date '{0}' is not recognized"),
    (r"date field value out of range: \"(.*?)\"", 100040, "22007", "Date '{0}' is not recognized"),
    (
        r"Could not decode string \"(.*?)\" as base64",
        100115,
        "22000",
        "The following string is not base64: '{0}'",
    ),
    (r"Invalid input for hex digit", 100115, "22000", "The string is not a legal hex-encoded string"),
    (r"Division by zero", 100051, "22012", "Division by zero"),
    (r"(TRY_CAST cannot be used .*)", 1065, "22023", "SQL compilation error:\nFunction {0}"),
)


def from_duckdb(error: duckdb.Error) -> StatementError:
    """Snowflake's error for DuckDB's."""
    text = str(error)
    first = text.split("\n")[0]
    if isinstance(error, duckdb.InterruptException):
        return StatementError("SQL execution canceled", 604, "57014")
    if isinstance(error, duckdb.TransactionException) or "write-write conflict" in text:
        return conflict(first)
    for pattern, errno, sqlstate, message in _DATA:
        if found := re.search(pattern, first):
            return StatementError(message.format(*found.groups()), errno, sqlstate)
    for pattern, errno, sqlstate, message in _PATTERNS:
        if found := re.search(pattern, first):
            body = message.format(*found.groups(), missing="does not exist or not authorized.")
            return StatementError(f"SQL compilation error:\n{body}", errno, sqlstate)
    if isinstance(error, duckdb.ConstraintException):
        return StatementError(first, 100072, "22000")
    if isinstance(error, duckdb.OutOfRangeException):
        return StatementError(f"Number out of representable range: {first}", 100039, "22003")
    if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException):
        return StatementError(first, 100038, "22018")
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        return StatementError(f"SQL compilation error:\n{first}", 1003, "42000")
    if isinstance(error, duckdb.NotImplementedException):
        return unsupported(first)
    return StatementError(first, 300002, "XX000")
