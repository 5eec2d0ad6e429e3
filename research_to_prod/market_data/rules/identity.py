"""Whether a series is what its label says, from its first bar to its last.

Belongs here: copies under another name, histories glued together, units that change. Doesn't: single wrong bars.

Only what shows within the month is found: a seam exactly between two months lies in neither. A splice of two assets at
nearly one price, and a change of unit by less than ``volume_step``, cannot be told from trading.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.rules.case import Case, Cost, moment
from research_to_prod.market_data.rules.returns import breaks
from research_to_prod.market_data.series import Floats, aligned, common, runs

_PRICES = ("open", "high", "low", "close")


def copied_series(case: Case) -> Iterator[Finding]:
    """Bars that moved and equal another series' bars of the same time: one of the two is mislabelled or filled in.

    Against every other series of the timeframe, whatever its venue and asset. An error when ``copied_bars`` of the
    common bars agree in all five values, or ``copied_prices`` of them in the four prices, and ``fewest_bars`` bars do.
    """
    rules, fewest = case.policy.identity, case.policy.values.fewest_bars.value
    moved = case.bars.moved
    for other in case.others:
        if other.length != case.series.length:
            continue
        grid, other_grid = common(case.series, other)
        if np.count_nonzero(case.series.closes[grid] == other.closes[other_grid]) < fewest:
            continue
        mine, theirs = aligned(case.series, other)
        equal = moved[mine].copy()
        for name in _PRICES:
            equal &= getattr(case.bars, name)[mine] == getattr(other.bars, name)[theirs]
        whole = equal & (case.bars.volume[mine] == other.bars.volume[theirs])
        both = max(int(moved[mine].sum()), 1)
        for same, limit, what in (
            (whole, rules.copied_bars, "in all five values"),
            (equal, rules.copied_prices, "in the four prices"),
        ):
            if same.sum() >= fewest and same.sum() / both >= limit.value:
                ts = case.bars.ts[mine[same]]
                yield case.finding(
                    "copied_series",
                    Level.ERROR,
                    (ts[0], ts[-1]),
                    same.sum(),
                    same.sum() / both,
                    limit,
                    f"{same.sum()} of {both} common bars equal those of {other.name} {what}, from {moment(ts[0])}",
                    Cost(
                        "One of the two is not what its label says: their basis is zero by construction, "
                        "and costs are those of another market.",
                        "Fetch both from their venues, and remove the one that differs from its venue.",
                    ),
                    confidence=0.95,
                    against=other.name,
                )
                break


def symbol_reuse(case: Case) -> Iterator[Finding]:
    """An open far from the close before it, and the price stays there: another asset or another unit of price.

    Breaks as in ``returns.breaks`` that last. An error: a ticker given to a new asset, a redenomination, or two files
    glued together.
    """
    found = breaks(case)
    for at, step, allowed in zip(*(each[found.lasts] for each in (found.at, found.step, found.allowed)), strict=True):
        ts = case.bars.ts[at]
        yield case.finding(
            "symbol_reuse",
            Level.ERROR,
            (ts, ts),
            1,
            abs(step),
            case.policy.returns.break_ceiling.model_copy(update={"value": float(allowed)}),
            f"from {moment(ts)} on the price is {np.exp(step):.4g} times what it was, without trading there",
            Cost(
                "A backtest books the step as a profit or loss, and every window across it mixes two assets.",
                "Cut the market into two in universe.yaml, until and since this bar, or declare the factor.",
            ),
            confidence=0.9,
        )


def volume_unit_change(case: Case) -> Iterator[Finding]:
    """Volume whose median steps by ``volume_step`` decades: it is counted in another unit from there on.

    Volumes above zero are gathered into at most 200 blocks; medians of log volume over an equal number of blocks (a
    twentieth of them, at least 7 bars) before and after each border are compared. An error, one for each step.
    """
    traded = np.flatnonzero(case.bars.volume > 0)
    log = np.log10(case.bars.volume[traded])
    width = max(1, len(log) // 200)
    blocks = len(log) // width
    window = max(-(-7 // width), blocks // 20)
    if blocks < 2 * window:
        return
    levels = np.median(log[: blocks * width].reshape(blocks, width), axis=1)
    medians = np.median(np.lib.stride_tricks.sliding_window_view(levels, window), axis=1)
    steps = medians[window:] - medians[:-window]
    limit = case.policy.identity.volume_step
    for start, length in zip(*runs(np.abs(steps) >= limit.value), strict=True):
        peak = start + int(np.argmax(np.abs(steps[start : start + length])))
        at = traded[_seam(log, (peak + window) * width, window * width, steps[peak])]
        ts = case.bars.ts[at]
        yield case.finding(
            "volume_unit_change",
            Level.ERROR,
            (ts, ts),
            1,
            abs(steps[peak]),
            limit,
            f"from {moment(ts)} on the median volume is {10 ** steps[peak]:.3g} times what it was; the price there is "
            f"{case.bars.close[at]:.6g}",
            Cost(
                "Position limits, impact and liquidity scale with volume: they are wrong by that factor on one side.",
                "Find out which side is in base units, and declare the factor.",
            ),
            confidence=0.9,
        )


def _seam(log: Floats, near: int, reach: int, step: float) -> int:
    """Return the index within ``reach`` of ``near`` at which the volume first is on the other side of the middle."""
    start, stop = max(0, near - reach), min(len(log), near + reach)
    middle = (np.median(log[start:near]) + np.median(log[near:stop])) / 2
    after = (log[start:stop] > middle) == (step > 0)
    # The split with the fewest bars on the wrong side.
    wrong = np.concatenate(([0], np.cumsum(after))) + (~after).sum() - np.concatenate(([0], np.cumsum(~after)))
    return start + int(np.argmin(wrong))
