"""ccxt's own conformance suite, as shipped in its wheel, against the sandbox: what it checks, and never on nothing.

The suite checks shapes only, and is content with empty answers: here every answer must also hold something. Its clock
is the venue's, so that "newer than now" means what it says.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import ccxt
import pytest

from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.server import SandboxServer

DAY = "2026-01-08"
"""A day on which the desk is short in both contracts: a long one of its size has no liquidation price at all."""

SYMBOLS = {"spot": "BTC/USDT", "swap": "SOL/USDT:USDT"}

BOTH = {
    "load_markets": (),
    "fetch_status": (),
    "fetch_balance": (),
    "fetch_ticker": ("symbol",),
    "fetch_tickers": ("symbol",),
    "fetch_order_book": ("symbol",),
    "fetch_l2_order_book": ("symbol",),
    "fetch_ohlcv": ("symbol",),
    "fetch_trades": ("symbol",),
    "fetch_my_trades": ("symbol",),
    "fetch_orders": ("symbol",),
    "fetch_open_orders": ("symbol",),
    "fetch_closed_orders": ("symbol",),
}
"""Modules of the suite, and what they are given."""

CONTRACTS = {
    "fetch_positions": ("symbol",),
    "fetch_funding_rate_history": ("symbol",),
    "fetch_leverage_tiers": ("symbol",),
    "fetch_market_leverage_tiers": ("symbol",),
    "fetch_ledger": ("code",),
}

RUNS = [*(("spot", name) for name in BOTH), *(("swap", name) for name in BOTH | CONTRACTS)]

NO_TIME = "Binance's spot book carries no time"
NOT_TOLD = "Binance's income carries neither account, balances, status nor fee"
NOT_LOOKED_AT: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("spot", "fetch_order_book"): {"timestamp": NO_TIME, "datetime": NO_TIME},
    ("spot", "fetch_l2_order_book"): {"timestamp": NO_TIME, "datetime": NO_TIME},
    ("swap", "fetch_positions"): {
        "collateral": "ccxt makes it from the liquidation price, of which a long that the wallet covers whole has none",
    },
    ("swap", "fetch_ledger"): {
        **dict.fromkeys(("account", "before", "after", "status", "fee"), NOT_TOLD),
        "type": "ccxt.binance calls Binance's COMMISSION a 'commission', a word that the suite does not know",
    },
}
"""Properties that the suite expects and the real venue, or ccxt's own parser of it, does not deliver."""

BY_ITEM = "the module wants what ccxt.binance does not return, here or anywhere: its validator is run on each item"
NOT_SERVED = "the sandbox does not serve it, and nothing of this project asks for it"
NOT_OF_THE_VENUE = "a test of ccxt itself, not of a venue"
NOT_RUN = {
    "fetch_markets": BY_ITEM,
    "fetch_currencies": BY_ITEM,
    "create_order": "from outside the sandbox takes resting orders only, and the module wants one filled",
    **dict.fromkeys(("after_construct", "features", "proxies", "sign_in"), NOT_OF_THE_VENUE),
    **dict.fromkeys(
        ("fetch_accounts", "fetch_liquidations", "fetch_order_books"), "ccxt.binance has no such method"
    ),
    **dict.fromkeys(
        (
            "fetch_borrow_interest", "fetch_deposit_withdrawals", "fetch_deposits", "fetch_last_prices",
            "fetch_ledger_entry", "fetch_margin_mode", "fetch_margin_modes", "fetch_my_liquidations",
            "fetch_open_interest_history", "fetch_trading_fee", "fetch_trading_fees", "fetch_transaction_fees",
            "fetch_transfers", "fetch_withdrawals",
        ),
        NOT_SERVED,
    ),
}  # fmt: skip
"""Modules that are not run, each with its reason."""


def suite(name: str) -> Callable[..., Any]:
    """Return one module's function; imported by name, because pytest would collect it as a test of this file."""
    return getattr(import_module(f"ccxt.test.exchange.sync.test_{name}"), f"test_{name}")


def validator(name: str) -> Callable[..., Any]:
    return getattr(import_module(f"ccxt.test.exchange.base.test_{name}"), f"test_{name}")


@dataclass(frozen=True)
class Venue:
    """The sandbox with one kind of market, at a moment at which an order of its symbol is working."""

    kind: str
    exchange: Any
    answers: dict[str, list[Any]]

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.kind]


def _working_at(desk: SandboxDesk, symbol: str) -> datetime:
    orders = [each for each in desk.simulate_day(DAY).children if each.symbol == symbol and each.kind == "LIMIT"]
    longest = max(orders, key=lambda each: each.updated_at - each.created_at)
    return longest.created_at + (longest.updated_at - longest.created_at) / 2


@pytest.fixture(scope="module", params=SYMBOLS)
def venue(request: pytest.FixtureRequest, desk: SandboxDesk, connect: Callable[..., Any]) -> Iterator[Venue]:
    """Each of the two hosts, as ccxt sees a venue that lists nothing else."""
    kind = request.param
    now = _working_at(desk, SYMBOLS[kind])
    with SandboxServer(7, lambda: now, desk=desk) as server:
        options = {
            "defaultType": kind,
            "fetchMarkets": {"types": ["spot" if kind == "spot" else "linear"]},
            "fetchCurrencies": True,
            "fetchMargins": False,
        }
        exchange = connect(server.base_url, options=options, timeout=20_000)
        # The suite's assertions on types want numbers, not decimal text.
        exchange.number = float
        exchange.milliseconds = lambda: int(now.timestamp() * 1000)
        exchange.has |= {each: each == kind for each in ("spot", "swap", "future", "option")}
        exchange.load_markets()
        answers: dict[str, list[Any]] = {}
        for name in {name for _, name in RUNS}:
            _keep_answers(exchange, name, answers.setdefault(name, []))
        yield Venue(kind, exchange, answers)


def _keep_answers(exchange: Any, name: str, answers: list[Any]) -> None:
    fetch = getattr(exchange, name)

    def kept(*arguments: Any, **named: Any) -> Any:
        answers.append(fetch(*arguments, **named))
        return answers[-1]

    setattr(exchange, name, kept)


@pytest.mark.parametrize(("venue", "name"), RUNS, indirect=["venue"])
def test_a_module_of_the_suite_passes_on_answers_that_hold_something(venue: Venue, name: str) -> None:
    asked = {"symbol": venue.symbol, "code": "USDT"}
    arguments = [asked[each] for each in (BOTH | CONTRACTS)[name]]
    # The suite asserts that lists are not empty when this key is present, whatever its error text says.
    unseen = {"emptyResponse": True, **NOT_LOOKED_AT.get((venue.kind, name), {})}
    suite(name)(venue.exchange, unseen, *arguments)
    assert venue.answers[name]
    assert all(venue.answers[name])


def test_every_module_of_the_suite_is_run_or_has_a_reason_not_to_be() -> None:
    package = import_module("ccxt.test.exchange.sync")
    shipped = {each.name.removeprefix("test_") for each in pkgutil.iter_modules(package.__path__)}
    run = {name for _, name in RUNS}
    assert run.isdisjoint(NOT_RUN)
    assert shipped == run | set(NOT_RUN)


# What the suite has only a validator for, or nothing: its validators where there are any, our own words where not.


def test_markets_and_currencies_are_valid_one_by_one(venue: Venue) -> None:
    markets = venue.exchange.fetch_markets()
    assert len(markets) == {"spot": 4, "swap": 3}[venue.kind]
    for each in markets:
        validator("market")(venue.exchange, {}, "fetchMarkets", each)
    currencies = venue.exchange.fetch_currencies()
    assert sorted(currencies) == ["BTC", "DOGE", "ETH", "SOL", "USDT"]
    for each in currencies.values():
        validator("currency")(venue.exchange, {}, "fetchCurrencies", each)


def test_the_best_bids_and_asks_are_valid_tickers(venue: Venue) -> None:
    tickers = venue.exchange.fetch_bids_asks()
    assert sorted(tickers) == sorted(venue.exchange.markets)
    for symbol, each in tickers.items():
        assert 0 < each["bid"] < each["ask"]
        assert each["symbol"] == symbol


def test_the_time_is_the_venues(venue: Venue) -> None:
    assert venue.exchange.fetch_time() == venue.exchange.milliseconds()


@pytest.mark.parametrize("venue", ["spot"], indirect=True)
def test_ccxt_has_no_ledger_of_a_spot_wallet(venue: Venue) -> None:
    with pytest.raises(ccxt.NotSupported, match="contract wallets only"):
        venue.exchange.fetch_ledger("USDT")


@pytest.mark.parametrize("venue", ["swap"], indirect=True)
def test_the_open_interest_is_valid(venue: Venue) -> None:
    interest = venue.exchange.fetch_open_interest(venue.symbol)
    assert interest["openInterestAmount"] > 0
    validator("open_interest")(venue.exchange, {}, "fetchOpenInterest", interest)


@pytest.mark.parametrize("venue", ["swap"], indirect=True)
def test_the_present_funding_rate_is_the_last_one_of_its_history(venue: Venue) -> None:
    rate = venue.exchange.fetch_funding_rate(venue.symbol)
    history = venue.exchange.fetch_funding_rate_history(venue.symbol)
    assert (rate["symbol"], rate["fundingRate"]) == (venue.symbol, history[-1]["fundingRate"])
    assert 0 < rate["fundingTimestamp"] - venue.exchange.milliseconds() <= 8 * 3_600_000
    assert rate["markPrice"] > 0
    assert rate["indexPrice"] > 0


@pytest.mark.parametrize("venue", ["swap"], indirect=True)
def test_the_funding_history_holds_what_the_desk_paid(venue: Venue, desk: SandboxDesk) -> None:
    paid = venue.exchange.fetch_funding_history(venue.symbol)
    now = datetime.fromtimestamp(venue.exchange.milliseconds() / 1000, UTC)
    legs = [
        leg
        for day in desk.days(datetime(2026, 1, 1, tzinfo=UTC), now)
        for leg in day.legs
        if leg.event.startswith(f"funding {venue.symbol}") and leg.holder == "futures" and leg.at <= now
    ]
    assert legs
    assert [each["amount"] for each in paid] == [float(leg.amount) for leg in legs]
    assert {each["code"] for each in paid} == {"USDT"}
    assert len({each["id"] for each in paid}) == len(paid)
