"""Sales and dead letters put straight into the tables, any number of them in one statement."""

from __future__ import annotations

from caves_dagster.warehouse.connection import Warehouse

_NUMBERS = "SELECT ROW_NUMBER() OVER (ORDER BY SEQ4()) AS N FROM TABLE(GENERATOR(ROWCOUNT => {}))"


def insert_orders(warehouse: Warehouse, count: int, seconds_apart: float, begin: str, first: int = 1) -> None:
    """Streamed orders of the wine shop: 50 products, 3 channels, backwards from `begin`."""
    warehouse.execute(
        "INSERT INTO PRODUCTION.ORDERS (ORDER_LINE_ID, CUSTOMER_ID, PRODUCT_ID, PRODUCT_NAME, "
        "PRODUCT_CATEGORY, QUANTITY, UNIT_PRICE, DISCOUNT, TOTAL_AMOUNT, BOTTLE_SIZE_LITERS, SALES_CHANNEL, "
        "EVENT_TIME, ORDER_DATE, KAFKA_TOPIC, KAFKA_PARTITION, KAFKA_OFFSET, KAFKA_TIMESTAMP, LOADED_AT, "
        "UPDATED_AT) "
        "SELECT N, MOD(N, 150) + 1, 1000 + MOD(N, 50), 'Vin ' || MOD(N, 50)::VARCHAR, 'Rouge', "
        "MOD(N, 12) + 1, 10, 0, (MOD(N, 12) + 1) * 10.05, 0.75, "
        "CASE MOD(N, 3) WHEN 0 THEN 'E-com' WHEN 1 THEN 'Salon' ELSE 'Boutique' END, AT, AT::DATE, 't', 0, "
        f"N, AT, AT, AT FROM (SELECT N + {first} - 1 AS N, "
        f"DATEADD('millisecond', -(N - 1) * {round(seconds_apart * 1000)}, '{begin}'::TIMESTAMP_NTZ) AS AT "
        f"FROM ({_NUMBERS.format(count)}))"
    )


def insert_sales(warehouse: Warehouse, count: int, begin: str) -> None:
    """The same loaded in batch, an hour apart."""
    warehouse.execute(
        "INSERT INTO BATCH_DATA.SALES (SALE_ID, SALE_DATE, CUSTOMER_ID, PRODUCT_ID, QUANTITY_SOLD, "
        "TOTAL_PRICE, SALES_CHANNEL) SELECT N, DATEADD('hour', -(N - 1), "
        f"'{begin}'::TIMESTAMP_NTZ), 1, 1000 + MOD(N, 50), 2, 7.35, 'Salon' "
        f"FROM ({_NUMBERS.format(count)})"
    )


def insert_dead_letter(warehouse: Warehouse, schema: str, id: str, seen: str, replayed: str | None) -> None:
    """One message that was no event."""
    warehouse.execute(
        f"INSERT INTO {schema}.DEAD_LETTER_EVENTS (DEAD_LETTER_ID, KAFKA_TOPIC, KAFKA_PARTITION, "
        "KAFKA_OFFSET, FAILURE_CLASS, FAILURE_REASON, FAILURE_PATH, FIRST_SEEN, ATTEMPTS, REPLAYED_AT, "
        "BATCH_ID) VALUES (%(id)s, 't', 0, 0, 'CONTRACT', 'r', '$', %(seen)s, 1, %(replayed)s, 'b')",
        {"id": id, "seen": seen, "replayed": replayed},
    )
