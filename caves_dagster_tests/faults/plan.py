"""Which process is killed next, and when. The same seed gives the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Target(StrEnum):
    """What is killed."""

    INGESTING = "run, while ingesting"
    TRANSFORMING = "run, while transforming"
    DAEMON = "Dagster daemon"
    DAGSTER = "daemon, code server, runs"
    WAREHOUSE = "warehouse server"
    BROKER = "broker"
    CONSUMER = "always-on consumer"


_BLOCK = (
    *[Target.INGESTING] * 4,
    *[Target.TRANSFORMING] * 3,
    *[Target.DAEMON] * 2,
    *[Target.DAGSTER] * 1,
    *[Target.WAREHOUSE] * 3,
    *[Target.BROKER] * 2,
    *[Target.CONSUMER] * 2,
)
"""What every so many kills consist of, in an order of their own."""
_DOUBLE_SHARE = 0.3
# A run is killed so long after it was seen to ingest, or in a transformation, a first consumer so long after
# it was given partitions; everything else so long after the recovery before it, or, while that is still under
# way, after the kill before it.
_DELAYS = {Target.INGESTING: 0.8, Target.TRANSFORMING: 0.3}
_LONGEST_DELAY = 5.0


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
        delay_seconds: how long after its occasion.
        double: whether it comes without waiting for the recovery from the one before.
    """

    number: int
    target: Target
    delay_seconds: float
    double: bool


def make_plan(seed: int, kills: int) -> list[Kill]:
    """So many kills, every kind of target in its proportion."""
    draw = random.Random(f"faults:{seed}")
    targets: list[Target] = []
    while len(targets) < kills:
        block = list(_BLOCK)
        draw.shuffle(block)
        targets += block
    return [
        Kill(
            number,
            target,
            round(draw.uniform(0, _DELAYS.get(target, _LONGEST_DELAY)), 3),
            number > 0 and draw.random() < _DOUBLE_SHARE,
        )
        for number, target in enumerate(targets[:kills])
    ]
