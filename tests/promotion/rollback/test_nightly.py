"""A day's watch from the desk's tables: what is read as what, what is not known, and what can't be watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.attribution.pnl_contracts import SHADOW
from research_to_prod.execution.contracts import FILLS, ORDER_EVENTS, POSITIONS
from research_to_prod.promotion.record import Draft, Record
from research_to_prod.promotion.rollback.nightly import DeskTables, Reference, exposures, rollback_table, watch_day
from research_to_prod.promotion.rollback.policy import RollbackPolicy
from research_to_prod.promotion.rollback.trigger import Layer
from research_to_prod.values import Stage, digest

START = datetime(2026, 2, 1, tzinfo=UTC)
WAY = [Stage.RESEARCH, Stage.PAPER, Stage.CANARY, Stage.LIVE]
CAPITAL = Decimal(250_000)
RETURNS = np.random.default_rng(5).normal(0.002, 0.01, 1088)


def day(n: int) -> str:
    return f"{START + timedelta(days=n):%Y-%m-%d}"


def table(schema: Any, *rows: dict[str, Any]) -> pa.Table:
    def something(field: pa.Field) -> object:
        if field.nullable:
            return None
        kinds: dict[str, object] = {"string": "x", "bool": True, "int64": 1, "double": 1.0}
        if pa.types.is_list(field.type):
            return []
        return START if pa.types.is_timestamp(field.type) else kinds.get(str(field.type), Decimal(1))

    blank = {field.name: something(field) for field in schema.arrow}
    return pa.Table.from_pylist([blank | row for row in rows], schema=schema.arrow)


def shadow(*lives: float | None, of: str = "c1") -> list[dict[str, Any]]:
    """Return a row a day of returns on the capital approved, those of the shadow alike."""
    money = [None if each is None else CAPITAL * Decimal(f"{each:.9f}") for each in lives]
    return [{"day": day(n), "strategy": of, "live": each, "shadow": each} for n, each in enumerate(money)]


def desk(rows: list[dict[str, Any]], **more: pa.Table | None) -> DeskTables:
    days = tuple(sorted({row["day"] for row in rows}))
    return replace(DeskTables(table(SHADOW, *rows), days, None, None, None), **more)  # type: ignore[arg-type]


@pytest.fixture
def at(ledger: Any, draft: Callable[..., Draft]) -> Callable[..., tuple[Record, ...]]:
    """Return records by which version ``number`` of c1 came to a stage, an hour before February."""

    def led(stage: Stage, number: int = 1) -> tuple[Record, ...]:
        for step in range(WAY.index(stage)):
            of = {
                "candidate": "c1",
                "candidate_sha256": digest(number),
                "from_stage": WAY[step],
                "to_stage": WAY[step + 1],
            }
            ledger.append(draft(10 * number + step, **of, recorded_at=START - timedelta(minutes=59 - step)))
        records: tuple[Record, ...] = ledger.records()
        return records

    return led


@pytest.fixture
def seen(policy: RollbackPolicy) -> Callable[..., Any]:
    def watched(records: tuple[Record, ...], tables: DeskTables, last: int, sha256: str = digest(1)) -> Any:
        return watch_day(day(last), records, tables, {"c1": Reference(sha256, RETURNS)}, policy)

    return watched


def test_a_live_strategy_that_loses_every_day_fires_and_says_since_when(at: Any, seen: Any) -> None:
    lives = [0.002] * 5 + [-0.03] * 30
    (found,) = seen(at(Stage.LIVE), desk(shadow(*lives)), 34)
    assert [each.layer for each in found.triggers] == [Layer.EDGE]
    assert found.outcome.state.live_days == 35
    # The chart left zero on the first bad day at the latest.
    assert found.triggers[0].began <= day(5)
    (row,) = rollback_table(day(34), [found], {digest(1): "d-1"}, {}).to_pylist()
    assert (row["fired"], row["decision_id"], row["unwatched"], row["canary"]) == ("edge", "d-1", None, None)
    assert row["decay"] > 18


def test_the_same_days_give_the_same_state_and_later_records_are_not_looked_at(at: Any, seen: Any) -> None:
    lives = list(np.random.default_rng(1).normal(0.002, 0.01, 40))
    records = at(Stage.LIVE)
    (first,) = seen(records, desk(shadow(*lives)), 20)
    (again,) = seen(records, desk(shadow(*lives)), 20)
    assert first.outcome.state.canonical_bytes() == again.outcome.state.canonical_bytes()
    assert seen(records, desk(shadow(*lives)), -2) == ()


def test_days_before_the_arrival_are_the_reference_of_residuals_and_not_judged(at: Any, seen: Any) -> None:
    rng = np.random.default_rng(2)
    rows = [
        row | {"day": f"{START + timedelta(days=n - 60):%Y-%m-%d}"}
        for n, row in enumerate(shadow(*rng.normal(0, 0.001, 60)))
    ]
    for row in rows:
        row["shadow"] += Decimal(f"{rng.normal(0, 50):.6f}")
    records = at(Stage.LIVE)
    (held,) = seen(records, desk([*rows, *shadow(0.002)]), 0)
    assert held.watch.baseline.residual is not None
    assert (held.outcome.state.live_days, held.outcome.state.paired_days) == (1, 1)
    (bare,) = seen(records, desk(shadow(0.002)), 0)
    assert bare.watch.baseline.residual is None
    assert any("no reference yet" in each for each in bare.today)


def test_a_market_that_is_not_known_leaves_its_day_unknown_and_no_market_earned_nothing(at: Any, seen: Any) -> None:
    rows = shadow(0.001, None, 0.001)
    rows += [shadow(0.001)[0] | {"day": day(3), "position_known": False}, *shadow(0.1, of="other")]
    rows += [row | {"day": day(4), "strategy": "other"} for row in shadow(0.1)]
    records = at(Stage.LIVE)
    (found,) = seen(records, desk(rows), 4)
    assert found.outcome.state.live_days == 3
    assert {text for text in found.outcome.inconclusive if text.startswith("live of")} == {
        f"live of {day(1)}: not known", f"live of {day(3)}: not known",
    }  # fmt: skip
    (late,) = seen(records, desk(rows), 6)
    assert late.today[-1] == f"live and shadow of {day(6)}: not recorded"


def test_what_cannot_be_watched_says_why(at: Any, seen: Any, policy: RollbackPolicy, ledger: Any, draft: Any) -> None:
    records, tables = at(Stage.CANARY), desk(shadow(0.001))
    (other,) = seen(records, tables, 0, sha256="f" * 64)
    assert "no backtest of this version" in other.unwatched
    (none,) = watch_day(day(0), records, tables, {}, policy)
    assert "no backtest of this version" in none.unwatched
    (flat,) = watch_day(day(0), records, tables, {"c1": Reference(digest(1), RETURNS * 0)}, policy)
    assert "doesn't vary" in flat.unwatched
    both = seen(at(Stage.PAPER, number=2), tables, 0)
    assert ["another version" in each.unwatched for each in both] == [True, True]
    rows = rollback_table(day(0), both, {}, {}).to_pylist()
    assert all(row["state"] is None and row["unwatched"] for row in rows)


def test_what_a_rule_took_back_only_reduces_and_is_not_watched(at: Any, seen: Any, ledger: Any, draft: Any) -> None:
    at(Stage.LIVE)
    back = {"type": "rollback", "from_stage": "live", "to_stage": "canary", "reasons": ["edge"]}
    ledger.append(
        draft(99, candidate="c1", candidate_sha256=digest(1), recorded_at=START - timedelta(minutes=5), **back)
    )
    (found,) = seen(ledger.records(), desk(shadow(-0.03, -0.03)), 1)
    assert "only reduces until a person" in found.unwatched


def position(hour: int, units: str, mark: str | None, symbol: str = "BTC/USDT") -> dict[str, Any]:
    at = START + timedelta(hours=hour)
    held = {"strategy": "c1", "symbol": symbol, "held_at": at, "position": Decimal(units)}
    return held | {"mark_price": None if mark is None else Decimal(mark)}


def fill(hour: float, side: int, units: str, price: str, fee: str = "0", currency: str = "USDT") -> dict[str, Any]:
    at = START + timedelta(hours=hour)
    known = {"fill_id": f"{hour}", "strategy": "c1", "symbol": "BTC/USDT", "side": side, "filled_at": at}
    return known | {"quantity": Decimal(units), "price": Decimal(price), "fee": Decimal(fee), "fee_currency": currency}


def asked(minute: float, kind: str, child: str) -> dict[str, Any]:
    at = START + timedelta(minutes=minute)
    return {"event_id": f"{minute}{kind}{child}", "child_id": child, "strategy": "c1", "event": kind, "received_at": at}


def exposed(**more: pa.Table | None) -> list[Any]:
    return exposures("c1", Decimal(100_000), desk([], **more), day(0))


def test_exposure_is_valued_at_the_stated_marks_and_loss_counts_positions_cash_and_fees() -> None:
    held = table(POSITIONS, position(0, "1", "50000"), position(1, "2", "49000"), position(2, "-1", "48000"))
    traded = table(FILLS, fill(0.5, 1, "1", "49500", "20"), fill(1.5, -1, "3", "48500"), fill(2.5, 1, "9", "1"))
    midnight, one, two = exposed(positions=held, fills=traded)
    assert (midnight.position, midnight.loss, midnight.leverage) == (0.5, 0.0, 0.5)
    # 50,000 became two coins of 49,000, for 49,520 paid.
    assert one.loss == pytest.approx((50_000 - 98_000 + 49_520) / 100_000)
    assert one.leverage == pytest.approx(0.98 / (1 - one.loss))
    assert two.loss == pytest.approx((50_000 + 48_000 + 49_520 - 145_500) / 100_000)
    assert two.position == pytest.approx(0.48)


def test_a_fee_in_the_coin_has_left_the_position_and_not_the_cash() -> None:
    held = table(POSITIONS, position(0, "0", "50000"), position(1, "0.99", "50000"))
    (_, one) = exposed(positions=held, fills=table(FILLS, fill(0.5, 1, "1", "50000", "0.01", "BTC")))
    assert one.loss == pytest.approx(500 / 100_000)


@pytest.mark.parametrize("mark", [position(1, "1", None), position(1, "1", "9", "BTC/USD:BTC")])
def test_what_has_no_mark_or_is_inverse_leaves_what_is_valued_unknown(mark: dict[str, Any]) -> None:
    held = table(POSITIONS, position(0, "1", "50000"), mark)
    (_, one) = exposed(positions=held, fills=table(FILLS))
    assert (one.position, one.leverage, one.loss) == (None, None, None)


def test_without_fills_loss_is_not_known_and_without_positions_nothing_is_read() -> None:
    held = table(POSITIONS, position(0, "1", "50000"))
    (found,) = exposed(positions=held)
    assert (found.position, found.loss, found.leverage, found.orders_a_minute) == (0.5, None, None, None)
    assert exposed() == []


def test_requests_are_counted_by_the_busiest_minute_of_the_hour_before_and_an_order_once() -> None:
    told = ((10.1, "sent", "a"), (10.2, "new", "a"), (10.3, "cancel_sent", "a"), (10.4, "cancelled", "a"))
    told += ((10.9, "new", "b"), (11.1, "new", "c"), (70, "new", "d"))
    rows = [asked(*each) for each in told]
    held = table(POSITIONS, *(position(hour, "0", "1") for hour in range(3)))
    found = exposed(positions=held, fills=table(FILLS), order_events=table(ORDER_EVENTS, *rows))
    assert [each.orders_a_minute for each in found] == [0.0, 3.0, 1.0]


def test_a_position_beyond_the_limit_halts_at_its_first_reading_and_a_loss_at_its_third(at: Any, seen: Any) -> None:
    big = table(POSITIONS, position(0, "1", "50000"), position(1, "20", "50000"), position(2, "1", "50000"))
    records = at(Stage.LIVE)
    (found,) = seen(records, desk(shadow(0.001), positions=big, fills=table(FILLS)), 0)
    (trigger,) = found.triggers
    assert (trigger.layer, trigger.measure, trigger.began) == (Layer.LIMIT, "position", trigger.at)

    def losing(hours: int) -> pa.Table:
        marks = ["50000"] + ["36000"] * hours + ["50000"]
        return table(POSITIONS, *(position(hour, "1", mark) for hour, mark in enumerate(marks)))

    (two,) = seen(records, desk(shadow(0.001), positions=losing(2), fills=table(FILLS)), 0)
    assert two.triggers == ()
    (three,) = seen(records, desk(shadow(0.001), positions=losing(3), fills=table(FILLS)), 0)
    assert [(each.measure, each.began[:16]) for each in three.triggers] == [("loss", "2026-02-01T01:00")]


def test_limits_hold_from_the_moment_of_arrival_and_results_from_the_first_whole_day(
    ledger: Any, draft: Any, seen: Any
) -> None:
    noon = START + timedelta(hours=12)
    of = {"candidate": "c1", "candidate_sha256": digest(1), "from_stage": Stage.RESEARCH, "to_stage": Stage.PAPER}
    ledger.append(draft(1, **of, recorded_at=noon))

    def held(hour: int) -> DeskTables:
        rows = (position(0, "0", "50000"), position(hour, "20", "50000"))
        return desk(shadow(0.001), positions=table(POSITIONS, *rows), fills=table(FILLS))

    (before,), (after,) = (seen(ledger.records(), held(hour), 0) for hour in (11, 13))
    assert before.triggers == ()
    assert [each.measure for each in after.triggers] == ["position"]
    assert after.outcome.state.day is None
