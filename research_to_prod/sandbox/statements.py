"""The venue's statements of the account: balances at the ends of days, deposits and withdrawals, fee rates.

Belongs here: the `sapi` endpoints that an audit of the account reads, from the desk's own truth. Doesn't: what the
account is now, and its trades and orders (`account`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from research_to_prod.sandbox._execution import FEES, Ids
from research_to_prod.sandbox._underlying import instant
from research_to_prod.sandbox.desk import FIRST_DAY, SandboxDesk
from research_to_prod.sandbox.dialect import MILLISECOND, Query, VenueRefusal, integer, limited, milliseconds
from research_to_prod.sandbox.instruments import Instrument
from research_to_prod.sandbox.ledger import Books, Holder, Leg, LegKind
from research_to_prod.values import day_bounds

_START = day_bounds(FIRST_DAY.isoformat())[0]
_SECOND = timedelta(seconds=1)
_LONGEST = timedelta(days=30)


class Statements:
    """Answers the endpoints, each as of the venue's clock. Unlike the real venue it keeps every day."""

    def __init__(self, desk: SandboxDesk) -> None:
        self._desk = desk
        self.endpoints: dict[str, Callable[[Query, datetime], Any]] = {
            "/sapi/v1/accountSnapshot": self.snapshots,
            "/sapi/v1/capital/deposit/hisrec": self.deposits,
            "/sapi/v1/capital/withdraw/history": lambda _query, _now: [],
            "/sapi/v1/asset/transfer": lambda _query, _now: {"total": 0},
            "/sapi/v1/asset/tradeFee": self.spot_fee,
            "/fapi/v1/commissionRate": self.futures_fee,
        }

    def snapshots(self, query: Query, now: datetime) -> dict[str, Any]:
        """Return what a wallet held at the last second of each day that is over."""
        kind = query.get("type")
        if kind not in {"SPOT", "FUTURES"}:
            raise VenueRefusal(-1102, "Mandatory parameter 'type' was not sent, was empty/null, or malformed.")
        start, end = integer(query, "startTime"), integer(query, "endTime")
        stop = min(now, instant(end * 1000) if end is not None else now)
        begin = instant(start * 1000) if start is not None else stop - timedelta(days=7)
        if stop - begin > _LONGEST:
            raise VenueRefusal(-1127, "More than 30 days between startTime and endTime.")
        closed = [each for each in self._ends(begin, stop) if each <= now]
        worded = self._spot if kind == "SPOT" else self._futures
        found = [
            {"type": kind.lower(), "updateTime": milliseconds(each), "data": worded(self._held(each))}
            for each in closed
        ]
        return {"code": 200, "msg": "", "snapshotVos": found}

    def _ends(self, begin: datetime, stop: datetime) -> Iterable[datetime]:
        end = day_bounds(begin.date().isoformat())[1] - _SECOND
        while end <= stop:
            if end >= begin:
                yield end
            end += timedelta(days=1)

    def _held(self, at: datetime) -> Books:
        """Return the books at the end of the second ``at``; nothing was held before the desk began."""
        if at < _START:
            return Books()
        return self._desk.simulate_day(at.date().isoformat()).books_at(at + _SECOND - timedelta(microseconds=1))

    @staticmethod
    def _spot(books: Books) -> dict[str, Any]:
        held = sorted((asset, amount) for (holder, asset), amount in books.balances.items() if holder is Holder.SPOT)
        rows = [{"asset": asset, "free": str(amount), "locked": "0"} for asset, amount in held]
        return {"totalAssetOfBtc": "0", "balances": rows}

    def _futures(self, books: Books) -> dict[str, Any]:
        wallet = str(books.balance(Holder.FUTURES, "USDT"))
        held = [
            (self._desk.market.instrument(symbol), amount)
            for (holder, symbol), amount in sorted(books.balances.items())
            if holder is Holder.CONTRACTS and amount
        ]
        rows = [
            {
                "symbol": instrument.venue_id,
                "positionAmt": str(amount),
                "entryPrice": str(books.entry_costs[instrument.symbol] / amount),
            }
            for instrument, amount in held
        ]
        return {"assets": [{"asset": "USDT", "walletBalance": wallet, "marginBalance": wallet}], "position": rows}

    def deposits(self, query: Query, now: datetime) -> list[dict[str, Any]]:
        """Return what the treasury gave the spot wallet, newest first."""
        limit, start, end = limited(query, 1000, 1000), integer(query, "startTime"), integer(query, "endTime")
        stop = min(now, instant(end * 1000)) + MILLISECOND if end is not None else now + MILLISECOND
        begin = instant(start * 1000) if start is not None else stop - timedelta(days=90)
        rows = [
            {
                "id": str(((leg.at - _START).days + 1) * Ids.DAY + number),
                "amount": str(leg.amount),
                "coin": leg.asset,
                "network": "ETH" if leg.asset == "USDT" else leg.asset,
                "status": 1,
                "txId": f"sandbox-{leg.asset}",
                "insertTime": milliseconds(leg.at),
            }
            for day in self._desk.days(begin, stop)
            for number, leg in enumerate(day.legs)
            if _deposited(leg) and begin <= leg.at < stop
        ]
        return rows[::-1][:limit]

    def _markets(self, query: Query, *, perpetual: bool) -> list[Instrument]:
        listed = [each for each in self._desk.market.instruments.values() if each.perpetual is perpetual]
        wanted = [each for each in listed if query.get("symbol", each.venue_id) == each.venue_id]
        if not wanted:
            raise VenueRefusal(-1121, "Invalid symbol.")
        return wanted

    def spot_fee(self, query: Query, _now: datetime) -> list[dict[str, str]]:
        """Return what the account pays on spot; the sandbox has no tiers."""
        rates = {f"{each}Commission": str(FEES[each]) for each in ("maker", "taker")}
        return [{"symbol": each.venue_id, **rates} for each in self._markets(query, perpetual=False)]

    def futures_fee(self, query: Query, _now: datetime) -> dict[str, str]:
        """Return what the account pays on one contract."""
        (market,) = self._markets(query, perpetual=True)
        return {"symbol": market.venue_id, **{f"{each}CommissionRate": str(FEES[each]) for each in ("maker", "taker")}}


def _deposited(leg: Leg) -> bool:
    return leg.kind is LegKind.DEPOSIT and leg.holder is Holder.SPOT and leg.amount > Decimal(0)
