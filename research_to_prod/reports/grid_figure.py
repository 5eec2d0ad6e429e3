"""A picture of answers: rows and columns of cells, each coloured and lettered by what was said there.

Belongs here: drawing. Doesn't: what the answers mean, and their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from research_to_prod.reports.svg import box, clipped, room_for, svg, text

_SIZE, _CELL, _LEGEND, _LONGEST = 12, 20, 22, 28
_SLANT = 40


class State(NamedTuple):
    """How an answer is shown: its colour, and a letter that tells it without one; none for what needs no look."""

    colour: str
    letter: str = ""


def grid(cells: Mapping[tuple[str, str], str], states: Mapping[str, State]) -> str:
    """Return an inline SVG of cells by row and column, each in the order in which it first comes.

    Parameters
    ----------
    cells
        (row, column) -> the name of its state; what is not there is left white. One or more.
    states
        Every state that may come, in the order of the legend, which names those that do.
    """
    rows, columns = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    names = {each: clipped(each, _LONGEST * _SIZE, _SIZE) for each in (*rows, *columns)}
    left = room_for((names[each] for each in rows), _SIZE) + 8
    widest = room_for((names[each] for each in columns), _SIZE)
    slanted = widest > _CELL
    rise = widest * math.sin(math.radians(_SLANT)) + 8 if slanted else _SIZE + 6
    seen = [each for each in states if each in cells.values()]
    top = _LEGEND + rise
    # Labels lean over the last column.
    width = left + _CELL * len(columns) + (widest * math.cos(math.radians(_SLANT)) if slanted else 0) + 8
    parts, at = [], 0.0
    for name in seen:
        parts.append(box(at, 4, 12, 12, states[name].colour))
        if states[name].letter:
            parts.append(text(at + 6, 14, states[name].letter, "middle"))
        parts.append(text(at + 17, 15, name))
        at += 17 + room_for([name], _SIZE) + 14
    for number, name in enumerate(columns):
        middle = left + _CELL * (number + 0.5)
        label = text(middle, top - 5, names[name], "start" if slanted else "middle")
        turn = f' transform="rotate(-{_SLANT} {middle:.1f} {top - 5:.1f})">'
        parts.append(label.replace(">", turn, 1) if slanted else label)
    for number, name in enumerate(rows):
        parts.append(text(left - 6, top + _CELL * (number + 0.5) + 4, names[name], "end"))
    for name in seen:
        # A path a state: a rectangle a cell takes three times the bytes.
        own: dict[int, list[float]] = {}
        for (row, column), state in cells.items():
            if state == name:
                own.setdefault(rows.index(row), []).append(left + _CELL * columns.index(column))
        lines = [(top + _CELL * row, found) for row, found in own.items()]
        size = _CELL - 2
        path = "".join(f"M{x + 1:.0f} {y + 1:.0f}h{size}v{size}h-{size}z" for y, found in lines for x in found)
        parts.append(f'<path d="{path}" fill="{states[name].colour}"/>')
        if letter := states[name].letter:
            for y, found in lines:
                # One text a row: its letters stand where its list of places says.
                places = " ".join(f"{x + _CELL / 2:.0f}" for x in found)
                line = text(0, y + _CELL / 2 + 4, letter * len(found), "middle")
                parts.append(line.replace('x="0.0"', f'x="{places}"', 1))
    return svg(max(width, at), top + _CELL * len(rows) + 4, _SIZE, parts)
