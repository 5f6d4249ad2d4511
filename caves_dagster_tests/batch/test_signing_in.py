"""How a batch load signs in: by dagster-snowflake's resource, with our settings, telling no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from caves_dagster.errors import SignInRefused, WarehouseUnreachable
from caves_dagster.local import ports
from caves_dagster.settings import SnowflakeSettings
from caves_dagster_tests.batch.conftest import Batches, error_of

# Of dagster and its integrations, not ours.
pytestmark = pytest.mark.filterwarnings("default")

MARK = "m4rked"


def session(settings: SnowflakeSettings) -> Any:
    """A session of a load, opened as a context manager."""
    # Its import warns, of the integrations: not while tests are collected.
    from caves_dagster.batch.io_manager import _Session

    return _Session(settings, "BATCH_DATA").opened()


def with_warehouse(batches: Batches, **changes: Any) -> Batches:
    return batches.reading(snowflake=batches.settings.snowflake.model_copy(update=changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": SecretStr(f"{MARK}-password")}, "refused the sign-in"),
        ({"password": SecretStr(f"{MARK}-password"), "login_timeout": 2, "port": None}, "cannot be reached"),
    ],
)
def test_a_load_that_cannot_sign_in_says_so_and_tells_no_secret(
    batches: Batches, changes: dict[str, Any], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if "port" in changes:
        changes["port"] = ports.any_free("127.0.0.1")
    result = with_warehouse(batches, **changes).load("customers")
    assert words in error_of(result)
    told = capfd.readouterr()
    assert "caves_customers" in told.out + told.err, "nothing was logged: the test shows nothing"
    for text in (told.out, told.err, *(str(event) for event in result.all_events)):
        assert MARK not in text


def test_errors_of_the_connector_are_this_project_s(batches: Batches) -> None:
    wrong = batches.settings.snowflake.model_copy(update={"password": SecretStr("wrong")})
    with pytest.raises(SignInRefused), session(wrong):
        pass
    away = wrong.model_copy(update={"port": ports.any_free("127.0.0.1"), "login_timeout": 2})
    with pytest.raises(WarehouseUnreachable), session(away):
        pass


def test_a_session_that_was_lost_is_not_opened_anew(batches: Batches) -> None:
    """Its loading table went with it."""
    with session(batches.settings.snowflake) as opened:
        opened.close()
        with pytest.raises(WarehouseUnreachable, match="session of the load was lost"):
            opened.execute("SELECT 1")


def test_a_key_pair_is_handed_to_the_resource_with_its_passphrase(tmp_path: Path) -> None:
    from caves_dagster.batch.io_manager import BatchIOManager, _configuration

    settings = SnowflakeSettings(
        account="org-account",
        user="albert",
        role="LOADER",
        private_key_path=tmp_path / "key.p8",
        private_key_passphrase=SecretStr("phrase"),
    )
    chosen = _configuration(settings)
    assert (chosen["account"], chosen["user"], chosen["role"]) == ("org-account", "albert", "LOADER")
    assert (chosen["private_key_path"], chosen["private_key_password"]) == (
        str(tmp_path / "key.p8"),
        "phrase",
    )
    more = chosen["additional_snowflake_connection_args"]
    assert "password" not in chosen | more
    assert more["session_parameters"]["TIMEZONE"] == "UTC"
    assert more["session_parameters"]["TRANSACTION_ABORT_ON_ERROR"] is True
    assert BatchIOManager(settings, []).account == "org-account"
