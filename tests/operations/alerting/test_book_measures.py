"""What the book holds and has just lost: against the simulated desk's own books, and on a few rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.execution.contracts import FILLS, POSITIONS
from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.operations.alerting.allotted import Allotted
from research_to_prod.operations.alerting.book_measures import BookDay
from research_to_prod.operations.alerting.day_context import context_of_day
from research_to_prod.operations.alerting.day_measures import observe_day
from research_to_prod.operations.alerting.evaluation import evaluate
from research_to_prod.sandbox.book import BOOK, OPENING
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan
from research_to_prod.sandbox.ledger import FundingPayment, Holder
from research_to_prod.sandbox.market import SandboxMarket
from tests.operations.alerting.book import POLICY
from tests.operations.alerting.test_day_measures import BTC, END, NONE, START, at, rows
from tests.reports.posture_book import profile

MINUTE = timedelta(minutes=1)
INVENTORY = next(amount for holder, coin, amount in OPENING if (holder, coin) == (Holder.SPOT, "BTC"))
ALLOTTED = {"momentum": Allotted(position_limit=300_000.0, loss_budget=3_000.0)}


def stated(hours: float, units: str, mark: str | None = "50000", **more: Any) -> dict[str, Any]:
    price = None if mark is None else Decimal(mark)
    return BTC | {"held_at": at(hours), "position": Decimal(units), "mark_price": price} | more


def filled(when: datetime, units: str, price: str, **more: Any) -> dict[str, Any]:
    side = -1 if units.startswith("-") else 1
    row = BTC | {"filled_at": when, "side": side, "quantity": abs(Decimal(units)), "price": Decimal(price)}
    return row | {"fee": Decimal(0), "fee_currency": "USDT"} | more


def mids(*given: tuple[datetime, float], symbol: str = "BTC/USDT") -> pa.Table:
    """Of `mids_at`, as if each had been asked for."""
    names = {name: pa.array([value] * len(given)) for name, value in (("venue", "sandbox"), ("symbol", symbol))}
    times = pa.array([when for when, _ in given], TIMESTAMP)
    return pa.table(names | {"asked_at": times, "quoted_at": times, "mid": [mid for _, mid in given]})


def book(positions: Sequence[dict[str, Any]], fills: Sequence[dict[str, Any]] = (), **more: Any) -> BookDay:
    day = BookDay(rows(POSITIONS, *positions), rows(FILLS, *fills), START, None, None, ALLOTTED, "USDT")
    return replace(day, **more)


def measured(day: BookDay, moment: datetime = END) -> dict[str, float | None]:
    return {each.metric: each.value for each in observe_day(replace(NONE, book=day), moment)}


def rules_that_fire(day: BookDay, moment: datetime = END) -> set[str]:
    observations = observe_day(replace(NONE, book=day), moment)
    context = context_of_day(moment, START, day.positions, None, profile(), "profile", (), 2e6)
    return {each.case.rule for each in evaluate(POLICY, observations, context, {}, moment).evaluations if each.known}


class TestLimit:
    def test_what_is_held_is_the_last_statement_and_the_fills_since(self) -> None:
        day = book([stated(1, "9"), stated(23, "2")], [filled(at(22), "5", "1"), filled(at(23.9), "1", "50000")])
        day = replace(day, mids=mids((END - MINUTE, 50_000.0)))
        assert measured(day)["limit_use"] == pytest.approx(0.5)
        assert measured(day, at(23.5))["limit_use"] is None  # its only mark is of half an hour before, or of later

    def test_a_fill_at_the_instant_of_a_statement_is_in_it(self) -> None:
        assert measured(book([stated(24, "2")], [filled(END, "1", "50000")]))["limit_use"] == pytest.approx(1 / 3)

    def test_long_and_short_add_up(self) -> None:
        eth = {"symbol": "ETH/USDT:USDT"}
        day = book([stated(24, "2"), stated(24, "-50", "1000", **eth)])
        assert measured(day)["limit_use"] == pytest.approx(0.5)

    @pytest.mark.parametrize(
        "unknown",
        [
            [stated(24, "2", None)],
            [stated(24, "2"), stated(24, "1", symbol="ETH/USDC")],
            [stated(24, "100", symbol="BTC/USD:BTC")],
            [stated(24, "2"), stated(20, "1", symbol="ETH/USDT")],
        ],
    )
    def test_one_part_without_a_value_makes_the_whole_unknown(self, unknown: list[dict[str, Any]]) -> None:
        assert measured(book(unknown))["limit_use"] is None

    def test_a_market_that_is_flat_needs_no_price(self) -> None:
        assert measured(book([stated(24, "2"), stated(24, "0", None, symbol="ETH/USDC")]))["limit_use"] is not None

    def test_trades_without_a_statement_are_a_position_that_nobody_knows(self) -> None:
        day = book([], [filled(at(20), "1", "50000")], mids=mids((END - MINUTE, 50_000.0)), since=at(19))
        assert set(measured(day).values()) == {None}

    def test_a_limit_of_nothing_is_exceeded_by_whatever_is_held_and_by_nothing_else(self) -> None:
        none = {"momentum": Allotted(0.0, None)}
        assert measured(book([stated(24, "2")], allotted=none))["limit_use"] == 100_000
        assert measured(book([stated(24, "0")], allotted=none))["limit_use"] == 0
        assert measured(book([stated(24, "2")], allotted={}))["limit_use"] is None


class TestLoss:
    """Long two coins since the morning; the mark is 50,000 at every full hour."""

    def day(self, *fills: dict[str, Any], last: float = 49_400.0, **more: Any) -> BookDay:
        marks = mids((at(23) - MINUTE, 50_000.0), (END - 6 * MINUTE, 50_000.0), (END - MINUTE, last))
        return book([stated(0, "2")], fills, **{"mids": marks, **more})

    def test_the_loss_of_each_window_is_a_share_of_the_day_s_budget(self) -> None:
        found = measured(self.day())
        assert [found[f"loss_share_{window}"] for window in ("5m", "1h", "day")] == [pytest.approx(0.4)] * 3

    def test_a_gain_is_no_loss(self) -> None:
        assert measured(self.day(last=51_000.0))["loss_share_1h"] == 0

    def test_each_fill_counts_from_its_own_price_and_pays_its_fee(self) -> None:
        bought = filled(END - 3 * MINUTE, "1", "49900", fee=Decimal(100))
        # Two coins lost 600 each, the third 500, and the fee.
        assert measured(self.day(bought))["loss_share_5m"] == pytest.approx((1_200 + 500 + 100) / 3_000)
        sold = filled(END - 3 * MINUTE, "-2", "49900")
        assert measured(self.day(sold))["loss_share_5m"] == pytest.approx(200 / 3_000)

    def test_a_fee_in_the_coin_is_a_smaller_position(self) -> None:
        bought = filled(END - 3 * MINUTE, "1", "49400", fee=Decimal("0.01"), fee_currency="BTC")
        assert measured(self.day(bought))["loss_share_5m"] == pytest.approx((1_200 + 494) / 3_000)

    def test_a_fee_in_a_coin_without_a_price_makes_it_unknown(self) -> None:
        paid = filled(END - 3 * MINUTE, "1", "49400", fee=Decimal("0.01"), fee_currency="BNB")
        assert measured(self.day(paid))["loss_share_5m"] is None
        assert measured(self.day(paid | {"fee": Decimal(0)}))["loss_share_5m"] == pytest.approx(0.4)

    def test_a_position_that_no_fill_explains_makes_it_unknown(self) -> None:
        lost = book([stated(0, "2"), stated(23.9, "3")], mids=self.day().mids)
        assert measured(lost)["loss_share_1h"] is None
        assert measured(lost)["limit_use"] is not None
        found = book([stated(0, "2"), stated(23.9, "3")], [filled(at(23.5), "1", "50000")], mids=self.day().mids)
        assert measured(found)["loss_share_1h"] is not None

    @pytest.mark.parametrize(
        ("seconds", "said", "share"),
        [(1, "3", 1_100 / 3_000), (2, "3", None), (-1, "2", 1_100 / 3_000), (-2, "2", None)],
    )
    def test_a_fill_that_either_clock_may_put_before_a_statement_explains_it(
        self, seconds: int, said: str, share: float | None
    ) -> None:
        """Bought at 49,300 just after a statement that has it, or just before one that has it not."""
        moment = END - 3 * MINUTE
        positions = [stated(0, "2"), stated(0, said, held_at=moment), stated(0, "3", held_at=END - MINUTE)]
        day = book(positions, [filled(moment + timedelta(seconds=seconds), "1", "49300")], mids=self.day().mids)
        assert measured(day)["loss_share_5m"] == (None if share is None else pytest.approx(share))

    @pytest.mark.parametrize(("seconds", "share"), [(1, 1_800 / 3_000), (2, None)])
    def test_a_fill_that_the_statement_before_the_start_has_is_not_counted_again(
        self, seconds: int, share: float | None
    ) -> None:
        early = END - 7 * MINUTE
        positions = [stated(0, "3", held_at=early), *(stated(0, "3", held_at=END - n * MINUTE) for n in (3, 2, 1))]
        day = book(positions, [filled(early + timedelta(seconds=seconds), "1", "50000")], mids=self.day().mids)
        assert measured(day)["loss_share_5m"] == (None if share is None else pytest.approx(share))

    def test_a_small_fill_near_a_statement_does_not_hide_a_large_one_that_is_missing(self) -> None:
        early = END - 7 * MINUTE
        positions = [stated(0, "2", held_at=early), *(stated(0, "3", held_at=END - n * MINUTE) for n in (3, 2, 1))]
        day = book(positions, [filled(early, "0.1", "50000")], mids=self.day().mids)
        assert measured(day)["loss_share_5m"] is None

    def test_hourly_bars_are_too_coarse_for_five_minutes(self) -> None:
        bars = [
            {"venue": "sandbox", "symbol": "BTC/USDT", "timeframe": "1h", "ts": at(hour), "close": close}
            for hour, close in ((-1, 50_000.0), (22, 50_000.0), (23, 49_400.0), (24, 1.0))
        ]
        found = measured(self.day(mids=None, candles=rows(CANDLES, *bars)))
        assert (found["loss_share_1h"], found["loss_share_day"]) == (pytest.approx(0.4), pytest.approx(0.4))
        assert found["loss_share_5m"] is None

    def test_a_day_s_marks_are_no_older_than_an_hour_s(self) -> None:
        for minutes, known in ((12, True), (13, False)):
            late = self.day(mids=mids((END - minutes * MINUTE, 49_400.0)))
            assert (measured(late)["loss_share_day"] is not None) is known

    def test_a_first_statement_within_the_day_is_followed_back_through_its_fills(self) -> None:
        marks = mids((START - MINUTE, 50_000.0), (END - MINUTE, 49_000.0))
        late = book([stated(6, "3")], [filled(at(5), "1", "50000")], mids=marks)
        assert measured(late)["loss_share_day"] == pytest.approx(1)
        assert measured(replace(late, since=at(4)))["loss_share_day"] is None

    def test_what_happens_after_the_moment_is_not_known_at_it(self) -> None:
        day = self.day(filled(at(23.5), "100", "90000"))
        assert measured(day, at(23)) == measured(self.day(), at(23))


def minutely(prices: Sequence[float]) -> pa.Table:
    """A mid a minute, the last of them a second before the day's end."""
    last = END - timedelta(seconds=1)
    return mids(*((last - (len(prices) - 1 - each) * MINUTE, price) for each, price in enumerate(prices)))


class TestWhatTheMarketMakes:
    """The loss of an hour, and one deviation of what the market did in it to what was held: two coins all day."""

    def seen(self, prices: Sequence[float], *fills: dict[str, Any]) -> tuple[float | None, float | None]:
        day = book([stated(0, "2")], fills, mids=minutely(prices))
        (found,) = [each for each in observe_day(replace(NONE, book=day), END) if each.metric == "loss_1h"]
        return found.value, found.usual

    def test_a_deviation_is_the_root_of_the_minutes_squares_and_a_loss_is_money(self) -> None:
        steps = [(-1) ** each * 10.0 for each in range(60)]
        loss, deviation = self.seen([50_000.0 + sum(steps[:each]) for each in range(61)])
        assert deviation == pytest.approx(2 * 10 * 60**0.5)
        assert loss == 0

    def test_what_is_traded_counts_from_its_minute_on(self) -> None:
        halved = filled(END - 30 * MINUTE - timedelta(seconds=30), "-1", "50000")
        prices = [50_000.0 + 10 * (each % 2) for each in range(62)]
        deviation = self.seen(prices, halved)[1]
        assert deviation == pytest.approx((31 * 20**2 + 29 * 10**2) ** 0.5, rel=0.02)

    def test_what_was_paid_away_is_a_loss_that_the_market_did_not_make(self) -> None:
        """Buying and selling at 100 dollars' loss a minute, in a market that stands nearly still."""
        churned = [
            filled(END - each * MINUTE - timedelta(seconds=30), units, price)
            for each in range(1, 31)
            for units, price in (("1", "50050"), ("-1", "49950"))
        ]
        loss, deviation = self.seen([50_000.0 + each % 2 for each in range(62)], *churned)
        assert loss == pytest.approx(3_000, abs=5)
        assert deviation is not None
        assert deviation < 20

    @given(st.lists(st.floats(-200, 200), min_size=60, max_size=60))
    def test_no_market_moves_further_than_the_root_of_its_steps_in_deviations(self, steps: list[float]) -> None:
        prices = [50_000.0, *(50_000.0 + sum(steps[: each + 1]) for each in range(60))]
        loss, deviation = self.seen([50_000.0, *prices])
        assert loss is not None
        assert deviation is not None
        assert loss <= 60**0.5 * deviation + 1e-3

    def test_with_marks_in_fewer_than_half_of_the_minutes_it_is_not_known(self) -> None:
        rare = mids(*((END - timedelta(seconds=1) - each * MINUTE, 50_000.0) for each in range(0, 63, 3)))
        day = book([stated(0, "2")], mids=rare)
        (found,) = [each for each in observe_day(replace(NONE, book=day), END) if each.metric == "loss_1h"]
        assert (found.value, found.usual) == (0.0, None)

    def test_nothing_held_is_moved_by_nothing(self) -> None:
        day = book([stated(0, "0")])
        (found,) = [each for each in observe_day(replace(NONE, book=day), END) if each.metric == "loss_1h"]
        assert (found.value, found.usual) == (0.0, 0.0)


@pytest.fixture(scope="module")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7), (BOOK[0], BOOK[3]), FaultPlan())


class TestSimulatedDesk:
    """A day of the simulated desk's spot and perpetual strategies, whose double-entry books are the truth."""

    def equity(self, desk: SandboxDesk, symbol: str, now: datetime) -> float:
        """Money and coins of one strategy, valued at the simulated market's own mid; funding taken out."""
        day = desk.simulate_day("2026-01-01")
        books = day.books_at(now)
        mid = desk.market.mid(symbol, [int(now.timestamp() * 1e6)])[0]  # type: ignore[arg-type]
        if ":" not in symbol:
            return (
                float(books.balance(Holder.SPOT, "USDT")) + float(books.balance(Holder.SPOT, "BTC") - INVENTORY) * mid
            )
        held, cost = books.balance(Holder.CONTRACTS, symbol), books.entry_costs.get(symbol, Decimal(0))
        return float(books.balance(Holder.FUTURES, "USDT") - cost) + float(held) * mid

    @pytest.mark.parametrize("entry", [BOOK[0], BOOK[3]], ids=lambda entry: entry.strategy_id)
    def test_each_hour_s_loss_is_what_the_books_say(self, desk: SandboxDesk, entry: Any) -> None:
        start, (symbol,) = datetime(2026, 1, 1, tzinfo=START.tzinfo), entry.symbols
        drops = desk.deliveries("2026-01-01")
        allotted = {entry.strategy_id: Allotted(None, 1.0)}
        day = BookDay(drops["positions"], drops["fills"], start, None, None, allotted, "USDT")
        funded = [each.at for each in desk.simulate_day("2026-01-01").events if isinstance(each, FundingPayment)]
        seen = []
        for hour in range(1, 24):
            now = start + timedelta(hours=hour)
            if not any(now - timedelta(hours=1) < paid <= now for paid in funded):
                found = [
                    each.value
                    for each in observe_day(replace(NONE, book=day), now)
                    if each.metric == "loss_share_1h" and each.subject.strategy == entry.strategy_id
                ]
                lost = self.equity(desk, symbol, now - timedelta(hours=1)) - self.equity(desk, symbol, now)
                assert found == [pytest.approx(max(0.0, lost), rel=1e-6, abs=1e-3)], hour
                seen.append(lost)
        assert sum(lost > 100 for lost in seen) >= 5
        assert drops["fills"].num_rows > 50


class TestFaults:
    """One fault fires exactly its rule; the same day without it stays calm."""

    def day(
        self, fills: Iterable[dict[str, Any]] = (), fall: float = 0.0, minutes: int = 60, ended: int = 0
    ) -> BookDay:
        """Two coins in a market that stands nearly still, but for a fall in equal steps that ended minutes ago."""
        steps = [60 - ended - minutes < each <= 60 - ended for each in range(61)]
        prices = [50_000.0 + each % 2 - fall * sum(steps[: each + 1]) / minutes for each in range(61)]
        return book([stated(0, "2")], list(fills), mids=minutely(prices))

    def test_an_order_of_ten_times_its_size_exceeds_the_limit(self) -> None:
        for units, fires in (("0.5", set()), ("5", {"exposure_limit"})):
            assert rules_that_fire(self.day([filled(at(23.99), units, "50000")])) == fires

    def test_a_fall_that_goes_on_burns_the_day_s_budget(self) -> None:
        assert rules_that_fire(self.day(fall=400)) == set()
        assert rules_that_fire(self.day(fall=600, minutes=40)) == {"drawdown_burn"}

    def test_a_fall_that_has_ended_is_over(self) -> None:
        assert rules_that_fire(self.day(fall=600, minutes=40, ended=6)) == set()

    def test_a_jump_is_the_market_s_and_money_paid_away_is_not(self) -> None:
        """1,200 of a budget of 3,000: once the market's in two steps, once what buying high and selling low costs."""
        assert rules_that_fire(self.day(fall=600, minutes=2)) == set()
        churned = [
            filled(END - each * MINUTE - timedelta(seconds=30), units, price)
            for each in range(12)
            for units, price in (("1", "50050"), ("-1", "49950"))
        ]
        assert rules_that_fire(self.day(churned)) == {"drawdown_burn"}
