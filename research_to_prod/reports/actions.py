"""What to do today: each finding of the report that asks for a decision, with its owner and the money at stake.

Belongs here: from findings to actions, and their rank. Doesn't: the findings.

Ranked by money. What can't be valued comes after, the venue's unproven records first: unknown is not small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from research_to_prod.attribution.coverage import LARGEST_EXCLUDED_SHARE
from research_to_prod.attribution.markouts import Toxicity
from research_to_prod.attribution.verdict import EdgeVerdict
from research_to_prod.attribution.waterfall import Cause
from research_to_prod.operations.contracts import BreakClass, BreakVerdict
from research_to_prod.reports.compile_live_against_model import CHANGED
from research_to_prod.reports.desk_report import (
    Action,
    CandidateLine,
    Exclusion,
    Reconciliation,
    VerdictLine,
    WaterfallLine,
)
from research_to_prod.reports.month_lines import Month
from research_to_prod.values import Verdict

_REMEDIES = {
    BreakClass.MISSING_FILL_INTERNAL: "Book the venue's fills that our records lack",
    BreakClass.MISSING_FILL_VENUE: "Find out why the venue does not know our fills",
    BreakClass.DUPLICATE_FILL: "Remove fills that are recorded twice",
    BreakClass.QUANTITY_MISMATCH: "Correct fill quantities that differ from the venue's",
    BreakClass.PRICE_MISMATCH: "Correct fill prices that differ from the venue's",
    BreakClass.SIDE_MISMATCH: "Correct the side of fills: our position is wrong by twice their size",
    BreakClass.FEE_MISMATCH: "Check the fee tier: fees differ from the venue's",
    BreakClass.FEE_ASSET: "Check in which currency fees are charged",
    BreakClass.CLOCK: "Take the venue's time of a fill, not a clock of ours",
    BreakClass.UNKNOWN_ORDER: "Find out who sent orders that nothing of ours sent; rotate the key if nobody did",
    BreakClass.ORPHAN_INTENT: "Find out what became of our orders that the venue does not know; never resend them",
    BreakClass.STATE_MISMATCH: "Correct how our orders ended",
    BreakClass.EXTERNAL_ACTIVITY: "Book what the venue did by itself, and hedge what it closed",
    BreakClass.FUNDING_MISSING: "Find out why one side has a funding payment and the other has not",
    BreakClass.FUNDING_MISMATCH: "Check position and rate at the funding time: payments differ",
    BreakClass.TRANSFER_UNMATCHED: "Find out who moved money that only one side has on record",
    BreakClass.POSITION_SIGN: "Stop trading the contract: we believe to be on the other side of it",
    BreakClass.POSITION_QUANTITY: "Reduce only in the contract until its position is explained",
    BreakClass.BALANCE_DRIFT: "Stop withdrawals until the balance is explained",
    BreakClass.DUST: "Nothing: dust went to suspense",
    BreakClass.SOURCE_INCOMPLETE: "Fetch the venue's records again until the fetch is certified complete",
}

_PROVEN = "proven: both records differ"
_UNKNOWN = "unknown: the records are incomplete"
_COUNTED = "counted"
_INTERVAL = "95 % interval beyond zero"
_LOOKS = "bounds that hold at every look"
# A venue rounds each fee to its own unit; half a hundredth of a basis point of what was traded is no tier.
_FEE_ROUNDING_BPS = 0.05


def ranked_actions(
    reconciliation: Reconciliation,
    verdicts: Sequence[VerdictLine],
    waterfalls: Sequence[WaterfallLine],
    month: Month,
    excluded: Sequence[Exclusion],
    orders: int,
    candidates: Sequence[CandidateLine],
) -> tuple[Action, ...]:
    """Return what to do, most money first.

    Parameters
    ----------
    excluded, orders
        Orders of the day that could not be measured, and how many there were in all.
    """
    found = [
        *_breaks(reconciliation),
        *_strategies(verdicts, waterfalls),
        *_costs(month),
        *_positions(month),
        *_records(excluded, orders, candidates),
    ]
    return tuple(sorted(found, key=lambda action: (action.money is None, -(action.money or Decimal(0)))))


def _breaks(reconciliation: Reconciliation) -> Iterator[Action]:
    for kind in BreakClass:
        lines = [line for line in reconciliation.breaks if line.kind == kind]
        if lines:
            known = [line.money for line in lines if line.money is not None]
            confirmed = all(line.verdict == BreakVerdict.CONFIRMED for line in lines)
            yield Action(
                what=_REMEDIES[kind],
                why=f"{kind.value.replace('_', ' ')} on {', '.join(sorted({line.symbol for line in lines}))}",
                owner="operations",
                money=sum(known, Decimal(0)) if known else None,
                confidence=_PROVEN if confirmed else _UNKNOWN,
                n=len(lines),
            )


def _strategies(verdicts: Sequence[VerdictLine], waterfalls: Sequence[WaterfallLine]) -> Iterator[Action]:
    for line in verdicts:
        if line.verdict in CHANGED:
            verdict = EdgeVerdict(line.verdict)
            yield Action(
                what=CHANGED[verdict],
                why=line.reason,
                owner="trading",
                money=_lost_today(verdict, line),
                confidence=_LOOKS,
                n=line.orders,
            )
    if without := [line for line in verdicts if line.shadow_money is None]:
        known = [abs(line.live_money) for line in without if line.live_money is not None]
        yield Action(
            what="Give these strategies a model for what they trade: nobody can tell whether they do as approved",
            why=", ".join(line.strategy for line in without),
            owner="research",
            money=sum(known, Decimal(0)) if known else None,
            confidence=_COUNTED,
            n=len(without),
        )
    if strange := [line for line in verdicts if line.diverging]:
        names = {line.strategy for line in strange}
        moved = [
            abs(step.money)
            for line in waterfalls
            if line.strategy in names
            for step in line.steps
            if step.cause == Cause.SIGNAL and step.money is not None
        ]
        yield Action(
            what="Find out why live decided otherwise than its model",
            why=", ".join(line.strategy for line in strange),
            owner="trading",
            money=sum(moved, Decimal(0)) if moved else None,
            confidence=_COUNTED,
            n=sum(line.diverging for line in strange),
        )


def _lost_today(verdict: EdgeVerdict, line: VerdictLine) -> Decimal | None:
    """Return what the day fell short by: of what was expected for an edge, of the model for execution."""
    high = line.expected_money if verdict in {EdgeVerdict.EDGE, EdgeVerdict.BOTH} else line.shadow_money
    low = line.shadow_money if verdict is EdgeVerdict.EDGE else line.live_money
    return None if high is None or low is None else max(high - low, Decimal(0))


def _costs(month: Month) -> Iterator[Action]:
    """Yield where an interval says that trading costs more than it should."""
    for line in month.calibration:
        if line.low_bps is not None and line.low_bps > 0:
            yield Action(
                what=f"Raise the charge of {line.strategy}'s model, or trade it cheaper",
                why=f"spread, impact and fees cost {line.beyond_bps:.1f} bps more than charged",
                owner="research",
                money=_money(line.beyond),
                confidence=_INTERVAL,
                n=line.orders,
            )
    for toxic in month.toxicity:
        if toxic.verdict == Toxicity.TOXIC:
            yield Action(
                what=f"Quote wider or less: {toxic.strategy}'s maker fills are toxic",
                why=f"{toxic.venue} {toxic.symbol}, {toxic.mean_bps:.1f} bps 5 s after the fill".replace("-", "−"),
                owner="trading",
                money=_money(toxic.lost),
                confidence=_INTERVAL,
                n=toxic.fills,
            )
    for slow in month.latency:
        if slow.low_bps is not None and slow.low_bps > 0:
            until = "or more" if slow.to_ms is None else f"to {slow.to_ms}"
            yield Action(
                what=f"Shorten the way of {slow.strategy}'s orders to the venue",
                why=f"delay costs {slow.mean_bps:.1f} bps where it takes {slow.from_ms} {until} ms",
                owner="engineering",
                money=_money(slow.delay),
                confidence=_INTERVAL,
                n=slow.orders,
            )
    for fee in month.fees:
        if fee.beyond is not None and abs(fee.beyond) > _FEE_ROUNDING_BPS * 1e-4 * fee.value:
            yield Action(
                what="Ask the venue why its fees are not those of its schedule",
                why=f"{fee.liquidity} fills on {fee.venue}: {fee.paid_bps:.2f} bps paid, {fee.scheduled_bps:.2f} asked",
                owner="operations",
                money=_money(abs(fee.beyond)),
                confidence=_COUNTED,
                n=fee.scheduled,
            )


def _positions(month: Month) -> Iterator[Action]:
    wrong = [line for line in month.exposures if line.difference_money]
    if wrong:
        yield Action(
            what="Find out why the desk's positions are not those of its fills",
            why=", ".join(f"{line.strategy} {line.symbol}" for line in wrong),
            owner="operations",
            money=sum((abs(line.difference_money) for line in wrong if line.difference_money), Decimal(0)),
            confidence=_PROVEN,
            n=len(wrong),
        )


def _records(excluded: Sequence[Exclusion], orders: int, candidates: Sequence[CandidateLine]) -> Iterator[Action]:
    missing = sum(each.n for each in excluded)
    if missing > LARGEST_EXCLUDED_SHARE * orders:
        yield Action(
            what="Repair the recording of quotes and acknowledgements",
            why="; ".join(f"{each.n} {each.reason}" for each in excluded),
            owner="data",
            money=None,
            confidence=_COUNTED,
            n=missing,
        )
    short = [line.candidate for line in candidates if line.verdict is Verdict.INCONCLUSIVE]
    if short:
        yield Action(
            what="Give the gates the evidence that they lack",
            why=", ".join(short),
            owner="research",
            money=None,
            confidence=_COUNTED,
            n=len(short),
        )


def _money(amount: float | None) -> Decimal | None:
    return None if amount is None else Decimal(repr(amount)).quantize(Decimal("1e-8"))
