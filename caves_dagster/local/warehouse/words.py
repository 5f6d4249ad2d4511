"""A cursor over the tokens of one statement, by sqlglot's own Snowflake tokenizer."""

from __future__ import annotations

from typing import TypeVar

import sqlglot
from sqlglot import Token, TokenType

from caves_dagster.local.warehouse.errors import syntax_error

_T = TypeVar("_T")


class Words:
    """A cursor over the tokens of one statement."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens: list[Token] = sqlglot.tokenize(sql, read="snowflake")
        while self.tokens and self.tokens[-1].token_type == TokenType.SEMICOLON:
            self.tokens.pop()
        self.at = 0
        if len(self.tokens) > 1 and self.tokens[0].token_type == TokenType.EXECUTE:
            # sqlglot swallows what follows EXECUTE whole; after LIST it reads the same text in tokens.
            end = self.tokens[0].end + 1
            self.tokens[1:] = Words("LIST".rjust(end) + sql[end:]).tokens[1:]

    def peek(self) -> Token | None:
        """The next token."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *words: str) -> bool:
        """Step over these words, if they come next."""
        ahead = [w for t in self.tokens[self.at : self.at + len(words)] for w in t.text.upper().split()]
        if ahead[: len(words)] != list(words):
            return False
        left = len(words)
        while left > 0:
            left -= len(self.tokens[self.at].text.split())
            self.at += 1
        return True

    def next(self) -> Token:
        """The next token, stepped over."""
        token = self.peek()
        if token is None:
            raise syntax_error("unexpected end of statement.")
        self.at += 1
        return token

    def string(self) -> str | None:
        """A string literal, if it comes next."""
        token = self.peek()
        if token is None or token.token_type not in (TokenType.STRING, TokenType.RAW_STRING):
            return None
        self.at += 1
        return token.text

    def name(self) -> list[str]:
        """A name of one to three parts, folded as Snowflake does."""
        parts = [self._identifier()]
        while self.take("."):
            parts.append(self._identifier())
        return parts

    def options(self) -> dict[str, str]:
        """`KEY = value` pairs up to the end."""
        found: dict[str, str] = {}
        while self.peek() is not None:
            key, value = self.option()
            found[key] = value
        return found

    def option(self) -> tuple[str, str]:
        """One `KEY = value`, and the comma after it if there is one."""
        key = self.next().text.upper()
        if not self.take("="):
            raise syntax_error(f"unexpected '{key}'.")
        value = self.next()
        negative = value.text == "-"
        text = ("-" + self.next().text) if negative else value.text
        self.take(",")
        return key, text

    def rest(self) -> str:
        """The text from the next token to the end, as it was written; nothing is left after it."""
        start = self.next().start
        self.at = len(self.tokens)
        return self.sql[start : self.tokens[-1].end + 1]

    def ended(self, result: _T) -> _T:
        """The result, once nothing is left."""
        if (token := self.peek()) is not None:
            raise syntax_error(f"unexpected '{token.text}'.")
        return result

    def _identifier(self) -> str:
        token = self.next()
        if token.token_type == TokenType.IDENTIFIER:
            return token.text
        if not token.text.replace("_", "").replace("$", "").isalnum():
            raise syntax_error(f"unexpected '{token.text}'.")
        return token.text.upper()
