"""How the desk stands at this moment: `r2p status`.

Stages, what waits for people, what may trade, what is held back, open incidents, the newest report, runs under way.
Each part is read for itself; one that can't be read says why and hides no other. Belongs here: reading. Doesn't:
whether the installation can work (``doctor``), and judging anything again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.settings import Settings

_DAEMON_QUIET = 90.0
"""Seconds without a heartbeat; a daemon that runs beats every 30."""


@dataclass(frozen=True)
class Part:
    """One part of how things stand.

    Parameters
    ----------
    what
        Its name.
    told
        It in one line.
    details
        A line for each thing that it is about.
    readable
        False where it could not be read; ``told`` then says why.
    """

    what: str
    told: str
    details: tuple[str, ...] = ()
    readable: bool = True


def stand(settings: Settings, now: datetime) -> Iterator[Part]:
    """Yield each part as it is read."""
    parts: dict[str, Callable[[Settings, datetime], Part]] = {
        "candidates": _candidates,
        "approvals": _approvals,
        "production": _production,
        "controls": _controls,
        "incidents": _incidents,
        "reports": _reports,
        "runs": _runs,
    }
    for what, read in parts.items():
        try:
            yield read(settings, now)
        except Exception as error:  # noqa: BLE001 - whatever is wrong there must not hide the rest
            yield Part(what, f"can't be read: {type(error).__name__}: {error}; see `r2p doctor`", readable=False)


def _candidates(settings: Settings, now: datetime) -> Part:
    from research_to_prod.defs.reports.standing import candidate_lines
    from research_to_prod.lake import Lake

    del now
    lines = candidate_lines(Lake(settings.lake), settings)
    details = tuple(
        f"{each.candidate} at {each.stage}: gates of its newest report {each.verdict}, "
        f"{each.gates_passed} of {each.gates} passed"
        for each in lines
    )
    return Part("candidates", f"{len(lines)} with a gate report", details)


def _approvals(settings: Settings, now: datetime) -> Part:
    from research_to_prod.defs.gates.judgement import verified_ledger
    from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
    from research_to_prod.promotion.waiting import ApprovalFolder

    ledger = verified_ledger(settings)
    if ledger is None:
        return Part("approvals", "nothing was decided yet")
    keys = read_keys(settings.keys / PUBLIC_FILE)
    waiting = ApprovalFolder(settings.approvals).pending(ledger.verify().entries(), keys, now)
    details = tuple(
        f"{each.what}: approved by "
        f"{', '.join(each.approved) or 'nobody'}, waits for {', '.join(each.waiting_for) or 'a trusted approver'}"
        for each in waiting
    )
    return Part("approvals", f"{len(waiting)} decisions wait for people", details)


def _production(settings: Settings, now: datetime) -> Part:
    from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
    from research_to_prod.promotion.manifest import read_manifest

    path = settings.production / "manifest.json"
    if not path.exists():
        return Part("production", "nothing may trade: there is no manifest")
    manifest = read_manifest(path, read_keys(settings.keys / PUBLIC_FILE))
    held = tuple(f"{each.candidate}: {each.mode}, {'; '.join(each.reasons)}" for each in manifest.withheld)
    if manifest.valid_until <= now:
        return Part("production", f"nothing may trade: the manifest ended at {_minute(manifest.valid_until)}", held)
    may = tuple(f"{each.candidate} may trade at {each.stage}" for each in manifest.entries)
    told = f"{len(may)} may trade until {_minute(manifest.valid_until)}, {len(held)} withheld"
    return Part("production", told, may + held)


def _controls(settings: Settings, now: datetime) -> Part:
    from research_to_prod.operations.control_journal import ControlJournal

    del now
    holding = ControlJournal(settings.controls).ladders().controls()
    details = tuple(
        f"{each.name or 'everything'} since {_minute(each.since)} by {each.by}: {each.reason}" for each in holding
    )
    return Part("controls", f"{len(holding)} ladders above level 0", details)


def _incidents(settings: Settings, now: datetime) -> Part:
    from research_to_prod.operations.incidents.store import IncidentStore
    from research_to_prod.operations.watch import INCIDENTS

    del now
    incidents = IncidentStore(settings.operations / INCIDENTS).read()
    told = sorted(incidents.told(), key=lambda each: (each.severity, each.opened_at))
    details = tuple(
        f"{each.id} {each.severity} {each.opened.rule} on {each.opened.subject} since {_minute(each.opened_at)}, "
        f"{each.status}, taken by {each.acked_by or 'nobody'}"
        for each in told
    )
    return Part("incidents", f"{len(told)} open", details)


def _reports(settings: Settings, now: datetime) -> Part:
    from research_to_prod.reports.index import PAGE

    made = sorted(settings.reports.glob("desk-report-*.html"))
    index = settings.reports / PAGE
    pages = tuple(str(page) for page in (index, *made[-1:]) if page.exists())
    if not made:
        return Part("reports", "no desk report was made yet", pages)
    age = (now.date() - datetime.fromisoformat(made[-1].stem.removeprefix("desk-report-")).date()).days
    return Part("reports", f"{len(made)} desk reports; the newest is of {age} days ago", pages)


def _runs(settings: Settings, now: datetime) -> Part:
    import dagster as dg

    from research_to_prod.defs.runner import open_instance

    going = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.QUEUED]
    with open_instance(settings) as instance:
        records = instance.get_run_records(dg.RunsFilter(statuses=going))
        beats = [each.timestamp for each in instance.get_daemon_heartbeats().values()]
    details = tuple(
        f"{each.dagster_run.job_name} {each.dagster_run.tags.get('dagster/partition', '')} "
        f"{each.dagster_run.status.value.lower()} for {(now - each.create_timestamp).total_seconds() / 60:.0f} min"
        for each in records
    )
    quiet = now.timestamp() - max(beats, default=0)
    daemon = "no daemon: nothing runs by itself" if quiet > _DAEMON_QUIET else "the daemon runs"
    return Part("runs", f"{len(records)} under way; {daemon}", details)


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%MZ}"
