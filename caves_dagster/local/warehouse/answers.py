"""The answer to one statement request: run, or, if the request was seen before, what it was answered then."""

from __future__ import annotations

import json
import logging
import os
import signal
import uuid
from typing import Any

import duckdb

from caves_dagster.local.warehouse import bindings, results
from caves_dagster.local.warehouse.errors import StatementError
from caves_dagster.local.warehouse.session import Session

log = logging.getLogger(__name__)

_REMEMBERED = 16
_REMEMBERED_BYTES = 2**20


def answer(session: Session, request_id: str, body: dict[str, Any]) -> bytes:
    """The JSON answer to a statement. A request sent again while it runs waits for the first one's answer."""
    with session.lock:
        if (known := session.answers.get(request_id)) is not None:
            log.info("Request %s was sent again; answered as before.", request_id)
            return known
        encoded = json.dumps(_run(session, body), ensure_ascii=False).encode("utf-8", "surrogatepass")
        # A large answer is that of a query, which may as well run again.
        if len(encoded) <= _REMEMBERED_BYTES:
            session.answers[request_id] = encoded
            while len(session.answers) > _REMEMBERED:
                session.answers.popitem(last=False)
        return encoded


def _run(session: Session, body: dict[str, Any]) -> dict[str, Any]:
    query_id, sql = str(uuid.uuid4()), str(body.get("sqlText", ""))
    log.debug("%s session %s: %s", query_id, session.id, " ".join(sql.split()))
    try:
        if session.closed:
            raise StatementError("Session no longer exists.", 390111, "08003")
        result = _execute(session, sql, body, query_id)
        payload = result.payload()
    except StatementError as error:
        if isinstance(error.__cause__, duckdb.FatalException):
            # DuckDB serves nothing more after one; whoever started this process can start it again.
            log.critical("%s: DuckDB failed for good, the server ends: %s", query_id, error.__cause__)
            os.kill(os.getpid(), signal.SIGTERM)
        log.info("%s failed with %06d: %s", query_id, error.errno, error.message.split("\n")[0][:200])
        return _error(f"{error.errno:06d}", error.sqlstate, error.message, query_id)
    except Exception:
        log.exception("%s failed inside the server.", query_id)
        return _error(
            "300002", "XX000", f"Processing aborted by error 300002, query id {query_id}.", query_id
        )
    data = {
        "parameters": [
            {"name": "TIMEZONE", "value": "Etc/UTC"},
            {"name": "AUTOCOMMIT", "value": session.autocommit},
        ],
        "queryId": query_id,
        "statementTypeId": result.statement_type,
        "finalDatabaseName": session.database,
        "finalSchemaName": session.schema,
        "finalWarehouseName": session.warehouse,
        "finalRoleName": session.role or "SYSADMIN",
        "numberOfBinds": 0,
        **(result.upload or payload),
    }
    return {"data": data, "code": None, "message": None, "success": True}


def _execute(session: Session, sql: str, body: dict[str, Any], query_id: str) -> results.Result:
    bound = body.get("bindings") or {}
    if not bound:
        return session.execute(sql, query_id, describe_only=bool(body.get("describeOnly")))
    rows = bindings.rows_of(bound)
    if len(rows) == 1:
        return session.execute(bindings.inline(sql, rows[0]), query_id)
    if (merged := bindings.merge_rows(sql, rows)) is not None:
        return session.execute(merged, query_id)
    total, last = 0, None
    for row in rows:
        last = session.execute(bindings.inline(sql, row), query_id)
        total += sum(value for value in last.table.to_pylist()[0].values() if isinstance(value, int))
    assert last is not None
    return results.counts(last.statement_type, rows_affected=total)


def _error(code: str, sqlstate: str, message: str, query_id: str) -> dict[str, Any]:
    data = {"errorCode": code, "sqlState": sqlstate, "queryId": query_id, "internalError": False}
    return {"data": data, "code": code, "message": message, "success": False}
