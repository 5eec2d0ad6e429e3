"""How fast the budgets of the desk's objectives burn, from what its own records say of each event.

An event is a fetch, an order or a run; it is bad when it was not complete, its outcome not known in time, or it not
done in time. It counts from when that was settled, so that nothing is judged before its time. Belongs here: events of
each objective. Doesn't: windows and floors (``burn_rate``), levels, and reading the lake or the event log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from research_to_prod.market_data.traffic import Heard
from research_to_prod.operations.alerting.burn_rate import Tally, burn_reading
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.settings import Objective
from research_to_prod.operations.alerting.situation import Subject

OUTCOME_WITHIN = timedelta(seconds=30)
"""In which the venue must have said what became of an order: the time in flight of a thin market, and the level at
which the rule for a single one pages."""


@dataclass(frozen=True)
class Settled:
    """Events of which it was settled at an instant whether they are good: how many, and how many are bad."""

    at: datetime
    bad: int
    events: int = 1


@dataclass(frozen=True)
class Promised:
    """A run that a schedule asked for: by when it has to have succeeded, and when it did, if at all."""

    due: datetime
    succeeded: datetime | None

    @property
    def settled(self) -> datetime:
        """When it was settled whether it was in time."""
        return self.due if self.succeeded is None else min(self.due, self.succeeded)

    @property
    def late(self) -> bool:
        """Whether it was not done when it was due."""
        return self.succeeded is None or self.succeeded > self.due


def observe_burns(
    orders: pa.Table | None,
    certificates: Sequence[pa.Table],
    runs: Sequence[Promised] | None,
    objectives: Sequence[Objective],
    moment: datetime,
) -> list[Observation]:
    """Return how fast each budget burns at ``moment``, from the tables of a day and the event log."""
    return [
        *certificate_burn(certificates, objectives, moment),
        *outcome_burn(orders, objectives, moment),
        *asset_freshness_burn(runs, objectives, moment),
    ]


def burn(
    objectives: Sequence[Objective],
    metric: str,
    subject: Subject,
    events: Iterable[Settled],
    moment: datetime,
    evidence: str,
) -> Iterator[Observation]:
    """Yield how fast a budget burns at ``moment``; nothing where the desk has no such objective."""
    objective = next((each for each in objectives if each.metric == metric), None)
    if objective is None:
        return
    known = [each for each in events if each.at <= moment]
    tallies = {}
    for window in objective.windows:
        for seconds in (window.long_seconds, window.short_seconds):
            within = [each for each in known if each.at > moment - timedelta(seconds=seconds)]
            tallies[seconds] = Tally(sum(each.events for each in within), sum(each.bad for each in within))
    found = burn_reading(objective, tallies, subject, moment)
    yield Observation(metric, subject, found.value, moment, found.count, evidence=evidence)


def certificate_burn(
    certificates: Sequence[pa.Table], objectives: Sequence[Objective], moment: datetime
) -> Iterator[Observation]:
    """Yield, by venue, how fast incomplete fetches use up their budget; nothing where none tells of so short ago.

    Parameters
    ----------
    certificates
        FETCH_CERTIFICATES. A fetch counts from the end of what it tells of; before that it tells of the part until
        ``moment``, as it does for the rule that counts fetches in a row.
    """
    fetches: dict[str, dict[str, Settled]] = {}
    for table in certificates:
        for row in table.drop_columns(["page_sha256"]).to_pylist():
            if row["interval_start"] <= moment:
                # One fetch may feed two tables.
                told = Settled(min(row["interval_end"], moment), not row["complete"])
                fetches.setdefault(row["venue"], {})[row["fetch_id"]] = told
    for venue, found in sorted(fetches.items()):
        yield from _if_any(
            objectives, "certificate_burn", Subject(venue), list(found.values()), moment, "fetch_certificates"
        )


def certificate_burn_heard(
    heard: Sequence[Heard], objectives: Sequence[Objective], moment: datetime
) -> Iterator[Observation]:
    """Yield the same from what the readings of accounts have told of their fetches."""
    for venue in sorted({each.venue for each in heard}):
        events = [Settled(each.at, each.incomplete, each.fetches) for each in heard if each.venue == venue]
        yield from _if_any(objectives, "certificate_burn", Subject(venue), events, moment, "traffic")


def outcome_burn(orders: pa.Table | None, objectives: Sequence[Objective], moment: datetime) -> Iterator[Observation]:
    """Yield, by venue, how fast orders without a known outcome use up their budget.

    Parameters
    ----------
    orders
        Columns ``venue, sent_at, acknowledged_at, ended_at``. An order is good from when the venue had said what
        became of it, within `OUTCOME_WITHIN`; bad from then on for good, whatever was learned later.
    """
    events: dict[str, list[Settled]] = {}
    if orders is None:
        return
    for row in orders.select(["venue", "sent_at", "acknowledged_at", "ended_at"]).to_pylist():
        due = row["sent_at"] + OUTCOME_WITHIN
        told = min((row[name] for name in ("acknowledged_at", "ended_at") if row[name] is not None), default=None)
        run = Promised(due, told)
        if row["sent_at"] <= moment:
            events.setdefault(row["venue"], []).append(Settled(run.settled, run.late))
    for venue, found in sorted(events.items()):
        yield from burn(objectives, "outcome_burn", Subject(venue), found, moment, "orders")


def asset_freshness_burn(
    runs: Sequence[Promised] | None, objectives: Sequence[Objective], moment: datetime
) -> Iterator[Observation]:
    """Yield how fast late runs use up their budget; nothing where the event log does not reach back to ``moment``."""
    if runs is not None:
        events = [Settled(each.settled, each.late) for each in runs]
        yield from burn(objectives, "asset_freshness_burn", Subject(), events, moment, "event log")


def _if_any(
    objectives: Sequence[Objective],
    metric: str,
    subject: Subject,
    events: Sequence[Settled],
    moment: datetime,
    evidence: str,
) -> Iterator[Observation]:
    """Yield a burn of what was looked at; of nothing it can't be told whether it would have been good."""
    for found in burn(objectives, metric, subject, events, moment, evidence):
        if found.count:
            yield found
