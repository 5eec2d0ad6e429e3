"""Pictures are deterministic, small, and leave matplotlib's global state alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from research_to_prod.reports.figures import (
    COMPONENT_COLOURS,
    cost_stack,
    equity_and_underwater,
    gates_margin,
    month_with_findings,
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


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [1.0, 0.0], [1.0, -1.0], [1.0, np.inf], [1.0, 1.0, 1.0]])
def test_equity_that_cannot_be_drawn_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match=r"equit"):
        equity_and_underwater(HOURS[:2], np.array(bad))


def test_gates_without_a_value_are_drawn_too() -> None:
    picture = gates_margin(["a", "b", "c"], [0.1, None, float("nan")], [Verdict.PASS, *[Verdict.INCONCLUSIVE] * 2])
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000


def test_a_month_of_minutes_with_findings_is_small_even_where_bars_are_missing() -> None:
    ts = HOURS[0] + np.arange(43_200) * np.timedelta64(1, "m")
    close = np.resize(equity(), len(ts))
    close[1000:1300] = np.nan
    spans = [(ts[1000], ts[1299], "venue_outage", False), (ts[9000], ts[9000], "broken_print", True)]
    for values in (close, np.full(len(ts), np.nan)):
        picture = month_with_findings(ts, values, spans, "v A/Q 1m")
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 60_000


def test_the_cost_stack_follows_the_pages_colours_and_names_only_what_is_there() -> None:
    drawn = cost_stack({"momentum": {"fees": 10.0, "impact": -3.0}, "carry": {"fees": 1.0}}, "USDT", 9.6).decode()
    assert drawn.startswith("<svg")
    assert "currentColor" in drawn
    assert "momentum" in drawn
    assert "impact" in drawn
    assert "opportunity" not in drawn
    assert COMPONENT_COLOURS["fees"] in drawn


def test_importing_the_reports_does_not_import_matplotlib_or_pyplot() -> None:
    code = (
        "import sys, research_to_prod.reports.figures as f, research_to_prod.reports.compile_desk_report\n"
        "assert 'matplotlib' not in sys.modules and 'jinja2' not in sys.modules\n"
        "f.cost_stack({'a': {'fees': 1.0}}, 'USDT', 4.0)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
