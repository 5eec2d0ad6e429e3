"""The picture of the waterfall: from expected to live, one cause a row.

Belongs here: drawing, by the rules of ``figures``. Doesn't: computing what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from research_to_prod.reports.desk_report import WaterfallLine
from research_to_prod.reports.figures import STYLE, TEXT_COLOUR, inline_svg, new_figure

_TOTAL, _GAIN, _LOSS = "#6d7fb3", "#3f8f8b", "#b5533c"


def waterfall_bars(lines: Sequence[WaterfallLine], currency: str, width: float) -> bytes:
    """Return an inline SVG: a panel a strategy; rows from expected through each cause to live.

    Parameters
    ----------
    lines
        One or more, of the same causes.
    width
        Inches; a narrow figure has its panels one below the other.
    """
    import matplotlib as mpl
    from matplotlib.ticker import MaxNLocator

    columns = min(len(lines), 2) if width > 6 else 1
    rows = -(-len(lines) // columns)
    names = [*(step.cause for step in lines[0].steps), "live"]
    short = {"modelled cost, taken back": "modelled cost back", "liquidations, conversions, transfers": "other"}
    colours = {"text.color": TEXT_COLOUR, "axes.labelcolor": TEXT_COLOUR, "axes.titlecolor": TEXT_COLOUR}
    with mpl.rc_context(STYLE | {"font.size": 10} | colours):
        figure = new_figure(width, rows * (0.95 + 0.27 * len(names)))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        for axes, line in zip(panels, lines, strict=False):
            level = 0.0
            for at, step in enumerate(line.steps):
                money = float(step.money or 0)
                colour = _TOTAL if at == 0 else _GAIN if money >= 0 else _LOSS
                axes.barh(at, money, left=level, height=0.62, color=colour)
                level += money
                axes.plot([level, level], [at, at + 1], color=TEXT_COLOUR, linewidth=0.6)
            axes.barh(len(names) - 1, float(line.live_money), height=0.62, color=_TOTAL)
            axes.axvline(0, color=TEXT_COLOUR, linewidth=0.8)
            axes.set_title(line.strategy, fontsize=10, loc="left", parse_math=False)
            axes.set_yticks(range(len(names)), labels=[short.get(each, each) for each in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace("-", "−"))
            axes.set_xlabel(f"{currency}, gain to the right")
            axes.tick_params(colors=TEXT_COLOUR, length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
        for axes in panels[len(lines) :]:
            axes.set_visible(False)
        return inline_svg(figure)
