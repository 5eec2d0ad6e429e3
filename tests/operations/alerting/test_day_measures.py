"""What the lake's daily tables say: each measurement on a few rows, and nothing from what happened later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from research_to_prod.attribution.contracts import SLIPPAGE
from research_to_prod.attribution.pnl_contracts import SHADOW
from research_to_prod.execution.contracts import INBOX_KINDS, VENUE_FILLS
from research_to_prod.lake import Schema
from research_to_prod.market_data.calendars import Calendar
from research_to_prod.market_data.contracts import (
    CANDLES,
    FETCH_CERTIFICATES,
    FUNDING_RATES,
    LIQUIDITY_METRICS,
    LIQUIDITY_PROFILE,
    TRADES,
)
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.day_context import context_of_day
from research_to_prod.operations.alerting.day_measures import DayTables, before, events_seen, observe_day
from research_to_prod.operations.alerting.rules import Per
from research_to_prod.operations.alerting.situation import Subject

START = datetime(2026, 1, 6, tzinfo=UTC)
END = START + timedelta(days=1)
NONE = DayTables(*([None] * 10), lags={})  # type: ignore[arg-type]
BTC = {"venue": "sandbox", "symbol": "BTC/USDT", "strategy": "momentum"}
_ZERO: dict[pa.DataType, Any] = {pa.string(): "x", pa.int64(): 0, pa.float64(): 0.0, pa.bool_(): False}


def rows(schema: Schema, *given: dict[str, Any]) -> pa.Table:
    """Rows of a table with only what matters said; the rest is null, or nothing in particular."""
    filled = []
    for number, row in enumerate(given):
        base: dict[str, Any] = {}
        for column in schema.columns:
            default = Decimal(0) if pa.types.is_decimal(column.type) else _ZERO.get(column.type, START)
            base[column.name] = None if column.nullable else [] if pa.types.is_list(column.type) else default
        filled.append(
            base | {name: str(number) for name in schema.key if schema.arrow.field(name).type == pa.string()} | row
        )
    return pa.Table.from_pylist(filled, schema=schema.arrow)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def measured(moment: datetime = END, **tables: Any) -> dict[tuple[str, str], float | None]:
    """The values by metric and subject."""
    return {(o.metric, str(o.subject)): o.value for o in observe_day(replace(NONE, **tables), moment)}


def orders(*given: dict[str, Any]) -> pa.Table:
    return rows(INBOX_KINDS["orders"], *(BTC | {"side": 1} | each for each in given))


def test_without_tables_nothing_is_measured() -> None:
    assert observe_day(NONE, END) == []


def seen(moment: datetime, quotes: Sequence[dict[str, Any]], trades: Sequence[dict[str, Any]] = ()) -> pa.Table:
    with duckdb.connect() as connection:
        for name, table in (("quotes", rows(INBOX_KINDS["quotes"], *quotes)), ("trades", rows(TRADES, *trades))):
            connection.register(name, table)
        return events_seen(connection, moment)


def quote(hours: float, bid: float = 1.0, ask: float = 2.0) -> dict[str, Any]:
    return BTC | {"quoted_at": at(hours), "received_at": at(hours), "bid": bid, "ask": ask}


def test_a_market_s_age_counts_from_its_newest_quote_or_trade_and_is_judged_by_its_usual_gap() -> None:
    quotes = [quote(hour) for hour in (1, 2, 3, 7)]
    table = seen(at(6), quotes, [BTC | {"ts": at(4.5)}])
    assert table.to_pylist() == [
        {"venue": "sandbox", "symbol": "BTC/USDT", "newest": at(4.5), "usual_gap": 3600.0, "crossed": 0.0}
    ]
    assert measured(at(6), seen=table)["market_data_age", "sandbox BTC/USDT"] == 1.5 * 3600


def test_a_finished_day_is_judged_the_same_once_the_next_one_was_delivered() -> None:
    day, next_day = [quote(22), quote(23)], [quote(24), quote(25)]
    trades = [BTC | {"ts": at(hour)} for hour in (23.5, 24)]
    assert seen(END, [*day, *next_day], trades) == seen(END, day, trades[:1])


def test_quotes_count_as_crossed_from_the_last_sane_one_on() -> None:
    quotes = [quote(1), quote(2, bid=3.0), quote(3, bid=3.0)]
    assert measured(at(3.5), seen=seen(at(3.5), quotes))["book_crossed", "sandbox BTC/USDT"] == 2.5 * 3600
    assert measured(at(3.5), seen=seen(at(3.5), [*quotes, quote(3.2)]))["book_crossed", "sandbox BTC/USDT"] == 0


def bars(*hours: float, symbol: str = "BTC/USDT", close: float = 100.0) -> list[dict[str, Any]]:
    return [{"venue": "sandbox", "symbol": symbol, "timeframe": "1h", "ts": at(h), "close": close} for h in hours]


def test_a_missing_bar_is_as_old_as_the_time_since_it_should_have_ended() -> None:
    whole = bars(*range(-1, 24))
    assert measured(candles=rows(CANDLES, *whole))["market_data_gap", "sandbox BTC/USDT"] == 0
    hole = [each for each in whole if each["ts"] != at(20)]
    assert measured(candles=rows(CANDLES, *hole))["market_data_gap", "sandbox BTC/USDT"] == 3 * 3600
    assert ("market_data_gap", "sandbox BTC/USDT") not in measured(candles=rows(CANDLES, *bars(22, 23)))


def test_perpetual_and_spot_are_held_against_each_other_on_one_bar_only() -> None:
    perp = bars(23, symbol="BTC/USDT:USDT", close=101.0)
    assert measured(candles=rows(CANDLES, *bars(23), *perp))["basis", "sandbox BTC/USDT:USDT"] == pytest.approx(100)
    assert measured(candles=rows(CANDLES, *bars(22), *perp)) == {}


def test_an_order_without_an_answer_is_as_old_as_it_is() -> None:
    table = orders(
        {"sent_at": at(23), "acknowledged_at": None, "ended_at": None},
        {"sent_at": at(1), "acknowledged_at": at(1), "ended_at": None},
    )
    assert measured(orders=table)["unknown_outcome_age", "sandbox"] == 3600
    assert measured(at(22), orders=table)["unknown_outcome_age", "sandbox"] == 0


def test_an_answer_that_came_later_was_not_known_before() -> None:
    table = orders({"sent_at": at(22), "acknowledged_at": at(23.5), "ended_at": None})
    assert measured(at(23), orders=table)["unknown_outcome_age", "sandbox"] == 3600
    assert measured(END, orders=table)["unknown_outcome_age", "sandbox"] == 0


def test_rejections_are_counted_over_a_quarter_of_an_hour() -> None:
    late = [{"sent_at": at(23.9), "ended_at": at(23.9), "end_reason": reason} for reason in ("rejected", "filled")]
    early = {"sent_at": at(3), "ended_at": at(3), "end_reason": "rejected"}
    (found,) = [o for o in observe_day(replace(NONE, orders=orders(*late, early)), END) if o.metric == "reject_rate"]
    assert (found.value, found.count) == (0.5, 2)


def test_slippage_is_held_against_what_the_model_charges() -> None:
    cost = {"strategy": "momentum", "symbol": "BTC/USDT", "ended_at": at(5)}
    paid = [cost | {"total_bps_of_executed_value": bps, "total": bps} for bps in (11.0, 13.0, 70.0)]
    model = {"strategy": "momentum", "symbol": "BTC/USDT", "cost_rate": Decimal("0.0002"), "fee_rate": Decimal("0.001")}
    tables = {"slippage": rows(SLIPPAGE, *paid), "shadow": rows(SHADOW, model | {"day": "2026-01-05"})}
    found = measured(**tables)
    assert found["slippage_z", "momentum"] == pytest.approx(19.333 / (33.501 / 3**0.5), rel=1e-3)
    assert found["worst_fill_loss", "momentum"] == 70
    assert measured(at(4), **tables) == {}


def test_incomplete_fetches_are_told_by_venue() -> None:
    proof = {"venue": "sandbox", "interval_end": END}
    certificates = rows(
        FETCH_CERTIFICATES, proof | {"scope": "B", "complete": False}, proof | {"scope": "A", "complete": True}
    )
    assert measured(certificates=certificates)["incomplete_fetches", "sandbox"] == 1


def test_fees_are_compared_fill_by_fill_in_one_currency() -> None:
    mine = [
        BTC | {"fill_id": n, "fee": Decimal(fee), "fee_currency": "USDT", "filled_at": at(2)}
        for n, fee in (("1", 1), ("2", 9))
    ]
    theirs = BTC | {"trade_id": "1", "fee": Decimal("1.5"), "fee_currency": "USDT", "traded_at": at(2)}
    del theirs["strategy"]
    found = measured(fills=rows(INBOX_KINDS["fills"], *mine), venue_fills=rows(VENUE_FILLS, theirs))
    assert found["fee_mismatch", "sandbox"] == pytest.approx(0.5)


def test_funding_costs_whoever_pays_it() -> None:
    rate = rows(FUNDING_RATES, {"venue": "sandbox", "symbol": "BTC/USDT", "ts": at(16), "rate": 0.001})
    for position, cost in ((2, 200.0), (-2, -200.0)):
        held = {"held_at": at(23), "position": Decimal(position), "mark_price": Decimal(100_000)}
        found = measured(funding_rates=rate, positions=rows(INBOX_KINDS["positions"], BTC | held))
        assert found["funding_cost", "sandbox BTC/USDT"] == pytest.approx(cost)
        assert found["funding_rate", "sandbox BTC/USDT"] == pytest.approx(10 if position > 0 else -10)


def test_the_latest_table_makes_the_lag() -> None:
    found = measured(lags={"breaks": 0.0, "shadow": 2.0})
    assert (found["asset_lag", "the desk"], found["reconciliation_lag", "the desk"]) == (2, 0)


def test_of_a_month_only_the_days_asked_for_are_kept() -> None:
    kept = before(rows(CANDLES, *bars(-49, -47, 23, 25)), "ts", END - timedelta(hours=1), days=2)
    assert kept is not None
    assert kept["ts"].to_pylist() == [at(23)]


class TestContext:
    def profile(self) -> pa.Table:
        metrics = {f"{name}_med": 10.0 for name in LIQUIDITY_METRICS}
        hour = {"venue": "sandbox", "symbol": "BTC/USDT", "timeframe": "15m", "week": "2026-01-05"} | metrics
        return rows(
            LIQUIDITY_PROFILE,
            hour | {"how": 46, "regime": "deep", "depth_med": 12.0},
            hour | {"how": 47, "regime": "thin"},
        )

    def context(self, moment: datetime = END, calendars: Sequence[Calendar] = (), **given: Any) -> Any:
        tables = {"positions": None, "orders": None, "profile": None, "profile_version": "v"} | given
        return context_of_day(moment, START, calendars=calendars, capital=2e6, **tables)

    def test_midnight_is_judged_by_the_hour_that_it_ends(self) -> None:
        (market,) = self.context(profile=self.profile()).markets
        assert (market.regime, market.profile_version) == (Regime.THIN, "v")
        (market,) = self.context(END - timedelta(hours=1), profile=self.profile()).markets
        assert market.regime is Regime.DEEP

    def test_volumes_of_bars_become_those_of_an_hour_and_depth_a_share_of_its_median(self) -> None:
        (market,) = self.context(profile=self.profile()).markets
        assert market.hour_volume == pytest.approx(4 * 22026.4658)
        assert market.depth_share == pytest.approx(2.718281828**-1)

    def test_what_is_held_is_what_was_said_last_and_a_position_without_a_mark_is_not_known(self) -> None:
        said = [
            BTC | {"held_at": at(hour), "position": Decimal(size), "mark_price": mark}
            for hour, size, mark in ((1, 1, Decimal(100)), (22, 2, Decimal(100)), (23.5, 3, None))
        ]
        table = rows(INBOX_KINDS["positions"], *said)
        assert [each.net for each in self.context(at(23), positions=table).holdings] == [200.0]
        assert [each.net for each in self.context(positions=table).holdings] == [None]

    def test_what_was_ordered_without_a_word_on_positions_is_held_to_an_unknown_size(self) -> None:
        table = orders({"sent_at": at(2), "ended_at": None}, {"sent_at": at(3), "ended_at": at(3)})
        now = self.context(orders=table)
        assert [(each.net, each.working_orders) for each in now.holdings] == [(None, 1)]
        assert now.watched[Per.ASSET] == (Subject(key="USDT"),)
        assert [each.regime for each in now.markets] == [Regime.UNKNOWN]
