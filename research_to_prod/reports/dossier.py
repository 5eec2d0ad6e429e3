"""The dossier of a decision: its trace as one self-contained page, with a diagram of what it rests on.

Belongs here: how a trace is written as HTML. Doesn't: what it says (``promotion.trace``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from research_to_prod.promotion.trace import Trace

_TEMPLATES = Path(__file__).parent / "templates"
_WIDTH, _BOX, _ROW = 400.0, (92.0, 34.0), 62.0
"""Of the diagram: narrow enough to be read on a phone as it is."""

Reads = Mapping[str, frozenset[str]]
"""What each table was made from."""


def render_html(trace: Trace, reads: Reads, *, indexed: bool = False) -> str:
    """Return the page: no scripts, nothing from outside, everything escaped.

    Parameters
    ----------
    reads
        The declared upstream closure, ``promotion.evidence.READS``.
    indexed
        Whether it lies beside the page over all reports, and links to it.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment.get_template("dossier.html.j2").render(
        trace=trace,
        record=trace.record,
        style=(_TEMPLATES / "desk_report.css").read_text(encoding="utf-8"),
        diagram=closure_svg(trace, reads),
        deciding=[gate for gate in trace.gates if gate.gating],
        indexed=indexed,
    )


def _figure(number: str | None) -> str:
    """Return a number rounded for reading, all its digits beside it in ``data``."""
    import markupsafe

    if number is None:
        return markupsafe.Markup('<span class="none">unknown</span>')
    shown = f"{float(number):,.6g}".replace("-", "−")
    return markupsafe.Markup('<data value="{}">{}</data>').format(number, shown)


@dataclass(frozen=True)
class _Table:
    name: str
    said: str
    sound: bool


def closure_svg(trace: Trace, reads: Reads) -> str:
    """Return an SVG of the tables that the decision rests on, each below all that were made from it.

    An arrow that follows from others is left out (the transitive reduction), so that the way down can be read.
    """
    tables = _tables(trace)
    under = {name: _closure(name, reads) & tables.keys() for name in tables.keys() & reads.keys()}
    fetched = {name for name in under if not reads[name]} - {"candidate"} if "fetches" in tables else set()
    under = {name: found | ({"fetches"} if fetched & (found | {name}) else set()) for name, found in under.items()}
    under |= {"decision": tables.keys() - {"decision"}, "fetches": set()}
    below = {name: under[name] - {deeper for each in under[name] for deeper in under[each]} for name in tables}
    depth: dict[str, int] = {}
    _descend("decision", 0, below, depth)
    rows = [[name for name in tables if depth.get(name) == level] for level in range(max(depth.values()) + 1)]
    at = {
        name: ((place + 0.5) * _WIDTH / len(row), level * _ROW + _BOX[1] / 2 + 1)
        for level, row in enumerate(rows)
        for place, name in enumerate(row)
    }
    arrows = [_arrow(at[name], at[each]) for name in at for each in sorted(below[name])]
    boxes = [_box(tables[name], *at[name]) for name in at]
    height = (len(rows) - 1) * _ROW + _BOX[1] + 2
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {height:g}" xmlns="http://www.w3.org/2000/svg" font-size="9" '
        f'text-anchor="middle">{"".join(arrows)}{"".join(boxes)}</svg>'
    )


def _tables(trace: Trace) -> dict[str, _Table]:
    parts: dict[str, list[bool]] = {}
    for each in trace.inputs():
        parts.setdefault(each.asset, []).append(not each.problem)
    record, fetches = trace.record, [each for month in trace.months for each in month.fetches]
    decision = _Table("decision", f"{record.type} {record.to_stage}", sound=not trace.problems)
    tables = {name: _Table(name, f"{len(sound)} proven", all(sound)) for name, sound in sorted(parts.items())}
    tables = {
        name: each if each.sound else _Table(name, f"{parts[name].count(False)} not proven", sound=False)
        for name, each in tables.items()
    }
    complete = all(each.complete for each in fetches)
    found = {"fetches": _Table("fetches", f"{len(fetches)} certified", complete)} if fetches else {}
    return {"decision": decision, **tables, **found}


def _closure(name: str, reads: Reads) -> set[str]:
    """Return everything that a table was made from, directly or not."""
    return set(reads[name]).union(*(_closure(each, reads) for each in reads[name]))


def _descend(name: str, level: int, below: Mapping[str, set[str]], depth: dict[str, int]) -> None:
    if depth.get(name, -1) < level:
        depth[name] = level
        for each in below[name]:
            _descend(each, level + 1, below, depth)


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (start[0], start[1] + _BOX[1] / 2), (end[0], end[1] - _BOX[1] / 2)
    bend = (to_y - y) / 2
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
    return f'<path d="{path}" fill="none" stroke="var(--soft)" stroke-width="0.8"/>'


def _box(table: _Table, x: float, y: float) -> str:
    width, height = _BOX
    colour = "var(--clear)" if table.sound else "var(--act)"
    return (
        f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" height="{height:g}" rx="3" '
        f'fill="var(--panel)" stroke="{colour}"/>'
        f'<text x="{x:g}" y="{y - 2:g}" fill="var(--ink)">{escape(table.name)}</text>'
        f'<text x="{x:g}" y="{y + 10:g}" fill="{colour}">{escape(table.said)}</text>'
    )
