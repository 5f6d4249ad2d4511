"""The wine shop's own checks; what each looks for is in `sql/caves/checks/<name>.sql`."""

from __future__ import annotations

from caves_dagster.shop import ShopCheck, Table

_ORDERS = Table("PRODUCTION", "ORDERS")
_MOVEMENTS = Table("PRODUCTION", "INVENTORY_HISTORY")
_STOCK = Table("PRODUCTION", "INVENTORY_CURRENT")

CHECKS = (
    ShopCheck("orders_complete", "No order lacks what the contract asks for.", _ORDERS, windowed=True),
    ShopCheck("orders_in_range", "Every order is in the contract's ranges.", _ORDERS, windowed=True),
    ShopCheck(
        "orders_price_arithmetic",
        "Every total is quantity x unit price x (1 - discount), to the cent.",
        _ORDERS,
        windowed=True,
    ),
    ShopCheck("orders_known_products", "Every order names a product there is.", _ORDERS, windowed=True),
    ShopCheck("orders_known_customers", "Every order names a customer there is.", _ORDERS, windowed=True),
    ShopCheck("orders_as_staged", "Every order is what its winning record says.", _ORDERS, windowed=True),
    ShopCheck(
        "events_not_ahead",
        "No order or movement is dated more than a day ahead of now.",
        _ORDERS,
        (_MOVEMENTS,),
        windowed=True,
    ),
    ShopCheck(
        "movements_complete", "No movement lacks what the contract asks for.", _MOVEMENTS, windowed=True
    ),
    ShopCheck("movements_in_range", "Every movement is in the contract's ranges.", _MOVEMENTS, windowed=True),
    ShopCheck(
        "movements_known_products", "Every movement names a product there is.", _MOVEMENTS, windowed=True
    ),
    ShopCheck(
        "movements_as_staged", "Every movement is what its winning record says.", _MOVEMENTS, windowed=True
    ),
    ShopCheck(
        "stock_is_last_movement", "Every stock level is that of the newest movement.", _STOCK, (_MOVEMENTS,)
    ),
    ShopCheck("low_stock", "No wine is about to run out.", _STOCK, is_rule=False),
)
