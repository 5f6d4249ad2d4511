"""MERGE: the joined rows and what becomes of each go into a temporary table, then are applied clause by
clause.

Not DuckDB's own MERGE: it does not run on a table with triggers, which is a table with streams, and it
takes duplicate source rows without a word. The join is computed once, the check for duplicates and the
counts come from its result, and everything happens in one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from caves_dagster.local.warehouse import results
from caves_dagster.local.warehouse.errors import StatementError, duplicate_rows, unsupported
from caves_dagster.local.warehouse.names import Name, quote, resolve_table
from caves_dagster.local.warehouse.translate import to_duckdb

if TYPE_CHECKING:
    from caves_dagster.local.warehouse.session import Session

_PLAN = "temp.main._caves_merge"


def run(session: Session, tree: exp.Merge) -> results.Result:
    """Run a MERGE whose tree is normalised.

    Raises:
        StatementError: 100090, if a row of the target would be updated by more than one row of the source.
    """
    target = resolve_table(tree.this, session.database, session.schema)
    clauses = [_Clause(index, when) for index, when in enumerate(tree.args["whens"].expressions)]
    plan = to_duckdb(_plan(tree, target, clauses), session.context())
    cursor = session.cursor
    with session.transactions.atomic():
        cursor.execute(f"CREATE OR REPLACE TEMP TABLE _caves_merge AS {plan}")
        _refuse_duplicates(session, clauses)
        affected = {"inserted": 0, "updated": 0, "deleted": 0}
        for clause in clauses:
            row = cursor.execute(clause.apply(target)).fetchall()
            affected[clause.verb] += int(row[0][0]) if row else 0
        cursor.execute(f"DROP TABLE {_PLAN}")
    verbs = {clause.verb for clause in clauses}
    return results.counts(
        results.MERGE, **{f"rows_{verb}": count for verb, count in affected.items() if verb in verbs}
    )


class _Clause:
    """One WHEN clause: its condition, and the columns and values it writes."""

    def __init__(self, index: int, when: exp.When) -> None:
        if when.args.get("source"):
            raise unsupported("WHEN NOT MATCHED BY SOURCE")
        self.index = index
        self.matched = bool(when.args.get("matched"))
        self.condition: exp.Expr | None = when.args.get("condition")
        then = when.args["then"]
        self.columns: list[str] = []
        self.values: list[exp.Expr] = []
        if isinstance(then, exp.Update):
            self.verb = "updated"
            for item in then.expressions:
                self.columns.append(item.this.name)
                self.values.append(item.expression)
        elif isinstance(then, exp.Insert):
            self.verb = "inserted"
            self.columns = [column.name for column in then.this.expressions] if then.this else []
            self.values = list(then.expression.expressions)
            if self.columns and len(self.columns) != len(self.values):
                raise StatementError(
                    "SQL compilation error:\nInsert value list does not match column list", 1003
                )
        else:
            self.verb = "deleted"

    def test(self, row: exp.Column) -> exp.Expr:
        """When this clause applies, given the target's row number in the join."""
        found: exp.Expr = exp.Is(this=row.copy(), expression=exp.Null())
        if self.matched:
            found = exp.Not(this=found)
        return exp.and_(found, self.condition.copy()) if self.condition is not None else found

    def value_columns(self) -> list[exp.Expr]:
        """The values to write, computed only for the rows this clause applies to.

        A bare column cannot fail on another row and needs no condition. That matters: DuckDB writes the
        clauses' conditions out in full wherever they stand, and for a wide table spent seconds on it.
        """
        applies = exp.EQ(this=exp.column("_caves_op", quoted=True), expression=exp.Literal.number(self.index))
        return [
            exp.alias_(
                value.copy()
                if isinstance(value, exp.Column)
                else exp.Case(ifs=[exp.If(this=applies.copy(), true=value.copy())]),
                self._slot(place),
                quoted=True,
            )
            for place, value in enumerate(self.values)
        ]

    def apply(self, target: Name) -> str:
        """The DuckDB statement that writes this clause's rows."""
        slots = [f"m.{quote(self._slot(place))}" for place in range(len(self.values))]
        mine = f"m._caves_op = {self.index}"
        if self.verb == "inserted":
            names = f"({', '.join(quote(column) for column in self.columns)})" if self.columns else ""
            return f"INSERT INTO {target.sql} {names} SELECT {', '.join(slots)} FROM {_PLAN} m WHERE {mine}"
        if self.verb == "deleted":
            return f"DELETE FROM {target.sql} t USING {_PLAN} m WHERE t.rowid = m._caves_row AND {mine}"
        pairs = zip(self.columns, slots, strict=True)
        sets = ", ".join(f"{quote(column)} = {slot}" for column, slot in pairs)
        return f"UPDATE {target.sql} t SET {sets} FROM {_PLAN} m WHERE t.rowid = m._caves_row AND {mine}"

    def _slot(self, place: int) -> str:
        return f"_caves_{self.index}_{place}"


def _plan(tree: exp.Merge, target: Name, clauses: list[_Clause]) -> exp.Select:
    alias = tree.this.alias or tree.this.name
    row = exp.column("rowid", table=exp.to_identifier(alias, quoted=True))
    operation = exp.Case(
        ifs=[exp.If(this=c.test(row), true=exp.Literal.number(c.index)) for c in clauses], default=exp.Null()
    )
    columns = [
        exp.alias_(row.copy(), "_caves_row", quoted=True),
        exp.alias_(operation, "_caves_op", quoted=True),
        *[column for clause in clauses for column in clause.value_columns()],
    ]
    source = exp.alias_(target.table(), alias, table=True, quoted=True)
    inner = (
        exp.select(*columns)
        .from_(source)
        .join(tree.args["using"].copy(), on=tree.args["on"], join_type="right")
    )
    if tree.args.get("with_"):
        inner.set("with_", tree.args["with_"].copy())
    return inner


def _refuse_duplicates(session: Session, clauses: list[_Clause]) -> None:
    updates = ", ".join(str(c.index) for c in clauses if c.verb == "updated")
    if not updates:
        return
    # A row that several source rows delete is not in doubt; one that any of them updates is.
    twice = session.cursor.execute(
        f"SELECT 1 FROM {_PLAN} WHERE _caves_row IS NOT NULL AND _caves_op IS NOT NULL "
        f"GROUP BY _caves_row HAVING count(*) > 1 AND bool_or(_caves_op IN ({updates})) LIMIT 1"
    ).fetchall()
    if twice:
        raise duplicate_rows()
