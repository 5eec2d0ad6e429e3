"""Pictures of the desk report's curves: evidence between its boundaries, and depth below the high.

Belongs here: drawing. Doesn't: finding what is drawn (``curves``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from research_to_prod.reports.curves import SequenceLine, UnderwaterLine
from research_to_prod.reports.svg import BLUE, RED, Scale, stroke, svg, text

_SIZE, _WIDTH, _HEIGHT = 12, 360, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 8, 10, 24


def sequence_svg(line: SequenceLine) -> str:
    """Return an inline SVG: the estimate of each evening in its band, against zero and (dashed) what NO excludes."""
    x = _time(line.days)
    y = Scale(min(0.0, *line.lower), max(line.ruled_out, *line.upper), _HEIGHT - _BOTTOM, _TOP)
    at = [x(_ordinal(day)) for day in line.days]
    upper, lower = (list(zip(at, map(y, values), strict=True)) for values in (line.upper, line.lower))
    parts = [
        f'<path d="{_path([*upper, *reversed(lower)])}Z" fill="{BLUE}" fill-opacity="0.3"/>',
        *_frame(line.days, x, y, share=line.question == "edge"),
        stroke(
            f"M{_LEFT} {y(line.ruled_out):.1f}H{_WIDTH - _RIGHT}", RED, ' stroke-width="1.5" stroke-dasharray="5 3"'
        ),
        stroke(_path(zip(at, map(y, line.effects), strict=True)), more=' stroke-width="1.6"'),
    ]
    return svg(_WIDTH, _HEIGHT, _SIZE, parts)


def underwater_svg(line: UnderwaterLine) -> str:
    """Return an inline SVG: how far below its high the record was, its deepest day a dot."""
    depth = [-float(each) for each in line.below_money]
    x, y = _time(line.days), Scale(min(depth), 0.0, _HEIGHT - _BOTTOM, _TOP)
    curve = [(x(_ordinal(day)), y(each)) for day, each in zip(line.days, depth, strict=True)]
    left, top = curve[depth.index(min(depth))]
    parts = [
        f'<path d="{_path([(curve[0][0], _TOP), *curve, (curve[-1][0], _TOP)])}Z" fill="{RED}" fill-opacity="0.4"/>',
        *_frame(line.days, x, y, share=False),
        stroke(_path(curve), RED),
        f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3" fill="{RED}"/>',
    ]
    return svg(_WIDTH, _HEIGHT, _SIZE, parts)


def _frame(days: Sequence[str], x: Scale, y: Scale, *, share: bool) -> Iterator[str]:
    """Yield the line of zero, the values at the side, and the first and the last day below."""
    for pixel, label in y.ticks(4, share=share):
        yield text(_LEFT - 6, pixel + 4, label, "end")
        yield stroke(f"M{_LEFT} {pixel:.1f}H{_WIDTH - _RIGHT}", more=' stroke-opacity="0.15"')
    yield stroke(f"M{_LEFT} {y(0):.1f}H{_WIDTH - _RIGHT}")
    yield text(x.start, _HEIGHT - 7, days[0])
    yield text(x.end, _HEIGHT - 7, days[-1], "end")


def _time(days: Sequence[str]) -> Scale:
    return Scale(_ordinal(days[0]), _ordinal(days[-1]), _LEFT, _WIDTH - _RIGHT)


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{left:.1f} {top:.1f}" for left, top in points)
