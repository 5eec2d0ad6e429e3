"""The drawdowns of each strategy's record so far: its deepest episodes, what they are made of, and whether expected.

Beside the episodes stands how far below its high the record was at each day's end.

Components are the causes of the waterfall; expected P&L counts with the edge, because neither alone was earned. What a
day without a waterfall earned is a component of its own. Belongs here: stored days to episodes and rows. Doesn't: the
arithmetic of an episode (``drawdowns``) and of the card (``drawdown_expectation``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from research_to_prod.attribution.drawdown_expectation import Standing, expectation_card
from research_to_prod.attribution.drawdowns import UNITS, Contributions, Curve, Episode, decompose, find_episodes
from research_to_prod.attribution.pnl_contracts import DRAWDOWNS
from research_to_prod.attribution.waterfall import Cause
from research_to_prod.attribution.waterfall_days import EXPECTED, RESIDUAL
from research_to_prod.lake.schema import DECIMAL, TIMESTAMP
from research_to_prod.market_data.series import micros
from research_to_prod.research.bars import Floats
from research_to_prod.values import day_bounds

DEEPEST = 10
"""Episodes kept of a strategy, the deepest first; a record of years has hundreds, most of them of a day."""

RECORD, ALL, DAY = 0, "all", "day"
UNEXPLAINED = "not explained"
_NO_REGIME = "not told"
# Resamples are drawn from this, so that a night's card is the same whoever makes it.
_SEED = 20260101


@dataclass(frozen=True, eq=False)
class Backtest:
    """(n,) daily returns, and the number of trials that it was chosen from."""

    returns: Floats
    trials: int


def drawdowns_of_day(
    shadow: pa.Table, waterfall: pa.Table, day: str, backtests: Mapping[str, Backtest]
) -> tuple[pa.Table, dict[str, Curve]]:
    """Return the ``DRAWDOWNS`` rows of an evening, and the curve of each strategy whose P&L is known.

    Parameters
    ----------
    shadow, waterfall
        ``SHADOW`` and ``PNL_WATERFALL`` rows of all days up to ``day``.
    backtests
        By strategy; one without has no card.
    """
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for row in shadow.to_pylist():
        by_strategy.setdefault(row["strategy"], []).append(row)
    steps: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in waterfall.to_pylist():
        if row["excluded_reason"] is None:
            steps.setdefault((row["day"], row["strategy"], row["venue"], row["symbol"]), []).append(row)
    rows: list[dict[str, Any]] = []
    curves = {}
    for strategy, days in sorted(by_strategy.items()):
        head = {"day": day, "strategy": strategy}
        if unknown := sorted({row["day"] for row in days if row["live"] is None}):
            reason = f"{len(unknown)} days of P&L are not known, the first {unknown[0]}"
            rows.append(head | _record(Standing.INCONCLUSIVE, reason, None))
            continue
        contributions = _contributions(days, steps)
        capital = next((row["capital"] for row in reversed(days) if row["capital"] is not None), None)
        first = min(row["day"] for row in days)
        until = day_bounds(day)[1]
        curve = Curve.of(contributions, day_bounds(first)[0], float(capital or 0), until=until)
        curves[strategy] = curve
        episodes = sorted(find_episodes(curve), key=lambda each: -each.units)[:DEEPEST]
        standing, reason = _card(days, capital, backtests.get(strategy))
        rows.append(head | _record(standing, reason, max((each.units for each in episodes), default=0)))
        rows += [head | each for each in _depths(curve, {row["day"] for row in days})]
        for number, episode in enumerate(episodes, start=1):
            rows += [head | each for each in _parts(number, episode, contributions)]
    return pa.Table.from_pylist(rows, schema=DRAWDOWNS.arrow), curves


def broken_parts(rows: pa.Table) -> list[str]:
    """Return the episodes whose parts, by some dimension, don't add up to their loss."""
    losses: dict[tuple[str, int], Decimal] = {}
    sums: dict[tuple[str, int, str], Decimal] = {}
    for row in rows.to_pylist():
        if row["episode"] != RECORD and row["dimension"] == ALL:
            losses[row["strategy"], row["episode"]] = row["loss"]
        elif row["episode"] != RECORD:
            key = (row["strategy"], row["episode"], row["dimension"])
            sums[key] = sums.get(key, Decimal(0)) + row["loss"]
    return [
        f"{strategy}, episode {episode}: {dimension} adds up to {found}, lost {losses.get((strategy, episode))}"
        for (strategy, episode, dimension), found in sorted(sums.items())
        if found != losses.get((strategy, episode))
    ]


def underwater(curve: Curve) -> Floats:
    """Return (T,) how far below its high the curve is, as a fraction of the equity there; 0 without equity."""
    peaks = np.maximum.accumulate(curve.earned)
    equity = (curve.equity + peaks - curve.earned).astype(float)
    return np.divide(curve.earned - peaks, equity, out=np.zeros(len(peaks)), where=equity > 0)


def _contributions(
    days: list[dict[str, Any]], steps: Mapping[tuple[str, ...], list[dict[str, Any]]]
) -> Contributions:  # fmt: skip
    rows = []
    for row in days:
        place = (row["day"], row["strategy"], row["venue"], row["symbol"])
        # At the last microsecond of the day: the record ends with it.
        at = day_bounds(row["day"])[1] - timedelta(microseconds=1)
        where = {"at": at, "symbol": row["symbol"], "venue": row["venue"], "regime": _NO_REGIME}
        if place not in steps:
            rows.append(where | {"component": UNEXPLAINED, "money": row["live"]})
            continue
        for step in steps[place]:
            if step["cause"] != RESIDUAL:
                cause = Cause.EDGE.value if step["cause"] == EXPECTED else step["cause"]
                rows.append(where | {"component": cause, "money": step["amount"]})
    types = {"at": TIMESTAMP, "money": DECIMAL} | dict.fromkeys(("component", "symbol", "venue", "regime"), pa.string())
    return Contributions.of(pa.Table.from_pylist(rows, schema=pa.schema(types)))


def _card(days: list[dict[str, Any]], capital: Decimal | None, backtest: Backtest | None) -> tuple[Standing, str]:
    if capital is None or backtest is None:
        return Standing.INCONCLUSIVE, "no candidate with a backtest says what to expect"
    earned: dict[str, Decimal] = {}
    for row in days:
        earned[row["day"]] = earned.get(row["day"], Decimal(0)) + row["live"]
    live = np.array([float(earned[each] / capital) for each in sorted(earned)])
    card = expectation_card(live, backtest.returns, max(backtest.trials, 1), seed=_SEED)
    return card.standing, card.reason or "within what the deflated backtest lets expect"


def _record(standing: Standing, reason: str, units: int | None) -> dict[str, Any]:
    row = {"episode": RECORD, "dimension": ALL, "value": ALL, "standing": standing.value, "reason": reason}
    return row | {"loss": None if units is None else Decimal(units) / UNITS}


def _depths(curve: Curve, days: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yield how far below its high the record was at the end of each day."""
    below, fractions = np.maximum.accumulate(curve.earned) - curve.earned, underwater(curve)
    for day in sorted(days):
        at = int(np.searchsorted(curve.at, micros(day_bounds(day)[1]), side="right")) - 1
        row = {"episode": RECORD, "dimension": DAY, "value": day, "loss": Decimal(int(below[at])) / UNITS}
        yield row | {"fraction": float(-fractions[at]) if curve.equity[at] + below[at] > 0 else None}


def _parts(number: int, episode: Episode, contributions: Contributions) -> list[dict[str, Any]]:
    head = {"episode": number, "peak_at": episode.peak_at, "trough_at": episode.trough_at}
    head |= {"recovered_at": episode.recovered_at, "seconds": episode.seconds}
    whole = {"dimension": ALL, "value": ALL, "loss": Decimal(episode.units) / UNITS, "share": 1.0}
    whole |= {"fraction": None if np.isnan(episode.fraction) else episode.fraction}
    parts = [
        {name: row[name] for name in ("dimension", "value", "share")} | {"loss": Decimal(row["units"]) / UNITS}
        for row in decompose(episode, contributions).to_pylist()
    ]
    return [head | each for each in (whole, *parts)]
