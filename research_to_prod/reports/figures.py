"""Pictures: data in, PNG bytes out, the same bytes for the same data.

Belongs here: drawing with matplotlib's Agg back end on Figure objects. Doesn't: pyplot (its global state leaks
between runs of one process), computing what is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from research_to_prod.values import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VERDICT_COLOURS = {Verdict.PASS: "#3f8f8b", Verdict.FAIL: "#b5533c", Verdict.INCONCLUSIVE: "#d9a441"}
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def equity_and_underwater(ts: npt.NDArray[np.datetime64], equity: npt.NDArray[np.float64]) -> bytes:
    """Return a PNG (under 60 kB) of an equity curve above its drawdown from the running peak.

    Parameters
    ----------
    ts, equity
        (T,) times and equity, which may end in ruin, at or below zero; T >= 2.

    Raises
    ------
    ValueError
        If lengths differ, fewer than two points are given, or equity is not finite or begins with nothing.
    """
    import matplotlib as mpl
    from matplotlib.ticker import PercentFormatter

    if len(ts) != len(equity) or len(ts) < 2:
        raise ValueError(f"{len(ts)} times and {len(equity)} equities; two or more of each are needed")
    if not (np.isfinite(equity).all() and equity[0] > 0):
        raise ValueError("equity is not finite everywhere, or not positive at first")
    underwater = equity / np.maximum.accumulate(equity) - 1
    worst = int(underwater.argmin())
    # More points than pixels only cost bytes; every bin keeps its extreme, the deepest point among them.
    keep = extremes(underwater, 800)
    with mpl.rc_context(STYLE):
        figure = new_figure(8, 4)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
        above.plot(ts[keep], equity[keep], color="#2f4b7c", linewidth=1.1)
        above.set_ylabel("equity")
        above.grid(axis="y", linewidth=0.4, alpha=0.5)
        below.fill_between(ts[keep], underwater[keep], 0, color="#b5533c", alpha=0.6, linewidth=0)
        below.set_ylabel("underwater")
        below.yaxis.set_major_formatter(PercentFormatter(1.0))
        below.grid(axis="y", linewidth=0.4, alpha=0.5)
        below.annotate(
            f"{underwater[worst]:.1%}".replace("-", "−"),
            (ts[worst], underwater[worst]),
            textcoords="offset points",
            xytext=(5, 3),
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1},
        )
        return png(figure)


def underwater_and_windows(
    ts: npt.NDArray[np.datetime64],
    underwater: npt.NDArray[np.float64],
    windows: Mapping[str, Sequence[tuple[datetime, datetime]]],
) -> bytes:
    """Return a PNG (under 60 kB) of an underwater curve above a lane for each named group of windows.

    Parameters
    ----------
    ts, underwater
        (T,) times and fractions of the peak, at most 0; T >= 2.
    windows
        Start and end (UTC) of each window; one too short to see is drawn as wide as a line.
    """
    import matplotlib as mpl
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.ticker import PercentFormatter

    keep = extremes(underwater, 800)
    with mpl.rc_context(STYLE):
        figure = new_figure(8, 2.4 + 0.25 * len(windows))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 0.3 * max(1, len(windows))])
        above.fill_between(ts[keep], underwater[keep], 0, color="#2f4b7c", alpha=0.5, linewidth=0)
        above.yaxis.set_major_formatter(PercentFormatter(1.0))
        above.set_ylabel("underwater")
        above.grid(axis="y", linewidth=0.4, alpha=0.5)
        for lane, spans in enumerate(windows.values()):
            for start, end in spans:
                left, right = date2num(start), date2num(end)
                below.broken_barh([(left, right - left)], (lane - 0.35, 0.7), color="#b5533c", linewidth=0.8)
                above.axvspan(left, right, color="#b5533c", alpha=0.15, linewidth=0)
        below.set_yticks(range(len(windows)), labels=[each.replace("_", " ") for each in windows], parse_math=False)
        below.set_ylim(max(1, len(windows)) - 0.5, -0.5)
        locator = AutoDateLocator(maxticks=8)
        below.xaxis.set_major_locator(locator)
        below.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        return png(figure)


def hours_of_the_week(values: Mapping[str, npt.NDArray[np.float64]], title: str) -> bytes:
    """Return a PNG (under 100 kB for 12 names) of heat maps, seven days by 24 hours, one below the other.

    Parameters
    ----------
    values
        (168,) values a name, from Monday 00:00 on. Each name has colours of its own scale; NaN is left white.
    """
    import matplotlib as mpl

    panels = []
    for each in values.values():
        known = each[np.isfinite(each)]
        low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        panels.append(((each - low) / (high - low or 1.0)).reshape(7, 24))
    with mpl.rc_context(STYLE):
        # One axes for all: with one a name the layout alone takes a second.
        figure = new_figure(7, 0.8 + 0.8 * len(panels))
        axes = figure.subplots()
        axes.imshow(np.concatenate(panels), aspect="auto", cmap="viridis", interpolation="nearest")
        for number in range(1, len(panels)):
            axes.axhline(7 * number - 0.5, color="white", linewidth=3)
        axes.set_yticks([7 * number + 3 for number in range(len(panels))], labels=list(values))
        axes.set_xticks(range(0, 24, 2))
        axes.set_xlabel("hour (UTC); Monday above, Sunday below; dark is low")
        axes.set_title(title)
        return png(figure)


def month_with_findings(
    ts: npt.NDArray[np.datetime64],
    close: npt.NDArray[np.float64],
    spans: Sequence[tuple[np.datetime64, np.datetime64, str, bool]],
    title: str,
) -> bytes:
    """Return a PNG (under 60 kB) of a month's closes with the bars that findings concern shaded and named.

    Parameters
    ----------
    ts, close
        (n,) times and closes, NaN where a bar is missing.
    spans
        First and last time of each finding, its name, and whether it is an error.
    """
    import matplotlib as mpl
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    seen = np.flatnonzero(np.isfinite(close))
    keep = seen[extremes(close[seen], 800)] if len(seen) else seen
    with mpl.rc_context(STYLE):
        figure = new_figure(8, 2.6)
        # Fixed margins: months with findings are many, and a computed layout draws each of them twice.
        figure.set_layout_engine("none")
        axes = figure.add_axes((0.09, 0.2, 0.89, 0.55))
        axes.plot(ts[keep], close[keep], color="#2f4b7c", linewidth=0.9)
        for first, last, name, error in spans:
            colour = _VERDICT_COLOURS[Verdict.FAIL if error else Verdict.INCONCLUSIVE]
            start, stop = float(date2num(first)), float(date2num(last))
            axes.axvspan(start, stop, color=colour, alpha=0.25, linewidth=1)
            where = axes.get_xaxis_transform()
            axes.text(start, 1.0, name, transform=where, color=colour, rotation=30, va="bottom", fontsize=7)
        axes.set_ylabel("close")
        axes.set_xlabel(title, loc="left")
        axes.xaxis.set_major_formatter(ConciseDateFormatter(AutoDateLocator()))
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        return png(figure)


def gates_margin(names: Sequence[str], margins: Sequence[float | None], verdicts: Sequence[Verdict]) -> bytes:
    """Return a PNG of each gate's margin to its threshold; the verdict is written beside the bar, not only coloured.

    Parameters
    ----------
    names, margins, verdicts
        One of each per gate. A margin is (value - threshold) in units of the threshold, positive on the passing side;
        None or NaN where the gate could not be computed.
    """
    import matplotlib as mpl

    width = np.array([np.nan if margin is None else margin for margin in margins], dtype=np.float64)
    # A margin of several hundred per cent is as passed as one of 100 %; clipped so that the close ones stay readable.
    drawn = np.clip(np.nan_to_num(width), -1, 1)
    with mpl.rc_context(STYLE):
        figure = new_figure(8, 0.8 + 0.32 * len(names))
        axes = figure.subplots()
        axes.barh(range(len(names)), drawn, color=[_VERDICT_COLOURS[each] for each in verdicts], height=0.62)
        axes.axvline(0, color="#444444", linewidth=0.8)
        axes.set_yticks(range(len(names)), labels=list(names))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-1.05, 1.75)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1], labels=["−100 %", "−50 %", "threshold", "+50 %", "+100 %"])
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        for row, (margin, verdict) in enumerate(zip(width, verdicts, strict=True)):
            shown = f"{margin:+.0%}" if abs(margin) < 10 else f"{'over +' if margin > 0 else 'under -'}1000%"
            text = "no value" if np.isnan(margin) else shown.replace("-", "−")
            axes.text(1.1, row, f"{verdict.value.upper()}  {text}", va="center")
        return png(figure)


def marked_series(
    ts: npt.NDArray[np.datetime64],
    values: npt.NDArray[np.float64],
    marked: npt.NDArray[np.bool_],
    label: str,
    step: np.timedelta64 | None = None,
) -> bytes:
    """Return a PNG (under 60 kB) of a series with some of its points marked and its gaps left open.

    Parameters
    ----------
    ts, values
        (T,) times, ascending, and values; a marked value that is not finite is drawn at the lower edge.
    marked
        (T,) points to mark.
    label
        What is drawn, for the axis.
    step
        Usual time between two points; 1.5 of them are a gap. None for a series that has no usual step.
    """
    import matplotlib as mpl

    finite = np.isfinite(values)
    keep = extremes(np.where(finite, values, 0.0), 400)
    cuts = np.flatnonzero(np.diff(_strokes(ts, step)[keep])) + 1
    with mpl.rc_context(STYLE):
        figure = new_figure(8, 2.4)
        axes = figure.subplots()
        # A NaN between two strokes leaves the line open.
        axes.plot(
            np.insert(ts[keep], cuts, ts[keep][cuts]),
            np.insert(np.where(finite, values, np.nan)[keep], cuts, np.nan),
            color="#2f4b7c",
            linewidth=0.9,
        )
        axes.plot(ts[marked & finite], values[marked & finite], "x", color="#b5533c", markersize=6)
        lost = ts[marked & ~finite]
        axes.plot(lost, np.zeros(len(lost)), "x", color="#b5533c", transform=axes.get_xaxis_transform(), clip_on=False)
        axes.set_ylabel(label, parse_math=False)
        axes.tick_params(axis="x", labelrotation=20)
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        return png(figure)


def sparkline_svg(
    ts: npt.NDArray[np.datetime64], values: npt.NDArray[np.float64], step: np.timedelta64 | None = None
) -> bytes:
    """Return an SVG document of 240 x 32 pixels: a line that is open at gaps, each gap a red bar below it.

    Written as text, because matplotlib takes 50 ms a picture, and each month that passes has one for every market.

    Parameters
    ----------
    ts, values
        (T,) times, ascending, and finite values.
    step
        As in :func:`marked_series`.
    """
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 32" width="240" height="32">'
    if len(ts) < 2 or ts[0] == ts[-1]:
        return f"{head}</svg>".encode()
    keep, strokes = extremes(values, 60), _strokes(ts, step)
    x = (ts - ts[0]) / (ts[-1] - ts[0]) * 240
    y = 26 - (values - values.min()) / (float(np.ptp(values)) or 1.0) * 24
    opens = np.diff(strokes[keep], prepend=-1) != 0
    line = "".join(f"{'M' if o else 'L'}{a:.1f} {b:.1f}" for a, b, o in zip(x[keep], y[keep], opens, strict=True))
    bars = "".join(f"M{x[at]:.1f} 30H{max(x[at + 1], x[at] + 1):.1f}" for at in np.flatnonzero(np.diff(strokes)))
    paths = f'<path d="{line}" stroke="#2f4b7c"/>' + (
        f'<path d="{bars}" stroke="#b5533c" stroke-width="3"/>' * bool(bars)
    )
    return f'{head}<g fill="none">{paths}</g></svg>'.encode()


def _strokes(ts: npt.NDArray[np.datetime64], step: np.timedelta64 | None) -> npt.NDArray[np.int64]:
    """Return for each of (T,) times the number of gaps before it."""
    if step is None or len(ts) == 0:
        return np.zeros(len(ts), np.int64)
    return np.concatenate([[0], np.cumsum(np.diff(ts) > 1.5 * step)])


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches at 100 pixels, which pyplot doesn't know."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import TightLayoutEngine

    # Looks after every label once; a constrained layout does so four times, half of the time of a picture.
    return Figure(figsize=(width, height), dpi=100, layout=TightLayoutEngine(pad=0.4))


def png(figure: Figure) -> bytes:
    """Return the figure as a small PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    # Not savefig: it draws twice when there is a layout, and packs pixels that are unpacked again at once.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # A palette is a third of the bytes: the Dagster UI keeps every picture for ever. An octree merges what is within a
    # sixteenth of each colour, takes a tenth of the time of a median cut, and keeps the red of a small cross, which
    # that makes brown. Packing harder than the default saves a twentieth of the bytes and takes seven times as long.
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    small = io.BytesIO()
    image.quantize(256, method=Image.Quantize.FASTOCTREE).save(small, format="PNG")
    return small.getvalue()


def extremes(values: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.intp]:
    """Return the indices of the first, the last and, in each of ``bins`` equal parts, the lowest and highest value."""
    if len(values) <= 2 * bins:
        return np.arange(len(values))
    parts = np.array_split(np.arange(len(values)), bins)
    found = {0, len(values) - 1}
    for part in parts:
        found |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    return np.array(sorted(found), dtype=np.intp)
