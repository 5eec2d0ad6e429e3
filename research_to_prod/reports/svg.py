"""Pictures of a page as SVG text: scales, ticks and labels.

Text, because matplotlib takes half a second to import and another 1.7 s for the two bar charts of a page in two widths.
Colours that are not the page's own stand on light and dark paper; everything else is ``currentColor``.

Belongs here: what several pictures share. Doesn't: any one picture.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WIDE, NARROW = 1136, 358
"""Widths of the page's text in pixels, on a desk and on a telephone of 390: pictures are drawn for both."""

BLUE, RED, GREEN = "#6d7fb3", "#b5533c", "#3f8f8b"

_CHARACTER = 0.72
"""Width of a character in units of its size: the mean of "momentum" in a wide sans-serif; most texts need less."""


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)

    def ticks(self, most: int, *, share: bool = False) -> Iterator[tuple[float, str]]:
        """Yield pixel and text of at most ``most`` round values within, 1, 2 or 5 times a power of ten apart.

        Shares are written in per cent.
        """
        span = self.high - self.low
        if not 0 < span < math.inf:
            return
        power = 10.0 ** math.floor(math.log10(span / most))
        step = next(power * each for each in (1, 2, 5, 10) if span / (power * each) < most)
        digits = max(0, -math.floor(math.log10(step)))
        for number in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1):
            value = number * step
            yield self(value), f"{amount(100 * value, max(0, digits - 2))} %" if share else amount(value, digits)


def amount(value: float, digits: int) -> str:
    """Return a number for reading, with a real minus sign and no negative zero."""
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Return a text in the page's colour; whatever it says stays text."""
    said = html.escape(words)
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor">{said}</text>'


def clipped(words: str, room: float, size: int) -> str:
    """Return as much of a text as ``room`` pixels take at a font's size, with an ellipsis for the rest."""
    most = max(1, int(room / (_CHARACTER * size)))
    return words if len(words) <= most else words[: most - 1] + "…"


def room_for(words: Iterable[str], size: int) -> float:
    """Return the pixels that the longest of some texts takes."""
    return _CHARACTER * size * max(map(len, words), default=0)


def box(left: float, top: float, width: float, height: float, colour: str) -> str:
    """Return a filled rectangle; a width below zero extends to the left."""
    left, width = min(left, left + width), abs(width)
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def stroke(path: str, colour: str = "currentColor", more: str = "") -> str:
    """Return the line of a path."""
    return f'<path d="{path}" fill="none" stroke="{colour}"{more}/>'


def document(inline: str) -> bytes:
    """Return an inline picture as a file of its own: with the size, the font and the paper that a page would lend it.

    The paper is white, whatever the theme of who shows it.
    """
    width, height = re.findall(r"[\d.]+", inline.split('viewBox="0 0 ', 1)[1])[:2]
    lent = f'xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" color="#222"'
    paper = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return inline.replace("<svg", f"<svg {lent}", 1).replace(">", f">{paper}", 1).encode()


def svg(width: float, height: float, size: int, parts: Iterable[str]) -> str:
    """Return an inline ``<svg>`` of so many pixels, with text of the font size ``size``."""
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" font-size="{size}">{"".join(parts)}</svg>'
