"""What this client can read from each venue: what ccxt says it has, and what our dialect has a contract for.

Belongs here: the matrix, and the refusal of what is not in it. Doesn't: the dialects themselves. ccxt is imported when
the matrix is asked for, because it takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import pyarrow as pa

from research_to_prod.market_data.dialects import dialect
from research_to_prod.market_data.dialects.base import Dialect
from research_to_prod.market_data.universe import EXCHANGES
from research_to_prod.market_data.venue_errors import VenueUnsupported


class Capability(StrEnum):
    """What can be asked of a venue; the value is the name of the client's and, mostly, the dialect's method."""

    CLOCK = "clock"
    STATUS = "status"
    INSTRUMENTS = "instruments"
    FEES = "fees"
    CANDLES = "candles"
    TRADES = "trades"
    BOOK = "book"
    FUNDING_RATES = "funding_rates"
    MY_TRADES = "my_trades"
    MY_ORDERS = "my_orders"
    HOLDINGS = "holdings"
    STATEMENTS = "statements"
    PAYMENTS = "payments"


CCXT_NAMES: Mapping[Capability, tuple[str, ...]] = {
    Capability.CLOCK: ("fetchTime",),
    Capability.STATUS: ("fetchStatus",),
    Capability.INSTRUMENTS: ("fetchMarkets",),
    Capability.FEES: ("fetchTradingFee", "fetchTradingFees"),
    Capability.CANDLES: ("fetchOHLCV",),
    Capability.TRADES: ("fetchTrades",),
    Capability.BOOK: ("fetchOrderBook",),
    Capability.FUNDING_RATES: ("fetchFundingRateHistory",),
    Capability.MY_TRADES: ("fetchMyTrades",),
    Capability.MY_ORDERS: ("fetchOrders",),
    Capability.HOLDINGS: ("fetchBalance",),
    # ccxt has no name for the balances of a day that is over; they come from an endpoint of its own.
    Capability.STATEMENTS: ("fetchBalance",),
    Capability.PAYMENTS: ("fetchLedger", "fetchFundingHistory"),
}
"""The names under which ccxt's ``has`` lists a capability; one of them is enough."""


@dataclass(frozen=True)
class Support:
    """Whether one venue gives one capability.

    Parameters
    ----------
    ccxt
        Whether ccxt has it, not counting what ccxt emulates.
    contract
        Whether our dialect has a contract for it.
    remedy
        What to do where it is not available.
    """

    venue: str
    capability: Capability
    ccxt: bool
    contract: bool
    remedy: str

    @property
    def available(self) -> bool:
        """Whether the client gives it."""
        return self.ccxt and self.contract


@cache
def capabilities(exchange: str) -> Mapping[Capability, Support]:
    """Return what the ccxt exchange ``exchange`` gives, by capability."""
    import ccxt

    spoken, has = dialect(exchange), getattr(ccxt, exchange)().has
    return {
        each: Support(
            exchange,
            each,
            any(has.get(name) is True for name in names),
            _has_contract(spoken, each),
            spoken.remedies.get(each, "read it from files or from another venue"),
        )
        for each, names in CCXT_NAMES.items()
    }


def _has_contract(spoken: Dialect, capability: Capability) -> bool:
    """Tell whether a dialect overrides the capability's method; markets come through ccxt, and each has contracts."""
    default = getattr(Dialect, capability, None)
    return default is None or getattr(type(spoken), capability) is not default


def require(exchange: str, capability: Capability, venue: str) -> None:
    """Refuse what the matrix doesn't have, before anything is requested.

    Raises
    ------
    VenueUnsupported
        Naming the venue, the capability, who lacks it, and what to do instead.
    """
    support = capabilities(exchange)[capability]
    if not support.available:
        lacking = f"ccxt has no {' or '.join(CCXT_NAMES[capability])}" if not support.ccxt else "no contract for it"
        raise VenueUnsupported(f"{venue} ({exchange}) gives no {capability}: {lacking}; {support.remedy}")


def capability_matrix() -> pa.Table:
    """Return one row a venue and capability: ``venue, capability, ccxt, contract, available, remedy``."""
    rows = [support for exchange in EXCHANGES for support in capabilities(exchange).values()]
    return pa.table(
        {
            "venue": [each.venue for each in rows],
            "capability": [str(each.capability) for each in rows],
            "ccxt": [each.ccxt for each in rows],
            "contract": [each.contract for each in rows],
            "available": [each.available for each in rows],
            "remedy": ["" if each.available else each.remedy for each in rows],
        }
    )
