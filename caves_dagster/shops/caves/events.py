"""The wine shop's live events, made up: order lines and stock movements, the same for the same seed.

Only the timestamps differ from one run of a seed to the next; they come from the clock that is passed in. The
valid events of a seed do not depend on how many invalid ones are strewn between them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import cycle
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from caves_dagster.invalid_events import spread
from caves_dagster.shop import Message
from caves_dagster.shops.caves.catalogue import CUSTOMER_IDS, PRODUCTS, SALES_CHANNELS, WAREHOUSES, Product
from caves_dagster.shops.caves.invalid import INVALID_KINDS

SOURCE = "caves-albert"
SCHEMA_VERSION = 1
ORDER_SHARE = 0.7
DISCOUNT_SHARE = 0.25

_CENT = Decimal("0.01")
_NO_DISCOUNT = Decimal(0)
_DISCOUNTS = tuple(Decimal(text) for text in ("0.05", "0.10", "0.15", "0.20", "0.25"))
_QUANTITIES = (1, 1, 2, 2, 3, 3, 4, 6, 6, 6, 12, 12)
_OPENING_STOCK = (24, 240)
_PLENTY = 300
# Smallest and largest change by type; a draw of 0 is drawn again.
_CHANGES: Mapping[str, tuple[int, int]] = {
    "RESTOCK": (12, 96),
    "SALE_CORRECTION": (-36, 4),
    "RETURN": (1, 6),
    "DAMAGE": (-12, -1),
    "COUNT": (-8, 6),
}
_TYPES_BY_WEIGHT = (
    *["RESTOCK"] * 3,
    *["SALE_CORRECTION"] * 7,
    *["RETURN"] * 2,
    *["DAMAGE"] * 4,
    *["COUNT"] * 4,
)

# Decimals become numbers with the digits they have: 18.50 stays 18.50.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Generated(NamedTuple):
    """One message, and what it was made from."""

    key: bytes
    """The product id."""
    value: bytes | None
    """What is sent; None is a tombstone."""
    event: dict[str, Any]
    """The valid event; an invalid message was made from it."""
    invalid_kind: str | None = None
    """A name from `invalid.INVALID_KINDS`; None for a valid event."""

    @property
    def message(self) -> Message:
        """As the producer sends it."""
        event_id = None if self.invalid_kind else self.event["event_metadata"]["event_id"]
        return Message(self.key, self.value, event_id)


class EventGenerator:
    """An endless iterator of valid events.

    Args:
        seed: the same seed gives the same events, timestamps excepted.
        clock: the time now, aware.
    """

    def __init__(self, seed: int | str, clock: Callable[[], datetime]) -> None:
        # As text: Random(-1) and Random(1) would be the same.
        self._random = random.Random(f"caves:{seed}")
        self._clock = clock
        self._stock: dict[tuple[int, str], int] = {}

    def __iter__(self) -> Iterator[Generated]:
        return self

    def __next__(self) -> Generated:
        draw = self._random
        product = PRODUCTS[int(draw.random() * len(PRODUCTS))]
        event_id = str(UUID(int=draw.getrandbits(128), version=4))
        timestamp = _rfc3339(self._clock())
        if draw.random() < ORDER_SHARE:
            event_type, content = "ORDER_CREATED", self._order(product, timestamp)
        else:
            event_type, content = "INVENTORY_ADJUSTED", self._adjustment(product, timestamp)
        metadata = {
            "event_id": event_id,
            "timestamp": timestamp,
            "source": SOURCE,
            "schema_version": SCHEMA_VERSION,
        }
        event = {"event_type": event_type, "event_metadata": metadata, "event_content": content}
        return Generated(b"%d" % product.product_id, _encode(event), event)

    def _order(self, product: Product, timestamp: str) -> dict[str, Any]:
        draw = self._random
        quantity = _pick(draw, _QUANTITIES)
        discount = _pick(draw, _DISCOUNTS) if draw.random() < DISCOUNT_SHARE else _NO_DISCOUNT
        total = (product.price * quantity * (1 - discount)).quantize(_CENT, ROUND_HALF_UP)
        return {
            "order_line_id": self._identifier(),
            "customer_id": _pick(draw, CUSTOMER_IDS),
            "product_id": product.product_id,
            "product_name": product.name,
            "category": product.category,
            "quantity": quantity,
            "unit_price": product.price,
            "discount": discount,
            "total_price": total,
            "bottle_size_liters": product.bottle_size_liters,
            "sales_channel": _pick(draw, SALES_CHANNELS),
            "timestamp": timestamp,
        }

    def _adjustment(self, product: Product, timestamp: str) -> dict[str, Any]:
        warehouse = _pick(self._random, WAREHOUSES)
        adjustment_type, change, level = self._move(product.product_id, warehouse)
        return {
            "adjustment_id": self._identifier(),
            "product_id": product.product_id,
            "product_name": product.name,
            "category": product.category,
            "warehouse": warehouse,
            "adjustment_type": adjustment_type,
            "quantity_change": change,
            "stock_level": level,
            "timestamp": timestamp,
        }

    def _move(self, product_id: int, warehouse: str) -> tuple[str, int, int]:
        """A movement that leaves the stock at zero or more: its type, the change, the level after it."""
        draw, place = self._random, (product_id, warehouse)
        level = self._stock.get(place)
        if level is None:
            level = draw.randint(*_OPENING_STOCK)
        adjustment_type = _pick(draw, _TYPES_BY_WEIGHT)
        if level == 0:
            adjustment_type = "RESTOCK"
        elif level > _PLENTY and adjustment_type == "RESTOCK":
            adjustment_type = "SALE_CORRECTION"
        change = 0
        while change == 0:
            change = draw.randint(*_CHANGES[adjustment_type])
        change = max(change, -level)
        self._stock[place] = level + change
        return adjustment_type, change, level + change

    def _identifier(self) -> int:
        """Positive, 62 bits: two seeds practically never draw the same; above is the replayed history."""
        return self._random.getrandbits(62) or 1


def generate_labelled(seed: int, invalid_rate: float, clock: Callable[[], datetime]) -> Iterator[Generated]:
    """Valid events, with every so many an invalid message of the next kind.

    Args:
        invalid_rate: share of the messages that are invalid, 0 to 1, spread evenly.

    Raises:
        ValueError: the rate is no share.
    """
    if not 0 <= invalid_rate <= 1:
        raise ValueError(f"invalid_rate is {invalid_rate:g}; it is a share, between 0 and 1")
    valid = EventGenerator(seed, clock)
    # Invalid messages are made from events of their own: else the stock would miss the movements spoilt.
    victims = EventGenerator(f"{seed}:invalid", clock)
    kinds = cycle(INVALID_KINDS.values())
    for is_invalid in spread(invalid_rate):
        if not is_invalid:
            yield next(valid)
            continue
        kind = next(kinds)
        victim = next(event for event in victims if kind.fits(event.event))
        yield victim._replace(value=kind.spoil(victim.event), invalid_kind=kind.name)


def generate(seed: int, invalid_rate: float, clock: Callable[[], datetime]) -> Iterator[Message]:
    """`generate_labelled`, as the producer takes it."""
    return (generated.message for generated in generate_labelled(seed, invalid_rate, clock))


def _pick(draw: random.Random, items: Any) -> Any:
    return items[int(draw.random() * len(items))]


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
