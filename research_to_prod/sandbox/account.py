"""The private half of the venue: the simulated desk's account in Binance's REST dialect.

Belongs here: trades, orders, balances, positions and income as the venue words them, from the same truth as the desk's
own records and never from its drops. Doesn't: signatures and HTTP (see `server`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from research_to_prod.sandbox._execution import ChildOrder, Ids
from research_to_prod.sandbox._underlying import instant, micros
from research_to_prod.sandbox.desk import FIRST_DAY, DeskDay, SandboxDesk
from research_to_prod.sandbox.dialect import MILLISECOND, Query, VenueRefusal, integer, limited, milliseconds
from research_to_prod.sandbox.instruments import Instrument
from research_to_prod.sandbox.ledger import UNIT, Books, Fill, Holder, LegKind
from research_to_prod.sandbox.resting import RestingOrders
from research_to_prod.sandbox.statements import Statements
from research_to_prod.values import day_bounds

_INITIAL_MARGIN = Decimal("0.05")
_MAINTENANCE_MARGIN = Decimal("0.004")
_START = day_bounds(FIRST_DAY.isoformat())[0]
_WINDOWS = {False: timedelta(days=1), True: timedelta(days=7)}


class Account:
    """Answers the private endpoints, each as of the venue's clock: what happens later is not known yet."""

    def __init__(self, desk: SandboxDesk) -> None:
        self.desk = desk
        self.market = desk.market
        self._spot, self._futures = (
            {each.venue_id: each for each in desk.market.instruments.values() if each.perpetual is perpetual}
            for perpetual in (False, True)
        )
        self.resting = RestingOrders(
            desk.market,
            {host: partial(self._listed, perpetual=host) for host in (False, True)},
            lambda symbol, now: self._books(now).balance(Holder.CONTRACTS, symbol),
        )
        self.endpoints: dict[str, Callable[[Query, datetime], Any]] = {
            "/api/v3/account": self.spot_account,
            "/api/v3/myTrades": lambda query, now: self._trades(query, now, perpetual=False),
            "/api/v3/allOrders": lambda query, now: self._orders(query, now, perpetual=False),
            "/api/v3/openOrders": lambda query, now: self._open_orders(query, now, perpetual=False),
            "/fapi/v2/account": self.futures_account,
            "/fapi/v3/account": self.futures_account,
            "/fapi/v2/positionRisk": self.positions,
            "/fapi/v3/positionRisk": self.positions,
            "/fapi/v1/leverageBracket": self._leverage,
            "/fapi/v1/userTrades": lambda query, now: self._trades(query, now, perpetual=True),
            "/fapi/v1/allOrders": lambda query, now: self._orders(query, now, perpetual=True),
            "/fapi/v1/openOrders": lambda query, now: self._open_orders(query, now, perpetual=True),
            "/fapi/v1/income": self.income,
            "/sapi/v1/capital/config/getall": self.assets,
            **Statements(desk).endpoints,
        }

    def _listed(self, query: Query, *, perpetual: bool) -> Instrument:
        markets = self._futures if perpetual else self._spot
        symbol = query.get("symbol")
        if symbol is None:
            raise VenueRefusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in markets:
            raise VenueRefusal(-1121, "Invalid symbol.")
        return markets[symbol]

    def _books(self, now: datetime) -> Books:
        if now < _START:
            return Books()
        return self.desk.simulate_day(now.date().isoformat()).books_at(now)

    # Trades and orders ------------------------------------------------------------------------------------------

    def _span(self, query: Query, now: datetime, *, perpetual: bool) -> tuple[datetime, datetime]:
        """Return the asked interval as [start, end); without one the newest window that the endpoint allows."""
        start, end = integer(query, "startTime"), integer(query, "endTime")
        window = _WINDOWS[perpetual]
        stop = instant(end * 1000) + MILLISECOND if end is not None else None
        begin = instant(start * 1000) if start is not None else (stop or now) - window
        stop = stop or begin + window
        if stop - begin > window + MILLISECOND:
            if perpetual:
                raise VenueRefusal(-4166, "Search window is restricted to recent 7 days only.")
            raise VenueRefusal(-1127, "More than 24 hours between startTime and endTime.")
        return begin, min(stop, now + MILLISECOND)

    def _trades(self, query: Query, now: datetime, *, perpetual: bool) -> list[dict[str, Any]]:
        instrument = self._listed(query, perpetual=perpetual)
        limit, from_id = limited(query, 500, 1000), integer(query, "fromId")
        if from_id is not None and {"startTime", "endTime"} & set(query):
            raise VenueRefusal(-1128, "Combination of optional parameters invalid.")
        newest = from_id is None and "startTime" not in query
        if from_id is None:
            start, end = self._span(query, now, perpetual=perpetual)
        else:
            # The id names its day: days before it need no looking at.
            start, end = _START + timedelta(days=max(0, from_id // Ids.DAY - 1)), now + MILLISECOND
        rows: list[dict[str, Any]] = []
        for day in self.desk.days(start, end):
            rows += [
                row
                for fill, row in self._worded(day, instrument)
                if start <= fill.filled_at < end and int(fill.fill_id) >= (from_id or 0)
            ]
            if len(rows) >= limit and not newest:
                break
        return rows[-limit:] if newest else rows[:limit]

    def _worded(self, day: DeskDay, instrument: Instrument) -> Iterable[tuple[Fill, dict[str, Any]]]:
        """Yield the day's fills of one market, with the venue's wording of each."""
        realized = {
            leg.event: leg.amount
            for leg in day.legs
            if leg.kind is LegKind.REALIZED_PNL and leg.holder is Holder.FUTURES
        }
        for fill in day.fills:
            if fill.symbol != instrument.symbol:
                continue
            buyer, maker = fill.side > 0, fill.liquidity == "maker"
            row: dict[str, Any] = {
                "symbol": instrument.venue_id,
                "id": int(fill.fill_id),
                "orderId": int(fill.venue_order_id),
                "price": str(fill.price),
                "qty": str(fill.quantity),
                "quoteQty": str(fill.price * fill.quantity),
                "commission": str(fill.fee),
                "commissionAsset": fill.fee_currency,
                "time": milliseconds(fill.filled_at),
            }
            if instrument.perpetual:
                row |= {
                    "buyer": buyer,
                    "maker": maker,
                    "side": "BUY" if buyer else "SELL",
                    "positionSide": "BOTH",
                    "marginAsset": instrument.quote,
                    "realizedPnl": str(realized.get(f"fill {fill.symbol} {fill.fill_id}", Decimal(0))),
                }
            else:
                row |= {"orderListId": -1, "isBuyer": buyer, "isMaker": maker, "isBestMatch": True}
            yield fill, row

    def _orders(self, query: Query, now: datetime, *, perpetual: bool) -> list[dict[str, Any]]:
        instrument = self._listed(query, perpetual=perpetual)
        limit, order_id = limited(query, 500, 1000), integer(query, "orderId")
        if order_id is None:
            start, end = self._span(query, now, perpetual=perpetual)
        else:
            start, end = _START + timedelta(days=max(0, order_id // Ids.DAY - 1)), now + MILLISECOND
        newest = order_id is None and "startTime" not in query
        rows: list[dict[str, Any]] = []
        for day in self.desk.days(start, end):
            rows += [
                _order(child.as_of(now, day.fills), instrument)
                for child in day.children
                if child.symbol == instrument.symbol
                and start <= child.created_at < end
                and int(child.venue_order_id) >= (order_id or 0)
            ]
            if len(rows) >= limit and not newest:
                break
        return rows[-limit:] if newest else rows[:limit]

    def _open_orders(self, query: Query, now: datetime, *, perpetual: bool) -> list[dict[str, Any]]:
        """Return what is working: seldom anything of the desk, which cancels within seconds, and what rests."""
        listed = self._futures if perpetual else self._spot
        asked = [self._listed(query, perpetual=perpetual)] if "symbol" in query else list(listed.values())
        markets = {each.symbol: each for each in asked}
        return [
            _order(child.as_of(now, day.fills), markets[child.symbol])
            for day in self.desk.days(now, now + MILLISECOND)
            for child in day.children
            if child.symbol in markets and child.created_at <= now < child.updated_at
        ] + self.resting.open(query, now, perpetual=perpetual)

    # Balances, positions, income --------------------------------------------------------------------------------

    def spot_account(self, _query: Query, now: datetime) -> dict[str, Any]:
        """Return the spot wallet."""
        balances = self._books(now).balances
        return {
            "makerCommission": 2,
            "takerCommission": 4,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "accountType": "SPOT",
            "permissions": ["SPOT"],
            "updateTime": milliseconds(now),
            "balances": [
                {"asset": asset, "free": str(amount), "locked": "0.00000000"}
                for (holder, asset), amount in sorted(balances.items())
                if holder is Holder.SPOT
            ],
        }

    def assets(self, _query: Query, now: datetime) -> list[dict[str, Any]]:
        """Return what the desk can own; every network is suspended, because the sandbox moves no coins in or out."""
        spot = self._spot.values()
        balances = self._books(now).balances
        return [
            {
                "coin": asset,
                "name": asset,
                "free": str(balances.get((Holder.SPOT, asset), Decimal(0))),
                "locked": "0",
                "trading": True,
                "isLegalMoney": False,
                "depositAllEnable": False,
                "withdrawAllEnable": False,
                "networkList": [
                    {
                        "coin": asset,
                        "network": "ETH" if asset == "USDT" else asset,
                        "depositEnable": False,
                        "withdrawEnable": False,
                        "withdrawFee": "0",
                        "withdrawMin": "0",
                        "withdrawMax": "9999999",
                        "withdrawIntegerMultiple": str(UNIT),
                    }
                ],
            }
            for asset in sorted({each.base for each in spot} | {each.quote for each in spot})
        ]

    def futures_account(self, _query: Query, now: datetime) -> dict[str, Any]:
        """Return the futures wallet, valued at the mark."""
        positions = self._positions(now)
        wallet = self._books(now).balance(Holder.FUTURES, "USDT")
        profit = sum((Decimal(each["unRealizedProfit"]) for each in positions), Decimal(0))
        initial = sum((Decimal(each["initialMargin"]) for each in positions), Decimal(0))
        maintenance = sum((Decimal(each["maintMargin"]) for each in positions), Decimal(0))
        money = {
            "walletBalance": wallet,
            "unrealizedProfit": profit,
            "marginBalance": wallet + profit,
            "maintMargin": maintenance,
            "initialMargin": initial,
            "positionInitialMargin": initial,
            "openOrderInitialMargin": Decimal(0),
            "crossWalletBalance": wallet,
            "crossUnPnl": profit,
            "availableBalance": wallet + profit - initial,
            "maxWithdrawAmount": wallet + min(profit, Decimal(0)) - initial,
        }
        asset = {"asset": "USDT"} | {name: str(amount) for name, amount in money.items()}
        totals = {
            "totalInitialMargin": initial,
            "totalMaintMargin": maintenance,
            "totalWalletBalance": wallet,
            "totalUnrealizedProfit": profit,
            "totalMarginBalance": wallet + profit,
            "totalPositionInitialMargin": initial,
            "totalOpenOrderInitialMargin": Decimal(0),
            "totalCrossWalletBalance": wallet,
            "totalCrossUnPnl": profit,
            "availableBalance": wallet + profit - initial,
            "maxWithdrawAmount": money["maxWithdrawAmount"],
        }
        listed = [asset | {"marginAvailable": True, "updateTime": milliseconds(now)}]
        return {name: str(amount) for name, amount in totals.items()} | {"assets": listed, "positions": positions}

    def positions(self, query: Query, now: datetime) -> list[dict[str, Any]]:
        """Return the open contracts; a flat market has no row."""
        wanted = self._listed(query, perpetual=True).venue_id if "symbol" in query else None
        return [each for each in self._positions(now) if wanted in (None, each["symbol"])]

    def _positions(self, now: datetime) -> list[dict[str, Any]]:
        books = self._books(now)
        rows: list[dict[str, Any]] = []
        for instrument in self._futures.values():
            held = books.balance(Holder.CONTRACTS, instrument.symbol)
            if held == 0:
                continue
            cost = books.entry_costs[instrument.symbol]
            mark = Decimal(f"{self.market.mid(instrument.symbol, np.array([micros(now)]))[0]:.8f}")
            notional = (held * mark).quantize(UNIT)
            initial = (abs(notional) * _INITIAL_MARGIN).quantize(UNIT)
            rows.append(
                {
                    "symbol": instrument.venue_id,
                    "positionSide": "BOTH",
                    "positionAmt": str(held),
                    "entryPrice": str((cost / held).quantize(UNIT)),
                    "breakEvenPrice": str((cost / held).quantize(UNIT)),
                    "markPrice": str(mark),
                    "unRealizedProfit": str((notional - cost).quantize(UNIT)),
                    "liquidationPrice": "0",  # known once all positions are
                    "isolatedMargin": "0",
                    "notional": str(notional),
                    "marginAsset": instrument.quote,
                    "isolatedWallet": "0",
                    "initialMargin": str(initial),
                    "maintMargin": str((abs(notional) * _MAINTENANCE_MARGIN).quantize(UNIT)),
                    "positionInitialMargin": str(initial),
                    "openOrderInitialMargin": "0",
                    "adl": 1,
                    "bidNotional": "0",
                    "askNotional": "0",
                    "leverage": "20",
                    "marginType": "cross",
                    "updateTime": milliseconds(now),
                }
            )
        wallet = books.balance(Holder.FUTURES, "USDT")
        for row in rows:
            row["liquidationPrice"] = f"{_liquidation_price(row, wallet, rows):f}"
        return rows

    def _leverage(self, query: Query, _now: datetime) -> list[dict[str, Any]]:
        bracket = {
            "bracket": 1,
            "initialLeverage": 20,
            "notionalCap": 50_000_000,
            "notionalFloor": 0,
            "maintMarginRatio": float(_MAINTENANCE_MARGIN),
            "cum": 0.0,
        }
        named = [self._listed(query, perpetual=True)] if "symbol" in query else list(self._futures.values())
        return [{"symbol": each.venue_id, "brackets": [bracket]} for each in named]

    def income(self, query: Query, now: datetime) -> list[dict[str, Any]]:
        """Return what moved the futures wallet: realized profit, commission, funding; oldest first."""
        wanted = self._listed(query, perpetual=True).symbol if "symbol" in query else None
        limit = limited(query, 100, 1000)
        start, end = integer(query, "startTime"), integer(query, "endTime")
        stop = min(now, instant(end * 1000)) + MILLISECOND if end is not None else now + MILLISECOND
        begin = instant(start * 1000) if start is not None else stop - timedelta(days=7)
        rows: list[dict[str, Any]] = []
        for day in self.desk.days(begin, stop):
            index = day_bounds(day.day)[0] - _START
            for number, leg in enumerate(day.legs):
                if leg.holder is not Holder.FUTURES or not begin <= leg.at < stop:
                    continue
                _, _, rest = leg.event.partition(" ")
                symbol, _, info = rest.partition(" ")
                kind = "TRANSFER" if leg.kind is LegKind.DEPOSIT else leg.kind.name
                if wanted not in (None, symbol) or query.get("incomeType", kind) != kind:
                    continue
                rows.append(
                    {
                        "symbol": self.market.instrument(symbol).venue_id if symbol else "",
                        "incomeType": kind,
                        "income": str(leg.amount),
                        "asset": leg.asset,
                        "info": info,
                        "time": milliseconds(leg.at),
                        "tranId": (index.days + 1) * Ids.DAY + number,
                        "tradeId": info if leg.event.startswith("fill") else "",
                    }
                )
            if len(rows) >= limit:
                break
        return sorted(rows, key=lambda row: row["time"])[:limit]


def _liquidation_price(row: dict[str, Any], wallet: Decimal, rows: Iterable[dict[str, Any]]) -> Decimal:
    """Return the mark price at which the cross wallet no longer covers the maintenance margins; 0 where none does.

    Binance's formula for one-way mode and one bracket: the other positions count at their present profit and margin.
    """
    held, cost = Decimal(row["positionAmt"]), Decimal(row["positionAmt"]) * Decimal(row["entryPrice"])
    others = [each for each in rows if each is not row]
    spare = wallet + sum(
        (Decimal(each["unRealizedProfit"]) - Decimal(each["maintMargin"]) for each in others), Decimal(0)
    )
    price = (spare - cost) / (abs(held) * _MAINTENANCE_MARGIN - held)
    return max(price, Decimal(0)).quantize(UNIT)


def _order(child: ChildOrder, instrument: Instrument) -> dict[str, Any]:
    spot = not instrument.perpetual
    row: dict[str, Any] = {
        "symbol": instrument.venue_id,
        "orderId": int(child.venue_order_id),
        "clientOrderId": f"{child.order_id}-{child.venue_order_id}",
        "price": str(child.price if child.kind == "LIMIT" else Decimal(0)),
        "origQty": str(child.quantity),
        "executedQty": str(child.executed),
        "status": child.status,
        "timeInForce": "GTC",
        "type": child.kind,
        "side": "BUY" if child.side > 0 else "SELL",
        "stopPrice": "0",
        "time": milliseconds(child.created_at),
        "updateTime": milliseconds(child.updated_at),
    }
    if spot:
        return row | {
            "orderListId": -1,
            "cummulativeQuoteQty": str(child.quote_executed),
            "icebergQty": "0",
            "isWorking": True,
            "workingTime": milliseconds(child.created_at),
            "origQuoteOrderQty": "0",
            "selfTradePreventionMode": "EXPIRE_MAKER",
        }
    average = child.quote_executed / child.executed if child.executed else Decimal(0)
    return row | {
        "avgPrice": str(average.quantize(UNIT)),
        "cumQuote": str(child.quote_executed),
        "reduceOnly": False,
        "closePosition": False,
        "positionSide": "BOTH",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": child.kind,
    }
