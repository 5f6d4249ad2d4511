"""The two sensors of a shop. Thin: they gather facts, `decision.py` decides.

The Kafka sensor launches the pipeline when the topic has something that the warehouse has not. The stream
sensor launches the transformations when a stream holds rows although no run is under way: those of a run that
failed half way, or rows landed by other means. Where Kafka has more, it leaves them to the pipeline's run.

The daemon ticks sensors every five seconds at most. A tick of the Kafka sensor therefore looks on for most of
that time instead of once, so that a run follows an event, or the run before it, within half a second mostly,
and within two.

An idle shop costs next to nothing: Kafka is asked first, and the warehouse only when an end offset differs
from the one at which positions were last seen to agree. Streams are asked by a metadata function, after each
run and once a minute.

In task mode (`caves_dagster/tasks/`) Snowflake's tasks transform: the Kafka sensor launches landing alone,
and the stream sensor tells what the tasks did. The mode is asked with the streams, and before a launch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from caves_dagster.assets.topic import topic_key
from caves_dagster.checks.assets import run_check_keys
from caves_dagster.consumer.lease import held_lease
from caves_dagster.errors import CavesError
from caves_dagster.freshness import renew
from caves_dagster.ingest.land import Lander
from caves_dagster.ingest.positions import make_plan
from caves_dagster.jobs import pipeline_name, rebuild_name
from caves_dagster.kafka.client import TopicState
from caves_dagster.run_tags import LANDING_ONLY_TAG
from caves_dagster.runs import look_at_runs
from caves_dagster.sensor_clients import Clients
from caves_dagster.settings import Settings
from caves_dagster.shop import Shop
from caves_dagster.tasks.observe import MODE_TAG, Look, look_on, tell
from caves_dagster.warehouse.streams import waiting

OBSERVE_SECONDS = 60.0
ASK_SECONDS = 60.0
_BETWEEN_TICKS = 1.5
_LONGEST_TICK_SECONDS = 30.0
"""Dagster gives a tick up after sixty."""
_LOOK_AGAIN_SECONDS = 0.5
_Renewed = Callable[[dict[str, Any], float], list[dg.AssetMaterialization]]


def sensors(
    settings: Settings, shop: Shop, job: UnresolvedAssetJobDefinition, clients: Clients
) -> list[dg.SensorDefinition]:
    """A shop's Kafka sensor and stream sensor."""
    checks = run_check_keys(settings, shop)
    common: dict[str, Any] = {
        "job": job,
        # A little less: a tick that comes a moment early would otherwise wait for the one after it.
        "minimum_interval_seconds": max(1, settings.sensor_interval_seconds - 1),
        "default_status": dg.DefaultSensorStatus.RUNNING,
    }

    @dg.sensor(
        name=f"{shop.name}_kafka_sensor",
        description=f"Launches {pipeline_name(shop)} when {shop.topic} has events that RAW has not.",
        **common,
    )
    def kafka_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        looks_for = min(settings.sensor_interval_seconds - _BETWEEN_TICKS, _LONGEST_TICK_SECONDS)
        deadline = time.monotonic() + looks_for
        cursor, observed = context.cursor, []
        while True:
            began = time.monotonic()
            verdict = look_at_runs(context.instance, pipeline_name(shop), time.time())
            landing_only = bool(verdict.reason or _rebuilding(context.instance, shop))
            settled = partial(tasks_settled, shop, clients)
            renewed = partial(renew, context.instance, shop, settings.freshness, tasks_settled=settled)
            tick = partial(kafka_tick, shop, clients, cursor, time.time(), landing_only, renewed)
            held = held_lease(context.instance, shop, "landing", time.time())
            if not held and (verdict.under_way or not verdict.landing_reason):
                clients.await_landing(shop)
            result = _one_of_two(_held(held, _result(verdict.landing_reason, tick)), shop, clients, "kafka")
            result = _with_checks(result, checks)
            cursor = result.cursor or cursor
            observed += result.asset_events
            now = time.monotonic()
            another_ends = now + _LOOK_AGAIN_SECONDS + (now - began)
            if held or result.run_requests or another_ends > deadline:
                return result._replace(cursor=cursor, asset_events=observed)
            time.sleep(_LOOK_AGAIN_SECONDS)

    @dg.sensor(
        name=f"{shop.name}_stream_sensor",
        description="Launches the transformations when a stream holds rows that no run is about to take.",
        **common,
    )
    def stream_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        verdict = look_at_runs(context.instance, pipeline_name(shop), time.time())
        latest = context.instance.get_run_records(dg.RunsFilter(job_name=pipeline_name(shop)), limit=1)
        run_id = latest[0].dagster_run.run_id if latest else ""
        held = held_lease(context.instance, shop, "transforming", time.time())
        rebuilding = _rebuilding(context.instance, shop)
        reason, now = held or verdict.reason or rebuilding, time.time()
        landing_first = clients.landing_awaited(shop) and not verdict.failing
        tick = partial(stream_tick, shop, clients, context.cursor, run_id, now, reason, checks, landing_first)
        result = _result("", tick)
        # At the end of a run the Kafka sensor would be there sooner.
        if verdict.under_way and not (held or rebuilding) and _read_cursor(result.cursor).get("behind"):
            clients.claim_turn(shop)
        # Nor does what landed wait behind landing that fails: after the back-off both may launch a run.
        if verdict.failing and not verdict.under_way and not (held or rebuilding):
            if verdict.landing_reason:
                clients.claim_turn(shop)
            elif not result.run_requests:
                clients.give_turn_up(shop)
        return _with_checks(_one_of_two(result, shop, clients, "stream"), checks)

    return [kafka_sensor, stream_sensor]


def _with_checks(result: dg.SensorResult, checks: Sequence[dg.AssetCheckKey]) -> dg.SensorResult:
    """A part of the job with its checks: Dagster would evaluate all there are of those assets."""
    requests = [
        dg.RunRequest(
            tags=request.tags,
            asset_selection=request.asset_selection,
            asset_check_keys=[key for key in checks if key.asset_key in request.asset_selection],
        )
        if request.asset_selection and request.asset_check_keys is None
        else request
        for request in result.run_requests or ()
    ]
    return result._replace(run_requests=requests) if requests else result


def _rebuilding(instance: dg.DagsterInstance, shop: Shop) -> str:
    """Why no transformation may be launched (it would wait for the fence, and landing behind it), or ""."""
    run_id = look_at_runs(instance, rebuild_name(shop), time.time()).under_way
    return f"Run {run_id[:8]} rebuilds production." if run_id else ""


def _result(reason: str, tick: Callable[[], dg.SensorResult]) -> dg.SensorResult:
    """The runs come first: nothing outside is asked while they stand in the way."""
    if reason:
        return dg.SensorResult(skip_reason=reason)
    try:
        return tick()
    except CavesError as error:
        return dg.SensorResult(skip_reason=str(error))


def _held(lease: str, result: dg.SensorResult) -> dg.SensorResult:
    """The result without its runs while a consumer holds the lease; the lag is observed all the same."""
    if not lease:
        return result
    skipped = result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else ""
    return result._replace(run_requests=[], skip_reason=dg.SkipReason(f"{lease} {skipped or ''}".strip()))


def _one_of_two(result: dg.SensorResult, shop: Shop, clients: Clients, sensor: str) -> dg.SensorResult:
    """The result, or a skip when the other sensor has just asked for a run: this one looks again later."""
    if not result.run_requests or clients.may_launch(shop, sensor):
        return result
    return dg.SensorResult(skip_reason="The shop's other sensor has just launched a run.")


def kafka_tick(
    shop: Shop,
    clients: Clients,
    cursor: str | None,
    now: float,
    landing_only: bool = False,
    renewed: _Renewed = lambda seen, now: [],
) -> dg.SensorResult:
    """One evaluation of the Kafka sensor, when no run stands in the way.

    The cursor is a cache: the cluster, the warehouse and the end offsets at which nothing was left to read,
    and when the lag was last observed. Losing it costs one query.

    Args:
        renewed: gives what keeps the tables fresh where nothing came (`freshness.renew`).
    """
    with clients.in_use():
        state = clients.kafka.inspect(shop.topic)
        seen = _read_cursor(cursor)
        ends = {str(partition): offset for partition, offset in state.ends.items()}
        where = clients.warehouse.settings
        identity = [state.cluster_id, state.topic_id, where.account, where.host, where.database]
        if seen.get("identity") == identity and seen.get("ends") == ends:
            return _nothing(shop, state, seen, now, renewed)
        plan = make_plan(state, Lander(clients.warehouse, shop).positions(shop.topic))
        tasks = clients.ask_mode(shop) if plan.has_news else ""
    seen |= {"identity": identity, "ends": ends} if not plan.has_news else {}
    if not plan.has_news:
        return _nothing(shop, state, seen, now, renewed)
    return dg.SensorResult(
        run_requests=[_landing(shop, plan.lag, tasks) if landing_only or tasks else _whole(plan.lag)],
        asset_events=_observation(shop, state, plan.lag, seen, now),
        cursor=json.dumps(seen),
    )


def _whole(lag: int) -> dg.RunRequest:
    return dg.RunRequest(tags={"caves/lag": str(lag)})


def _landing(shop: Shop, lag: int, tasks: str) -> dg.RunRequest:
    """Landing alone: the transformations fail and wait, or Snowflake's tasks do them."""
    tags = {"caves/lag": str(lag), LANDING_ONLY_TAG: "true"} | ({MODE_TAG: "tasks"} if tasks else {})
    return dg.RunRequest(asset_selection=[dg.AssetKey(shop.raw.key)], tags=tags)


def _read_cursor(cursor: str | None) -> dict[str, Any]:
    """What the cursor remembers; nothing where somebody wrote something else into it."""
    try:
        seen = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return seen if isinstance(seen, dict) else {}


def _nothing(
    shop: Shop, state: TopicState, seen: dict[str, Any], now: float, renewed: _Renewed
) -> dg.SensorResult:
    observed: list[Any] = [*_observation(shop, state, 0, seen, now), *renewed(seen, now)]
    return dg.SensorResult(
        skip_reason=f"Nothing new in {shop.topic}: lag 0 over {len(state.partitions)} partitions.",
        asset_events=observed,
        cursor=json.dumps(seen),
    )


def _observation(
    shop: Shop, state: TopicState, lag: int, seen: dict[str, Any], now: float
) -> list[dg.AssetObservation]:
    """The topic's lag as an observation, at most once a minute; notes the time in `seen`."""
    if now - (seen.get("observed_at") or 0.0) < OBSERVE_SECONDS:
        return []
    seen["observed_at"] = now
    metadata: dict[str, Any] = {
        "lag": lag,
        "messages": sum(marks.end - marks.low for marks in state.partitions.values()),
        "partitions": len(state.partitions),
        "cluster_id": state.cluster_id,
    }
    return [dg.AssetObservation(topic_key(shop), metadata=metadata)]


def stream_tick(
    shop: Shop,
    clients: Clients,
    cursor: str | None,
    latest_run: str,
    now: float,
    in_the_way: str = "",
    checks: Sequence[dg.AssetCheckKey] = (),
    landing_first: bool = False,
) -> dg.SensorResult:
    """One evaluation of the stream sensor.

    The streams are asked after each run, and once a minute for what was landed by other means. In task mode
    what the tasks did is told once a minute, whatever is in the way of a run.

    Args:
        in_the_way: why no run may be launched now; "" if one may.
        checks: those that runs evaluate.
        landing_first: whether the Kafka sensor launches the whole pipeline where Kafka has more.
    """
    seen = _read_cursor(cursor)
    mode = clients.known_mode(shop) or seen.get("mode") or ""
    if in_the_way and not mode:
        return dg.SensorResult(skip_reason=in_the_way)
    due = now - (seen.get("asked_at") or 0.0) >= ASK_SECONDS or not (mode or seen.get("after") == latest_run)
    if not due and not mode:
        return dg.SensorResult(skip_reason="No stream held rows when last asked, and no run since.")
    if not due:
        return tell(shop, mode, seen, Look(), in_the_way, checks)
    with clients.in_use():
        steps = waiting(clients.warehouse, shop.transformations)
        if clients.ask_mode(shop):
            seen |= {"after": latest_run, "asked_at": now, "mode": clients.known_mode(shop)}
            look = look_on(clients.warehouse, shop, [step.stream for step in steps], seen, now)
            return tell(shop, clients.known_mode(shop), seen, look, in_the_way, checks)
        left_to_landing = bool(steps) and landing_first and not in_the_way and _has_news(shop, clients)
    if in_the_way:
        return dg.SensorResult(skip_reason=in_the_way, cursor=json.dumps({}))
    if not steps:
        seen = {"after": latest_run, "asked_at": now}
        return dg.SensorResult(skip_reason="No stream holds rows.", cursor=json.dumps(seen))
    if left_to_landing:
        reason = "Kafka has more: the run that lands it takes along what the streams hold."
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps({}))
    first = shop.transformations.index(steps[0])
    tables = [table for step in shop.transformations[first:] for table in step.writes]
    keys = [dg.AssetKey(table.key) for table in (*tables, *shop.views)]
    names = ", ".join(step.stream.full_name for step in steps)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(asset_selection=keys, tags={"caves/streams": names})],
        cursor=json.dumps({}),
    )


def _has_news(shop: Shop, clients: Clients) -> bool:
    """Whether a run has something to land; not so where that cannot be told."""
    try:
        state = clients.kafka.inspect(shop.topic)
        return make_plan(state, Lander(clients.warehouse, shop).positions(shop.topic)).has_news
    except CavesError:
        return False


def tasks_settled(shop: Shop, clients: Clients) -> bool | None:
    """In task mode, whether all that landed is transformed; None in Dagster mode."""
    with clients.in_use():
        if not clients.ask_mode(shop):
            return None
        return not waiting(clients.warehouse, shop.transformations)
