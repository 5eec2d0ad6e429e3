"""The regime of this moment: the profile's word for the hour, overridden when live values are far from it.

A pure function with its state in and out, so that every evaluation can be made again from what it returns. Belongs
here: the override. Doesn't: the profile (``liquidity``), and what an alert does with a regime.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.market_data.liquidity import Regime, hour_of_week
from research_to_prod.values import day_bounds

STRESS_Z: Mapping[str, float] = MappingProxyType({"depth": -3.0, "spread": 3.0, "volatility": 4.0})
"""The robust z-score beyond which, in the direction of its sign, a bar is stressed: starting values, from judgement."""

_ENTER, _OF, _LEAVE = 2, 3, 6


class Sight(StrEnum):
    """What one bar said."""

    STRESSED = "stressed"
    CALM = "calm"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class State:
    """What is carried from bar to bar: the last bars' sights, oldest first, and whether the market is stressed."""

    stressed: bool = False
    last: tuple[Sight, ...] = ()
    as_of: datetime | None = None


@dataclass(frozen=True)
class Live:
    """Values of the newest bar in the units of the profile before its logarithm; None for what was not seen."""

    volatility: float | None
    spread: float | None
    depth: float | None


@dataclass(frozen=True)
class Hour:
    """What the profile says of one market and hour: its regime, and median and deviation of the log of each metric."""

    week: str
    how: int
    regime: Regime
    scales: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Inputs:
    """All that an evaluation follows from, besides its time."""

    before: State
    live: Live
    hour: Hour | None


@dataclass(frozen=True)
class Evaluation:
    """The regime at ``as_of``; ``evaluate`` of its inputs, version and time gives it again.

    Parameters
    ----------
    profile_version
        Content hash of the liquidity profile that was read; None where there was none.
    after
        The state for the next bar.
    """

    regime: Regime
    inputs: Inputs
    profile_version: str | None
    as_of: datetime
    after: State


def hour_of(profile: pa.Table, venue: str, symbol: str, at: datetime) -> Hour | None:
    """Return what ``profile`` (LIQUIDITY_PROFILE) says of a market at this hour of any week, None if nothing.

    A metric without a median, or whose deviation is 0, has no scale and is left out.
    """
    mask = pc.and_(pc.equal(profile["venue"], venue), pc.equal(profile["symbol"], symbol))
    rows = profile.filter(pc.and_(mask, pc.equal(profile["how"], hour_of_week(at)))).to_pylist()
    if len(rows) != 1:
        return None
    (row,) = rows
    scales = {name: (row[f"{name}_med"], row[f"{name}_s"]) for name in STRESS_Z if row[f"{name}_s"]}
    return Hour(row["week"], row["how"], Regime(row["regime"]), scales)


def evaluate(inputs: Inputs, profile_version: str | None, as_of: datetime) -> Evaluation:
    """Return the regime after the bar that ended at ``as_of``.

    A bar is stressed when depth, spread or volatility is beyond `STRESS_Z`, calm when every metric that the profile has
    a scale for was seen and none is, unseen otherwise. Two stressed bars of the last three make the market stressed at
    once; six calm bars in a row end that. Stressed goes before unknown, unknown before the profile's regime. It is
    unknown when the bar is unseen, or the profile is missing, of another week or of another hour.

    Parameters
    ----------
    inputs
        Pass every bar, one that did not come too (all of `Live` None): the rule counts bars in a row.

    Raises
    ------
    ValueError
        If ``as_of`` is not after the last evaluation.
    """
    before, hour = inputs.before, inputs.hour
    if before.as_of is not None and as_of <= before.as_of:
        raise ValueError(f"the bar of {as_of.isoformat()} is not after the last one, {before.as_of.isoformat()}")
    valid = hour if hour is not None and _covers(hour, as_of) else None
    sight = _sight(valid, inputs.live)
    last = (*before.last, sight)[-_LEAVE:]
    calm = len(last) == _LEAVE and set(last) == {Sight.CALM}
    stressed = last[-_OF:].count(Sight.STRESSED) >= _ENTER or (before.stressed and not calm)
    if stressed:
        regime = Regime.STRESSED
    elif valid is None or sight is Sight.UNSEEN:
        regime = Regime.UNKNOWN
    else:
        regime = valid.regime
    return Evaluation(regime, inputs, profile_version, as_of, State(stressed, last, as_of))


def z_scores(hour: Hour, live: Live) -> dict[str, float]:
    """Return the robust z-score of each metric that has a scale and was seen; NaN and negative values are not seen."""
    scores = {}
    for name, (med, s) in hour.scales.items():
        value = getattr(live, name)
        if value is not None and value >= 0:
            scores[name] = ((math.log(value) if value > 0 else -math.inf) - med) / s
    return scores


def _covers(hour: Hour, as_of: datetime) -> bool:
    """Whether the profile's hour is that of the bar that ended at ``as_of``."""
    moment = as_of - timedelta(microseconds=1)
    start, _ = day_bounds(hour.week)
    return start <= moment < start + timedelta(weeks=1) and hour.how == hour_of_week(moment)


def _sight(hour: Hour | None, live: Live) -> Sight:
    if hour is None or not hour.scales:
        return Sight.UNSEEN
    scores = z_scores(hour, live)
    beyond = {name: (score - STRESS_Z[name]) * math.copysign(1, STRESS_Z[name]) > 0 for name, score in scores.items()}
    if any(beyond.values()):
        return Sight.STRESSED
    return Sight.CALM if scores.keys() == hour.scales.keys() else Sight.UNSEEN
