"""The bar charts of the desk report: bars where the money is, in the page's colours, whatever the names say."""

from __future__ import annotations

import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.reports.cost_figure import COMPONENT_COLOURS, cost_stack
from research_to_prod.reports.desk_report import Step, WaterfallLine
from research_to_prod.reports.svg import BLUE, GREEN, NARROW, RED, WIDE, Scale, amount
from research_to_prod.reports.waterfall_figure import waterfall_bars

COSTS = {"momentum": {"fees": 10.0, "impact": -3.0, "spread": 0.0}, "carry": {"fees": 1.0}}
# Of money and shares; what is smaller can't be told from nothing.
NUMBERS = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


def bars(drawn: str) -> list[dict[str, str]]:
    return [dict(each.attrib) for each in ET.fromstring(drawn).iter("rect")]  # noqa: S314


def texts(drawn: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(drawn).iter("text")]  # noqa: S314


@given(st.tuples(NUMBERS, NUMBERS), st.integers(2, 8))
def test_ticks_are_few_round_and_within_what_is_drawn(ends: tuple[float, float], most: int) -> None:
    low, high = min(0.0, *ends), max(0.0, *ends)
    found = list(Scale(low, high, 0.0, 500.0).ticks(most))
    assert len(found) <= most
    assert all(-1e-3 <= pixel <= 500.001 for pixel, _ in found)
    assert low == high or "0" in {label.rstrip("0").rstrip(".") or "0" for _, label in found}
    steps = [after - before for (before, _), (after, _) in itertools.pairwise(found)]
    assert steps == pytest.approx(steps[:1] * len(steps), rel=1e-6)


def test_numbers_have_a_real_minus_sign_and_zero_has_none() -> None:
    assert [amount(value, digits) for value, digits in ((-1234.5, 0), (-0.004, 2), (0.25, 1))] == [
        "−1,234",
        "0.00",
        "0.2",
    ]
    assert [label for _, label in Scale(-0.5, 0.5, 0, 100).ticks(3, share=True)] == ["−50 %", "0 %", "50 %"]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_cost_stack_follows_the_pages_colours_and_names_only_what_is_there(width: int) -> None:
    drawn = cost_stack(COSTS, "USDT", width)
    assert drawn.startswith("<svg")
    assert {"momentum", "carry", "fees", "impact", "total"} <= set(texts(drawn))
    assert "spread" not in texts(drawn)
    colours = [each["fill"] for each in bars(drawn)]
    assert colours.count(COMPONENT_COLOURS["fees"]) == 3, "one in the legend, one a strategy"
    assert {each.attrib["fill"] for each in ET.fromstring(drawn).iter("text")} == {"currentColor"}  # noqa: S314


def test_a_gain_extends_to_the_left_of_zero_as_far_as_a_cost_of_its_size_to_the_right() -> None:
    drawn = bars(cost_stack({"a": {"fees": 6.0, "impact": -3.0}}, "USDT", WIDE))
    fees, gain = (
        next(each for each in drawn[2:] if each["fill"] == COMPONENT_COLOURS[name]) for name in ("fees", "impact")
    )
    assert float(fees["width"]) == pytest.approx(2 * float(gain["width"]), abs=0.2)
    assert float(gain["x"]) + float(gain["width"]) == pytest.approx(float(fees["x"]), abs=0.2)


def test_each_bar_of_a_waterfall_begins_where_the_one_before_ended() -> None:
    steps = [
        Step(cause=cause, money=money)
        for cause, money in (("expected", Decimal(80)), ("edge", Decimal(-30)), ("fees", None))
    ]
    line = WaterfallLine(strategy="momentum", steps=tuple(steps), live_money=Decimal(50), residual_money=None)
    expected, edge, unknown, live = bars(waterfall_bars([line], "USDT", NARROW))
    assert [each["fill"] for each in (expected, edge, unknown, live)] == [BLUE, RED, GREEN, BLUE]
    assert float(unknown["width"]) == 0
    right = [float(each["x"]) + float(each["width"]) for each in (expected, edge, live)]
    assert right[0] == pytest.approx(right[1], abs=0.2)
    assert float(edge["x"]) == pytest.approx(right[2], abs=0.2)
    both = waterfall_bars([line, line.model_copy(update={"strategy": "carry"})], "USDT", WIDE)
    assert len(bars(both)) == 8
    assert texts(both).count("fees") == 1, "two panels beside each other share the names"


@pytest.mark.parametrize("name", ["</svg><script>", "a & b", "x" * 80])
def test_whatever_a_strategy_is_called_stays_text_and_within_the_picture(name: str) -> None:
    line = WaterfallLine(
        strategy=name, steps=(Step(cause="expected", money=Decimal(1)),), live_money=Decimal(1), residual_money=None
    )
    for drawn in (cost_stack({name: {"fees": 1.0}}, "USDT", NARROW), waterfall_bars([line], "USDT", NARROW)):
        said = max(texts(drawn), key=lambda each: name.startswith(each.removesuffix("…")) * len(each))
        assert name.startswith(said.removesuffix("…"))
        assert len(said) < 60


def test_the_page_is_drawn_without_matplotlib() -> None:
    code = "import sys, research_to_prod.reports.rendering, research_to_prod.reports.cost_figure\n"
    code += "import research_to_prod.reports.waterfall_figure, research_to_prod.reports.curve_figures\n"
    subprocess.run([sys.executable, "-c", f"{code}assert 'matplotlib' not in sys.modules"], check=True)
