"""`caves alerts test`, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caves_dagster_tests.alerts.servers import running_hook


def alerts_test(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CAVES_HOME": str(home),
        "CAVES_DAGSTER_URL": "http://ui.example/",
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-c", "from caves_dagster.cli import main; main()", "alerts", "test"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_a_channel_it_says_what_to_set(tmp_path: Path) -> None:
    done = alerts_test(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No channel is configured" in done.stdout
    assert "CAVES_ALERT_WEBHOOK_URL" in done.stdout


def test_a_message_is_sent_to_the_webhook(tmp_path: Path) -> None:
    with running_hook() as hook:
        done = alerts_test(tmp_path, CAVES_ALERT_WEBHOOK_URL=hook.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "delivered by webhook\n"
    (text,) = hook.texts
    assert text.startswith("*Test of alerts*\n")
    assert text.endswith("<http://ui.example>")


@pytest.mark.parametrize("status", [404, 500])
def test_each_channel_that_does_not_take_it_is_named_and_the_exit_code_is_one(
    tmp_path: Path, status: int
) -> None:
    mail = {
        "CAVES_ALERT_EMAIL_TO": "albert@example.org",
        "CAVES_ALERT_EMAIL_FROM": "dagster@example.org",
        "CAVES_ALERT_SMTP_HOST": "127.0.0.1",
        "CAVES_ALERT_SMTP_PORT": "1",
    }
    with running_hook() as hook:
        hook.answers = [status] * 3
        done = alerts_test(tmp_path, CAVES_ALERT_WEBHOOK_URL=hook.url, **mail)
    assert (done.returncode, done.stderr) == (1, "")
    email, webhook = done.stdout.splitlines()
    assert email.startswith("not delivered The mail server 127.0.0.1:1 took no alert")
    assert webhook.startswith(f"not delivered The webhook did not take an alert: it answered {status}.")
    assert "m4rked" not in done.stdout
