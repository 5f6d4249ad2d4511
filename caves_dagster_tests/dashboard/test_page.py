"""The page in a browser, on a platform with a live producer and a consumer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from caves_dagster.deploy.carry_out import set_up
from caves_dagster.kafka.producer import publish
from caves_dagster.local.platform import WAREHOUSE, Platform, running_platform
from caves_dagster.settings import Settings, embedded_settings
from caves_dagster.shop import Shop
from caves_dagster.shops import find_shop, shops
from caves_dagster.warehouse.connection import Warehouse
from caves_dagster_tests.brokers import until
from caves_dagster_tests.dashboard.rows import insert_sales
from caves_dagster_tests.dashboard.site import SECONDS, Look, Site, browser, command, looking, serving

pytestmark = pytest.mark.slow


@dataclass
class Running:
    """A platform with its page."""

    settings: Settings
    site: Site
    browser: Browser

    @property
    def caves(self) -> Shop:
        return find_shop(self.settings, "caves")

    def asked(self, sql: str) -> Decimal:
        """One figure of the warehouse."""
        with Warehouse(self.settings.snowflake) as warehouse:
            (row,) = warehouse.query(sql)
            return Decimal(str(next(iter(row.values())) or 0))

    @contextmanager
    def producing(self, rate: float) -> Iterator[None]:
        """A live producer of the wine shop while the block runs."""
        stop = threading.Event()
        messages = self.caves.generate(7, 0.1, lambda: datetime.now(UTC))
        arguments = (self.settings.kafka, self.caves.topic, messages)
        thread = threading.Thread(target=publish, args=arguments, kwargs={"rate": rate, "stop": stop})
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(SECONDS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Both shops set up, fifty sales of a month ago, a consumer of the wine shop, the page, a browser."""
    home = tmp_path_factory.mktemp("dashboard")
    with browser() as chromium, running_platform(home):
        settings = embedded_settings(home)
        with Warehouse(settings.snowflake) as warehouse:
            for shop in shops(settings):
                set_up(warehouse, shop)
            insert_sales(warehouse, 50, "2026-06-12 12:00:00")
        consumer = command(home, "consume", "--transform", "--metrics-port", "0")
        try:
            with serving(home) as site:
                yield Running(settings, site, chromium)
        finally:
            consumer.send_signal(signal.SIGTERM)
            consumer.wait(60)


def settled(look: Look, running: Running) -> bool:
    """Whether the page shows what the warehouse has."""
    sales = "FROM ANALYTICS.CONSOLIDATED_SALES"
    count, revenue = (running.asked(f"SELECT {what} {sales}") for what in ("COUNT(*)", "SUM(TOTAL_PRICE)"))
    return (
        look.number("Orders in the period") == count
        and look.figure("Revenue in the period") == f"€{revenue:,.2f}"
    )


def test_the_figures_follow_the_events_and_are_the_warehouse_s(running: Running) -> None:
    with looking(running.browser, running.site.address) as look:
        assert look.number("Orders in the period") == 50
        with running.producing(10):
            until(lambda: look.number("Orders in the period") > 55, "the first orders", SECONDS)
            seen = look.number("Orders in the period")
            until(lambda: look.number("Orders in the period") > seen, "more of them", SECONDS)
        until(lambda: settled(look, running), "the warehouse's figures", SECONDS)

        # The last batch may land after the page and the warehouse agreed once: each look asks both again.
        recent = "SELECT COUNT(*) FROM PRODUCTION.ORDERS"
        until(lambda: look.number("Orders, last 24 h") == running.asked(recent) > 0, "orders", SECONDS)
        dead = "SELECT COUNT(*) FROM RAW_DATA.DEAD_LETTER_EVENTS WHERE REPLAYED_AT IS NULL"
        until(lambda: look.number("Dead letters") == running.asked(dead) > 0, "dead letters", SECONDS)
        until(lambda: look.figure("Waiting in Kafka") == "0", "no lag", SECONDS)
        assert "ago" in look.figure("Last event")
        assert look.figure("Validation") == "None yet"
        assert look.page.get_by_role("table", name="The 20 latest orders").locator("tbody tr").count() == 20
        assert look.errors == []
        assert {
            urlsplit(one).hostname for one in look.requests if not one.startswith(("data:", "blob:"))
        } == {"127.0.0.1"}
        assert look.page.get_by_text("Deploy").count() == 0


def test_the_shop_is_changed_by_keyboard_and_stays_in_the_address(running: Running) -> None:
    with looking(running.browser, running.site.address) as look:
        page = look.page
        page.get_by_role("heading", name="Les Caves d'Albert").wait_for(timeout=SECONDS * 1000)
        look.figure("Orders in the period")
        page.get_by_role("combobox").first.wait_for(timeout=SECONDS * 1000)
        # The link that skips to the content, the content, the first choice.
        for _ in range(3):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Shop"
        for key in ("ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
            page.wait_for_timeout(300)
        page.get_by_role("heading", name="Dropship").wait_for(timeout=SECONDS * 1000)
        look.wait("Nothing has been sold yet")
        assert "shop=dropship" in page.url
        page.reload()
        page.get_by_role("heading", name="Dropship").wait_for(timeout=SECONDS * 1000)
        assert look.errors == []


def test_a_period_leaves_out_what_is_not_in_it(running: Running) -> None:
    address = f"{running.site.address}/?period=chosen&days=2026-06-11&days=2026-06-12"
    with looking(running.browser, address) as look:
        # An hour apart, back from noon.
        assert look.number("Orders in the period") == 37
        assert look.figure("Revenue in the period") == "€271.95"
        look.page.get_by_role("combobox").nth(1).click()
        look.page.get_by_role("option", name="All", exact=True).click()
        until(lambda: look.number("Orders in the period") >= 50, "all of them", SECONDS)


def test_a_french_browser_gets_a_french_page(running: Running) -> None:
    with looking(running.browser, f"{running.site.address}/?period=chosen&days=2026-06-12", "fr-FR") as look:
        look.wait("Peut-on se fier à ces chiffres ?")
    address = f"{running.site.address}/?period=chosen&days=2026-06-11&days=2026-06-12"
    with looking(running.browser, address, "fr-FR") as look:
        assert look.figure("Chiffre d'affaires de la période") == "271,95\u00a0€"
        look.page.get_by_text("English", exact=True).click()
        look.wait("Can these figures be trusted?")
        assert "language=en" in look.page.url


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_keeps_anybody_out(running: Running, dark: bool) -> None:
    with looking(running.browser, running.site.address, dark=dark) as look:
        look.figure("Orders in the period")
        look.wait("The 20 latest orders")
        look.page.wait_for_timeout(1000)
        found = Axe().run(look.page).response["violations"]
        grave = [
            (one["id"], [node["target"] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert grave == []


def test_a_warehouse_that_is_away_is_told_and_its_return_seen(running: Running) -> None:
    warehouse = Platform(running.settings.home, preferred_ports=False, servers=(WAREHOUSE,))
    with looking(running.browser, running.site.address) as look:
        look.figure("Orders in the period")
        warehouse.stop()
        try:
            look.wait("The warehouse gives no figures.")
            look.wait("caves local start")
            assert look.number("Orders in the period") >= 50, "the last figures stay"
            assert "Traceback" not in look.page.content()
        finally:
            warehouse.start()
        gone = look.page.get_by_text("The warehouse gives no figures.")
        until(lambda: gone.count() == 0, "the page to recover", SECONDS)
        assert look.errors == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_browser_open(running: Running, number: signal.Signals) -> None:
    with (
        serving(running.settings.home, "--shop", "dropship") as site,
        looking(running.browser, site.address) as look,
    ):
        look.page.get_by_role("heading", name="Dropship").wait_for(timeout=SECONDS * 1000)
        assert site.stop(number) == 0
