"""Risk gates: what the candidate may lose, alone and in the book, derived from the capital allocation."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.evidence import BookStrategy
from research_to_prod.gates.gate import Gate
from research_to_prod.gates.holdings import Holdings
from research_to_prod.gates.statistics import expected_shortfall, resampled_drawdowns
from research_to_prod.research.metrics import max_drawdown
from research_to_prod.values import StrategyType, Verdict
from tests.gates.good_evidence import GOOD, HOLDINGS, POLICY, gate, returns, verdicts

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
BOOK_CAPITAL = POLICY.allocation.book_capital.value


def report(**changes: Any) -> GateReport:
    return evaluate(POLICY, replace(GOOD, **changes))


def of(name: str, **changes: Any) -> Gate:
    return gate(report(**changes), name)


def holdings(**changes: Any) -> Holdings:
    return replace(HOLDINGS, **changes)


def other(daily: np.ndarray, **changes: Any) -> BookStrategy:
    known = BookStrategy("other", StrategyType.SWING, "sandbox", 100_000.0, GOOD.days, daily, {"BTC": 50_000.0})
    return replace(known, **changes)


def test_a_resampled_year_falls_as_far_as_the_plain_loop_says() -> None:
    daily = returns(1.0, days=400)
    falls = resampled_drawdowns(daily, 365, block_size=5.0, reps=200, seed=3)
    generator = np.random.default_rng(3)
    starts, uniforms = generator.integers(400, size=(200, 365)), generator.random((200, 365))
    for path in (0, 77, 199):
        positions = [int(starts[path, 0])]
        for t in range(1, 365):
            new = uniforms[path, t] <= 1 / 5
            positions.append(int(starts[path, t]) if new else (positions[-1] + 1) % 400)
        assert falls[path] == pytest.approx(max_drawdown(np.cumprod(1 + daily[positions]), 1.0), abs=1e-12)


def test_resampled_drawdowns_are_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    daily, found = returns(1.0, days=400), []
    for cores in (1, 2, 8):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(resampled_drawdowns(daily, 365, block_size=5.0, reps=200, seed=3).tobytes())
    assert len(set(found)) == 1


def test_the_drawdown_of_one_backtest_is_one_draw_and_the_resampled_one_is_judged_beside_it() -> None:
    # Volatility 38 % a year at a Sharpe ratio of 1: a year in a hundred falls by more than a quarter.
    volatile = 2 * returns(1.0)
    found = report(daily_returns=volatile, max_drawdown=0.2)
    assert verdicts(found)["maximum_drawdown"] is PASS
    assert verdicts(found)["resampled_drawdown"] is FAIL


def test_less_than_a_year_is_not_resampled() -> None:
    assert of("resampled_drawdown", daily_returns=returns(4.0, days=364), days=GOOD.days[:364]).verdict is INCONCLUSIVE


def test_the_standalone_shortfall_is_held_against_the_types_budget_of_the_book() -> None:
    found = of("expected_shortfall")
    own = expected_shortfall(GOOD.daily_returns, 0.975)
    assert found.value == pytest.approx(own * 100_000 / BOOK_CAPITAL, rel=1e-10)
    assert found.threshold == pytest.approx(0.3 * 0.03 / 0.6)
    assert of("expected_shortfall", capital=1_600_000.0).verdict is FAIL
    assert of("expected_shortfall", capital=None).verdict is INCONCLUSIVE


def test_components_of_a_book_of_twins_are_the_books_own_shortfall() -> None:
    twin = other(GOOD.daily_returns, capital=100_000.0)
    found = of("component_expected_shortfall", book=(twin,))
    both = 2 * expected_shortfall(GOOD.daily_returns, 0.975) * 100_000 / BOOK_CAPITAL
    assert found.value == pytest.approx(both, rel=1e-9)


def test_a_strategy_of_another_type_takes_its_own_part_of_the_tail() -> None:
    # Gains where the candidate loses: the tail of the book is smaller than the candidate's own.
    hedge = other(-0.5 * GOOD.daily_returns, strategy_type=StrategyType.CARRY)
    alone = of("component_expected_shortfall").value
    assert alone is not None
    beside = of("component_expected_shortfall", book=(hedge,)).value
    assert beside == pytest.approx(alone, rel=1e-9), "its own part is as large; the hedge's is negative"


def test_a_book_without_common_days_answers_nothing() -> None:
    stranger = other(GOOD.daily_returns, days=GOOD.days + np.timedelta64(5000, "D"))
    found = verdicts(report(book=(stranger,)))
    assert found["component_expected_shortfall"] is INCONCLUSIVE
    assert found["book_correlation"] is INCONCLUSIVE


def test_the_target_volatility_is_shared_by_the_roots_of_the_risk_budgets() -> None:
    found = of("volatility")
    assert found.threshold == pytest.approx(math.sqrt(0.3) * 0.15)
    deviation = float(np.std(GOOD.daily_returns, ddof=1))
    assert found.value == pytest.approx(deviation * math.sqrt(365) * 100_000 / BOOK_CAPITAL, rel=1e-9)


def test_the_size_asked_for_stays_within_a_quarter_of_kelly_at_the_lower_bound_of_the_mean() -> None:
    assert of("kelly_cap").verdict is PASS
    # Ten times the position: the same Sharpe ratio, a tenth of Kelly's multiple.
    tenfold = of("kelly_cap", daily_returns=10 * GOOD.daily_returns)
    base = of("kelly_cap").value
    assert base is not None
    assert tenfold.value == pytest.approx(base / 10, rel=1e-9)
    assert of("kelly_cap", daily_returns=returns(0.2)).verdict is FAIL, "the lower bound of the mean is a loss"


@pytest.mark.parametrize(
    ("gross", "kind", "verdict"),
    [(2.9, StrategyType.SWING, PASS), (3.1, StrategyType.SWING, FAIL), (3.1, StrategyType.CARRY, PASS)],
)
def test_leverage_is_limited_by_type(gross: float, kind: StrategyType, verdict: Verdict) -> None:
    held = holdings(weights=np.full((48, 1), gross))
    assert of("gross_leverage", holdings=held, strategy_type=kind).verdict is verdict


def test_one_asset_is_counted_over_the_whole_book_and_one_venue_too() -> None:
    found = of("asset_concentration", book=(other(GOOD.daily_returns, exposure={"BTC": 700_000.0, "ETH": 9e9}),))
    assert found.value == pytest.approx((50_000 + 700_000) / BOOK_CAPITAL)
    assert "BTC" in found.reason
    assert of("asset_concentration", book=(other(GOOD.daily_returns, exposure={"BTC": 800_000.0}),)).verdict is FAIL
    here = of("venue_concentration", book=(other(GOOD.daily_returns, capital=650_000.0),))
    assert (here.value, here.verdict) == (0.375, FAIL)
    elsewhere = of("venue_concentration", book=(other(GOOD.daily_returns, capital=650_000.0, venue="elsewhere"),))
    assert elsewhere.value == 0.05


def test_the_largest_position_is_held_against_a_median_day() -> None:
    thin = holdings(daily_volume=np.array([[4e6], [6e6], [5e9]]))
    found = report(holdings=thin)
    assert gate(found, "participation").value == pytest.approx(50_000 / 6e6)
    assert gate(found, "days_to_exit").value == pytest.approx(50_000 / 6e6 / 0.1)
    assert of("participation", holdings=holdings(daily_volume=np.full((2, 1), 1e6))).verdict is FAIL
    assert of("participation", holdings=holdings(daily_volume=np.zeros((2, 1)))).verdict is INCONCLUSIVE


def test_margin_brings_liquidation_nearer() -> None:
    free = of("liquidation_distance").value
    assert free is not None
    assert free == pytest.approx(1 / expected_shortfall(GOOD.daily_returns, 0.99), rel=1e-9)
    margined = holdings(weights=np.full((48, 1), 2.0), maintenance_margin=np.full(1, 0.25))
    assert of("liquidation_distance", holdings=margined).value == pytest.approx(free / 2, rel=1e-9)


def test_shocks_meet_the_largest_position_on_either_side() -> None:
    weights = np.full((48, 1), 0.1)
    weights[7], weights[9] = 0.9, -0.5
    found = report(holdings=holdings(weights=weights))
    assert gate(found, "stress_market_fall").value == pytest.approx(0.27)
    assert gate(found, "stress_market_fall").verdict is FAIL
    assert gate(found, "stress_market_rise").value == pytest.approx(0.15)
    assert gate(found, "stress_funding_flip").value == 0.0, "spot pays no funding"
    perpetual = holdings(symbols=("BTC/USDT:USDT",), weights=weights)
    assert of("stress_funding_flip", holdings=perpetual).value == pytest.approx(0.03 * 0.9)


def test_a_halt_freezes_the_position_for_a_day() -> None:
    closes = np.full((48, 1), 100.0)
    closes[30:] = 40.0
    found = of("stress_venue_halt", holdings=holdings(closes=closes))
    assert found.value == pytest.approx(0.5 * 0.6)
    assert found.verdict is FAIL
    short = holdings(weights=np.full((10, 1), 0.5), closes=np.full((10, 1), 100.0))
    assert of("stress_venue_halt", holdings=short).verdict is INCONCLUSIVE


def test_dated_events_are_replayed_where_the_window_covers_them_and_reported() -> None:
    days = np.datetime64("2020-01-01", "D") + np.arange(1000)
    daily = GOOD.daily_returns.copy()
    daily[(days >= np.datetime64("2020-03-11")) & (days <= np.datetime64("2020-03-13"))] = -0.2
    found = report(days=days, daily_returns=daily)
    march = gate(found, "event_march_2020")
    assert march.value == pytest.approx(1 - 0.8**3)
    assert (march.verdict, march.gating) == (FAIL, False)
    assert gate(found, "event_november_2022").verdict is INCONCLUSIVE


def test_a_strategy_must_add_to_the_book_not_double_it() -> None:
    twin = other(GOOD.daily_returns)
    assert of("book_correlation", book=(twin,)).verdict is INCONCLUSIVE, "correlation 1: exactly nothing is added"
    worse = of("book_correlation", book=(twin,), daily_returns=GOOD.daily_returns - 0.0005)
    assert worse.verdict is FAIL, "the same moves for less"
    stranger = of("book_correlation", book=(other(returns(4.0, seed=9)),))
    assert stranger.verdict is PASS


@pytest.mark.parametrize("changes", [{"holdings": None}, {"book": None}, {"capital": None}, {"days": GOOD.days[:5]}])
def test_what_is_not_known_is_never_a_pass(changes: dict[str, Any]) -> None:
    found = report(**changes)
    assert found.verdict is INCONCLUSIVE
    assert FAIL not in {each.verdict for each in found.gates if each.gating}


@settings(max_examples=20)
@given(st.floats(1.0, 5.0), st.integers(0, 100))
def test_a_larger_position_never_improves_a_risk_gate(factor: float, seed: int) -> None:
    weights = np.random.default_rng(seed).uniform(-0.5, 0.5, (48, 1))
    names = ("gross_leverage", "stress_market_fall", "stress_market_rise", "participation", "asset_concentration")
    small, large = (report(holdings=holdings(weights=scale * weights)) for scale in (1.0, factor))
    for name in names:
        before, after = gate(small, name).margin, gate(large, name).margin
        assert before is not None
        assert after is not None
        assert after <= before + 1e-12
