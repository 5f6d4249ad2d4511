"""`python -m caves_dagster_tests.faults --kills 200 --seed 1`: exit code 1 when a promise was broken."""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console
from snowflake.connector import errors as connector_errors

from caves_dagster_tests.brokers import CACHE
from caves_dagster_tests.faults.executioner import LIMIT_SECONDS, carry_out
from caves_dagster_tests.faults.plan import make_plan
from caves_dagster_tests.faults.stack import running_stack


def main() -> int:
    """Run the suite and print its table."""
    parser = argparse.ArgumentParser(prog="caves_dagster_tests.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, help="repeats a plan; drawn and printed otherwise")
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds a recovery may take")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then no more kills, and the verdict")
    parser.add_argument("--home", type=Path, help="keep everything there (a new folder); else it is removed")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{options.kills} kills, seed {seed}.", highlight=False)
    threading.excepthook = _say_other_than_the_connector
    with tempfile.TemporaryDirectory(prefix="caves-faults-") as folder:
        home = (options.home or Path(folder)) / "home"
        with running_stack(home, CACHE) as stack:
            report = carry_out(
                stack,
                make_plan(seed, options.kills),
                seed,
                options.limit,
                60 * options.minutes,
                lambda line: console.print(line, highlight=False, markup=False),
            )
    report.print(console)
    return 0 if report.good else 1


def _say_other_than_the_connector(arguments: threading.ExceptHookArgs) -> None:
    """Its attempt to cancel a statement, from a thread of its own, fails while the server is away."""
    if not isinstance(arguments.exc_value, connector_errors.Error):
        threading.__excepthook__(arguments)


if __name__ == "__main__":
    sys.exit(main())
