"""A webhook and a mail server on free ports of this machine, which note what they are sent."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

PATH = "/services/T0/B0/m4rked-webhook"
USER, PASSWORD = "caves", "m4rked-smtp"


@dataclass
class Hook:
    """A webhook.

    Attributes:
        answers: status of the next requests; 200 when they are used up.
        delay: seconds before each answer.
        texts: what was posted and answered with 200.
        requests: how many requests there were.
    """

    url: str = ""
    answers: list[int] = field(default_factory=list)
    delay: float = 0.0
    texts: list[str] = field(default_factory=list)
    requests: int = 0

    def taken(self) -> list[str]:
        """The texts since this was last asked."""
        texts, self.texts = self.texts, []
        return texts


@contextmanager
def running_hook() -> Iterator[Hook]:
    """A webhook at `PATH`."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.requests += 1
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(hook.delay)
            status = hook.answers.pop(0) if hook.answers else 200
            assert self.path == PATH
            if status == 200:
                hook.texts.append(body["text"])
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the test's stderr."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up."""

    with Server(("127.0.0.1", 0), Handler) as server:
        hook.url = f"http://127.0.0.1:{server.server_port}{PATH}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Mailbox:
    """A mail server.

    Attributes:
        port: where it listens.
        certificate: the file whose issuer a client has to trust.
        mails: what it took.
        answer: what it says to a mail.
    """

    port: int
    certificate: Path
    mails: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.mails[-1]["X-Envelope-To"] = ",".join(envelope.rcpt_tos)
        return self.answer


@contextmanager
def running_mailbox(folder: Path, port: int, tls_from_start: bool = False) -> Iterator[Mailbox]:
    """A mail server that wants TLS, and a login by `USER` and `PASSWORD`."""
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    mailbox = Mailbox(port, certificate)

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login, data.password)
        return AuthResult(success=given == (USER.encode(), PASSWORD.encode()), handled=False)

    tls = {"ssl_context": context} if tls_from_start else {"tls_context": context, "require_starttls": True}
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port,
        authenticator=authenticate,
        auth_required=True,
        auth_require_tls=not tls_from_start,
        **tls,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def _certificate(folder: Path) -> Path:
    """A file with a fresh key and its own certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "mail.pem"
    path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()) + signed.public_bytes(pem))
    return path
