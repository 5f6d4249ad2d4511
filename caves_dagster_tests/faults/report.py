"""The table of a fault suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from caves_dagster_tests.faults.plan import Kill, Target
from caves_dagster_tests.faults.verdict import Verdict


@dataclass
class Suffered:
    """One kill that took place.

    Attributes:
        at: when, seconds since 1970.
        back_at: when the process was there again; for a run, `at`.
        recovered_at: when events made after `back_at` were seen in PRODUCTION; None when the next kill came
            before that, or it never happened.
        in_transaction: whether the victim had a transaction open.
    """

    kill: Kill
    at: float
    back_at: float
    recovered_at: float | None = None
    overtaken: bool = False
    in_transaction: bool = False

    @property
    def recovery_seconds(self) -> float | None:
        """From the process being back; None where it was overtaken by the next kill."""
        return None if self.recovered_at is None else self.recovered_at - self.back_at


@dataclass
class Report:
    """What a fault suite found."""

    seed: int
    limit_seconds: float
    kills: list[Suffered] = field(default_factory=list)
    seconds: float = 0.0
    acknowledged: int = 0
    unknown: int = 0
    unknown_landed: int = 0
    dead_letters: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=Verdict)
    checks: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def slow(self) -> list[Suffered]:
        """Recoveries over the limit, and those that never came."""
        return [
            one
            for one in self.kills
            if not one.overtaken
            and (one.recovery_seconds is None or one.recovery_seconds > self.limit_seconds)
        ]

    @property
    def good(self) -> bool:
        """Nothing lost, nothing doubled, every recovery in time, every check passed, no run left."""
        passed = all(status == "PASS" for status in self.checks.values()) and bool(self.checks)
        return self.verdict.good and passed and not self.slow and not self.problems

    def print(self, console: Console) -> None:
        """The table, and what there is to say below it."""
        console.print(self.table())
        for line in self.lines():
            console.print(line, highlight=False)

    def table(self) -> Table:
        """Kills and recoveries by target."""
        table = Table(title=f"{len(self.kills)} kills, seed {self.seed}, {self.seconds:.0f} s")
        for column in ("killed", "times", "in a transaction", "during recovery"):
            table.add_column(column, justify="left" if column == "killed" else "right")
        for column in ("min", "median", "max"):
            table.add_column(f"{column} s to recover", justify="right")
        for target in Target:
            mine = [one for one in self.kills if one.kill.target is target]
            table.add_row(target.value, *_figures(mine))
        table.add_section()
        table.add_row("all", *_figures(self.kills))
        return table

    def lines(self) -> list[str]:
        """What there is to say below the table."""
        found = self.verdict
        runs = ", ".join(f"{count} {status.lower()}" for status, count in sorted(self.runs.items()))
        lines = [
            f"{self.acknowledged:,} messages acknowledged, {self.unknown:,} of unknown fate "
            f"({self.unknown_landed:,} of those arrived), {self.dead_letters:,} dead letters.",
            f"{len(found.lost)} lost, {len(found.doubled)} doubled, {len(found.strange)} never sent.",
            f"Checks: {', '.join(f'{name} {status}' for name, status in self.checks.items())}.",
            f"Runs: {runs}.",
        ]
        for what, names in (("Lost", found.lost), ("Doubled", found.doubled), ("Never sent", found.strange)):
            lines += [f"{what}: {', '.join(names[:10])}"] if names else []
        for one in self.slow:
            took = one.recovery_seconds
            outcome = (
                f"not within {3 * self.limit_seconds:.0f} s" if took is None else f"recovered in {took:.1f} s"
            )
            lines.append(f"Over the limit: kill {one.kill.number + 1} ({one.kill.target}) {outcome}.")
        return lines + self.problems


def _figures(kills: Sequence[Suffered]) -> list[str]:
    took = [one.recovery_seconds for one in kills if one.recovery_seconds is not None]
    inside = sum(one.in_transaction for one in kills)
    double = sum(one.kill.double for one in kills)
    spread = [f"{figure(took):.1f}" if took else "-" for figure in (min, median, max)]
    return [str(len(kills)), str(inside), str(double), *spread]
