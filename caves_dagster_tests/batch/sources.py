"""Batch sources that tests make: the same rows as a SQLite file and as a folder of CSV files."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

CUSTOMERS = ("customer_id", "name", "email", "registration_date")
INVENTORY = (
    "product_id",
    "product_name",
    "category",
    "price_per_unit",
    "bottle_size_liters",
    "stock_quantity",
)
SALES = (
    "sale_id",
    "sale_date",
    "customer_id",
    "product_id",
    "quantity_sold",
    "total_price",
    "sales_channel",
)
COLUMNS = {"customers": CUSTOMERS, "inventory": INVENTORY, "sales": SALES}

CUSTOMER = (1, "Élodie Le Gall", "elodie@example.fr", "2024-02-29")
PRODUCT = (1015, "Chardonnay Réserve 🥂", "Blanc", 18.5, 0.75, 12)
SALE = (1, "2026-06-30 18:30:00.123456", 1, 1015, 6, 111, "E-com")

Rows = Sequence[Sequence[Any]]


def sqlite_source(
    path: Path, tables: Mapping[str, Rows], columns: Mapping[str, Sequence[str]] = COLUMNS
) -> Path:
    """A SQLite file; columns have no type, so every value is stored as it is given."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, rows in tables.items():
            names = columns[name]
            connection.execute(f"CREATE TABLE {name} ({', '.join(names)})")
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(names))})", rows)
    return path


def csv_source(
    folder: Path, tables: Mapping[str, Rows], columns: Mapping[str, Sequence[str]] = COLUMNS
) -> Path:
    """A folder of CSV files; None is an empty field, bytes are written as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("wb") as file:
            file.write((",".join(columns[name]) + "\n").encode())
            for row in rows:
                file.write(b",".join(map(_field, row)) + b"\n")
    return folder


def _field(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    return b'"' + str(value).replace('"', '""').encode() + b'"'


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file as text, without the first line."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]
