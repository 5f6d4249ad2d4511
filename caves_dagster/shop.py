"""What a shop declares. The machinery knows shops only through these types.

One event's way: `topic` → `contract` (a row or a dead letter) → the `raw` table → each `Transformation`,
which consumes one stream in one transaction → `views`. History's way: `seed` (made-up files, where there are
no others) → the `batch` source → the batch tables → `views`. SQL lies under `sql`, one file a table, named
after it; see `Shop` for where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from caves_dagster.errors import CavesError, SettingsError
from caves_dagster.settings import PROJECT_ROOT, Settings

SQL_ROOT = PROJECT_ROOT / "sql"


class InvalidEvent(ValueError):
    """A message that is not a valid event; it becomes a dead letter.

    Args:
        failure_class: a short constant in capitals, for counting.
        reason: one sentence for people.
        path: JSON path of what failed, `$` for the whole message.
    """

    def __init__(self, failure_class: str, reason: str, path: str = "$") -> None:
        super().__init__(f"{failure_class} at {path}: {reason}")
        self.failure_class = failure_class
        self.reason = reason
        self.path = path


@dataclass(frozen=True)
class Message:
    """One Kafka message as the producer sends it; `event_id` is None where the value carries none."""

    key: bytes | None
    value: bytes | None
    event_id: str | None = None


@dataclass(frozen=True)
class Table:
    """A table or view, by the names it has in the warehouse."""

    schema: str
    name: str

    @property
    def full_name(self) -> str:
        """`SCHEMA.NAME`."""
        return f"{self.schema}.{self.name}"

    @property
    def key(self) -> list[str]:
        """Dagster's asset key: `[schema, name]` in lower case."""
        return [self.schema.lower(), self.name.lower()]


@dataclass(frozen=True)
class Plot:
    """What a view's plot shows: a column over another, as a line over dates or as bars.

    Attributes:
        title: what `y` is, with its unit.
        x, y: columns of the view, or of its summary.
        series: column whose values get a line each; "" for a single one.
    """

    title: str
    x: str
    y: str
    series: str = ""


@dataclass(frozen=True)
class View(Table):
    """An analytics view, and what the UI shows of it after each run.

    Attributes:
        plot: its plot.
        totals: columns that add up, of the view or of its summary.
        summarised: whether the view is too large to be read whole: its plot and totals then come from
            `analytics/summary/<view>.sql`, whose ROW_COUNT says how many rows of the view one stands for.
        order: which rows are its sample, as ORDER BY has it; "" where the view itself puts them in order.
    """

    plot: Plot
    totals: tuple[str, ...]
    summarised: bool = False
    order: str = ""


@dataclass(frozen=True, eq=False)
class Contract:
    """What a valid event is, and which row of the raw table it becomes.

    Attributes:
        columns: the raw table's columns that come out of the message, name to Arrow type
            ("string" or "int64"); Kafka's position and the ingestion time are added by the machinery.
        event: the msgspec struct (or union of tagged structs) of a valid event. Fields it does not name are
            accepted.
        row: the typed event and the message's bytes to a row in the order of `columns`, text as `str` or as
            UTF-8; raises `InvalidEvent` for what a type cannot tell.
    """

    columns: Mapping[str, str]
    event: Any
    row: Callable[[Any, bytes], tuple[Any, ...]]


@dataclass(frozen=True)
class Transformation:
    """A consumer of one stream: all its SQL files run in one transaction, in the order of `writes`.

    Attributes:
        stream: the stream it consumes; no other transformation may.
        source: the table under that stream, which takes its place in a rebuild.
        writes: the tables it writes, each by `<layer>/<table>.sql`, where `{{ source }}` is the stream.
        layer: folder of the SQL files, and group of the assets.
        waits_since: the column of `source` that says when a row came there.
        task: the Snowflake task that does its work in task mode (`caves_dagster/tasks/`); where none is
            named, it is called after the first table written.
    """

    stream: Table
    source: Table
    writes: tuple[Table, ...]
    layer: str
    waits_since: str = "INGESTION_TIME"
    task: str = ""

    @property
    def task_name(self) -> str:
        """Name of its task, in capitals."""
        return self.task or f"TASK_TO_{self.writes[0].name}"


@dataclass(frozen=True)
class ShopCheck:
    """A check of the shop's own: `checks/<name>.sql`, one statement that `sql/checks.sql` helps to write.

    Attributes:
        description: what is true when it passes.
        asset: the table it is about.
        also_reads: tables it needs to be up to date besides.
        windowed: whether its SQL can look at what changed since a moment alone (`windowed`, `%(since)s`).
        is_rule: whether it is one of the rules of `data_quality`.
    """

    name: str
    description: str
    asset: Table
    also_reads: tuple[Table, ...] = ()
    windowed: bool = False
    is_rule: bool = True


@dataclass(frozen=True)
class BatchTable:
    """A table that is loaded from the batch source's table (or CSV file) of the same name in lower case.

    Columns, types and which of them take NULL come from the table's DDL.

    Attributes:
        key: its primary key, one column.
        day: the column whose date is the row's daily partition; None for a table that is loaded whole.
        at_least: smallest value allowed, by column.
        totals: columns whose sums the UI shows, and a check holds against the source.
        references: the batch table that a column's values are keys of, by column.
        columns: those of the DDL that the source has; all of them where none are named.
    """

    table: Table
    key: str
    day: str | None = None
    at_least: Mapping[str, int] = field(default_factory=dict)
    totals: tuple[str, ...] = ()
    references: Mapping[str, Table] = field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def source_name(self) -> str:
        """Its table in a SQLite source, its file without `.csv` in a folder."""
        return self.table.name.lower()


@dataclass(frozen=True, eq=False)
class Batch:
    """The batch half of a shop.

    Attributes:
        source: a SQLite file, or a folder of CSV files.
        first_day: first daily partition; nothing older is loaded.
        tables: what is loaded, all in one schema.
        replayed: what the source has besides, for a replay alone: it is never loaded, and its columns have
            the types of the table that the replayed events end up in.
    """

    source: Path
    first_day: date
    tables: tuple[BatchTable, ...]
    replayed: tuple[BatchTable, ...] = ()

    @property
    def schema(self) -> str:
        """Schema of the batch tables."""
        return self.tables[0].table.schema

    @property
    def in_source(self) -> tuple[BatchTable, ...]:
        """Everything the source has."""
        return (*self.tables, *self.replayed)


@dataclass(frozen=True)
class SeedOptions:
    """How much made-up history, and which: the same options give the same rows.

    Attributes:
        seed: seed of everything drawn.
        end_date: last day of sales.
        days: days of sales up to then.
        customers, products, sales: rows.
    """

    seed: int
    end_date: date
    days: int
    customers: int
    products: int
    sales: int

    def require(self, **limits: tuple[int, int]) -> None:
        """Hold options to the least and the most allowed.

        Raises:
            SettingsError: one is out of range.
        """
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise SettingsError(f"{name} is {value}.", f"Choose a number from {least:,} to {most:,}.")


@dataclass(frozen=True, eq=False)
class Seed:
    """Made-up history for the batch tables, written to files.

    Attributes:
        name: of the asset, `seed/<name>`.
        defaults: options where none are given.
        rows: rows by the `source_name` of what the batch source has, in the order of its columns: integers,
            text, and dates and amounts as text. They are read once each, in the order given.
        csv: folder of the CSV files, one a table.
        sqlite: SQLite file; None for a shop that has CSV only.
    """

    name: str
    defaults: SeedOptions
    rows: Callable[[SeedOptions], Mapping[str, Iterable[tuple[Any, ...]]]]
    csv: Path
    sqlite: Path | None = None


DASHBOARD_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sales": (
        "SALE_ID", "SOLD_AT", "CUSTOMER_ID", "PRODUCT_ID", "QUANTITY", "REVENUE", "SALES_CHANNEL", "SOURCE",
    ),
    "products": ("PRODUCT_ID", "PRODUCT_NAME", "PRODUCT_CATEGORY"),
    "stock": ("PRODUCT_CATEGORY", "PRODUCT_COUNT", "TOTAL_STOCK"),
    "low_stock": ("PRODUCT_NAME", "PLACE", "STOCK"),
    "rows": ("ID", "MOMENT", "DETAIL"),
}  # fmt: skip
"""What each SELECT of `dashboard/` produces. Ids are text, moments TIMESTAMP_NTZ in UTC."""


@dataclass(frozen=True)
class Dashboard:
    """What `caves dashboard` shows of a shop, besides dead letters, lag, validation and what it has counted.

    Each part is one SELECT without a semicolon, or two, with the columns of `DASHBOARD_COLUMNS`.

    Attributes:
        sales: `dashboard/sales.sql`, one row a sale, and `dashboard/products.sql`, one row a product.
            REVENUE is in `currency`; SALES_CHANNEL is NULL where there are none; SOURCE is 'BATCH' or
            'STREAMING'.
        stock: `dashboard/stock.sql`, one row a category, and `dashboard/low_stock.sql`, one row for each
            product of which little is left; PLACE is NULL where it lies in one place alone.
        rows: for what is no sale: `dashboard/rows.sql`, one row an entry, DETAIL in words.
        currency: sign of what REVENUE is in.
    """

    sales: bool = False
    stock: bool = False
    rows: bool = False
    currency: str = "€"

    @property
    def parts(self) -> tuple[str, ...]:
        """The files, without `.sql`."""
        chosen = (
            (self.sales, ("sales", "products")),
            (self.stock, ("stock", "low_stock")),
            (self.rows, ("rows",)),
        )
        return tuple(name for wanted, names in chosen if wanted for name in names)


Generate = Callable[[int, float, Callable[[], datetime]], Iterator[Message]]


def generates_nothing(seed: int, invalid_rate: float, clock: Callable[[], datetime]) -> Iterator[Message]:
    """What a shop declares that knows real events only.

    Raises:
        CavesError: always.
    """
    raise CavesError(
        "The shop declares no generated events.", "Publish a file of JSON lines: --mode replay --file."
    )


@dataclass(frozen=True, eq=False)
class Shop:
    """One shop on the machinery.

    SQL is read from `sql/<name>/`: `setup/*.sql` (schemas, tables, streams; run in the order of their names),
    `raw/<raw table>.sql` (the COPY), `<layer>/<table>.sql`, `analytics/<view>.sql`, `checks/<check>.sql`,
    `dashboard/<part>.sql`.

    Attributes:
        name: folder, prefix of jobs and sensors, `--shop` on the command line.
        title: name for people.
        topic: Kafka topic of its events.
        raw: the table that events land in.
        contract: what a valid event is.
        transformations: from raw to production, upstream first.
        owner: who answers for its data; an e-mail address or `team:name`.
        views: the analytics views, each by `analytics/<view>.sql`.
        generate: an endless stream of messages from a seed, a share of invalid ones and a clock; not given
            where only real events are known.
        facts: the production tables in which each of these messages that is valid becomes one row, with
            EVENT_TIME and LOADED_AT. The demo counts them.
        partitions: of its topic, where a broker of this project makes it.
        batch: its batch half, if it has one; `setup` creates the tables.
        seed: made-up files for the batch half, if it has any.
        checks: its own, besides the machinery's and the two that every shop brings:
            `checks/raw_vs_prod_counts.sql` and `checks/duplicates.sql`.
        keyed_by: the column of `contract` whose value is a message's key; "" where messages have none.
        history: the rows of the batch source (pyarrow tables by `source_name`, columns in lower case) as
            messages of the topic, each with what to call it in an error: for the same rows the same ones.
        configured: the shop as settings of its own want it.
        dashboard: what `caves dashboard` shows of it.
        sql: folder that holds the folder of the shop's SQL.
    """

    name: str
    title: str
    topic: str
    raw: Table
    contract: Contract
    transformations: tuple[Transformation, ...]
    owner: str
    views: tuple[View, ...] = ()
    generate: Generate = generates_nothing
    facts: tuple[Table, ...] = ()
    partitions: int = 6
    batch: Batch | None = None
    seed: Seed | None = None
    checks: tuple[ShopCheck, ...] = ()
    keyed_by: str = ""
    history: Callable[[Mapping[str, Any]], Iterator[tuple[str, Message]]] | None = None
    configured: Callable[[Shop, Settings], Shop] | None = None
    dashboard: Dashboard = Dashboard()
    sql: Path = field(default=SQL_ROOT)

    @property
    def folder(self) -> Path:
        """Folder of the shop's SQL."""
        return self.sql / self.name

    @property
    def generates(self) -> bool:
        """Whether it has events that are made up."""
        return self.generate is not generates_nothing

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table the stream half writes, upstream first."""
        return (self.raw, *(table for step in self.transformations for table in step.writes))

    @property
    def production(self) -> tuple[Table, ...]:
        """The tables in which events end up."""
        return tuple(
            table for step in self.transformations if step.layer == "production" for table in step.writes
        )
