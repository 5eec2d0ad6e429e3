"""The map of a week's hours: what orders sent in each cost beyond the model.

Belongs here: drawing. Doesn't: computing what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from research_to_prod.reports.month_lines import HourLine

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_CELL, _LEFT, _TOP = 30, 52, 28
_DEARER, _CHEAPER = "#b5533c", "#3f8f8b"


def hour_map_svg(hours: Sequence[HourLine]) -> str:
    """Return an inline SVG of 7 x 24 cells, red above the model and green below, the stronger the farther.

    An hour whose interval lies above zero has a frame, so that it is told without colour; an empty one is a dot.
    Written as text of numbers and fixed words.
    """
    known = [abs(line.beyond_bps) for line in hours if line.beyond_bps is not None]
    strongest = max(known, default=0.0) or 1.0
    width, height = _LEFT + 24 * _CELL + 2, _TOP + 7 * _CELL + 2
    parts = [f'<svg viewBox="0 0 {width} {height}" font-size="20">']
    labels = [(_LEFT + hour * _CELL + 2, 18, f"{hour:02d}") for hour in range(0, 24, 3)]
    labels += [(0, _TOP + day * _CELL + 22, name) for day, name in enumerate(DAYS)]
    parts += [f'<text x="{left}" y="{top}" fill="currentColor">{text}</text>' for left, top, text in labels]
    for line in hours:
        left, top = _LEFT + line.hour % 24 * _CELL, _TOP + line.hour // 24 * _CELL
        if line.beyond_bps is None:
            middle = f'cx="{left + _CELL / 2:.0f}" cy="{top + _CELL / 2:.0f}"'
            parts.append(f'<circle {middle} r="1.5" fill="currentColor" fill-opacity="0.3"/>')
            continue
        colour = _DEARER if line.beyond_bps > 0 else _CHEAPER
        strength = 0.15 + 0.85 * abs(line.beyond_bps) / strongest
        frame = ' stroke="currentColor" stroke-width="2"' if line.low_bps is not None and line.low_bps > 0 else ""
        parts.append(
            f'<rect x="{left + 1}" y="{top + 1}" width="{_CELL - 2}" height="{_CELL - 2}" '
            f'fill="{colour}" fill-opacity="{strength:.2f}"{frame}/>'
        )
    return "".join([*parts, "</svg>"])
