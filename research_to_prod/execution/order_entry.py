"""What a kill needs of a venue: resting orders, what is open, cancelling all of it, and a countdown that cancels.

The project trades nothing by itself; this is the one place that writes to a venue, for the kill switch and its drill.
A venue without a contract here is refused before any request: a kill that half works is worse than one that says so.

Belongs here: those requests and their contracts. Doesn't: when to kill (``operations``), reading markets
(``market_data.venue``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from research_to_prod.market_data.classifier import EndpointKind
from research_to_prod.market_data.credentials import Credentials
from research_to_prod.market_data.dialects.binance import Binance
from research_to_prod.market_data.shapes import Contract, integer, list_of, number, record, text
from research_to_prod.market_data.universe import EXCHANGES, VenueSpec
from research_to_prod.market_data.venue import VenueClient
from research_to_prod.market_data.venue_errors import VenueError, VenueUnsupported

_ORDER = record(symbol=text, orderId=integer, status=text, side=text)


class _BinanceOrders(Binance):
    """Binance with the endpoints that write; cancelling everything twice harms nothing, so it may be repeated."""

    contracts: ClassVar[Mapping[str, Contract]] = {
        **Binance.contracts,
        "POST /api/v3/order": Contract(_ORDER, "POST", EndpointKind.ORDER),
        "POST /fapi/v1/order": Contract(_ORDER, "POST", EndpointKind.ORDER),
        "GET /api/v3/openOrders": Contract(list_of(_ORDER)),
        "GET /fapi/v1/openOrders": Contract(list_of(_ORDER)),
        "DELETE /api/v3/openOrders": Contract(list_of(record(symbol=text)), "DELETE"),
        "DELETE /fapi/v1/allOpenOrders": Contract(record(code=integer), "DELETE"),
        "GET /fapi/v3/positionRisk": Contract(list_of(record(symbol=text, positionAmt=number))),
        "POST /fapi/v1/countdownCancelAll": Contract(record(symbol=text, countdownTime=number), "POST"),
    }


@dataclass(frozen=True)
class CountdownCancel:
    """Whether a venue cancels our orders by itself when we fall silent, and how we could ask it to.

    Parameters
    ----------
    ccxt
        Whether ccxt has its unified method ``cancelAllOrdersAfter``.
    contract
        Whether we have a contract for the venue's own endpoint.
    """

    exchange: str
    ccxt: bool
    contract: bool

    @property
    def remedy(self) -> str:
        """What to do where it is not available."""
        has = "ccxt has it, and no contract of ours does" if self.ccxt else "neither ccxt nor a contract of ours has it"
        return "" if self.contract else f"{has}: cancel from a second machine, and keep no resting orders unattended"


def countdown_matrix() -> tuple[CountdownCancel, ...]:
    """Return a row for each exchange that the strict client speaks to; only what has a contract is ever asked."""
    import ccxt

    return tuple(
        CountdownCancel(each, getattr(ccxt, each)().has.get("cancelAllOrdersAfter") is True, each == "binance")
        for each in EXCHANGES
    )


def connect_orders(
    venue: VenueSpec,
    credentials: Credentials,
    *,
    base_url: str | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> OrderEntry:
    """Return order entry at ``venue``; nothing is requested yet.

    Raises
    ------
    VenueUnsupported
        For an exchange whose orders have no contracts here.
    """
    from research_to_prod.market_data.strict_ccxt import Transport

    if venue.ccxt != "binance":
        raise VenueUnsupported(
            f"{venue.name} ({venue.ccxt}): no contracts for its orders, so nothing here can cancel them; only binance "
            "has them: cancel in the venue's own interface"
        )
    spoken = _BinanceOrders()
    transport = Transport(
        venue.name,
        spoken,
        base_url=base_url,
        key=credentials.key.get_secret_value(),
        secret=credentials.secret.get_secret_value(),
        passphrase="",
        rate_limit_ms=venue.rate_limit_ms,
    )
    return OrderEntry(venue.name, spoken, transport, sleep)


class OrderEntry(VenueClient):
    """A client that also writes. An order is never sent a second time; what may be repeated is, as reads are."""

    def steps(self, symbol: str) -> tuple[Decimal, Decimal, Decimal]:
        """Return a market's price step, quantity step and least value of an order."""
        market = self._market(symbol)
        found = (market["precision"]["price"], market["precision"]["amount"], market["limits"]["cost"]["min"] or "0")
        price, quantity, value = (Decimal(str(each)) for each in found)
        return price, quantity, value

    def mid(self, symbol: str) -> Decimal:
        """Return the middle of the best bid and ask."""
        method = "fapiPublicGetDepth" if self._market(symbol)["linear"] else "publicGetDepth"
        book = self._send(method, symbol, limit=5)
        return (Decimal(book["bids"][0][0]) + Decimal(book["asks"][0][0])) / 2

    def rest(self, symbol: str, side: int, price: Decimal, quantity: Decimal, *, reduce_only: bool = False) -> int:
        """Send an order that only makes, and return the venue's number of it.

        Raises
        ------
        VenueRejected
            When the venue refuses it, as it does a reduce-only order that would increase.
        VenueUnknown
            When nobody can tell whether it rests: ask what is open, never send it again.
        """
        order = {"side": "BUY" if side > 0 else "SELL", "price": format(price, "f"), "quantity": format(quantity, "f")}
        if self._market(symbol)["linear"]:
            order |= {"type": "LIMIT", "timeInForce": "GTX", "reduceOnly": "true" if reduce_only else "false"}
            return int(self._send("fapiPrivatePostOrder", symbol, **order)["orderId"])
        if reduce_only:
            raise VenueUnsupported(f"{self.name} {symbol}: spot orders know no reduce-only")
        return int(self._send("privatePostOrder", symbol, type="LIMIT_MAKER", **order)["orderId"])

    def open_orders(self, symbol: str) -> tuple[int, ...]:
        """Return the numbers of the orders that rest in a market."""
        method = "fapiPrivateGetOpenOrders" if self._market(symbol)["linear"] else "privateGetOpenOrders"
        return tuple(int(each["orderId"]) for each in self._send(method, symbol))

    def cancel_all(self, symbol: str) -> None:
        """Cancel everything that rests in a market; nothing there is nothing to cancel."""
        if self._market(symbol)["linear"]:
            self._send("fapiPrivateDeleteAllOpenOrders", symbol)
            return
        try:
            self._send("privateDeleteOpenOrders", symbol)
        except VenueError as error:
            # Spot answers "unknown order" where nothing rests; what is open says whether that is so.
            if "-2011" not in str(error):
                raise

    def position(self, symbol: str) -> Decimal:
        """Return the contracts held of a perpetual, negative when short."""
        rows = self._send("fapiPrivateV3GetPositionRisk", symbol)
        own = self._market(symbol)["id"]
        return sum((Decimal(str(each["positionAmt"])) for each in rows if each["symbol"] == own), Decimal(0))

    def countdown(self, symbol: str, milliseconds: int) -> None:
        """Have the venue cancel everything in a perpetual's market unless it hears again in time; 0 disarms.

        Protective orders are cancelled too: which accounts want that is for people to decide.

        Raises
        ------
        VenueUnsupported
            For spot, which has no such endpoint at Binance.
        """
        if not self._market(symbol)["linear"]:
            raise VenueUnsupported(f"{self.name} {symbol}: no countdown for spot orders; they rest until cancelled")
        self._send("fapiPrivatePostCountdownCancelAll", symbol, countdownTime=milliseconds)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._sleep(seconds)

    def _send(self, method: str, symbol: str, **parameters: Any) -> Any:
        return self._read(method, {"symbol": self._market(symbol)["id"], **parameters}).content
