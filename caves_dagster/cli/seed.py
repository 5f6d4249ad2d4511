"""`caves seed`: made-up history in files, the same for the same options."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from caves_dagster.errors import CavesError
from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop


def seed(
    shop: Annotated[str | None, typer.Option(help="Whose history; the first shop's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    days: Annotated[int | None, typer.Option(help="Days of sales, up to and with --end-date.")] = None,
    end_date: Annotated[str | None, typer.Option(help="Last day of sales, YYYY-MM-DD.")] = None,
    customers: Annotated[int | None, typer.Option(help="Number of customers.")] = None,
    products: Annotated[int | None, typer.Option(help="Number of products.")] = None,
    sales: Annotated[
        int | None, typer.Option("--sales", "--orders", help="Number of sales over all the days.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV files too.")] = False,
) -> None:
    """Write made-up history for the batch half to SQLite and CSV. Same options, same bytes."""
    from caves_dagster.batch.seed_files import parse_end_date, write_seed

    declared = find_shop(load_settings(), shop)
    if declared.seed is None:
        raise CavesError(f"The shop {declared.name!r} declares no seed.", "Load its own history instead.")
    given: dict[str, Any] = {
        "seed": seed,
        "days": days,
        "end_date": parse_end_date(end_date) if end_date else None,
        "customers": customers,
        "products": products,
        "sales": sales,
    }
    options = replace(declared.seed.defaults, **{k: v for k, v in given.items() if v is not None})
    began = time.monotonic()
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        totals = {
            "customers": options.customers,
            "inventory": options.products,
            "sales": options.sales,
            "orders": options.sales,
        }
        tasks: dict[str, Any] = {}

        def show(table: str, rows: int) -> None:
            if table not in tasks:
                tasks[table] = progress.add_task(table, total=totals.get(table))
            progress.update(tasks[table], completed=rows)

        written = write_seed(declared, options, csv, show)
    console = Console(soft_wrap=True, highlight=False)
    for path in written.files:
        console.print(escape(str(path)))
    rows = ", ".join(f"{count:,} {table}" for table, count in written.rows.items())
    console.print(f"{rows}; seed {options.seed}, {time.monotonic() - began:.1f} s.")
