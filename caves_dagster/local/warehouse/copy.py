"""COPY INTO a table from Parquet on an internal stage: one INSERT a file, all or nothing.

`$1:NAME` is the file's column of that name, NULL where the file has none. A value that is refused fails the
whole statement; the file is then searched for the first row at fault, so that the error names file, row and
column.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from caves_dagster.local.warehouse import results, stages, streams
from caves_dagster.local.warehouse.errors import StatementError, not_found, unsupported
from caves_dagster.local.warehouse.load import Load, Options
from caves_dagster.local.warehouse.names import resolve_table

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

_COLUMNS = {
    "file": "VARCHAR", "status": "VARCHAR", "rows_parsed": "BIGINT", "rows_loaded": "BIGINT",
    "error_limit": "BIGINT", "errors_seen": "BIGINT", "first_error": "VARCHAR", "first_error_line": "BIGINT",
    "first_error_character": "BIGINT", "first_error_column_name": "VARCHAR",
}  # fmt: skip


def run(session: Session, tree: exp.Copy) -> results.Result:
    """COPY INTO. The tree is normalised."""
    options = _options(tree)
    schema = tree.this if isinstance(tree.this, exp.Schema) else None
    table = resolve_table(schema.this if schema else tree.this, session.database, session.schema)
    known = streams.columns_of(session.cursor, table)
    if not known:
        raise not_found("Table", table.dotted)
    names = [part.name for part in schema.expressions] if schema else [name for name, _ in known]
    query, location = _source(session, tree)
    loads = [
        Load(session, table, names, query, options, location, file) for file in _files(location, options)
    ]
    if not loads:
        return results.status("Copy executed with 0 files processed.", results.COPY)
    rows = []
    with session.transactions.atomic():
        for load in loads:
            rows.append(load.run())
    if options.purge:
        for load in loads:
            load.file.unlink(missing_ok=True)
    return results.rows(_COLUMNS, rows, results.COPY)


def _source(session: Session, tree: exp.Copy) -> tuple[exp.Select | None, stages.Location]:
    """(the transformation, the place on the stage) of FROM; sqlglot keeps both under `files`."""
    source = tree.args["files"][0]
    query = source.this if isinstance(source, exp.Subquery) else None
    node = query.args["from_"].this if isinstance(query, exp.Select) else source
    text = (
        node.name
        if isinstance(node, exp.Literal)
        else node.this.name
        if isinstance(node, exp.Table)
        else node.name
    )
    return query, stages.locate(session, text.strip("'"))


def _files(location: stages.Location, options: Options) -> list[Path]:
    if options.files:
        found = [location.inside(name) for name in options.files]
        for file, name in zip(found, options.files, strict=True):
            if not file.is_file():
                raise StatementError(
                    f"Remote file '{location.label}{location.path}{name}' was not found. "
                    "If you are running a copy command, please make sure files are not deleted.",
                    91016,
                    "22000",
                )
        return found
    pattern = re.compile(options.pattern) if options.pattern else None
    return [f for f in location.files() if pattern is None or pattern.fullmatch(location.shown(f))]


def _options(tree: exp.Copy) -> Options:
    options = Options()
    for param in tree.args.get("params") or []:
        name = param.this.name.upper()
        value = param.args.get("expression")
        text = (
            value.name.upper()
            if isinstance(value, exp.Literal | exp.Var)
            else value.sql().upper()
            if value
            else ""
        )
        if name == "FILE_FORMAT":
            _check_format(param)
        elif name == "FILES":
            options.files = [item.name for item in param.find_all(exp.Literal)]
        elif name in ("FORCE", "PURGE"):
            setattr(options, name.lower(), text == "TRUE")
        elif name == "PATTERN" and value is not None:
            options.pattern = value.name
        elif name == "MATCH_BY_COLUMN_NAME":
            options.match = text
        elif name == "ON_ERROR" and text != "ABORT_STATEMENT":
            raise unsupported(f"COPY … ON_ERROR = {text}")
        elif name not in ("ON_ERROR", "RETURN_FAILED_ONLY", "LOAD_UNCERTAIN_FILES", "TRUNCATECOLUMNS"):
            raise unsupported(f"COPY … {name}")
    return options


def _check_format(param: exp.Expr) -> None:
    kinds = [
        p.args["value"].name.upper()
        for p in param.find_all(exp.Property)
        if p.name.upper() == "TYPE" and isinstance(p.args["value"], exp.Expr)
    ]
    if kinds and kinds != ["PARQUET"]:
        raise unsupported(f"COPY from {kinds[0]}, only PARQUET")
