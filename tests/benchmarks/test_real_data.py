"""A reduced version of the study on real data: short windows are refused, whatever they show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.real_data import MARKETS, SEARCHES, Result, page, results
from research_to_prod.values import Verdict

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "market_data"
FOLDER = Path(os.environ.get("R2P_REAL_DATA") or DEFAULT)

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="no real market data: R2P_REAL_DATA is not set"),
]


@pytest.fixture(scope="module")
def found() -> list[Result]:
    return list(results(FOLDER, [each for each in MARKETS if each.venue in {"kraken", "okx"}]))


def test_a_window_of_less_than_a_year_promotes_nothing(found: list[Result]) -> None:
    assert [each.strategy for each in found] == ["momentum", "breakout", "mean_reversion"] * 2
    for each in found:
        assert "minimum_days" in {gate.gate for gate in each.refusals}
        assert each.report.verdict is not Verdict.PASS


def test_every_trial_of_the_search_is_counted_and_so_is_every_neighbour(found: list[Result]) -> None:
    for each in found:
        searched = 1
        for values in SEARCHES[each.strategy].values():
            searched *= len(values)
        assert each.trials > searched
        assert each.figures["overfitting", "n_trials"] == searched


def test_the_page_gives_each_row_its_first_reason_and_no_path_of_this_machine(found: list[Result]) -> None:
    text = page(found)
    assert "0 of 6 pass all gates of the policy: none." in text
    for each in found:
        assert f"| {each.strategy} | {each.market.what} | `{each.refusals[0].gate}`: {each.refusals[0].reason}" in text
    assert str(FOLDER) not in text
