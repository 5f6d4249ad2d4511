"""The HTTP face of the warehouse: the requests a Snowflake connector makes.

Every answer to a statement is HTTP 200; a failure is `success: false` with Snowflake's number. (To the
connector a 5xx is a reason to send the statement again.) It still re-sends when the network fails: a
request id that was seen is answered with what it was answered before, and not run again.
"""

from __future__ import annotations

import gzip
import hmac
import json
import logging
import secrets
import uuid
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from caves_dagster.local.warehouse import answers
from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.registry import Registry
from caves_dagster.local.warehouse.session import Session

log = logging.getLogger(__name__)

SERVER_VERSION = "10.0.0"
"""What clients that look for a recent enough Snowflake are told."""


class Credentials:
    """The one account and user that may log in."""

    def __init__(self, account: str, user: str, password: str) -> None:
        self.account, self.user, self.password = account, user, password

    def match(self, account: str, user: str, password: str) -> bool:
        """Whether a login carries them. Account and user are compared without case, as Snowflake does."""
        account = account.split(".")[0]
        same_user = (account.lower(), user.lower()) == (self.account.lower(), self.user.lower())
        return hmac.compare_digest(password.encode(), self.password.encode()) and same_user


class Warehouse:
    """Answers the requests.

    Args:
        registry: the sessions.
        credentials: who may log in.
    """

    def __init__(self, registry: Registry, credentials: Credentials) -> None:
        self.registry = registry
        self.credentials = credentials
        self._running: dict[str, Session] = {}

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/session/v1/login-request", self.login, methods=["POST"]),
            Route("/session/token-request", self.renew, methods=["POST"]),
            Route("/session/heartbeat", self.heartbeat, methods=["POST", "GET"]),
            Route("/session", self.session, methods=["POST"]),
            Route("/queries/v1/query-request", self.query, methods=["POST"]),
            Route("/queries/v1/abort-request", self.abort, methods=["POST"]),
            Route("/monitoring/queries/{query_id}", self.monitoring, methods=["GET"]),
            Route("/telemetry/send", self.telemetry, methods=["POST"]),
            Route("/health", self.health, methods=["GET"]),
        ]
        return Starlette(routes=routes)

    async def login(self, request: Request) -> Response:
        """Log in. Wrong credentials are 390100, as on Snowflake."""
        body = (await _body(request))["data"]
        account = str(body.get("ACCOUNT_NAME", ""))
        user = str(body.get("LOGIN_NAME", ""))
        if not self.credentials.match(account, user, str(body.get("PASSWORD") or "")):
            log.warning("Login refused for user %r of account %r.", user, account)
            return _failure(
                "390100",
                "Incorrect username or password was specified.",
                {"authnMethod": "USERNAME_PASSWORD"},
            )
        given = {
            key.upper(): _parameter(value) for key, value in (body.get("SESSION_PARAMETERS") or {}).items()
        }
        query = request.query_params
        try:
            token, session = await run_in_threadpool(
                self._open, user, given, query.get("databaseName"), query.get("schemaName")
            )
        except StatementError as error:
            return _failure(f"{error.errno:06d}", error.message, {"sqlState": error.sqlstate})
        session.warehouse, session.role = _folded(query.get("warehouse")), _folded(query.get("roleName"))
        parameters = [
            {"name": "AUTOCOMMIT", "value": session.autocommit},
            {"name": "CLIENT_SESSION_KEEP_ALIVE_HEARTBEAT_FREQUENCY", "value": 3600},
            {"name": "CLIENT_STAGE_ARRAY_BINDING_THRESHOLD", "value": 0},  # array bindings come inline
            {"name": "CLIENT_TELEMETRY_ENABLED", "value": False},
            {"name": "TIMEZONE", "value": "Etc/UTC"},
        ]
        data = {
            "token": token,
            "masterToken": secrets.token_urlsafe(32),  # without one the connector never ends its session
            "validityInSeconds": 24 * 3600,
            "masterValidityInSeconds": 24 * 3600,
            "displayUserName": user.upper(),
            "serverVersion": SERVER_VERSION,
            "sessionId": int(session.id),
            "parameters": parameters,
            "sessionInfo": {
                "databaseName": session.database,
                "schemaName": session.schema,
                "warehouseName": session.warehouse,
                "roleName": session.role or "SYSADMIN",
            },
        }
        return JSONResponse({"data": data, "code": None, "message": None, "success": True})

    async def renew(self, request: Request) -> Response:
        """Tokens do not expire; one that is asked to be renewed belongs to a server that is gone."""
        return _failure("390111", "Session no longer exists. New login required to access the service.")

    async def heartbeat(self, request: Request) -> Response:
        """Keep a session."""
        if (session := self._session(request)) is None:
            return _gone()
        session.heard()
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def session(self, request: Request) -> Response:
        """End a session."""
        if request.query_params.get("delete"):
            await run_in_threadpool(self.registry.close, _token(request))
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def query(self, request: Request) -> Response:
        """Run a statement."""
        if (session := self._session(request)) is None:
            return _gone()
        body = await _body(request)
        request_id = request.query_params.get("requestId") or str(uuid.uuid4())
        answer = await run_in_threadpool(self._answer, session, request_id, body)
        return Response(answer, media_type="application/json")

    async def abort(self, request: Request) -> Response:
        """Stop a statement that is running."""
        body = await _body(request)
        if (session := self._running.get(str(body.get("requestId")))) is not None:
            session.cursor.interrupt()
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def monitoring(self, request: Request) -> Response:
        """The status of a statement that is over."""
        known = self.registry.recent.find(request.path_params["query_id"])
        queries = [] if known is None else [{"id": known.query_id, "status": "SUCCESS"}]
        return JSONResponse({"data": {"queries": queries}, "success": True})

    async def telemetry(self, request: Request) -> Response:
        """Taken and thrown away."""
        return JSONResponse({"data": None, "code": None, "message": None, "success": True})

    async def health(self, request: Request) -> Response:
        """Whether the server serves."""
        return JSONResponse({"sessions": len(self.registry.sessions())})

    def _open(
        self, user: str, parameters: dict[str, str], database: str | None, schema: str | None
    ) -> tuple[str, Session]:
        token, session = self.registry.open(user, parameters)
        try:
            if name := _folded(database):
                self.registry.catalog.ensure_database(name)
                wanted = _folded(schema)
                known = wanted and self.registry.catalog.has_schema(session.cursor, name, wanted)
                session.use(name, wanted if known else None, public=not wanted)
        except BaseException:
            self.registry.close(token)
            raise
        return token, session

    def _session(self, request: Request) -> Session | None:
        return self.registry.find(_token(request))

    def _answer(self, session: Session, request_id: str, body: dict[str, Any]) -> bytes:
        self._running[request_id] = session
        try:
            return answers.answer(session, request_id, body)
        finally:
            self._running.pop(request_id, None)


def _failure(code: str, message: str, data: dict[str, Any] | None = None) -> Response:
    return JSONResponse({"data": data or {}, "code": code, "message": message, "success": False})


def _gone() -> Response:
    """A token of an earlier server: 401, which the connector reports at once as 290401."""
    body = {
        "data": None,
        "code": "390104",
        "message": "User must login again to access the service.",
        "success": False,
    }
    return JSONResponse(body, status_code=401)


def _token(request: Request) -> str:
    return request.headers.get("Authorization", "").partition('Token="')[2].rstrip('"')


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if request.headers.get("Content-Encoding") == "gzip":
        raw = gzip.decompress(raw)
    return dict(json.loads(raw or b"{}"))


def _parameter(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _folded(name: str | None) -> str | None:
    """A name as a connection gives it: upper case unless in double quotes."""
    if not name:
        return None
    return name[1:-1] if name.startswith('"') and name.endswith('"') else name.upper()
