"""What `caves dashboard` refuses to start on."""

from __future__ import annotations

import socket

import pytest

from caves_dagster.cli import dashboard as command
from caves_dagster.errors import CavesError


def test_a_port_that_is_taken_is_named_with_the_option() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CavesError, match=rf"Port {port} of 127.0.0.1 is taken.*--port"):
            command.dashboard(port=port)


def test_a_shop_that_there_is_not_is_named() -> None:
    with pytest.raises(CavesError, match="There is no shop 'nowhere'"):
        command.dashboard(shop="nowhere")


def test_without_streamlit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(CavesError, match=r"caves-dagster\[dashboard\]"):
        command.dashboard()
