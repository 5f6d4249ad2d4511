"""One Parquet file of a COPY: its columns in the statement's values, its rows in, or the row at fault."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from caves_dagster.local.warehouse import stages, streams
from caves_dagster.local.warehouse.errors import StatementError, from_duckdb, unsupported
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote
from caves_dagster.local.warehouse.translate import to_duckdb

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

_ALIAS = "_caves_file"


@dataclass
class Options:
    """What the clauses behind FROM ask for."""

    files: list[str] = field(default_factory=list)
    pattern: str | None = None
    force: bool = False
    purge: bool = False
    match: str = "NONE"


class Load:
    """One file on its way into the table."""

    def __init__(
        self,
        session: Session,
        table: Name,
        names: list[str],
        query: exp.Select | None,
        options: Options,
        location: stages.Location,
        file: Path,
    ) -> None:
        self.session, self.table, self.options, self.file = session, table, options, file
        self.label = location.shown(file)
        self.reader = f"read_parquet({literal(_escape(str(file)))}, file_row_number = true)"
        present = [row[0] for row in self._read(f"DESCRIBE SELECT * FROM {self.reader}")]
        self.names, self.query = names, _over_file(session, query, table, names, present, options)
        self.values = [to_duckdb(value.copy(), session.context()) for value in self.query.expressions]
        if len(self.values) != len(self.names):
            raise StatementError("SQL compilation error:\nInsert value list does not match column list", 2020)

    def run(self) -> tuple[object, ...]:
        """Insert the file's rows; its line of the result."""
        tag = stages.etag(self.file)
        if not self.options.force and self._loaded_before(tag):
            return (self.label, "LOAD_SKIPPED", 0, 0, None, 1, "File was loaded before.", None, None, None)
        columns = ", ".join(quote(name) for name in self.names)
        values = ", ".join(self.values)
        where = self.query.args.get("where")
        condition = " " + to_duckdb(where.copy(), self.session.context()) if where else ""
        sql = (
            f"INSERT INTO {self.table.sql} ({columns}) SELECT {values} FROM {self.reader} {_ALIAS}{condition}"
        )
        try:
            row = self.session.cursor.execute(sql).fetchall()
        except duckdb.Error as error:
            raise self._explain(error) from error
        count = int(row[0][0]) if row else 0
        self.session.cursor.execute(
            f"INSERT INTO {quote(self.table.database)}.{HIDDEN}.loads VALUES (?, ?, ?, ?, now(), ?)",
            [self.table.schema, self.table.name, self.label, tag, count],
        )
        return (self.label, "LOADED", count, count, 1, 0, None, None, None, None)

    def _loaded_before(self, tag: str) -> bool:
        sql = (
            f"SELECT 1 FROM {quote(self.table.database)}.{HIDDEN}.loads WHERE schema_name = ? "
            "AND table_name = ? AND file_name = ? AND etag = ? AND last_load_time > now() - INTERVAL 64 DAY"
        )
        values = [self.table.schema, self.table.name, self.label, tag]
        return self.session.cursor.execute(sql, values).fetchall() != []

    def _explain(self, error: duckdb.Error) -> StatementError:
        """The error with the file, row and column it came from, found by trying the columns one at a time."""
        known = from_duckdb(error)
        if known.errno == 625:
            return known
        limits = _limits(self.session, self.table)
        kinds = dict(streams.columns_of(self.session.catalog.duck.cursor(), self.table))
        for name, value in zip(self.names, self.values, strict=True):
            probe = f"CAST({value} AS {kinds.get(name, 'VARCHAR')})"
            if found := self._first_bad(probe, limits.get(name)):
                row, cause = found
                return StatementError(
                    f"{cause.message}\n  File '{self.label}', line {row + 1}, character 0\n"
                    f'  Row {row + 1}, column "{self.table.name}"["{name}"]\n'
                    "  The whole COPY was rolled back (ON_ERROR = ABORT_STATEMENT).",
                    cause.errno,
                    cause.sqlstate,
                )
        return StatementError(f"{known.message}\n  File '{self.label}'", known.errno, known.sqlstate)

    def _first_bad(self, probe: str, limit: tuple[str, int] | None) -> tuple[int, StatementError] | None:
        """(row, error) of the first row whose value the column does not take, by halving."""
        low, high = 0, int(self._read(f"SELECT count(*) FROM {self.reader}")[0][0])
        if not (cause := self._fails(probe, limit, low, high)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            if found := self._fails(probe, limit, low, middle):
                high, cause = middle, found
            else:
                low = middle
        return low, self._fails(probe, limit, low, high) or cause

    def _fails(self, probe: str, limit: tuple[str, int] | None, low: int, high: int) -> StatementError | None:
        part = f"FROM {self.reader} {_ALIAS} WHERE file_row_number >= {low} AND file_row_number < {high}"
        try:
            self._read(f"SELECT count(x), max(x::VARCHAR) FROM (SELECT {probe} AS x {part})")
        except duckdb.Error as error:
            return from_duckdb(error)
        if limit is None:
            return None
        function, size = limit
        if size < 0:
            if self._read(f"SELECT count(*) FROM (SELECT {probe} AS x {part}) WHERE x IS NULL")[0][0]:
                return StatementError("NULL result in a non-nullable column", 100072, "22000")
            return None
        too_long = self._read(
            f"SELECT left(x::VARCHAR, 100) FROM (SELECT {probe} AS x {part}) "
            f"WHERE {function}(x) > {size} LIMIT 1"
        )
        if too_long:
            message = f"String '{too_long[0][0]}' is too long and would be truncated"
            return StatementError(message, 100078, "22000")
        return None

    def _read(self, sql: str) -> list[tuple[Any, ...]]:
        """A read apart from the session's transaction, which an error would end."""
        cursor = self.session.catalog.duck.cursor()
        try:
            if self.session.database:
                cursor.execute(f"USE {quote(self.session.database)}.main")
            return list(cursor.execute(sql).fetchall())
        finally:
            cursor.close()


def _over_file(
    session: Session,
    query: exp.Select | None,
    table: Name,
    names: list[str],
    present: list[str],
    options: Options,
) -> exp.Select:
    """The SELECT of a COPY with its `$1:NAME` turned into the file's columns."""
    if query is None:
        return _matched(table, names, present, options)
    query = query.copy()
    paths = (exp.JSONExtract, exp.JSONExtractScalar)
    for node in list(query.find_all(*paths)):
        if not isinstance(node.this, exp.Parameter) and not (
            isinstance(node.this, exp.Column) and node.this.name == "$1"
        ):
            continue
        keys = [part.this for part in node.expression.expressions if isinstance(part, exp.JSONPathKey)]
        if not keys or not isinstance(keys[0], str):
            raise unsupported("$1 without a column name in COPY")
        if keys[0] not in present:
            node.replace(exp.Null())
            continue
        column: exp.Expr = exp.column(keys[0], table=exp.to_identifier(_ALIAS, quoted=True), quoted=True)
        if len(keys) > 1:
            path = exp.JSONPath(
                expressions=[exp.JSONPathRoot(), *[exp.JSONPathKey(this=k) for k in keys[1:]]]
            )
            column = exp.JSONExtract(this=column, expression=path)
        node.replace(column)
    return query


def _matched(table: Name, names: list[str], present: list[str], options: Options) -> exp.Select:
    if options.match == "NONE":
        raise StatementError(
            "SQL compilation error:\nPARQUET file format can produce one and only one column of type "
            "variant, "
            "object, or array. Load data into separate columns using the MATCH_BY_COLUMN_NAME copy option or "
            "copy with transformation.",
            2019,
            "0A000",
        )
    fold = str.upper if options.match == "CASE_INSENSITIVE" else str
    by_name = {fold(name): name for name in present}
    values = [
        exp.column(by_name[fold(name)], table=exp.to_identifier(_ALIAS, quoted=True), quoted=True)
        if fold(name) in by_name
        else exp.Null()
        for name in names
    ]
    return exp.select(*values)


def _limits(session: Session, table: Name) -> dict[str, tuple[str, int]]:
    """Length limits of a table's columns, from its CHECK constraints; (“”, -1) for one that takes no NULL."""
    rows = session.catalog.duck.cursor().execute(
        "SELECT constraint_column_names[1], constraint_text FROM duckdb_constraints() "
        "WHERE database_name = ? AND schema_name = ? AND table_name = ?",
        list(table),
    )
    found: dict[str, tuple[str, int]] = {}
    for column, text in rows.fetchall():
        if text == "NOT NULL":
            found.setdefault(column, ("", -1))
        elif parts := re.search(r"(length|octet_length)\(.*\) <= (\d+)", text, re.IGNORECASE):
            found[column] = (parts[1], int(parts[2]))
    return found


def _escape(path: str) -> str:
    """A path DuckDB's globbing leaves alone."""
    return re.sub(r"([*?\[])", r"[\1]", path)
