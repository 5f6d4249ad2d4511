"""Roles, warehouse, grants: statements for an account's administrator, with the names filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from caves_dagster.deploy.declared import declared, declared_in_detail
from caves_dagster.errors import SettingsError
from caves_dagster.shop import SQL_ROOT, Shop
from caves_dagster.warehouse.scripts import render

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


@dataclass(frozen=True)
class AccountNames:
    """What an account calls its objects; `credits` is what the warehouse may use in a month."""

    database: str
    warehouse: str
    user: str
    credits: int = 50

    def require_identifiers(self) -> None:
        """Refuse what cannot stand in a statement unquoted.

        Raises:
            SettingsError: a name is not an identifier.
        """
        for option in ("database", "warehouse", "user"):
            value = getattr(self, option)
            if not _IDENTIFIER.fullmatch(value):
                raise SettingsError(
                    f"--{option} is {value!r}.", "Letters, digits, _ and $ are expected, like CAVES_SERVICE."
                )


_AFTER_DEPLOYMENT = "40_reader.sql"


def account_sql(shops: Iterable[Shop], names: AccountNames, *, reader: bool = False) -> str:
    """The files of `sql/account/` for these shops, one after the other.

    Args:
        reader: the grants of CAVES_READER, which come after the first deployment; else what comes before it.

    Raises:
        SettingsError: a name is not an identifier.
    """
    names.require_identifiers()
    shops = tuple(shops)
    tables = [table for shop in shops for table in _read_by_dashboards(shop)]
    viewed = sorted({view.schema for shop in shops for view in shop.views})
    values = {
        "schemas": sorted({one.name for shop in shops for one in declared(shop) if one.kind == "schema"}),
        "loaded": sorted({shop.batch.schema for shop in shops if shop.batch}),
        "viewed": viewed,
        "read": sorted({*viewed, *(table.partition(".")[0] for table in tables)}),
        "tables": tables,
        "database": names.database,
        "warehouse": names.warehouse,
        "user": names.user,
        "credits": names.credits,
    }
    files = [path.name for path in sorted((SQL_ROOT / "account").glob("*.sql"))]
    chosen = [name for name in files if (name == _AFTER_DEPLOYMENT) is reader]
    return "\n".join(render(SQL_ROOT, f"account/{name}", **values) for name in chosen)


def _read_by_dashboards(shop: Shop) -> list[str]:
    """Production, the batch half without people's addresses, and how positions, batches, letters stand."""
    of_people = {one.name for one in declared_in_detail(shop) if any(c.name == "EMAIL" for c in one.columns)}
    loaded = [one.table for one in shop.batch.tables] if shop.batch else []
    names = [table.full_name for table in (*shop.production, *loaded)]
    own = ("KAFKA_OFFSETS", "INGEST_BATCHES", "DEAD_LETTER_EVENTS")
    ingestion = [f"{shop.raw.schema}.{name}" for name in own]
    return [name for name in dict.fromkeys((*names, *ingestion)) if name not in of_people]
