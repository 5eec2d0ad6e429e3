"""The waterfall of each market of a day, from the day's shadow, costs and fills to the venue's own records.

Belongs here: a waterfall per market as rows, and the test that stored rows telescope. Doesn't: the identity
(``waterfall``), positions and marks (``shadow_days``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa

from research_to_prod.attribution.pnl_contracts import PNL_WATERFALL
from research_to_prod.attribution.shadow import ModelCharges, trades_of
from research_to_prod.attribution.shadow_days import DeskDay, Place
from research_to_prod.attribution.waterfall import Cause, Window, waterfall

EXPECTED, RESIDUAL = "expected", "residual"
STEPS = (EXPECTED, *(cause.value for cause in Cause), RESIDUAL)
LEDGER_ROUNDING = Decimal("1e-6")
"""Money by which two records of the same fills may differ for want of digits."""

_UNIT = Decimal("1e-18")
_PRECISE = Context(prec=100)


def waterfalls_of_day(
    desk: DeskDay, shadow: pa.Table, slippage: pa.Table, venue_fills: pa.Table, complete: Mapping[tuple[str, str], bool]
) -> pa.Table:
    """Return the ``PNL_WATERFALL`` rows of a day.

    Parameters
    ----------
    shadow
        The day's ``SHADOW`` rows; a market excluded there has one row here, with the same reason.
    slippage
        ``SLIPPAGE`` rows of the day's orders.
    venue_fills
        The venue's own fills of the day: with the same position and marks they are its ledger.
    complete
        By venue and symbol, whether they are certified complete; otherwise the residual is not known. Neither is it
        where two strategies trade one market: the venue knows one account.
    """
    traders = Counter((row["venue"], row["symbol"]) for row in shadow.to_pylist())
    rows: list[dict[str, Any]] = []
    for row in shadow.to_pylist():
        place = Place(row["strategy"], row["venue"], row["symbol"])
        market = (place.venue, place.symbol)
        proven = complete.get(market, False) and traders[market] == 1
        ledger = _ledger(row, venue_fills) if proven and row["closing_mid"] is not None else None
        head = {"day": desk.day, **place._asdict()}
        try:
            rows += [head | each for each in _steps(desk, place, row, slippage, ledger)]
        except ValueError as error:
            rows.append(head | {"step": 0, "cause": EXPECTED, "excluded_reason": str(error)})
    return pa.Table.from_pylist(rows, schema=PNL_WATERFALL.arrow)


def broken_steps(rows: pa.Table, shadow: pa.Table) -> list[str]:
    """Return where stored waterfalls don't telescope, or don't end at the live P&L that was paired without them."""
    live = {(each["strategy"], each["venue"], each["symbol"]): each["live"] for each in shadow.to_pylist()}
    by_place: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        if row["excluded_reason"] is None:
            by_place.setdefault((row["strategy"], row["venue"], row["symbol"]), []).append(row)
    found = []
    for place, own in sorted(by_place.items()):
        name = " ".join(place)
        if tuple(row["cause"] for row in own) != STEPS:
            found.append(f"{name}: its steps are not those of the waterfall, in order")
            continue
        values = [Decimal(0), *(row["value"] for row in own)]
        found += [
            f"{name}: {row['cause']} doesn't lead from {before} to {row['value']}"
            for before, row in zip(values, own, strict=False)
            if row["value"] is not None and before + row["amount"] != row["value"]
        ]
        explained = own[-2]["value"]
        if place not in live or live[place] is None or abs(explained - live[place]) > Decimal("1e-9"):
            found.append(f"{name}: explains {explained}, the fills earned {live.get(place)}")
    return found


class Residuals(NamedTuple):
    """How many markets' residuals are beyond rounding, not known, or without a waterfall."""

    markets: int
    breaks: int
    unknown: int
    excluded: int


def standing_of_residuals(rows: pa.Table) -> Residuals:
    """Return how the stored waterfalls end at the venue's records."""
    ends = [row["amount"] for row in rows.to_pylist() if row["cause"] == RESIDUAL]
    excluded = rows.num_rows - rows["excluded_reason"].null_count
    known = [each for each in ends if each is not None]
    breaks = sum(abs(each) > LEDGER_ROUNDING for each in known)
    return Residuals(len(ends) + excluded, breaks, len(ends) - len(known), excluded)


def _steps(
    desk: DeskDay, place: Place, row: Mapping[str, Any], slippage: pa.Table, ledger: Decimal | None
) -> list[dict[str, Any]]:
    if row["excluded_reason"] is not None:
        raise ValueError(row["excluded_reason"])
    if row["expected"] is None:
        raise ValueError(f"no backtest of {place.strategy} says what to expect")
    decisions, orders, fills = desk.of(place)
    rerun = {each["decision_id"]: each["side"] * each["target_quantity"] for each in decisions.to_pylist()}
    instead = zip(row["diverging"], row["model_quantities"], strict=True)
    rerun |= {decision: Decimal(repr(quantity)) for decision, quantity in instead}
    charges = {place.strategy: ModelCharges(row["cost_rate"], row["fee_rate"])}
    mids = {place.symbol: row["closing_mid"]}
    trades = trades_of(decisions, orders, fills, slippage, rerun, mids, charges)
    with localcontext(_PRECISE):
        carried = row["opening_position"] * (row["closing_mid"] - row["opening_mid"])
        known = Decimal(0) if ledger is None else ledger
        made = waterfall(
            trades, Window(row["expected"], carried, row["funding"], row["funding"], Decimal(0), known)
        )  # fmt: skip
        # Values are rounded, not amounts: then the amounts between them add up to the last digit.
        values = [made.expected.quantize(_UNIT)]
        exact = made.expected
        for bar in made.bars:
            exact += bar.amount
            values.append(exact.quantize(_UNIT))
        amounts = [values[0], *(after - before for before, after in pairwise(values))]
        residual = None if ledger is None else ledger.quantize(_UNIT) - values[-1]
        steps = [
            {"step": step, "cause": cause, "amount": amount, "value": value}
            for step, (cause, amount, value) in enumerate(zip(STEPS[:-1], amounts, values, strict=True))
        ]
        end = None if residual is None else values[-1] + residual
        return [*steps, {"step": len(STEPS) - 1, "cause": RESIDUAL, "amount": residual, "value": end}]


def _ledger(row: Mapping[str, Any], venue_fills: pa.Table) -> Decimal:
    """Return what the market earned by the venue's fills."""
    closing, base = row["closing_mid"], row["symbol"].partition("/")[0]
    with localcontext(_PRECISE):
        earned: Decimal = row["opening_position"] * (closing - row["opening_mid"]) + row["funding"]
        for fill in venue_fills.to_pylist():
            if (fill["venue"], fill["symbol"]) == (row["venue"], row["symbol"]):
                earned += fill["side"] * fill["quantity"] * (closing - fill["price"])
                earned -= fill["fee"] * (closing if fill["fee_currency"] == base else 1)
        return earned
