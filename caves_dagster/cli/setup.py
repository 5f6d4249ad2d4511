"""`caves setup`: what the warehouse needs before the first event."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from caves_dagster.settings import load_settings
from caves_dagster.shops import find_shop, shops


def setup(shop: Annotated[str | None, typer.Option(help="Only this shop.")] = None) -> None:
    """Deploy without asking: `caves snowflake deploy --yes`, without its table."""
    # The connector takes most of a second to import: not for the sake of another command.
    from caves_dagster.declared_sql import check_sql
    from caves_dagster.deploy.carry_out import set_up
    from caves_dagster.warehouse.connection import Warehouse

    settings = load_settings()
    chosen = [find_shop(settings, shop)] if shop else shops(settings)
    console = Console(soft_wrap=True, highlight=False)
    with Warehouse(settings.snowflake) as warehouse:
        for one in chosen:
            check_sql(one)
            count = set_up(warehouse, one)
            console.print(f"{one.title}: {count} statements run in {settings.snowflake.database}.")
