"""What an administrator runs: Snowflake's grammar, every name filled in, and no more than is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from caves_dagster.deploy.account import AccountNames, account_sql
from caves_dagster.errors import SettingsError
from caves_dagster.settings import PROJECT_ROOT, embedded_settings
from caves_dagster.shops import shops
from caves_dagster.warehouse.scripts import statements

NAMES = AccountNames("MY_DB", "MY_WH", "MY_USER", 7)


def rendered(*, reader: bool) -> str:
    return account_sql(shops(embedded_settings(Path("unused"))), NAMES, reader=reader)


def granted(role: str) -> set[str]:
    """What a role is granted, without the role: `SELECT ON …`."""
    found = set()
    for text in statements(rendered(reader=False)) + statements(rendered(reader=True)):
        if match := re.match(rf"GRANT (.*) TO ROLE {role}\b", " ".join(text.split())):
            found.add(match[1])
    return found


@pytest.mark.parametrize("reader", [False, True])
def test_is_snowflake_s_sql_and_lints_clean(reader: bool) -> None:
    from sqlfluff.core import FluffConfig, Linter

    config = FluffConfig.from_path(str(PROJECT_ROOT))
    linted = Linter(config=config).lint_string(rendered(reader=reader).rstrip() + "\n")

    assert linted.tree is not None
    assert not list(linted.tree.recursive_crawl("unparsable"))
    assert [f"{v.line_no}: {v.rule_code()} {v.desc()}" for v in linted.get_violations()] == []


def test_every_name_is_filled_in() -> None:
    text = rendered(reader=False) + rendered(reader=True)

    assert "CAVES_ALBERT_DB" not in text
    assert "COMPUTE_WH" not in text
    for words in ("USER MY_USER", "WAREHOUSE MY_WH", "DATABASE MY_DB", "CREDIT_QUOTA = 7"):
        assert words in text
    assert "{" not in text


def test_a_name_that_would_be_another_statement_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"--user is 'x; DROP"):
        account_sql((), AccountNames("D", "W", "x; DROP DATABASE D"))


def test_the_pipeline_s_role_makes_and_drops_nothing_that_lasts() -> None:
    loader = granted("CAVES_LOADER")

    assert not any("OWNERSHIP" in one or one.startswith("ALL") for one in loader)
    assert {one for one in loader if "CREATE" in one} == {
        "CREATE TABLE, CREATE STAGE, CREATE FILE FORMAT ON SCHEMA MY_DB.BATCH_DATA",
        "CREATE TABLE, CREATE STAGE, CREATE FILE FORMAT ON SCHEMA MY_DB.DROPSHIP",
    }
    assert "SELECT, INSERT, UPDATE, DELETE ON FUTURE TABLES IN SCHEMA MY_DB.RAW_DATA" in loader
    assert "READ, WRITE ON FUTURE STAGES IN SCHEMA MY_DB.RAW_DATA" in loader


def test_the_reader_reads_and_sees_no_customer() -> None:
    reader = granted("CAVES_READER")

    assert {one.partition(" ON ")[0] for one in reader} == {"USAGE", "SELECT"}
    assert not any("CUSTOMERS" in one or "TABLES" in one or "RAW_EVENTS" in one for one in reader)
    assert "SELECT ON TABLE MY_DB.PRODUCTION.ORDERS" in reader
    assert "SELECT ON FUTURE VIEWS IN SCHEMA MY_DB.ANALYTICS" in reader


def test_only_the_owner_of_tasks_may_have_them_run() -> None:
    assert "EXECUTE TASK ON ACCOUNT" in granted("CAVES_DEPLOYER")
    assert "EXECUTE TASK ON ACCOUNT" not in granted("CAVES_LOADER")
