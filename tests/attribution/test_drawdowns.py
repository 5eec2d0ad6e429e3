"""Episodes of drawdown in money, against published ones and an oracle, and what their loss is made of."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.attribution.drawdowns import (
    DIMENSIONS,
    UNITS,
    Contributions,
    Curve,
    decompose,
    find_episodes,
    find_episodes_plainly,
)

CASES = Path(os.environ.get("R2P_REFERENCE_CASES") or Path(__file__).parents[3] / "shared" / "reference_cases")
START = datetime(2000, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def curve_of_prices(prices: list[int]) -> Curve:
    at = np.arange(len(prices), dtype=np.int64) * 86_400_000_000 + int(START.timestamp()) * 1_000_000
    equity = np.array(prices, np.int64) * UNITS
    return Curve(at, equity - equity[0], equity)


def contributions(rows: list[dict[str, Any]]) -> Contributions:
    named = {"component": "edge", "symbol": "BTC/USDT", "venue": "binance", "regime": "normal"}
    return Contributions.of(pa.Table.from_pylist([named | row for row in rows]))


def earned(*money: Any, **labels: Any) -> list[dict[str, Any]]:
    return [{"at": START + (i + 1) * DAY, "money": each} | labels for i, each in enumerate(money)]


def test_the_prices_on_which_libraries_disagree_have_one_drawdown_of_five_days() -> None:
    # pyfolio says 4 (business) days, quantstats lets it recover a day early; see the project's notes on drawdowns.
    (first, last) = find_episodes(curve_of_prices([100, 120, 100, 80, 70, 110, 180, 150]))
    assert (first.peak_at, first.trough_at, first.recovered_at) == (START + DAY, START + 4 * DAY, START + 6 * DAY)
    assert first.seconds == 5 * 86_400
    assert (first.falling_seconds, first.recovering_seconds) == (3 * 86_400, 2 * 86_400)
    assert first.loss == 50
    assert first.fraction == pytest.approx(50 / 120)
    assert last.recovered_at is None


def test_the_published_fixture_of_pyfolio_is_reproduced() -> None:
    path = CASES / "attribution.json"
    if not path.exists():
        pytest.skip(f"no reference cases at {path} (set R2P_REFERENCE_CASES)")
    (case,) = [each for each in json.loads(path.read_text()) if each["name"] == "pyfolio_two_drawdowns"]
    expected = case["expected"]
    found = find_episodes(curve_of_prices(case["inputs"]["prices"]))
    assert len(found) == 2
    for number, episode in enumerate(found, 1):
        assert episode.fraction == pytest.approx(expected[f"dd{number}"])
        assert (episode.peak_at - START) / DAY == expected[f"peak{number}"]
        assert (episode.trough_at - START) / DAY == expected[f"valley{number}"]
        recovered = None if episode.recovered_at is None else (episode.recovered_at - START) / DAY
        assert recovered == expected[f"rec{number}"]


@given(st.lists(st.integers(-3, 3), max_size=40))
def test_episodes_are_those_of_the_plain_definition(moves: list[int]) -> None:
    curve = curve_of_prices(np.cumsum([100, *moves]).tolist())
    assert find_episodes(curve) == find_episodes_plainly(curve)


def test_a_drawdown_begins_at_the_last_of_equal_highs_and_has_the_first_of_equal_troughs() -> None:
    (episode,) = find_episodes(curve_of_prices([100, 100, 90, 95, 90, 100]))
    assert (episode.peak_at, episode.trough_at) == (START + DAY, START + 2 * DAY)


def test_a_curve_that_only_rises_or_has_one_point_has_no_drawdown() -> None:
    assert find_episodes(curve_of_prices([100, 100, 101])) == find_episodes(curve_of_prices([100])) == ()


def test_capital_that_is_paid_out_or_in_makes_no_drawdown_and_hides_none() -> None:
    money = contributions(earned(10, 5, -8, 1))
    paid = ((START + 2 * DAY, -500.0), (START + 3 * DAY, 1000.0))
    (episode,) = find_episodes(Curve.of(money, START, 1000, paid))
    assert (episode.peak_at, episode.trough_at) == (START + 2 * DAY, START + 3 * DAY)
    assert episode.loss == 8
    # A fraction of what was at work at the peak: 1000 + 15 earned - 500 paid out.
    assert episode.fraction == pytest.approx(8 / 515)
    assert find_episodes(Curve.of(contributions(earned(1, 1)), START, 1000, ((START + DAY, -900.0),))) == ()


def test_seconds_are_elapsed_time_whatever_the_spacing_and_an_open_drawdown_lasts_to_the_end_of_the_record() -> None:
    money = contributions(
        [
            {"at": START + timedelta(seconds=1), "money": 5},
            {"at": START + timedelta(seconds=1.5), "money": -2},
            {"at": START + 9 * DAY, "money": 1},
        ]
    )
    until = START + 30 * DAY
    (episode,) = find_episodes(Curve.of(money, START, 100, until=until))
    assert episode.falling_seconds == 0.5
    assert episode.recovering_seconds is None
    assert episode.seconds == 30 * 86_400 - 1


def test_a_loss_without_equity_has_no_fraction() -> None:
    (episode,) = find_episodes(Curve.of(contributions(earned(-1)), START, 0))
    assert np.isnan(episode.fraction)


LABELS = {
    "component": st.sampled_from(["edge", "fees", "spread", "funding"]),
    "symbol": st.sampled_from(["BTC/USDT", "ETH/USDT"]),
    "venue": st.sampled_from(["binance", "okx"]),
    "regime": st.sampled_from(["thin", "normal", "stressed"]),
}
ROWS = st.lists(
    st.fixed_dictionaries({"day": st.integers(1, 12), "money": st.floats(-1e6, 1e6)} | LABELS), min_size=1, max_size=40
)


@given(ROWS)
def test_the_parts_of_each_loss_add_up_to_it_exactly_in_every_dimension(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["at"] = START + row.pop("day") * DAY
    money = contributions(rows)
    for episode in find_episodes(Curve.of(money, START, 1e6)):
        parts = decompose(episode, money).to_pylist()
        for dimension in DIMENSIONS:
            own = [each for each in parts if each["dimension"] == dimension]
            assert sum(each["units"] for each in own) == episode.units
            assert [each["units"] for each in own] == sorted((each["units"] for each in own), reverse=True)


def test_a_loss_is_split_by_who_lost_between_peak_and_trough_alone() -> None:
    money = contributions(
        [
            *earned(10, -6, -1, component="edge"),
            *earned(-1, -1, -1, component="fees", venue="okx"),
            {"at": START + 9 * DAY, "money": 20},
        ]
    )
    (episode,) = find_episodes(Curve.of(money, START, 100))
    parts = {(each["dimension"], each["value"]): each for each in decompose(episode, money).to_pylist()}
    assert episode.loss == 9
    assert parts["component", "edge"]["units"] == 7 * UNITS
    assert parts["component", "fees"]["share"] == pytest.approx(2 / 9)
    assert parts["venue", "okx"]["units"] == 2 * UNITS
    assert parts["symbol", "BTC/USDT"]["units"] == 9 * UNITS


def test_decimals_are_kept_to_the_unit() -> None:
    rows = pa.Table.from_pylist(
        [{"at": START + DAY, "component": "fees", "symbol": "a", "venue": "b", "regime": "c", "money": Decimal("0.1")}]
    ).set_column(5, "money", pa.array([Decimal("-0.30000000")], pa.decimal128(38, 18)))
    assert Contributions.of(rows).money.tolist() == [-30_000_000]


def test_contributions_of_another_curve_are_refused() -> None:
    (episode,) = find_episodes(Curve.of(contributions(earned(1, -2)), START, 100))
    with pytest.raises(ValueError, match="lose 300000000 units, the episode 200000000"):
        decompose(episode, contributions(earned(1, -3)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"money": float("nan")}, "not finite"),
        ({"money": 1e11}, "46 billion"),
        ({"money": None}, "money has nulls"),
        ({"venue": None}, "venue has nulls"),
        ({"component": "opportunity"}, "what was not traded"),
    ],
)
def test_what_is_no_money_of_the_ledger_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        contributions([*earned(1.0), *earned(1.0, **row)] if "money" not in row else earned(1.0, row["money"]))


def test_money_outside_the_record_is_refused() -> None:
    with pytest.raises(ValueError, match="outside the record"):
        Curve.of(contributions(earned(1, 1)), START, 100, until=START + DAY)
    with pytest.raises(ValueError, match="outside the record"):
        Curve.of(contributions(earned(1)), START + DAY, 100)
