"""The live override: enters at once, leaves late, never takes what it did not see for calm, and can be made again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.contracts import LIQUIDITY_PROFILE
from research_to_prod.market_data.liquidity import Regime
from research_to_prod.market_data.regime import Evaluation, Hour, Inputs, Live, State, evaluate, hour_of, z_scores

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
SCALES = {"volatility": (math.log(0.01), 0.5), "spread": (math.log(2.0), 0.5), "depth": (math.log(1e6), 0.5)}
CALM = Live(volatility=0.01, spread=2.0, depth=1e6)
GONE = Live(volatility=0.01, spread=2.0, depth=1e4)
UNSEEN = Live(None, None, None)


def hour(how: int, regime: Regime = Regime.NORMAL, **scales: tuple[float, float]) -> Hour:
    return Hour("2026-01-05", how, regime, SCALES | scales)


def play(*bars: Live, regime: Regime = Regime.NORMAL, state: State = State()) -> list[Evaluation]:  # noqa: B008
    """Bars of five minutes from Monday 00:00 on."""
    found = []
    for number, live in enumerate(bars, start=1):
        as_of = MONDAY + timedelta(minutes=5 * number)
        how = (as_of - timedelta(microseconds=1)).hour
        found.append(evaluate(Inputs(state, live, hour(how, regime)), "v" * 64, as_of))
        state = found[-1].after
    return found


def regimes(*bars: Live, regime: Regime = Regime.NORMAL) -> list[str]:
    return [each.regime.value for each in play(*bars, regime=regime)]


@pytest.mark.parametrize("regime", [Regime.THIN, Regime.NORMAL, Regime.DEEP, Regime.UNKNOWN])
def test_a_calm_bar_leaves_the_word_of_the_profile(regime: Regime) -> None:
    assert regimes(CALM, regime=regime) == [regime.value]


@pytest.mark.parametrize(
    ("name", "z", "stressed"),
    [
        ("depth", -2.99, False),
        ("depth", -3.01, True),
        ("depth", 50.0, False),
        ("spread", 2.99, False),
        ("spread", 3.01, True),
        ("spread", -50.0, False),
        ("volatility", 3.99, False),
        ("volatility", 4.01, True),
    ],
)
def test_each_limit_has_its_side(name: str, z: float, *, stressed: bool) -> None:
    med, s = SCALES[name]
    live = Live(**{**vars(CALM), name: math.exp(med + z * s)})
    assert z_scores(hour(0), live)[name] == pytest.approx(z)
    assert (regimes(live, live)[-1] == "stressed") is stressed


def test_two_stressed_bars_of_three_enter_at_once_and_one_does_not() -> None:
    assert regimes(GONE, CALM, CALM, GONE) == ["normal"] * 4
    assert regimes(GONE, GONE) == ["normal", "stressed"]
    assert regimes(GONE, CALM, GONE) == ["normal", "normal", "stressed"]


def test_six_calm_bars_in_a_row_leave_and_a_bar_that_was_not_seen_is_not_calm() -> None:
    assert regimes(GONE, GONE, *[CALM] * 6) == ["normal", *["stressed"] * 6, "normal"]
    assert regimes(GONE, GONE, *[CALM] * 5, UNSEEN, *[CALM] * 6)[-2:] == ["stressed", "normal"]
    assert regimes(GONE, GONE, *[CALM] * 5, GONE, *[CALM] * 5)[-1] == "stressed"


def test_what_was_not_seen_is_unknown_and_stress_goes_before_it() -> None:
    assert regimes(UNSEEN) == ["unknown"]
    assert regimes(Live(0.01, None, 1e6)) == ["unknown"], "one of three metrics is missing"
    assert regimes(Live(0.01, math.nan, 1e6)) == ["unknown"]
    assert regimes(GONE, GONE, UNSEEN) == ["normal", "stressed", "stressed"]
    half = Live(None, None, 1.0)
    assert regimes(half, half)[-1] == "stressed", "what was seen is enough to be alarmed"


def test_an_empty_book_is_stress() -> None:
    empty = Live(0.01, 2.0, 0.0)
    assert z_scores(hour(0), empty)["depth"] == -math.inf
    assert regimes(empty, empty)[-1] == "stressed"


def test_a_profile_that_is_missing_old_or_of_another_hour_is_unknown() -> None:
    as_of = MONDAY + timedelta(minutes=5)
    for wrong in (None, hour(1), Hour("2025-12-29", 0, Regime.DEEP, SCALES), Hour("2026-01-05", 0, Regime.DEEP, {})):
        assert evaluate(Inputs(State(), CALM, wrong), None, as_of).regime is Regime.UNKNOWN


def test_the_bar_that_ends_on_the_hour_belongs_to_the_hour_before() -> None:
    assert evaluate(Inputs(State(), CALM, hour(0)), "v", MONDAY + timedelta(hours=1)).regime is Regime.NORMAL


def test_time_goes_forward() -> None:
    (first,) = play(CALM)
    with pytest.raises(ValueError, match="is not after the last one"):
        evaluate(Inputs(first.after, CALM, hour(0)), None, first.as_of)


def test_a_row_of_the_profile_becomes_an_hour_without_the_metrics_that_have_no_scale() -> None:
    row = dict.fromkeys(LIQUIDITY_PROFILE.arrow.names) | {
        "venue": "v",
        "symbol": "A/B",
        "how": 24,
        "week": "2026-01-05",
    }
    row |= {"regime": "thin", "depth_med": 1.0, "depth_s": 0.5, "spread_med": 1.0, "spread_s": 0.0, "timeframe": "5m"}
    row |= {f"{name}_n": 1 for name in ("volume", "volatility", "spread", "depth")}
    row |= {f"{name}_basis": "hour_of_week" for name in ("volume", "volatility", "spread", "depth")}
    row |= {"spread_is_proxy": True, "depth_is_proxy": True}
    profile = LIQUIDITY_PROFILE.empty().from_pylist([row], schema=LIQUIDITY_PROFILE.arrow)
    found = hour_of(profile, "v", "A/B", MONDAY + timedelta(days=1))
    assert found == Hour("2026-01-05", 24, Regime.THIN, {"depth": (1.0, 0.5)})
    assert hour_of(profile, "v", "A/B", MONDAY) is None
    assert hour_of(profile, "v", "C/D", MONDAY + timedelta(days=1)) is None


@given(st.lists(st.sampled_from([CALM, GONE, UNSEEN]), min_size=1, max_size=40))
def test_every_evaluation_can_be_made_again_and_follows_the_rule_read_plainly(bars: list[Live]) -> None:
    played = play(*bars)
    stressed = False
    for n, each in enumerate(played):
        assert evaluate(each.inputs, each.profile_version, each.as_of) == each
        if bars[max(0, n - 2) : n + 1].count(GONE) >= 2:
            stressed = True
        elif n >= 5 and set(map(id, bars[n - 5 : n + 1])) == {id(CALM)}:
            stressed = False
        expected = "stressed" if stressed else "unknown" if bars[n] is UNSEEN else "normal"
        assert each.regime.value == expected
