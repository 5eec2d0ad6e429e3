"""What is held by strategy, asset, venue and stablecoin, and how much of its limit that is.

Belongs here: those lines. Doesn't: what follows from a limit that is exceeded (``posture_findings``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from research_to_prod.operations.alerting.situation import Holding
from research_to_prod.operations.book_risk import position_limit
from research_to_prod.reports.posture_inputs import Known, base_of, coin_of, proven_of, total, venues_of
from research_to_prod.reports.risk_posture import By, ExposureLine


def exposure_lines(known: Known) -> tuple[ExposureLine, ...]:
    """Return a line for each strategy, asset, venue and coin of the book."""
    wallets = _wallets(known)
    capital, holdings = known.context.capital, known.context.holdings
    allocation = known.allocation
    # What has no row in a wallet that was read completely is zero; in one that was not it is unknown.
    none_there = {venue: 0.0 if venue in known.account_proven else None for venue in venues_of(known)}
    lines = []
    for name in sorted({each.strategy for each in holdings}):
        limit, because = _may_hold(name, known)
        own = [each for each in holdings if each.strategy == name]
        lines.append(_exposure(By.STRATEGY, name, own, known, limit, because))
    for name in sorted({base_of(each.instrument) for each in holdings}):
        own = [each for each in holdings if base_of(each.instrument) == name]
        lines.append(_exposure(By.ASSET, name, own, known, allocation.asset_cap.value * capital))
    for name in venues_of(known):
        own = [each for each in holdings if each.venue == name]
        cap = allocation.venue_cap.value * capital
        lines.append(_exposure(By.VENUE, name, own, known, cap, wallet=wallets.get((By.VENUE, name), none_there[name])))
    for name in sorted({coin_of(each.instrument) for each in holdings}):
        own = [each for each in holdings if coin_of(each.instrument) == name]
        everywhere = total(none_there.values())
        wallet = None if everywhere is None else wallets.get((By.STABLECOIN, name), everywhere)
        lines.append(_exposure(By.STABLECOIN, name, own, known, None, "no limit is declared", wallet=wallet))
    return tuple(lines)


def _may_hold(strategy: str, known: Known) -> tuple[float | None, str]:
    if known.manifest is None:
        return None, "no production manifest that verifies and is in force"
    return position_limit(known.manifest, strategy)


def _exposure(
    by: By, name: str, own: Sequence[Holding], known: Known, limit: float | None, because: str = "",
    wallet: float | None = 0.0,
) -> ExposureLine:  # fmt: skip
    """Return a line; ``wallet`` is what the wallets hold there, None where it is not known."""
    gross = total(None if each.net is None else abs(each.net) for each in own)
    of_wallets = by in {By.VENUE, By.STABLECOIN}
    limited = wallet if of_wallets else gross
    reasons = [because] if because else []
    if gross is None:
        reasons.append("a position has no price or was not stated")
    if limited is None and of_wallets:
        reasons.append("the wallets' holdings or their prices are not known")
    return ExposureLine(
        by=by,
        name=name,
        gross=gross,
        net=total(each.net for each in own),
        limited=limited,
        limit=limit,
        limit_use=None if limited is None or not limit else limited / limit,
        because="; ".join(reasons),
        proven_at=proven_of({each.venue for each in own} or {name}, known),
    )


def _wallets(known: Known) -> Mapping[tuple[By, str], float | None]:
    """Return what the wallets hold by venue and by coin, in the book's currency; None where a price is missing."""
    prices = {known.allocation.currency: 1.0}
    for row in [] if known.positions is None else known.positions.sort_by("held_at").to_pylist():
        if row["mark_price"] is not None and coin_of(row["symbol"]) == known.allocation.currency:
            prices[base_of(row["symbol"])] = float(row["mark_price"])
    held: dict[tuple[By, str], float | None] = {}
    for row in [] if known.balances is None else known.balances.to_pylist():
        if row["moment"] != "closing":
            continue
        price = prices.get(row["asset"])
        value = 0.0 if not row["amount"] else None if price is None else float(row["amount"]) * price
        for key in ((By.VENUE, row["venue"]), (By.STABLECOIN, row["asset"])):
            held[key] = total([held.get(key, 0.0), value])
    return held
