"""Whether shops are declared as they have to be: said by shop and field when they are loaded, not in a run.

`check_shops` needs no SQL, so every command can afford it. `check_sql` reads a shop's SQL files, and is for
those who run them: `build_definitions`, `caves setup`, `caves new-shop`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from caves_dagster.errors import DeclarationError
from caves_dagster.shop import Shop, Table

_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")
_TASK = re.compile(r"[A-Z][A-Z0-9_]{0,199}")
_TYPES = ("string", "int64")


def check_shops(shops: Sequence[Shop]) -> None:
    """Refuse what cannot work, of each shop and between them.

    Raises:
        DeclarationError: the first fault, with shop and field.
    """
    for shop in shops:
        _check_fields(shop)
        _check_streams(shop)
        _check_tasks(shop)
        _check_files(shop)
    _check_between(shops)


def refusal(shop: Shop, field: str, problem: str, remedy: str) -> DeclarationError:
    """What is wrong with a field of a shop."""
    return DeclarationError(f"Shop {shop.name!r}, {field}: {problem}", remedy)


def _check_fields(shop: Shop) -> None:
    if not _NAME.fullmatch(shop.name):
        raise refusal(
            shop,
            "name",
            "it names jobs, sensors and a folder.",
            "Use up to 30 small letters, digits and _, a letter first.",
        )
    if not shop.topic:
        raise refusal(shop, "topic", "it is empty.", "Name the Kafka topic of its events.")
    if shop.partitions < 1:
        raise refusal(shop, "partitions", f"it is {shop.partitions}.", "A topic has at least one.")
    for column, kind in shop.contract.columns.items():
        if kind not in _TYPES:
            raise refusal(
                shop, "contract.columns", f"{column} is {kind!r}.", f"Use one of: {', '.join(_TYPES)}."
            )
    _check_event(shop)
    if "EVENT_ID" not in shop.contract.columns:
        raise refusal(shop, "contract.columns", "EVENT_ID is missing.", "Every row says which event it was.")
    if shop.keyed_by and shop.keyed_by not in shop.contract.columns:
        raise refusal(
            shop,
            "keyed_by",
            f"{shop.keyed_by!r} is no column of the contract.",
            f"Use one of: {', '.join(shop.contract.columns)}.",
        )
    for table in shop.facts:
        if table not in shop.production:
            raise refusal(
                shop,
                "facts",
                f"no transformation of layer 'production' writes {table.full_name}.",
                f"Use one of: {_names(shop.production)}.",
            )
    if shop.seed is not None and shop.batch is None:
        raise refusal(shop, "seed", "its files belong to no batch half.", "Declare `batch`, too.")
    if shop.history is not None and shop.batch is None:
        raise refusal(shop, "history", "there is no batch half to replay.", "Declare `batch`, too.")


def _check_event(shop: Shop) -> None:
    try:
        msgspec.json.Decoder(shop.contract.event)
    except TypeError as error:
        raise refusal(
            shop,
            "contract.event",
            f"msgspec takes no events of it ({error}).",
            "Use a msgspec.Struct, or a union of tagged ones.",
        ) from None


def _check_streams(shop: Shop) -> None:
    """Each stream feeds one transformation, and upstream comes first."""
    if not shop.transformations:
        raise refusal(
            shop, "transformations", "there are none.", "Declare what consumes the stream on the raw table."
        )
    consumers: dict[str, int] = {}
    written = [shop.raw]
    for index, step in enumerate(shop.transformations):
        field, stream = f"transformations[{index}]", step.stream.full_name
        if stream in consumers:
            other = f"transformations[{consumers[stream]}]"
            raise refusal(
                shop,
                f"{field}.stream",
                f"{other} consumes {stream}, too, and each would get some of the rows.",
                "Make a stream of its own on the same table.",
            )
        consumers[stream] = index
        if step.source not in written:
            raise refusal(
                shop,
                f"{field}.source",
                f"{step.source.full_name} is not the raw table, and nothing before writes it.",
                "Put transformations in order, upstream first.",
            )
        if not step.writes:
            raise refusal(shop, f"{field}.writes", "it is empty.", "Name the tables that it writes.")
        for table in step.writes:
            if table in written:
                raise refusal(
                    shop,
                    f"{field}.writes",
                    f"{table.full_name} is written already.",
                    "Let one transformation write a table.",
                )
            written.append(table)


def _check_tasks(shop: Shop) -> None:
    """Each transformation has a task of its own: all of a shop's stand in one schema."""
    owners: dict[str, int] = {}
    for index, step in enumerate(shop.transformations):
        field, name = f"transformations[{index}].task", step.task_name
        if not _TASK.fullmatch(name):
            raise refusal(
                shop,
                field,
                f"{name!r} is no name for a task.",
                "Use up to 200 capitals, digits and _, a letter first.",
            )
        if name in owners:
            raise refusal(
                shop,
                field,
                f"{name} is the task of transformations[{owners[name]}], too.",
                "Name another.",
            )
        owners[name] = index


def _check_files(shop: Shop) -> None:
    """Every SQL file that is read in a run."""
    for field, path in sql_files(shop):
        if not (shop.sql / path).is_file():
            raise refusal(shop, field, f"{shop.sql / path} does not exist.", "Write it, or correct the name.")
    if not any((shop.folder / "setup").glob("*.sql")):
        raise refusal(shop, "sql", f"{shop.folder / 'setup'} has no SQL file.", "Write the DDL there.")


def sql_files(shop: Shop) -> Iterator[tuple[str, Path]]:
    """Field, and the file under `shop.sql` that it means."""
    folder = Path(shop.name)
    yield "raw", folder / "raw" / f"{shop.raw.name.lower()}.sql"
    for index, step in enumerate(shop.transformations):
        for table in step.writes:
            yield f"transformations[{index}].writes", folder / step.layer / f"{table.name.lower()}.sql"
    for view in shop.views:
        yield "views", folder / "analytics" / f"{view.name.lower()}.sql"
        if view.summarised:
            yield "views", folder / "analytics" / "summary" / f"{view.name.lower()}.sql"
    for name in ("raw_vs_prod_counts", "duplicates", *(check.name for check in shop.checks)):
        yield "checks", folder / "checks" / f"{name}.sql"
    for part in shop.dashboard.parts:
        yield "dashboard", folder / "dashboard" / f"{part}.sql"


def _check_between(shops: Sequence[Shop]) -> None:
    """No two shops share what each must have for itself."""
    taken: dict[tuple[str, str], Shop] = {}
    for shop in shops:
        for field, name in _own(shop):
            before = taken.setdefault((field.partition("[")[0], name), shop)
            if before is not shop:
                raise refusal(
                    shop, field, f"{name!r} belongs to the shop {before.name!r}, too.", "Choose another."
                )


def _own(shop: Shop) -> Iterator[tuple[str, str]]:
    """Field and name of everything that only one shop may have."""
    yield "name", shop.name
    yield "topic", shop.topic
    # The tables of ingestion have the same names for every shop.
    yield "raw", f"{shop.raw.schema} (schema)"
    batch = shop.batch.tables if shop.batch else ()
    for table in (*shop.tables, *shop.views, *(one.table for one in batch)):
        yield "table", table.full_name
    for index, step in enumerate(shop.transformations):
        yield f"transformations[{index}].stream", step.stream.full_name
    if shop.seed is not None:
        yield "seed", shop.seed.name


def _names(tables: Iterable[Table]) -> str:
    return ", ".join(table.full_name for table in tables) or "none"
