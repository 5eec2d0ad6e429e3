"""From the tables of the days up to the report's own to what it says of them.

Belongs here: which rows answer which question. Doesn't: the analytics themselves, and what is said of the day itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.fee_use import fee_uses, fees_against_schedule
from research_to_prod.attribution.fees import fee_change
from research_to_prod.attribution.fill_probability import kaplan_meier, resting_children, resting_orders
from research_to_prod.attribution.latency import costs_by_bucket
from research_to_prod.attribution.like_for_like import like_for_like
from research_to_prod.attribution.markouts import (
    FEWEST_PARENTS,
    TOXICITY_HORIZON,
    clustered_mean,
    maker_toxicity,
    markout_curve,
)
from research_to_prod.attribution.model_costs import beyond_by_hour, calibration, orders_with_charges
from research_to_prod.reports.compile_exposure import exposures
from research_to_prod.reports.month_lines import (
    CalibrationLine,
    ComparisonLine,
    DriftLine,
    FeeChangeLine,
    FeeLine,
    FillChance,
    FundingLine,
    HourLine,
    LatencyLine,
    MissedLine,
    Month,
    ToxicityLine,
    Value,
)

LENGTH = 30
"""Days that are looked back on, the report's own among them."""

_CHANCES_AT = (1, 10, 60, 300, 1_800)
_DRIFT_UNTIL = 60
_Line = TypeVar("_Line", bound=Value)


@dataclass(frozen=True)
class MonthTables:
    """Rows of the tables of these names, of each recorded day among the `LENGTH` up to ``day``.

    Parameters
    ----------
    days
        The recorded days, ascending; the last one is ``day``.
    fee_schedules, order_events
        Without rows where nobody delivers them.
    positions
        Of ``day`` alone.
    """

    day: str
    days: tuple[str, ...]
    decisions: pa.Table
    orders: pa.Table
    fills: pa.Table
    slippage: pa.Table
    latency_costs: pa.Table
    markouts: pa.Table
    shadow: pa.Table
    fee_schedules: pa.Table
    order_events: pa.Table
    positions: pa.Table


def days_up_to(day: str) -> list[str]:
    """Return the `LENGTH` days that end with ``day``, ascending."""
    last = date.fromisoformat(day)
    return [(last - timedelta(days=back)).isoformat() for back in range(LENGTH - 1, -1, -1)]


def compile_month(tables: MonthTables) -> Month:
    """Return what the report says of these days."""
    orders = orders_with_charges(tables.slippage, tables.shadow, tables.orders)
    latency = tables.latency_costs
    events = tables.order_events
    waited, filled = resting_children(events) if events.num_rows else resting_orders(tables.orders, tables.fills)
    return Month(
        first_day=tables.days[0],
        days=len(tables.days),
        latency=_lines(LatencyLine, costs_by_bucket(latency)),
        latency_excluded=latency.num_rows - latency["excluded_reason"].null_count,
        drift=tuple(_drift(tables.markouts)),
        toxicity=tuple(_toxicity(tables.markouts)),
        comparison=_lines(ComparisonLine, like_for_like(orders)),
        hours=_lines(HourLine, beyond_by_hour(orders)),
        calibration=_lines(CalibrationLine, calibration(orders)),
        missed=tuple(_missed(tables)),
        fill_chances=tuple(_chances(waited, filled)),
        resting_orders=len(waited),
        fees=_lines(FeeLine, fees_against_schedule(tables.fills, tables.fee_schedules)),
        fee_changes=tuple(_fee_changes(tables)),
        funding=tuple(_funding(tables)),
        exposures=exposures(tables.day, tables.decisions, tables.fills, tables.shadow, tables.positions),
    )


def _lines(line: type[_Line], rows: pa.Table) -> tuple[_Line, ...]:
    return tuple(line.model_validate(row) for row in rows.to_pylist())


def _drift(markouts: pa.Table) -> Iterator[DriftLine]:
    """Yield the adverse selection of all fills with the sign of the strategy: later would have cost that much more."""
    near = markouts.filter(pc.less_equal(markouts["horizon_seconds"], _DRIFT_UNTIL))
    for row in markout_curve(near, "adverse_selection", by=("strategy",)).to_pylist():
        mean, low, high = (None if row[name] is None else -row[name] for name in ("mean_bps", "high_bps", "low_bps"))
        kept = {name: row[name] for name in ("strategy", "horizon_seconds", "fills", "parents")}
        yield DriftLine(**kept, mean_bps=mean, low_bps=low, high_bps=high)


def _toxicity(markouts: pa.Table) -> Iterator[ToxicityLine]:
    by = ("strategy", "venue", "symbol")
    at = pc.equal(markouts["horizon_seconds"], TOXICITY_HORIZON // timedelta(seconds=1))
    makers = markouts.filter(pc.and_(at, pc.equal(markouts["liquidity"], "maker")))
    gained = makers.group_by(list(by), use_threads=False).aggregate([("net_after_fee", "sum")])
    lost = {tuple(row[name] for name in by): -(row["net_after_fee_sum"] or 0.0) for row in gained.to_pylist()}
    for row in maker_toxicity(makers, by).to_pylist():
        kept = {name: row[name] for name in ToxicityLine.model_fields if name != "lost"}
        yield ToxicityLine(**kept, lost=lost[tuple(row[name] for name in by)])


def _missed(tables: MonthTables) -> Iterator[MissedLine]:
    counted = tables.slippage.filter(tables.slippage["excluded_reason"].is_null())
    for strategy in sorted(set(tables.decisions["strategy"].to_pylist())):
        decided = tables.decisions.filter(pc.equal(tables.decisions["strategy"], strategy))
        own = counted.filter(pc.equal(counted["strategy"], strategy))
        value = own["order_value"].to_numpy()
        shares = own["filled_quantity"].to_numpy() / own["quantity"].to_numpy()
        by_day = _selection(tables.shadow, strategy)
        a_day = np.array([float(each) for each in by_day], np.float64)
        found = clustered_mean(a_day, np.ones(len(a_day)), np.arange(len(a_day)))
        bounded = len(a_day) >= FEWEST_PARENTS
        yield MissedLine(
            strategy=strategy,
            decisions=decided.num_rows,
            unsent=decided.num_rows - (pc.sum(decided["sent"]).as_py() or 0),
            orders=own.num_rows,
            filled_share=float(value @ shares / value.sum()) if own.num_rows else None,
            opportunity=float(own["opportunity"].to_numpy().sum()),
            selection_money=sum(by_day, Decimal(0)) if by_day else None,
            selection_days=len(by_day),
            selection_low=found.low if bounded else None,
            selection_high=found.high if bounded else None,
        )


def _selection(shadow: pa.Table, strategy: str) -> list[Decimal]:
    days: dict[str, Decimal] = {}
    for row in shadow.select(["day", "strategy", "selection"]).to_pylist():
        if row["strategy"] == strategy and row["selection"] is not None:
            days[row["day"]] = days.get(row["day"], Decimal(0)) + row["selection"]
    return list(days.values())


def _chances(waited: Any, filled: Any) -> Iterator[FillChance]:
    if not len(waited):
        return
    curve = kaplan_meier(waited, filled)
    for seconds in _CHANCES_AT:
        last = int(np.searchsorted(curve.seconds, seconds, side="right")) - 1
        at_risk = int((waited >= seconds).sum())
        if last < 0:
            yield FillChance(seconds=seconds, probability=0.0, low=None, high=None, at_risk=at_risk)
            continue
        low, high = float(curve.low[last]), float(curve.high[last])
        yield FillChance(
            seconds=seconds,
            probability=float(curve.probability[last]),
            low=low if np.isfinite(low) else None,
            high=high if np.isfinite(high) else None,
            at_risk=at_risk,
        )


def _fee_changes(tables: MonthTables) -> Iterator[FeeChangeLine]:
    """Yield the fees of the day against the mean of the days before."""
    days = pc.strftime(tables.fills["filled_at"], "%Y-%m-%d")
    own = pc.equal(days, tables.day)
    earlier = len(tables.days) - 1
    before = fee_uses(tables.fills.filter(pc.invert(own)), earlier) if earlier else {}
    for strategy, uses in fee_uses(tables.fills.filter(own), 1).items():
        line = FeeChangeLine(
            strategy=strategy,
            days_before=earlier,
            today_money=sum((use.fees for use in uses.values()), Decimal(0)),
            rate_money=None,
            mix_money=None,
            volume_money=None,
            reason=None,
        )
        try:
            change = fee_change(before.get(strategy, {}), uses)
        except ValueError as error:
            yield line.model_copy(update={"reason": str(error) if earlier else "there is no day before"})
            continue
        yield line.model_copy(
            update={"rate_money": change.rate, "mix_money": change.mix, "volume_money": change.volume}
        )


def _funding(tables: MonthTables) -> Iterator[FundingLine]:
    """Yield what was due to each strategy that holds a perpetual."""
    sums: dict[str, dict[str, Decimal | None]] = {}
    for row in tables.shadow.select(["day", "strategy", "symbol", "funding"]).to_pylist():
        if ":" in row["symbol"]:
            days = sums.setdefault(row["strategy"], {})
            so_far = days.get(row["day"], Decimal(0))
            known = so_far is not None and row["funding"] is not None
            days[row["day"]] = so_far + row["funding"] if known else None
    for strategy, days in sorted(sums.items()):
        before = [money for day, money in days.items() if day != tables.day and money is not None]
        yield FundingLine(
            strategy=strategy,
            today_money=days.get(tables.day),
            before_money=(sum(before, Decimal(0)) / len(before)).quantize(Decimal("1e-8")) if before else None,
            days_before=len(before),
        )
