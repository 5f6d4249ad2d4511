"""The statements sqlglot does not know: streams, tasks, blocks, transactions, sessions, stages' files, SHOW.

They are read token by token into small records; everything else is left to sqlglot's parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from caves_dagster.local.warehouse import scripting, task_syntax
from caves_dagster.local.warehouse.errors import syntax_error
from caves_dagster.local.warehouse.words import Words


@dataclass(frozen=True)
class CreateStream:
    """CREATE [OR REPLACE] STREAM [IF NOT EXISTS] name ON TABLE table [options]."""

    name: list[str]
    table: list[str]
    replace: bool
    exists: bool
    options: dict[str, str]


@dataclass(frozen=True)
class DropStream:
    """DROP STREAM [IF EXISTS] name."""

    name: list[str]
    exists: bool


@dataclass(frozen=True)
class DescribeStream:
    """DESCRIBE STREAM name."""

    name: list[str]


@dataclass(frozen=True)
class Show:
    """SHOW what [LIKE pattern] [IN scope name] [STARTS WITH text] [LIMIT n]."""

    what: str
    like: str | None = None
    scope: str | None = None
    name: list[str] = field(default_factory=list)
    starts: str | None = None
    limit: int | None = None
    terse: bool = False


@dataclass(frozen=True)
class AlterSession:
    """ALTER SESSION SET name = value … or UNSET name, …; an unset parameter is None."""

    parameters: dict[str, str | None]


@dataclass(frozen=True)
class Begin:
    """BEGIN [WORK | TRANSACTION] [NAME name]."""

    name: str | None


@dataclass(frozen=True)
class Remove:
    """REMOVE @stage/path [PATTERN = regex]."""

    location: str
    pattern: str | None


@dataclass(frozen=True)
class Accepted:
    """A statement that is taken and changes nothing here: warehouses, roles, grants."""


Command = (
    CreateStream
    | DropStream
    | DescribeStream
    | Show
    | AlterSession
    | Begin
    | Remove
    | Accepted
    | scripting.Block
    | task_syntax.TaskCommand
)

_SHOWN = {
    "TABLES",
    "VIEWS",
    "SCHEMAS",
    "DATABASES",
    "STREAMS",
    "TASKS",
    "STAGES",
    "OBJECTS",
    "COLUMNS",
    "TRANSACTIONS",
}
_SHOWN |= {"PARAMETERS", "WAREHOUSES"}


def read(sql: str) -> Command | None:
    """The record for a statement sqlglot does not know, or None."""
    words = Words(sql)
    if (task := task_syntax.read(words)) is not None:
        return task
    if (block := scripting.read(words)) is not None:
        return block
    if words.take("CREATE"):
        replace = words.take("OR", "REPLACE")
        if words.take("STREAM"):
            return _create_stream(words, replace)
        if words.take("WAREHOUSE") or words.take("ROLE"):
            return Accepted()
    elif words.take("DROP", "STREAM"):
        exists = words.take("IF", "EXISTS")
        return words.ended(DropStream(words.name(), exists))
    elif words.take("DESCRIBE", "STREAM") or words.take("DESC", "STREAM"):
        return words.ended(DescribeStream(words.name()))
    elif words.take("SHOW"):
        return _show(words)
    elif words.take("ALTER", "SESSION"):
        return _alter_session(words)
    elif words.take("ALTER", "WAREHOUSE") or words.take("GRANT") or words.take("USE", "SECONDARY"):
        return Accepted()
    elif words.take("BEGIN") or words.take("START", "TRANSACTION"):
        words.take("WORK") or words.take("TRANSACTION")
        name = words.name()[-1] if words.take("NAME") else None
        return words.ended(Begin(name))
    elif words.take("REMOVE") or words.take("RM"):
        return _remove(words)
    return None


def _create_stream(words: Words, replace: bool) -> CreateStream:
    exists = words.take("IF", "NOT", "EXISTS")
    name = words.name()
    if not words.take("ON", "TABLE"):
        raise syntax_error("only streams ON TABLE are supported.")
    table = words.name()
    return CreateStream(name, table, replace, exists, words.options())


def _show(words: Words) -> Show | Accepted | None:
    terse = words.take("TERSE")
    token = words.peek()
    if token is None or token.text.upper() not in _SHOWN:
        return None
    what = words.next().text.upper()
    words.take("HISTORY")
    like = words.string() if words.take("LIKE") else None
    scope, name = None, list[str]()
    if words.take("IN") or words.take("FOR"):
        scope = next(
            (s for s in ("ACCOUNT", "DATABASE", "SCHEMA", "TABLE", "VIEW", "SESSION") if words.take(s)), None
        )
        following = words.peek()
        if following is not None and following.text.upper() not in ("LIMIT", "STARTS"):
            name = words.name()
    starts = words.string() if words.take("STARTS", "WITH") else None
    limit = int(words.next().text) if words.take("LIMIT") else None
    return words.ended(Show(what, like, scope, name, starts, limit, terse))


def _alter_session(words: Words) -> AlterSession:
    if words.take("SET"):
        return AlterSession(dict(words.options()))
    if words.take("UNSET"):
        unset: dict[str, str | None] = {}
        while words.peek() is not None:
            unset[words.next().text.upper()] = None
            words.take(",")
        return AlterSession(unset)
    raise syntax_error("ALTER SESSION takes SET or UNSET.")


def _remove(words: Words) -> Remove:
    # sqlglot's tokenizer swallows what follows REMOVE whole; after LIST it reads the same text in tokens.
    rest = Words("LIST " + words.sql.lstrip().partition(" ")[2])
    rest.next()
    location = rest.string()
    if location is None:
        first = rest.next()
        start, end = first.start, first.end
        while (token := rest.peek()) is not None and token.start == end + 1:
            end = rest.next().end
        location = rest.sql[start : end + 1]
    return Remove(location, rest.options().get("PATTERN"))
