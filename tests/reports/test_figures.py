"""Pictures are deterministic, small, and leave matplotlib's global state alone."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.reports.figures import (
    equity_and_underwater,
    gates_margin,
    hours_of_the_week,
    marked_series,
    month_with_findings,
    sparkline_svg,
    underwater_and_windows,
)
from research_to_prod.values import Verdict

HOURS = np.datetime64("2023-01-01", "us") + np.arange(26_000) * np.timedelta64(1, "h")


def equity() -> np.ndarray:
    return np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.004, len(HOURS))))


def test_three_years_of_hours_are_under_60_kilobytes_and_always_the_same() -> None:
    picture = equity_and_underwater(HOURS, equity())
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000
    assert picture == equity_and_underwater(HOURS, equity())


@pytest.mark.parametrize("end", [0.0, -0.3])
def test_a_ruin_is_drawn_to_its_end(end: float) -> None:
    ruin = np.append(np.linspace(1.0, 0.1, 99), end)
    assert equity_and_underwater(HOURS[:100], ruin) != equity_and_underwater(HOURS[:100], np.append(ruin[:99], 0.1))


def test_an_underwater_curve_shows_the_windows_of_each_group_and_is_drawn_without_any_too() -> None:
    curve = equity()
    underwater = curve / np.maximum.accumulate(curve) - 1
    start = datetime(2023, 2, 1, tzinfo=UTC)
    windows = {"volatility_shock": [(start, start + timedelta(days=90))], "depeg": [(start, start)]}
    picture, plain = (underwater_and_windows(HOURS, underwater, each) for each in (windows, {}))
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000
    assert picture == underwater_and_windows(HOURS, underwater, windows) != plain


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [0.0, 1.0], [-1.0, 1.0], [1.0, np.inf], [1.0, 1.0, 1.0]])
def test_equity_that_cannot_be_drawn_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"equit"):
        equity_and_underwater(HOURS[:2], np.array(bad))


def test_gates_without_a_value_are_drawn_too() -> None:
    picture = gates_margin(["a", "b", "c"], [0.1, None, float("nan")], [Verdict.PASS, *[Verdict.INCONCLUSIVE] * 2])
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000


def test_twelve_heat_maps_are_under_100_kilobytes_and_what_is_unknown_or_constant_is_drawn_too() -> None:
    hours = np.random.default_rng(5).normal(size=(10, 168))
    values = {f"v A{number}/B": each for number, each in enumerate(hours)}
    values |= {"v C/D": np.full(168, np.nan), "v E/F": np.ones(168)}
    picture = hours_of_the_week(values, "volume")
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 100_000
    assert picture == hours_of_the_week(values, "volume")


def test_a_month_of_minutes_with_findings_is_small_even_where_bars_are_missing() -> None:
    ts = HOURS[0] + np.arange(43_200) * np.timedelta64(1, "m")
    close = np.resize(equity(), len(ts))
    close[1000:1300] = np.nan
    spans = [(ts[1000], ts[1299], "venue_outage", False), (ts[9000], ts[9000], "broken_print", True)]
    for values in (close, np.full(len(ts), np.nan)):
        picture = month_with_findings(ts, values, spans, "v A/Q 1m")
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 60_000


def test_importing_the_reports_does_not_import_matplotlib_or_pyplot() -> None:
    code = (
        "import sys, research_to_prod.reports.figures as f, research_to_prod.reports.compile_desk_report\n"
        "assert 'matplotlib' not in sys.modules and 'jinja2' not in sys.modules\n"
        "f.gates_margin(['a'], [0.1], [f.Verdict.PASS])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def hourly(count: int) -> np.ndarray:
    return np.datetime64("2024-01-01") + np.arange(count) * np.timedelta64(1, "h").astype("timedelta64[us]")


HOUR = np.timedelta64(1, "h")


def test_a_sparkline_is_a_small_svg_document_that_breaks_at_gaps() -> None:
    ts = np.delete(hourly(744), slice(100, 130))
    values = 100 + np.sin(np.arange(len(ts)) / 20)
    whole, broken = (
        ET.fromstring(sparkline_svg(*each, HOUR))  # noqa: S314
        for each in ((hourly(744), np.ones(744)), (ts, values))
    )
    assert [path.get("d", "").count("M") for path in whole.iter("{http://www.w3.org/2000/svg}path")] == [1]
    assert [path.get("d", "").count("M") for path in broken.iter("{http://www.w3.org/2000/svg}path")] == [2, 1]
    assert len(sparkline_svg(ts, values, HOUR)) < 3000


@given(st.lists(st.floats(-1e9, 1e9), max_size=300))
def test_any_series_has_a_sparkline_within_its_frame(values: list[float]) -> None:
    ts = np.cumsum(np.ones(len(values), "int64")).astype("datetime64[us]")
    document = ET.fromstring(sparkline_svg(ts, np.array(values)))  # noqa: S314
    for path in document.iter("{http://www.w3.org/2000/svg}path"):
        numbers = [float(each) for each in re.findall(r"-?[0-9.]+", path.get("d", ""))]
        assert all(0 <= each <= 240 for each in numbers)


@pytest.mark.parametrize("count", [1, 2, 50_000])
def test_marked_rows_are_drawn_in_a_small_png_even_where_they_have_no_value(count: int) -> None:
    values = np.linspace(1, 2, count)
    marked = np.zeros(count, bool)
    marked[[0, -1]] = True
    values[-1] = np.nan
    picture = marked_series(hourly(count), values, marked, "BTC/USDT close", HOUR)
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000
    assert picture == marked_series(hourly(count), values, marked, "BTC/USDT close", HOUR)
