"""Deliveries to a real webhook and a real mail server of this machine: taken, refused, late, away."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from caves_dagster.alerts.channels import TICK_SECONDS, Channel, Email, Log, Webhook, channels, deliver
from caves_dagster.alerts.messages import Message
from caves_dagster.errors import AlertNotDelivered
from caves_dagster.local import ports
from caves_dagster.settings import AlertSettings
from caves_dagster_tests.alerts.servers import (
    PASSWORD,
    USER,
    Hook,
    Mailbox,
    running_hook,
    running_mailbox,
)

MARK = "m4rked"
MESSAGE = Message(
    "Failing: duplicates on production/orders",
    ("since 2026-06-30 10:00:00 UTC (10 s), 1 failure", "offending keys:", "<67890> & more, Rosé 🌸"),
    "http://127.0.0.1:3000/assets/production/orders?view=checks&checkDetail=duplicates",
)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with running_hook() as running:
        yield running


def webhook(url: str) -> Webhook:
    return Webhook(AlertSettings.model_construct(webhook_url=SecretStr(url)))


def mail_settings(port: int, **more: Any) -> AlertSettings:
    return AlertSettings.model_construct(
        **{
            "email_to": "albert@example.org, marie@example.org",
            "email_from": "dagster@example.org",
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_user": USER,
            "smtp_password": SecretStr(PASSWORD),
            **more,
        }
    )


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with running_mailbox(tmp_path, ports.any_free("127.0.0.1")) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        yield running


def refusal(channel: Channel) -> AlertNotDelivered:
    """Why a message was not delivered; never with a secret, not even in what is attached to the error."""
    with pytest.raises(AlertNotDelivered) as caught:
        channel.send(MESSAGE)
    error: BaseException | None = caught.value
    while error is not None:
        assert MARK not in f"{error!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__
    return caught.value


# --- the webhook


def test_a_webhook_is_sent_slack_s_json(hook: Hook) -> None:
    webhook(hook.url).send(MESSAGE)
    assert hook.texts == [
        "*Failing: duplicates on production/orders*\n"
        "since 2026-06-30 10:00:00 UTC (10 s), 1 failure\n"
        "offending keys:\n"
        "&lt;67890&gt; &amp; more, Rosé 🌸\n"
        "<http://127.0.0.1:3000/assets/production/orders?view=checks&checkDetail=duplicates>"
    ]


def test_a_webhook_that_fails_once_is_tried_again(hook: Hook) -> None:
    hook.answers = [500]
    webhook(hook.url).send(MESSAGE)
    assert (len(hook.texts), hook.requests) == (1, 2)


@pytest.mark.parametrize(("status", "requests"), [(500, 2), (503, 2), (429, 1), (404, 1), (302, 1)])
def test_a_webhook_that_refuses_is_tried_again_only_where_that_may_help(
    hook: Hook, status: int, requests: int
) -> None:
    hook.answers = [status] * 10
    error = refusal(webhook(hook.url))
    assert str(status) in error.problem
    assert "CAVES_ALERT_WEBHOOK_URL" in error.remedy
    assert hook.requests == requests


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/services/m4rked",
        "http://m4rked.invalid/services/m4rked",
        "http://127.0.0.1:99999/m4rked",
        "https://127.0.0.1:{port}/m4rked",
    ],
)
def test_a_webhook_that_is_not_there_is_named_without_its_address(hook: Hook, url: str) -> None:
    port = hook.url.split(":")[2].split("/")[0]
    assert "did not answer" in refusal(webhook(url.replace("{port}", port))).problem


# --- e-mail


def test_a_mail_goes_to_everybody_over_tls(mailbox: Mailbox) -> None:
    Email(mail_settings(mailbox.port)).send(MESSAGE)
    (mail,) = mailbox.mails
    assert mail["Subject"] == MESSAGE.title
    assert mail["From"] == "dagster@example.org"
    assert mail["X-Envelope-To"] == "albert@example.org,marie@example.org"
    assert mail.get_content().replace("\r\n", "\n").strip() == MESSAGE.text
    assert mail["Date"]
    assert mail["Message-ID"]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # there is no other
def test_a_port_with_tls_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.any_free("127.0.0.1")
    monkeypatch.setattr("caves_dagster.alerts.channels._SMTPS", port)
    with running_mailbox(tmp_path, port, tls_from_start=True) as mailbox:
        monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.certificate))
        Email(mail_settings(port)).send(MESSAGE)
        assert len(mailbox.mails) == 1


def test_a_mail_server_that_is_not_trusted_gets_nothing(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSLCertVerificationError" in refusal(Email(mail_settings(mailbox.port))).problem
    assert mailbox.mails == []


def test_a_wrong_password_is_not_told(mailbox: Mailbox) -> None:
    error = refusal(Email(mail_settings(mailbox.port, smtp_password=SecretStr("m4rked-wrong"))))
    assert "535" in error.problem
    assert f"127.0.0.1:{mailbox.port}" in error.problem
    assert "CAVES_ALERT_SMTP_" in error.remedy


@pytest.mark.parametrize("answer", ["451 later", "550 never"])
def test_a_mail_that_is_refused_is_not_delivered(mailbox: Mailbox, answer: str) -> None:
    mailbox.answer = answer
    assert answer.split()[0] in refusal(Email(mail_settings(mailbox.port))).problem


def test_a_mail_server_that_is_not_there(mailbox: Mailbox) -> None:
    assert "ConnectionRefusedError" in refusal(Email(mail_settings(1))).problem


def test_a_title_of_several_lines_is_a_subject_of_one(mailbox: Mailbox) -> None:
    Email(mail_settings(mailbox.port)).send(Message("a\r\nBcc: eve@example.org", (), "http://x"))
    (mail,) = mailbox.mails
    assert mail["Subject"] == "a Bcc: eve@example.org"
    assert mail["Bcc"] is None


# --- which, and how long


def test_without_settings_there_is_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    (only,) = channels(AlertSettings.model_construct(), logging.getLogger("tick"))
    assert isinstance(only, Log)
    caplog.set_level(logging.INFO)
    only.send(MESSAGE)
    only.send(Message("Over: duplicates", (), "http://x", over=True))
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.records[0].getMessage() == MESSAGE.text


def test_every_configured_channel_is_there(hook: Hook) -> None:
    settings = mail_settings(587, webhook_url=SecretStr(hook.url))
    assert [one.name for one in channels(settings, logging.getLogger())] == ["log", "webhook", "email"]


class Slow:
    """Takes its time; notes when it began."""

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds
        self.sent: list[str] = []

    def send(self, message: Message) -> None:
        self.sent.append(message.title)
        time.sleep(self.seconds)


def titled(*titles: str) -> list[tuple[str, Message]]:
    return [(title, Message(title, (), "")) for title in titles]


def test_a_channel_that_hangs_holds_nobody_up_longer_than_the_tick_may_last() -> None:
    hanging, quick = Slow("hanging", 1.5), Slow("quick", 0.0)
    began = time.monotonic()
    told, problems = deliver({"hanging": titled("a", "b"), "quick": titled("c", "d")}, [hanging, quick], 0.5)
    assert time.monotonic() - began < 1.4
    assert (told, quick.sent) == (["c", "d"], ["c", "d"])
    assert problems == ["An alert was not delivered by hanging within 0.5 s."]
    time.sleep(1.5)
    assert hanging.sent == ["a"], "what is late sends nothing more"
    assert told == ["c", "d"]


def test_what_does_not_fit_into_a_tick_is_left_for_the_next() -> None:
    told, _ = deliver({"slow": titled(*"abcdefghij")}, [Slow("slow", 0.2)], 1.0)
    assert told == list("abcdefghij")[: len(told)]
    assert 1 <= len(told) <= 5


def test_after_a_failure_a_channel_is_left_alone_until_the_next_tick(hook: Hook) -> None:
    hook.answers = [200, 404]
    told, problems = deliver({"webhook": titled("a", "b", "c")}, [webhook(hook.url)])
    assert told == ["a"]
    assert hook.requests == 2
    assert len(problems) == 1


def test_an_error_of_a_library_is_a_problem_and_not_an_exception() -> None:
    class Broken:
        name = "broken"

        def send(self, message: Message) -> None:
            raise RuntimeError(f"with {MARK}")

    told, problems = deliver({"broken": titled("a")}, [Broken()])
    assert (told, problems) == ([], ["An alert was not delivered by broken: RuntimeError."])


def test_a_server_that_never_answers_ends_within_the_tick() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as mute:
        port = mute.getsockname()[1]
        ways: list[Channel] = [webhook(f"http://127.0.0.1:{port}/m4rked"), Email(mail_settings(port))]
        began = time.monotonic()
        told, problems = deliver({"webhook": titled("a"), "email": titled("a")}, ways)
    assert time.monotonic() - began < TICK_SECONDS + 1
    assert told == []
    assert len(problems) == 2
    assert MARK not in str(problems)
