"""The picture of what the market did after fills: means by horizon, with their intervals.

Belongs here: drawing. Doesn't: the means (``attribution.markouts``).
"""

from __future__ import annotations

from collections.abc import Sequence

from research_to_prod.reports.desk_report import MarkoutLine
from research_to_prod.reports.svg import BLUE, GREEN, RED, Scale, box, stroke, svg, text

_SIZE, _WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 13, 640, 260, 62, 20, 34, 44
_COLOURS = {"maker": GREEN, "taker": BLUE}


def markouts_drawn(lines: Sequence[MarkoutLine]) -> str:
    """Return an inline SVG: a curve a kind of fill over the horizons, intervals as whiskers, zero as a line.

    Parameters
    ----------
    lines
        One or more with a mean; those without are left out.
    """
    known = [each for each in lines if each.mean_bps is not None]
    horizons = sorted({each.horizon_seconds for each in known})
    reached = [
        0.0,
        *(value for each in known for value in (each.mean_bps, each.low_bps, each.high_bps) if value is not None),
    ]
    x = Scale(0, len(horizons), _LEFT, _WIDTH - _RIGHT)
    y = Scale(min(reached), max(reached), _HEIGHT - _BOTTOM, _TOP)
    parts = []
    for pixel, label in y.ticks(5):
        parts += [text(_LEFT - 8, pixel + 4, label, "end")]
        parts += [stroke(f"M{_LEFT} {pixel:.1f}H{_WIDTH - _RIGHT}", more=' stroke-opacity="0.15"')]
    parts.append(stroke(f"M{_LEFT} {y(0):.1f}H{_WIDTH - _RIGHT}"))
    for place, seconds in enumerate(horizons):
        parts.append(text(x(place + 0.5), _HEIGHT - _BOTTOM + 18, _span(seconds), "middle"))
    kinds = sorted({each.liquidity for each in known})
    for number, kind in enumerate(kinds):
        colour = _COLOURS.get(kind, RED)
        parts += [box(_LEFT + 110 * number, 8, 13, 13, colour), text(_LEFT + 110 * number + 19, 19, kind)]
        # Side by side, so that no whisker hides another.
        shift = 0.5 + 0.12 * (number - (len(kinds) - 1) / 2)
        points = []
        for each in sorted((each for each in known if each.liquidity == kind), key=lambda one: one.horizon_seconds):
            at, mean = x(horizons.index(each.horizon_seconds) + shift), y(each.mean_bps or 0.0)
            points.append(f"{at:.1f} {mean:.1f}")
            parts.append(f'<circle cx="{at:.1f}" cy="{mean:.1f}" r="3.5" fill="{colour}"/>')
            if each.low_bps is not None and each.high_bps is not None:
                parts.append(stroke(f"M{at:.1f} {y(each.low_bps):.1f}V{y(each.high_bps):.1f}", colour))
        parts.append(stroke("M" + "L".join(points), colour, ' stroke-width="1.5"'))
    parts.append(
        text(_WIDTH / 2, _HEIGHT - 6, "after the fill; basis points of value, net of fee, a gain above", "middle")
    )
    return svg(_WIDTH, _HEIGHT, _SIZE, parts)


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"
