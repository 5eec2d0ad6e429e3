"""What to do today: each finding that asks for a decision, its owner, its money, and in which order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from research_to_prod.reports.actions import ranked_actions
from research_to_prod.reports.compile_month import compile_month
from research_to_prod.reports.desk_report import Action, Exclusion, Reconciliation, Status, Step, VerdictLine
from research_to_prod.reports.desk_report import WaterfallLine as Fall
from research_to_prod.reports.month_lines import (
    CalibrationLine,
    ExposureLine,
    FeeLine,
    LatencyLine,
    Month,
    ToxicityLine,
)
from tests.reports.month_tables import month_tables

D = Decimal
AGREES = Reconciliation(
    status=Status.CLEAR, internal_fills=9, venue_fills=9, confirmed=0, unknown=0, money_at_stake=D(0),
    breaks_without_money=0, breaks=(),
)  # fmt: skip
INTERVAL = {"mean_bps": 2.0, "low_bps": 1.0, "high_bps": 3.0}


@pytest.fixture(scope="module")
def quiet() -> Month:
    return compile_month(month_tables("2026-01-02"))


def actions(month: Month, verdicts: tuple[VerdictLine, ...] = (), falls: tuple[Fall, ...] = ()) -> list[Action]:
    return list(ranked_actions(AGREES, verdicts, falls, month, [], 100, ()))


def verdict(name: str = "NORMAL", **changes: Any) -> VerdictLine:
    line = {"strategy": "momentum", "verdict": name, "orders": 70, "days_to_decide": None, "orders_to_decide": None}
    line |= {"reason": "why", "expected_money": D(80), "shadow_money": D(50), "live_money": D(20)}
    return VerdictLine.model_validate(line | {"signals": 24, "diverging": 0, "findings": ()} | changes)


def test_a_quiet_day_asks_for_nothing(quiet: Month) -> None:
    assert actions(quiet, (verdict(),)) == []


@pytest.mark.parametrize(("name", "money"), [("EDGE", 30), ("EXECUTION", 30), ("BOTH", 60), ("SELECTION", 30)])
def test_a_changed_strategy_stakes_what_the_day_fell_short_by(quiet: Month, name: str, money: int) -> None:
    (action,) = actions(quiet, (verdict(name),))
    assert (action.money, action.owner, action.n) == (money, "trading", 70)
    (gained,) = actions(quiet, (verdict(name, live_money=D(500), shadow_money=D(400)),))
    assert gained.money == 0
    (unknown,) = actions(quiet, (verdict(name, shadow_money=D(9), live_money=None, expected_money=None),))
    assert unknown.money is None


def test_signals_off_stake_what_they_moved_of_their_own_strategies_only(quiet: Month) -> None:
    step = Step(cause="signal divergence", money=D(-12))
    falls = tuple(
        Fall(strategy=name, steps=(step,), live_money=D(0), residual_money=None) for name in ("momentum", "carry")
    )
    (action,) = actions(quiet, (verdict(diverging=3),), falls)
    assert (action.money, action.n) == (12, 3)


def costs(low: float) -> dict[str, Any]:
    """Return a month's lines that each say the same of one strategy, with the lower bound at ``low`` bps."""
    bounds = INTERVAL | {"low_bps": low}
    calibration = CalibrationLine(
        strategy="momentum", orders=200, without=0, charged_bps=5, paid_bps=7, timing_bps=0, beyond=40.0,
        beyond_bps=2.0, low_bps=low, high_bps=3.0, z=3.0,
    )  # fmt: skip
    latency = LatencyLine(
        strategy="momentum", from_ms=5_000, to_ms=None, orders=30, split=30, median_ms=6_000, slowest_ms=9_000,
        median_sent_ms=5_900, before_sending=19.0, on_the_way=1.0, delay=20.0, **bounds,
    )  # fmt: skip
    toxic = ToxicityLine(
        strategy="maker", venue="v", symbol="A/B", verdict="toxic" if low > 0 else "inconclusive", mean_bps=-2.0,
        low_bps=-3.0, high_bps=-low, fills=80, parents=20, lost=30.0,
    )  # fmt: skip
    return {"calibration": (calibration,), "latency": (latency,), "toxicity": (toxic,)}


def test_costs_ask_for_something_only_where_their_interval_says_so_and_the_dearest_comes_first(quiet: Month) -> None:
    found = actions(quiet.model_copy(update=costs(1.0)))
    assert [(action.money, action.owner, action.n) for action in found] == [
        (40, "research", 200), (30, "trading", 80), (20, "engineering", 30),
    ]  # fmt: skip
    assert "5000 or more ms" in found[2].why
    assert actions(quiet.model_copy(update=costs(-0.1))) == []
    unbounded = {"calibration": (costs(1.0)["calibration"][0].model_copy(update={"low_bps": None}),)}
    assert actions(quiet.model_copy(update=unbounded)) == []


@pytest.mark.parametrize(("beyond", "asked"), [(0.4, 0), (0.6, 1), (-0.6, 1), (None, 0)])
def test_fees_off_the_schedule_by_more_than_a_venue_s_rounding_are_asked_about(
    quiet: Month, beyond: float | None, asked: int
) -> None:
    fee = FeeLine(
        venue="v", liquidity="taker", fills=90, scheduled=88, unpriced=0, value=1e5, fees=50.0, paid_bps=5.0,
        scheduled_bps=4.9, beyond=beyond,
    )  # fmt: skip
    found = actions(quiet.model_copy(update={"fees": (fee,)}))
    assert [(action.money, action.n) for action in found] == [(D("0.6"), 88)] * asked


def test_a_position_that_is_not_that_of_the_fills_is_proven_and_in_money(quiet: Month) -> None:
    line = ExposureLine(
        strategy="momentum", venue="v", symbol="A/B", target_weight=None, held_weight=None, drift_money=None,
        held=D(1), stated_at=None, stated=D(1), by_fills=D(2), difference_money=D(-50),
    )  # fmt: skip
    (action,) = actions(
        quiet.model_copy(update={"exposures": (line, line.model_copy(update={"difference_money": D(0)}))})
    )
    assert (action.money, action.owner, action.n) == (50, "operations", 1)
    assert "proven" in action.confidence


def test_what_cannot_be_valued_comes_after_what_can(quiet: Month) -> None:
    month = quiet.model_copy(update=costs(1.0))
    excluded = [Exclusion(what="orders", reason="no quote", n=9, of=100)]
    found = ranked_actions(AGREES, (), (), month, excluded, 100, ())
    assert [action.money is None for action in found] == [False, False, False, True]
    assert found[-1].owner == "data"
