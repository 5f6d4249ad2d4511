"""What the UI shows of the views: rows, totals, a sample and a plot that is an image; and what that costs."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import pytest

from caves_dagster.assets.analytics import look_at
from caves_dagster.assets.plot import plot_markdown
from caves_dagster.shop import Plot
from caves_dagster_tests.conftest import Caves
from caves_dagster_tests.raw_rows import Feed, consume_all, insert_raw

LARGEST_IMAGE = 20_000
OVER_TIME = Plot("Revenue, €", x="DAY", y="EUROS", series="HALF")
BARS = Plot("Bottles", x="WINE", y="BOTTLES")


def image(markdown: str) -> ElementTree.Element:
    """The image in a Markdown text: well-formed, and small."""
    (found,) = re.findall(r"\A!\[[^\]]+\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)\Z", markdown)
    assert len(markdown) < LARGEST_IMAGE
    return ElementTree.fromstring(base64.b64decode(found))


def shapes(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """The elements of a name, those of the background apart."""
    return [element for element in svg.iter() if element.tag.endswith(f"}}{name}") or element.tag == name]


def words(svg: ElementTree.Element) -> set[str]:
    """Every text in the image."""
    return {element.text or "" for element in shapes(svg, "text")}


def _views(caves: Caves) -> dict[str, dict[str, Any]]:
    return {view.name: look_at(caves.warehouse, caves.shop, view) for view in caves.shop.views}


def test_every_view_shows_rows_totals_a_sample_and_a_plot(caves: Caves) -> None:
    feed = Feed()
    for number in range(1, 41):
        day = f"2026-07-{1 + number % 20:02}T12:00:00Z"
        feed.order(number, product_name=f"Vin {number % 15}", total_price=number / 4, timestamp=day)
        feed.adjustment(number, product_id=number, stock_level=number % 20, category=f"C{number % 3}")
    insert_raw(caves.warehouse, feed.rows)
    consume_all(caves.warehouse, caves.shop)
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.SALES (SALE_ID, SALE_DATE, CUSTOMER_ID, PRODUCT_ID, QUANTITY_SOLD, "
        "TOTAL_PRICE) VALUES (1, '2025-06-01 10:00:00', 7, 1003, 3, 30.10)"
    )

    found = _views(caves)

    for view in caves.shop.views:
        shown = found[view.name]
        assert shown["dagster/row_count"] == caves.count(view.full_name)
        if view.name == "SALES_BY_CHANNEL":  # what is fed is older than a day
            assert shown["plot"].value == "*(nothing to plot)*"
            continue
        image(shown["plot"].value)
        assert shown["sample"].value.count("\n") in range(2, 7)
    assert found["CONSOLIDATED_SALES"]["totals"].value.splitlines()[2:] == [
        "| 1 | 3 | 30.10 | BATCH |",
        "| 40 | 240 | 205.00 | STREAMING |",
        "| 41 | 243 | 235.10 | all |",
    ]
    assert found["DAILY_SALES"]["totals"].value.splitlines()[2:] == ["| 40 | 205.00 |"]
    assert found["LOW_STOCK"]["totals"].value.splitlines()[2:] == ["| 20 |"]


def test_views_of_an_empty_shop_are_shown_too(caves: Caves) -> None:
    for name, shown in _views(caves).items():
        assert shown["dagster/row_count"] == 0, name
        assert shown["plot"].value == "*(nothing to plot)*"


def test_a_materialisation_carries_them(caves: Caves, tmp_path: Path) -> None:
    from caves_dagster.definitions import build_definitions

    caves.publish(caves.events(20))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        job = build_definitions(caves.settings).resolve_job_def("caves_pipeline")
        assert job.execute_in_process(instance=instance).success
        for view in caves.shop.views:
            event = instance.get_latest_materialization_event(dg.AssetKey(view.key))
            assert event is not None
            assert event.asset_materialization is not None
            assert {"plot", "totals", "sample"} < event.asset_materialization.metadata.keys()


# --- the plot


def test_dates_become_a_line_for_each_series_bounded_in_size() -> None:
    first = date(2024, 1, 1)
    rows = [
        {"DAY": first + timedelta(day), "EUROS": Decimal(day % 7), "HALF": half}
        for half in ("BATCH", "STREAMING")
        for day in range(2000)
    ]
    svg = image(plot_markdown(OVER_TIME, rows))

    assert {"BATCH", "STREAMING", "Revenue, €"} <= words(svg)
    assert len(shapes(svg, "path")) == 2


def test_the_largest_bars_stand_first_and_there_are_not_too_many() -> None:
    svg = image(plot_markdown(BARS, [{"WINE": f"Vin {n}", "BOTTLES": 100 - n} for n in range(500)]))

    assert {"Vin 0", "Vin 11"} <= words(svg)
    assert "Vin 12" not in words(svg)


@pytest.mark.parametrize(
    "rows",
    [
        [{"WINE": "a", "BOTTLES": 0}],
        [{"WINE": "a", "BOTTLES": -5}, {"WINE": "b", "BOTTLES": 5}],
        [{"WINE": "a", "BOTTLES": 4 * 2**63}],
        [{"WINE": "a", "BOTTLES": Decimal("99999999.99")}],
        [{"WINE": "a", "BOTTLES": 1}, {"WINE": None, "BOTTLES": 2}, {"WINE": "c", "BOTTLES": None}],
        [{"WINE": "same", "BOTTLES": 1}, {"WINE": "same", "BOTTLES": 2}],
        [{"WINE": date(2026, 1, 1), "BOTTLES": 1}],
        [{"WINE": date(2026, 1, 1), "BOTTLES": 0}, {"WINE": date(2026, 1, 2), "BOTTLES": 0}],
        [{"WINE": date(1970, 1, 1), "BOTTLES": 1}, {"WINE": date(2199, 12, 31), "BOTTLES": -1}],
        [{"WINE": "<script>alert(1)</script> & \"'](x", "BOTTLES": 1}],
        [{"WINE": "\x00\x0b\ud83d\ufffe 🥂" + "é" * 300, "BOTTLES": 1}],
        [{"WINE": "", "BOTTLES": 1}],
    ],
)
def test_whatever_the_rows_hold_the_plot_is_an_image(rows: Sequence[Mapping[str, Any]]) -> None:
    image(plot_markdown(BARS, rows))


@pytest.mark.parametrize("rows", [[], [{"WINE": "a", "BOTTLES": None}], [{"WINE": None, "BOTTLES": 1}]])
def test_nothing_to_plot_is_said(rows: Sequence[Mapping[str, Any]]) -> None:
    assert plot_markdown(BARS, rows) == "*(nothing to plot)*"


def test_a_sale_that_was_loaded_and_replayed_counts_once(caves: Caves) -> None:
    feed = Feed()
    insert_raw(caves.warehouse, [feed.order(2**62 + 7), feed.order(2**62 + 8), feed.order(7)])
    consume_all(caves.warehouse, caves.shop)
    caves.warehouse.execute(
        "INSERT INTO BATCH_DATA.SALES (SALE_ID, SALE_DATE, CUSTOMER_ID, PRODUCT_ID, QUANTITY_SOLD, "
        "TOTAL_PRICE) VALUES (7, '2025-06-01 10:00:00', 7, 1003, 3, 30.10)"
    )
    found = caves.warehouse.query(
        "SELECT SOURCE, COUNT(*) AS N FROM ANALYTICS.CONSOLIDATED_SALES GROUP BY SOURCE ORDER BY SOURCE"
    )
    # The other replayed sale is not loaded, and a live order may have the sale's own number.
    assert found == [{"SOURCE": "BATCH", "N": 1}, {"SOURCE": "STREAMING", "N": 2}]
