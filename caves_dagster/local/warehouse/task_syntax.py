"""The statements about tasks, read into small records.

What Snowflake allows and this server does not is refused here by name: cron schedules, finalizers,
configurations, integrations, tags, clones, overlapping runs, tasks triggered by a stream without a schedule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from caves_dagster.local.warehouse.errors import syntax_error, unsupported
from caves_dagster.local.warehouse.words import Words


@dataclass(frozen=True)
class CreateTask:
    """CREATE [OR REPLACE | OR ALTER] TASK [IF NOT EXISTS] name options [AFTER …] [WHEN …] AS definition."""

    name: list[str]
    replace: bool
    alter: bool
    exists: bool
    definition: str
    options: dict[str, str] = field(default_factory=dict)
    after: list[list[str]] = field(default_factory=list)
    condition: str | None = None


@dataclass(frozen=True)
class AlterTask:
    """ALTER TASK [IF EXISTS] name action.

    `action` is RESUME, SUSPEND, SET, UNSET, AS, WHEN, ADD AFTER, REMOVE AFTER or REMOVE WHEN; the other
    fields are what it takes.
    """

    name: list[str]
    exists: bool
    action: str
    options: dict[str, str] = field(default_factory=dict)
    unset: list[str] = field(default_factory=list)
    after: list[list[str]] = field(default_factory=list)
    text: str = ""


@dataclass(frozen=True)
class DropTask:
    """DROP TASK [IF EXISTS] name."""

    name: list[str]
    exists: bool


@dataclass(frozen=True)
class DescribeTask:
    """DESCRIBE TASK name."""

    name: list[str]


@dataclass(frozen=True)
class ExecuteTask:
    """EXECUTE TASK name."""

    name: list[str]


TaskCommand = CreateTask | AlterTask | DropTask | DescribeTask | ExecuteTask


def read(words: Words) -> TaskCommand | None:
    """The record, or None with the cursor where it was if the statement is not about a task.

    Raises:
        StatementError: it is about a task and does not parse, or asks for what is not supported.
    """
    at = words.at
    if words.take("CREATE"):
        replace, alter = words.take("OR", "REPLACE"), words.take("OR", "ALTER")
        if words.take("TASK"):
            return _create(words, replace, alter)
    elif words.take("ALTER", "TASK"):
        return _alter(words)
    elif words.take("DROP", "TASK"):
        exists = words.take("IF", "EXISTS")
        return words.ended(DropTask(words.name(), exists))
    elif words.take("DESCRIBE", "TASK") or words.take("DESC", "TASK"):
        return words.ended(DescribeTask(words.name()))
    elif words.take("EXECUTE", "TASK"):
        name = words.name()
        if words.peek() is not None:
            raise unsupported(f"EXECUTE TASK … {words.rest()}")
        return ExecuteTask(name)
    words.at = at
    return None


def _create(words: Words, replace: bool, alter: bool) -> CreateTask:
    exists = words.take("IF", "NOT", "EXISTS")
    name = words.name()
    if words.take("CLONE"):
        raise unsupported("CREATE TASK … CLONE")
    options: dict[str, str] = {}
    after: list[list[str]] = []
    condition = None
    while not words.take("AS"):
        if words.peek() is None:
            raise syntax_error("a task needs AS and what it is to run.")
        if words.take("AFTER"):
            after = _names(words)
        elif words.take("WHEN"):
            condition = _until_as(words)
        elif words.take("WITH", "TAG") or words.take("TAG") or words.take("COPY", "GRANTS"):
            raise unsupported("tags and grants of a task")
        else:
            key, value = words.option()
            options[key] = value
    return CreateTask(name, replace, alter, exists, words.rest(), options, after, condition)


def _alter(words: Words) -> AlterTask:
    exists = words.take("IF", "EXISTS")
    name = words.name()
    for action in ("RESUME", "SUSPEND"):
        if words.take(action):
            return words.ended(AlterTask(name, exists, action))
    if words.take("SET"):
        return AlterTask(name, exists, "SET", options=words.options())
    if words.take("UNSET"):
        unset = [words.next().text.upper()]
        while words.take(","):
            unset.append(words.next().text.upper())
        return words.ended(AlterTask(name, exists, "UNSET", unset=unset))
    if words.take("REMOVE", "WHEN"):
        return words.ended(AlterTask(name, exists, "REMOVE WHEN"))
    for action in ("ADD AFTER", "REMOVE AFTER"):
        if words.take(*action.split()):
            return words.ended(AlterTask(name, exists, action, after=_names(words)))
    for action in ("AS", "WHEN"):
        if words.take("MODIFY", action):
            return AlterTask(name, exists, action, text=words.rest())
    raise unsupported(f"ALTER TASK … {words.rest()}" if words.peek() else "ALTER TASK without an action")


def _names(words: Words) -> list[list[str]]:
    names = [words.name()]
    while words.take(","):
        names.append(words.name())
    return names


def _until_as(words: Words) -> str:
    """The text of an expression that ends before AS; AS inside parentheses is CAST's."""
    start = words.next()
    end, depth = start, int(start.text == "(")
    while (token := words.peek()) is not None and not (depth == 0 and token.text.upper() == "AS"):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        end = words.next()
    return words.sql[start.start : end.end + 1]
