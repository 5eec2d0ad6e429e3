"""Why fees differ from what the model charges: another rate, another mix of makers and takers, or more trading.

Belongs here: the exact split. Doesn't: which fee schedule applies, and finding a changed tier among single fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext

_PRECISE = Context(prec=60)
_ZERO = Decimal(0)


@dataclass(frozen=True)
class FeeUse:
    """Value traded as maker or as taker, and the fees of it, in quote currency; rebates are negative."""

    notional: Decimal
    fees: Decimal


@dataclass(frozen=True)
class FeeChange:
    """Actual less modelled fees; cost positive. ``rate + mix + volume = total``, exactly.

    Parameters
    ----------
    rate
        What was traded cost more for each unit, maker for maker and taker for taker.
    mix
        More of it was traded on the dearer side of the book.
    volume
        More was traded.
    """

    rate: Decimal
    mix: Decimal
    volume: Decimal
    total: Decimal


def fee_change(model: Mapping[str, FeeUse], actual: Mapping[str, FeeUse]) -> FeeChange:
    """Split actual less modelled fees by cause, exactly.

    ``volume`` is the change of value traded at the model's mean rate, ``mix`` the change of shares at its rates,
    ``rate`` the change of rates at what was traded.

    Parameters
    ----------
    model, actual
        By liquidity (``maker``, ``taker``). The model must have traded each that was: otherwise its rate is unknown.

    Raises
    ------
    ValueError
        Listing each liquidity without a modelled rate, each negative notional, and fees on no notional.
    """
    problems = [
        f"{name} {side} fees on a notional of {use.notional}"
        for side, uses in (("modelled", model), ("actual", actual))
        for name, use in uses.items()
        if use.notional < 0 or (use.notional == 0 and use.fees != 0)
    ]
    problems += [
        f"no modelled rate for {name}"
        for name, use in actual.items()
        if use.notional > 0 and (name not in model or model[name].notional == 0)
    ]
    if problems:
        raise ValueError("fees can't be compared: " + "; ".join(problems))
    with localcontext(_PRECISE):
        modelled, paid = (sum((use.fees for use in uses.values()), _ZERO) for uses in (model, actual))
        before, after = (sum((use.notional for use in uses.values()), _ZERO) for uses in (model, actual))
        # Differences of three rounded intermediate totals: their roundings cancel, so the parts sum exactly.
        unit = Decimal("1e-18")
        at_mean_rate = (after * modelled / before).quantize(unit) if before else _ZERO
        at_rates = sum(
            (
                (use.notional * model[name].fees / model[name].notional).quantize(unit)
                for name, use in actual.items()
                if use.notional
            ),
            _ZERO,
        )
        return FeeChange(
            rate=paid - at_rates, mix=at_rates - at_mean_rate, volume=at_mean_rate - modelled, total=paid - modelled
        )
