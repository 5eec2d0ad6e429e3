"""Pictures on the pages of assets: every answer is told without colour, every bound drawn, and a file stands alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.reports.desk_report import MarkoutLine
from research_to_prod.reports.grid_figure import State, grid
from research_to_prod.reports.interval_figure import Interval, intervals
from research_to_prod.reports.markout_figure import markouts_drawn
from research_to_prod.reports.svg import document

STATES = {"present": State("#e08a74", "!"), "unknown": State("#e9d8a6", "?"), "absent": State("#cfe5e2")}
NAMES = st.text(min_size=1, max_size=40)


def texts(drawn: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(drawn).iter("text")]  # noqa: S314


def test_a_grid_has_a_cell_an_answer_and_a_letter_where_somebody_should_look() -> None:
    drawn = grid({("gap", "BTC"): "present", ("gap", "ETH"): "absent", ("depeg", "BTC"): "unknown"}, STATES)
    paths = {each.attrib["fill"]: each.attrib["d"].count("M") for each in ET.fromstring(drawn).iter("path")}  # noqa: S314
    assert paths == {"#e08a74": 1, "#cfe5e2": 1, "#e9d8a6": 1}
    assert texts(drawn).count("!") == 2, "one in the legend, one in its cell"
    assert {"gap", "depeg", "BTC", "ETH", "present", "unknown", "absent"} <= set(texts(drawn))


def test_the_legend_names_only_what_is_there() -> None:
    assert "unknown" not in texts(grid({("gap", "BTC"): "absent"}, STATES))


@settings(max_examples=40)
@given(st.dictionaries(st.tuples(NAMES, NAMES), st.sampled_from(sorted(STATES)), min_size=1, max_size=12))
def test_whatever_rows_and_columns_are_called_a_grid_is_a_picture(cells: dict[tuple[str, str], str]) -> None:
    # What no XML can hold is no name of a rule or a market.
    printable = {tuple(re.sub(r"[^ -~]", "_", each) for each in key): state for key, state in cells.items()}
    assert ET.fromstring(grid(printable, STATES)).tag == "svg"  # type: ignore[arg-type]  # noqa: S314


def test_a_month_of_forty_markets_is_under_60_kilobytes() -> None:
    cells = {(f"venue MARKET{n}/USDT:USDT 1h", f"{day:02d}"): "unknown" for n in range(40) for day in range(1, 32)}
    assert len(document(grid(cells, STATES))) < 60_000


def line(liquidity: str, seconds: int, mean: float | None, low: float | None, high: float | None) -> MarkoutLine:
    counts = {"fills": 5, "parents": 5, "excluded": 0}
    values = {"liquidity": liquidity, "horizon_seconds": seconds, "mean_bps": mean, "low_bps": low, "high_bps": high}
    return MarkoutLine.model_validate(values | counts)


def test_markouts_show_each_kind_of_fill_with_its_intervals_and_leave_out_what_has_no_mean() -> None:
    lines = [
        line("maker", 1, 0.5, -0.5, 1.5),
        line("maker", 1800, -2.0, None, None),
        line("taker", 1, None, None, None),
    ]
    drawn = markouts_drawn(lines)
    assert {"maker", "1 s", "30 min"} <= set(texts(drawn))
    assert "taker" not in texts(drawn)
    assert drawn.count("<circle") == 2


def test_an_interval_reaches_from_bound_to_bound_around_its_estimate() -> None:
    drawn = intervals(
        {"edge: share": [Interval("a: YES", 0.4, 0.1, 0.7), Interval("b: UNKNOWN", 0.1, None, None)]}, 600
    )
    (bounds,) = re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", drawn)
    (first, second) = re.findall(r'circle cx="([\d.]+)"', drawn)
    assert float(bounds[0]) < float(second) + 1e-6 < float(first) < float(bounds[1])
    assert {"edge: share", "a: YES", "b: UNKNOWN"} <= set(texts(drawn))


def test_a_picture_as_a_file_has_its_size_and_white_paper() -> None:
    file = document(grid({("gap", "BTC"): "absent"}, STATES)).decode()
    root = ET.fromstring(file)  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"
    assert root[0].attrib == {"width": root.attrib["width"], "height": root.attrib["height"], "fill": "#fff"}
