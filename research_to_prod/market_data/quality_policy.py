"""The policy of data quality: every threshold of the rules, with its unit and the sentence that says why.

Belongs here: the contract of ``market_quality.yaml``. Doesn't: what the thresholds are compared with (``rules``).
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from research_to_prod.declared import Frozen, read_declared


class QualityPolicyError(ValueError):
    """The policy file is wrong; the message lists every field."""


class Limit(Frozen):
    """A number, its unit, and why it is that number."""

    value: float = Field(gt=0)
    unit: str = Field(min_length=3)
    why: str = Field(min_length=30)


class Share(Limit):
    """A limit that is a fraction."""

    value: float = Field(gt=0, le=1)


class Delivery(Frozen):
    """How rows arrived."""

    newest_first: Share
    refused_rows: Share
    single_row: Limit


class Values(Frozen):
    """What single bars say."""

    repeated_column: Share
    fewest_bars: Limit
    zero_volume: Share
    no_volume: Share
    wick: Limit


class Gaps(Frozen):
    """What is absent, and what stands still."""

    no_trade_probability: Share
    habitual_runs: Limit
    market_gap: Limit
    longest_gap: Limit
    incomplete: Share
    stale_bars: Limit
    stale_time: Limit
    frozen_bars: Limit


class Returns(Frozen):
    """How prices move from bar to bar."""

    outlier: Limit
    spike: Limit
    spike_return: Limit
    spike_volume: Limit
    break_sigmas: Limit
    break_floor: Limit
    break_ceiling: Limit


class Peers(Frozen):
    """How a market stands to others of the same asset."""

    deviation: Limit
    deviating_share: Share
    shift_reach: Limit
    shift_correlation: Share
    shift_gain: Share
    lead_correlation: Share


class Identity(Frozen):
    """Whether a series is what its label says, all the way."""

    copied_bars: Share
    copied_prices: Share
    volume_step: Limit


class QualityPolicy(Frozen):
    """All thresholds of the rules; none can be left out."""

    id: str = Field(pattern=r"^market_quality$")
    delivery: Delivery
    values: Values
    gaps: Gaps
    returns: Returns
    peers: Peers
    identity: Identity


def load_quality_policy(path: Path) -> QualityPolicy:
    """Load the policy file.

    Raises
    ------
    QualityPolicyError
        Listing every wrong field.
    """
    return read_declared(path, QualityPolicy, QualityPolicyError)
