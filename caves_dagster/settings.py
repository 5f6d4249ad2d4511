"""Every setting, typed and explained. The only module that reads the environment.

Values come, in this order, from the environment, from `.env` at the project's root, from the folder of
secrets (a file is named like its setting), and, for the addresses only, from the embedded platform's
`endpoints.json` under `CAVES_HOME`. Whoever sets `SNOWFLAKE_ACCOUNT` or `KAFKA_BOOTSTRAP_SERVERS` points that
half at their own system; no other code knows the difference.
"""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentSettingsError

from caves_dagster.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ENDPOINTS_FILE = "endpoints.json"
# Where Docker and, by habit, Kubernetes put them.
_SECRETS_DIR = "/run/secrets"


class SnowflakeEndpoint(BaseModel):
    """Where the embedded warehouse server listens, as `caves local status --json` prints it."""

    host: str = "127.0.0.1"
    port: int = 19094
    protocol: Literal["http", "https"] = "http"
    account: str = "caves_local"
    user: str = "caves"
    # Not a secret: with this one the server listens on loopback only, and holds what its own machine wrote.
    password: str = "caves"
    database: str = "CAVES_ALBERT_DB"


class KafkaEndpoint(BaseModel):
    """Where the embedded broker listens."""

    bootstrap_servers: str = "127.0.0.1:19092"


class Endpoints(BaseModel):
    """The embedded platform's addresses; these defaults are the ports it prefers."""

    kafka: KafkaEndpoint = KafkaEndpoint()
    snowflake: SnowflakeEndpoint = SnowflakeEndpoint()

    @classmethod
    def read(cls, home: Path) -> Endpoints:
        """The addresses recorded under `home` by the last start, or the preferred ones."""
        path = home / ENDPOINTS_FILE
        if not path.is_file():
            return cls()
        try:
            return cls.model_validate_json(path.read_text())
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"{path} does not describe a platform ({type(error).__name__}).",
                "Remove it and run `caves local start`.",
            ) from error


class _Section(BaseSettings):
    # Each section has a prefix of its own: without one, `home` would be read from HOME.
    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        hide_input_in_errors=True,
    )


def _names(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class SnowflakeSettings(_Section):
    """The warehouse. Without SNOWFLAKE_ACCOUNT it is the embedded server."""

    model_config = SettingsConfigDict(env_prefix="SNOWFLAKE_")

    account: str = Field("", validation_alias=_names("SNOWFLAKE_ACCOUNT", "SNOW_ACCOUNT"))
    """Account identifier, `orgname-accountname`. Empty: the embedded server."""
    user: str = Field("", validation_alias=_names("SNOWFLAKE_USER", "SNOW_USER"))
    """Login name."""
    password: SecretStr | None = Field(None, validation_alias=_names("SNOWFLAKE_PASSWORD", "SNOW_PASSWORD"))
    """Password. Snowflake is retiring single-factor passwords: prefer a key pair."""
    private_key_path: Path | None = Field(
        None, validation_alias=_names("SNOWFLAKE_PRIVATE_KEY_PATH", "SNOW_PRIVATE_KEY_PATH")
    )
    """PEM or DER file with the private key of key-pair authentication."""
    private_key_passphrase: SecretStr | None = Field(
        None, validation_alias=_names("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", "SNOW_PRIVATE_KEY_PASSPHRASE")
    )
    """Passphrase of that file, if it is encrypted."""
    role: str | None = Field(None, validation_alias=_names("SNOWFLAKE_ROLE", "SNOW_ROLE"))
    """Role to use; the user's default otherwise."""
    warehouse: str = Field("COMPUTE_WH", validation_alias=_names("SNOWFLAKE_WAREHOUSE", "SNOW_WAREHOUSE"))
    """Virtual warehouse that runs the statements."""
    database: str = Field(
        "CAVES_ALBERT_DB",
        pattern=r"^[A-Za-z_][A-Za-z0-9_$]*$",
        validation_alias=_names("SNOWFLAKE_DATABASE", "SNOW_DATABASE"),
    )
    """Database that holds every schema."""
    host: str | None = Field(None, validation_alias=_names("SNOWFLAKE_HOST", "SNOW_HOST"))
    """Host, where it does not follow from the account (private link, the embedded server)."""
    port: int = Field(443, ge=1, le=65535, validation_alias=_names("SNOWFLAKE_PORT", "SNOW_PORT"))
    """Port of `host`."""
    protocol: Literal["https", "http"] = Field(
        "https", validation_alias=_names("SNOWFLAKE_PROTOCOL", "SNOW_PROTOCOL")
    )
    """Protocol of `host`."""
    network_timeout: int = Field(60, ge=1, validation_alias=_names("CAVES_SNOWFLAKE_NETWORK_TIMEOUT"))
    """Seconds a statement's network round trips may take in all before the warehouse counts as away."""
    login_timeout: int = Field(15, ge=1, validation_alias=_names("CAVES_SNOWFLAKE_LOGIN_TIMEOUT"))
    """Seconds to wait for a login."""
    local_password: SecretStr | None = Field(None, validation_alias=_names("CAVES_LOCAL_WAREHOUSE_PASSWORD"))
    """Password of the embedded server, where others than this machine's processes reach it."""

    @model_validator(mode="after")
    def _complete(self) -> SnowflakeSettings:
        if self.account and not self.user:
            raise ValueError("SNOWFLAKE_USER is missing although SNOWFLAKE_ACCOUNT is set")
        if self.account and not (self.password or self.private_key_path):
            raise ValueError(
                "SNOWFLAKE_ACCOUNT is set but neither SNOWFLAKE_PRIVATE_KEY_PATH nor SNOWFLAKE_PASSWORD is"
            )
        return self


class KafkaSettings(_Section):
    """The broker. Without KAFKA_BOOTSTRAP_SERVERS it is the embedded one."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str = Field("", validation_alias=_names("KAFKA_BOOTSTRAP_SERVERS"))
    """`host:port[,host:port]`. Empty: the embedded broker."""
    topic_name: str = Field("sales_events", min_length=1, validation_alias=_names("KAFKA_TOPIC_NAME"))
    """Topic of the wine shop's events."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", validation_alias=_names("KAFKA_SECURITY_PROTOCOL")
    )
    """How to speak to the broker."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, validation_alias=_names("KAFKA_SASL_MECHANISM")
    )
    """SASL mechanism, with SASL_PLAINTEXT or SASL_SSL."""
    sasl_username: str | None = Field(None, validation_alias=_names("KAFKA_SASL_USERNAME"))
    """SASL user, an API key on Confluent Cloud."""
    sasl_password: SecretStr | None = Field(None, validation_alias=_names("KAFKA_SASL_PASSWORD"))
    """SASL password, an API secret on Confluent Cloud."""
    ssl_ca_location: Path | None = Field(None, validation_alias=_names("KAFKA_SSL_CA_LOCATION"))
    """CA certificates, where the system's do not do."""
    timeout_seconds: float = Field(10.0, gt=0, validation_alias=_names("CAVES_KAFKA_TIMEOUT_SECONDS"))
    """Seconds a request may take, or a read bring nothing, before the broker counts as away. A run then
    waits for it for twice as long."""

    _embedded: bool = PrivateAttr(False)

    @property
    def remedy(self) -> str:
        """What to do when the broker cannot be reached."""
        if self._embedded:
            return "Start the embedded platform with `caves local start`, or set KAFKA_BOOTSTRAP_SERVERS."
        return "See that a broker runs there, or set KAFKA_BOOTSTRAP_SERVERS to where one does."

    @model_validator(mode="after")
    def _sasl_complete(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL") and not (
            self.sasl_mechanism and self.sasl_username and self.sasl_password
        ):
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.security_protocol} needs KAFKA_SASL_MECHANISM, "
                "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            )
        return self


class AlertSettings(_Section):
    """Who is told when something fails, and is over. Without any of them, the log alone."""

    model_config = SettingsConfigDict(env_prefix="CAVES_ALERT_")

    webhook_url: SecretStr | None = Field(None, validation_alias=_names("CAVES_ALERT_WEBHOOK_URL"))
    """Incoming webhook of Slack, or of what takes the same JSON. A secret: who knows it may post."""
    email_to: str = Field("", validation_alias=_names("CAVES_ALERT_EMAIL_TO"))
    """Addresses to send to, between commas."""
    email_from: str = Field("", validation_alias=_names("CAVES_ALERT_EMAIL_FROM"))
    """Sender's address."""
    smtp_host: str = Field("", validation_alias=_names("CAVES_ALERT_SMTP_HOST"))
    """Mail server."""
    smtp_port: int = Field(587, ge=1, le=65535, validation_alias=_names("CAVES_ALERT_SMTP_PORT"))
    """Its port; on 465 TLS from the first byte."""
    smtp_user: str = Field("", validation_alias=_names("CAVES_ALERT_SMTP_USER"))
    """Login name there, where it wants one."""
    smtp_password: SecretStr | None = Field(None, validation_alias=_names("CAVES_ALERT_SMTP_PASSWORD"))
    """Password of that login."""
    smtp_starttls: bool = Field(True, validation_alias=_names("CAVES_ALERT_SMTP_STARTTLS"))
    """Whether to change to TLS before anything is said."""
    severity: Literal["ERROR", "WARN"] = Field("ERROR", validation_alias=_names("CAVES_ALERT_SEVERITY"))
    """Least severity of a check's result, or of staleness, that is told."""
    grace_seconds: float = Field(60.0, ge=0, validation_alias=_names("CAVES_ALERT_GRACE_SECONDS"))
    """A failed run made good within this wakes nobody, and nothing is over before it was well so long."""
    dagster_url: str = Field("http://127.0.0.1:3000", validation_alias=_names("CAVES_DAGSTER_URL"))
    """Address of the Dagster UI, for links."""

    @field_validator("email_to", "email_from")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in (one.strip() for one in value.split(",")):
            if value and not re.fullmatch(r"[^@\s,<>]+@[^@\s,<>]+", address):
                raise ValueError(f"{address!r} is not an address like albert@example.org")
        return value

    @field_validator("webhook_url", "dagster_url")
    @classmethod
    def _url(cls, value: SecretStr | str | None) -> SecretStr | str | None:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is None:
            return None
        if not re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[!-~]*)?", text):
            raise ValueError("expected an address like https://host/path")
        return value if isinstance(value, SecretStr) else text.rstrip("/")

    @model_validator(mode="after")
    def _mail_complete(self) -> AlertSettings:
        if self.email_to and not (self.email_from and self.smtp_host):
            raise ValueError("CAVES_ALERT_EMAIL_TO needs CAVES_ALERT_EMAIL_FROM and CAVES_ALERT_SMTP_HOST")
        if bool(self.smtp_user) != bool(self.smtp_password):
            raise ValueError("CAVES_ALERT_SMTP_USER and CAVES_ALERT_SMTP_PASSWORD go together")
        if self.smtp_password and not (self.smtp_starttls or self.smtp_port == 465):
            raise ValueError(
                "CAVES_ALERT_SMTP_PASSWORD would travel unencrypted: set CAVES_ALERT_SMTP_STARTTLS=true, "
                "or CAVES_ALERT_SMTP_PORT=465"
            )
        return self


class FreshnessSettings(_Section):
    """When a table counts as stale. A quiet topic does not make it so; one that nobody reads does."""

    model_config = SettingsConfigDict(env_prefix="CAVES_FRESHNESS_")

    warn_minutes: float = Field(30.0, ge=1, validation_alias=_names("CAVES_FRESHNESS_WARN_MINUTES"))
    """Minutes without news, or without anybody seeing that there are none, after which there is a warning."""
    fail_minutes: float = Field(60.0, ge=1, validation_alias=_names("CAVES_FRESHNESS_FAIL_MINUTES"))
    """Minutes after which it is stale."""

    @model_validator(mode="after")
    def _in_order(self) -> FreshnessSettings:
        if self.warn_minutes >= self.fail_minutes:
            raise ValueError("CAVES_FRESHNESS_WARN_MINUTES must be less than CAVES_FRESHNESS_FAIL_MINUTES")
        return self


class DeadLetterBudget(_Section):
    """How many dead letters are too many: the check `dead_letter_budget`."""

    model_config = SettingsConfigDict(env_prefix="CAVES_DEAD_LETTER_")

    warn_share: float = Field(0.01, ge=0, le=1, validation_alias=_names("CAVES_DEAD_LETTER_WARN_SHARE"))
    """Share of the messages above which there is a warning."""
    fail_share: float = Field(0.05, ge=0, le=1, validation_alias=_names("CAVES_DEAD_LETTER_FAIL_SHARE"))
    """Share of the messages above which the check fails."""
    window_hours: float = Field(
        24.0, gt=0, le=24 * 366, validation_alias=_names("CAVES_DEAD_LETTER_WINDOW_HOURS")
    )
    """Hours that are looked back on."""
    min_messages: int = Field(100, ge=1, validation_alias=_names("CAVES_DEAD_LETTER_MIN_MESSAGES"))
    """With fewer messages in that time no share is too large."""

    @model_validator(mode="after")
    def _in_order(self) -> DeadLetterBudget:
        if self.warn_share > self.fail_share:
            raise ValueError(
                "CAVES_DEAD_LETTER_WARN_SHARE must not be more than CAVES_DEAD_LETTER_FAIL_SHARE"
            )
        return self


class CheckSettings(_Section):
    """How strict the checks are."""

    model_config = SettingsConfigDict(env_prefix="CAVES_CHECK_")

    severity: dict[str, Literal["ERROR", "WARN"]] = Field(
        default_factory=dict, validation_alias=_names("CAVES_CHECK_SEVERITY")
    )
    """Severity of a check, or of all rules of `data_quality`: JSON, `{"orders_known_products": "WARN"}`."""
    window_hours: float = Field(1.0, gt=0, validation_alias=_names("CAVES_CHECK_WINDOW_HOURS"))
    """Hours before a run that its checks look back on; validation looks at everything."""
    quiet_hours: float = Field(24.0, gt=0, validation_alias=_names("CAVES_CHECK_QUIET_HOURS"))
    """Hours without an event after which `recent_activity` warns."""
    stalled_minutes: float = Field(5.0, gt=0, validation_alias=_names("CAVES_CHECK_STALLED_MINUTES"))
    """Minutes that a row may wait in a stream, or a sensor may not tick, before `task_status` fails."""


class ConsumerSettings(_Section):
    """The always-on consumer, `caves consume`."""

    model_config = SettingsConfigDict(env_prefix="CAVES_CONSUMER_")

    batch_events: int = Field(100, ge=1, validation_alias=_names("CAVES_CONSUMER_BATCH_EVENTS"))
    """Events that are enough for a batch. What waits beside them comes along, up to `batch_max_events`."""
    linger_seconds: float = Field(1.0, gt=0, le=60, validation_alias=_names("CAVES_CONSUMER_LINGER_SECONDS"))
    """Seconds after which fewer are landed."""


class MetricsSettings(_Section):
    """Where metrics are served, by `caves consume` and `caves metrics`."""

    model_config = SettingsConfigDict(env_prefix="CAVES_METRICS_")

    host: str = Field("127.0.0.1", min_length=1, validation_alias=_names("CAVES_METRICS_HOST"))
    """Address to listen on; 0.0.0.0 in a container."""
    port: int = Field(8000, ge=0, le=65535, validation_alias=_names("CAVES_METRICS_PORT"))
    """Port; 0 serves none."""


class DashboardSettings(_Section):
    """The page of `caves dashboard`."""

    model_config = SettingsConfigDict(env_prefix="CAVES_DASHBOARD_")

    host: str = Field("127.0.0.1", min_length=1, validation_alias=_names("CAVES_DASHBOARD_HOST"))
    """Address to listen on; 0.0.0.0 in a container."""
    port: int = Field(8501, ge=1, le=65535, validation_alias=_names("CAVES_DASHBOARD_PORT"))
    """Port."""
    role: str = Field("", validation_alias=_names("CAVES_DASHBOARD_ROLE"))
    """Role it reads with, the least that can; SNOWFLAKE_ROLE otherwise."""
    refresh_seconds: float = Field(5.0, ge=1, validation_alias=_names("CAVES_DASHBOARD_REFRESH_SECONDS"))
    """Seconds between two looks at the warehouse while events come, however many browsers are open."""
    idle_seconds: float = Field(600.0, ge=1, validation_alias=_names("CAVES_DASHBOARD_IDLE_SECONDS"))
    """Seconds between two looks while none come. Each may wake a warehouse."""
    timeout_seconds: int = Field(15, ge=1, validation_alias=_names("CAVES_DASHBOARD_TIMEOUT_SECONDS"))
    """Seconds after which a warehouse that does not answer counts as away."""


class Settings(_Section):
    """All settings of one installation."""

    model_config = SettingsConfigDict(env_prefix="CAVES_")

    home: Path = Field(PROJECT_ROOT / ".caves", validation_alias=_names("CAVES_HOME"))
    """Where the embedded platform keeps its state."""
    group_id: str = Field("caves", min_length=1, validation_alias=_names("CAVES_GROUP_ID"))
    """Prefix of the consumer groups. Offsets are committed to them for lag tools only."""
    max_event_bytes: int = Field(4 * 2**20, ge=1024, validation_alias=_names("CAVES_MAX_EVENT_BYTES"))
    """A longer message becomes a dead letter."""
    batch_max_events: int = Field(50_000, ge=1, validation_alias=_names("CAVES_BATCH_MAX_EVENTS"))
    """Most events in one landing transaction."""
    batch_max_bytes: int = Field(32 * 2**20, ge=1024, validation_alias=_names("CAVES_BATCH_MAX_BYTES"))
    """Most message bytes (keys, values and headers) in one landing transaction. Two batches are in memory."""
    sensor_interval_seconds: int = Field(5, ge=1, validation_alias=_names("CAVES_SENSOR_INTERVAL_SECONDS"))
    """Seconds between ticks of the Kafka and stream sensors."""
    run_retention_days: float = Field(2.0, gt=0, validation_alias=_names("CAVES_RUN_RETENTION_DAYS"))
    """Finished Dagster runs older than this are deleted: their event logs have no retention of their own."""
    dagster_home: Path | None = Field(None, validation_alias=_names("DAGSTER_HOME"))
    """Dagster's own state; under `home` where it is not set."""
    shops: Annotated[tuple[str, ...], NoDecode] = Field((), validation_alias=_names("CAVES_SHOPS"))
    """Further shops, between commas: `package.module:ATTRIBUTE`, or folders written by `caves new-shop`."""
    without_shops: Annotated[tuple[str, ...], NoDecode] = Field(
        (), validation_alias=_names("CAVES_WITHOUT_SHOPS")
    )
    """Shops that are not to run, between commas: `caves,dropship`."""
    topics: Annotated[dict[str, str], NoDecode] = Field({}, validation_alias=_names("CAVES_TOPICS"))
    """Topics by shop, where they are not the declared ones: `dropship=orders-v2,…`."""
    db_path: Path = Field(PROJECT_ROOT / "test_data" / "wine_data.db", validation_alias=_names("DB_PATH"))
    """SQLite file of the wine shop's seed data."""
    seed_dir: Path = Field(PROJECT_ROOT / "data" / "seed", validation_alias=_names("CAVES_SEED_DIR"))
    """Folder of Dropship's CSV files: `caves seed` writes them, the batch half loads them."""
    seed_end_date: date = Field(date(2026, 6, 30), validation_alias=_names("CAVES_SEED_END_DATE"))
    """Last day of the seed's sales: fixed, so that the same seed gives the same data on any day."""
    batch_source: Path | None = Field(None, validation_alias=_names("CAVES_BATCH_SOURCE"))
    """Where the batch tables are loaded from: a SQLite file or a folder of CSV files; else `db_path`."""
    batch_first_day: date = Field(date(2025, 1, 1), validation_alias=_names("CAVES_BATCH_FIRST_DAY"))
    """First daily partition of the batch half: nothing older is loaded."""
    snowflake: SnowflakeSettings = Field(default_factory=SnowflakeSettings)
    """The warehouse."""
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    """The broker."""
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    """Who is told."""
    freshness: FreshnessSettings = Field(default_factory=FreshnessSettings)
    """When a table is stale."""
    dead_letters: DeadLetterBudget = Field(default_factory=DeadLetterBudget)
    """How many dead letters are too many."""
    checks: CheckSettings = Field(default_factory=CheckSettings)
    """How strict the checks are."""
    reports: Path = Field(PROJECT_ROOT / "reports", validation_alias=_names("CAVES_REPORTS"))
    """Folder of the validation reports."""
    report_retention_days: float = Field(30.0, gt=0, validation_alias=_names("CAVES_REPORT_RETENTION_DAYS"))
    """Validation reports older than this are deleted."""
    consumer: ConsumerSettings = Field(default_factory=ConsumerSettings)
    """The always-on consumer."""
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    """Where metrics are served."""
    dashboard: DashboardSettings = Field(default_factory=DashboardSettings)
    """The page of `caves dashboard`."""

    _embedded: tuple[str, ...] = PrivateAttr(())

    @property
    def dagster_folder(self) -> Path:
        """Where Dagster keeps its state, or will."""
        return self.dagster_home or self.home / "dagster"

    @property
    def dagster_state(self) -> Path | None:
        """The same folder; None where Dagster has no state yet."""
        return self.dagster_folder if (self.dagster_folder / "dagster.yaml").is_file() else None

    @property
    def embedded(self) -> tuple[str, ...]:
        """Which servers of the embedded platform these settings point at: "broker", "warehouse"."""
        return self._embedded

    @field_validator("shops", "without_shops", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("topics", mode="before")
    @classmethod
    def _by_shop(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",")]
        found = {shop.strip(): topic.strip() for shop, _, topic in pairs}
        if len(found) < len(pairs) or not all(found) or not all(found.values()):
            raise ValueError("expected shop=topic, with commas between them and each shop once")
        return found

    @field_validator("home", "db_path", "seed_dir", "batch_source", "dagster_home", "reports")
    @classmethod
    def _without_tilde(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser()


def load_settings(home: Path | None = None) -> Settings:
    """Read the settings once.

    Args:
        home: overrides CAVES_HOME.

    Raises:
        SettingsError: a value is missing or malformed; the message names the setting and what is valid,
            and never the value of a secret.
    """
    # CAVES_ENV_FILE names another file than `.env`; the demo and the tests read none.
    file = os.environ.get("CAVES_ENV_FILE", str(PROJECT_ROOT / ".env"))
    # CAVES_SECRETS_DIR likewise another folder; pydantic warns of one that is not there.
    folder = Path(os.environ.get("CAVES_SECRETS_DIR", _SECRETS_DIR))
    secrets = folder if folder.is_dir() else None
    try:
        kafka = KafkaSettings(_env_file=file, _secrets_dir=secrets)
        snowflake = SnowflakeSettings(_env_file=file, _secrets_dir=secrets)
        settings = Settings(
            _env_file=file,
            _secrets_dir=secrets,
            kafka=kafka,
            snowflake=snowflake,
            alerts=AlertSettings(_env_file=file, _secrets_dir=secrets),
            freshness=FreshnessSettings(_env_file=file, _secrets_dir=secrets),
            dead_letters=DeadLetterBudget(_env_file=file, _secrets_dir=secrets),
            checks=CheckSettings(_env_file=file, _secrets_dir=secrets),
            consumer=ConsumerSettings(_env_file=file, _secrets_dir=secrets),
            metrics=MetricsSettings(_env_file=file, _secrets_dir=secrets),
            dashboard=DashboardSettings(_env_file=file, _secrets_dir=secrets),
        )
    except ValidationError as error:
        raise SettingsError(_explain(error), "See .env.example for every setting.") from None
    except (OSError, UnicodeDecodeError, EnvironmentSettingsError) as error:
        raise SettingsError(
            f"The settings in {file}, {secrets or 'no folder of secrets'} or the environment cannot be read "
            f"({type(error).__name__}).",
            "See .env.example for every setting.",
        ) from None
    chosen: dict[str, object] = {} if home is None else {"home": home}
    endpoints = Endpoints.read(home or settings.home)
    embedded: list[str] = []
    if not kafka.bootstrap_servers:
        kafka = kafka.model_copy(update=endpoints.kafka.model_dump())
        kafka._embedded = True
        embedded.append("broker")
    if not snowflake.account:
        password = snowflake.local_password or SecretStr(endpoints.snowflake.password)
        local = endpoints.snowflake.model_dump() | {"password": password}
        snowflake = snowflake.model_copy(update=local | {"private_key_path": None, "role": None})
        embedded.append("warehouse")
    chosen |= {"kafka": kafka, "snowflake": snowflake}
    settings = settings.model_copy(update=chosen)
    settings._embedded = tuple(embedded)
    return settings


def embedded_settings(home: Path) -> Settings:
    """The default settings on the embedded platform under `home`, whatever the environment says."""
    endpoints = Endpoints.read(home)
    local = endpoints.snowflake.model_dump() | {"password": SecretStr(endpoints.snowflake.password)}
    kafka = KafkaSettings.model_construct(**endpoints.kafka.model_dump())
    kafka._embedded = True
    settings = Settings.model_construct(
        home=home,
        db_path=home / "wine_data.db",
        seed_dir=home / "seed",
        reports=home / "reports",
        kafka=kafka,
        snowflake=SnowflakeSettings.model_construct(**local),
        alerts=AlertSettings.model_construct(),
        freshness=FreshnessSettings.model_construct(),
        dead_letters=DeadLetterBudget.model_construct(),
        checks=CheckSettings.model_construct(),
        consumer=ConsumerSettings.model_construct(),
        metrics=MetricsSettings.model_construct(),
        dashboard=DashboardSettings.model_construct(),
    )
    settings._embedded = ("broker", "warehouse")
    return settings


def embedded_environment(home: Path) -> dict[str, str]:
    """The environment of a child process that is to use the platform under `home`, whatever is set."""
    own = ("SNOWFLAKE_", "SNOW_", "KAFKA_", "CAVES_", "DAGSTER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    files = {
        "CAVES_HOME": str(home),
        "DB_PATH": str(home / "wine_data.db"),
        "CAVES_SEED_DIR": str(home / "seed"),
        "CAVES_REPORTS": str(home / "reports"),
    }
    return kept | files | {"CAVES_ENV_FILE": os.devnull, "CAVES_SECRETS_DIR": os.devnull}


def _explain(error: ValidationError) -> str:
    """One line a setting: its name in the environment and what it expects."""
    lines = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else ""
        message = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return "; ".join(lines) + "."
