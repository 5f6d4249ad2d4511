"""Where messages go: a webhook, e-mail, the log.

The webhook's address is a secret, and HTTP libraries write it to logs and errors: urllib3 logs the path of
every request, httpx the whole address. So this is urllib, which logs nothing; its errors are not passed on.
"""

from __future__ import annotations

import json
import logging
import smtplib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPException
from threading import Thread
from typing import Any, Protocol, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from caves_dagster.alerts.messages import Message
from caves_dagster.errors import AlertNotDelivered
from caves_dagster.settings import AlertSettings

ATTEMPT_SECONDS = 2.0
TICK_SECONDS = 5.0
"""How long deliveries may hold a sensor's tick up, whatever the other side does."""
_SMTPS = 465
_Item = TypeVar("_Item")


class Channel(Protocol):
    """One way to tell somebody."""

    name: str

    def send(self, message: Message) -> None:
        """Deliver one message.

        Raises:
            AlertNotDelivered: it was not, or nobody said that it was.
        """


class Log:
    """The log of the sensor's tick, in the UI and in the daemon's output."""

    name = "log"

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def send(self, message: Message) -> None:
        self._logger.log(logging.INFO if message.over else logging.WARNING, "%s", message.text)


class Webhook:
    """Slack's incoming webhooks, and what takes the same JSON: Mattermost, Rocket.Chat, Discord's /slack."""

    name = "webhook"

    def __init__(self, settings: AlertSettings) -> None:
        assert settings.webhook_url is not None
        self._url = settings.webhook_url

    def send(self, message: Message) -> None:
        _retrying(self._post, json.dumps({"text": message.slack}).encode())

    def _post(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "caves-dagster"}
        try:
            request = urllib.request.Request(self._url.get_secret_value(), body, headers)
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=ATTEMPT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            problem, again = f"it answered {error.code}", error.code >= 500
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            problem, again = f"it did not answer ({type(reason).__name__})", True
        # Not in the `except`: these errors name the address, and would stay attached as the context.
        remedy = "Check CAVES_ALERT_WEBHOOK_URL, and the service behind it."
        raise _not_delivered(f"The webhook did not take an alert: {problem}.", remedy, again)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and tell another server the address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Email:
    """SMTP: with STARTTLS, on port 465 with TLS from the start, or without where the settings say so."""

    name = "email"

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings

    def send(self, message: Message) -> None:
        mail = EmailMessage()
        mail["Subject"] = " ".join(message.title.split())
        mail["From"], mail["To"] = self._settings.email_from, self._settings.email_to
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="caves-dagster")
        mail.set_content(message.text)
        _retrying(self._hand_over, mail)

    def _hand_over(self, mail: EmailMessage) -> None:
        settings = self._settings
        try:
            with self._connection() as server:
                if settings.smtp_user and settings.smtp_password:
                    server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
                refused = server.send_message(mail)
        except smtplib.SMTPResponseException as error:
            problem, again = f"it answered {error.smtp_code}", 400 <= error.smtp_code < 500
        except smtplib.SMTPRecipientsRefused as error:
            problem, again = f"it refused {', '.join(sorted(error.recipients))}", False
        except (OSError, smtplib.SMTPException, ValueError) as error:
            problem, again = f"no talk with it ({type(error).__name__})", not isinstance(error, ssl.SSLError)
        else:
            if refused:
                logging.getLogger(__name__).warning("The mail server refused %s.", ", ".join(sorted(refused)))
            return
        where = f"{settings.smtp_host}:{settings.smtp_port}"
        remedy = "Check CAVES_ALERT_SMTP_* and CAVES_ALERT_EMAIL_*."
        raise _not_delivered(f"The mail server {where} took no alert: {problem}.", remedy, again)

    def _connection(self) -> smtplib.SMTP:
        settings, tls = self._settings, ssl.create_default_context()
        host, port = settings.smtp_host, settings.smtp_port
        if port == _SMTPS:
            return smtplib.SMTP_SSL(host, port, timeout=ATTEMPT_SECONDS, context=tls)
        server = smtplib.SMTP(host, port, timeout=ATTEMPT_SECONDS)
        if settings.smtp_starttls:
            try:
                server.starttls(context=tls)
            except BaseException:
                server.close()
                raise
        return server


def channels(settings: AlertSettings, logger: logging.Logger) -> list[Channel]:
    """The log, and what the settings name."""
    found: list[Channel] = [Log(logger)]
    if settings.webhook_url:
        found.append(Webhook(settings))
    if settings.email_to:
        found.append(Email(settings))
    return found


def deliver(
    messages: Mapping[str, Sequence[tuple[_Item, Message]]],
    to: Sequence[Channel],
    seconds: float = TICK_SECONDS,
) -> tuple[list[_Item], list[str]]:
    """Send each channel its messages, the channels side by side, each until its first failure.

    Args:
        messages: by the channel's name, each with what is handed back when it was delivered.
        seconds: after so long it is enough. A message that is on its way then counts as not delivered.

    Returns:
        What was delivered, and the problems.
    """
    done: list[_Item] = []
    problems: dict[str, str] = {}
    deadline = time.monotonic() + seconds

    def work(channel: Channel) -> None:
        try:
            for item, message in messages.get(channel.name, ()):
                if time.monotonic() >= deadline:
                    return
                channel.send(message)
                if time.monotonic() < deadline:
                    done.append(item)
        except AlertNotDelivered as error:
            problems[channel.name] = str(error)
        except Exception as error:  # noqa: BLE001 - an alert must not end a sensor, whatever a library raises
            problems[channel.name] = f"An alert was not delivered by {channel.name}: {type(error).__name__}."

    threads = {
        one.name: Thread(target=work, args=(one,), name=f"alert-{one.name}", daemon=True) for one in to
    }
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            problems.setdefault(name, f"An alert was not delivered by {name} within {seconds:g} s.")
    return list(done), [problem for _, problem in sorted(problems.items())]


def _retrying(send: Any, what: Any) -> None:
    """Once more after a moment, where that may help; what fails then is for the next tick."""
    worth_it = retry_if_exception(lambda error: isinstance(error, AlertNotDelivered) and error.retryable)
    for attempt in Retrying(retry=worth_it, stop=stop_after_attempt(2), wait=wait_fixed(0.5), reraise=True):
        with attempt:
            send(what)


def _not_delivered(problem: str, remedy: str, retryable: bool) -> AlertNotDelivered:
    error = AlertNotDelivered(problem, remedy)
    error.retryable = retryable
    return error
