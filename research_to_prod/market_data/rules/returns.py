"""How prices move from bar to bar: outliers, and prints that were never true.

Belongs here: rules on one series' own prices. Doesn't: the same price elsewhere (``peers``), breaks that last
(``identity``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.rules.case import Case, Cost, named
from research_to_prod.market_data.series import MINIMUM_RETURNS, Floats, Integers, Mask

_AROUND = 24  # bars before and after a break that tell whether it lasted
_REVERTED = 0.3  # of a spike may remain in the bar after it

_FALSE_PRINT = Cost(
    "A strategy that trades on it buys or sells at a price that never was, and its profit is the error.",
    "Confirm it in the venue's trades or another venue's bars; take the bar from there, or drop it.",
)


@dataclass(frozen=True)
class Breaks:
    """Places where an open does not continue the close before it.

    Parameters
    ----------
    at
        (k,) index of the bar whose open breaks.
    step
        (k,) log price from the close before to that open.
    lasts
        (k,) whether the median close of up to 24 bars after differs from that before by at least half the step.
    allowed
        (k,) the step that the policy allows there.
    """

    at: Integers
    step: Floats
    lasts: Mask
    allowed: Floats


def breaks(case: Case) -> Breaks:
    """Return the opens that lie further from the close before them than the policy allows.

    Allowed between adjacent bars are ``break_sigmas`` robust standard deviations of the month's returns, at least
    ``break_floor`` and at most ``break_ceiling``. Over a gap prices move on, so a third of that many deviations times
    the square root of its bars is allowed there, if it is more. With fewer than 20 returns there is no deviation:
    ``break_ceiling`` is allowed between adjacent bars, and nothing is said of gaps.
    """
    bars, rules = case.bars, case.policy.returns
    step = np.log(bars.open[1:]) - np.log(bars.close[:-1])
    returns = case.series.returns
    far = rules.break_sigmas.value * returns.scale if len(returns.to) >= MINIMUM_RETURNS else np.inf
    allowed = np.full(len(step), np.clip(far, rules.break_floor.value, rules.break_ceiling.value))
    ahead = np.diff(case.series.slots)
    gap = ahead > 1
    allowed[gap] = np.maximum(allowed[gap], far / 3 * np.sqrt(ahead[gap]))
    at = np.flatnonzero(np.abs(step) > allowed)
    level = np.array(
        [
            np.median(np.log(bars.close[i + 1 : i + 1 + _AROUND]))
            - np.median(np.log(bars.close[max(0, i + 1 - _AROUND) : i + 1]))
            for i in at
        ]
    )
    lasts = level * np.sign(step[at]) >= np.abs(step[at]) / 2 if len(at) else np.zeros(0, bool)
    return Breaks(at + 1, step[at], lasts, allowed[at])


def outlier_returns(case: Case) -> Iterator[Finding]:
    """Returns between adjacent bars with a robust z-score beyond ``outlier`` for their hour of the week.

    Defined in ``series.returns_of``. Info: crashes are outliers; what is wrong with prices is for the other rules.
    """
    returns, limit = case.series.returns, case.policy.returns.outlier
    if returns.z is None:
        return
    far = np.abs(returns.z) > limit.value
    if far.any():
        ts = case.bars.ts[returns.to[far]]
        worst = int(np.argmax(np.abs(returns.z)))
        yield case.finding(
            "outlier_returns",
            Level.INFO,
            (ts[0], ts[-1]),
            far.sum(),
            np.abs(returns.z[worst]),
            limit,
            f"{far.sum()} returns, the furthest of {returns.value[worst]:+.2%} in the bar of "
            f"{named(case.bars.ts[returns.to[[worst]]])}",
            Cost(
                "Means, volatilities and Sharpe ratios of the month hang on a few bars.",
                "Look at how much of the backtest's profit was made in them.",
            ),
        )


def reverting_spike(case: Case) -> Iterator[Finding]:
    """A return and the next one undo each other: a bad tick if nobody traded it.

    Both robust z-scores exceed ``spike``, the first return exceeds ``spike_return``, and at most 30 % of it remains
    after the second. An error when the bar's volume is at most ``spike_volume`` times the month's median (a real move
    of that size draws a crowd), otherwise info: news that was taken back.
    """
    returns, rules, bars = case.series.returns, case.policy.returns, case.bars
    if returns.z is None or len(returns.to) < 2:
        return
    first, second = returns.value[:-1], returns.value[1:]
    spike = (np.diff(returns.to) == 1) & (np.abs(first + second) <= _REVERTED * np.abs(first))
    spike &= np.minimum(np.abs(returns.z[:-1]), np.abs(returns.z[1:])) > rules.spike.value
    spike &= np.abs(first) > rules.spike_return.value
    at = returns.to[:-1][spike]
    if not len(at):
        return
    busy = bars.volume[at] > rules.spike_volume.value * np.median(bars.volume[bars.volume > 0])
    for chosen, level, confidence in ((~busy, Level.ERROR, 0.8), (busy, Level.INFO, 0.5)):
        ts = bars.ts[at[chosen]]
        if len(ts):
            moves = first[spike][chosen]
            crowd = "at ordinary volume" if level is Level.ERROR else "at high volume"
            yield case.finding(
                "reverting_spike" if level is Level.ERROR else "reverting_move",
                level,
                (ts[0], ts[-1]),
                len(ts),
                np.abs(returns.z[:-1][spike][chosen]).max(),
                rules.spike,
                f"{len(ts)} closes left and came back {crowd}, by up to {np.abs(moves).max():.2%}: {named(ts)}",
                _FALSE_PRINT,
                confidence=confidence,
            )


def broken_print(case: Case) -> Iterator[Finding]:
    """An open far from the close before it, after which the price is where it was: one of the two was never true.

    Breaks as in :func:`breaks` that do not last. An error: adjacent bars leave no hole between them.
    """
    found = breaks(case)
    passing = ~found.lasts
    if passing.any():
        ts = case.bars.ts[found.at[passing]]
        worst = int(np.argmax(np.where(passing, np.abs(found.step), 0)))
        yield case.finding(
            "broken_print",
            Level.ERROR,
            (ts[0], ts[-1]),
            passing.sum(),
            np.abs(found.step[worst]),
            case.policy.returns.break_ceiling.model_copy(update={"value": float(found.allowed[worst])}),
            f"{passing.sum()} opens do not continue the close before them, by up to {found.step[worst]:+.3f} in log "
            f"price, and the price came back: {named(ts)}",
            _FALSE_PRINT,
            confidence=0.9,
        )
