"""The thresholds of the failure modes, each with its unit and the sentence that says why.

Belongs here: the contract of ``failure_modes.yaml``. Doesn't: what the thresholds are compared with
(``failure_mode_rules``).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.market_data.quality_policy import Limit, Share


class FailureModePolicyError(ValueError):
    """The policy file is wrong; the message lists every field."""


class Chance(Limit):
    """A limit that is the probability of one of two sides."""

    value: float = Field(gt=0, lt=0.5)


class Common(Frozen):
    """What holds for every mode."""

    seen: Share


class VolatilityShock(Frozen):
    """Volatility far above what is usual at this hour."""

    ratio: Limit
    floor: Limit
    lasting: Limit
    within: Limit
    longest_bucket: Limit

    @model_validator(mode="after")
    def _fits(self) -> VolatilityShock:
        if self.lasting.value > self.within.value:
            raise ValueError("lasting must not exceed within: nothing lasts longer than the time that it falls in")
        return self


class LiquidityVacuum(Frozen):
    """A book that went away."""

    depth: Share
    spread: Limit
    lasting: Limit
    longest_sample: Limit


class ThinHours(Frozen):
    """Hours in which there usually is no book."""

    hours: Share
    orders: Limit
    deviations: Limit


class LiquidationCascade(Frozen):
    """Forced orders that force others."""

    ratio: Limit
    one_sided: Share
    open_interest: Share
    within: Limit
    open_interest_within: Limit
    history: Limit


class FundingSqueeze(Frozen):
    """Carry that turned into a loss."""

    quantile: Share
    floor: Limit
    history: Limit
    loss: Share


class TrendWhipsaw(Frozen):
    """A trend follower in a market without a trend."""

    efficiency: Share
    flips: Limit
    within: Limit


class VenueOutage(Frozen):
    """A venue that did not trade, or not with us."""

    silence: Limit
    updates_elsewhere: Limit
    rejected: Share
    orders: Limit


class BasisBlowOut(Frozen):
    """Perpetual and spot apart."""

    deviations: Limit
    floor: Share
    lasting: Limit
    history: Limit
    longest_sample: Limit


class StablecoinDepeg(Frozen):
    """A dollar that is none."""

    deviation: Share
    lasting: Limit
    venues: Limit
    longest_sample: Limit


class ForcedPosition(Frozen):
    """A position that changed without us."""

    tolerance: Share


class FatFinger(Frozen):
    """Orders that nobody can have meant."""

    through: Limit
    spreads: Limit
    size: Limit
    off_target: Limit
    tolerance: Share


class FeeTierChange(Frozen):
    """Fees that aren't those of the schedule."""

    drift: Limit
    fills: Limit


class MakerToxicity(Frozen):
    """Fills that only come when they are wrong."""

    fills: Limit
    false_alarms: Chance


class Crowding(Frozen):
    """An edge that others have found."""

    days: Limit
    false_alarms: Chance
    deviations: Limit


class FailureModePolicy(Frozen):
    """All thresholds of the failure modes; none can be left out."""

    id: str = Field(pattern=r"^failure_modes$")
    common: Common
    volatility_shock: VolatilityShock
    liquidity_vacuum: LiquidityVacuum
    thin_hours: ThinHours
    liquidation_cascade: LiquidationCascade
    funding_squeeze: FundingSqueeze
    trend_whipsaw: TrendWhipsaw
    venue_outage: VenueOutage
    basis_blow_out: BasisBlowOut
    stablecoin_depeg: StablecoinDepeg
    forced_position: ForcedPosition
    fat_finger: FatFinger
    fee_tier_change: FeeTierChange
    maker_toxicity: MakerToxicity
    crowding: Crowding


def load_failure_mode_policy(path: Path) -> FailureModePolicy:
    """Load the policy file.

    Raises
    ------
    FailureModePolicyError
        Listing every wrong field.
    """
    return read_declared(path, FailureModePolicy, FailureModePolicyError)
