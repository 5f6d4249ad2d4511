"""Settings: where they come from, which of them wins, and what is said when they do not hold."""

from __future__ import annotations

import json
import os
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, SecretStr
from pydantic_settings import BaseSettings

from caves_dagster.errors import CavesError, SettingsError
from caves_dagster.settings import (
    ENDPOINTS_FILE,
    PROJECT_ROOT,
    AlertSettings,
    CheckSettings,
    ConsumerSettings,
    DashboardSettings,
    DeadLetterBudget,
    FreshnessSettings,
    KafkaSettings,
    MetricsSettings,
    Settings,
    SnowflakeSettings,
    embedded_environment,
    embedded_settings,
    load_settings,
)
from caves_dagster.shops import find_shop, shops

SECTIONS: tuple[type[BaseSettings], ...] = (
    SnowflakeSettings,
    KafkaSettings,
    AlertSettings,
    FreshnessSettings,
    DeadLetterBudget,
    CheckSettings,
    ConsumerSettings,
    MetricsSettings,
    DashboardSettings,
    Settings,
)
_OURS = ("SNOWFLAKE_", "SNOW_", "KAFKA_", "CAVES_", "DAGSTER_", "DB_PATH")
# A sign-in that is complete, for tests that are about something else.
SIGNED_IN = {
    "SNOWFLAKE_ACCOUNT": "org-account",
    "SNOWFLAKE_USER": "albert",
    "SNOWFLAKE_PASSWORD": "s3cr3t-word",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without any setting of ours but CAVES_HOME, an empty folder; no `.env`."""
    for name in list(os.environ):
        if name.upper().startswith(_OURS):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("CAVES_HOME", str(folder))
    monkeypatch.setenv("CAVES_ENV_FILE", str(tmp_path / "no.env"))
    monkeypatch.setenv("CAVES_SECRETS_DIR", str(tmp_path / "secrets"))
    return folder


def loaded(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    """The settings with these variables set as well."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def env_file(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    path = folder / "test.env"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("CAVES_ENV_FILE", str(path))


def names(section: type[BaseSettings]) -> dict[str, list[str]]:
    """Each setting's names in the environment, the first one first, by its name in the code."""
    found = {}
    for name, field in section.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            found[name] = [str(choice) for choice in field.validation_alias.choices]
    return found


# --- the embedded default


def test_without_any_setting_everything_points_at_the_embedded_platform() -> None:
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:19092"
    assert (settings.snowflake.host, settings.snowflake.port) == ("127.0.0.1", 19094)
    assert (settings.snowflake.protocol, settings.snowflake.account) == ("http", "caves_local")
    assert settings.snowflake.password == SecretStr("caves")
    assert settings.embedded == ("broker", "warehouse")


def test_the_addresses_of_the_last_start_are_read_from_endpoints_json(home: Path) -> None:
    endpoints = {
        "kafka": {"bootstrap_servers": "127.0.0.1:40001"},
        "snowflake": {"host": "127.0.0.1", "port": 40002, "account": "caves_local"},
    }
    (home / ENDPOINTS_FILE).write_text(json.dumps(endpoints))
    settings = load_settings()
    assert settings.kafka.bootstrap_servers == "127.0.0.1:40001"
    assert settings.snowflake.port == 40002
    assert settings.embedded == ("broker", "warehouse")


def test_a_home_that_is_passed_comes_before_caves_home(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / ENDPOINTS_FILE).write_text('{"kafka": {"bootstrap_servers": "127.0.0.1:40009"}}')
    settings = load_settings(other)
    assert settings.home == other
    assert settings.kafka.bootstrap_servers == "127.0.0.1:40009"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kafka": 1}',
        '{"snowflake": {"port": "http"}}',
        '{"kafka": {"bootstrap_servers": []}}',
    ],
)
def test_broken_endpoints_are_named_with_the_remedy(home: Path, text: str) -> None:
    (home / ENDPOINTS_FILE).write_text(text)
    with pytest.raises(SettingsError, match=re.escape(str(home / ENDPOINTS_FILE))) as caught:
        load_settings()
    assert "caves local start" in caught.value.remedy


def test_an_account_of_one_s_own_takes_nothing_from_the_embedded_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = loaded(monkeypatch, **SIGNED_IN)
    assert (settings.snowflake.host, settings.snowflake.port) == (None, 443)
    assert settings.snowflake.protocol == "https"
    assert settings.embedded == ("broker",)


def test_a_broker_of_one_s_own_leaves_the_warehouse_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, KAFKA_BOOTSTRAP_SERVERS="kafka.example:9092")
    assert settings.kafka.bootstrap_servers == "kafka.example:9092"
    assert settings.snowflake.account == "caves_local"
    assert settings.embedded == ("warehouse",)


def test_a_broker_that_is_away_is_started_only_where_it_is_the_embedded_one(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    for kafka in (load_settings().kafka, embedded_settings(home).kafka):
        assert "`caves local start`" in kafka.remedy
        assert "`caves local start`" in kafka.model_copy(update={"topic_name": "other"}).remedy
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
    assert load_settings().kafka.remedy == (
        "See that a broker runs there, or set KAFKA_BOOTSTRAP_SERVERS to where one does."
    )


def test_what_is_left_of_a_sign_in_is_not_used_on_the_embedded_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = {"SNOWFLAKE_USER": "albert", "SNOWFLAKE_PASSWORD": "s3cr3t-word", "SNOWFLAKE_ROLE": "ADMIN"}
    settings = loaded(
        monkeypatch, **left, SNOWFLAKE_PRIVATE_KEY_PATH="key.pem", SNOWFLAKE_HOST="other.example"
    )
    assert settings.snowflake.user == "caves"
    assert settings.snowflake.password == SecretStr("caves")
    assert (settings.snowflake.role, settings.snowflake.private_key_path) == (None, None)
    assert settings.snowflake.host == "127.0.0.1"


def test_embedded_settings_do_not_look_at_the_environment(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    others = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka.example:9092",
        "CAVES_GROUP_ID": "other",
        "KAFKA_TOPIC_NAME": "x",
    }
    for name, value in {**SIGNED_IN, **others}.items():
        monkeypatch.setenv(name, value)
    settings = embedded_settings(home)
    assert settings.embedded == ("broker", "warehouse")
    assert (settings.home, settings.group_id, settings.kafka.topic_name) == (home, "caves", "sales_events")


def test_a_child_process_is_given_the_embedded_platform_and_nothing_else_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SNOWFLAKE_ACCOUNT", "SNOW_USER", "KAFKA_TOPIC_NAME", "CAVES_GROUP_ID", "DAGSTER_HOME"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("LANG", "fr_FR.UTF-8")
    environment = embedded_environment(tmp_path)
    ours = {name: value for name, value in environment.items() if name.startswith(_OURS)}
    assert ours == {
        "CAVES_HOME": str(tmp_path),
        "CAVES_ENV_FILE": os.devnull,
        "CAVES_SECRETS_DIR": os.devnull,
        "DB_PATH": str(tmp_path / "wine_data.db"),
        "CAVES_SEED_DIR": str(tmp_path / "seed"),
        "CAVES_REPORTS": str(tmp_path / "reports"),
    }
    assert environment["LANG"] == "fr_FR.UTF-8"


# --- names and where values come from

VALUES = {
    "private_key_path": "key.pem",
    "database": "OTHER_DB",
    "port": "8443",
    "protocol": "http",
    "network_timeout": "7",
    "login_timeout": "8",
}


@pytest.mark.parametrize(
    ("field", "name"), [(field, name) for field, found in names(SnowflakeSettings).items() for name in found]
)
def test_every_snowflake_setting_is_read_under_each_of_its_names(
    monkeypatch: pytest.MonkeyPatch, field: str, name: str
) -> None:
    value = VALUES.get(field, f"my-{field}")
    for other, setting in SIGNED_IN.items():
        if other != names(SnowflakeSettings)[field][0]:
            monkeypatch.setenv(other, setting)
    found = getattr(loaded(monkeypatch, **{name: value}).snowflake, field)
    assert str(found.get_secret_value() if isinstance(found, SecretStr) else found) == value


def test_every_snowflake_name_has_its_short_form() -> None:
    for found in names(SnowflakeSettings).values():
        long = [name for name in found if name.startswith("SNOWFLAKE_")]
        assert found == [*long, *(name.replace("SNOWFLAKE_", "SNOW_") for name in long)] or not long


def test_the_long_name_comes_before_the_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, SNOW_WAREHOUSE="SHORT", SNOWFLAKE_WAREHOUSE="LONG")
    assert settings.snowflake.warehouse == "LONG"


def test_the_env_file_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "#\nCAVES_GROUP_ID='ours'\nKAFKA_TOPIC_NAME=ventes\nexport SNOW_WAREHOUSE=\"BIG_WH\"\nOTHER=1\n"
    env_file(monkeypatch, tmp_path, text)
    settings = load_settings()
    assert (settings.group_id, settings.kafka.topic_name) == ("ours", "ventes")
    assert settings.snowflake.warehouse == "BIG_WH"


def test_the_environment_comes_before_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env_file(
        monkeypatch, tmp_path, "CAVES_GROUP_ID=file\nSNOWFLAKE_WAREHOUSE=FILE_WH\nKAFKA_TOPIC_NAME=file\n"
    )
    settings = loaded(monkeypatch, CAVES_GROUP_ID="environment", SNOW_WAREHOUSE="SHORT_WH")
    assert settings.group_id == "environment"
    assert settings.snowflake.warehouse == "SHORT_WH", "a short name in the environment too"
    assert settings.kafka.topic_name == "file"


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env_file(monkeypatch, tmp_path, "CAVES_GROUP_ID=file\nCAVES_BATCH_MAX_EVENTS=\n")
    settings = loaded(monkeypatch, CAVES_GROUP_ID="", KAFKA_BOOTSTRAP_SERVERS="", SNOWFLAKE_ACCOUNT="")
    assert settings.group_id == "file"
    assert settings.batch_max_events == Settings.model_fields["batch_max_events"].default
    assert settings.embedded == ("broker", "warehouse")


def test_home_is_not_caves_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAVES_HOME")
    assert (
        loaded(monkeypatch, HOME="/nowhere", USER="nobody", PORT="1", HOST="x").home
        == PROJECT_ROOT / ".caves"
    )


def test_a_sign_in_may_stand_partly_in_the_environment_and_partly_in_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file(monkeypatch, tmp_path, "SNOWFLAKE_USER=albert\nSNOWFLAKE_PASSWORD='s3cr3t-word'\n")
    assert loaded(monkeypatch, SNOWFLAKE_ACCOUNT="org-account").snowflake.user == "albert"


def test_sasl_may_stand_partly_in_the_environment_and_partly_in_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file(
        monkeypatch, tmp_path, "KAFKA_SASL_MECHANISM=PLAIN\nKAFKA_SASL_USERNAME=u\nKAFKA_SASL_PASSWORD=p\n"
    )
    assert loaded(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_SSL").kafka.sasl_username == "u"


# --- secrets by file


def secret(folder: Path, name: str, value: str) -> None:
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets" / name).write_text(value, encoding="utf-8")


def test_secrets_are_read_from_files_named_like_their_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret(tmp_path, "SNOWFLAKE_PASSWORD", "s3cr3t $word # 'é'\n")
    secret(tmp_path, "snowflake_user", "albert")
    secret(tmp_path, "KAFKA_SASL_PASSWORD", "sasl")
    secret(tmp_path, "CAVES_ALERT_WEBHOOK_URL", "https://hooks.example/T0\n")
    secret(tmp_path, "somebody_elses", "\x00")
    settings = loaded(monkeypatch, SNOWFLAKE_ACCOUNT="org-account")
    assert settings.snowflake.password == SecretStr("s3cr3t $word # 'é'")
    assert settings.snowflake.user == "albert"
    assert settings.kafka.sasl_password == SecretStr("sasl")
    assert settings.alerts.webhook_url == SecretStr("https://hooks.example/T0")


def test_the_environment_and_the_env_file_come_before_a_secret_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file(monkeypatch, tmp_path, "SNOWFLAKE_USER=file\n")
    for name in SIGNED_IN:
        secret(tmp_path, name, "secret")
    settings = loaded(monkeypatch, SNOWFLAKE_PASSWORD="environment")
    assert settings.snowflake.account == "secret"
    assert settings.snowflake.user == "file"
    assert settings.snowflake.password == SecretStr("environment")


def test_a_malformed_secret_is_named_and_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret(tmp_path, "CAVES_ALERT_WEBHOOK_URL", "s3cr3t-word")
    error = refusal(monkeypatch)
    assert error.problem.startswith("CAVES_ALERT_WEBHOOK_URL: ")
    assert "s3cr3t" not in str(error)


def test_a_secret_that_cannot_be_read_is_an_error_with_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret(tmp_path, "SNOWFLAKE_PASSWORD", "s3cr3t-word")
    (tmp_path / "secrets" / "SNOWFLAKE_PASSWORD").write_bytes(b"\xff")
    assert str(tmp_path / "secrets") in refusal(monkeypatch).problem


def test_the_embedded_warehouse_may_have_a_password_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, CAVES_LOCAL_WAREHOUSE_PASSWORD="s3cr3t-word")
    assert settings.snowflake.password == SecretStr("s3cr3t-word")
    assert settings.embedded == ("broker", "warehouse")


# --- what does not hold


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        loaded(monkeypatch, **environment)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SNOWFLAKE_PORT", "https"),
        ("SNOWFLAKE_PORT", "0"),
        ("SNOWFLAKE_PORT", "65536"),
        ("SNOWFLAKE_PROTOCOL", "ftp"),
        ("SNOWFLAKE_DATABASE", "X; DROP DATABASE Y"),
        ("SNOWFLAKE_DATABASE", "1ST"),
        ("CAVES_SNOWFLAKE_NETWORK_TIMEOUT", "0"),
        ("CAVES_SNOWFLAKE_LOGIN_TIMEOUT", "soon"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("CAVES_KAFKA_TIMEOUT_SECONDS", "0"),
        ("CAVES_MAX_EVENT_BYTES", "1023"),
        ("CAVES_BATCH_MAX_EVENTS", "0"),
        ("CAVES_BATCH_MAX_EVENTS", "1.5"),
        ("CAVES_BATCH_MAX_BYTES", "64MB"),
        ("CAVES_SENSOR_INTERVAL_SECONDS", "0"),
        ("CAVES_RUN_RETENTION_DAYS", "-1"),
        ("CAVES_ALERT_WEBHOOK_URL", "hooks.example/T0/B0"),
        ("CAVES_ALERT_WEBHOOK_URL", "file:///etc/passwd"),
        ("CAVES_ALERT_WEBHOOK_URL", "https://user@hooks.example/T0"),
        ("CAVES_ALERT_WEBHOOK_URL", "https://hooks.example/T0 B0"),
        ("CAVES_ALERT_EMAIL_TO", "albert@example.org, marie"),
        ("CAVES_ALERT_EMAIL_FROM", "Albert <albert@example.org>"),
        ("CAVES_ALERT_SMTP_PORT", "smtp"),
        ("CAVES_ALERT_SMTP_STARTTLS", "perhaps"),
        ("CAVES_ALERT_SEVERITY", "INFO"),
        ("CAVES_ALERT_GRACE_SECONDS", "-1"),
        ("CAVES_DAGSTER_URL", "127.0.0.1:3000"),
        ("CAVES_FRESHNESS_WARN_MINUTES", "0.5"),
        ("CAVES_FRESHNESS_FAIL_MINUTES", "never"),
    ],
)
def test_a_malformed_value_is_named_by_its_name_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    error = refusal(monkeypatch, **{name: value})
    assert error.problem.startswith(f"{name}: ")
    assert ".env.example" in error.remedy


def test_every_malformed_value_of_a_section_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, CAVES_BATCH_MAX_EVENTS="0", CAVES_SENSOR_INTERVAL_SECONDS="often")
    assert "CAVES_BATCH_MAX_EVENTS: " in error.problem
    assert "CAVES_SENSOR_INTERVAL_SECONDS: " in error.problem


def test_a_malformed_value_in_the_env_file_is_named_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file(monkeypatch, tmp_path, "SNOWFLAKE_PORT=https\n")
    assert refusal(monkeypatch).problem.startswith("SNOWFLAKE_PORT: ")


def test_valid_values_of_a_list_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, KAFKA_SECURITY_PROTOCOL="sasl")
    for valid in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
        assert f"'{valid}'" in error.problem


@pytest.mark.parametrize("missing", ["SNOWFLAKE_USER", "SNOWFLAKE_PASSWORD"])
def test_an_account_without_a_complete_sign_in_is_refused(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    some = {name: value for name, value in SIGNED_IN.items() if name != missing}
    assert missing in refusal(monkeypatch, **some).problem


def test_a_key_does_instead_of_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in = {**SIGNED_IN, "SNOWFLAKE_PASSWORD": "", "SNOWFLAKE_PRIVATE_KEY_PATH": "key.pem"}
    settings = loaded(monkeypatch, **signed_in)
    assert settings.snowflake.private_key_path == Path("key.pem")
    assert settings.snowflake.password is None


SASL = {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "key", "KAFKA_SASL_PASSWORD": "s3cr3t-word"}


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("missing", SASL)
def test_sasl_without_all_of_its_settings_is_refused(
    monkeypatch: pytest.MonkeyPatch, protocol: str, missing: str
) -> None:
    some = {name: value for name, value in SASL.items() if name != missing}
    error = refusal(monkeypatch, KAFKA_SECURITY_PROTOCOL=protocol, **some)
    assert missing in error.problem
    assert protocol in error.problem


def test_complete_sasl_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_SSL", **SASL).kafka.sasl_mechanism == "PLAIN"


MAIL = {
    "CAVES_ALERT_EMAIL_TO": "albert@example.org,marie@example.org",
    "CAVES_ALERT_EMAIL_FROM": "dagster@example.org",
    "CAVES_ALERT_SMTP_HOST": "mail.example",
}


def test_mail_may_go_to_several_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, **MAIL).alerts.email_to == "albert@example.org,marie@example.org"


@pytest.mark.parametrize("missing", ["CAVES_ALERT_EMAIL_FROM", "CAVES_ALERT_SMTP_HOST"])
def test_mail_without_a_sender_or_a_server_is_refused(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    assert missing in refusal(monkeypatch, **{**MAIL, missing: ""}).problem


@pytest.mark.parametrize("lonely", ["CAVES_ALERT_SMTP_USER", "CAVES_ALERT_SMTP_PASSWORD"])
def test_half_a_login_at_the_mail_server_is_refused(monkeypatch: pytest.MonkeyPatch, lonely: str) -> None:
    assert "go together" in refusal(monkeypatch, **MAIL, **{lonely: "s3cr3t-word"}).problem


def test_a_password_travels_encrypted_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    login = {"CAVES_ALERT_SMTP_USER": "caves", "CAVES_ALERT_SMTP_PASSWORD": "s3cr3t-word"}
    plain = {**MAIL, **login, "CAVES_ALERT_SMTP_STARTTLS": "false"}
    assert "CAVES_ALERT_SMTP_STARTTLS" in refusal(monkeypatch, **plain).problem
    assert loaded(monkeypatch, **plain, CAVES_ALERT_SMTP_PORT="465").alerts.smtp_port == 465


def test_a_warning_comes_before_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, CAVES_FRESHNESS_WARN_MINUTES="60", CAVES_FRESHNESS_FAIL_MINUTES="60")
    assert "CAVES_FRESHNESS_WARN_MINUTES" in error.problem


# --- secrets

SECRETS = (
    "SNOWFLAKE_PASSWORD",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    "KAFKA_SASL_PASSWORD",
    "CAVES_ALERT_SMTP_PASSWORD",
)
OTHERS = {
    "CAVES_ALERT_SMTP_USER": "caves",
    "CAVES_ALERT_WEBHOOK_URL": "https://hooks.example/T0/s3cr3t-word",
}


def test_secrets_are_not_in_a_representation_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, **{**SIGNED_IN, **dict.fromkeys(SECRETS, "s3cr3t-word"), **OTHERS})
    assert settings.alerts.webhook_url == SecretStr("https://hooks.example/T0/s3cr3t-word")
    assert settings.snowflake.password == SecretStr("s3cr3t-word")
    for text in (
        repr(settings),
        str(settings),
        repr(settings.kafka),
        str(settings.model_dump()),
        f"{settings}",
    ):
        assert "s3cr3t" not in text
    assert "s3cr3t" not in settings.model_dump_json()


@pytest.mark.parametrize(
    "wrong",
    [
        {"SNOWFLAKE_PORT": "https"},
        {"SNOWFLAKE_USER": ""},
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
        {"KAFKA_SASL_MECHANISM": "GSSAPI"},
        {"CAVES_BATCH_MAX_EVENTS": "0"},
        {"CAVES_ALERT_WEBHOOK_URL": "hooks.example/T0/s3cr3t-word"},
        {"CAVES_ALERT_SMTP_USER": ""},
        {"CAVES_ALERT_SMTP_STARTTLS": "false"},
    ],
)
def test_secrets_are_not_in_an_error_nor_in_its_traceback(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    error = refusal(monkeypatch, **{**SIGNED_IN, **dict.fromkeys(SECRETS, "s3cr3t-word"), **OTHERS, **wrong})
    told = [str(error), repr(error), repr(error.__context__), *traceback.format_exception(error)]
    assert not [text for text in told if "s3cr3t" in text]


# --- the budget of dead letters


def test_a_budget_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = loaded(
        monkeypatch,
        CAVES_DEAD_LETTER_WARN_SHARE="0",
        CAVES_DEAD_LETTER_FAIL_SHARE="1",
        CAVES_DEAD_LETTER_WINDOW_HOURS="0.5",
        CAVES_DEAD_LETTER_MIN_MESSAGES="7",
    ).dead_letters
    assert (budget.warn_share, budget.fail_share) == (0.0, 1.0)
    assert (budget.window_hours, budget.min_messages) == (0.5, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CAVES_DEAD_LETTER_WARN_SHARE", "-0.01"),
        ("CAVES_DEAD_LETTER_WARN_SHARE", "0.06"),
        ("CAVES_DEAD_LETTER_FAIL_SHARE", "1.01"),
        ("CAVES_DEAD_LETTER_FAIL_SHARE", "0.009"),
        ("CAVES_DEAD_LETTER_FAIL_SHARE", "nan"),
        ("CAVES_DEAD_LETTER_WINDOW_HOURS", "0"),
        ("CAVES_DEAD_LETTER_MIN_MESSAGES", "0"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError, match=name):
        loaded(monkeypatch, **{name: value})


def test_topics_are_named_by_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, CAVES_TOPICS="a=b-1, c = d=2").topics == {"a": "b-1", "c": "d=2"}
    assert find_shop(loaded(monkeypatch, CAVES_TOPICS="caves=ventes"), "caves").topic == "ventes"


@pytest.mark.parametrize("value", ["orders-v2", "dropship=", "=orders", "dropship=a,dropship=b", "a=b,"])
def test_topics_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(SettingsError, match="CAVES_TOPICS: expected shop=topic"):
        loaded(monkeypatch, CAVES_TOPICS=value)


def test_a_topic_of_no_shop_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CavesError, match=r"CAVES_TOPICS names 'bakery', .* shops: caves"):
        shops(loaded(monkeypatch, CAVES_TOPICS="bakery=loaves"))


# --- .env.example

EXAMPLE = PROJECT_ROOT / ".env.example"
_LINE = re.compile(r"#(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")


def example() -> dict[str, tuple[str, str]]:
    """Explanation and default by name, as .env.example has them."""
    found: dict[str, tuple[str, str]] = {}
    explanation: list[str] = []
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if match := _LINE.fullmatch(line):
            assert match["name"] not in found
            found[match["name"]] = (" ".join(explanation), match["value"])
        explanation = [*explanation, line.removeprefix("# ")] if line.startswith("# ") else []
    return found


def test_env_example_lists_every_setting_and_no_other() -> None:
    assert set(example()) == {found[0] for section in SECTIONS for found in names(section).values()}


def test_every_setting_has_a_name_in_the_environment() -> None:
    sections = {"kafka", "snowflake", "alerts", "freshness", "dead_letters", "checks"} | {
        "consumer",
        "metrics",
        "dashboard",
    }
    for section in SECTIONS:
        assert section.model_fields.keys() - names(section) <= sections


def test_env_example_explains_every_setting() -> None:
    assert [name for name, (explanation, _) in example().items() if len(explanation.split()) < 2] == []


def test_env_example_as_it_stands_sets_nothing() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_the_defaults_in_env_example_are_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CAVES_HOME")
    uncommented = "".join(f"{name}={value}\n" for name, (_, value) in example().items())
    env_file(monkeypatch, tmp_path, uncommented)
    file = os.environ["CAVES_ENV_FILE"]
    read: list[Any] = [section(_env_file=file) for section in SECTIONS]
    monkeypatch.setenv("CAVES_ENV_FILE", str(tmp_path / "no.env"))
    assert read == [section() for section in SECTIONS]
    for section, settings in zip(SECTIONS, read, strict=True):
        for field, found in names(section).items():
            value = example()[found[0]][1]
            assert bool(value) == (field in settings.model_fields_set), (
                f"{found[0]} is or isn't set by the file"
            )
            default = section.model_fields[field].default
            assert value or default in ("", None, {}, ()) or isinstance(default, Path), (
                f"{found[0]} has a default to tell"
            )
