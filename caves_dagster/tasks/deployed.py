"""What there is of a shop's tasks, and which mode that is. Asked by SHOW, which needs no virtual warehouse.

A role sees only tasks that it owns or may MONITOR: Dagster has to sign in with the role that owns them, or it
takes the shop for one that it has to transform. Nothing is lost or doubled then; two do the work of one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from caves_dagster.errors import WarehouseNotSetUp
from caves_dagster.shop import Shop
from caves_dagster.tasks.graph import root_of
from caves_dagster.warehouse.connection import Row, Warehouse


@dataclass(frozen=True)
class Deployed:
    """A task as SHOW TASKS gives it; `after` has its predecessors without database and schema."""

    name: str
    started: bool
    warehouse: str
    schedule: str
    after: tuple[str, ...]
    condition: str
    body: str
    comment: str

    @classmethod
    def of(cls, row: Row) -> Deployed:
        """Out of a row of SHOW TASKS."""
        return cls(
            name=str(row["NAME"]),
            started=str(row["STATE"]).lower() == "started",
            warehouse=str(row["WAREHOUSE"] or ""),
            schedule=str(row["SCHEDULE"] or ""),
            after=_names(row["PREDECESSORS"]),
            condition=str(row["CONDITION"] or ""),
            body=str(row["DEFINITION"] or ""),
            comment=str(row["COMMENT"] or ""),
        )


def _names(predecessors: str | None) -> tuple[str, ...]:
    found = json.loads(predecessors or "[]")
    names = found if isinstance(found, list) else [found]
    return tuple(str(name).rpartition(".")[2].strip('"') for name in names)


def deployed(warehouse: Warehouse, shop: Shop) -> dict[str, Deployed]:
    """Every task in the shop's raw schema that this session's role may see, by name.

    Raises:
        WarehouseNotSetUp: there is no such schema.
    """
    where = f"{warehouse.settings.database}.{shop.raw.schema}"
    found = (Deployed.of(row) for row in warehouse.query(f"SHOW TASKS IN SCHEMA {where}"))
    return {one.name: one for one in found}


def require_deployed(warehouse: Warehouse, shop: Shop) -> dict[str, Deployed]:
    """The shop's own tasks, by name.

    Raises:
        WarehouseNotSetUp: one of them is not there.
    """
    found = deployed(warehouse, shop)
    names = [step.task_name for step in shop.transformations]
    if missing := [name for name in names if name not in found]:
        raise WarehouseNotSetUp(
            f"{shop.title}: {', '.join(missing)} in {shop.raw.schema} {'is' if len(missing) == 1 else 'are'} "
            "not deployed, or belong to a role that this one may not see.",
            f"Run `caves snowflake tasks deploy --shop {shop.name}`.",
        )
    return {name: found[name] for name in names}


def task_mode(warehouse: Warehouse, shop: Shop) -> str:
    """Why Dagster must not transform now: the shop's root task is started; "" in Dagster mode.

    Raises:
        WarehouseNotSetUp: the shop's schema is not there.
    """
    root = root_of(shop)
    where = f"{warehouse.settings.database}.{root.schema}"
    for row in warehouse.query(f"SHOW TASKS LIKE '{root.name}' IN SCHEMA {where}"):
        # In LIKE, _ stands for any letter.
        if row["NAME"] == root.name and str(row["STATE"]).lower() == "started":
            return f"Snowflake's tasks transform (task mode): {root.full_name} is started."
    return ""
