"""dagster-snowflake-pandas' IO manager, made to load whole or not at all.

As it comes it deletes the old rows and then appends the new ones, and each of the two commits by itself: a
load that dies in between leaves a table that is empty or half full. Here the new rows go to a loading table
first, and one transaction exchanges them (`exchange.py`).

Import this inside the factory of the resource only: `import dagster_snowflake` takes seconds.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pandas as pd
from dagster import InputContext, OutputContext, TimeWindow
from dagster._core.storage.db_io_manager import DbIOManager, TableSlice
from dagster_snowflake import SnowflakeResource
from dagster_snowflake.snowflake_io_manager import SnowflakeDbClient
from dagster_snowflake_pandas import SnowflakePandasIOManager
from dagster_snowflake_pandas.snowflake_pandas_type_handler import SnowflakePandasTypeHandler
from pydantic import PrivateAttr
from snowflake.connector import errors as connector_errors
from snowflake.connector.pandas_tools import write_pandas

from caves_dagster.batch.exchange import exchange
from caves_dagster.batch.reading import Window
from caves_dagster.errors import LandingRefused
from caves_dagster.settings import SnowflakeSettings
from caves_dagster.shop import BatchTable
from caves_dagster.warehouse.connection import Warehouse, connection_arguments

_ROWS_A_FILE = 250_000
# What the resource and the IO manager have fields for; the rest are the connector's own.
_FIELDS = {"account", "user", "password", "database", "warehouse", "role"}


class BatchIOManager(SnowflakePandasIOManager):
    """Stores a DataFrame as the rows of a batch table, or of some of its days.

    Args:
        settings: where the warehouse is and how to sign in.
        tables: the declared batch tables.
    """

    _settings: SnowflakeSettings = PrivateAttr()
    _tables: Mapping[str, BatchTable] = PrivateAttr()

    def __init__(self, settings: SnowflakeSettings, tables: Iterable[BatchTable]) -> None:
        super().__init__(**_configuration(settings))
        self._settings = settings
        self._tables = {one.table.full_name: one for one in tables}

    def create_io_manager(self, context: Any) -> DbIOManager:
        """The library's IO manager, with its session and its way of writing changed."""
        return DbIOManager(
            type_handlers=[_ExchangingHandler(self._tables)],
            db_client=_OwnSession(self._settings),
            database=self.database,
            io_manager_name=type(self).__name__,
        )


def _configuration(settings: SnowflakeSettings) -> dict[str, Any]:
    """The settings as dagster-snowflake's resource and IO manager take them."""
    arguments = connection_arguments(settings)
    # A function cannot stand in Dagster's configuration; the connector's own policy is patient enough here.
    arguments.pop("backoff_policy", None)
    chosen = {name: arguments.pop(name) for name in _FIELDS if name in arguments}
    if "private_key_file" in arguments:
        chosen["private_key_path"] = arguments.pop("private_key_file")
        chosen["private_key_password"] = arguments.pop("private_key_file_pwd", None)
    return chosen | {"additional_snowflake_connection_args": arguments}


class _Session(Warehouse):
    """A session that dagster-snowflake's resource opens. Once lost it stays so, as its loading table is."""

    def __init__(self, settings: SnowflakeSettings, schema: str) -> None:
        super().__init__(settings)
        # Else it would send one more COMMIT at the end, which may fail when all is done.
        self._resource = SnowflakeResource(schema=schema.upper(), autocommit=True, **_configuration(settings))

    @contextmanager
    def opened(self) -> Iterator[_Session]:
        """The session, open until the end of the block; the connector's errors become this project's."""
        try:
            with self._resource.get_connection(raw_conn=False) as connection:
                self._connection = connection
                try:
                    yield self
                except BaseException:
                    # The resource closes it after a success only; an open transaction ends with it.
                    self.close()
                    raise
        except connector_errors.Error as error:
            raise self._translated(error) from error

    @property
    def connection(self) -> Any:
        """The connector's connection."""
        return self._connection

    def _connect(self) -> Any:
        raise connector_errors.OperationalError("The session of the load was lost.")


class _OwnSession(SnowflakeDbClient):
    """The library's client, but nothing is deleted before the new rows are there."""

    def __init__(self, settings: SnowflakeSettings) -> None:
        self._settings = settings

    @contextmanager
    def connect(self, context: Any, table_slice: TableSlice) -> Iterator[Any]:  # type: ignore[override]
        """One session a load."""
        with _Session(self._settings, table_slice.schema).opened() as session:
            yield session

    def ensure_schema_exists(self, *_: Any) -> None:  # type: ignore[override]
        """`caves setup` makes the schema, and the tables with their comments."""

    def delete_table_slice(self, *_: Any) -> None:  # type: ignore[override]
        """Left to the transaction that puts in the new rows."""


class _ExchangingHandler(SnowflakePandasTypeHandler):
    """Writes a DataFrame to a loading table, and exchanges the rows."""

    def __init__(self, tables: Mapping[str, BatchTable]) -> None:
        self._tables = tables

    def handle_output(
        self, context: OutputContext, table_slice: TableSlice, obj: pd.DataFrame, connection: _Session
    ) -> Mapping[str, Any]:
        """Store the rows; what the UI is told of them."""
        table = self._tables[f"{table_slice.schema}.{table_slice.table}".upper()]
        columns = [str(name).upper() for name in obj.columns]
        window = _window(table_slice)
        if table.day and window is None:
            # Without days the exchange would take every row of the table away.
            raise LandingRefused(f"A load of {table.table.full_name} names no days.", "Choose partitions.")
        # The local server shows temporary tables to every session: a name of its own.
        loading = f"{table.table.name}_LOADING_{uuid.uuid4().hex[:12]}".upper()
        in_schema = f"{table.table.schema}.{loading}"
        connection.execute(f"CREATE TEMPORARY TABLE {in_schema} LIKE {table.table.full_name}")
        if len(obj):
            write_pandas(
                connection.connection,
                obj.rename(columns=str.upper),
                loading,
                database=str(table_slice.database).upper(),
                schema=table.table.schema,
                chunk_size=_ROWS_A_FILE,
                # gzip, the default, takes most of the load's time.
                compression="snappy",
                use_logical_type=True,
            )
        taken = exchange(connection, table, in_schema, columns, len(obj), window)
        context.log.info(f"{len(obj):,} rows in {table.table.full_name}, in the place of {taken:,}.")
        return {"rows_before": taken, "rows_loaded": len(obj)}

    def load_input(
        self, context: InputContext, table_slice: TableSlice, connection: _Session
    ) -> pd.DataFrame:
        """The rows of a table, or of some of its days, for an asset downstream."""
        return super().load_input(context, table_slice, connection.connection)


def _window(table_slice: TableSlice) -> Window | None:
    """The days of a run that loads some partitions; None for a table that is loaded whole."""
    for dimension in table_slice.partition_dimensions or ():
        if isinstance(dimension.partitions, TimeWindow):
            start, end = dimension.partitions
            return Window(start.date(), (end - timedelta(days=1)).date())
    return None
