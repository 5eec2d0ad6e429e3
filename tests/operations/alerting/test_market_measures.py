"""What prices say: a venue against the others, a coin against its dollar, a basis against its hour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import duckdb
import pytest

from research_to_prod.execution.contracts import QUOTES
from research_to_prod.market_data.contracts import CANDLES, TRADES
from research_to_prod.operations.alerting.day_measures import observe_day
from research_to_prod.operations.alerting.evaluation import Key, Observation, State, evaluate
from research_to_prod.operations.alerting.market_measures import MarketDay, market_of, observe_market
from tests.operations.alerting.book import POLICY, context
from tests.operations.alerting.test_day_measures import END, NONE, at, rows

MINUTE = timedelta(minutes=1)
VIEWS = {"quotes": QUOTES, "trades": TRADES, "candles": CANDLES}


def quote(venue: str, symbol: str, when: datetime, mid: float, **more: Any) -> dict[str, Any]:
    row = {"venue": venue, "symbol": symbol, "quoted_at": when, "received_at": when, "bid": mid, "ask": mid}
    return row | {"bid": mid * (1 - 1e-6), "ask": mid * (1 + 1e-6)} | more


def read(moment: datetime = END, **tables: Sequence[dict[str, Any]]) -> MarketDay:
    with duckdb.connect() as connection:
        for name, given in tables.items():
            connection.register(name, rows(VIEWS[name], *given))
        return market_of(connection, list(tables), [moment - timedelta(hours=1), moment])


def measured(moment: datetime = END, **tables: Sequence[dict[str, Any]]) -> dict[tuple[str, str], Observation]:
    found = observe_day(replace(NONE, market=read(moment, **tables)), moment)
    return {(each.metric, str(each.subject)): each for each in found}


def rules_that_fire(tables: Iterable[tuple[datetime, dict[str, Sequence[dict[str, Any]]]]]) -> set[str]:
    """The rules that fire for something seen, after these looks in turn."""
    states: dict[Key, State] = {}
    firing: set[str] = set()
    for moment, given in tables:
        result = evaluate(POLICY, measured(moment, **given).values(), context(), states, moment)
        states = dict(result.states)
        firing = {each.case.rule for each in result.evaluations if each.known}
    return firing


LOOKS = (at(23), END)


def minutes_before(moment: datetime, count: int = 5) -> list[datetime]:
    return [moment - number * MINUTE for number in range(count, 0, -1)]


class TestVenues:
    """Three venues quote a market each minute; one may be off."""

    def quotes(self, moment: datetime, **off: float) -> list[dict[str, Any]]:
        return [
            quote(venue, "BTC/USDT", when, 50_000 * (1 + off.get(venue, 0.0) / 1e4))
            for venue, when in product("abc", minutes_before(moment))
        ]

    def test_each_is_held_against_the_median_of_the_others(self) -> None:
        found = measured(quotes=self.quotes(END, c=30.0))
        assert found["mid_deviation", "c BTC/USDT"].value == pytest.approx(30)
        assert found["mid_deviation", "a BTC/USDT"].value == pytest.approx(15, rel=1e-2)
        assert found["mid_deviation", "a BTC/USDT"].count == 2

    def test_of_two_venues_nobody_can_say_which_is_wrong(self) -> None:
        two = [each for each in self.quotes(END, c=30.0) if each["venue"] != "a"]
        assert {each.value for each in measured(quotes=two).values() if each.metric == "mid_deviation"} == {None}

    def test_a_mid_that_is_older_than_a_minute_or_crossed_is_none(self) -> None:
        for spoilt in ({"quoted_at": END - 2 * MINUTE}, {"ask": 1.0}):
            last = [each | (spoilt if each["venue"] == "c" else {}) for each in self.quotes(END)[4::5]]
            found = measured(quotes=last)
            assert {each.value for each in found.values() if each.metric == "mid_deviation"} == {None}, spoilt

    def test_a_market_that_is_not_quoted_any_more_is_not_measured(self) -> None:
        assert measured(quotes=self.quotes(at(23))) == {}

    def test_nothing_from_the_moment_on_is_used(self) -> None:
        later = [*self.quotes(END, c=30.0), quote("c", "BTC/USDT", END, 50_000)]
        assert measured(quotes=later)["mid_deviation", "c BTC/USDT"].value == pytest.approx(30)

    def test_one_venue_that_is_off_fires_its_rule_and_no_other(self) -> None:
        assert rules_that_fire((look, {"quotes": self.quotes(look)}) for look in LOOKS) == set()
        assert rules_that_fire((look, {"quotes": self.quotes(look, c=45.0)}) for look in LOOKS) == {"md_invalid"}


class TestCoins:
    """Venues trade a coin against the dollar, or a coin and a dollar market of bitcoin."""

    def direct(self, price: float, venues: str = "abc", moment: datetime = END) -> list[dict[str, Any]]:
        return [quote(venue, "USDT/USD", when, price) for venue, when in product(venues, minutes_before(moment))]

    def test_a_coin_is_worth_the_median_of_its_venues(self) -> None:
        quotes = [*self.direct(0.997, "ab"), *self.direct(0.9, "c")]
        found = measured(quotes=quotes)["peg_deviation", "USDT"]
        assert (found.value, found.count) == (pytest.approx(30), 3)

    def test_above_a_dollar_is_off_as_well(self) -> None:
        assert measured(quotes=self.direct(1.003))["peg_deviation", "USDT"].value == pytest.approx(30)

    def test_bitcoin_in_dollars_and_in_the_coin_say_the_same_minute_by_minute(self) -> None:
        # Bitcoin falls by a percent within the window: ratios of other minutes would show that, and not the coin.
        path = [50_000 * (1 - 0.002 * number) for number in range(5)]
        quotes = [
            quote("a", symbol, when, price / peg)
            for when, price in zip(minutes_before(END), path, strict=True)
            for symbol, peg in (("BTC/USD", 1.0), ("BTC/USDT", 0.995))
        ]
        found = measured(quotes=quotes)["peg_deviation", "USDT"]
        assert (found.value, found.count) == (pytest.approx(50), 1)
        late = [each for each in quotes if (each["symbol"] == "BTC/USD") == (each["quoted_at"] < END - 2 * MINUTE)]
        assert ("peg_deviation", "USDT") not in measured(quotes=late)

    def test_a_market_of_the_coin_goes_before_what_others_imply(self) -> None:
        implied = [quote("a", symbol, END - MINUTE, price) for symbol, price in (("BTC/USD", 1.0), ("BTC/USDT", 2.0))]
        found = measured(quotes=[*self.direct(0.999, "a"), *implied])["peg_deviation", "USDT"]
        assert found.value == pytest.approx(10)

    def test_trades_and_bars_count_where_nothing_is_quoted(self) -> None:
        trade = {"venue": "b", "symbol": "USDC/USD", "ts": END - MINUTE, "price": 0.998}
        bar = {"venue": "c", "symbol": "USDC/USD", "timeframe": "1h", "ts": at(23), "close": 0.996}
        quotes = [quote("a", "USDC/USD", END - MINUTE, 0.997), quote("d", "USDC/USD", END - 6 * MINUTE, 0.5)]
        found = measured(quotes=quotes, trades=[trade, trade | {"venue": "a", "price": 0.1}], candles=[bar])
        assert found["peg_deviation", "USDC"].value == pytest.approx(30)
        assert found["peg_deviation", "USDC"].count == 3

    def test_perpetuals_and_coins_that_promise_nothing_say_nothing_of_a_peg(self) -> None:
        symbols = ("USDT/USD:USD", "ETH/BTC", "BTC/USD", "ETH/USD", "USDC/USDT")
        given = read(quotes=[quote("a", symbol, END - MINUTE, 0.9) for symbol in symbols])
        found = [each for each in observe_market(given, END) if each.metric == "peg_deviation"]
        assert [each.subject.key for each in found] == ["USD"]
        assert given.minutes is not None
        assert set(given.minutes["symbol"].to_pylist()) == {*symbols[1:]}

    def test_what_comes_at_the_moment_or_ends_after_it_is_not_known(self) -> None:
        later = [
            {"venue": "b", "symbol": "USDT/USD", "timeframe": "1h", "ts": END - 30 * MINUTE, "close": 0.5},
            {"venue": "c", "symbol": "USDT/USD", "timeframe": "4h", "ts": at(22), "close": 0.5},
        ]
        quotes = [*self.direct(0.999, "a"), quote("d", "USDT/USD", END, 0.5)]
        trades = [{"venue": "e", "symbol": "USDT/USD", "ts": END, "price": 0.5}]
        found = measured(quotes=quotes, trades=trades, candles=later)["peg_deviation", "USDT"]
        assert (found.value, found.count) == (pytest.approx(10), 1)

    def test_a_dollar_is_a_dollar(self) -> None:
        quotes = [quote("a", "BTC/USD", END - MINUTE, 50_000)]
        assert measured(quotes=quotes)["peg_deviation", "USD"].value == 0

    def test_a_coin_that_leaves_its_dollar_fires_its_rule_and_no_other(self) -> None:
        assert rules_that_fire([(END, {"quotes": self.direct(0.9995)})]) == set()
        assert rules_that_fire([(END, {"quotes": self.direct(0.994)})]) == {"depeg"}
        assert rules_that_fire([(END, {"quotes": self.direct(0.994, "ab")})]) == set()


class TestBasis:
    """Four weeks and a day of hourly bars, of which the perpetual's close varies around 3 bp above spot."""

    def candles(self, moment: datetime = END, days: int = 28, **changes: float) -> list[dict[str, Any]]:
        opens = [moment - timedelta(hours=number) for number in range(24 * days, 0, -1)]
        usual = [3 + number % 5 * 0.5 for number in range(len(opens))]
        if "last" in changes:
            usual[-1] = changes["last"]
        bar = {"venue": "a", "timeframe": "1h"}
        spot = [bar | {"symbol": "BTC/USDT", "ts": when, "close": 100.0} for when in opens]
        return spot + [
            bar | {"symbol": "BTC/USDT:USDT", "ts": when, "close": 100 * (1 + bp / 1e4)}
            for when, bp in zip(opens, usual, strict=True)
        ]

    def z(self, candles: Sequence[dict[str, Any]], moment: datetime = END) -> float | None:
        return measured(moment, candles=candles)["basis_z", "a BTC/USDT:USDT"].value

    def test_the_distance_is_standardised_by_the_median_and_deviation_of_its_hour(self) -> None:
        # Of the 27 earlier days at this hour the distances are 3 to 5 in steps of a half: median 4, deviation a half.
        assert self.z(self.candles(last=20.0)) == pytest.approx((20 - 4) / (1.4826 * 0.5))
        assert self.z(self.candles(last=-20.0)) == pytest.approx((20 - 4) / (1.4826 * 0.5))

    def test_other_hours_say_nothing_of_this_one(self) -> None:
        wild = [
            each | ({"close": 150.0} if ":" in each["symbol"] and each["ts"].hour != 23 else {})
            for each in self.candles(last=20.0)
        ]
        assert self.z(wild) == pytest.approx((20 - 4) / (1.4826 * 0.5))

    def test_an_hour_that_was_seen_too_rarely_or_never_moves_has_no_scale(self) -> None:
        assert self.z(self.candles(days=24)) is None
        flat = [each | {"close": 100.0} for each in self.candles()]
        assert self.z(flat) is None

    def test_bars_that_had_not_ended_and_bars_of_another_market_are_not_looked_at(self) -> None:
        candles = self.candles(last=20.0)
        assert self.z(candles, END - timedelta(hours=1)) == pytest.approx((3 - 4) / (1.4826 * 0.5))
        half_an_hour_on = self.candles(END + timedelta(hours=1), last=90.0)
        assert self.z(half_an_hour_on, END + 30 * MINUTE) == self.z(half_an_hour_on, END)
        filled = [each | {"repair": "from_b"} for each in candles]
        assert ("basis_z", "a BTC/USDT:USDT") not in measured(candles=filled)

    def test_a_basis_that_stopped_hours_ago_is_not_this_hour_s(self) -> None:
        assert ("basis_z", "a BTC/USDT:USDT") not in measured(END + timedelta(hours=2), candles=self.candles())

    def test_of_two_timeframes_the_finer_counts(self) -> None:
        coarse = [each | {"timeframe": "4h"} for each in self.candles(last=90.0) if each["ts"].hour % 4 == 0]
        assert self.z([*coarse, *self.candles(last=20.0)]) == self.z(self.candles(last=20.0))

    def test_bars_of_another_season_are_no_bars(self) -> None:
        assert measured(END + timedelta(days=90), candles=self.candles()) == {}

    def test_a_perpetual_that_parts_from_spot_fires_its_rule_and_no_other(self) -> None:
        assert rules_that_fire((look, {"candles": self.candles(look)}) for look in LOOKS) == set()
        assert rules_that_fire((look, {"candles": self.candles(look, last=30.0)}) for look in LOOKS) == {"basis"}


def test_the_order_of_rows_changes_nothing() -> None:
    quotes = [quote("a", "USDT/USD", END - MINUTE, 0.99 + number / 1e3, sequence=number) for number in range(5)]
    trades = [
        {"venue": "b", "symbol": "USDT/USD", "ts": END - MINUTE, "price": 0.99 + n / 1e3, "row": n} for n in range(5)
    ]
    assert read(quotes=quotes, trades=trades) == read(quotes=quotes[::-1], trades=trades[::-1])
