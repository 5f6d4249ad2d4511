"""Serves /metrics for Prometheus, and /healthz and /readyz for whoever starts containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from caves_dagster.errors import PlatformError

Problems = Callable[[], Sequence[str]]


@contextmanager
def serving(
    registry: CollectorRegistry,
    host: str,
    port: int,
    unhealthy: Problems,
    unready: Problems,
    option: str = "--metrics-port",
) -> Iterator[int]:
    """Serve while the block runs; gives the port.

    Args:
        port: 0 for any that is free.
        unhealthy: why the process should be started anew; nothing if it should not.
        unready: why it does not do its work now; nothing if it does.
        option: the command's own for another port.

    Raises:
        PlatformError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(200, kind, encode(registry))
            elif path in ("/healthz", "/readyz"):
                problems = unhealthy() if path == "/healthz" else unready()
                text = "".join(f"{problem}\n" for problem in problems) or "ok\n"
                self._answer(503 if problems else 200, "text/plain; charset=utf-8", text.encode())
            else:
                self._answer(404, "text/plain; charset=utf-8", b"There are /metrics, /healthz and /readyz.\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape every few seconds is no news."""

    ThreadingHTTPServer.allow_reuse_address = True
    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise PlatformError(
            f"Metrics cannot be served on {host}:{port} ({error.strerror}).",
            f"Choose another port with {option}, or set CAVES_METRICS_PORT.",
        ) from error
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
