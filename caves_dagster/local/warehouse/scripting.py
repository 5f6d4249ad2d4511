"""Snowflake Scripting, as much as a task needs: a block of plain statements, with a handler.

    BEGIN
        BEGIN TRANSACTION;
        …;
        COMMIT;
    EXCEPTION
        WHEN OTHER THEN
            ROLLBACK;
            RAISE;
    END

The statements run in order in one session; where one fails the handler runs, and RAISE fails the block with
the same error. A block may be run as it stands or by EXECUTE IMMEDIATE. A transaction that it leaves open is
rolled back and fails it. Everything else of the language is refused: variables, branches, loops, cursors,
RETURN, CALL, nested blocks, handlers of named exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import TokenType

from caves_dagster.local.warehouse import results
from caves_dagster.local.warehouse.errors import StatementError, syntax_error, unsupported
from caves_dagster.local.warehouse.words import Words

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

_TRANSACTION = {"WORK", "TRANSACTION", "NAME"}
_REFUSED = {"LET", "IF", "FOR", "WHILE", "LOOP", "REPEAT", "CASE", "RETURN", "CALL", "OPEN", "FETCH", "CLOSE",
            "BREAK", "CONTINUE", "NULL", "AWAIT", "ASYNC", "DECLARE", "CANCEL"}  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """One statement of a block, with the line and the position in it where it starts, from 1 and from 0."""

    text: str
    line: int
    position: int


@dataclass(frozen=True)
class Block:
    """A block. `handler` is None where it has none; RAISE is a statement of it."""

    body: list[Statement]
    handler: list[Statement] | None = None


def read(words: Words) -> Block | None:
    """The block a statement is, or holds in EXECUTE IMMEDIATE; None if it is another statement.

    Raises:
        StatementError: it is a block that does not parse, or has what is not supported.
    """
    if words.take("EXECUTE", "IMMEDIATE"):
        text = words.string()
        if text is None:
            raise unsupported("EXECUTE IMMEDIATE of anything but a text")
        inner = words.ended(Words(text))
        return read(inner) or Block([Statement(text, 1, 0)])
    if words.take("DECLARE"):
        raise unsupported("DECLARE in a block")
    at = words.at
    if not words.take("BEGIN"):
        return None
    following = words.peek()
    if following is None or following.text.upper() in _TRANSACTION:
        words.at = at  # BEGIN alone, or BEGIN TRANSACTION: not a block
        return None
    return _block(words)


def run(session: Session, block: Block) -> results.Result:
    """Run a block in a session; the caller holds its lock.

    Raises:
        StatementError: what a statement failed with, and where, if no handler took it; 90232, if the block
            ended in a transaction that it had begun.
    """
    within = session.transactions.open
    try:
        _run_all(session, block.body)
    except StatementError as error:
        if block.handler is None:
            raise
        _run_all(session, block.handler, raised=error)
    if session.transactions.open is not None and session.transactions.open is not within:
        session.transactions.rollback()
        raise StatementError(
            "Stored procedure execution error: Scoped transaction started in stored procedure is incomplete "
            "and it was rolled back.",
            90232,
            "22000",
        )
    return results.rows({"anonymous block": "VARCHAR"}, [(None,)], results.SELECT)


def _run_all(session: Session, statements: list[Statement], raised: StatementError | None = None) -> None:
    for statement in statements:
        if raised is not None and statement.text.upper() == "RAISE":
            raise raised
        try:
            session.execute(statement.text)
        except StatementError as error:
            where = f"on line {statement.line} at position {statement.position}"
            message = f"Uncaught exception of type 'STATEMENT_ERROR' {where} : {error.message}"
            raise StatementError(message, error.errno, error.sqlstate) from error


def _block(words: Words) -> Block:
    """The rest of a block whose BEGIN has been read."""
    body: list[Statement] = []
    handler: list[Statement] | None = None
    while not words.take("END"):
        if handler is None and words.take("EXCEPTION"):
            if not words.take("WHEN", "OTHER", "THEN"):
                raise unsupported("an exception handler other than WHEN OTHER THEN")
            handler = []
            continue
        statement = _statement(words)
        if handler is None and statement.text.upper() == "RAISE":
            raise unsupported("RAISE outside an exception handler")
        (body if handler is None else handler).append(statement)
    words.take(";")
    return words.ended(Block(body, handler))


def _statement(words: Words) -> Statement:
    first = last = words.next()
    word = first.text.upper()
    following = words.peek()
    nested = word == "BEGIN" and (following is None or following.text.upper() not in (*_TRANSACTION, ";"))
    assigns = following is not None and following.text == ":="
    if word in _REFUSED or word == "EXCEPTION" or nested or assigns:
        raise unsupported(f"{'a nested block' if nested else first.text} in a block")
    if first.token_type == TokenType.SEMICOLON:
        raise syntax_error("unexpected ';'.")
    while not words.take(";"):
        if words.peek() is None:
            raise syntax_error("a statement of a block has no ';' after it.")
        last = words.next()
    text = words.sql[first.start : last.end + 1]
    line_start = words.sql.rfind("\n", 0, first.start) + 1
    return Statement(text, words.sql.count("\n", 0, first.start) + 1, first.start - line_start)
