"""Pictures of the validation studies and of a search.

Belongs here: drawing, by the rules of ``figures``. Doesn't: computing what is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from research_to_prod.reports.figures import STYLE, new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _RED = "#2f4b7c", "#b5533c"


def sweep_surface(
    sharpes: Mapping[tuple[float | str, float | str], float],
    names: tuple[str, str],
    own: tuple[float | str, float | str],
) -> bytes:
    """Return a PNG of Sharpe ratios over two parameters, the own set marked.

    Parameters
    ----------
    sharpes
        Annual Sharpe ratio by the values of both parameters; NaN is left white.
    names
        Of the parameters; the second is empty for a search over one, whose bars are drawn instead.
    """
    import matplotlib as mpl

    rows, columns = (list(dict.fromkeys(key[axis] for key in sharpes)) for axis in (0, 1))
    grid = np.array([[sharpes.get((row, column), np.nan) for column in columns] for row in rows], dtype=np.float64)
    with mpl.rc_context(STYLE):
        figure = new_figure(6, 3)
        axes = figure.subplots()
        if not names[1]:
            colours = [_RED if row == own[0] else _BLUE for row in rows]
            axes.bar(range(len(rows)), np.nan_to_num(grid[:, 0]), color=colours)
            axes.axhline(0, color="#444444", linewidth=0.8)
            axes.set_xticks(range(len(rows)), labels=[str(each) for each in rows])
            axes.set_ylabel("annual Sharpe ratio")
            axes.set_xlabel(f"{names[0]} (red: the candidate's)", parse_math=False)
            return png(figure)
        drawn = axes.imshow(grid, aspect="auto", cmap="viridis", interpolation="nearest", origin="lower")
        figure.colorbar(drawn, ax=axes, label="annual Sharpe ratio")
        axes.plot(columns.index(own[1]), rows.index(own[0]), "x", color=_RED, markersize=11, markeredgewidth=2.5)
        axes.set_yticks(range(len(rows)), labels=[str(each) for each in rows])
        axes.set_xticks(range(len(columns)), labels=[str(each) for each in columns])
        axes.set_ylabel(names[0], parse_math=False)
        axes.set_xlabel(f"{names[1]} (cross: the candidate's)", parse_math=False)
        return png(figure)


def out_of_sample(
    logits: npt.NDArray[np.float64],
    splits: npt.NDArray[np.float64],
    is_sharpes: npt.NDArray[np.float64],
    oos_sharpes: npt.NDArray[np.float64],
) -> bytes:
    """Return a PNG: the logits of the overfitting splits, beside the winners' Sharpe ratios in and out of sample.

    Parameters
    ----------
    logits, splits
        (n,) distinct logits, and how many splits have each.
    is_sharpes, oos_sharpes
        (k,) of the winner of each split; NaN is left out. Empty ones leave their half with a word that it could not be
        computed.
    """
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure = new_figure(8, 2.8)
        left, right = figure.subplots(1, 2)
        if not len(logits):
            _absent(left)
        else:
            edges = np.linspace(min(logits.min(), -0.1), max(logits.max(), 0.1), 40)
            # Filled steps: a patch a bin takes three times as long to draw.
            for part, colour in ((logits <= 0, _RED), (logits > 0, _BLUE)):
                counts = np.histogram(logits[part], edges, weights=splits[part])[0]
                left.stairs(counts, edges, fill=True, color=colour)
            left.axvline(0, color="#444444", linewidth=0.8)
        left.set_xlabel("logit of the winner's rank out of sample (red: overfit)")
        left.set_ylabel("splits")
        if not len(is_sharpes):
            _absent(right)
        else:
            right.plot(is_sharpes, oos_sharpes, "o", color=_BLUE, markersize=4, alpha=0.6)
            right.axhline(0, color="#444444", linewidth=0.8)
            right.axline((0.0, 0.0), slope=1.0, color="#8a8f98", linewidth=0.8, linestyle="--")
        right.set_xlabel("winner's Sharpe ratio in sample")
        right.set_ylabel("out of sample")
        return png(figure)


def stress_curves(
    delays: Sequence[int],
    retained: Sequence[float],
    sizes: Sequence[float],
    kept: Sequence[float],
    limits: tuple[float, float],
) -> bytes:
    """Return a PNG: the share of the edge that is left by delay in bars, beside that by size.

    Parameters
    ----------
    sizes, kept
        Multiples of the capital and what they keep; empty if there is no such curve.
    limits
        The shares below which a latency, and a size, is too large.
    """
    import matplotlib as mpl
    from matplotlib.ticker import PercentFormatter

    with mpl.rc_context(STYLE):
        figure = new_figure(8, 2.6)
        panels = figure.subplots(1, 2)
        curves = ((delays, retained, "delay in bars"), (sizes, kept, "multiple of the candidate's capital"))
        for axes, (x, y, label), limit in zip(panels, curves, limits, strict=True):
            if np.isfinite(np.asarray(y, dtype=np.float64)).any():
                axes.plot(x, y, "o-", color=_BLUE, markersize=4, linewidth=1.1)
                axes.axhline(limit, color=_RED, linewidth=0.9, linestyle="--")
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            else:
                _absent(axes)
            axes.set_xlabel(label)
            axes.set_ylabel("edge left")
        return png(figure)


def _absent(axes: Axes) -> None:
    axes.text(0.5, 0.5, "could not be computed", transform=axes.transAxes, ha="center", va="center")
