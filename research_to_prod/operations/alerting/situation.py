"""What surrounds a measurement: the regime of the market, what is at stake, how long blindness is tolerable.

Belongs here: the context of one moment and the part of it that one subject is judged with. Doesn't: rules, and where
positions and live values come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from research_to_prod.market_data.calendars import Calendar, events_at
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.blind_time import Stake, blind_time, hours_to_unwind
from research_to_prod.operations.alerting.settings import Exposed, Settings

_PRECEDENCE = tuple(Regime)
_SECONDS_OF_HOUR = 3600


@dataclass(frozen=True, order=True)
class Subject:
    """What a rule is judged for; an empty field is every one. ``key`` is an asset, a break, or whatever else."""

    venue: str = ""
    account: str = ""
    instrument: str = ""
    strategy: str = ""
    key: str = ""

    def __str__(self) -> str:
        given = (self.venue, self.account, self.instrument, self.strategy, self.key)
        return " ".join(each for each in given if each) or "the desk"


@dataclass(frozen=True)
class Holding:
    """What is at stake in one market for one strategy.

    Parameters
    ----------
    net
        Signed exposure in quote currency; None where it can't be told.
    working_orders
        Orders that may still fill.
    margin_use
        Maintenance margin over margin balance of the account; None where there is none, or it was not measured.
    """

    venue: str
    account: str
    instrument: str
    strategy: str
    net: float | None
    working_orders: int = 0
    margin_use: float | None = None

    @property
    def at_stake(self) -> bool:
        """Whether anything can be lost; what can't be told can."""
        return self.net is None or self.net != 0 or self.working_orders > 0


@dataclass(frozen=True)
class MarketNow:
    """One market at this moment, None for what is not known; the units are those of `Stake`.

    ``depth_share`` is the depth over the reference that limits were set for. ``profile_version`` is the content hash of
    the liquidity profile behind it. ``events`` are the kinds of events that hold now.
    """

    venue: str
    symbol: str
    regime: Regime
    volatility: float | None = None
    half_spread: float | None = None
    depth: float | None = None
    hour_volume: float | None = None
    depth_share: float | None = None
    profile_version: str | None = None
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """All that evaluations of one moment share.

    Parameters
    ----------
    capital
        Of the book, quote currency.
    watched
        Subjects that must be measured by rule's ``per``, whether or not anything was.
    watched_since
        Since when there was something to see: blindness counts from here, or from what was last seen.
    events
        Kinds of events that hold now for no market in particular.
    """

    capital: float
    holdings: tuple[Holding, ...]
    markets: tuple[MarketNow, ...]
    watched: Mapping[str, tuple[Subject, ...]]
    watched_since: datetime
    events: tuple[str, ...] = ()

    @property
    def hour_deviations(self) -> dict[tuple[str, str], float]:
        """By market, the deviation of one hour's return, as a fraction; without those of which it isn't known."""
        root = _SECONDS_OF_HOUR**0.5
        return {(each.venue, each.symbol): each.volatility * root for each in self.markets if each.volatility}


@dataclass(frozen=True)
class Situation:
    """What one subject is judged with.

    Parameters
    ----------
    at_stake
        Sum of absolute exposures in quote currency; None where one can't be told.
    budget
        Loss budget of one incident, quote currency.
    blind_seconds
        Longest tolerable blindness; None where it can't be told.
    reduce_first
        The exit alone costs the whole budget.
    unwind_hours
        Time to sell; None where it can't be told.
    """

    regime: Regime
    exposed: Exposed
    at_stake: float | None
    budget: float
    blind_seconds: float | None
    reduce_first: bool
    exit_cost: float | None
    unwind_hours: float | None
    depth_share: float | None
    events: tuple[str, ...]
    profile_versions: tuple[str, ...]


def situation_of(subject: Subject, context: Context, settings: Settings) -> Situation:
    """Return what ``subject`` is judged with: the holdings that it covers, and the strictest of their markets."""
    markets = {(each.venue, each.symbol): each for each in context.markets}
    held = [each for each in context.holdings if each.at_stake and _covers(subject, each)]
    places = {(each.venue, each.instrument) for each in held} or {
        place for place in markets if subject.venue in {"", place[0]} and subject.instrument in {"", place[1]}
    }
    near = [markets.get(place, MarketNow(*place, Regime.UNKNOWN)) for place in sorted(places)]
    stakes = _stakes(held, markets)
    budget = settings.blind_time.loss_budget.value * context.capital
    known = None if stakes is None else blind_time(stakes, budget, settings.blind_time)
    unwind = None if stakes is None else _told(hours_to_unwind(stakes, settings.blind_time))
    nets = [each.net for each in held]
    return Situation(
        regime=strictest(each.regime for each in near),
        exposed=_exposed(held, unwind, settings),
        at_stake=None if None in nets else _told(sum(abs(each) for each in nets if each is not None)),
        budget=budget,
        blind_seconds=None if known is None else known.seconds,
        reduce_first=known is not None and known.reduce_first,
        exit_cost=None if known is None else _told(known.exit_cost),
        unwind_hours=unwind,
        depth_share=_least([each.depth_share for each in near]),
        events=tuple(sorted({*context.events, *(event for each in near for event in each.events)})),
        profile_versions=tuple(sorted({each.profile_version for each in near if each.profile_version})),
    )


def strictest(regimes: Iterable[Regime]) -> Regime:
    """Return the regime that goes before all others; unknown of none."""
    return min(regimes, key=_PRECEDENCE.index, default=Regime.UNKNOWN)


def market_of_profile(
    row: Mapping[str, object], bars_an_hour: float, regime: Regime, version: str | None, reference_depth: float | None
) -> MarketNow:
    """Return a market as the profile (a row of LIQUIDITY_PROFILE) expects it at this hour, under ``regime``.

    Parameters
    ----------
    bars_an_hour
        The profile's volumes are those of a bar.
    reference_depth
        Depth that limits were set for, quote currency.
    """

    def usual(metric: str) -> float | None:
        median = row[f"{metric}_med"]
        return math.exp(median) if isinstance(median, float) else None

    volatility, spread, depth, volume = (usual(each) for each in ("volatility", "spread", "depth", "volume"))
    return MarketNow(
        venue=str(row["venue"]),
        symbol=str(row["symbol"]),
        regime=regime,
        volatility=None if volatility is None else volatility / _SECONDS_OF_HOUR**0.5,
        half_spread=None if spread is None else spread / 2e4,
        depth=depth,
        hour_volume=None if volume is None else volume * bars_an_hour,
        depth_share=None if depth is None or not reference_depth else depth / reference_depth,
        profile_version=version,
    )


def events_of(calendars: Sequence[Calendar], when: datetime, symbol: str) -> tuple[str, ...]:
    """Return the kinds of events that hold at ``when``; for the whole desk with an empty symbol."""
    return tuple(sorted({each.kind.value for each in events_at(calendars, when, symbol)}))


def _covers(subject: Subject, holding: Holding) -> bool:
    pairs = (
        (subject.venue, holding.venue),
        (subject.account, holding.account),
        (subject.instrument, holding.instrument),
        (subject.strategy, holding.strategy),
    )
    return all(asked in {"", given} for asked, given in pairs)


def _stakes(held: Sequence[Holding], markets: Mapping[tuple[str, str], MarketNow]) -> list[Stake] | None:
    """Return the positions by account and market, all strategies' netted; None where one can't be valued."""
    nets: dict[tuple[str, str, str], float] = {}
    for each in held:
        if each.net is None:
            return None
        place = (each.venue, each.instrument, each.account)
        nets[place] = nets.get(place, 0.0) + each.net
    stakes = []
    for (venue, symbol, _), net in sorted(nets.items()):
        market = markets.get((venue, symbol))
        if net == 0:
            continue
        if market is None or market.volatility is None or market.half_spread is None:
            return None
        if not market.depth or not market.hour_volume:
            return None
        stakes.append(Stake(abs(net), market.volatility, market.half_spread, market.depth, market.hour_volume))
    return stakes


def _exposed(held: Sequence[Holding], unwind: float | None, settings: Settings) -> Exposed:
    if not held:
        return Exposed.X0
    close = any(each.margin_use is not None and each.margin_use > settings.exposure.margin_use.value for each in held)
    slow = unwind is None or unwind * 60 >= settings.exposure.unwind_minutes.value
    return Exposed.X2 if slow or close else Exposed.X1


def _told(value: float) -> float | None:
    """Return a number that can be written down; beyond all numbers is as good as unknown."""
    return value if math.isfinite(value) else None


def _least(values: Iterable[float | None]) -> float | None:
    """Return the least value; None if one is missing, or all are."""
    given = list(values)
    known = [each for each in given if each is not None]
    return min(known) if known and len(known) == len(given) else None
