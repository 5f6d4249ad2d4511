"""A real Prometheus of the tests' own: Debian's package, on a free port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from caves_dagster.local import ports
from caves_dagster.settings import PROJECT_ROOT
from caves_dagster_tests.brokers import until

FOLDER = PROJECT_ROOT / "monitoring" / "prometheus"


def require(program: str) -> str:
    """Path of a program of the package; without it the test is skipped, on CI it fails."""
    found = shutil.which(program)
    if found:
        return found
    problem = f"{program} is not installed (Debian's package `prometheus`)."
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"CI has to run the tests on a real Prometheus. {problem}", pytrace=False)
    pytest.skip(problem)


class Prometheus:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now."""
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, int]) -> Iterator[Prometheus]:
    """The product's own configuration, with its jobs' targets on local ports and scraped every second."""
    program = require("prometheus")
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    assert targets.keys() <= jobs
    config["scrape_configs"] = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for name, port in targets.items()
    ]
    shutil.copy(FOLDER / "rules.yml", folder)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = ports.any_free("127.0.0.1")
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Prometheus(port)
    try:
        until(server.is_ready, "Prometheus is ready", 60)
        yield server
    finally:
        process.terminate()
        process.wait(30)
