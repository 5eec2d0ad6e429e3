"""How much of an account's margin is in use, and how far its contracts are from being closed by the venue.

The venue says both of an account as it is now. Of a day that is over it states neither; then they follow from its
wallet, payments, fills and margin tiers, from what the desk stated to hold, and bars.

Belongs here: both ways, and the choice between them. Doesn't: the arithmetic of a cross account (``book_risk``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import fsum

import pyarrow as pa

from research_to_prod.execution.venue_records import venue_balances_table, venue_positions_table
from research_to_prod.market_data.account_reads import Wallet
from research_to_prod.operations.alerting.accounts import Account, Place, Row
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Context, Subject
from research_to_prod.operations.book_risk import Contract, liquidation_distance
from research_to_prod.values import timeframe_length

FARTHEST = 1000.0
"""Deviations of an hour beyond which a distance is no longer told; also that of an account without contracts."""
_IN_USE = "margin_ratio"
_OLDEST = timedelta(hours=1)
"""What the venue said or paid before says nothing of the margin of now."""

_AHEAD = timedelta(minutes=1)
"""So far may the venue's clock be before ours."""


def margin(account: Account) -> Iterator[Observation]:
    """Yield maintenance margin over margin balance, and deviations of an hour until the first liquidation."""
    yield from _stated(account) or _computed(account)


def with_margin_use(context: Context, observations: Iterable[Observation]) -> Context:
    """Return the context with what each account uses of its margin, which makes its contracts more at stake."""
    used: dict[str, float] = {}
    for each in observations:
        if each.metric == _IN_USE and each.value is not None:
            used[each.subject.venue] = max(each.value, used.get(each.subject.venue, 0.0))
    return replace(
        context,
        holdings=tuple(
            replace(each, margin_use=used.get(each.venue)) if ":" in each.instrument else each
            for each in context.holdings
        ),
    )


def last_prices(candles: pa.Table | None, moment: datetime) -> dict[Place, tuple[float, datetime]]:
    """Return the close of each market's last bar that had ended at ``moment``, and when it did."""
    found: dict[Place, tuple[float, datetime]] = {}
    for row in [] if candles is None else candles.to_pylist():
        place, ended = (row["venue"], row["symbol"]), row["ts"] + timeframe_length(row["timeframe"])
        if ended <= moment and (place not in found or found[place][1] < ended):
            found[place] = (row["close"], ended)
    return found


def margin_of(
    venue: str, wallets: Iterable[Wallet], deviations: Mapping[Place, float], now: datetime
) -> tuple[Observation, ...]:
    """Return what the wallets that a venue states at this moment say; nothing where it leaves their margin out.

    Parameters
    ----------
    deviations
        By market, the deviation of one hour's return that is usual now, as a fraction.
    """
    given = list(wallets)
    money, held = (
        table(given, "closing", venue, f"{now:%Y-%m-%d}", "now").to_pylist()
        for table in (venue_balances_table, venue_positions_table)
    )
    return _of_rows(venue, money, held, deviations, now)


def _stated(account: Account) -> Sequence[Observation]:
    """Return what the venue's latest word says; nothing where it is not complete, too old, or leaves the margin out."""
    if not account.saw("venue_balances", "venue_positions"):
        return ()
    at = max(row["interval_end"] for row in account.proofs("venue_positions"))
    if not -_AHEAD <= account.moment - at <= _OLDEST:
        return ()
    money, held = (
        [row for row in account.rows(table) if row["moment"] == "closing"]
        for table in ("venue_balances", "venue_positions")
    )
    return _of_rows(account.venue, money, held, account.known.deviations, min(at, account.moment))


def _of_rows(
    venue: str, money: Iterable[Row], held: Sequence[Row], deviations: Mapping[Place, float], at: datetime
) -> tuple[Observation, ...]:
    """Return what VENUE_BALANCES and VENUE_POSITIONS of one moment say; nothing where they leave the margin out."""
    wallet = [row for row in money if row["account"] == "futures"]
    stated = [*(row.get("maintenance_margin") for row in wallet), *(row.get("mark_price") for row in held)]
    # Money and no contract: nothing is to be maintained, whatever is left out.
    if held and (None in stated or not wallet):
        return ()
    ratio = max(
        (_ratio(row.get("maintenance_margin") or 0, row.get("margin_balance") or 0) for row in wallet), default=0.0
    )
    distances = [_distance(row, deviations.get((venue, row["symbol"]))) for row in held]
    known = [each for each in distances if each is not None]
    distance = None if len(known) < len(distances) else min([FARTHEST, *known])
    return tuple(
        Observation(metric, Subject(venue), value, at, None, None, "venue_balances, venue_positions")
        for metric, value in ((_IN_USE, ratio), ("liquidation_distance", distance))
    )


def _ratio(maintenance: float, balance: float) -> float:
    """Return the share in use; all of it where there is nothing left."""
    if not maintenance:
        return 0.0
    return float(maintenance / balance) if balance > 0 else 1.0


def _distance(row: Row, usual: float | None) -> float | None:
    """Return how far the mark is from the liquidation price; a contract that has none is as far as its whole price."""
    if not usual:
        return None
    mark, last = float(row["mark_price"]), float(row["liquidation_price"])
    ahead = mark - last if row["position"] > 0 else last - mark if last else mark
    return max(0.0, ahead / mark) / usual


def _computed(account: Account) -> Iterator[Observation]:
    """Yield what follows from the records of the day, where they are complete and the desk stated what it holds."""
    told = [row for row in account.desk_positions() if row["held_at"] <= account.moment]
    if not told or not account.saw("venue_balances", "venue_income", "venue_fills"):
        return
    ratio = distance = None
    stated = _stated_contracts(told)
    found = None if stated is None else _contracts(account, stated)
    if stated is not None and found is not None:
        profit, contracts = found
        equity = profit + _wallet(account, {symbol: row["held_at"] for symbol, (row, *_) in stated.items()})
        needed = fsum(each.value * each.maintenance_margin for each in contracts.values())
        ratio, distance = _ratio(needed, equity), _in_deviations(account, equity, contracts)
    evidence = "positions, venue_balances, venue_income, venue_fills, venue_fees, candles"
    yield account.observe(_IN_USE, ratio, evidence)
    yield account.observe("liquidation_distance", distance, evidence)


def _stated_contracts(told: Iterable[Row]) -> dict[str, list[Row]] | None:
    """Return each contract's newest statements; None where its strategies did not state it at one instant."""
    newest: dict[tuple[str, str], Row] = {}
    for row in sorted(told, key=lambda each: each["held_at"]):
        if ":" in row["symbol"]:
            newest[row["symbol"], row["strategy"]] = row
    stated: dict[str, list[Row]] = {}
    for (symbol, _), row in newest.items():
        stated.setdefault(symbol, []).append(row)
    same = all(len({row["held_at"] for row in rows}) == 1 for rows in stated.values())
    return stated if same else None


def _contracts(account: Account, stated: Mapping[str, Sequence[Row]]) -> tuple[float, dict[str, Contract]] | None:
    """Return what is open on contracts at the moment, and what is held of each: as stated, and by the fills since.

    None where a contract was traded that the desk never stated, or one that is held has no price, terms or entry.
    """
    terms = {row["symbol"]: row for row in account.rows("venue_fees") if row.get("margin_floors")}
    moves: dict[str, list[tuple[float, float]]] = {}
    for symbol, rows in stated.items():
        for row in rows:
            if row["position"] and row["entry_price"] is None:
                return None
            moves.setdefault(symbol, []).append((float(row["position"]), float(row["entry_price"] or 0)))
    for fill in account.rows("venue_fills"):
        symbol = fill["symbol"]
        if ":" not in symbol or fill["traded_at"] > account.moment:
            continue
        if symbol not in stated:
            return None
        if fill["traded_at"] > stated[symbol][0]["held_at"]:
            moves[symbol].append((float(fill["side"] * fill["quantity"]), float(fill["price"])))
    profit, contracts = 0.0, {}
    for symbol, legs in moves.items():
        if not any(size for size, _ in legs):
            continue
        price, known_at = account.known.prices.get((account.venue, symbol), (None, account.moment))
        quote, _, settled_in = symbol.partition("/")[2].partition(":")
        if price is None or account.moment - known_at > _OLDEST or quote != settled_in or symbol not in terms:
            return None
        profit += fsum(size * (price - paid) for size, paid in legs)
        if value := abs(fsum(size for size, _ in legs)) * price:
            contracts[symbol] = Contract(value, _share(value, terms[symbol]))
    return profit, contracts


def _share(value: float, terms: Row) -> float:
    """Return the share of ``value`` that a position of it must maintain; beyond the last tier that of the last."""
    tiers = sorted(zip(terms["margin_floors"], terms["margin_rates"], terms["margin_deductions"], strict=True))
    _, rate, deduction = max((tier for tier in tiers if tier[0] <= value), default=tiers[0])
    return float(rate) - float(deduction) / value


def _wallet(account: Account, stated_at: Mapping[str, datetime]) -> float:
    """Return the money in the futures wallet at the moment, without the profit of fills after their statements."""
    own = ("futures", account.known.currency)
    opening = [
        row["amount"]
        for row in account.rows("venue_balances")
        if (row["account"], row["asset"]) == own and row["moment"] == "opening"
    ]
    moved = []
    for row in account.rows("venue_income"):
        closed = row["income_type"] == "REALIZED_PNL"
        until = stated_at.get(row["symbol"], account.moment) if closed else account.moment
        if (row["account"], row["asset"]) == own and row["booked_at"] <= until:
            moved.append(row["amount"])
    return float(sum(opening) + sum(moved))


def _in_deviations(account: Account, equity: float, contracts: Mapping[str, Contract]) -> float | None:
    """Return the adverse move of all contracts at once that closes them; None where one's usual move is not known.

    All moving together is the book at its worst, as in the risk posture; a single liquidation price is further away.
    """
    distance = liquidation_distance(equity, list(contracts.values()))
    if distance is None:
        return FARTHEST
    usual = [(each, account.known.deviations.get((account.venue, symbol))) for symbol, each in contracts.items()]
    wander = fsum(each.value * deviation for each, deviation in usual if deviation)
    if not all(deviation for _, deviation in usual):
        return None
    return min(FARTHEST, distance * fsum(each.value for each in contracts.values()) / wander)
