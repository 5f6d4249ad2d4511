"""What Dagster's storage keeps for ever, although the runs it belongs to are deleted, or there was none.

Events that no run wrote (what sensors observe, what the consumer reports, freshness) belong to no run that
could be deleted, and the results of checks stay when their run goes. Dagster has no call that deletes either.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run with its files: Dagster leaves its output, and in SQLite the one that held its events."""
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

    instance.delete_run(run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{storage.path_for_shard(run_id)}{suffix}").unlink(missing_ok=True)


def delete_old_events(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete events without a run, and results of checks, from before a moment; returns how many.

    The latest of each asset and each check stays, however old: it says how they are.
    """
    from dagster._core.instance.utils import RUNLESS_RUN_ID
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable as Checks
    from dagster._core.storage.event_log.schema import AssetEventTagsTable as Tags
    from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
    from sqlalchemy import func, select

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    moment = before.astimezone(UTC).replace(tzinfo=None)
    runless = Events.c.run_id == RUNLESS_RUN_ID
    kinds = (Events.c.asset_key, Events.c.dagster_event_type, Events.c.partition)
    latest = select(func.max(Events.c.id)).where(runless).group_by(*kinds)
    old: Any = (runless, Events.c.timestamp < moment, Events.c.id.not_in(latest))
    states = (Checks.c.asset_key, Checks.c.check_name, Checks.c.partition, Checks.c.execution_status)
    last = select(func.max(Checks.c.id)).group_by(*states)
    with storage.index_connection() as connection:
        connection.execute(Tags.delete().where(Tags.c.event_id.in_(select(Events.c.id).where(*old))))
        deleted = connection.execute(Events.delete().where(*old)).rowcount
        checks = Checks.delete().where(Checks.c.create_timestamp < moment, Checks.c.id.not_in(last))
        deleted += connection.execute(checks).rowcount
    # In SQLite they stand in a file of their own besides.
    with storage.run_connection(RUNLESS_RUN_ID) as connection:
        connection.execute(Events.delete().where(*old))
    return int(deleted)
