"""What each strategy may hold and lose, as the ledger grants it and the capital allocation bears it.

Belongs here: the two amounts by strategy. Doesn't: what is held (``book_measures``), reading ledger and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.operations.book_risk import position_limit
from research_to_prod.promotion.limits import limits_of
from research_to_prod.promotion.manifest import production_manifest
from research_to_prod.promotion.record import Record
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import Stage


@dataclass(frozen=True)
class Allotted:
    """What one strategy may use, in the book's currency; None where it is not known.

    Parameters
    ----------
    position_limit
        Gross value that it may hold.
    loss_budget
        What it may lose in a day.
    """

    position_limit: float | None
    loss_budget: float | None


def allotted_of(
    strategies: Iterable[str],
    candidates: Iterable[Candidate],
    records: Sequence[Record] | None,
    allocation: CapitalAllocation,
    moment: datetime,
) -> dict[str, Allotted]:
    """Return what each of ``strategies`` may use at ``moment``.

    The limit is what its promotion grants. Controls don't change it: what they hold back is still held until it is
    closed, and a limit of nothing for all of it would page for the desk's own mitigation. Before the ledger's first
    record nothing is granted, and the limit is the most that a promotion could: what the allocation lets a live
    strategy of its type hold with the capital that it asks for. The budget is the share of that capital which the
    day's own loss is held against.

    Parameters
    ----------
    records
        Of a verified ledger, in order, those after ``moment`` among them; None where it can't be read.
    """
    asking = {each.name: each for each in candidates}
    until = [each for each in records or () if each.recorded_at <= moment]
    manifest = production_manifest(until, moment) if until else None
    found = {}
    for strategy in strategies:
        asked = asking.get(strategy)
        limit: float | None = None
        if manifest is not None:
            limit = position_limit(manifest, strategy)[0]
        elif records is not None and asked is not None:
            most = limits_of(asked, allocation, Stage.LIVE).max_position_value
            limit = None if most is None else float(most)
        budget = None if asked is None else allocation.expected_shortfall_limit.value * float(asked.capital)
        found[strategy] = Allotted(limit, budget)
    return found
