"""A picture of estimates with their bounds, a row each, in panels of one unit.

Belongs here: drawing. Doesn't: estimating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from research_to_prod.reports.svg import BLUE, Scale, room_for, stroke, svg, text

_SIZE, _ROW, _TITLE, _AXIS = 13, 22, 26, 26


class Interval(NamedTuple):
    """An estimate and its bounds; None where there is no bound."""

    name: str
    value: float
    lower: float | None
    upper: float | None


def intervals(panels: Mapping[str, Sequence[Interval]], width: float) -> str:
    """Return an inline SVG: a panel a title, a dot an estimate, a line between its bounds, zero as a line.

    Parameters
    ----------
    panels
        Title -> estimates of one unit; one or more of each.
    width
        Pixels.
    """
    left = min(room_for((each.name for panel in panels.values() for each in panel), _SIZE), 0.45 * width) + 12
    parts, top = [], 0.0
    for title, panel in panels.items():
        ends = [end for each in panel for end in (each.value, each.lower, each.upper) if end is not None]
        x = Scale(min(0.0, *ends), max(0.0, *ends), left + 6, width - 30)
        bottom = top + _TITLE + _ROW * len(panel)
        parts.append(text(0, top + 17, title))
        for pixel, label in x.ticks(6):
            parts += [stroke(f"M{pixel:.1f} {top + _TITLE}V{bottom}", more=' stroke-opacity="0.15"')]
            parts += [text(pixel, bottom + 15, label, "middle")]
        parts.append(stroke(f"M{x(0):.1f} {top + _TITLE}V{bottom}"))
        for row, each in enumerate(panel):
            middle = top + _TITLE + _ROW * (row + 0.5)
            parts.append(text(left - 4, middle + 4, each.name, "end"))
            if each.lower is not None and each.upper is not None:
                parts.append(
                    stroke(f"M{x(each.lower):.1f} {middle:.1f}H{x(each.upper):.1f}", BLUE, ' stroke-width="2"')
                )
            parts.append(f'<circle cx="{x(each.value):.1f}" cy="{middle:.1f}" r="4" fill="{BLUE}"/>')
        top = bottom + _AXIS
    return svg(width, top, _SIZE, parts)
