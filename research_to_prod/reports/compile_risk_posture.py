"""The risk posture from what is known at one moment; a pure function, so that the same inputs give the same page.

Belongs here: what each line says, what is unknown and why, and since when. Doesn't: the arithmetic
(``operations.book_risk``, ``operations.alerting``), reading tables (``defs.operations.risk_posture``), the stand of
breaks, incidents and controls (``compile_standing``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from research_to_prod.market_data.liquidity import HOURS, hour_of_week
from research_to_prod.operations.alerting.blind_time import Stake, hours_to_unwind
from research_to_prod.operations.alerting.situation import Subject, situation_of
from research_to_prod.operations.book_risk import Contract, expected_shortfall, funding_due, liquidation_distance
from research_to_prod.reports.compile_standing import earliest
from research_to_prod.reports.desk_report import Status
from research_to_prod.reports.posture_exposures import exposure_lines
from research_to_prod.reports.posture_findings import findings_of, headline_of
from research_to_prod.reports.posture_inputs import (
    Known,
    Place,
    latest,
    nets_of,
    places_of,
    proven_of,
    total,
    venues_of,
)
from research_to_prod.reports.risk_posture import (
    BlindLine,
    FundingLine,
    LiquidationLine,
    MarketLine,
    RiskPosture,
    ShortfallLine,
    SourceLine,
)
from research_to_prod.research.bars import is_perpetual

HORIZONS = (1, 4, 24)
"""Hours ahead of which the shortfall is told."""


def compile_risk_posture(known: Known, now: datetime) -> RiskPosture:
    """Return the posture at ``now``."""
    exposures = exposure_lines(known)
    markets = tuple(_market(place, known) for place in places_of(known.context.holdings))
    liquidations = tuple(_liquidation(venue, known) for venue in venues_of(known))
    shortfalls = tuple(_shortfall(hours, known, now) for hours in HORIZONS)
    blind = tuple(_blind(venue, known, now) for venue in ("", *venues_of(known)))
    findings = (*findings_of(exposures, shortfalls, liquidations, blind), *known.standing.findings)
    status = next((each for each in (Status.ACT, Status.UNKNOWN) if each in {f.status for f in findings}), Status.CLEAR)
    return RiskPosture(
        as_of=now,
        currency=known.allocation.currency,
        capital=known.context.capital,
        shortfall_level=known.allocation.expected_shortfall_level.value,
        status=status,
        headline=headline_of(findings),
        findings=findings,
        exposures=exposures,
        shortfalls=shortfalls,
        markets=markets,
        liquidations=liquidations,
        funding=tuple(_funding(place, known, now) for place in _perpetuals(known)),
        blind=blind,
        sources=_sources(known, now),
        **known.standing.lines(),
    )


def _shortfall(hours: int, known: Known, now: datetime) -> ShortfallLine:
    nets = nets_of(known.context.holdings)
    volatilities = _volatilities(known.profile)
    ahead = [(hour_of_week(now) + each) % HOURS for each in range(hours)]
    stakes, missing = [], []
    for place, net in nets.items():
        expected = [volatilities.get((*place, hour)) for hour in ahead]
        if net is None or (net and None in expected):
            missing.append(f"{place[1]} on {place[0]}")
        elif net:
            stakes.append((abs(net), [each for each in expected if each is not None]))
    money = None if missing else expected_shortfall(stakes, known.allocation.expected_shortfall_level.value)
    if known.positions is None:
        money, missing = None, ["every position"]
    return ShortfallLine(
        hours=hours,
        money=money,
        share_of_capital=None if money is None else money / known.context.capital,
        limit=known.allocation.expected_shortfall_limit.value * known.context.capital
        if hours == HORIZONS[-1]
        else None,
        because=f"not known: price or volatility of {', '.join(missing)}" if missing else "",
        proven_at=earliest([proven_of({each[0] for each in nets}, known), known.profile_to]),
    )


def _market(place: Place, known: Known) -> MarketLine:
    own = [each for each in known.context.holdings if (each.venue, each.instrument) == place]
    market = next(each for each in known.context.markets if (each.venue, each.symbol) == place)
    net = total(each.net for each in own)
    unwind = None
    if net is not None and (net == 0 or market.hour_volume):
        # Of a stake only value and volume matter here: how long, not at what cost.
        stake = Stake(abs(net), 0.0, 0.0, math.inf, market.hour_volume or math.inf)
        unwind = hours_to_unwind([stake], known.settings.blind_time)
    reasons = ["a position has no price or was not stated"] if net is None else []
    if market.volatility is None or market.hour_volume is None:
        reasons.append("no liquidity profile of this hour")
    return MarketLine(
        venue=place[0],
        symbol=place[1],
        regime=market.regime,
        net=net,
        hour_volatility=None if market.volatility is None else market.volatility * 60,
        hour_volume=market.hour_volume,
        unwind_hours=unwind,
        working_orders=sum(each.working_orders for each in own),
        because="; ".join(reasons),
        proven_at=earliest([proven_of({place[0]}, known), known.profile_to]),
    )


def _liquidation(venue: str, known: Known) -> LiquidationLine:
    nets = {
        place: net for place, net in nets_of(known.context.holdings).items() if place[0] == venue and ":" in place[1]
    }
    held = {place: net for place, net in nets.items() if net != 0}
    equity, reasons = _equity(venue, known)
    contracts = [Contract(abs(net), known.maintenance[p]) for p, net in held.items() if net and p in known.maintenance]
    if len(contracts) < len(held):
        reasons.append("a contract has no value, or no candidate states its maintenance_margin")
    volatilities = {(each.venue, each.symbol): each.volatility for each in known.context.markets}
    expected = [(abs(net), volatilities.get(place)) for place, net in held.items() if net]
    gross = total(None if net is None else abs(net) for net in nets.values())
    distance = None if reasons or equity is None else liquidation_distance(equity, contracts)
    wander = total(None if each is None else value * each * 60 for value, each in expected)
    usual = None if not wander or not gross else wander / gross
    return LiquidationLine(
        venue=venue,
        equity=equity,
        contracts=gross,
        distance=distance,
        hourly_deviations=None if distance is None or usual is None else distance / usual,
        because="no contract is held" if not held else "; ".join(reasons),
        proven_at=proven_of({venue}, known),
    )


def _equity(venue: str, known: Known) -> tuple[float | None, list[str]]:
    """Return money in the futures wallet and what is open on its contracts, and why it is not known."""
    currency = known.allocation.currency
    rows = [] if known.balances is None else known.balances.to_pylist()
    wallet = [row for row in rows if (row["venue"], row["account"], row["moment"]) == (venue, "futures", "closing")]
    if known.balances is None or venue not in known.account_proven:
        return None, ["the futures wallet was never read completely"]
    money = math.fsum(float(row["amount"]) for row in wallet if row["asset"] == currency)
    for row in latest([] if known.positions is None else known.positions.to_pylist()):
        if row["venue"] == venue and is_perpetual(row["symbol"]) and row["position"]:
            if row["entry_price"] is None or row["mark_price"] is None:
                return None, [f"{row['symbol']} has no entry or mark price"]
            money += float(row["position"] * (row["mark_price"] - row["entry_price"]))
    return money, []


def _funding(place: Place, known: Known, now: datetime) -> FundingLine:
    net = nets_of(known.context.holdings)[place]
    due = funding_due(net or 0.0, known.payments.get(place, ()), now)
    reasons = ["a position has no price or was not stated"] if net is None else []
    if due is None:
        reasons.append("fewer than two payments are known")
    return FundingLine(
        venue=place[0],
        symbol=place[1],
        due_at=None if due is None else due.due_at,
        rate=None if due is None else due.rate,
        received=None if due is None or net is None else due.received,
        because="; ".join(reasons),
        proven_at=earliest([proven_of({place[0]}, known), known.funding_to.get(place)]),
    )


def _blind(venue: str, known: Known, now: datetime) -> BlindLine:
    situation = situation_of(Subject(venue), known.context, known.settings)
    proven = proven_of({venue} if venue else set(venues_of(known)), known)
    unseen = None if proven is None else max(0.0, (now - proven).total_seconds())
    budget, reasons = situation.blind_seconds, []
    if known.positions is None:
        budget = None
        reasons.append("no positions were ever stated")
    elif budget is None:
        reasons.append("price, spread, depth or volume of what is held is not known in this hour")
    if unseen is None:
        reasons.append("its account was never read completely")
    # No budget is longer than the policy's longest: beyond it, blindness needs no market to be too long.
    bound = known.settings.blind_time.longest.value if budget is None else budget
    over = None if unseen is None or (budget is None and unseen <= bound) else unseen > bound
    return BlindLine(
        name=venue or "the book",
        at_stake=None if known.positions is None else situation.at_stake,
        blind_seconds=budget,
        reduce_first=situation.reduce_first,
        unseen_seconds=unseen,
        over=over,
        because="; ".join(reasons),
        proven_at=proven,
    )


def _sources(known: Known, now: datetime) -> tuple[SourceLine, ...]:
    stated = (
        None
        if known.positions is None
        else max((r["held_at"] for r in latest(known.positions.to_pylist())), default=None)
    )
    given: list[tuple[str, datetime | None, str]] = [
        ("positions", stated, "the desk's last statement; proven by the account's own, below"),
        *((f"account at {each}", known.account_proven.get(each), "certificates of fills, positions, balances")
          for each in venues_of(known)),
        ("liquidity profile", known.profile_to, "newest bar of the market that was seen least"),
        *((f"funding of {place[1]} on {place[0]}", known.funding_to.get(place), "certificate of the payments")
          for place in _perpetuals(known)),
        ("production manifest", known.manifest.as_of if known.manifest else None, "signature, and not past its end"),
        *known.standing.sources,
    ]  # fmt: skip
    return tuple(
        SourceLine(name=n, proven_at=at, age_seconds=None if at is None else (now - at).total_seconds(), proof=proof)
        for n, at, proof in given
    )


def _volatilities(profile: pa.Table | None) -> Mapping[tuple[str, str, int], float | None]:
    rows = [] if profile is None else profile.select(["venue", "symbol", "how", "volatility_med"]).to_pylist()
    return {
        (row["venue"], row["symbol"], row["how"]): None if row["volatility_med"] is None else math.exp(row["volatility_med"])  # noqa: E501
        for row in rows
    }  # fmt: skip


def _perpetuals(known: Known) -> list[Place]:
    return [place for place in places_of(known.context.holdings) if is_perpetual(place[1])]
