"""What a venue says of the desk's own account: trades, orders, holdings, payments, fees.

Belongs here: certified reads that need a key. Doesn't: markets (``venue``), and what the records are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from research_to_prod.market_data.capabilities import Capability
from research_to_prod.market_data.certificates import Certificate, Fetched
from research_to_prod.market_data.dialects.base import Margin, Mark, Payment, Statement, Tier
from research_to_prod.market_data.instruments import TradingFee
from research_to_prod.market_data.paging import Pages, Terminal
from research_to_prod.market_data.reads import Reads, micros, time_of
from research_to_prod.market_data.venue_errors import VenueUnknown


@dataclass(frozen=True)
class Wallet:
    """What one wallet holds at an instant, symbols unified.

    Parameters
    ----------
    at
        The venue's stamp; its clock before the request where it gives none.
    margins, marks
        Of ``balances`` and ``positions``, as far as the venue stated them.
    """

    account: str
    at: datetime
    balances: dict[str, str]
    positions: dict[str, str]
    margins: dict[str, Margin] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class Paid:
    """One payment with its time and unified symbol."""

    payment: Payment
    symbol: str | None
    at: datetime


class AccountReads(Reads):
    """Certified reads of the account."""

    def fees(self, symbol: str) -> TradingFee:
        """Return what the account pays in a market, before any discount that the venue applies to the invoice."""
        self._need(Capability.FEES, signed=True)
        maker, taker = self._ask(self._dialect.fees(self._market(symbol)))
        return TradingFee(symbol, maker, taker)

    def my_trades(self, symbol: str, start: datetime, end: datetime) -> Fetched[tuple[dict[str, Any], ...]]:
        """Fetch the account's trades in ``[start, end)`` as ccxt's unified trades, amounts as decimal text, by id.

        A trade that is sent twice alike is returned once.
        """
        self._need(Capability.MY_TRADES, signed=True)
        market = self._market(symbol)
        before = self.clock(symbol)
        end = max(start, min(end, before))
        feed = self._dialect.my_trades(market)
        got = self._whole(feed, symbol, start, end, before, Capability.MY_TRADES)
        certificate = self._certify(feed, symbol, symbol, (start, end), got, before)
        rows = sorted((row for _, _, row in got.rows()), key=lambda row: int(row["id"]))
        return Fetched(tuple(self._transport.parse_trade(row, market) for row in rows), certificate)

    def my_orders(self, symbol: str, start: datetime, end: datetime) -> Fetched[tuple[dict[str, Any], ...]]:
        """Fetch the account's orders that began in ``[start, end)`` as ccxt's unified orders, by id.

        Returns
        -------
        Fetched
            Where the venue may have forgotten orders that ended without a fill, the certificate is not ``complete``.
        """
        self._need(Capability.MY_ORDERS, signed=True)
        market = self._market(symbol)
        before = self.clock(symbol)
        end = max(start, min(end, before))
        feed = self._dialect.my_orders(market)
        if self._keeps_orders is not None:
            feed = replace(feed, retention=self._keeps_orders // timedelta(microseconds=1))
        got = self._walk(feed, start, end, before)
        certificate = self._certify(feed, symbol, symbol, (start, end), got, before)
        rows = sorted((row for _, _, row in got.rows()), key=lambda row: int(row["orderId"]))
        return Fetched(tuple(self._transport.parse_order(row, market) for row in rows), certificate)

    def holdings(self) -> tuple[Fetched[Wallet], ...]:
        """Return what each wallet holds now, and the open contracts, each with its certificate."""
        self._need(Capability.HOLDINGS, signed=True)
        found = []
        for ask in self._dialect.holdings():
            before = self.clock()
            body = self._read(ask.method, ask.parameters)
            statement = ask.read(body.content)
            certificate = self._seen(ask.method, statement.account, (before, before), [body.sha256], before)
            found.append(Fetched(self._wallet(statement, before), certificate))
        return tuple(found)

    def margin_tiers(self) -> dict[str, tuple[Tier, ...]]:
        """Return what positions of the account must maintain, by symbol."""
        self._need(Capability.HOLDINGS, signed=True)
        names = self._contracts()
        # Of contracts that are no longer listed the venue has tiers too.
        tiers = self._ask(self._dialect.margin_tiers())
        return {names[market]: tuple(each) for market, each in tiers.items() if market in names}

    def statements(self, start: datetime, end: datetime) -> tuple[Fetched[tuple[Wallet, ...]], ...]:
        """Return what each wallet held at the ends of the days from ``start`` to ``end``, one entry a wallet.

        Returns
        -------
        tuple of Fetched
            The certificate is not ``complete`` where the venue no longer (or not yet) states one of the days: what it
            does not state is unknown.
        """
        self._need(Capability.STATEMENTS, signed=True)
        found = []
        days = (end - start) // timedelta(days=1) + 1
        for ask in self._dialect.statements(micros(start), micros(end)):
            before = self.clock()
            body = self._read(ask.method, ask.parameters)
            wallets = tuple(self._wallet(each, before) for each in ask.read(body.content))
            inside = tuple(each for each in wallets if start <= each.at <= end)
            whole = len({each.at for each in inside}) == days
            account = ask.parameters["type"].lower()
            certificate = self._seen(ask.method, account, (start, end), [body.sha256], before, complete=whole)
            found.append(Fetched(inside, certificate))
        return tuple(found)

    def payments(self, start: datetime, end: datetime) -> tuple[Fetched[tuple[Paid, ...]], ...]:
        """Fetch what moved each wallet besides trades in ``[start, end)``, one entry an endpoint.

        Raises
        ------
        VenueUnknown
            If the venue has payments before the first that it served: it serves the newest, and some were left out.
        """
        self._need(Capability.PAYMENTS, signed=True)
        before = self.clock()
        end = max(start, min(end, before))
        names, found = self._contracts(), []
        for account, feeds in self._dialect.payments().items():
            for number, feed in enumerate(feeds):
                got = self._walk(feed, start, end, before)
                rows = [row for _, _, row in got.rows()]
                if rows:
                    first = min(feed.at(row) for row in rows)
                    earlier = self._walk(feed, start, time_of(first), before)
                    if earlier.rows():
                        raise VenueUnknown(
                            f"{self.name} {feed.method}: there are rows before the first one served; the venue serves "
                            "the newest first and its pages cannot be followed"
                        )
                    got = Pages(got.pages, (*got.bodies, *earlier.bodies), got.terminal)
                scope = account if number == 0 else f"{account} {number}"
                certificate = self._certify(feed, scope, None, (start, end), got, before)
                paid = [(feed.values(row)[0], time_of(feed.at(row))) for row in rows]
                kept = tuple(Paid(each, self._unified(each.market, names), at) for each, at in paid if each is not None)
                found.append(Fetched(kept, certificate))
        return tuple(found)

    def _seen(
        self,
        endpoint: str,
        scope: str,
        interval: tuple[datetime, datetime],
        bodies: Sequence[str],
        before: datetime,
        *,
        complete: bool = True,
    ) -> Certificate:
        pages = Pages(((),), tuple(bodies), Terminal.END_REACHED if complete else Terminal.HISTORY_CUT)
        return self._issue(endpoint, scope, interval, pages, (before, self.clock()))

    def _wallet(self, statement: Statement, now: datetime) -> Wallet:
        names = self._contracts() if statement.positions else {}
        positions = {str(self._unified(market, names)): held for market, held in statement.positions.items()}
        marks = {str(self._unified(market, names)): mark for market, mark in statement.marks.items()}
        at = now if statement.at is None else time_of(statement.at)
        return Wallet(statement.account, at, dict(statement.balances), positions, dict(statement.margins), marks)

    def _contracts(self) -> dict[str, str]:
        """Return the unified symbol of each contract by the venue's id, which is what the account's records name."""
        return {each["id"]: each["symbol"] for each in self._markets().values() if each["linear"]}

    def _unified(self, market: str | None, names: dict[str, str]) -> str | None:
        if market is not None and market not in names:
            raise VenueUnknown(f"{self.name} names contract {market!r} in the account's records and does not list it")
        return None if market is None else names[market]
