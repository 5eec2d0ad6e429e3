"""What is known of drawdowns in closed form, against published values, and the card that holds a window against it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.attribution.drawdown_expectation import (
    Standing,
    current_depth_probability,
    current_length_probability,
    deepest,
    deflated_sharpe,
    expectation_card,
    expected_maximum_drawdown,
    longest,
    maximum_drawdown_probability,
)
from research_to_prod.attribution.drawdowns import Curve, find_episodes
from research_to_prod.research.metrics import max_drawdown, sharpe_ratio

CASES = Path(os.environ.get("R2P_REFERENCE_CASES") or Path(__file__).parents[3] / "shared" / "reference_cases")


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    path = CASES / "attribution.json"
    if not path.exists():
        pytest.skip(f"no reference cases at {path} (set R2P_REFERENCE_CASES)")
    return {case["name"]: case for case in json.loads(path.read_text(encoding="utf-8"))}


def test_without_drift_the_expected_maximum_drawdown_is_the_root_of_half_pi() -> None:
    assert expected_maximum_drawdown(0, 2, 9) == pytest.approx(math.sqrt(math.pi / 2) * 2 * 3, rel=1e-6)


@pytest.mark.parametrize("name", ["Qp_0.05", "Qp_0.5", "Qp_4.5", "Qn_0.5", "Qn_1.0"])
def test_the_table_of_magdon_ismail_is_reproduced(cases: dict[str, Any], name: str) -> None:
    case = cases[f"emdd_{name}"]
    mu, sigma, horizon = (case["inputs"][each] for each in ("mu", "sigma", "T"))
    q = expected_maximum_drawdown(mu, sigma, horizon) * abs(mu) / (2 * sigma**2)
    (published,) = case["expected"].values()
    (solved,) = case["recomputed"].values()
    assert q == pytest.approx(published, abs=case["tolerance"])
    # Much nearer to the differential equation than the table is.
    assert q == pytest.approx(solved, rel=1e-5)


@pytest.mark.parametrize("sharpe", [1, 3])
def test_the_quantiles_of_the_maximum_drawdown_are_reproduced(cases: dict[str, Any], sharpe: int) -> None:
    case = cases[f"mdd_quantiles_SR{sharpe}_1y"]
    for name, depth in case["recomputed"].items():
        assert maximum_drawdown_probability(depth, sharpe, 1, 1) == pytest.approx(1 - int(name[1:]) / 100, abs=1e-5)


@pytest.mark.parametrize("name", ["SR1_k1_t1", "SR0.5_k1_t2"])
def test_the_depth_and_length_of_the_current_drawdown_are_reproduced(cases: dict[str, Any], name: str) -> None:
    case = cases[f"drawdown_now_{name}"]
    sharpe, depth, years = (case["inputs"][each] for each in ("SR", "depth_in_annual_vol", "length_years"))
    assert current_depth_probability(sharpe, depth) == pytest.approx(case["expected"]["p_depth"], abs=1e-5)
    assert current_length_probability(sharpe, years) == pytest.approx(case["expected"]["p_length"], abs=1e-5)


@given(st.floats(-1.5, 8), st.floats(0, 5), st.floats(0, 5))
@settings(deadline=None)
def test_a_deeper_drawdown_is_never_more_probable(drift: float, one: float, other: float) -> None:
    deep, shallow = (maximum_drawdown_probability(each, drift, 1, 1) for each in (max(one, other), min(one, other)))
    assert 0 <= deep <= shallow + 1e-7 <= 1 + 1e-7


def test_the_probability_has_no_seam_where_its_slowest_mode_appears() -> None:
    around = [maximum_drawdown_probability(h, 1, 1, 1) for h in (1 - 1e-6, 1 - 1e-9, 1, 1 + 1e-9, 1 + 1e-6)]
    assert np.ptp(around) < 5e-6


def test_simulated_paths_fall_as_often_as_the_formula_says() -> None:
    # 4,000 steps a path see about 0.018 less of the depth than a continuous motion.
    steps, paths = 4000, 2000
    moves = np.random.default_rng(5).normal(0.5 / steps, 1 / math.sqrt(steps), (paths, steps))
    share = np.mean(deepest(moves) >= 1.2 - 2 * 0.5826 / math.sqrt(steps))
    expected = maximum_drawdown_probability(1.2, 0.5, 1, 1)
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / paths)


def test_what_can_not_be_computed_is_refused() -> None:
    for drift, volatility, horizon in ((0, 0, 1), (0, 1, 0), (0, math.nan, 1), (math.nan, 1, 1), (-3, 1, 1)):
        with pytest.raises(ValueError, match=r"must be|can be computed"):
            maximum_drawdown_probability(1, drift, volatility, horizon)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_depth_and_length_of_a_path_are_those_of_its_episodes(moves: list[int]) -> None:
    at = np.arange(len(moves) + 1, dtype=np.int64) * 1_000_000
    earned = np.concatenate([[0], np.cumsum(np.array(moves, np.int64))])
    episodes = find_episodes(Curve(at, earned, earned + 100))
    row = np.array([moves], float)
    assert deepest(row)[0] == max((each.units for each in episodes), default=0)
    assert longest(row)[0] == max((each.seconds for each in episodes), default=0)


def test_the_depth_is_the_one_of_the_metrics_for_a_capital_that_dwarfs_it() -> None:
    moves = np.random.default_rng(1).normal(size=300)
    capital = 1e9
    assert deepest(moves[None])[0] / capital == pytest.approx(
        max_drawdown(capital + np.cumsum(moves), capital), rel=1e-5
    )


def simulated(seed: int, days: int, sharpe: float = 1.5, deviation: float = 0.01) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return deviation * (rng.standard_t(5, days) / math.sqrt(5 / 3) + sharpe / math.sqrt(365))


def test_a_live_window_like_the_backtest_is_within_expectation_and_its_card_says_what_was_to_be_expected() -> None:
    card = expectation_card(simulated(2, 120), simulated(1, 1000), 20, seed=7)
    assert card.standing is Standing.WITHIN
    assert (card.reason, card.live_days, card.backtest_days) == ("", 120, 1000)
    assert card.depth is not None
    assert card.length is not None
    assert list(card.depth.quantiles) == sorted(card.depth.quantiles)
    assert card.depth.percentile == pytest.approx(100 * (1 - card.depth.exceedance))
    assert card.length.observed % 86_400 == 0
    # The closed form, which knows no tails, agrees on what is normal; daily closes see a little less of it.
    assert card.expected_depth == pytest.approx(card.depth.quantiles[0], rel=0.25)
    assert card.normal_exceedance == pytest.approx(card.depth.exceedance, abs=0.15)


def test_the_card_says_how_deep_and_how_long_ago_the_last_high_is_and_how_often_that_is_so() -> None:
    live = np.append(simulated(2, 60, sharpe=20), [-0.01, -0.02, 0.005])
    card = expectation_card(live, simulated(1, 1000, sharpe=4), 5, seed=7)
    assert card.current is not None
    assert card.current.depth == pytest.approx(0.025)
    assert card.current.seconds == 3 * 86_400
    assert 0 < card.current.depth_probability < 1
    assert 0 < card.current.length_probability < 1
    hopeless = expectation_card(live, simulated(1, 300, sharpe=-1), 5, seed=7).current
    assert hopeless is not None
    assert (hopeless.depth_probability, hopeless.length_probability) == (1, 1)


def test_the_same_window_is_less_expected_the_higher_the_sharpe_ratio_is_taken_to_be() -> None:
    card = expectation_card(simulated(2, 120), simulated(1, 1000, sharpe=3), 20, seed=7)
    sharpes, exceedances = zip(*card.by_sharpe, strict=True)
    assert len(sharpes) == 4
    assert list(sharpes) == sorted(sharpes)
    assert list(exceedances) == sorted(exceedances, reverse=True)


def test_a_loss_that_the_backtest_never_had_is_beyond_expectation() -> None:
    live = simulated(2, 120)
    live[60] -= 0.5
    card = expectation_card(live, simulated(1, 1000), 20, seed=7)
    assert card.standing is Standing.BEYOND
    assert card.reason.startswith("depth: only 0.02% of resamples")


def test_a_long_bleed_is_beyond_expectation_for_its_length() -> None:
    backtest = simulated(1, 1500, sharpe=8)
    card = expectation_card(np.full(300, -1e-5), backtest, 2, seed=7)
    assert card.standing is Standing.BEYOND
    assert "length" in card.reason


def test_a_strategy_as_good_as_its_deflated_backtest_is_called_beyond_in_at_most_the_stated_share() -> None:
    called = 0
    for seed in range(100):
        backtest = simulated(1000 + seed, 500)
        daily = deflated_sharpe(backtest, 10)
        live = simulated(seed, 90, sharpe=daily * math.sqrt(365), deviation=float(np.std(backtest)))
        called += expectation_card(live, backtest, 10, seed=seed, reps=200).standing is Standing.BEYOND
    # 5 % of 100 are 5; a binomial count exceeds 12 with a probability of 1 in 700.
    assert called <= 12


def test_deflation_takes_off_what_a_search_shows_and_never_goes_below_zero() -> None:
    returns = simulated(1, 1000, sharpe=3)
    assert deflated_sharpe(returns, 1) == sharpe_ratio(returns)
    assert 0 < deflated_sharpe(returns, 100) < deflated_sharpe(returns, 10) < sharpe_ratio(returns)
    assert deflated_sharpe(simulated(1, 300, sharpe=-2), 100) == 0


@pytest.mark.parametrize(
    ("live", "backtest", "reason"),
    [
        (simulated(1, 19), simulated(2, 500), "19 live days are too few, 20 are needed"),
        (simulated(1, 30), simulated(2, 179), "179 backtest days are too few, 180 are needed"),
        (np.append(simulated(1, 30), np.nan), simulated(2, 500), "1 live returns are not finite"),
        (simulated(1, 300), simulated(2, 200), "longer than the backtest"),
        (simulated(1, 30), np.zeros(200), "don't vary"),
    ],
)
def test_too_little_is_inconclusive_and_says_why(live: Any, backtest: Any, reason: str) -> None:
    card = expectation_card(live, backtest, 10, seed=1)
    assert card.standing is Standing.INCONCLUSIVE
    assert reason in card.reason
    assert card.depth is card.length is card.expected_depth is None


def test_one_seed_gives_one_card() -> None:
    cards = [expectation_card(simulated(2, 60), simulated(1, 300), 5, seed=3, reps=300) for _ in range(2)]
    assert cards[0] == cards[1]


def test_arguments_without_a_meaning_are_refused() -> None:
    for given_ in ({"alpha": 0.0}, {"reps": 10}, {"n_trials": 0}):
        with pytest.raises(ValueError, match="see what is asked"):
            expectation_card(simulated(1, 60), simulated(2, 300), **{"n_trials": 5, "seed": 1} | given_)  # type: ignore[arg-type]
