"""What single bars say: impossible prices, columns that copy each other, volume that nobody traded.

Belongs here: rules that hold bar by bar. Doesn't: moves between bars (``returns``), order of rows (``delivery``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from research_to_prod.market_data.findings import Finding, Level
from research_to_prod.market_data.rules.case import Case, Cost, named
from research_to_prod.market_data.rules.delivery import refused

_PAIRS = tuple(combinations(("open", "high", "low", "close"), 2))


def ohlc_violation(case: Case) -> Iterator[Finding]:
    """Rows whose high or low lies inside the range of open, close and each other.

    Contract rules ``high_is_highest`` and ``low_is_lowest``. An error above ``refused_rows``, else a warning: who
    writes impossible bars writes wrong possible ones too.
    """
    for rule in ("high_is_highest", "low_is_lowest"):
        yield from refused(
            case,
            rule,
            f"ohlc_violation_{rule.partition('_')[0]}",
            None,
            Cost(
                "The bars are missing from the lake; stops and limits on the source's other bars fill at wrong prices.",
                "Take the period from another source, or declare how the column is rebuilt.",
            ),
        )


def non_positive_price(case: Case) -> Iterator[Finding]:
    """Rows with a price that is not a finite number above zero (contract rule ``prices_are_finite_positive``).

    An error: no market prints one, so the source made it up.
    """
    yield from refused(
        case,
        "prices_are_finite_positive",
        "non_positive_price",
        Level.ERROR,
        Cost(
            "The bars are missing from the lake; returns into and out of them would be infinite.",
            "Take the bars from another source; find out what zero or empty stands for.",
        ),
    )


def invalid_volume(case: Case) -> Iterator[Finding]:
    """Rows whose volume is negative or not a finite number (contract rule ``volume_is_finite_not_negative``).

    An error above ``refused_rows``, else a warning.
    """
    yield from refused(
        case,
        "volume_is_finite_not_negative",
        "invalid_volume",
        None,
        Cost("The bars are missing from the lake.", "Take the bars from another source."),
    )


def repeated_column(case: Case) -> Iterator[Finding]:
    """Two of the four price columns agree in ``repeated_column`` of the rows that moved: one is a copy.

    Judged on raw rows, because where high repeats close, the contract refuses half of them and the other half looks
    right. Needs ``fewest_bars`` rows whose four prices are not all equal. An error.
    """
    limit, fewest = case.policy.values.repeated_column, case.policy.values.fewest_bars
    moved = case.raw.where(case.raw.moved)
    if len(moved) < fewest.value:
        return
    for one, other in _PAIRS:
        share = float(np.mean(getattr(moved, one) == getattr(moved, other)))
        if share >= limit.value:
            yield case.finding(
                "repeated_column",
                Level.ERROR,
                (moved.ts.min(), moved.ts.max()),
                len(moved),
                share,
                limit,
                f"{one} equals {other} in {share:.1%} of the rows that moved",
                Cost(
                    f"{one} or {other} is not what it says: ranges, stops and limit fills are wrong in every bar.",
                    "Correct the columns of the source, or use its closes only after checking them against a peer.",
                ),
                against=f"{one} {other}",
            )


def wick(case: Case) -> Iterator[Finding]:
    """Bars whose high or low lies more than ``wick`` beyond open and close, in log price.

    A warning: it happens (LINK/USDT traded at 0.0001 on 2020-03-12), but hardly anybody could trade there.
    """
    bars, limit = case.bars, case.policy.values.wick
    reach = np.log(
        np.maximum(bars.high / np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close) / bars.low)
    )
    far = reach > limit.value
    if far.any():
        ts = bars.ts[far]
        yield case.finding(
            "wick",
            Level.WARNING,
            (ts[0], ts[-1]),
            far.sum(),
            reach.max(),
            limit,
            f"highs or lows far beyond open and close: {named(ts)}",
            Cost(
                "Limit orders and stops in a backtest fill at a price that few could trade, and in size nobody.",
                "Simulate fills on closes there, or confirm the print in the venue's trades.",
            ),
            confidence=0.5,
        )


def zero_volume(case: Case) -> Iterator[Finding]:
    """Bars without volume. Info; from ``zero_volume`` of the bars on a warning, from ``no_volume`` on an error."""
    empty = case.bars.volume == 0
    if not empty.any():
        return
    share = float(empty.mean())
    levels = ((case.policy.values.no_volume, Level.ERROR), (case.policy.values.zero_volume, Level.WARNING))
    limit, level = next((each for each in levels if share >= each[0].value), (levels[1][0], Level.INFO))
    ts = case.bars.ts[empty]
    yield case.finding(
        "zero_volume",
        level,
        (ts[0], ts[-1]),
        empty.sum(),
        share,
        limit,
        f"{empty.sum()} of {len(empty)} bars have no volume: {named(ts)}",
        Cost(
            "Fills at these closes assume trades that nobody made; volume-scaled costs are undefined.",
            "Forbid fills in bars without volume, or choose a longer timeframe.",
        ),
    )
