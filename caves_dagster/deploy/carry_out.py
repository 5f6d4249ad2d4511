"""A plan made, done and recorded. `caves setup`, `caves up` and the demo do the same without asking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from caves_dagster.deploy.declared import declared, declared_in_detail, sql_hash
from caves_dagster.deploy.found import NOTHING, Found, read_found
from caves_dagster.deploy.plan import Plan, plan
from caves_dagster.deploy.step import Action, Step
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster.warehouse.scripts import render, statements


@dataclass(frozen=True)
class Version:
    """A version of the project, and the hash of a shop's setup statements."""

    version: str
    sql_hash: str


@dataclass(frozen=True)
class Deployment(Version):
    """A version that was deployed: when, by whom, and how many statements it took."""

    deployed_at: datetime
    deployed_by: str
    changes: int


@dataclass(frozen=True)
class State:
    """A shop's database at one moment: what it has, what is to be done to it, what was last deployed."""

    found: Found
    plan: Plan
    deployed: Deployment | None


def this_version(shop: Shop) -> Version:
    """What this checkout would deploy."""
    return Version(version("caves-dagster"), sql_hash(shop))


def read_state(warehouse: Warehouse, shop: Shop) -> State:
    """Look at the database, and plan. Changes nothing."""
    objects = declared(shop)
    database = warehouse.settings.database
    shown = warehouse.query(f"SHOW DATABASES LIKE '{database}'")
    # LIKE: an underscore in the name stands for any letter.
    if database.upper() not in {str(row["NAME"]).upper() for row in shown}:
        create = Step(database, "database", Action.CREATE, (f"CREATE DATABASE IF NOT EXISTS {database}",))
        return State(NOTHING, Plan((create, *plan(objects, NOTHING).steps)), None)
    warehouse.execute(f"USE DATABASE {database}")
    found = read_found(warehouse, objects)
    if found == NOTHING:
        return State(found, plan(objects, found), None)
    deployed = _last(warehouse, shop) if f"{shop.raw.schema}.DEPLOYMENTS" in found.tables else None
    return State(found, plan(declared_in_detail(shop), found), deployed)


def carry_out(warehouse: Warehouse, shop: Shop, state: State) -> int:
    """Do what the plan says, one statement after the other, and record the version; the statements run.

    Every statement may run again, so an interrupted deployment is repeated.

    Raises:
        DeploymentRefused: the plan leaves a decision open. Nothing was done.
        StatementFailed: a statement was refused; those before it are done.
    """
    state.plan.require_safe()
    done = 0
    for step in state.plan.steps:
        for statement in step.statements:
            warehouse.execute(statement)
            done += 1
        if step.kind == "database":
            warehouse.execute(f"USE DATABASE {step.name}")
    this, last = this_version(shop), state.deployed
    if state.plan.changes or last is None or (last.version, last.sql_hash) != (this.version, this.sql_hash):
        (statement,) = statements(render(SQL_ROOT, "deploy/write_deployment.sql", raw=shop.raw))
        values = {"version": this.version, "sql_hash": this.sql_hash, "changes": done}
        warehouse.execute(statement, values)
    return done


def set_up(warehouse: Warehouse, shop: Shop) -> int:
    """Deploy a shop's schemas, tables, streams and views without asking; returns the statements run.

    Raises:
        DeploymentRefused: something that is there differs from the SQL in a way only a person can decide.
    """
    return carry_out(warehouse, shop, read_state(warehouse, shop))


def _last(warehouse: Warehouse, shop: Shop) -> Deployment | None:
    (statement,) = statements(render(SQL_ROOT, "deploy/read_deployments.sql", raw=shop.raw))
    for row in warehouse.query(statement):
        return Deployment(
            row["VERSION"], row["SQL_HASH"], row["DEPLOYED_AT"], row["DEPLOYED_BY"], int(row["CHANGES"])
        )
    return None
