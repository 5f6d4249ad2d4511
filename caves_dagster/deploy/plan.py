"""What has to be done so that a database is what the SQL says. Pure: no I/O.

Nothing that may lose a row is ever planned: no table or stream is replaced, no column dropped, no type made
narrower. What is left over is a decision, with what a person could do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caves_dagster.deploy.declared import Declared
from caves_dagster.deploy.found import Found, FoundColumn, FoundTable
from caves_dagster.deploy.step import Action, Step
from caves_dagster.errors import DeploymentRefused
from caves_dagster.warehouse.stored import is_wider, stored_type

if TYPE_CHECKING:
    from caves_dagster.warehouse.ddl import Column


@dataclass(frozen=True)
class Plan:
    """All steps, in the order in which they are done."""

    steps: tuple[Step, ...]

    @property
    def statements(self) -> tuple[str, ...]:
        """What is run."""
        return tuple(text for step in self.steps for text in step.statements)

    @property
    def changes(self) -> tuple[Step, ...]:
        """What is done to the database; without the statements that are run each time."""
        return tuple(step for step in self.steps if step.statements and step.action is not Action.RUN)

    @property
    def decisions(self) -> tuple[Step, ...]:
        """What nobody but a person can decide."""
        return tuple(step for step in self.steps if step.action is Action.DECIDE)

    @property
    def drift(self) -> tuple[Step, ...]:
        """Where the database is not what the SQL says."""
        return tuple(step for step in self.steps if step.action not in (Action.UNCHANGED, Action.RUN))

    def require_safe(self) -> None:
        """Refuse a plan that leaves a decision open.

        Raises:
            DeploymentRefused: the first decision, and how many there are.
        """
        if not self.decisions:
            return
        first, *others = self.decisions
        more = f" {len(others)} more, see `caves snowflake plan`." if others else ""
        raise DeploymentRefused(
            f"Nothing was deployed: {first.name} cannot be brought to what sql/ says without losing or "
            f"breaking something: {first.detail}.",
            f"{first.remedy}{more}",
        )


def plan(declared: Iterable[Declared], found: Found) -> Plan:
    """What has to be done to a database that has `found`."""
    return Plan(tuple(step for one in declared for step in _steps(one, found)))


def _steps(one: Declared, found: Found) -> Iterator[Step]:
    if one.kind == "table" and one.name in found.tables:
        yield from _table(one, found.tables[one.name])
    elif one.kind == "view" and one.name in found.views:
        view = found.views[one.name]
        if (view.query, view.comment) == (one.query, one.comment):
            yield Step(one.name, one.kind, Action.UNCHANGED)
        else:
            detail = "another query or comment" if view.query is not None else "its query cannot be seen"
            yield Step(one.name, one.kind, Action.REPLACE_VIEW, (one.sql,), detail)
    elif one.kind == "stream" and one.name in found.streams:
        yield _stream(one, found)
    elif one.kind == "statement":
        yield Step(one.name, one.kind, Action.RUN, (one.sql,))
    elif _is_there(one, found):
        yield Step(one.name, one.kind, Action.UNCHANGED)
    elif one.kind in ("table", "view") and one.name in (*found.tables, *found.views):
        other = "view" if one.kind == "table" else "table"
        yield Step(
            one.name,
            one.kind,
            Action.DECIDE,
            detail=f"there is a {other} of that name",
            remedy=f"Rename it: ALTER {other.upper()} {one.name} RENAME TO another name.",
        )
    else:
        yield Step(one.name, one.kind, Action.CREATE, (one.sql,))


def _is_there(one: Declared, found: Found) -> bool:
    if one.kind == "row":
        return found.one_row.get(one.name, 0) > 0
    return one.name in {"schema": found.schemas, "stage": found.stages}.get(one.kind, frozenset())


def _stream(one: Declared, found: Found) -> Step:
    stream = found.streams[one.name]
    if stream.stale:
        detail = "stale: it has lost its place; `caves rebuild` makes it anew"
        return Step(one.name, one.kind, Action.KEPT, detail=detail)
    if stream.on != one.on or stream.mode != "APPEND_ONLY":
        return Step(
            one.name,
            one.kind,
            Action.DECIDE,
            detail=f"it is {stream.mode} on {stream.on}, expected APPEND_ONLY on {one.on}",
            remedy=f"Let the pipeline consume it, stop the pipeline, and DROP STREAM {one.name}.",
        )
    return Step(one.name, one.kind, Action.UNCHANGED)


def _table(one: Declared, table: FoundTable) -> Iterator[Step]:
    """A line for each column that differs, or one for the table."""
    wanted = {column.name: column for column in one.columns}
    missing = [column for name, column in wanted.items() if name not in table.columns]
    # First, as a column that was renamed explains one that is missing.
    steps = list(_more(one, table, missing))
    steps += [step for column in missing for step in _missing(one, table, column)]
    for name, column in wanted.items():
        if name in table.columns:
            steps += _differing(one, column, table.columns[name])
    if table.comment != one.comment:
        text = f"COMMENT ON TABLE {one.name} IS {_literal(one.comment)}"
        steps.append(Step(one.name, one.kind, Action.COMMENT, (text,), "another comment"))
    yield from steps or [Step(one.name, one.kind, Action.UNCHANGED)]


def _missing(one: Declared, table: FoundTable, column: Column) -> Iterator[Step]:
    name = f"{one.name}.{column.name}"
    fill = dict(one.fills).get(column.name)
    if column.nullable or column.default or not table.rows:
        yield Step(name, "column", Action.ADD_COLUMN, _add(one, column), column.type)
    elif fill:
        yield Step(name, "column", Action.ADD_COLUMN, _add(one, column, nullable=True), column.type)
        yield _filled(one, column, fill)
    else:
        yield Step(
            name,
            "column",
            Action.DECIDE,
            detail=f"it is NOT NULL, and the {table.rows:,} rows of the table would have no value for it",
            remedy=f"Give it a DEFAULT in its DDL, or write {_fill_file(one, column)} to fill it.",
        )


def _differing(one: Declared, column: Column, found: FoundColumn) -> Iterator[Step]:
    name, alter = f"{one.name}.{column.name}", f"ALTER TABLE {one.name} ALTER COLUMN {column.name}"
    wanted = stored_type(column.type)
    if found.type != wanted:
        change = f"{found.type} becomes {wanted}"
        if is_wider(found.type, wanted):
            text = f"{alter} SET DATA TYPE {column.type}"
            yield Step(name, "column", Action.WIDEN_COLUMN, (text,), change)
        else:
            yield Step(
                name,
                "column",
                Action.DECIDE,
                detail=f"its type is {found.type}, expected {wanted}",
                remedy=f"Correct the DDL, or move the values into a new column and drop {column.name}.",
            )
    if found.nullable and not column.nullable:
        yield _tightened(one, column)
    elif column.nullable and not found.nullable:
        yield Step(name, "column", Action.ALLOW_NULL, (f"{alter} DROP NOT NULL",))
    if found.comment != column.comment:
        yield Step(name, "column", Action.COMMENT, (_comment_on(one, column),), "another comment")


def _tightened(one: Declared, column: Column) -> Step:
    fill = dict(one.fills).get(column.name)
    if fill:
        return _filled(one, column, fill)
    alter = f"ALTER TABLE {one.name} ALTER COLUMN {column.name} SET NOT NULL"
    return Step(
        f"{one.name}.{column.name}",
        "column",
        Action.DECIDE,
        detail="it takes NULL, expected NOT NULL",
        remedy=f"Fill the rows where it is NULL, then run {alter}.",
    )


def _more(one: Declared, table: FoundTable, missing: list[Column]) -> Iterator[Step]:
    """Columns the SQL does not name: kept, unless rows could not be written, or one was perhaps renamed."""
    known = {column.name for column in one.columns}
    for column, found in table.columns.items():
        if column in known:
            continue
        name, drop = f"{one.name}.{column}", f"ALTER TABLE {one.name} DROP COLUMN {column}"
        if missing:
            yield Step(
                name,
                "column",
                Action.DECIDE,
                detail=f"sql/ does not name it, and names {missing[0].name}, which is not there",
                remedy=f"Run ALTER TABLE {one.name} RENAME COLUMN {column} TO {missing[0].name} if it is the "
                f"same, otherwise {drop}.",
            )
        elif not found.nullable and not found.has_default:
            yield Step(
                name,
                "column",
                Action.DECIDE,
                detail="sql/ does not name it, and it is NOT NULL without a default: no row can be written",
                remedy=f"Run ALTER TABLE {one.name} ALTER COLUMN {column} DROP NOT NULL, or {drop}.",
            )
        else:
            detail = f"sql/ does not name it; its values are never dropped. By hand: {drop}"
            yield Step(name, "column", Action.KEPT, detail=detail)


def _filled(one: Declared, column: Column, fill: str) -> Step:
    alter = f"ALTER TABLE {one.name} ALTER COLUMN {column.name} SET NOT NULL"
    detail = "older rows get a value, then it is NOT NULL"
    return Step(f"{one.name}.{column.name}", "column", Action.FILL_COLUMN, (fill, alter), detail)


def _add(one: Declared, column: Column, nullable: bool = False) -> tuple[str, ...]:
    """The column, then its comment: the documented ADD COLUMN takes none."""
    default = f" DEFAULT {column.default}" if column.default else ""
    constraint = "" if column.nullable or nullable else " NOT NULL"
    # Snowflake takes IF NOT EXISTS not beside a DEFAULT.
    unless = "" if default else "IF NOT EXISTS "
    kind = f"{column.name} {column.type}"
    add = f"ALTER TABLE {one.name} ADD COLUMN {unless}{kind}{default}{constraint}"
    return (add, _comment_on(one, column)) if column.comment else (add,)


def _comment_on(one: Declared, column: Column) -> str:
    return f"COMMENT ON COLUMN {one.name}.{column.name} IS {_literal(column.comment)}"


def _fill_file(one: Declared, column: Column) -> str:
    return f"fill/{one.name.partition('.')[2].lower()}.{column.name.lower()}.sql"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
