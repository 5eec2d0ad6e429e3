"""Whether this installation can do its work: `r2p doctor`.

Each examination looks at one thing and says what it found and what to do about it; one that cannot look has failed.
Belongs here: looking. Doesn't: repairing anything, and judging data or strategies (checks and gates do).
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from research_to_prod.settings import Settings

_GIGABYTE = 1 << 30
_LONG_RUN = timedelta(hours=1)
_CLOCKS_APART = timedelta(seconds=1)
"""A fifth of the 5 s within which Binance takes a signed request."""


class Health(StrEnum):
    """How a thing is: ``attention`` does not stop today's work."""

    FINE = "fine"
    ATTENTION = "attention"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What one examination found.

    Parameters
    ----------
    what
        The thing that was looked at.
    told
        What is there, in words.
    remedy
        What to do; empty when nothing is to be done.
    """

    what: str
    health: Health
    told: str
    remedy: str = ""


def examine(settings: Settings, environment: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    """Yield the finding of each examination as it ends; none stops the others."""
    examinations: dict[str, Callable[[], Iterator[Finding]]] = {
        "disk": lambda: _disk(settings),
        "desk": lambda: _desk(settings),
        "keys": lambda: _keys(settings),
        "ledger": lambda: _ledger(settings),
        "lake": lambda: _lake(settings, now),
        "runs": lambda: _runs(settings, now),
        "venues": lambda: _venues(settings, environment, now),
    }
    for what, examination in examinations.items():
        try:
            yield from examination()
        except Exception as error:  # noqa: BLE001 - whatever is wrong there must not hide the rest
            yield Finding(what, Health.FAILED, f"{type(error).__name__}: {error}", "the message names what is wrong")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = next(each for each in (settings.data, *settings.data.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    # A nightly run of the sample writes 20 MB; publishing the warehouse takes its size once more.
    health = Health.FINE if free > 10 * _GIGABYTE else Health.ATTENTION if free > 2 * _GIGABYTE else Health.FAILED
    remedy = "" if health is Health.FINE else f"free space under {folder}, or set R2P_DATA elsewhere"
    yield Finding("disk", health, f"{free / _GIGABYTE:.1f} GB free under {folder}", remedy)


def _desk(settings: Settings) -> Iterator[Finding]:
    from research_to_prod.defs.gates.judgement import policy_into
    from research_to_prod.gates.policy import TRANSITIONS
    from research_to_prod.market_data.universe import Universe
    from research_to_prod.research.candidate import load_candidates

    universe = Universe.load(settings.desk / "universe.yaml")
    policies = [policy_into(settings, to_stage).id for _, to_stage in TRANSITIONS]
    candidates = load_candidates(settings.desk / "candidates")
    told = f"{len(universe.markets)} markets, {len(policies)} policies, {len(candidates)} candidates"
    yield Finding("desk", Health.FINE, f"{told} are readable under {settings.desk}")


def _keys(settings: Settings) -> Iterator[Finding]:
    from research_to_prod.promotion.keys import read_keys

    public = settings.keys / "keys.json"
    if not public.exists():
        yield Finding("keys", Health.ATTENTION, "there are none yet", "the first promotion makes them")
        return
    keys = read_keys(public)
    approvers = sorted({key.person or "" for key in keys.public.values() if key.role == "approver"})
    open_to_others = [
        path.name
        for path in settings.keys.iterdir()
        if path != public and path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    if open_to_others:
        remedy = f"chmod 600 them under {settings.keys}; if others may have read them, end the key and make another"
        yield Finding("keys", Health.FAILED, f"others can read {', '.join(open_to_others)}", remedy)
        return
    people = f"approvers: {', '.join(approvers)}" if approvers else "no approver's key is trusted yet"
    yield Finding("keys", Health.FINE, f"{len(keys.public)} public keys; {people}")


def _ledger(settings: Settings) -> Iterator[Finding]:
    from research_to_prod.promotion.keys import read_keys
    from research_to_prod.promotion.ledger import Ledger

    if not (settings.keys / "keys.json").exists():
        yield Finding("ledger", Health.ATTENTION, "nothing was decided yet", "`r2p run promote CANDIDATE`, or the UI")
        return
    found = Ledger(settings.ledger, read_keys(settings.keys / "keys.json")).verify()
    told = f"{found.head.size} records verify"
    if found.unacknowledged_bytes:
        told += f"; {found.unacknowledged_bytes} bytes that a crash left are cut off at the next append"
    yield Finding("ledger", Health.FINE, told)


def _lake(settings: Settings, now: datetime) -> Iterator[Finding]:
    from research_to_prod.defs.tables import tables_to_upgrade
    from research_to_prod.lake import Lake

    lake = Lake(settings.lake)
    tables = lake.tables()
    if not tables:
        yield Finding("lake", Health.ATTENTION, f"no table under {settings.lake}", "`r2p demo`, or a first month")
        return
    if lacking := tables_to_upgrade(lake):
        told = "; ".join(f"{table}: {', '.join(columns)}" for table, columns in lacking.items())
        yield Finding("lake", Health.FAILED, f"tables are of an earlier release: {told}", "`r2p upgrade`")
    yield Finding("lake", Health.FINE, f"{len(tables)} tables under {settings.lake}")
    yesterday = f"{now - timedelta(days=1):%Y-%m-%d}"
    days = lake.partitions("breaks")
    newest = days[-1] if days else "none"
    if newest < yesterday:
        yield Finding(
            "freshness",
            Health.ATTENTION,
            f"the newest day reconciled is {newest}, not {yesterday}",
            f"`r2p run nightly {yesterday}`; is the daemon running, and is the schedule on?",
        )
    else:
        yield Finding("freshness", Health.FINE, f"{newest} is reconciled")


def _runs(settings: Settings, now: datetime) -> Iterator[Finding]:
    import dagster as dg

    from research_to_prod.defs.runner import open_instance

    going = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.QUEUED]
    with open_instance(settings) as instance:
        records = instance.get_run_records(dg.RunsFilter(statuses=going))
    stuck = [each.dagster_run for each in records if each.create_timestamp < now - _LONG_RUN]
    if stuck:
        told = ", ".join(f"{run.job_name} {run.tags.get('dagster/partition', '')}".strip() for run in stuck[:5])
        remedy = "`r2p run` frees the runs of killed processes; terminate the others in the UI, then run them again"
        yield Finding("runs", Health.FAILED, f"{len(stuck)} unfinished for over an hour: {told}", remedy)
    else:
        yield Finding("runs", Health.FINE, f"{len(records)} unfinished, none for longer than an hour")


def _venues(settings: Settings, environment: Mapping[str, str], now: datetime) -> Iterator[Finding]:
    import time

    from research_to_prod.defs.resources import SANDBOX, Venues
    from research_to_prod.market_data.universe import Universe

    universe = Universe.load(settings.desk / "universe.yaml")
    asked = {market.venue for market in universe.markets if market.asks_venue}
    began = time.monotonic()
    for name in sorted(asked):
        what = f"venue {name}"
        try:
            client = Venues(environment).client(universe.venue(name))
            before = timedelta(seconds=time.monotonic() - began)
            theirs = client.clock()
            round_trip = timedelta(seconds=time.monotonic() - began) - before
        except Exception as error:  # noqa: BLE001 - one venue's trouble must not hide another's state
            remedy = "network, credentials (docs/venues.md), the venue's status page"
            yield Finding(what, Health.FAILED, f"does not answer: {type(error).__name__}: {error}", remedy)
            continue
        apart = theirs - (now + before + round_trip / 2)
        told = f"answers in {round_trip / timedelta(milliseconds=1):.0f} ms"
        if name != SANDBOX and abs(apart) > _CLOCKS_APART + round_trip / 2:
            remedy = "set this machine's clock (NTP); signed requests will be refused"
            yield Finding(what, Health.FAILED, f"{told}; its clock is {apart.total_seconds():+.1f} s from ours", remedy)
        else:
            yield Finding(what, Health.FINE, told)
