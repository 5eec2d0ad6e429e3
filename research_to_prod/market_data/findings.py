"""Findings: reasons to doubt a month of a market, and which declared repairs settle them.

Belongs here: the value, its table, and resolution. Doesn't: the rules (``rules``), running them (``examination``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum

import pyarrow as pa

from research_to_prod.market_data.contracts import MARKET_FINDINGS
from research_to_prod.market_data.repairs import Repair


class Level(StrEnum):
    """What a finding asks for."""

    ERROR = "error"
    """No decision may rest on the data until somebody has dealt with it."""
    WARNING = "warning"
    """Somebody should look at it."""
    INFO = "info"
    """Worth knowing; asks for nothing."""


_ORDER = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True)
class Finding:
    """One finding; the fields are MARKET_FINDINGS' columns.

    ``confidence`` says how sure it is that the stated cause is the true one. 1 is given where it follows from the rows
    themselves; less is judgement, not a measured frequency.
    """

    venue: str
    symbol: str
    timeframe: str
    month: str
    rule: str
    level: Level
    against: str
    first_at: datetime
    last_at: datetime
    rows: int
    value: float
    threshold: float
    unit: str
    confidence: float
    what: str
    cost: str
    remedy: str
    resolved_by: str | None = None

    @property
    def urgency(self) -> tuple[int, str, str, str, datetime, str, str]:
        """Sorts findings: errors first, then by market, time and rule."""
        market = (self.venue, self.symbol, self.timeframe)
        return (_ORDER[self.level], *market, self.first_at, self.rule, self.against)


def resolve(findings: Iterable[Finding], repairs: Iterable[Repair]) -> tuple[Finding, ...]:
    """Return the findings with ``resolved_by`` set to the repair that answers each, None where none does.

    A repair answers a finding when it names its rule and market and covers all its bars, first to last. Of several the
    first by id is named.
    """
    declared = sorted(repairs, key=lambda each: each.id)
    return tuple(
        replace(finding, resolved_by=next((each.id for each in declared if _answers(each, finding)), None))
        for finding in findings
    )


def _answers(repair: Repair, finding: Finding) -> bool:
    same = (repair.venue, repair.symbol, repair.timeframe) == (finding.venue, finding.symbol, finding.timeframe)
    covers = repair.start <= finding.first_at and finding.last_at < repair.end
    return same and covers and finding.rule in repair.rules


def findings_table(findings: Iterable[Finding], month: str) -> pa.Table:
    """Return MARKET_FINDINGS rows of ``month``."""
    rows = [asdict(each) for each in findings]
    return MARKET_FINDINGS.conform(pa.Table.from_pylist(rows, schema=MARKET_FINDINGS.arrow), month)


def findings_from(table: pa.Table) -> tuple[Finding, ...]:
    """Return the findings that ``table`` (MARKET_FINDINGS) holds, most urgent first."""
    found = (Finding(**{**row, "level": Level(row["level"])}) for row in table.to_pylist())
    return tuple(sorted(found, key=lambda each: each.urgency))
