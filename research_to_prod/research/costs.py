"""What trading costs in a backtest.

Belongs here: cost rates as a value. Doesn't: applying them (the engine does).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Costs(BaseModel):
    """Cost rates, each a fraction of traded notional.

    The defaults are a base-tier account that crosses the spread of a liquid pair: 10 bp fee for taking and for making,
    1 bp half-spread.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    taker_fee: float = Field(default=0.001, ge=0, le=0.05, allow_inf_nan=False)
    maker_fee: float = Field(default=0.001, ge=-0.01, le=0.05, allow_inf_nan=False)
    """Negative where the venue pays a rebate."""
    half_spread: float = Field(default=0.0001, ge=0, le=0.05, allow_inf_nan=False)
    impact: float = Field(default=0.0, ge=0, le=1, allow_inf_nan=False)
    """Cost of trading a whole bar's volume; a share q of it costs ``impact * sqrt(q)`` (square-root law)."""

    def stressed(self, multiplier: float) -> Costs:
        """Return these rates times ``multiplier``; unlike the rates of a file they may exceed the bounds above.

        A rebate is divided by it: stress never pays us more.
        """
        rates = self.model_dump().items()
        return self.model_copy(
            update={name: rate * multiplier if rate >= 0 else rate / multiplier for name, rate in rates}
        )
