"""From what the model was expected to earn to what the venue paid out, one cause at a time.

One input after the other is swapped from the model's to the real one, in the order of `Cause`; each bar is the value
after a swap less the value before it, so the bars and the expectation sum to live by construction. The order matters
(a missed trade is valued at the decision's price because quantities are swapped before prices) and is always printed.
All of it is decimal arithmetic that may not round: what is left between the last value and the venue's ledger is a
break in the records, never a bar.

The shadow's prices contain our own impact: mids were moved by what we traded. Where that is material, `Cause.EDGE`
looks worse and `Cause.IMPACT` better than they were.

Belongs here: the identity on explicit trades. Doesn't: fees by cause (``fees``), payments (``funding``), finding what
the model would have done (``shadow``), reconciling (operations).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, localcontext
from enum import StrEnum

_ZERO = Decimal(0)
# Wide enough that products of three 38-digit decimals are exact; anything that would round raises.
_EXACT = Context(prec=400, traps=[Inexact])


class Cause(StrEnum):
    """What is swapped from the model's to the real one, in this order; the value is the bar's name."""

    EDGE = "edge and regime"
    SIGNAL = "signal divergence"
    SIZING = "sizing"
    MISSED = "missed trades"
    DELAY = "delay"
    MODELLED_COST = "modelled cost, taken back"
    TIMING = "timing"
    SPREAD = "spread"
    IMPACT = "impact"
    FEES = "fees"
    CARRY = "funding and borrow"
    OTHER = "liquidations, conversions, transfers"


@dataclass(frozen=True)
class Trade:
    """One decision from the model to its fills; quantities are signed, positive for a buy, in base units.

    Parameters
    ----------
    model_quantity
        What the model, run again on the bars as known then, trades; 0 where it doesn't.
    live_quantity
        What the signal that was live asks for, at the model's size.
    target_quantity
        What was sent, at the size that was live.
    filled_quantity, filled_value
        The fills' sums of quantity, and of quantity times price.
    decision_mid, arrival_mid, end_mid
        Mids at decision, at arrival, and at the end of the window, to which everything is marked.
    model_cost_rate, model_fee_rate
        Half-spread with impact, and fee, that the model charges on the value traded at the decision's mid.
    fees
        Paid in quote currency, rebates negative.
    quoted_values
        The fills' sums of quantity times the mid, and times the taker's touch, just before each; None when a quote is
        missing, and then all of the price cost since arrival is called impact.
    """

    model_quantity: Decimal
    live_quantity: Decimal
    target_quantity: Decimal
    filled_quantity: Decimal
    filled_value: Decimal
    decision_mid: Decimal
    arrival_mid: Decimal
    end_mid: Decimal
    model_cost_rate: Decimal
    model_fee_rate: Decimal
    fees: Decimal
    quoted_values: tuple[Decimal, Decimal] | None = None

    def at_decision(self, quantity: Decimal) -> Decimal:
        """Return what a quantity traded at the decision's mid earns by the end, net of the model's costs and fees."""
        charged = abs(quantity) * self.decision_mid * (self.model_cost_rate + self.model_fee_rate)
        return quantity * (self.end_mid - self.decision_mid) - charged

    def filled_at(self, value: Decimal) -> Decimal:
        """Return what the filled quantity earns by the end if ``value`` was paid for it."""
        return self.filled_quantity * self.end_mid - value

    @property
    def model_cost(self) -> Decimal:
        """Price cost that the model charges on what was filled."""
        return abs(self.filled_quantity) * self.decision_mid * self.model_cost_rate

    @property
    def model_fee(self) -> Decimal:
        """Fee that the model charges on what was filled."""
        return abs(self.filled_quantity) * self.decision_mid * self.model_fee_rate

    @property
    def paid_at_arrival(self) -> Decimal:
        """Value of the fills at the arrival's mid."""
        return self.filled_quantity * self.arrival_mid

    @property
    def paid_at_mid(self) -> Decimal:
        """Value of the fills at the mids just before them."""
        return self.quoted_values[0] if self.quoted_values else self.paid_at_arrival

    @property
    def paid_at_touch(self) -> Decimal:
        """Value of the fills at the touch just before them."""
        return self.quoted_values[1] if self.quoted_values else self.paid_at_arrival


@dataclass(frozen=True)
class Window:
    """What doesn't belong to a single decision, in quote currency; received is positive.

    Parameters
    ----------
    expected
        Net P&L that the backtest expects of the window: its mean at the window's exposure.
    carried
        P&L from the window's first to its last mid of the positions that it began with.
    model_carry, carry
        Funding and borrow that the model has on its positions, and what was paid and received.
    other
        Liquidation, auto-deleveraging, conversions and transfers, from the venue's ledger.
    ledger
        P&L of the window by the venue's ledger, everything included.
    """

    expected: Decimal
    carried: Decimal
    model_carry: Decimal
    carry: Decimal
    other: Decimal
    ledger: Decimal


@dataclass(frozen=True)
class Bar:
    """One cause and its P&L; negative is a loss."""

    cause: Cause
    amount: Decimal


@dataclass(frozen=True)
class Waterfall:
    """Expected to live: ``expected + sum(bars) = explained``, exactly; ``residual = ledger - explained``."""

    expected: Decimal
    bars: tuple[Bar, ...]
    explained: Decimal
    ledger: Decimal
    residual: Decimal

    def is_data_break(self, tolerance: Decimal = _ZERO) -> bool:
        """Return whether the records contradict the venue's ledger by more than its rounding."""
        return abs(self.residual) > tolerance


def waterfall(trades: Iterable[Trade], window: Window) -> Waterfall:
    """Return the waterfall of a window from its trades, exact.

    Raises
    ------
    ValueError
        If a number is not finite, a fill goes against its target, or a mid or rate is negative; listing every trade.
    """
    trades = tuple(trades)
    _check(trades, window)
    with localcontext(_EXACT):
        values = _values(trades, window)
        bars = tuple(
            Bar(cause, after - before) for cause, before, after in zip(Cause, values, values[1:], strict=False)
        )
        explained = values[-1]
        return Waterfall(window.expected, bars, explained, window.ledger, window.ledger - explained)


def add(waterfalls: Iterable[Waterfall]) -> Waterfall:
    """Return the waterfall of several strategies or days together: money adds up, cause by cause.

    Raises
    ------
    ValueError
        If there is none: a waterfall of nothing would show a clean zero.
    """
    parts = tuple(waterfalls)
    if not parts:
        raise ValueError("no waterfall to add up")
    with localcontext(_EXACT):
        bars = tuple(
            Bar(same[0].cause, sum((bar.amount for bar in same), _ZERO))
            for same in zip(*(each.bars for each in parts), strict=True)
        )
        expected, explained, ledger, residual = (
            sum((getattr(each, name) for each in parts), _ZERO)
            for name in ("expected", "explained", "ledger", "residual")
        )
        return Waterfall(expected, bars, explained, ledger, residual)


def _values(trades: Sequence[Trade], window: Window) -> list[Decimal]:
    """Return V0, then the value after each swap of `Cause`."""

    def total(of: Callable[[Trade], Decimal]) -> Decimal:
        return sum((of(each) for each in trades), _ZERO)

    base = window.carried + window.model_carry
    at_decision: list[Callable[[Trade], Decimal]] = [
        lambda each: each.at_decision(each.model_quantity),
        lambda each: each.at_decision(each.live_quantity),
        lambda each: each.at_decision(each.target_quantity),
        lambda each: each.at_decision(each.filled_quantity),
    ]
    filled: list[Callable[[Trade], Decimal]] = [
        lambda each: each.filled_at(each.paid_at_arrival) - each.model_cost - each.model_fee,
        lambda each: each.filled_at(each.paid_at_arrival) - each.model_fee,
        lambda each: each.filled_at(each.paid_at_mid) - each.model_fee,
        lambda each: each.filled_at(each.paid_at_touch) - each.model_fee,
        lambda each: each.filled_at(each.filled_value) - each.model_fee,
        lambda each: each.filled_at(each.filled_value) - each.fees,
    ]
    values = [window.expected, *(base + total(of) for of in (*at_decision, *filled))]
    values.append(values[-1] - window.model_carry + window.carry)
    values.append(values[-1] + window.other)
    return values


def _check(trades: Sequence[Trade], window: Window) -> None:
    problems = [f"{name} of the window is {value}" for name, value in vars(window).items() if not value.is_finite()]
    for number, trade in enumerate(trades):
        given = {name: value for name, value in vars(trade).items() if name != "quoted_values"}
        wrong = [f"{name} is {value}" for name, value in given.items() if not value.is_finite()]
        wrong += [f"a quoted value is {value}" for value in trade.quoted_values or () if not value.is_finite()]
        if not wrong:
            prices = ("decision_mid", "arrival_mid", "end_mid")
            wrong += [f"{name} is {given[name]}, not above 0" for name in prices if given[name] <= 0]
            if trade.filled_quantity and (trade.filled_quantity > 0) != (trade.target_quantity > 0):
                wrong.append(f"{trade.filled_quantity} filled against a target of {trade.target_quantity}")
        problems += [f"trade {number}: {each}" for each in wrong]
    if problems:
        raise ValueError("waterfall refused: " + "; ".join(problems))
