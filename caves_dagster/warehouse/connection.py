"""A session of the warehouse: the bare Snowflake connector, and this project's errors.

The connector alone, not dagster-snowflake: importing that costs seconds in every run, and start-up is the
streaming half's latency.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from caves_dagster.errors import (
    CavesError,
    SettingsError,
    SignInRefused,
    StatementFailed,
    WarehouseNotSetUp,
    WarehouseUnreachable,
    WriteConflict,
)
from caves_dagster.settings import SnowflakeSettings

# For workload identities on AWS, with which no setting of ours signs in, the connector imports boto3 if there
# is one: tenths of a second in every process. None says that there is none (importlib), until it is there.
_NOT_FOR_THE_CONNECTOR = {"boto3", "botocore"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_NOT_FOR_THE_CONNECTOR))  # type: ignore[arg-type]
try:
    import snowflake.connector
    from snowflake.connector import errors as connector_errors
    from snowflake.connector.backoff_policies import exponential_backoff
    from snowflake.connector.vendored.requests.exceptions import RequestException
finally:
    for _name in _NOT_FOR_THE_CONNECTOR:
        del sys.modules[_name]

log = logging.getLogger(__name__)
# It writes a traceback for what it raises too.
logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)

Row = dict[str, Any]

# A transaction that somebody else ended fails with the second where one of its statements was running.
_LOCKED = {625, 604}
_MISSING = {2003, 2043, 90105, 90106}
_SIGN_IN = {390100, 390101, 390102, 390144}
# Its own policy waits up to 16 s, which a warehouse that is back would have to wait for too.
_backoff = exponential_backoff(cap=3)
# No connection; a session or a token that expired, was forgotten or is not accepted any more.
_LOST = {250001, 390111, 390112, 390113, 390114, 390115}
# SQLSTATE of a connection that is not there: so the connector says that a session could not be renewed.
_NO_CONNECTION = "08"


def connection_arguments(settings: SnowflakeSettings) -> dict[str, Any]:
    """Arguments of `snowflake.connector.connect`, for the bare connector and dagster-snowflake alike."""
    arguments: dict[str, Any] = {
        "account": settings.account,
        "user": settings.user,
        "warehouse": settings.warehouse,
        "database": settings.database,
        "login_timeout": settings.login_timeout,
        "network_timeout": settings.network_timeout,
        "backoff_policy": _backoff,
        "application": "caves_dagster",
        # A connect would otherwise ask the cloud providers' metadata services where it runs, for up to 5 s.
        "platform_detection_timeout_seconds": 0.0,
        "autocommit": True,
        "session_parameters": {
            "TIMEZONE": "UTC",
            # What plain TIMESTAMP means, whatever an account's administrator has made of it.
            "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
            "BINARY_INPUT_FORMAT": "HEX",
            "CLIENT_TELEMETRY_ENABLED": False,
            "TRANSACTION_ABORT_ON_ERROR": True,
            "LOCK_TIMEOUT": 30,
            "QUERY_TAG": "caves_dagster",
        },
    }
    if settings.role:
        arguments["role"] = settings.role
    if settings.host:
        arguments |= {"host": settings.host, "port": settings.port, "protocol": settings.protocol}
    if settings.private_key_path:
        arguments["private_key_file"] = str(settings.private_key_path)
        if settings.private_key_passphrase:
            arguments["private_key_file_pwd"] = settings.private_key_passphrase.get_secret_value()
    elif settings.password:
        arguments["password"] = settings.password.get_secret_value()
    return arguments


class Warehouse:
    """One session, opened when first needed and opened anew after it was lost.

    Not for use by two threads at once.

    Args:
        settings: where the warehouse is and how to sign in.
    """

    def __init__(self, settings: SnowflakeSettings) -> None:
        self.settings = settings
        self._connection: Any = None
        self._statement_seconds: int | None = None

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; an open transaction is rolled back by the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except connector_errors.Error as error:
                log.debug("Closing a session failed: %s", error)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """Run one statement and return its rows, column names in upper case."""
        with self._cursor() as cursor:
            cursor.execute(sql, parameters, timeout=self._statement_seconds)
            names = [column.name.upper() for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run one statement and return the number of rows it changed."""
        with self._cursor() as cursor:
            cursor.execute(sql, parameters, timeout=self._statement_seconds)
            return int(cursor.rowcount or 0)

    @contextmanager
    def long_statements(self, seconds: int) -> Iterator[None]:
        """Let the statements of the block take that long; others are cancelled at the network time-out.

        While one runs, a warehouse that went away is waited for as long.
        """
        before, self._statement_seconds = self._statement_seconds, seconds
        try:
            yield
        finally:
            self._statement_seconds = before

    @contextmanager
    def transaction(self, name: str = "") -> Iterator[None]:
        """BEGIN, then COMMIT at the end of the block or ROLLBACK when it raises.

        Args:
            name: an identifier under which others find it (`abandoned.py`).

        When COMMIT itself raises `WarehouseUnreachable`, whether it took place is unknown: read it back.
        """
        self.execute(f"BEGIN TRANSACTION NAME {name}" if name else "BEGIN TRANSACTION")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        """Roll back, or let the session go: its end rolls back too."""
        if self._connection is None:
            return
        try:
            self._connection.cursor().execute("ROLLBACK")
        except connector_errors.Error as error:
            log.debug("ROLLBACK failed, dropping the session: %s", error)
            self._drop()

    def _drop(self) -> None:
        """Let the session go, and tell the server if it can be reached: it may hold a transaction's locks."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close(retry=False)
            except connector_errors.Error as error:
                log.debug("The session could not be closed: %s", error)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        try:
            if self._connection is None:
                self._connection = self._connect()
            with self._connection.cursor() as cursor:
                yield cursor
        except connector_errors.Error as error:
            raise self._translated(error) from error
        except RequestException as error:
            # The connector lets through what happens while an answer is on its way.
            raise self._away(type(error).__name__) from error

    def _connect(self) -> Any:
        if self.settings.private_key_path and not self.settings.private_key_path.is_file():
            raise SettingsError(
                f"SNOWFLAKE_PRIVATE_KEY_PATH: there is no file {self.settings.private_key_path}.",
                "Point it at the PEM file of the user's private key.",
            )
        if (
            self.settings.password
            and not self.settings.private_key_path
            and self.settings.protocol == "https"
        ):
            log.warning(
                "Signing in to Snowflake by password, which Snowflake is retiring for services: "
                "set SNOWFLAKE_PRIVATE_KEY_PATH to use a key pair."
            )
        try:
            return snowflake.connector.connect(**connection_arguments(self.settings))
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"SNOWFLAKE_PRIVATE_KEY_PATH: {self.settings.private_key_path} is not a private key that can "
                f"be read ({type(error).__name__}).",
                "Check the file and SNOWFLAKE_PRIVATE_KEY_PASSPHRASE.",
            ) from None

    def _translated(self, error: connector_errors.Error) -> CavesError:
        """This project's error for the connector's."""
        address = self.settings.host or self.settings.account
        message = _first_line(error)
        if error.errno in _LOCKED:
            return WriteConflict(
                f"Another session changed the same rows or ended this: {message}", "Try again."
            )
        if error.errno in _MISSING:
            return WarehouseNotSetUp(
                f"The warehouse lacks something this project needs: {message}",
                "Run `caves setup` to create the schemas, tables and streams.",
            )
        # Both come as 250001: a server that answers names the database it did not let us into.
        if "Failed to connect to DB" in message or error.errno in _SIGN_IN:
            return SignInRefused(
                f"Snowflake at {address} refused the sign-in of {self.settings.user!r} ({message[:300]}).",
                "Check SNOWFLAKE_USER, SNOWFLAKE_ROLE, SNOWFLAKE_PRIVATE_KEY_PATH (or SNOWFLAKE_PASSWORD).",
            )
        lost = (
            connector_errors.OperationalError,
            connector_errors.InterfaceError,
            connector_errors.HttpError,
        )
        without = str(error.sqlstate or "").startswith(_NO_CONNECTION)
        if isinstance(error, lost) or error.errno in _LOST or without:
            return self._away(message[:200])
        return StatementFailed(f"The warehouse at {address} refused a statement: {message[:500]}.")

    def _away(self, message: str) -> WarehouseUnreachable:
        """Lets the session go: nobody knows how far it came."""
        self._drop()
        return WarehouseUnreachable(
            f"The warehouse at {self.settings.host or self.settings.account}:{self.settings.port} "
            f"cannot be reached ({message}).",
            "Start the embedded platform with `caves local start`, or check the SNOWFLAKE_ settings.",
        )


def _first_line(error: connector_errors.Error) -> str:
    return str(error.msg or error).strip().splitlines()[0]
