"""Stacked bars: what was paid, a bar a strategy, by component; and whatever else adds up.

Belongs here: drawing. Doesn't: computing what is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

from research_to_prod.reports.svg import WIDE, Scale, box, clipped, room_for, stroke, svg, text

# Told apart by lightness too, so that they survive colour blindness and a grey printer; fine on light and dark paper.
COMPONENT_COLOURS = {
    "delay_filled": "#6d7fb3",
    "delay_unfilled": "#a3b1d6",
    "timing": "#3f8f8b",
    "spread": "#d9a441",
    "impact": "#b5533c",
    "fees": "#8a8f98",
    "opportunity": "#8d6a9f",
}
_SIZE, _LEGEND, _ROW, _BAR = 14, 22, 34, 20


def cost_stack(costs: Mapping[str, Mapping[str, float]], currency: str, width: float) -> str:
    """Return an inline SVG: one bar per strategy, stacked by cost component; gains extend to the left of zero.

    Parameters
    ----------
    costs
        Strategy -> component -> money, cost positive; one or more.
    width
        Pixels: ``svg.WIDE`` or ``svg.NARROW``.
    """
    return stacked(costs, COMPONENT_COLOURS, f"{currency}, cost to the right, gain to the left", width)


def stacked(costs: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], caption: str, width: float) -> str:
    """Return an inline SVG: one bar per name, stacked by part in the order of the colours; a diamond is the total.

    Parameters
    ----------
    costs
        Name -> part -> amount; one or more. Amounts below zero extend to the left; whole ones are counts.
    colours
        Part -> colour, of all that may come.
    caption
        What is drawn, for the axis.
    """
    components = [each for each in colours if any(money.get(each) for money in costs.values())]
    right = [sum(max(money.get(each, 0.0), 0.0) for each in components) for money in costs.values()]
    left = [sum(min(money.get(each, 0.0), 0.0) for each in components) for money in costs.values()]
    columns = 4 if width >= WIDE else 2
    top = _LEGEND * -(-(len(components) + 1) // columns) + 8
    bottom = top + _ROW * len(costs)
    names = min(room_for(costs, _SIZE), 0.36 * width)
    x = Scale(min(0.0, *left), max(0.0, *right), names + 14, width - 24)
    parts = []
    for number, each in enumerate([*components, "total"]):
        at, line = number % columns * width / columns, number // columns * _LEGEND
        mark = _total(at + 6, line + 10) if each == "total" else box(at, line + 4, 13, 13, colours[each])
        parts += [mark, text(at + 20, line + 15, each.replace("_", " "))]
    most = 6 if width >= WIDE else 4
    if all(isinstance(each, int) for parts_of in costs.values() for each in parts_of.values()):
        most = min(most, int(x.high - x.low) + 1)  # nobody has half a break
    for pixel, label in x.ticks(most):
        parts += [stroke(f"M{pixel:.1f} {top}V{bottom}", more=' stroke-opacity="0.15"')]
        parts += [text(pixel, bottom + 16, label, "middle")]
    parts.append(stroke(f"M{x(0):.1f} {top}V{bottom}"))
    for row, (name, money) in enumerate(costs.items()):
        middle = top + _ROW * (row + 0.5)
        parts.append(text(names + 6, middle + 5, clipped(name, names + 6, _SIZE), "end"))
        reached = {True: 0.0, False: 0.0}
        for component in components:
            paid = money.get(component, 0.0)
            start = reached[paid >= 0]
            reached[paid >= 0] += paid
            if paid:
                parts.append(box(x(start), middle - _BAR / 2, x(start + paid) - x(start), _BAR, colours[component]))
        parts.append(_total(x(sum(reached.values())), middle))
    parts.append(text((x.start + x.end) / 2, bottom + 36, caption, "middle"))
    return svg(width, bottom + 42, _SIZE, parts)


def _total(x: float, y: float) -> str:
    return stroke(f"M{x - 5:.1f} {y:.1f}l5 -5 5 5 -5 5z", more=' stroke-width="1.4"')
