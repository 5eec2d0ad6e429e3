"""A market against others of the same asset: wrong prices, wrong clocks.

Belongs here: rules that need a second series of the asset. Doesn't: series that are equal (``identity``).

With one peer nobody can say which of the two is wrong: both get the finding, at half the confidence. With more, a
market is named when it disagrees with more than half of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.rules.case import Case, Cost, moment, named
from research_to_prod.market_data.series import HOUR, MINIMUM_RETURNS, Floats, Series, aligned, common


def peer_deviation(case: Case) -> Iterator[Finding]:
    """Closes that lie further than ``deviation`` from those of a peer of the same pair, in log price.

    Peers have the same base and quote (spot and perpetual are one pair); the month's median difference is taken out
    first. A warning; an error when ``deviating_share`` of the common bars deviate, or the median difference itself is
    larger than ``deviation``: then it is another price altogether.
    """
    rules = case.policy.peers
    found = []
    peers = [each for each in case.peers if each.pair == case.series.pair]
    for peer in peers:
        mine, theirs = aligned(case.series, peer)
        if len(mine) < MINIMUM_RETURNS:
            continue
        apart = np.log(case.bars.close[mine]) - np.log(peer.bars.close[theirs])
        usual = float(np.median(apart))
        far = np.abs(apart - usual) > rules.deviation.value
        if far.any() or abs(usual) > rules.deviation.value:
            found.append((peer, case.bars.ts[mine], apart, usual, far))
    if len(found) <= len(peers) / 2:
        return
    for peer, ts, apart, usual, far in found:
        other = abs(usual) > rules.deviation.value
        where = ts if other else ts[far]
        wide = other or far.mean() >= rules.deviating_share.value
        what = f"its level is {usual:+.2%} away from" if other else f"{far.sum()} closes are far from those of"
        yield case.finding(
            "peer_deviation",
            Level.ERROR if wide else Level.WARNING,
            (where[0], where[-1]),
            len(where),
            abs(usual) if other else np.abs(apart - usual).max(),
            rules.deviation,
            f"{what} {peer.name}: {named(where)}",
            Cost(
                "Its prices were not the market's: a strategy trades against whoever knew the other price.",
                "See which venue was wrong in its trades; take the bars from the other one or drop them.",
            ),
            confidence=_confidence(len(found), len(peers)),
            against=peer.name,
        )


def time_shift(case: Case) -> Iterator[Finding]:
    """Returns that fit a peer's best when one series is moved by whole bars: it is stamped late or early.

    The lag within ``shift_reach`` hours (at least three bars) at which the returns, cut at 6 robust standard deviations
    and 0 where bars are missing, correlate most. An error when it isn't 0, the correlation there is at least
    ``shift_correlation`` and exceeds that at 0 by ``shift_gain``. A positive value: this series is late.
    """
    rules = case.policy.peers
    found = [
        (peer, lead) for peer, lead in _leads(case) if lead.best and lead.highest - lead.now >= rules.shift_gain.value
    ]
    found = [(peer, lead) for peer, lead in found if lead.highest >= rules.shift_correlation.value]
    if len(found) <= len(case.peers) / 2:
        return
    for peer, lead in found:
        hours = lead.best * case.series.length / HOUR
        yield case.finding(
            "time_shift",
            Level.ERROR,
            (case.bars.ts[0], case.bars.ts[-1]),
            len(case.bars),
            hours,
            rules.shift_gain.model_copy(update={"unit": "hours late; threshold: correlation gained by the shift"}),
            f"{abs(hours):g} hours {'late' if hours > 0 else 'early'} against {peer.name}: returns correlate "
            f"{lead.highest:.2f} so, {lead.now:.2f} as stamped",
            Cost(
                "Stamped late, signals act on old prices; stamped early, a backtest sees the future and always wins.",
                "Find out what the source stamps (zone, close instead of open) and declare the shift.",
            ),
            confidence=_confidence(len(found), len(case.peers)),
            against=peer.name,
        )


def lead_lag(case: Case) -> Iterator[Finding]:
    """Returns that also fit a peer's one bar earlier or later: a clock that is off by part of a bar.

    The best lag is 0, and the correlation at a lag of one bar exceeds that at the opposite lag by ``lead_correlation``:
    what both lags share is the series' own autocorrelation, which in a month of days is large by chance. A warning.
    """
    limit = case.policy.peers.lead_correlation
    found = [(peer, lead) for peer, lead in _leads(case) if lead.best == 0 and abs(lead.late) >= limit.value]
    if len(found) <= len(case.peers) / 2:
        return
    for peer, lead in found:
        yield case.finding(
            "lead_lag",
            Level.WARNING,
            (case.bars.ts[0], case.bars.ts[-1]),
            len(case.bars),
            abs(lead.late),
            limit,
            f"part of its moves comes a bar {'after' if lead.late > 0 else 'before'} those of {peer.name}: returns "
            f"correlate {abs(lead.late):.2f} more at that lag than at the opposite; from {moment(case.bars.ts[0])} on",
            Cost(
                "A strategy on both series earns the lag, which no one can trade.",
                "Compare the clocks of the two sources on trades.",
            ),
            confidence=_confidence(len(found), len(case.peers)) / 2,
            against=peer.name,
        )


@dataclass(frozen=True)
class _Lead:
    """Correlation of a series' returns with a peer's, by lag.

    The best lag in bars (positive: this series is late) and the correlation there and at 0; how much more it is at one
    bar late than at one bar early.
    """

    best: int
    highest: float
    now: float
    late: float


@lru_cache(maxsize=1)  # two rules ask for it, one after the other, and it costs more than all other rules together
def _leads(case: Case) -> tuple[tuple[Series, _Lead], ...]:
    """Return the correlation by lag with each peer that has enough common bars."""
    return tuple(_each_lead(case))


def _each_lead(case: Case) -> Iterator[tuple[Series, _Lead]]:
    rules, own = case.policy.peers, case.series
    for peer in case.peers:
        mine, theirs = common(own, peer)
        if np.count_nonzero(~own.missing[mine] & ~peer.missing[theirs]) <= MINIMUM_RETURNS:
            continue
        one, other = own.steady_returns[mine], peer.steady_returns[theirs]
        scale = float(np.sqrt(one @ one) * np.sqrt(other @ other)) or np.inf
        now, late = float(one @ other) / scale, float(one[1:] @ other[:-1] - one[:-1] @ other[1:]) / scale
        if now > 1 - rules.shift_gain.value:  # no lag can gain that much any more, so none need be tried
            yield peer, _Lead(0, now, now, late)
            continue
        reach = min(max(3, round(rules.shift_reach.value * HOUR / own.length)), len(one) // 2)
        values = _products(one, other, reach) / scale
        best = int(np.argmax(values))
        yield peer, _Lead(best - reach, float(values[best]), now, late)


def _products(one: Floats, other: Floats, reach: int) -> Floats:
    """Return the sums of ``one`` at t + lag times ``other`` at t, for the lags -reach to reach."""
    size = 1 << int(len(one) + reach).bit_length()
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
    found: Floats = product[np.arange(-reach, reach + 1)]
    return found


def _confidence(agreeing: int, peers: int) -> float:
    """Return 0.5 with one peer (either may be wrong), else 0.6 to 0.95 by the share of peers that agree."""
    return 0.5 if peers == 1 else 0.25 + 0.7 * agreeing / peers
