"""What an account's records, and their comparison with the desk's, say at one moment of a day that is over or runs.

What was found counts, however little was read. That nothing is there is only known where everything was read
completely, no other record of the venue's shows it to be cut, and the desk recorded its own side.

Belongs here: all measures of an account, and those of breaks, orders, forced closings and transfers. Doesn't: funding
(``funding_measures``), margin (``margin_measures``), and finding breaks (``reconciliation``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import pyarrow.compute as pc

from research_to_prod.operations.alerting.accounts import Account, Accounts, Row
from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.funding_measures import funding
from research_to_prod.operations.alerting.margin_measures import margin
from research_to_prod.operations.contracts import BreakClass

# How Binance begins the names of the orders by which it closes what is ours, and what it calls the insurance fund's
# share. Names of its pages and apps, which the policy lists beside them, are of people.
_FORCED_ORDERS = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
_FORCED_INCOME = frozenset({"INSURANCE_CLEAR"})

_LOST = (BreakClass.MISSING_FILL_INTERNAL, BreakClass.MISSING_FILL_VENUE, BreakClass.DUPLICATE_FILL)
_POSITIONS = (BreakClass.POSITION_SIGN, BreakClass.POSITION_QUANTITY)


def observe_records(known: Accounts, moment: datetime) -> Iterator[Observation]:
    """Yield what the records of every account say at ``moment``, of nothing later than it."""
    for venue in known.venues:
        account = Account(venue, known, moment)
        for measure in (fills, positions, balances, orders, forced, movements, funding, margin):
            yield from measure(account)


def fills(account: Account) -> Iterator[Observation]:
    """Yield fills that one side lacks, or has twice."""
    known = account.saw("venue_fills") and account.excludes(*_LOST)
    yield _compared(account, "fill_breaks", account.found(*_LOST), known=known)


def positions(account: Account) -> Iterator[Observation]:
    """Yield how far positions are apart: in lots of the worst, as a share of capital, and how many by their sign."""
    breaks = account.found(*_POSITIONS)
    known = account.saw("venue_positions") and account.excludes(*_POSITIONS)
    lots = {row["symbol"]: row.get("lot") for row in account.rows("venue_fees")}
    apart = [
        float(abs(Decimal(row["internal_value"]) - Decimal(row["venue_value"])) / lot)
        for row in breaks
        if (lot := lots.get(row["symbol"]))
    ]
    flips = [row for row in breaks if row["class"] == BreakClass.POSITION_SIGN]
    yield account.observe("position_break_lots", max(apart) if apart else None if breaks or not known else 0.0)
    yield account.observe("position_break_share", _share(breaks, account.known.capital, known=known))
    yield account.observe("position_sign_flips", _number(flips, known=known))


def balances(account: Account) -> Iterator[Observation]:
    """Yield what wallets moved by without a record, in money and as a share of capital.

    A drift of unknown worth beside known ones makes the money more, never less; the share is then not known.
    """
    breaks = account.found(BreakClass.BALANCE_DRIFT)
    read = account.saw("venue_balances", "venue_income", "venue_fills")
    known = read and account.excludes(BreakClass.BALANCE_DRIFT)
    worth = [float(row["money"]) for row in breaks if row["money"] is not None]
    yield account.observe("balance_break_value", sum(worth) if worth else None if breaks or not known else 0.0)
    yield account.observe("balance_break_share", _share(breaks, account.known.capital, known=known))


def orders(account: Account) -> Iterator[Observation]:
    """Yield orders that nothing of ours sent, those that people gave on the venue's pages among them."""
    own = {(row["symbol"], row["venue_order_id"]) for row in _forced_orders(account)}
    strange = (BreakClass.UNKNOWN_ORDER, BreakClass.EXTERNAL_ACTIVITY)
    # External activity with a wallet is a payment.
    breaks = [
        row
        for row in account.found(*strange)
        if row["account"] is None and (row["symbol"], row["record_id"]) not in own
    ]
    known = account.saw("venue_orders") and "order_events" in account.known.recorded and account.excludes(*strange)
    yield _compared(account, "unknown_orders", breaks, known=known)


def forced(account: Account) -> Iterator[Observation]:
    """Yield how often the venue closed what is ours: by its orders, its insurance fund, or by the desk's own record."""
    since = account.known.forced_since
    closed = {
        (row["symbol"], row["venue_order_id"])
        for row in _forced_orders(account)
        if row["filled"] and since <= row["created_at"] <= account.moment
    }
    closed |= {
        (row["symbol"], row["venue_order_id"] or row["fill_id"])
        for row in account.desk_fills()
        if row["forced"] is not None and since <= row["filled_at"] <= account.moment
    }
    insured = [
        row
        for row in account.rows("venue_income")
        if row["income_type"] in _FORCED_INCOME and since <= row["booked_at"] <= account.moment
    ]
    known = account.saw("venue_orders", "venue_income")
    evidence = "venue_orders, venue_income, fills"
    yield account.observe("forced_events", _number([*closed, *insured], known=known), evidence)


def movements(account: Account) -> Iterator[Observation]:
    """Yield transfers of the venue's that the desk's books lack, or have with another amount."""
    moved = [row for row in account.found(BreakClass.TRANSFER_UNMATCHED) if row["venue_value"] is not None]
    announced = "ledger_entries" in account.known.recorded
    known = account.saw("venue_income") and announced and account.excludes(BreakClass.TRANSFER_UNMATCHED)
    yield _compared(account, "unexpected_movements", moved, known=known)


def _forced_orders(account: Account) -> list[Row]:
    rows = account.known.venue.get("venue_orders")
    if rows is None:
        return []
    names = [pc.starts_with(rows["client_order_id"], each) for each in _FORCED_ORDERS]
    forced = rows.filter(pc.or_(pc.or_(names[0], names[1]), names[2]))
    return [row for row in forced.to_pylist() if row["venue"] == account.venue]


def _compared(account: Account, metric: str, found: Sequence[Row], *, known: bool) -> Observation:
    """Return how many were found; that there is none is of as far as the desk has told, and ages until it goes on."""
    at = account.moment if found else min(account.moment, account.known.told_to)
    return account.observe(metric, _number(found, known=known), at=at)


def _number(found: Sequence[object], *, known: bool) -> float | None:
    """Return how many were found; none is only known where all was seen."""
    return float(len(found)) if found or known else None


def _share(breaks: Sequence[Row], capital: float, *, known: bool) -> float | None:
    money = [row["money"] for row in breaks]
    return float(sum(money)) / capital if known and None not in money else None
