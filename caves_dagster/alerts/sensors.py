"""The two alert sensors: one looks at runs, one at checks and freshness.

The cursor holds a position in Dagster's event log and the open incidents with who was told. Without it (a
first start, a reset) what fails at that moment is told, once more at worst, and nothing of the past. It is
written when the tick ends: a daemon killed between a delivery and that, some milliseconds, delivers again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import dagster as dg
import msgspec

from caves_dagster.alerts.checks import Checks
from caves_dagster.alerts.events import Watch
from caves_dagster.alerts.incidents import Incidents, Letter, Policy, delivered
from caves_dagster.alerts.messages import Message, message
from caves_dagster.alerts.runs import Runs
from caves_dagster.settings import AlertSettings, Settings
from caves_dagster.shop import Shop

_INTERVAL_SECONDS = 10


class _Cursor(msgspec.Struct):
    position: int
    incidents: Incidents


def alert_sensors(settings: Settings, shops: Sequence[Shop]) -> list[dg.SensorDefinition]:
    """The sensors of one code location: they watch all of its jobs and checks."""
    alerts = settings.alerts

    @dg.sensor(
        name="run_alerts",
        description="Tells once when a job begins to fail, and once when it runs again.",
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def run_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        assert context.repository_def is not None
        # Not what somebody materialises by hand: whoever starts it is looking.
        jobs = (name for name in context.repository_def.job_names if not name.startswith("__"))
        return _tick(context, Runs(jobs), alerts, Policy(alerts.grace_seconds, alerts.grace_seconds))

    @dg.sensor(
        name="check_alerts",
        description="Tells once when a check fails or a table gets stale, and once when that is over.",
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def check_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        assert context.repository_def is not None
        keys = context.repository_def.asset_graph.asset_check_keys
        watch = Checks(keys, shops, alerts.severity)
        return _tick(context, watch, alerts, Policy(alerts.grace_seconds, patience=0.0))

    return [run_alerts, check_alerts]


def _tick(
    context: dg.SensorEvaluationContext, watch: Watch, settings: AlertSettings, policy: Policy
) -> dg.SensorResult:
    try:
        return _look_and_tell(context, watch, settings, policy)
    except Exception as error:  # noqa: BLE001 - whatever fails is tried again at the next tick, from the same cursor
        context.log.error("Alerts could not be looked for: %s: %s", type(error).__name__, str(error)[:500])
        return dg.SensorResult(skip_reason=f"Failed, and will look again: {type(error).__name__}.")


def _look_and_tell(
    context: dg.SensorEvaluationContext, watch: Watch, settings: AlertSettings, policy: Policy
) -> dg.SensorResult:
    # Not at start-up, where it would cost each run what its libraries take to load.
    from caves_dagster.alerts.channels import channels, deliver

    cursor, now = _look(context, watch, policy), time.time()
    ways = channels(settings, context.log)
    to_tell: dict[str, list[tuple[Letter, Message]]] = defaultdict(list)
    for letter in cursor.incidents.letters([way.name for way in ways], now, policy):
        to_tell[letter.channel].append((letter, message(letter, now, settings.dagster_url)))
    told, problems = deliver(to_tell, ways)
    for letter in told:
        delivered(letter)
    for problem in problems:
        context.log.warning("%s", problem)
    said = [f"Delivered: {len(told)}."] if told else []
    going_on = len(cursor.incidents.by_key)
    reason = " ".join([*said, *problems]) or f"Nothing new to tell; incidents that are not over: {going_on}."
    return dg.SensorResult(skip_reason=reason, cursor=msgspec.json.encode(cursor).decode())


def _look(context: dg.SensorEvaluationContext, watch: Watch, policy: Policy) -> _Cursor:
    """The cursor with what has happened since."""
    try:
        cursor = msgspec.json.decode(context.cursor or "", type=_Cursor)
    except msgspec.DecodeError:
        position = context.instance.event_log_storage.get_maximum_record_id() or 0
        cursor = _Cursor(position, Incidents())
        cursor.incidents.take(watch.failing(context.instance), policy)
        cursor.incidents.keep_failing()
    else:
        facts, cursor.position = watch.after(context.instance, cursor.position)
        cursor.incidents.take(facts, policy)
    cursor.incidents.keep(watch.known)
    return cursor
