"""The seed as a user meets it: the asset with its config, and `caves seed`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from caves_dagster.assets.seed import seed_asset
from caves_dagster.cli import app
from caves_dagster.errors import SettingsError, SourceRefused
from caves_dagster.settings import embedded_settings
from caves_dagster.shops import find_shop
from caves_dagster_tests.batch.test_seed_files import SHA256, digests, write


def materialize(home: Path, **config: Any) -> dg.ExecuteInProcessResult:
    """The seed asset, configured as in the launchpad."""
    settings = embedded_settings(home).model_copy(update={"seed_end_date": date(2026, 5, 31)})
    shop = find_shop(settings, "caves")
    assert shop.seed is not None
    ops = {"seed__wine_data": {"config": config}} if config else {}
    return dg.materialize([seed_asset(shop, shop.seed)], run_config={"ops": ops})


def days_of(path: Path) -> tuple[str, str, int]:
    with closing(sqlite3.connect(path)) as connection:
        (row,) = connection.execute("SELECT MIN(sale_date), MAX(sale_date), COUNT(*) FROM sales")
    return row[0][:10], row[1][:10], row[2]


def test_the_asset_writes_the_defaults_up_to_the_end_date_of_the_settings(tmp_path: Path) -> None:
    assert materialize(tmp_path).success
    assert days_of(tmp_path / "wine_data.db") == ("2026-05-22", "2026-05-31", 500)
    assert not (tmp_path / "wine_data").exists()


def test_the_asset_s_config_says_how_much_and_which(tmp_path: Path) -> None:
    result = materialize(
        tmp_path, seed=3, days=2, end_date="2026-02-28", customers=5, products=7, sales=40, csv=True
    )
    assert days_of(tmp_path / "wine_data.db") == ("2026-02-27", "2026-02-28", 40)
    (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert metadata["dagster/row_count"] == 5 + 7 + 40
    assert "| sales | 40 |" in str(metadata["rows"])
    assert {Path(path).name for path in metadata["files"]} == set(SHA256)  # type: ignore[union-attr, arg-type]
    assert metadata["options"] == {
        "seed": 3,
        "days": 2,
        "end_date": "2026-02-28",
        "customers": 5,
        "products": 7,
        "sales": 40,
        "csv": True,
    }


def test_every_field_of_the_config_says_what_it_is(tmp_path: Path) -> None:
    shop = find_shop(embedded_settings(tmp_path), "caves")
    assert shop.seed is not None
    fields = seed_asset(shop, shop.seed).op.config_schema.config_type.fields  # type: ignore[union-attr]
    assert set(fields) == {"seed", "days", "end_date", "customers", "products", "sales", "csv"}
    assert all(field.description for field in fields.values())


def test_a_wrong_option_fails_the_run_and_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="end_date is 'tomorrow'"):
        materialize(tmp_path, end_date="tomorrow")
    with pytest.raises(SettingsError, match="days is 0"):
        materialize(tmp_path, days=0)
    with pytest.raises(dg.DagsterInvalidConfigError):
        materialize(tmp_path, days="ten")


def seed(home: Path, *options: str, **environment: str) -> Any:
    """`caves seed` on a folder of the test's own."""
    return CliRunner().invoke(
        app, ["seed", *options], env={"DB_PATH": str(home / "wine_data.db"), "COLUMNS": "200"} | environment
    )


def test_the_command_writes_what_the_asset_writes(tmp_path: Path) -> None:
    result = seed(tmp_path, "--csv")
    assert result.exit_code == 0, result.output
    assert "500 sales" in result.output
    assert "seed 11" in result.output
    files = [tmp_path / "wine_data.db", *sorted((tmp_path / "wine_data").iterdir())]
    shop = find_shop(embedded_settings(tmp_path / "other"), "caves")
    assert {path.name: path.read_bytes() for path in files} == {
        path.name: path.read_bytes() for path in write(shop).files
    }
    assert digests(write(shop)) == SHA256


def test_the_command_s_options(tmp_path: Path) -> None:
    options = ("--seed", "3", "--days", "2", "--end-date", "2026-02-28", "--customers", "5", "--sales", "40")
    result = seed(tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert days_of(tmp_path / "wine_data.db") == ("2026-02-27", "2026-02-28", 40)
    assert "5 customers, 40 sales, 50 inventory; seed 3" in result.output


def test_the_setting_gives_the_end_date(tmp_path: Path) -> None:
    assert seed(tmp_path, CAVES_SEED_END_DATE="2026-01-10").exit_code == 0
    assert days_of(tmp_path / "wine_data.db")[1] == "2026-01-10"


def test_the_command_refuses_what_the_asset_refuses(tmp_path: Path) -> None:
    assert isinstance(seed(tmp_path, "--end-date", "soon").exception, SettingsError)
    (tmp_path / "wine_data.db").write_text("mine")
    assert isinstance(seed(tmp_path).exception, SourceRefused)
    assert (tmp_path / "wine_data.db").read_text() == "mine"
