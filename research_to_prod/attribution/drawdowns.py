"""Drawdowns of a P&L that is kept in money: where they begin and end, and what the loss is made of.

Belongs here: episodes, and the exact decomposition of their loss. Doesn't: whether one was to be expected
(``drawdown_expectation``), what was going on meanwhile (``failure_modes``).

Money is whole numbers of 1e-8 of the quote currency, so that the parts of a loss add up to it exactly, in any order;
in floats they miss it by their rounding. Time is counted in seconds: this market has no days off, and a count of
business days (pyfolio) makes five days of drawdown four.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.series import Integers, instant, micros

UNITS = 10**8
"""Units of money in one of the quote currency."""

DIMENSIONS = ("component", "symbol", "venue", "regime")
"""What each contribution to the P&L is named by; the loss of an episode is split by each."""

SHADOW = frozenset({"delay_unfilled", "opportunity"})
"""Columns of the slippage table about what was not traded: no money moved, and the ledger's sum doesn't have them."""

_LARGEST = 2**62


@dataclass(frozen=True, eq=False)
class Contributions:
    """Money that came in (positive) or went, (n,) each, in any order.

    Parameters
    ----------
    at
        Microseconds since 1970.
    money
        Units of 1e-8 of the quote currency.
    labels
        The value of each of `DIMENSIONS`.
    """

    at: Integers
    money: Integers
    labels: Mapping[str, npt.NDArray[np.object_]]

    @classmethod
    def of(cls, table: pa.Table) -> Contributions:
        """Return the rows of a table with ``at``, ``money`` (quote currency, any number) and `DIMENSIONS`.

        Money that is no whole number of units is rounded here, row by row, and nowhere else.

        Raises
        ------
        ValueError
            Lists all that is wrong: nulls, money that is not finite or too large, shadow components.
        """
        money = table["money"]
        if not pa.types.is_decimal(money.type):
            money = money.cast(pa.float64())
        problems = [f"{name} has nulls" for name in ("at", "money", *DIMENSIONS) if table[name].null_count]
        if shadow := sorted(SHADOW.intersection(table["component"].to_pylist())):
            problems.append(f"{', '.join(shadow)}: what was not traded is no part of the ledger's P&L; leave it out")
        units = np.zeros(table.num_rows, np.int64)
        if not problems:
            scaled = _units(money)
            if scaled is None:
                problems.append("money is not finite, or adds up to more than 46 billion")
            else:
                units = scaled
        if problems:
            raise ValueError("; ".join(problems))
        at: Integers = table["at"].cast(TIMESTAMP).cast(pa.int64()).to_numpy()
        labels = {name: table[name].to_numpy().astype(object) for name in DIMENSIONS}
        return cls(at, units, MappingProxyType(labels))


@dataclass(frozen=True, eq=False)
class Curve:
    """What was earned up to each of (T,) increasing times, and the equity then, in units of money.

    Parameters
    ----------
    earned
        Cumulated P&L. Capital that was paid in or out is no part of it, so that it makes no drawdown.
    equity
        Capital, P&L and flows together: what a loss is a fraction of.
    """

    at: Integers
    earned: Integers
    equity: Integers

    def __post_init__(self) -> None:
        if not len(self.at) == len(self.earned) == len(self.equity) > 0:
            raise ValueError("a curve needs as many times as values, at least one")
        if not (np.diff(self.at) > 0).all():
            raise ValueError("the times of a curve must increase")

    @classmethod
    def of(
        cls,
        contributions: Contributions,
        started_at: datetime,
        capital: float,
        flows: tuple[tuple[datetime, float], ...] = (),
        until: datetime | None = None,
    ) -> Curve:
        """Return the curve from ``started_at`` on, with a point at each time at which money moved.

        Parameters
        ----------
        capital
            Equity at the start, in the quote currency.
        flows
            Capital paid in (positive) or out afterwards.
        until
            Time to which the record is known to be complete; an open drawdown is at least that long.

        Raises
        ------
        ValueError
            If something was earned or paid not after the start, or after ``until``.
        """
        start = micros(started_at)
        paid_at = np.array([micros(at) for at, _ in flows], np.int64)
        paid = np.array([round(money * UNITS) for _, money in flows], np.int64)
        moved = np.concatenate([contributions.at, paid_at])
        end = [] if until is None else [micros(until)]
        if len(moved) and (moved.min() <= start or (end and moved.max() > end[0])):
            raise ValueError(f"money moved outside the record, which runs from {started_at} to {until or 'its end'}")
        at = np.unique(np.concatenate([[start], moved, end]).astype(np.int64))
        earned = _cumulated(at, contributions.at, contributions.money)
        return cls(at, earned, round(capital * UNITS) + earned + _cumulated(at, paid_at, paid))


@dataclass(frozen=True)
class Episode:
    """One drawdown: from the last high before it to the first return there.

    Parameters
    ----------
    trough_at
        Time of the lowest point, the first if there are several.
    recovered_at
        None while the drawdown is open.
    seen_until
        Last time of the curve.
    units
        Loss from peak to trough in units of money, positive.
    fraction
        Of the equity at the peak; NaN where there was none.
    """

    peak_at: datetime
    trough_at: datetime
    recovered_at: datetime | None
    seen_until: datetime
    units: int
    fraction: float

    @property
    def loss(self) -> float:
        """The loss in the quote currency, positive."""
        return self.units / UNITS

    @property
    def falling_seconds(self) -> float:
        """From peak to trough."""
        return (self.trough_at - self.peak_at).total_seconds()

    @property
    def recovering_seconds(self) -> float | None:
        """From trough to recovery; None while it is open."""
        return None if self.recovered_at is None else (self.recovered_at - self.trough_at).total_seconds()

    @property
    def seconds(self) -> float:
        """From peak to recovery, or so far."""
        return ((self.recovered_at or self.seen_until) - self.peak_at).total_seconds()


def find_episodes(curve: Curve) -> tuple[Episode, ...]:
    """Return every drawdown of the curve in order of time; the last one may be open."""
    highest = np.maximum.accumulate(curve.earned)
    under = curve.earned < highest
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return ()
    # The first point of a curve is a high, so reduceat's segments are the drawdowns and the highs between them.
    segments = np.minimum.reduceat(curve.earned, np.sort(np.concatenate([starts, ends[ends < len(under)]])))
    lowest = np.repeat(segments[::2][: len(starts)], ends - starts)
    at_lowest = np.flatnonzero(under)[curve.earned[under] == lowest]
    troughs = at_lowest[np.searchsorted(at_lowest, starts)]
    return tuple(
        Episode(
            peak_at=instant(curve.at[start - 1]),
            trough_at=instant(curve.at[trough]),
            recovered_at=instant(curve.at[end]) if end < len(under) else None,
            seen_until=instant(curve.at[-1]),
            units=int(curve.earned[start - 1] - curve.earned[trough]),
            fraction=_fraction(curve, start - 1, trough),
        )
        for start, end, trough in zip(starts, ends, troughs, strict=True)
    )


def find_episodes_plainly(curve: Curve) -> tuple[Episode, ...]:
    """Return what `find_episodes` does, point by point: the definition, for the tests."""
    found: list[Episode] = []
    peak, trough = 0, None
    for here in range(1, len(curve.at) + 1):
        ended = here == len(curve.at)
        if not ended and curve.earned[here] < curve.earned[peak]:
            if trough is None or curve.earned[here] < curve.earned[trough]:
                trough = here
            continue
        if trough is not None:
            found.append(
                Episode(
                    peak_at=instant(curve.at[peak]),
                    trough_at=instant(curve.at[trough]),
                    recovered_at=None if ended else instant(curve.at[here]),
                    seen_until=instant(curve.at[-1]),
                    units=int(curve.earned[peak] - curve.earned[trough]),
                    fraction=_fraction(curve, peak, trough),
                )
            )
        peak, trough = here, None
    return tuple(found)


def decompose(episode: Episode, contributions: Contributions) -> pa.Table:
    """Return who lost the money between peak and trough, by each of `DIMENSIONS`, largest loss first.

    Returns
    -------
    pa.Table
        ``dimension``, ``value``, ``units`` (of money, losses positive) and ``share`` of the episode's loss. Within a
        dimension the units add up to those of the episode, exactly.

    Raises
    ------
    ValueError
        If the contributions are not those of the curve that the episode is from.
    """
    start, end = micros(episode.peak_at), micros(episode.trough_at)
    within = (contributions.at > start) & (contributions.at <= end)
    money = contributions.money[within]
    if -int(money.sum()) != episode.units:
        raise ValueError(f"the contributions lose {-int(money.sum())} units, the episode {episode.units}")
    rows = []
    for dimension in DIMENSIONS:
        values, groups = np.unique(contributions.labels[dimension][within].astype(str), return_inverse=True)
        lost = np.zeros(len(values), np.int64)
        np.subtract.at(lost, groups, money)
        rows += [
            {"dimension": dimension, "value": str(values[i]), "units": int(lost[i]), "share": lost[i] / episode.units}
            for i in np.argsort(-lost, kind="stable")
        ]
    types = {"dimension": pa.string(), "value": pa.string(), "units": pa.int64(), "share": pa.float64()}
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


def _units(money: pa.ChunkedArray) -> Integers | None:
    """Return money as units, None where they or their sums would not fit; decimals are exact to the unit."""
    if pa.types.is_decimal(money.type):
        exact = [round(each * UNITS) for each in money.to_pylist()]
        return np.array(exact, np.int64) if sum(map(abs, exact)) < _LARGEST else None
    scaled = np.rint(money.to_numpy() * UNITS)
    fits = np.isfinite(scaled).all() and math.fsum(np.abs(scaled)) < _LARGEST
    return scaled.astype(np.int64) if fits else None


def _cumulated(at: Integers, moved_at: Integers, money: Integers) -> Integers:
    """Return what had moved up to and including each of the times ``at``."""
    order = np.argsort(moved_at, kind="stable")
    sums = np.concatenate([[0], np.cumsum(money[order])])
    return np.asarray(sums[np.searchsorted(moved_at[order], at, side="right")], np.int64)


def _fraction(curve: Curve, peak: int, trough: int) -> float:
    equity = int(curve.equity[peak])
    return int(curve.earned[peak] - curve.earned[trough]) / equity if equity > 0 else math.nan
