"""The pre-set limits of a strategy: how much it may trade with at a stage, as the capital allocation gives it.

RTS 6 Articles 8 and 15 ask for limits on orders, positions and messages before anything is sent. They are derived and
never typed in by hand, so that what the risk gates judged and what the execution system enforces is one allocation.

Belongs here: the limits, and what of them is missing. Doesn't: the numbers that they follow from (``capital``), and
enforcing them (the manifest's readers).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from decimal import ROUND_DOWN, Decimal

from research_to_prod.gates.capital import CapitalAllocation
from research_to_prod.gates.thresholds import Threshold
from research_to_prod.values import Stage, StrategyType

_CENT = Decimal("0.01")


@dataclass(frozen=True)
class PreSetLimits:
    """What one strategy may trade with; amounts in ``currency``, None where the allocation does not give it.

    Parameters
    ----------
    capital
        What it is given at the stage.
    max_order_value
        Of one order as it is sent to the venue.
    max_position_value
        Gross, over all of its markets.
    max_messages_per_second
        Orders, amendments and cancellations together.
    """

    capital: Decimal | None = None
    currency: str | None = None
    max_order_value: Decimal | None = None
    max_position_value: Decimal | None = None
    max_messages_per_second: int | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the limits that are not set; one of zero is none."""
        return tuple(name for name, limit in asdict(self).items() if not limit)


def pre_set_limits(
    strategy_type: StrategyType,
    symbols: Collection[str],
    asked: Decimal | None,
    allocation: CapitalAllocation,
    stage: Stage,
) -> PreSetLimits:
    """Return the limits of a strategy at ``stage``.

    A canary gets so much that its loss at the hard stop (its type's drawdown limit) is within ``canary_loss`` of the
    book's capital and ``canary_share`` of what it asks for; paper and live get what is asked for. Amounts are rounded
    down to 0.01.

    Parameters
    ----------
    symbols
        Unified symbols of its markets. Amounts in a currency in which one of them is not quoted say nothing: then only
        the rate of messages is set.
    asked
        Capital that the candidate asks for, in its markets' quote currency; None where it is not known.
    """
    own = allocation.types[strategy_type]
    rate = int(own.messages_per_second.value)
    quoted = {symbol.partition("/")[2].partition(":")[0] for symbol in symbols}
    if asked is None or quoted != {allocation.currency}:
        return PreSetLimits(max_messages_per_second=rate)
    capital = asked
    if stage is Stage.CANARY:
        bearable = min(_of(allocation.canary_loss, allocation.book_capital), _exact(allocation.canary_share) * asked)
        capital = min(asked, bearable / _exact(own.drawdown_limit))
    position = capital * _exact(own.gross_leverage)
    return PreSetLimits(
        capital=_down(capital),
        currency=allocation.currency,
        max_order_value=_down(position * _exact(own.order_share)),
        max_position_value=_down(position),
        max_messages_per_second=rate,
    )


def _of(share: Threshold, whole: Threshold) -> Decimal:
    return _exact(share) * _exact(whole)


def _exact(threshold: Threshold) -> Decimal:
    # As the file has it: 0.001 is a thousandth, not the double beside it.
    return Decimal(repr(threshold.value))


def _down(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_DOWN)
