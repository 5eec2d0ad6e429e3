"""The desk's sample strategies: no look-ahead, no dependence on where history starts, NaN-safe, well-formed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

import research_to_prod
from research_to_prod.research.bars import Bars
from research_to_prod.research.look_ahead import look_ahead_bars
from research_to_prod.research.recursion import warm_up_dependence
from research_to_prod.research.strategy import Strategy, StrategyParameters, load_strategy
from research_to_prod.values import StrategyType

FOLDER = Path(research_to_prod.__file__).parent / "desk" / "strategies"
# Short windows, so that 1,200 bars hold many decisions.
SMALL = {
    "momentum": {"lookback_hours": 30, "rebalance_hours": 6},
    "breakout": {"entry_hours": 24, "exit_hours": 12},
    "mean_reversion": {"lookback_hours": 36, "entry_z": 1.5, "exit_z": 0.3},
    "carry": {"lookback_hours": 48, "rebalance_hours": 12},
}
FIELDS = ("open", "high", "low", "close", "volume", "funding")


def small(name: str) -> tuple[Strategy, StrategyParameters]:
    strategy = load_strategy(FOLDER, name)
    return strategy, strategy.parameters(**SMALL[name])


def hourly(steps: int, seed: int = 3, symbols: tuple[str, ...] = ("BTC/USDT", "BTC/USDT:USDT")) -> Bars:
    rng = np.random.default_rng(seed)
    shape = (steps, len(symbols))
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    open_ = np.vstack((np.full((1, shape[1]), 100.0), close[:-1]))
    ts = np.datetime64("2023-01-01T05:00", "us") + np.arange(steps) * np.timedelta64(1, "h")
    wave = np.sin(np.arange(steps) / 60)[:, None] * 1e-4
    due = (np.arange(steps) % 8 == 3)[:, None] & np.array([":" in each for each in symbols])
    return Bars(
        ts=ts, symbols=symbols, open=open_, high=np.maximum(open_, close) * 1.001,
        low=np.minimum(open_, close) * 0.999, close=close, volume=rng.lognormal(3, 1, shape),
        funding=np.where(due, wave, 0.0),
    )  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_positions_do_not_change_when_the_future_does(name: str) -> None:
    strategy, parameters = small(name)
    assert look_ahead_bars(strategy, parameters, hourly(1200)) == ()


@pytest.mark.parametrize("name", SMALL)
def test_positions_are_the_same_before_the_future_has_happened(name: str) -> None:
    strategy, parameters = small(name)
    bars = hourly(1200)
    whole = strategy.target_positions(bars, parameters)
    for now in (2, 200, 607, 1000):
        part = strategy.target_positions(bars.window(0, now), parameters)
        np.testing.assert_array_equal(part, whole[:now])


def test_the_look_ahead_test_catches_a_strategy_that_peeks(tmp_path: Path) -> None:
    (tmp_path / "peeking.py").write_text(
        "import numpy as np\n"
        "from research_to_prod.research.strategy import StrategyParameters as Parameters\n"
        "TYPE = 'swing'\n"
        "def warm_up(parameters): return 0\n"
        "def target_positions(bars, parameters):\n"
        "    return np.nan_to_num(np.sign(np.diff(bars.close, axis=0, append=bars.close[-1:])))\n"
    )
    strategy = load_strategy(tmp_path, "peeking")
    assert look_ahead_bars(strategy, strategy.parameters(), hourly(300))


@pytest.mark.parametrize("name", SMALL)
def test_late_positions_do_not_depend_on_the_warm_up(name: str) -> None:
    strategy, parameters = small(name)
    seen = warm_up_dependence(strategy, parameters, hourly(1200))
    assert seen.sound
    assert len(seen.starts) == 4
    assert 0 < seen.forgets_after < 600


REMEMBERING = {
    "a running mean": "np.sign(bars.close - pd.DataFrame(bars.close).expanding().mean().to_numpy())",
    "a slow exponential mean": "np.sign(bars.close - pd.DataFrame(bars.close).ewm(span=2000).mean().to_numpy())",
    "a schedule counted from the first bar": "np.zeros_like(bars.close) + (np.arange(len(bars))[:, None] % 10 < 5)",
    "a sum that only rounds differently": "np.round(np.cumsum(bars.close * 1e3, axis=0)) % 2",
}


@pytest.mark.parametrize("memory", REMEMBERING)
def test_the_recursion_test_catches_a_strategy_that_never_forgets(tmp_path: Path, memory: str) -> None:
    (tmp_path / "remembering.py").write_text(
        "import numpy as np\nimport pandas as pd\n"
        "from research_to_prod.research.strategy import StrategyParameters as Parameters\n"
        "TYPE = 'swing'\n"
        "def warm_up(parameters): return 20\n"
        f"def target_positions(bars, parameters): return {REMEMBERING[memory]}\n"
    )
    strategy = load_strategy(tmp_path, "remembering")
    seen = warm_up_dependence(strategy, strategy.parameters(), hourly(1200))
    assert seen.starts
    assert seen.late_bars
    assert not seen.sound
    assert min(seen.late_bars) >= 600


def test_a_history_too_short_to_compare_is_not_sound() -> None:
    strategy, parameters = small("momentum")
    seen = warm_up_dependence(strategy, parameters, hourly(100))
    assert (seen.starts, seen.late_bars, seen.sound) == ((), (), False)


@pytest.mark.parametrize("name", SMALL)
def test_positions_are_flat_during_the_warm_up_and_taken_after_it(name: str) -> None:
    strategy, parameters = small(name)
    weights = strategy.target_positions(hourly(1200), parameters)
    assert not weights[: strategy.warm_up(parameters)].any()
    assert weights.any()


@pytest.mark.parametrize("name", SMALL)
def test_the_declared_warm_up_hides_no_position_that_the_strategy_takes(name: str) -> None:
    strategy, parameters = small(name)
    bars = hourly(1200)
    raw = strategy._decide(bars, parameters)
    np.testing.assert_array_equal(raw[: strategy.warm_up(parameters)], 0.0)


@pytest.mark.parametrize("name", SMALL)
def test_late_positions_do_not_depend_on_where_history_starts(name: str) -> None:
    strategy, parameters = small(name)
    bars = hourly(1200)
    whole = strategy.target_positions(bars, parameters)
    for start in (1, 37, 250):
        part = strategy.target_positions(bars.window(start, 1200), parameters)
        np.testing.assert_array_equal(part[-400:], whole[-400:])


@pytest.mark.parametrize("name", SMALL)
def test_a_missing_bar_never_changes_a_position(name: str) -> None:
    strategy, parameters = small(name)
    bars = hourly(1200)
    gone = np.zeros(1200, bool)
    gone[[150, 151, 152, 400, 777]] = True
    gone[900:960] = True
    fields = {each: np.where(gone[:, None], np.nan, getattr(bars, each)) for each in FIELDS[:5]}
    weights = strategy.target_positions(replace(bars, **fields), parameters)
    changes = np.diff(weights, axis=0, prepend=0.0) != 0
    assert not changes[gone].any()
    assert changes.any()


@pytest.mark.parametrize("name", SMALL)
def test_a_market_that_was_never_quoted_is_never_held(name: str) -> None:
    strategy, parameters = small(name)
    bars = hourly(400)
    fields = {each: np.full_like(bars.close, np.nan) for each in FIELDS[:5]}
    assert not strategy.target_positions(replace(bars, **fields), parameters).any()


@pytest.mark.parametrize("name", SMALL)
def test_no_bars_give_no_positions(name: str) -> None:
    strategy, parameters = small(name)
    assert strategy.target_positions(hourly(1200).window(0, 0), parameters).shape == (0, 2)


@pytest.mark.parametrize("name", SMALL)
def test_gross_exposure_never_exceeds_the_leverage(name: str) -> None:
    strategy, parameters = small(name)
    sized = parameters.model_copy(update={"gross" if name == "carry" else "leverage": 2.5})
    gross = np.abs(strategy.target_positions(hourly(1200), sized)).sum(axis=1)
    assert gross.max() == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("momentum", StrategyType.SWING),
        ("breakout", StrategyType.SWING),
        ("mean_reversion", StrategyType.INTRADAY),
        ("carry", StrategyType.CARRY),
    ],
)
def test_each_sample_strategy_declares_its_type(name: str, expected: StrategyType) -> None:
    assert load_strategy(FOLDER, name).type is expected


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("momentum", {"lookback_hours": 1}),
        ("momentum", {"leverage": 0}),
        ("momentum", {"leverage": 50}),
        ("momentum", {"lookback": 24}),
        ("breakout", {"entry_hours": 10, "exit_hours": 20}),
        ("mean_reversion", {"entry_z": 1.0, "exit_z": 1.0}),
        ("carry", {"gross": float("nan")}),
    ],
)
def test_parameters_out_of_bounds_or_unknown_are_errors(name: str, wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        load_strategy(FOLDER, name).parameters(**wrong)


def rising(steps: int) -> Bars:
    close = np.linspace(100, 200, steps)[:, None]
    ts = np.datetime64("2023-01-01", "us") + np.arange(steps) * np.timedelta64(1, "h")
    return Bars(ts, ("A/B",), close, close * 1.0001, close * 0.9999, close, close, np.zeros_like(close))


def test_momentum_and_breakout_follow_a_rising_price_and_mean_reversion_fades_it() -> None:
    positions = {}
    for name in ("momentum", "breakout", "mean_reversion"):
        strategy, parameters = small(name)
        positions[name] = strategy.target_positions(rising(500), parameters)[-1, 0]
    assert positions == {"momentum": 1.0, "breakout": 1.0, "mean_reversion": -1.0}


def test_momentum_scales_to_its_volatility_target_and_never_beyond_the_leverage() -> None:
    strategy, _ = small("momentum")
    bars = hourly(3000, symbols=("A/B",))
    unscaled = strategy.target_positions(bars, strategy.parameters(lookback_hours=100, leverage=2))
    scaled = strategy.target_positions(
        bars, strategy.parameters(lookback_hours=100, leverage=2, target_volatility=0.47)
    )
    assert np.abs(scaled).max() <= 2
    # Hourly steps of 1 % are 94 % a year: half of that is half of a unit position.
    assert np.median(np.abs(scaled[200:])) == pytest.approx(0.5, rel=0.1)
    np.testing.assert_array_equal(np.sign(scaled), np.sign(unscaled))


def test_breakout_leaves_on_the_shorter_channel_before_it_turns() -> None:
    climb = np.concatenate((np.full(40, 100.0), np.linspace(100, 120, 40), np.linspace(119, 113, 10)))[:, None]
    ts = np.datetime64("2023-01-01", "us") + np.arange(90) * np.timedelta64(1, "h")
    bars = Bars(ts, ("A/B",), climb, climb, climb, climb, climb, np.zeros_like(climb))
    strategy, _ = small("breakout")

    def held(**choice: object) -> np.ndarray:
        parameters = strategy.parameters(entry_hours=30, exit_hours=6, **choice)
        return strategy.target_positions(bars, parameters)[:, 0]

    assert list(held()[[40, 41, 79, 89]]) == [0.0, 1.0, 1.0, 0.0]
    np.testing.assert_array_equal(held(fade=True), -held())
    assert not held(sides="short").any()
    # The climb starts at 17:00 of the second day; Asia's first close after that is at midnight.
    assert list(held(session="asia")[[46, 47, 79]]) == [0.0, 1.0, 1.0]


def test_carry_holds_spot_against_perpetual_only_while_longs_have_paid() -> None:
    strategy, parameters = small("carry")
    weights = strategy.target_positions(hourly(1200), parameters)
    np.testing.assert_array_equal(weights[:, 0], -weights[:, 1])
    assert set(weights[:, 0]) == {0.0, 0.5}


def test_carry_without_a_perpetual_names_what_is_missing() -> None:
    strategy, parameters = small("carry")
    with pytest.raises(ValueError, match="A/B and A/B:B"):
        strategy.target_positions(hourly(100, symbols=("BTC/USDT", "ETH/USDT:USDT")), parameters)


def test_hours_that_are_no_whole_number_of_bars_are_refused() -> None:
    strategy, parameters = small("momentum")
    bars = hourly(100)
    sparse = replace(bars, ts=bars.ts[0] + np.arange(100) * np.timedelta64(7, "h"))
    with pytest.raises(ValueError, match="whole number of bars"):
        strategy.target_positions(sparse, parameters)
