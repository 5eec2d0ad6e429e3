"""What runs all the time: the alerter, the venues' status, the watcher of controls, reconciliation.

Each cursor only ever grows, so that a tick which is repeated, or comes late, does nothing twice. What a sensor asks to
run has an id that follows from what it found, and is asked for when it becomes true, not for as long as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg

from research_to_prod.defs.automation import posture, production
from research_to_prod.defs.operations.posture_sources import PostureSources, Written, written
from research_to_prod.defs.operations.running_day import NEEDED
from research_to_prod.defs.operations.venue_looks import heard_of, look_at, objectives_of
from research_to_prod.defs.partitions import UNIVERSE_FILE
from research_to_prod.defs.resources import Venues
from research_to_prod.execution.contracts import VENUE_RECORDS
from research_to_prod.execution.inbox import delivered_days
from research_to_prod.lake import Lake
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from research_to_prod.market_data.venue import VenueClient
    from research_to_prod.operations.alerting.evaluation import Observation
    from research_to_prod.operations.readings import Cursor
    from research_to_prod.operations.watch import Watch

MINUTE = timedelta(minutes=1)
_DECLARED = ("alerts/*.yaml", "runbooks/*.md", "channels.yaml", "policies/ladder.yaml")
DUE_AFTER = timedelta(hours=3)
"""How long after its end a day's tables are there: the night's run is at 02:20 and takes minutes."""

reconcile = dg.define_asset_job(
    "reconcile",
    selection=dg.AssetSelection.assets(*VENUE_RECORDS, "breaks", "postings"),
    description="The newest day that the desk has delivered against the venue's records, read again.",
)

reconcile_running = dg.define_asset_job(
    "reconcile_running",
    selection=dg.AssetSelection.assets("running_breaks"),
    description="The running day, as far as the desk has delivered it, against the venue's records, read now.",
)


@dg.sensor(
    job=posture,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "One turn of the alerter a minute: judge what was measured, tell people, give a sign of life. A new incident "
        "that pages asks once for a new risk posture. Start it where something writes live readings: without any, an "
        "exposed book is not seen, and the alerter says so."
    ),
)
def alerter(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.SensorResult:
    """Do the turn of this minute here and not in a run, which would wait behind others.

    The cursor is its minute, the end of the readings taken, and the number of incidents' transitions seen: what a turn
    that failed had opened is asked for by the next.
    """
    from research_to_prod.operations.alerting.margin_measures import with_margin_use
    from research_to_prod.operations.incidents.lifecycle import Event, Status
    from research_to_prod.operations.readings import Readings

    now = clock()
    minute = now.replace(second=0, microsecond=0)
    done, taken_to, told = _parsed(context.cursor)
    if done is not None and minute <= done:
        return dg.SensorResult(skip_reason=f"the turn of {done:%Y-%m-%d %H:%M} is done")
    watching = _watching(
        settings, written(settings.desk, "alerts/*.yaml", "runbooks/*.md", "channels.yaml", "policies/ladder.yaml")
    )
    taken = Readings(settings.operations).since(taken_to, watching.metrics, now)
    for each in taken.refused:
        context.log.warning("reading refused: %s", each)
    if told is None:
        told = len(watching.watch.incidents.read().log)
    own = (*_lateness(lake, now), *_late_runs(context.instance, settings, now))
    measured = {(each.metric, each.subject): each for each in (*own, *taken.observations)}
    around = with_margin_use(PostureSources(lake, settings, now).context(), measured.values())
    watching.watch.turn(measured.values(), around, now)
    incidents = watching.watch.incidents.read()
    opened = {
        step.incident_id
        for step in incidents.log[told:]
        if (step.event is Event.OPENED or (step.event is Event.MOVED and step.to is Status.REOPENED))
        and step.severity.pages
        and step.page is not None
    }
    speaking = [each for each in (incidents.get(name) for name in sorted(opened)) if each.speaks]
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{each.id}:{each.opened_at:%Y%m%dT%H%M%S}") for each in speaking],
        cursor=f"{minute.isoformat()} {taken.cursor.day} {taken.cursor.offset} {len(incidents.log)}",
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    job=posture,
    description=(
        "Asks each venue whether it trades and for its time, and counts what all our requests came back as, for the "
        "alerter's rules; one that comes back asks once for a new risk posture. Stopped by default: it asks over the "
        "network, and starts the sandbox where that is a venue."
    ),
)
def venue_status(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    venues: dg.ResourceParam[Venues],
    clock: dg.ResourceParam[Callable[[], datetime]],
) -> dg.SensorResult:
    """Write down what each venue answers, or that it does not; what is not known is left out, and so is not ok."""
    import json

    from research_to_prod.market_data.instruments import VenueStatus
    from research_to_prod.market_data.universe import Universe
    from research_to_prod.operations.readings import Measured, Readings

    before: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    answers: dict[str, str] = {}
    looks = []
    for spec in Universe.load(settings.desk / UNIVERSE_FILE).venues:
        look = look_at(_client(venues, spec.name, settings), clock().minute)
        looks.append(look)
        if look.answer is not None:
            answers[spec.name] = look.answer
        if look.problem:
            context.log.warning("%s: %s", spec.name, look.problem)
    now = clock()
    found, refused = heard_of(looks, settings, now)
    for line in refused:
        context.log.warning("%s", line)
    trades = [
        Measured(metric="venue_not_ok", venue=name, value=float(answer != VenueStatus.ONLINE), at=now, evidence=answer)
        for name, answer in answers.items()
    ]
    Readings(settings.operations).add([*trades, *map(Measured.of, found)], now)
    back = [
        name
        for name, answer in answers.items()
        if answer == VenueStatus.ONLINE and before.get(name, answer) != VenueStatus.ONLINE
    ]
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{name} back {now:%Y%m%dT%H%M%S}") for name in back],
        skip_reason=None if back else "; ".join(f"{name}: {answer}" for name, answer in answers.items()) or "no venues",
        # A venue whose answer is not known keeps its last one: only an answer can say that it came back.
        cursor=json.dumps(before | answers, sort_keys=True),
    )


@dg.sensor(
    job=production,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Renews the production manifest when the controls' journal has grown: nothing held back may trade.",
)
def control_watcher(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Look at the journal's size, and read it only if that has changed; the run's id is the hash of its last line."""
    from research_to_prod.operations.control_journal import ControlJournal

    seen, path = int(context.cursor or 0), settings.controls
    size = path.stat().st_size if path.exists() else 0
    if size == seen:
        return dg.SkipReason("the controls' journal has not grown")
    # A line that a crash tore is cut off by the next writer: only whole ones count.
    whole = path.read_bytes().rfind(b"\n") + 1 if size else 0
    if whole == seen:
        return dg.SkipReason("the controls' journal has no new whole line")
    if whole < seen:
        raise dg.Failure(
            f"{path} had {seen} bytes of whole lines and has {whole}: it only ever grows; bring it back from a copy, "
            "because what it held back may be trading",
            allow_retries=False,
        )
    head = ControlJournal(settings.controls).ladders().head
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=head)], cursor=str(whole))


# Stopped by default: six reads of every market of an account each time, which a laptop's sandbox serves by itself.
@dg.schedule(job=reconcile, cron_schedule="*/5 * * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
def reconciliation_schedule(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.RunRequest | dg.SkipReason:
    """Read the venue again for the newest day delivered: late records come in, and breaks that they explain end."""
    if _still_runs(context, reconcile.name):
        return dg.SkipReason("the last reconciliation still runs")
    at = context.scheduled_execution_time
    days = {day for day in delivered_days(settings.inbox, ["fills"]) if day < f"{at:%Y-%m-%d}"}
    if not days:
        return dg.SkipReason("the desk has delivered no day that is over")
    return dg.RunRequest(run_key=f"{max(days)} at {at:%Y%m%dT%H%M}", partition_key=max(days))


# Stopped by default, as the one above: a desk that delivers its records while the day runs starts it.
@dg.schedule(job=reconcile_running, cron_schedule="*/5 * * * *", default_status=dg.DefaultScheduleStatus.STOPPED)
def running_day_schedule(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.RunRequest | dg.SkipReason:
    """Compare the running day, once the desk has delivered what says how far it has told it."""
    at = context.scheduled_execution_time
    if _still_runs(context, reconcile_running.name):
        return dg.SkipReason("the last comparison of the running day still runs")
    if f"{at:%Y-%m-%d}" not in delivered_days(settings.inbox, NEEDED):
        return dg.SkipReason(f"the desk has delivered no {' or no '.join(NEEDED)} of {at:%Y-%m-%d} yet")
    return dg.RunRequest(run_key=f"running day at {at:%Y%m%dT%H%M}")


def _still_runs(context: dg.ScheduleEvaluationContext, job: str) -> bool:
    going = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    return bool(context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=going), limit=1))


@dataclass(frozen=True)
class _Watching:
    """The alerter, and the metrics that it knows."""

    watch: Watch
    metrics: frozenset[str]


@lru_cache(maxsize=1)
def _watching(settings: Settings, _: Written) -> _Watching:
    """Return the alerter under the rules as they are written: parsed again only when a file has changed."""
    from research_to_prod.operations.alerting.rules import load_alert_policy
    from research_to_prod.operations.control_journal import ControlJournal
    from research_to_prod.operations.delivery.channels import open_channels
    from research_to_prod.operations.incidents.intake import Desk
    from research_to_prod.operations.ladder import load_ladder_policy
    from research_to_prod.operations.runbooks import load_runbooks
    from research_to_prod.operations.watch import Watch

    folder, policy = settings.operations, load_alert_policy(settings.desk / "alerts")
    desk = Desk("live", policy, load_runbooks(settings.desk / "runbooks"))
    channels = open_channels(settings.desk / "channels.yaml", os.environ, folder, sys.stdout)
    controls = ControlJournal(settings.controls)
    ladder = load_ladder_policy(settings.desk / "policies" / "ladder.yaml")
    return _Watching(Watch(folder, desk, channels, MINUTE, controls, ladder), frozenset(policy.metrics))


@lru_cache(maxsize=16)
def _client(venues: Venues, name: str, settings: Settings) -> VenueClient:
    """Return a client that is kept: opening one costs ccxt's import and, for the sandbox, its start."""
    from research_to_prod.market_data.universe import Universe

    return venues.client(Universe.load(settings.desk / UNIVERSE_FILE).venue(name))


def _lateness(lake: Lake, now: datetime) -> list[Observation]:
    """Return how many days the daily tables are behind the last one that is due."""
    from research_to_prod.defs.operations.day_sources import DAILY
    from research_to_prod.operations.alerting.day_measures import lateness_of

    due = (now - DUE_AFTER).date() - timedelta(days=1)
    newest = {name: max(lake.partitions(name), default="") for name in DAILY}
    lags = {name: float(max(0, (due - date.fromisoformat(day)).days)) for name, day in newest.items() if day}
    return list(lateness_of(lags, now))


def _late_runs(instance: dg.DagsterInstance, settings: Settings, now: datetime) -> list[Observation]:
    """Return how fast runs that schedules asked for and that are late use up their budget."""
    from research_to_prod.defs.operations.promised_runs import promised_runs
    from research_to_prod.operations.alerting.burn_measures import asset_freshness_burn

    objectives = objectives_of(settings.desk, written(settings.desk, "alerts/settings.yaml"))
    return list(asset_freshness_burn(promised_runs(instance, now), objectives, now))


def _parsed(cursor: str | None) -> tuple[datetime | None, Cursor | None, int | None]:
    """Return the last turn's minute, up to where readings were taken, and how many transitions had been seen."""
    from research_to_prod.operations.readings import Cursor as Place

    if cursor is None:
        return None, None, None
    minute, day, offset, told = cursor.split()
    return datetime.fromisoformat(minute), Place(date.fromisoformat(day), int(offset)), int(told)
