"""Days show the modes that they are remembered for, as far as there is data; calm months show none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.failure_modes import CALM_HOURS, EVENTS, Event, calm_months, look
from research_to_prod.attribution.failure_modes import Answer

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "market_data"
FOLDER = Path(os.environ.get("R2P_REAL_DATA") or DEFAULT)

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not FOLDER.is_dir(), reason=f"no real market data: R2P_REAL_DATA is not set and {DEFAULT} absent"
    ),
]

SHOWN = {
    "2020-03-12": {"volatility_shock"},
    "2021-05-19": {"volatility_shock"},
    "LUNA, 2022-05": {"volatility_shock", "stablecoin_depeg"},
    "FTX, 2022-11": {"volatility_shock", "funding_squeeze"},
    "USDC, 2023-03": {"stablecoin_depeg"},
    # Neither books nor liquidations nor prices of USDe; a basis of ether against a mark price once an hour.
    "2025-10-10": {"volatility_shock", "funding_squeeze"},
}


@pytest.mark.parametrize("event", EVENTS, ids=lambda each: each.name)
def test_a_documented_mode_is_present_where_there_is_data_and_unknown_where_there_is_none(event: Event) -> None:
    seen = look(FOLDER, [event])
    for mode in event.documented:
        found = [each for case in seen for each in case.found if each.mode == mode]
        if mode in SHOWN[event.name]:
            assert Answer.PRESENT in {each.answer for each in found}, mode
        else:
            assert {each.answer for each in found} == {Answer.UNKNOWN}, mode
            assert all(each.reason for each in found)


@pytest.mark.slow
def test_three_calm_months_show_nothing_and_prove_the_absence_of_shocks() -> None:
    months = calm_months(FOLDER)
    assert [each.name for each in months] == ["calm, 2022-12", "calm, 2023-07", "calm, 2023-09"]
    for seen in look(FOLDER, months):
        answers = {each.mode: each.answer for each in seen.found}
        assert Answer.PRESENT not in answers.values()
        assert answers["volatility_shock"] is Answer.ABSENT


@pytest.mark.slow
def test_hourly_bars_of_calm_months_show_the_two_hours_of_october_2018_and_no_other() -> None:
    """Bitcoin in dollars fell by 6 % within the first, and rose by as much in the one in which tether lost its peg."""
    months = calm_months(FOLDER, CALM_HOURS)
    assert len(months) >= 13
    shocks = {
        (seen.event.name, f"{window.start:%m-%d %H}")
        for seen in look(FOLDER, months)
        for found in seen.found
        for window in found.windows
    }
    assert shocks == {("calm, 2018-10", "10-11 01"), ("calm, 2018-10", "10-15 06")}
