"""The picture of the waterfall: from expected to live, one cause a row.

Belongs here: drawing. Doesn't: computing what is drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from research_to_prod.reports.desk_report import WaterfallLine
from research_to_prod.reports.svg import BLUE, GREEN, RED, WIDE, Scale, box, clipped, room_for, stroke, svg, text

_SIZE, _ROW, _BAR, _TITLE, _AXIS, _GAP = 14, 22, 14, 24, 50, 24
_SHORT = {"modelled cost, taken back": "modelled cost back", "liquidations, conversions, transfers": "other"}


def waterfall_bars(lines: Sequence[WaterfallLine], currency: str, width: float) -> str:
    """Return an inline SVG: a panel a strategy; rows from expected through each cause to live.

    Parameters
    ----------
    lines
        One or more, of the same causes.
    width
        Pixels: ``svg.WIDE``, or ``svg.NARROW`` with its panels one below the other.
    """
    columns = min(len(lines), 2) if width >= WIDE else 1
    names = [_SHORT.get(each, each) for each in (*(step.cause for step in lines[0].steps), "live")]
    left = room_for(names, _SIZE) + 10
    wide, high = (width - left) / columns, _TITLE + _ROW * len(names) + _AXIS
    parts = []
    for number, line in enumerate(lines):
        row, column = divmod(number, columns)
        top = row * high + _TITLE
        if column == 0:
            parts += [text(left - 8, top + _ROW * (n + 0.5) + 5, name, "end") for n, name in enumerate(names)]
        start = left + column * wide
        parts += _panel(line, currency, top, (start + 8, start + wide - _GAP))
    return svg(width, -(-len(lines) // columns) * high, _SIZE, parts)


def _panel(line: WaterfallLine, currency: str, top: float, reach: tuple[float, float]) -> Iterator[str]:
    moves = [float(step.money or 0) for step in line.steps]
    levels = [0.0, *itertools.accumulate(moves)]
    live = float(line.live_money)
    x = Scale(min(*levels, live), max(*levels, live), *reach)
    bottom = top + _ROW * (len(moves) + 1)
    yield text(reach[0], top - 8, clipped(line.strategy, reach[1] - reach[0], _SIZE))
    for pixel, label in x.ticks(4):
        yield stroke(f"M{pixel:.1f} {top}V{bottom}", more=' stroke-opacity="0.15"')
        yield text(pixel, bottom + 16, label, "middle")
    yield stroke(f"M{x(0):.1f} {top}V{bottom}")
    for row, (money, level) in enumerate(zip(moves, levels, strict=False)):
        at = top + _ROW * row + (_ROW - _BAR) / 2
        colour = BLUE if row == 0 else GREEN if money >= 0 else RED
        yield box(x(level), at, x(level + money) - x(level), _BAR, colour)
        yield stroke(f"M{x(level + money):.1f} {at + _BAR / 2:.1f}v{_ROW}", more=' stroke-width="0.8"')
    yield box(x(0), bottom - (_ROW + _BAR) / 2, x(live) - x(0), _BAR, BLUE)
    yield text(sum(reach) / 2, bottom + 36, f"{currency}, gain to the right", "middle")
