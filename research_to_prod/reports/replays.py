"""What happened around single orders: the quotes of the time, the fills, and the instants of the order's life.

Belongs here: finding them, and their picture. Doesn't: which orders are worth a look (``compile_desk_report``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.reports.figures import extremes
from research_to_prod.reports.month_lines import Replay, ReplayFill

_MARGIN = timedelta(seconds=5)
_LEAST_SHARE = 0.15  # of the order's life, shown before and after it
_BINS = 60
_WIDTH, _HEIGHT = 360, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 8, 22, 24


def replays_of(
    order_ids: Sequence[str], decisions: pa.Table, orders: pa.Table, fills: pa.Table, quotes: Iterable[pa.Table]
) -> tuple[Replay, ...]:
    """Return the replays of these orders, in their order; one without a row of ``orders`` or a decision has none.

    Parameters
    ----------
    quotes
        ``QUOTES`` rows in pieces, gone through once. Quotes and fills are on the venue's clock, the order's own
        instants on ours: some milliseconds apart, which no picture of seconds shows.
    """
    rows = {row["order_id"]: row for row in _only(orders, "order_id", order_ids).to_pylist()}
    made = {row["decision_id"]: row["decided_at"] for row in _decisions(decisions, rows.values()).to_pylist()}
    asked = [rows[each] for each in order_ids if each in rows and rows[each]["decision_id"] in made]
    spans = {row["order_id"]: _span(made[row["decision_id"]], row["ended_at"]) for row in asked}
    found: dict[str, list[pa.Table]] = {each: [] for each in spans}
    for piece in quotes:
        for row in asked:
            start, end = spans[row["order_id"]]
            # Times first: a piece that is all before or after costs two numbers.
            if _apart(piece["quoted_at"], start, end):
                continue
            inside = pc.and_(pc.greater_equal(piece["quoted_at"], start), pc.less(piece["quoted_at"], end))
            for name in ("venue", "symbol"):
                inside = pc.and_(inside, pc.equal(piece[name], row[name]))
            found[row["order_id"]].append(piece.filter(inside).select(["quoted_at", "sequence", "bid", "ask"]))
    own = _only(fills, "order_id", order_ids).sort_by([("filled_at", "ascending"), ("fill_id", "ascending")])
    return tuple(_replay(row, made[row["decision_id"]], own, found[row["order_id"]]) for row in asked)


def replay_svg(replay: Replay) -> str:
    """Return an inline SVG: the band from bid to ask, each fill a dot (hollow when it made), the order's instants.

    Written as text of numbers and fixed words, because matplotlib takes 50 ms a picture.
    """
    at = np.array(replay.seconds)
    bid, ask = np.array(replay.bid), np.array(replay.ask)
    prices = np.concatenate([bid, ask, [fill.price for fill in replay.fills]])
    first, last = min((0.0, *replay.seconds)), max((replay.ended, *replay.seconds))
    # Else the last quote would have no width.
    last += 0.03 * (last - first)
    low, high = (float(prices.min()), float(prices.max())) if len(prices) else (0.0, 1.0)
    margin = 0.08 * ((high - low) or abs(high) * 1e-4)
    low, high = low - margin, high + margin

    def x(seconds: float) -> float:
        return _LEFT + (seconds - first) / ((last - first) or 1.0) * (_WIDTH - _LEFT - _RIGHT)

    def y(price: float) -> float:
        return _TOP + (high - price) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12">']
    if len(at):
        over = "".join(f"{'L' if n else 'M'}{x(s):.1f} {y(p):.1f}" for n, (s, p) in enumerate(_steps(at, ask, last)))
        back = "".join(f"L{x(s):.1f} {y(p):.1f}" for s, p in reversed(_steps(at, bid, last)))
        parts.append(f'<path d="{over}{back}Z" fill="#6d7fb3" fill-opacity="0.35" stroke="#6d7fb3"/>')
    instants = [("decided", 0.0), ("live", replay.live), ("end", replay.ended)]
    taken = -100.0
    for name, seconds in instants:
        if seconds is None:
            continue
        here = x(seconds)
        parts.append(f'<path d="M{here:.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="currentColor" stroke-dasharray="3 3"/>')
        # Decision and arrival are often milliseconds apart: the later name would cover the earlier one.
        if here - taken > 46:
            anchor = "end" if here > _WIDTH - 40 else "start" if here < _LEFT + 20 else "middle"
            parts.append(f'<text x="{here:.1f}" y="14" text-anchor="{anchor}" fill="currentColor">{name}</text>')
            taken = here
    biggest = max((fill.quantity for fill in replay.fills), default=1.0)
    for fill in replay.fills:
        radius = 2.5 + 3 * (fill.quantity / biggest) ** 0.5
        inside = "none" if fill.maker else "#b5533c"
        where = f'cx="{x(fill.seconds):.1f}" cy="{y(fill.price):.1f}" r="{radius:.1f}"'
        parts.append(f'<circle {where} fill="{inside}" stroke="#b5533c" stroke-width="1.4"/>')
    labels = [(_LEFT - 6.0, y(price) + 4, "end", f"{price:,.6g}") for price in (low + margin, high - margin)]
    ends = ((first, "start"), (last, "end"))
    labels += [(x(at), _HEIGHT - 8.0, anchor, f"{at:,.1f} s".replace("-", "−")) for at, anchor in ends]
    parts += [
        f'<text x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}" fill="currentColor">{text}</text>'
        for left, top, anchor, text in labels
    ]
    return "".join([*parts, "</svg>"])


def _replay(row: dict[str, Any], decided: datetime, fills: pa.Table, quotes: list[pa.Table]) -> Replay:
    times, bid, ask = np.empty(0), np.empty(0), np.empty(0)
    if quotes:
        rows = pa.concat_tables(quotes).sort_by([("quoted_at", "ascending"), ("sequence", "ascending")])
        micros = rows["quoted_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
        times = (micros - _micros(decided)) / 1e6
        bid, ask = rows["bid"].to_numpy(), rows["ask"].to_numpy()
    keep = extremes((bid + ask) / 2, _BINS) if len(times) else np.empty(0, np.intp)
    own = fills.filter(pc.equal(fills["order_id"], row["order_id"]))
    drawn = own.take(extremes(own["price"].cast(pa.float64()).to_numpy(), _BINS)) if own.num_rows else own
    live = row["acknowledged_at"]
    return Replay(
        order_id=row["order_id"],
        symbol=row["symbol"],
        side=row["side"],
        sent=(row["sent_at"] - decided).total_seconds(),
        live=None if live is None else (live - decided).total_seconds(),
        ended=(row["ended_at"] - decided).total_seconds(),
        seconds=tuple(times[keep].tolist()),
        bid=tuple(bid[keep].tolist()),
        ask=tuple(ask[keep].tolist()),
        quotes=len(times),
        all_fills=own.num_rows,
        fills=tuple(
            ReplayFill(
                seconds=(fill["filled_at"] - decided).total_seconds(),
                price=float(fill["price"]),
                quantity=float(fill["quantity"]),
                maker=fill["liquidity"] == "maker",
            )
            for fill in drawn.to_pylist()
        ),
    )


def _steps(at: npt.NDArray[np.float64], prices: npt.NDArray[np.float64], until: float) -> list[tuple[float, float]]:
    """Return the corners of a line that keeps each price until the next quote, and the last one to the edge."""
    times = np.append(np.repeat(at, 2)[1:], until)
    return list(zip(times.tolist(), np.repeat(prices, 2).tolist(), strict=True))


def _span(decided: datetime, ended: datetime) -> tuple[datetime, datetime]:
    around = max(_MARGIN, (ended - decided) * _LEAST_SHARE)
    return decided - around, ended + around


def _apart(times: pa.ChunkedArray, start: datetime, end: datetime) -> bool:
    bounds = pc.min_max(times).as_py()
    return bounds["min"] is None or bounds["max"] < start or bounds["min"] >= end


def _only(rows: pa.Table, name: str, wanted: Sequence[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows[name], pa.array(wanted, pa.string())))


def _decisions(decisions: pa.Table, orders: Iterable[dict[str, Any]]) -> pa.Table:
    return _only(decisions, "decision_id", [row["decision_id"] for row in orders])


def _micros(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond
