"""The public half of the venue in Binance's REST dialect: parameters in, JSON values out.

Belongs here: endpoints that need no key, their limits, their errors, and the bars that the venue serves wrongly.
Doesn't: HTTP (see `server`) and the account (see `account`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from research_to_prod.sandbox._underlying import MINUTE, instant, micros
from research_to_prod.sandbox.instruments import BROKEN_BARS, BarDefect, Instrument
from research_to_prod.sandbox.market import FUNDING_INTERVAL, Candles, SandboxMarket, join
from research_to_prod.values import timeframe_length

Query = Mapping[str, str]
Rows = list[Any]
INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
MILLISECOND = timedelta(milliseconds=1)


class VenueRefusal(Exception):  # noqa: N818 - the venue's answer, not a fault of this program
    """An error in Binance's form, with its HTTP status."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def milliseconds(time: int | datetime) -> int:
    """Return microseconds or a datetime as milliseconds since the epoch."""
    return (micros(time) if isinstance(time, datetime) else int(time)) // 1000


def integer(query: Query, name: str) -> int | None:
    """Return an integer parameter, or None where it is not given."""
    text = query.get(name)
    if text is None:
        return None
    if not text.isdigit():
        raise VenueRefusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def limited(query: Query, default: int, largest: int) -> int:
    """Return the parameter ``limit``, at most the endpoint's largest."""
    limit = integer(query, "limit")
    if limit == 0:
        raise VenueRefusal(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit or default, largest)


def text(value: float, step: Decimal) -> str:
    """Return a number on its step as decimal text."""
    return f"{value:.{decimals(step)}f}"


def decimals(step: Decimal) -> int:
    """Return the digits after the point of a step such as 0.01."""
    return max(0, -int(step.normalize().as_tuple().exponent))


class PublicApi:
    """Answers the public endpoints of one host, spot or futures.

    Parameters
    ----------
    perpetual
        Whether this is the futures host; the two list different markets under the same ids.
    """

    def __init__(self, market: SandboxMarket, *, perpetual: bool) -> None:
        self.market = market
        self.perpetual = perpetual
        self._listed = {each.venue_id: each for each in market.instruments.values() if each.perpetual is perpetual}
        shared: dict[str, Callable[[Query, datetime], Any]] = {
            "ping": lambda _query, _now: {},
            "time": lambda _query, now: {"serverTime": milliseconds(now)},
            "exchangeInfo": self.exchange_info,
            "klines": self.klines,
            "aggTrades": self.agg_trades,
            "depth": self.depth,
            "ticker/bookTicker": self._each(self._book_ticker),
            "ticker/24hr": self._each(self._day_ticker),
        }
        futures: dict[str, Callable[[Query, datetime], Any]] = {
            "fundingRate": self.funding_rate,
            "fundingInfo": lambda _query, _now: [],
            "premiumIndex": self._each(self._premium),
            "openInterest": lambda query, now: {
                "symbol": self.listed(query).venue_id,
                "openInterest": text(1e8 / self._mid(self.listed(query), now), self.listed(query).lot),
                "time": milliseconds(now),
            },
        }
        self.endpoints = shared | futures if perpetual else shared

    def listed(self, query: Query) -> Instrument:
        """Return the market that the parameter ``symbol`` names."""
        symbol = query.get("symbol")
        if symbol is None:
            raise VenueRefusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self._listed:
            raise VenueRefusal(-1121, "Invalid symbol.")
        return self._listed[symbol]

    def _each(self, answer: Callable[[Instrument, datetime], dict[str, Any]]) -> Callable[[Query, datetime], Any]:
        """Answer for the named market, or for all of them."""

        def answered(query: Query, now: datetime) -> Any:
            if "symbol" in query:
                return answer(self.listed(query), now)
            return [answer(each, now) for each in self._listed.values()]

        return answered

    def _mid(self, instrument: Instrument, now: datetime) -> float:
        return float(self.market.mid(instrument.symbol, np.array([micros(now)]))[0])

    def exchange_info(self, _query: Query, now: datetime) -> dict[str, Any]:
        """Return the contract terms of every market of this host."""
        terms = self._futures_terms if self.perpetual else self._spot_terms
        return {
            "timezone": "UTC",
            "serverTime": milliseconds(now),
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}],
            "exchangeFilters": [],
            "symbols": [_terms(each) | terms(each) for each in self._listed.values()],
        }

    @staticmethod
    def _spot_terms(_each: Instrument) -> dict[str, Any]:
        return {
            "baseAssetPrecision": 8,
            "quoteAssetPrecision": 8,
            "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "permissions": ["SPOT"],
            "permissionSets": [["SPOT"]],
        }

    @staticmethod
    def _futures_terms(each: Instrument) -> dict[str, Any]:
        return {
            "pair": each.venue_id,
            "contractType": "PERPETUAL",
            "underlyingType": "COIN",
            "deliveryDate": 4_133_404_800_000,
            "onboardDate": milliseconds(each.listed_at),
            "marginAsset": each.quote,
            "pricePrecision": decimals(each.tick),
            "quantityPrecision": decimals(each.lot),
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        }

    def klines(self, query: Query, now: datetime) -> Rows:
        """Return bars of 12 elements, defects included; the running bar is served as far as it is known."""
        instrument, limit = self.listed(query), limited(query, 500, 1500 if self.perpetual else 1000)
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise VenueRefusal(-1120, "Invalid interval.")
        step = timeframe_length(interval)
        start, end = integer(query, "startTime"), integer(query, "endTime")
        last = min(now, instant(end * 1000) + MILLISECOND) if end is not None else now
        if start is None:
            # The newest bars: look back until there are enough or the listing is reached.
            first = max(instrument.listed_at, last - (limit + 1) * step)
            bars = self.market.candles(instrument.symbol, first, last, step, now)
            bars = bars.where(slice(max(0, len(bars) - limit), None))
        else:
            begin = max(instant(start * 1000), instrument.listed_at)
            parts: list[Candles] = []
            # Outages inside the page are made up for from behind it.
            while begin < last and sum(map(len, parts)) < limit:
                until = min(last, begin + (limit + 64) * step)
                parts.append(self.market.candles(instrument.symbol, begin, until, step, now))
                begin = until
            bars = join(parts or [self.market.candles(instrument.symbol, last, last, step)]).where(slice(0, limit))
        price, size = (decimals(each) for each in (instrument.tick, instrument.lot))
        width = milliseconds(step // timedelta(microseconds=1))
        rows: Rows = [
            [t, f"{o:.{price}f}", f"{h:.{price}f}", f"{lo:.{price}f}", f"{c:.{price}f}", f"{v:.{size}f}",
             t + width - 1, f"{q:.8f}", n, f"{v / 2:.8f}", f"{q / 2:.8f}", "0"]
            for t, o, h, lo, c, v, q, n in zip(
                (bars.ts // 1000).tolist(), bars.open.tolist(), bars.high.tolist(), bars.low.tolist(),
                bars.close.tolist(), bars.volume.tolist(), bars.quote_volume.tolist(), bars.trades.tolist(),
                strict=True,
            )
        ]  # fmt: skip
        return _spoiled(rows, instrument, limit) if interval == "1h" and not self.perpetual else rows

    def agg_trades(self, query: Query, now: datetime) -> Rows:
        """Return aggregated trades by ``fromId`` or from ``startTime``; without either, the newest."""
        instrument, limit = self.listed(query), limited(query, 500, 1000)
        start, end, from_id = (integer(query, name) for name in ("startTime", "endTime", "fromId"))
        last = min(now, instant(end * 1000) + MILLISECOND) if end is not None else now
        hour = timedelta(hours=1)
        if from_id is not None:
            begin = self.market.time_of_trade(from_id)
            last = now
        else:
            begin = instant(start * 1000) if start is not None else last - hour
        found: Rows = []
        while begin < last and len(found) < limit:
            tape = self.market.trades(instrument.symbol, begin, min(begin + hour, last))
            columns = (tape.id, tape.ts // 1000, tape.price, tape.quantity, tape.buyer_is_maker)
            found += [
                {"a": a, "p": text(p, instrument.tick), "q": text(q, instrument.lot), "f": a, "l": a, "T": t, "m": m,
                 "M": True}
                for a, t, p, q, m in zip(*(each.tolist() for each in columns), strict=True)
                if from_id is None or a >= from_id
            ]  # fmt: skip
            begin += hour
        newest = start is None and from_id is None
        return found[-limit:] if newest else found[:limit]

    def depth(self, query: Query, now: datetime) -> dict[str, Any]:
        """Return the book, best prices first."""
        instrument, limit = self.listed(query), limited(query, 100, 1000)
        bids, asks = (
            [[text(price, instrument.tick), text(size, instrument.lot)] for price, size in side]
            for side in self.market.book(instrument.symbol, micros(now), limit)
        )
        stamps = {"E": milliseconds(now), "T": milliseconds(now)} if self.perpetual else {}
        return {"lastUpdateId": micros(now) // 250_000, **stamps, "bids": bids, "asks": asks}

    def _book_ticker(self, instrument: Instrument, now: datetime) -> dict[str, Any]:
        best = self.market.quote(instrument.symbol, np.array([micros(now)]))
        answer: dict[str, Any] = {
            "symbol": instrument.venue_id,
            "bidPrice": text(best.bid[0], instrument.tick),
            "bidQty": text(best.bid_size[0], instrument.lot),
            "askPrice": text(best.ask[0], instrument.tick),
            "askQty": text(best.ask_size[0], instrument.lot),
        }
        return answer | ({"time": milliseconds(now)} if self.perpetual else {})

    def _day_ticker(self, instrument: Instrument, now: datetime) -> dict[str, Any]:
        minute = timedelta(minutes=1)
        close_at = instant(micros(now) // MINUTE * MINUTE)
        bars = self.market.candles(instrument.symbol, close_at - timedelta(days=1), close_at, minute)
        if len(bars) == 0:
            bars = self.market.candles(instrument.symbol, instrument.listed_at, instrument.listed_at + minute, minute)
        first, last, volume, turnover = bars.open[0], bars.close[-1], bars.volume.sum(), bars.quote_volume.sum()
        prices = {
            "priceChange": last - first, "lastPrice": last, "openPrice": first, "prevClosePrice": first,
            "highPrice": bars.high.max(), "lowPrice": bars.low.min(),
        }  # fmt: skip
        return {
            "symbol": instrument.venue_id,
            **{name: text(value, instrument.tick) for name, value in prices.items()},
            "priceChangePercent": f"{100 * (last / first - 1):.3f}",
            "weightedAvgPrice": f"{turnover / max(volume, float(instrument.lot)):.8f}",
            "lastQty": text(float(instrument.lot), instrument.lot),
            "volume": text(volume, instrument.lot),
            "quoteVolume": f"{turnover:.8f}",
            "openTime": milliseconds(close_at - timedelta(days=1)),
            "closeTime": milliseconds(close_at),
            "firstId": int(bars.ts[0] // MINUTE),
            "lastId": int(bars.ts[-1] // MINUTE),
            "count": int(bars.trades.sum()),
            **(
                {} if self.perpetual else {k: v for k, v in self._book_ticker(instrument, now).items() if k != "symbol"}
            ),
        }

    def funding_rate(self, query: Query, now: datetime) -> Rows:
        """Return funding payments, oldest first; without startTime the newest."""
        instrument, limit = self.listed(query), limited(query, 100, 1000)
        start, end = integer(query, "startTime"), integer(query, "endTime")
        last = min(now, instant(end * 1000) + MILLISECOND) if end is not None else now
        begin = instant(start * 1000) if start is not None else last - (limit + 1) * timedelta(hours=8)
        begin = max(begin, instrument.listed_at)
        if start is not None:
            last = min(last, begin + (limit + 1) * timedelta(hours=8))
        paid = self.market.funding(instrument.symbol, begin, last)
        rows: Rows = [
            {
                "symbol": instrument.venue_id,
                "fundingTime": t // 1000,
                "fundingRate": f"{r:.8f}",
                "markPrice": f"{p:.8f}",
            }
            for t, r, p in zip(paid.ts.tolist(), paid.rate.tolist(), paid.mark_price.tolist(), strict=True)
        ]
        return rows[:limit] if start is not None else rows[-limit:]

    def _premium(self, instrument: Instrument, now: datetime) -> dict[str, Any]:
        spot = instrument.symbol.split(":")[0]
        paid = self.market.funding(instrument.symbol, now - timedelta(days=1), now)
        index = text(float(self.market.mid(spot, np.array([micros(now)]))[0]), Decimal("0.00000001"))
        return {
            "symbol": instrument.venue_id,
            "markPrice": f"{self._mid(instrument, now):.8f}",
            "indexPrice": index,
            "estimatedSettlePrice": index,
            "lastFundingRate": f"{paid.rate[-1] if len(paid.rate) else 0.0:.8f}",
            "interestRate": "0.00010000",
            "nextFundingTime": (micros(now) // FUNDING_INTERVAL + 1) * FUNDING_INTERVAL // 1000,
            "time": milliseconds(now),
        }


def _terms(each: Instrument) -> dict[str, Any]:
    """Return what both hosts say of a market."""
    size = {"minQty": str(each.lot), "maxQty": "9000000", "stepSize": str(each.lot)}
    least = str(each.min_notional)
    return {
        "symbol": each.venue_id,
        "status": "TRADING",
        "baseAsset": each.base,
        "quoteAsset": each.quote,
        "orderTypes": ["LIMIT", "MARKET"],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": str(each.tick),
                "maxPrice": "1000000",
                "tickSize": str(each.tick),
            },
            {"filterType": "LOT_SIZE", **size},
            {"filterType": "MARKET_LOT_SIZE", **size},
            {"filterType": "MIN_NOTIONAL", "notional": least}
            if each.perpetual
            else {"filterType": "NOTIONAL", "minNotional": least, "applyMinToMarket": True},
        ],
    }


def _spoiled(rows: Rows, instrument: Instrument, limit: int) -> Rows:
    """Return the page with the bars that this venue serves wrongly; a duplicate never makes it longer than asked."""
    broken = {milliseconds(each.open_at): each.defect for each in BROKEN_BARS if each.base == instrument.base}
    spoiled: Rows = []
    for row in rows:
        defect = broken.get(row[0])
        if defect is BarDefect.HIGH_BELOW_CLOSE:
            low = float(row[3])
            row[2] = text(low - float(instrument.tick), instrument.tick)
        elif defect is BarDefect.NEGATIVE_VOLUME:
            row[5] = "-" + row[5]
        spoiled.append(row)
        if defect is BarDefect.DUPLICATE:
            spoiled.append(list(row))
    return spoiled[:limit]
