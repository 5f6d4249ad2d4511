"""CREATE, ALTER, DROP and DESCRIBE TASK, and SYSTEM$TASK_DEPENDENTS_ENABLE.

As on Snowflake a graph may change only while its root is suspended; 091421 otherwise. Suspending and resuming
the root itself is always possible.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from caves_dagster.local.warehouse import commands, results, task_options, tasks
from caves_dagster.local.warehouse.errors import (
    StatementError,
    already_exists,
    not_found,
    syntax_error,
    unsupported,
)
from caves_dagster.local.warehouse.names import HIDDEN, Name, literal, quote, resolve
from caves_dagster.local.warehouse.task_syntax import AlterTask, CreateTask, DescribeTask, DropTask
from caves_dagster.local.warehouse.tasks import Task
from caves_dagster.local.warehouse.words import Words

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session


def create(session: Session, command: CreateTask) -> results.Result:
    """CREATE [OR REPLACE | OR ALTER] TASK. A new task is suspended."""
    name = resolve(command.name, session.database, session.schema)
    session.require_schema(name)
    known = session.catalog.tasks.get(name)
    if known is not None and command.exists:
        return results.status(f"{name.name} already exists, statement succeeded.")
    if known is not None and not (command.replace or command.alter):
        raise already_exists(name.name)
    _check_definition(command.definition)
    _check_condition(command.condition)
    fields, comment = task_options.read(command.options)
    fields |= {"definition": command.definition, "condition": command.condition}
    fields["predecessors"] = _predecessors(name, command.after, session)
    if known is not None and command.alter:
        made = task_options.apply(Task(name, ""), fields)
        kept = ("id", "started", "started_on", "suspended_on", "suspended_reason", "changed")
        task = replace(made, **{key: getattr(known, key) for key in kept})
        _save(session, task, comment=comment, sets_comment=True)
        return results.status()
    if known is not None:
        _check_suspended(session, known)
    task = task_options.apply(Task(name, ""), fields)
    _check_graph(session, task)
    with session.ddl(name.database):
        session.catalog.record(session.cursor, "TASK", name, comment=comment, options=task.options())
        if not task.is_root:
            _count_change(session, task)
    return results.status(f"Task {name.name} successfully created.")


def alter(session: Session, command: AlterTask) -> results.Result:
    """ALTER TASK."""
    name = resolve(command.name, session.database, session.schema)
    task = session.catalog.tasks.get(name)
    if task is None:
        if command.exists:
            return results.status()
        raise not_found("Task", name.dotted)
    if command.action in ("RESUME", "SUSPEND"):
        _switch(session, task, start=command.action == "RESUME")
        return results.status()
    comment, sets_comment = None, False
    if command.action == "SET":
        fields, comment = task_options.read(command.options)
        sets_comment = "COMMENT" in command.options
        task = task_options.apply(task, fields)
    elif command.action == "UNSET":
        task, sets_comment = task_options.unset(task, command.unset)
    elif command.action == "AS":
        _check_definition(command.text)
        task = replace(task, definition=command.text)
    elif command.action in ("WHEN", "REMOVE WHEN"):
        _check_condition(command.text or None)
        task = replace(task, condition=command.text or None)
    else:
        given = _predecessors(name, command.after, session)
        kept = tuple(p for p in task.predecessors if p not in given)
        task = replace(task, predecessors=kept + (given if command.action == "ADD AFTER" else ()))
    _save(session, task, comment=comment, sets_comment=sets_comment)
    return results.status()


def drop(session: Session, command: DropTask) -> results.Result:
    """DROP TASK. What ran after it alone becomes a root, suspended."""
    name = resolve(command.name, session.database, session.schema)
    task = session.catalog.tasks.get(name)
    if task is None:
        if command.exists:
            return results.status("Drop statement executed successfully.")
        raise not_found("Task", name.dotted)
    if not task.is_root:
        _check_suspended(session, task)
    with session.ddl(name.database):
        for child in tasks.children(session.catalog.tasks, name):
            left = replace(child, predecessors=tuple(p for p in child.predecessors if p != name.name))
            tasks.write(session.cursor, left.suspend("CHILD_BECAME_ROOT") if left.is_root else left)
        session.catalog.forget(session.cursor, "TASK", name)
    return results.status(f"{name.name} successfully dropped.")


def describe(session: Session, command: DescribeTask) -> results.Result:
    """DESCRIBE TASK: the same row as SHOW TASKS."""
    name = resolve(command.name, session.database, session.schema)
    if name not in session.catalog.tasks:
        raise not_found("Task", name.dotted)
    where = f'WHERE "schema_name" = {literal(name.schema)} AND "name" = {literal(name.name)}'
    shown = f"SELECT * FROM ({tasks.show_sql({name.database})}) {where}"
    return results.fetch(session.cursor, shown, results.DESCRIBE)


def enable_dependents(session: Session, text: str) -> str:
    """SYSTEM$TASK_DEPENDENTS_ENABLE: resume a task and everything below it."""
    name = resolve(Words(text).name(), session.database, session.schema)
    known = session.catalog.tasks
    if name not in known:
        raise not_found("Task", name.dotted)
    for task in reversed(tasks.graph(known, known[name])):  # the root last, as it locks the others
        if not task.started:
            _switch(session, task, start=True)
    return "Statement executed successfully."


def _switch(session: Session, task: Task, *, start: bool) -> None:
    """Resume or suspend a task; nothing happens to one that is so already."""
    if not task.is_root:
        _check_suspended(session, task)
    if start and task.is_root and task.schedule is None:
        raise StatementError(
            f"Task {task.name.dotted} cannot be resumed since it has neither a schedule nor a predecessor.",
            91088,
            "22000",
        )
    if start != task.started:
        with session.ddl(task.name.database):
            tasks.write(session.cursor, task.start() if start else task.suspend("USER_SUSPENDED"))


def _save(session: Session, task: Task, *, comment: str | None, sets_comment: bool) -> None:
    """Write a changed task, once its old graph and its new one allow it."""
    _check_suspended(session, session.catalog.tasks[task.name])
    _check_graph(session, task)
    if task.is_root and task.schedule is None and task.started:
        task = task.suspend("CHILD_BECAME_ROOT")
    with session.ddl(task.name.database):
        tasks.write(session.cursor, task)
        _count_change(session, task)
        if sets_comment:
            session.cursor.execute(
                f"UPDATE {quote(task.name.database)}.{HIDDEN}.objects SET comment = ? "
                "WHERE kind = 'TASK' AND schema_name = ? AND name = ?",
                [comment, task.name.schema, task.name.name],
            )


def _count_change(session: Session, task: Task) -> None:
    """A graph has a new version when one of its tasks changes."""
    known = session.catalog.tasks
    for root in tasks.roots({**known, task.name: task}, task):
        before = task if root == task.name else known[root]
        if root in known:
            tasks.write(session.cursor, replace(before, changed=before.changed + 1))


def _check_suspended(session: Session, task: Task) -> None:
    known = session.catalog.tasks
    for root in sorted(tasks.roots(known, task)):
        if known[root].started:
            raise StatementError(
                f"Unable to update graph with root task {root.dotted} since that root task is not suspended.",
                91421,
                "22000",
            )


def _check_graph(session: Session, task: Task) -> None:
    """Refuse a task that would make a circle, join two graphs, or change one whose root is started."""
    known = {**session.catalog.tasks, task.name: task}
    above = tasks.roots(known, task)
    if task.name in tasks.ancestors(known, task):
        raise StatementError(f"Task {task.name.dotted} cannot run after itself.", 91420, "22000")
    if len(above) > 1:
        names = ", ".join(sorted(root.dotted for root in above))
        raise StatementError(
            f"Task {task.name.dotted} would have more than one root: {names}.", 91420, "22000"
        )
    if task.predecessors:
        _check_suspended(session, known[min(above)])
        if task.schedule is not None:
            raise StatementError(
                f"Task {task.name.dotted} cannot have a schedule since it has a predecessor.", 91422, "22000"
            )


def _predecessors(name: Name, given: list[list[str]], session: Session) -> tuple[str, ...]:
    found = []
    for parts in given:
        above = resolve(parts, name.database, name.schema)  # where the task is, not the current schema
        if above[:2] != name[:2]:
            raise StatementError(
                f"Task {name.dotted} must be in the same schema as its predecessor {above.dotted}.",
                91419,
                "22000",
            )
        if above not in session.catalog.tasks:
            raise not_found("Task", above.dotted)
        found.append(above.name)
    return tuple(dict.fromkeys(found))


def _check_definition(text: str) -> None:
    """Refuse what could not run for its grammar; whether its tables exist is found out when it runs."""
    if commands.read(text) is not None:
        return
    trees = [tree for tree in sqlglot.parse(text, read="snowflake") if tree is not None]
    if len(trees) != 1 or isinstance(trees[0], exp.Command):
        raise unsupported(f"a task that runs {text.splitlines()[0][:80]!r}")


def _check_condition(text: str | None) -> None:
    if text is not None and len(sqlglot.parse(f"SELECT {text}", read="snowflake")) != 1:
        raise syntax_error("WHEN takes one expression.")
