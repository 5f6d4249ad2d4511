"""The analytics views, and what the UI shows of each."""

from __future__ import annotations

from caves_dagster.shop import Plot, View

VIEWS = (
    View(
        "ANALYTICS",
        "CONSOLIDATED_SALES",
        Plot("Revenue per day, both halves, €", x="DAY", y="REVENUE", series="SOURCE"),
        totals=("ROW_COUNT", "QUANTITY_SOLD", "REVENUE"),
        summarised=True,
        order="SALE_DATE DESC",
    ),
    View(
        "ANALYTICS",
        "DAILY_SALES",
        Plot("Revenue per day, streamed orders, €", x="ORDER_DATE", y="DAILY_REVENUE"),
        totals=("ORDER_COUNT", "DAILY_REVENUE"),
    ),
    View(
        "ANALYTICS",
        "TOP_WINES",
        Plot("Revenue per wine, €", x="PRODUCT_NAME", y="TOTAL_REVENUE"),
        totals=("ORDER_COUNT", "TOTAL_QUANTITY", "TOTAL_REVENUE"),
    ),
    View(
        "ANALYTICS",
        "STOCK_BY_CATEGORY",
        Plot("Bottles in stock per category", x="PRODUCT_CATEGORY", y="TOTAL_STOCK"),
        totals=("PRODUCT_COUNT", "TOTAL_STOCK"),
    ),
    View(
        "ANALYTICS",
        "SALES_BY_CHANNEL",
        Plot("Orders of the last 24 hours per channel", x="SALES_CHANNEL", y="ORDERS"),
        totals=("ORDERS",),
    ),
    View(
        "ANALYTICS",
        "ADJUSTMENTS_BY_TYPE",
        Plot("Stock movements per type", x="TYPE", y="ADJUSTMENTS"),
        totals=("ADJUSTMENTS", "TOTAL_QUANTITY"),
    ),
    View(
        "ANALYTICS",
        "LOW_STOCK",
        Plot("Products low in stock per warehouse", x="WAREHOUSE_LOCATION", y="ROW_COUNT"),
        totals=("ROW_COUNT",),
        summarised=True,
    ),
)
