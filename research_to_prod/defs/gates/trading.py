"""What a candidate's trading shows, read from the lake: for a way to money, and nothing at all for the way to paper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from research_to_prod.attribution.coverage import LARGEST_EXCLUDED_SHARE
from research_to_prod.attribution.shadow_days import LARGEST_ROUNDING
from research_to_prod.attribution.signal_divergence import signal_parity
from research_to_prod.defs.attribution.models import bars_until, run_again
from research_to_prod.defs.research.inputs import Study
from research_to_prod.gates.evidence import LatencyEvidence, PairedEvidence, ReadinessEvidence
from research_to_prod.gates.feed_evidence import feed_evidence
from research_to_prod.gates.policy import Policy
from research_to_prod.gates.readiness_evidence import readiness_evidence
from research_to_prod.gates.trading_evidence import (
    TABLES,
    Trading,
    evidence_days,
    latency_evidence,
    paired_evidence,
)
from research_to_prod.lake import Reader, Snapshot
from research_to_prod.promotion.record import Policy as RecordedPolicy
from research_to_prod.promotion.record import Record
from research_to_prod.promotion.stages import TRADING, standing
from research_to_prod.research.candidate import Candidate
from research_to_prod.values import timeframe_length


@dataclass(frozen=True)
class TradingEvidence:
    """What trading showed, what stands ready, and what both were read from."""

    latency: LatencyEvidence = field(default_factory=LatencyEvidence)
    paired: PairedEvidence = field(default_factory=PairedEvidence)
    readiness: ReadinessEvidence = field(default_factory=ReadinessEvidence)
    read: tuple[Snapshot, ...] = ()


def read_evidence_of_trading(lake: Reader, study: Study, policy: Policy, records: Iterable[Record]) -> TradingEvidence:
    """Return what the desk's tables show of the candidate where ``policy`` asks for it; what they don't is unknown."""
    if policy.implementation is None:
        return TradingEvidence()
    candidate = study.candidate
    shown = TradingEvidence()
    if candidate.name in lake.partitions("readiness"):
        looked = lake.read("readiness", candidate.name)
        shown = TradingEvidence(readiness=readiness_evidence(looked.rows), read=(looked,))
    trading, read = read_trading(lake, candidate, policy, records)
    if trading is None:
        return shown
    latency = latency_evidence(candidate, trading, study.bars, LARGEST_EXCLUDED_SHARE)
    paired = paired_evidence(candidate, trading, LARGEST_EXCLUDED_SHARE)
    latency, paired, fed = _feed(lake, candidate, trading, latency, paired)
    paired, rerun = _parity(lake, study, trading, paired)
    return replace(shown, latency=latency, paired=paired, read=(*shown.read, *read, *fed, *rerun))


def read_trading(
    lake: Reader, candidate: Candidate, policy: Policy, records: Iterable[Record]
) -> tuple[Trading | None, tuple[Snapshot, ...]]:
    """Return the desk's tables since they count for ``candidate`` where ``policy`` asks for them; and what was read.

    None where it does not, where nothing counts yet or a day is missing, and where another version of the candidate
    trades too: the tables name strategies, and cannot tell whose orders they hold.
    """
    state = standing(records)
    since = state.evidence_since(candidate.name, candidate.sha256, RecordedPolicy(id=policy.id, sha256=policy.sha256))
    versions = [each for each in state.deciding() if each.candidate == candidate.name and each.to_stage in TRADING]
    if policy.implementation is None or since is None or len(versions) > 1:
        return None, ()
    days = evidence_days(since, [lake.partitions(table) for table in TABLES])
    if not days:
        return None, ()
    decisions, orders, slippage = read = tuple(lake.read(table, days) for table in TABLES)
    trading = Trading(decisions.rows, orders.rows, slippage.rows, days)
    if not set(days) <= set(lake.partitions("order_events")):
        return trading, read
    events = lake.read("order_events", days)
    return replace(trading, order_events=events.rows), (*read, events)


def _feed(
    lake: Reader, candidate: Candidate, trading: Trading, latency: LatencyEvidence, paired: PairedEvidence
) -> tuple[LatencyEvidence, PairedEvidence, list[Snapshot]]:
    """Hold the quotes of every day against the bars that closed in it; unknown where a day or a month is missing."""
    first = trading.start - timeframe_length(candidate.timeframe)
    stored = bars_until(lake, candidate, first, trading.end)
    if stored is None or not set(trading.days) <= set(lake.partitions("quotes")):
        return latency, paired, []
    bars, read = stored

    def days() -> Iterator[tuple[str, pa.Table]]:
        for day in trading.days:
            quotes = lake.read("quotes", day)
            read.append(Snapshot(quotes.rows.slice(0, 0), quotes.versions))
            yield day, quotes.rows

    found = feed_evidence(candidate, days(), bars)
    return (
        replace(latency, measures={**latency.measures, "feed_age": found.age}),
        replace(paired, bars=found.bars, agreeing_bars=found.agreeing_bars),
        read,
    )


def _parity(
    lake: Reader, study: Study, trading: Trading, paired: PairedEvidence
) -> tuple[PairedEvidence, list[Snapshot]]:
    """Run the recorded strategy again on the stored bars, and count the decisions that it makes too."""
    candidate, step = study.candidate, timeframe_length(study.candidate.timeframe)
    signals, read = run_again(lake, candidate, study.strategy, trading.start - step, trading.end)
    found = signal_parity(
        candidate.name, trading.decisions, signals, step, trading.start, LARGEST_ROUNDING, LARGEST_EXCLUDED_SHARE
    )
    if found is None:
        return paired, read
    equal = found.compared - len(found.diverging)
    return replace(paired, compared_decisions=found.compared, equal_decisions=equal), read
