"""The demo's graph on the workers, and what it means that two installations have the same tables.

Everything that two runs on the same inputs store is the same, byte for byte, but for what says when somebody looked:
`CLOCKS` names those columns. All else is compared, those tables' other columns too.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.defs.demo import DAYS, WEEKS, deliver_inbox, months_of_the_demo
from research_to_prod.lake import Lake, Version
from research_to_prod.lake.content import content_hash
from research_to_prod.research.candidate import load_candidates
from tests.production.servers import Production

SUCCESS = dg.DagsterRunStatus.SUCCESS
CLOCKS: Mapping[str, tuple[str, ...]] = {
    # The venue's clock when it was asked; the fetch's id, interval, pages and hashes of its bodies are compared.
    "fetch_certificates": ("venue_clock_before", "venue_clock_after"),
    # A venue states its fees as of the moment of the question.
    "venue_fees": ("stated_at",),
    # The looks that found a break, and that no longer did.
    "breaks": ("first_seen_at", "last_seen_at", "resolved_at"),
    # When runbooks and drills were looked at, and when the controls' journal was read.
    "readiness": ("as_of",),
    "control_state": ("as_of",),
}
POSTURE_CLOCKS = ("age_seconds", "unseen_seconds", "proven_at")
"""The risk posture is one long list of numbers; these are ages as of now, and the venue's clock at the newest fetch."""

Contents = dict[str, dict[str | None, str]]


def demo_on_the_workers(installed: Production) -> None:
    """Run what `r2p demo` runs, one run at a time where it does."""
    candidates = load_candidates(installed.settings.desk / "candidates")
    names = [each.name for each in candidates]
    assert set(installed.each("market_data", [*months_of_the_demo(candidates)]).values()) == {SUCCESS}
    assert set(installed.each("liquidity", [*WEEKS]).values()) == {SUCCESS}
    installed.each("research", [*names])
    promoted = installed.each("promote", [*names])
    assert promoted["btc_momentum"] == SUCCESS
    assert set(promoted.values()) == {SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert set(installed.each("production", [None]).values()) == {SUCCESS}
    deliver_inbox(installed.settings)
    for day in DAYS:
        assert set(installed.each("nightly", [day]).values()) == {SUCCESS}
    assert set(installed.each("posture", [None]).values()) == {SUCCESS}


def contents(lake: Lake) -> Contents:
    """Return the content hash of every partition of every table, without what the clock decides."""
    return {
        table: {partition: _content(lake, version) for partition, version in lake.versions(table).items()}
        for table in lake.tables()
    }


def differing(one: Contents, other: Contents) -> set[tuple[str, str | None]]:
    """Return the partitions that only one has, or that differ."""
    places = {(table, partition) for each in (one, other) for table in each for partition in each[table]}
    return {(table, key) for table, key in places if one.get(table, {}).get(key) != other.get(table, {}).get(key)}


def _content(lake: Lake, version: Version) -> str:
    if version.table == "risk_posture":
        return content_hash(_without_ages(lake.read_version(version)))
    if version.table in CLOCKS:
        return content_hash(lake.read_version(version).drop_columns(list(CLOCKS[version.table])))
    return version.content_sha256


def _without_ages(posture: pa.Table) -> pa.Table:
    ages = pc.or_(pc.is_in(posture["field"], pa.array(POSTURE_CLOCKS)), pc.equal(posture["section"], "as_of"))
    for name in ("number", "text"):
        blank = pc.if_else(ages, pa.scalar(None, posture[name].type), posture[name])
        posture = posture.set_column(posture.column_names.index(name), name, blank)
    return posture
