"""The curves of the desk report: what each evening saw, between its boundaries, and how far below its high it was."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from research_to_prod.attribution.pnl_contracts import DRAWDOWNS, EDGE_VERDICTS
from research_to_prod.reports.curve_figures import sequence_svg, underwater_svg
from research_to_prod.reports.curves import LOOKS, looks_among, sequence_lines, underwater_lines

FIRST = date(2026, 1, 1)
RULED_OUT = {"edge": 0.5, "execution": 2.0, "selection": 2.0}


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def verdicts(*seen: tuple[int, str, float | None]) -> pa.Table:
    """Return what was seen of momentum on such days: a question and its effect, in bounds that narrow."""
    rows: list[dict[str, Any]] = [
        {"day": day(number), "strategy": "momentum", "question": question, "unit": "bps a day", "effect": effect}
        | {
            name: None if effect is None else effect + sign * 5 / (number + 1)
            for name, sign in (("lower", -1), ("upper", 1))
        }
        for number, question, effect in seen
    ]
    return pa.Table.from_pylist(rows, schema=EDGE_VERDICTS.arrow)


def depths(*below: float) -> pa.Table:
    record = {"strategy": "momentum", "episode": 0, "dimension": "day"}
    rows = [record | {"value": day(n), "loss": Decimal(str(money))} for n, money in enumerate(below)]
    rows.append(record | {"dimension": "all", "value": "all", "loss": Decimal(99)})
    rows.append(record | {"episode": 1, "dimension": "all", "value": "all", "loss": Decimal(77)})
    return pa.Table.from_pylist(rows, schema=DRAWDOWNS.arrow)


def points(drawn: str, number: int) -> list[tuple[float, float]]:
    """Return the corners of a path."""
    path = [each.attrib["d"] for each in ET.fromstring(drawn).iter("path")][number]  # noqa: S314
    return [tuple(map(float, each.split())) for each in path.strip("MZ").split("L")]  # type: ignore[misc]


@pytest.mark.parametrize("count", [1, LOOKS, LOOKS + 1, 1_000])
def test_of_many_evenings_the_first_the_last_and_evenly_spread_ones_are_looked_at(count: int) -> None:
    evenings = [day(number) for number in range(count)]
    looked = looks_among(evenings)
    assert len(looked) == min(count, LOOKS) == len(set(looked))
    assert looked == sorted(looked)
    assert (looked[0], looked[-1]) == (evenings[0], evenings[-1])
    gaps = np.diff([evenings.index(each) for each in looked])
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1


def test_a_sequence_is_in_the_order_of_time_and_leaves_out_evenings_that_saw_nothing() -> None:
    rows = verdicts((3, "execution", 1.5), (0, "execution", None), (1, "execution", 0.5), (2, "edge", 0.1))
    (line,) = sequence_lines(rows, RULED_OUT)
    assert (line.question, line.days, line.effects) == ("execution", (day(1), day(3)), (0.5, 1.5))
    assert (line.lower[-1], line.upper[-1], line.ruled_out) == (0.25, 2.75, 2.0)


def test_questions_come_in_their_own_order() -> None:
    rows = verdicts(*((number, question, 0.1) for question in ("selection", "execution", "edge") for number in (1, 2)))
    assert [line.question for line in sequence_lines(rows, RULED_OUT)] == ["edge", "execution", "selection"]


def test_the_estimate_is_drawn_within_its_band_and_the_band_narrows() -> None:
    (line,) = sequence_lines(verdicts(*((number, "execution", 0.5) for number in range(9))), RULED_OUT)
    drawn = sequence_svg(line)
    band, estimate = points(drawn, 0), points(drawn, -1)
    upper, lower = band[:9], band[:8:-1]
    for (x, y), (_, high), (_, low) in zip(estimate, upper, lower, strict=True):
        assert high < y < low, "pixels are counted from above"
        assert 0 < x < 360
    heights = [low - high for (_, high), (_, low) in zip(upper, lower, strict=True)]
    assert heights == sorted(heights, reverse=True)
    texts = [each.text for each in ET.fromstring(drawn).iter("text")]  # noqa: S314
    assert texts[-2:] == [day(0), day(8)]


def test_evenings_that_are_missing_leave_their_room() -> None:
    (line,) = sequence_lines(verdicts((0, "edge", 0.1), (1, "edge", 0.1), (9, "edge", 0.1)), RULED_OUT)
    (first, _), (second, _), (third, _) = points(sequence_svg(line), -1)
    assert (third - second) == pytest.approx(8 * (second - first), abs=0.5)


def test_depth_is_of_the_record_alone_and_its_deepest_day_is_marked() -> None:
    (line,) = underwater_lines(depths(0, 2.5, 10, 4))
    assert (line.days, line.below_money) == (tuple(map(day, range(4))), (0, Decimal("2.5"), 10, 4))
    drawn = underwater_svg(line)
    (dot,) = ET.fromstring(drawn).iter("circle")  # noqa: S314
    left, top = points(drawn, -1)[2]
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == (left, top)
    assert top == max(y for _, y in points(drawn, -1))


@pytest.mark.parametrize("below", [(), (3.0,), (0, 0, 0)], ids=["no day", "one day", "always at its high"])
def test_a_record_without_depth_has_no_curve(below: tuple[float, ...]) -> None:
    assert underwater_lines(depths(*below)) == ()


def test_of_years_the_extremes_are_kept() -> None:
    walk = np.abs(np.random.default_rng(3).normal(size=1_500).cumsum()).round(3)
    (line,) = underwater_lines(depths(*walk.tolist()))
    assert len(line.days) <= 242
    assert max(line.below_money) == Decimal(str(walk.max()))
    assert (line.days[0], line.days[-1]) == (day(0), day(1_499))
