"""Reports written out: an HTML page, JSON and Parquet, with the same numbers.

Belongs here: how a number is shown, and the three files. Doesn't: what a report says (desk_report, risk_posture),
drawing.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from research_to_prod.reports.desk_report import DeskReport
from research_to_prod.reports.month_lines import Value
from research_to_prod.reports.risk_posture import RiskPosture

if TYPE_CHECKING:
    import jinja2

    from research_to_prod.reports.index import Index

_TEMPLATES = Path(__file__).parent / "templates"

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

NUMBERS = pa.schema(
    [
        pa.field("section", pa.string(), nullable=False),
        pa.field("line", pa.string(), nullable=False),
        pa.field("field", pa.string(), nullable=False),
        pa.field("number", pa.float64()),
        pa.field("text", pa.string()),
    ]
)
"""The Parquet file: a row a value of the JSON, its place, and its number or (exact money, names, reasons) its text."""


def numbers_of(report: Value) -> pa.Table:
    """Return the report as one table of `NUMBERS`, in the order of the JSON.

    ``section`` is a field of the report, ``line`` the places of lists on the way to the value (``0``, ``2.1``; empty
    outside of lists) and ``field`` the names on it. Money is in both columns: exact as text, to float64 as number.
    """
    rows = [
        {"section": names[0], "line": ".".join(places), "field": ".".join(names[1:]), "number": number, "text": text}
        for names, places, number, text in _leaves(report.model_dump(), (), ())
    ]
    return pa.Table.from_pylist(rows, schema=NUMBERS)


def render_parquet(report: Value) -> bytes:
    """Return the table of `numbers_of` as a Parquet file."""
    import pyarrow.parquet as pq

    target = io.BytesIO()
    pq.write_table(numbers_of(report), target, compression="zstd")
    return target.getvalue()


_Path = tuple[str, ...]


def _leaves(value: Any, names: _Path, places: _Path) -> Iterator[tuple[_Path, _Path, float | None, str | None]]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _leaves(each, (*names, name), places)
    elif isinstance(value, tuple):
        for place, each in enumerate(value):
            yield from _leaves(each, names, (*places, str(place)))
    elif isinstance(value, Decimal):
        yield names, places, float(value), str(value)
    elif isinstance(value, int | float):
        yield names, places, float(value), None
    else:
        yield names, places, None, None if value is None else str(value)


def render_json(report: Value) -> bytes:
    """Return the report as JSON (UTF-8, sorted keys): floats as their shortest form, exact money as decimal text."""
    return json.dumps(report.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False).encode()


def render_html(report: DeskReport) -> bytes:
    """Return the report as one self-contained HTML page: no script, no external address, under 2 MB.

    Every number of the report stands in a ``<data value="...">`` element with the very text that the JSON has,
    beside its rounded form.
    """
    from research_to_prod.reports.cost_figure import cost_stack
    from research_to_prod.reports.curve_figures import sequence_svg, underwater_svg
    from research_to_prod.reports.hours_figure import hour_map_svg
    from research_to_prod.reports.replays import replay_svg
    from research_to_prod.reports.svg import NARROW, WIDE
    from research_to_prod.reports.waterfall_figure import waterfall_bars

    lines = {line.name: line.components for line in report.by_strategy}
    falls = report.waterfalls
    page = (
        _environment()
        .get_template("desk_report.html.j2")
        .render(
            report=report,
            style=(_TEMPLATES / "desk_report.css").read_text("utf-8"),
            wide_stack=cost_stack(lines, report.currency, WIDE) if lines else "",
            narrow_stack=cost_stack(lines, report.currency, NARROW) if lines else "",
            wide_waterfall=waterfall_bars(falls, report.currency, WIDE) if falls else "",
            narrow_waterfall=waterfall_bars(falls, report.currency, NARROW) if falls else "",
            sequences=[sequence_svg(line) for line in report.sequences],
            underwater=[underwater_svg(line) for line in report.underwater],
            hour_map=hour_map_svg(report.month.hours),
            replays={replay.order_id: replay_svg(replay) for replay in report.replays},
        )
    )
    return page.encode()


def render_posture(posture: RiskPosture) -> bytes:
    """Return the risk posture as one self-contained HTML page, under the same rules as the desk report's."""
    style = (_TEMPLATES / "desk_report.css").read_text("utf-8")
    return _environment().get_template("risk_posture.html.j2").render(posture=posture, style=style).encode()


def render_index(index: Index) -> bytes:
    """Return the page over all reports, under the same rules; its links lead to files beside it."""
    style = (_TEMPLATES / "desk_report.css").read_text("utf-8")
    return _environment().get_template("index.html.j2").render(index=index, style=style).encode()


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "money": _money,
        "age": _age,
        "whole": _whole,
        "bps": _bps,
        "in_bps": _in_bps,
        "fine": _fine,
        "bound": _bound,
        "count": _count,
        "share": _share,
        "price": _price,
        "quantity": _quantity,
    }
    return environment


def _data(value: float | Decimal | None, shown: str) -> str:
    """Return the ``<data>`` element of a number; both texts consist of digits and punctuation that need no escape."""
    import markupsafe

    if value is None:
        return markupsafe.Markup('<span class="none">unknown</span>')
    exact = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return markupsafe.Markup('<data value="{}">{}</data>').format(exact, shown)


def _money(value: float | Decimal | None) -> str:
    return _data(value, "" if value is None else _rounded(float(value), 2))


def _whole(value: float | None) -> str:
    return _data(value, "" if value is None else _rounded(value, 0))


def _bps(value: float | None) -> str:
    return _data(value, "" if value is None else _rounded(value, 1))


def _in_bps(fraction: float | None) -> str:
    return _data(fraction, "" if fraction is None else _rounded(fraction * 1e4, 2))


def _fine(value: float | None) -> str:
    return _data(value, "" if value is None else _rounded(value, 2))


def _bound(value: float | None) -> str:
    """Show the end of an interval; there is none where observations are too few, which is no lack of a record."""
    import markupsafe

    return markupsafe.Markup('<span class="none">—</span>') if value is None else _data(value, _rounded(value, 1))


def _quantity(value: Decimal | None) -> str:
    return _data(value, "" if value is None else f"{value.normalize():,f}".replace("-", "−"))


def _count(value: int) -> str:
    return _data(value, f"{value:,}")


def _share(value: float | None) -> str:
    return _data(value, "" if value is None else f"{value:.0%}".replace("-", "−"))


def _age(seconds: float | None) -> str:
    """Show a duration in its largest unit that gives at least two of them."""
    if seconds is None:
        return _data(seconds, "")
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(seconds) >= 2 * size), _UNITS[-1])
    return _data(seconds, f"{_rounded(seconds / size, 0)} {unit}")


def _price(value: float) -> str:
    return _data(value, f"{value:,.6g}")


def _rounded(value: float, digits: int) -> str:
    """Round for reading, with a real minus sign and no negative zero."""
    if not math.isfinite(value):
        raise ValueError("a report's number is not finite")
    rounded = round(value, digits)
    return f"{rounded + 0.0:,.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"
