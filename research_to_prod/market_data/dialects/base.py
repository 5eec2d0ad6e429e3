"""What a dialect declares: endpoints, shapes, paging and the reading of rows.

Belongs here: the interface, and arithmetic that several dialects share. Doesn't: requests (``strict_ccxt``), the loop
over pages (``paging``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Generic, TypeVar

from research_to_prod.market_data.instruments import VenueStatus
from research_to_prod.market_data.paging import Feed
from research_to_prod.market_data.shapes import Contract
from research_to_prod.market_data.traffic import Budget
from research_to_prod.market_data.venue_errors import VenueShape, VenueUnsupported
from research_to_prod.values import timeframe_length

Market = Mapping[str, Any]
"""ccxt's description of a market."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = 1_000
SECOND = 1_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One request that answers a question, and how its checked body is read."""

    method: str
    parameters: Mapping[str, Any]
    read: Callable[[Any], T]


@dataclass(frozen=True)
class Book:
    """One snapshot of an order book: price and size of each level, best first.

    Parameters
    ----------
    at
        The venue's stamp in microseconds; None where it gives none.
    """

    at: int | None
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Margin:
    """What contracts in one asset rest on, as decimal text: the wallet with what is open, and what must stay of it."""

    balance: str
    maintenance: str


@dataclass(frozen=True)
class Tier:
    """What a position of ``floor`` in value or more must maintain: ``rate`` of it less ``deduction``, decimal text."""

    floor: str
    rate: str
    deduction: str


@dataclass(frozen=True)
class Mark:
    """At what a contract is valued, and at which mark the venue closes it, as decimal text; 0 where at none."""

    price: str
    liquidation: str


@dataclass(frozen=True)
class Statement:
    """What one wallet of the account holds at an instant, amounts as decimal text; what is not named is zero.

    Parameters
    ----------
    at
        The venue's stamp in microseconds; None where it gives none.
    positions
        The venue's id of each contract -> signed contracts.
    margins
        By asset of ``balances``; what is not named was not stated.
    marks
        By contract of ``positions``; what is not named was not stated.
    """

    account: str
    at: int | None
    balances: Mapping[str, str]
    positions: Mapping[str, str]
    margins: Mapping[str, Margin] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class Payment:
    """One movement of money that the venue states: income of contracts, a deposit, a withdrawal, a transfer.

    Parameters
    ----------
    market
        The venue's id of the contract that it came from, if one.
    """

    kind: str
    payment_id: str
    asset: str
    amount: str
    market: str | None = None
    reference: str | None = None


class Dialect:
    """One exchange's REST interface. A method that a dialect doesn't override is what its venue cannot give.

    Attributes
    ----------
    ccxt
        Id of the ccxt exchange.
    contracts
        The contract of each endpoint by path; a path that is not here is refused.
    options
        ccxt's options.
    kinds
        Market kinds that are read: ``spot``, ``linear``.
    timeframes
        The venue's name of each timeframe that it serves.
    reads_currencies
        Whether ccxt needs the venue's list of currencies to understand its markets.
    skew_codes
        Codes that say that our clock is off.
    remedies
        What to do instead, by the name of what the venue lacks.
    clock_step
        Microseconds to which the venue cuts its time.
    budgets
        What each host lets us ask in a minute, by the path that its endpoints begin with; empty where answers don't
        say what was used.
    """

    ccxt: ClassVar[str]
    contracts: ClassVar[Mapping[str, Contract]]
    options: ClassVar[Mapping[str, Any]] = {}
    kinds: ClassVar[tuple[str, ...]] = ("spot", "linear")
    timeframes: ClassVar[Mapping[str, str]]
    reads_currencies: ClassVar[bool] = False
    skew_codes: ClassVar[frozenset[str]] = frozenset()
    remedies: ClassVar[Mapping[str, str]] = {}
    clock_step: ClassVar[int] = MILLISECOND
    budgets: ClassVar[Mapping[str, Budget]] = {}

    def error_code(self, body: Mapping[str, Any]) -> str | None:
        """Return the venue's own code when ``body`` is its report of a failure."""
        raise NotImplementedError

    def clock(self, market: Market | None) -> Ask[int]:
        """Ask for the venue's time in microseconds; with ``market``, that of the market's own host."""
        raise NotImplementedError

    def clocks(self) -> Sequence[Ask[int]]:
        """Ask each of the venue's hosts for its time."""
        return (self.clock(None),)

    def status(self) -> Ask[VenueStatus]:
        """Ask whether the venue trades."""
        raise NotImplementedError

    def fees(self, market: Market) -> Ask[tuple[str, str]]:
        """Ask for the account's maker and taker fee in ``market``."""
        raise NotImplementedError

    def candles(self, market: Market, timeframe: str) -> Feed:
        """Return the feed of bars; values are open, high, low, close, and volume in base units."""
        raise NotImplementedError

    def trades(self, market: Market) -> Feed:
        """Return the feed of the public tape; values are id, price, amount in base units, and the aggressor's side."""
        raise NotImplementedError

    def book(self, market: Market, depth: int) -> Ask[Book]:
        """Ask for the best ``depth`` levels of each side, or as many as the venue gives."""
        raise NotImplementedError

    def funding_rates(self, market: Market) -> Feed:
        """Return the feed of funding payments; values are rate and mark price, None where the venue gives none."""
        raise NotImplementedError

    def my_trades(self, market: Market) -> Feed:
        """Return the feed of the account's trades; values are empty, ccxt parses the rows."""
        raise NotImplementedError

    def my_orders(self, market: Market) -> Feed:
        """Return the feed of the account's orders; values are empty, ccxt parses the rows."""
        raise NotImplementedError

    def holdings(self) -> Sequence[Ask[Statement]]:
        """Ask for what each wallet holds now."""
        raise NotImplementedError

    def margin_tiers(self) -> Ask[Mapping[str, Sequence[Tier]]]:
        """Ask for what positions of the account must maintain, by the venue's id of the contract."""
        raise NotImplementedError

    def statements(self, start: int, end: int) -> Sequence[Ask[Sequence[Statement]]]:
        """Ask for what each wallet held at the ends of the days from ``start`` to ``end``, both included."""
        raise NotImplementedError

    def payments(self) -> Mapping[str, Sequence[Feed]]:
        """Return the feeds of what moved each wallet besides trades; values are one :class:`Payment`."""
        raise NotImplementedError

    def timeframe(self, timeframe: str) -> str:
        """Return the venue's name of a timeframe."""
        if timeframe not in self.timeframes:
            raise VenueUnsupported(
                f"{self.ccxt} serves no bars of {timeframe!r}, only of {', '.join(self.timeframes)}; name one of "
                "these in universe.yaml, or read the bars from files"
            )
        return self.timeframes[timeframe]


def up(microseconds: int, unit: int) -> int:
    """Return the first whole ``unit`` at or after a time."""
    return -(-microseconds // unit)


def length_of(timeframe: str) -> int:
    """Return the length of a bar in microseconds."""
    return timeframe_length(timeframe) // timedelta(microseconds=1)


def micros_of(moment: str) -> int:
    """Return an ISO 8601 time in microseconds; digits beyond them are cut."""
    return (datetime.fromisoformat(moment) - EPOCH) // timedelta(microseconds=1)


def float_micros(seconds: float | str) -> int:
    """Return decimal seconds in whole microseconds."""
    return int((Decimal(str(seconds)) * SECOND).to_integral_value())


def own_rows(rows: Sequence[Any], name: str, market: Market) -> Sequence[Any]:
    """Return ``rows`` that all name ``market`` in the field ``name``; foreign rows are an error."""
    same_market({row[name] for row in rows}, market)
    return rows


def same_market(named: set[Any], market: Market) -> None:
    """Refuse an answer that names another market than the one asked for."""
    foreign = named - {market["id"]}
    if foreign:
        raise VenueShape(f"asked for {market['id']}, got rows of {', '.join(sorted(map(str, foreign)))}")


def levels(rows: Sequence[Sequence[Any]], size: float = 1.0) -> tuple[tuple[float, float], ...]:
    """Return price and size of each level; ``size`` is the base units of one contract."""
    return tuple((float(row[0]), float(row[1]) * size) for row in rows)


def contract_size(market: Market) -> float:
    """Return the base units of one unit in which the venue counts amounts."""
    return float(market["contractSize"]) if market.get("contract") else 1.0
