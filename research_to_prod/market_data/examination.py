"""Examination: every rule applied to every market of a month.

Belongs here: the list of rules and what they are given. Doesn't: the rules, counting (``quality``), storage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.certificates import Certificate
from research_to_prod.market_data.contracts import CANDLE_QUARANTINE, RAW_CANDLES
from research_to_prod.market_data.findings import Finding
from research_to_prod.market_data.quality_policy import QualityPolicy
from research_to_prod.market_data.rules import delivery, gaps, identity, peers, returns, values
from research_to_prod.market_data.rules.case import Case
from research_to_prod.market_data.series import Bars, Integers, Series, by_market, micros, read_series, uncovered
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.values import month_bounds

RULES: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    delivery.newest_first,
    delivery.out_of_order,
    delivery.duplicate,
    delivery.conflicting_duplicate,
    delivery.off_grid,
    delivery.look_ahead,
    values.ohlc_violation,
    values.non_positive_price,
    values.invalid_volume,
    values.repeated_column,
    values.wick,
    values.zero_volume,
    gaps.no_trade,
    gaps.venue_outage,
    gaps.market_gap,
    gaps.unexplained_gap,
    gaps.longest_gap,
    gaps.incomplete,
    gaps.unknown_bars,
    gaps.stale_run,
    gaps.frozen_feed,
    returns.outlier_returns,
    returns.reverting_spike,
    returns.broken_print,
    peers.peer_deviation,
    peers.time_shift,
    peers.lead_lag,
    identity.copied_series,
    identity.symbol_reuse,
    identity.volume_unit_change,
)
"""Every rule; its docstring is its definition."""


def examine(
    markets: Sequence[Series],
    raw: pa.Table,
    quarantine: pa.Table,
    month: str,
    as_of: datetime,
    certificates: Sequence[Certificate],
    policy: QualityPolicy,
) -> tuple[Finding, ...]:
    """Return the findings on one month of every market, most urgent first.

    Parameters
    ----------
    markets
        The month of each market, as ``series.read_series`` gives it; all of them are also held against each other.
    raw, quarantine
        RAW_CANDLES and CANDLE_QUARANTINE of the month, in the order of their keys, as the lake reads them; rows of
        other markets are ignored.
    month
        ``YYYY-MM``.
    as_of
        Time of the fetch: no row can end later.
    certificates
        Of the fetches that brought ``raw``.
    """
    rows, refused = by_market(raw), by_market(quarantine)
    found: list[Finding] = []
    for own in markets:
        delivered = rows.get(own.key, RAW_CANDLES.empty())
        case = Case(
            series=own,
            month=month,
            policy=policy,
            raw=Bars.of(delivered),
            fetch=_fetches(delivered),
            known_until=_known_until(delivered, certificates, as_of),
            refused=_by_rule(refused.get(own.key, CANDLE_QUARANTINE.empty())),
            uncovered=uncovered(own, certificates),
            others=tuple(each for each in markets if each is not own),
        )
        found += [finding for rule in RULES for finding in rule(case)]
    return tuple(sorted(found, key=lambda each: each.urgency))


def examine_history(
    raw: pa.Table,
    markets: Sequence[MarketSpec],
    as_of: datetime,
    certificates: Sequence[Certificate],
    policy: QualityPolicy,
) -> tuple[Finding, ...]:
    """Return the findings on all months in which a bar of ``markets`` is due or there, month by month.

    Each month is judged alone, as the pipeline does it. ``raw`` holds RAW_CANDLES of any months, in the order of
    their key.
    """
    from research_to_prod.market_data.quarantine import split

    judged = split(raw)
    tables = (raw, judged.accepted, judged.rejected)
    labels = [pc.strftime(table["ts"], format="%Y-%m") for table in tables]
    month = min(market.since for market in markets).strftime("%Y-%m")
    ends = [each.until.strftime("%Y-%m") for each in markets if each.until]
    last = max([*labels[0].unique().to_pylist(), *ends], default=month)
    found: list[Finding] = []
    while month <= last:
        rows, accepted, rejected = (
            table.filter(pc.equal(label, month)) for table, label in zip(tables, labels, strict=True)
        )
        own = read_series(accepted, markets, month, as_of)
        found += examine(own, rows, rejected, month, as_of, certificates, policy)
        month = month_bounds(month)[1].strftime("%Y-%m")
    return tuple(found)


def _fetches(delivered: pa.Table) -> Integers:
    return delivered["fetch_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)


def _known_until(delivered: pa.Table, certificates: Sequence[Certificate], as_of: datetime) -> Integers:
    """Return the venue's clock after the fetch of each row, ``as_of`` where it is not known."""
    ids = delivered["fetch_id"].combine_chunks().dictionary_encode()
    clocks = {each.fetch_id: each.venue_clock_after for each in certificates}
    known = [micros(clocks.get(each) or as_of) for each in ids.dictionary.to_pylist()]
    return np.array(known, np.int64)[ids.indices.to_numpy()] if known else np.empty(0, np.int64)


def _by_rule(refused: pa.Table) -> dict[str, Integers]:
    """Return the opens of refused rows by each rule that they broke, in order of time."""
    names = refused["rule"].to_pylist()
    ts = refused["ts"].cast(pa.int64()).to_numpy()
    found: dict[str, list[int]] = {}
    for open_at, rules in zip(ts, names, strict=True):
        for rule in rules.split(","):
            found.setdefault(rule, []).append(int(open_at))
    return {rule: np.sort(np.array(each, np.int64)) for rule, each in found.items()}
