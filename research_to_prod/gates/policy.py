"""The policy: what a candidate must show to be promoted, as data that is reviewed and hashed.

Belongs here: the policy file's contract, overrides by strategy type, the digest. Doesn't: arithmetic on evidence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.values import Stage, StrategyType, canonical_json, sha256_hex


class PolicyError(ValueError):
    """The policy file is wrong; the message lists every field."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Threshold(_Frozen):
    """A number, and the sentence that says why it is that number."""

    value: float
    why: str = Field(min_length=30)


class Share(Threshold):
    """A threshold that is a fraction."""

    value: float = Field(gt=0, le=1)


class Probability(Threshold):
    """A threshold that is a probability of at least one half."""

    value: float = Field(ge=0.5, lt=1)


class Positive(Threshold):
    """A threshold that is a positive quantity."""

    value: float = Field(gt=0)


class Count(Threshold):
    """A threshold that is a number of things."""

    value: float = Field(ge=0, multiple_of=1)


class Stressed(Threshold):
    """A threshold under multiplied costs."""

    cost_multiplier: float = Field(ge=1)


class StressedBound(Stressed):
    """A threshold for a lower confidence bound under multiplied costs."""

    confidence: float = Field(ge=0.5, lt=1)


class DataQuality(_Frozen):
    """Whether the history can be believed."""

    completeness: Share
    """Least share of expected bars that are valid, of every market of the universe over the window."""
    unresolved_findings: Count
    """Most error-level findings on the markets of the universe over the window that no declared repair settles."""


class Statistics(_Frozen):
    """Whether the edge can be told from luck."""

    minimum_days: Positive
    """Days of daily returns below which nothing is concluded."""
    track_record_confidence: Probability
    """The track record must be long enough for the Sharpe ratio to be positive at this confidence."""
    deflated_sharpe_ratio: Probability
    """Least probability that the Sharpe ratio is positive after all trials in the ledger."""
    reference_sharpe: Positive
    """Annual Sharpe ratio of an edge that the deflated Sharpe gate should recognise; its power is stated for that."""
    minimum_power: Share
    """Power below which a failure says more about the sample than about the strategy."""
    reported_probabilistic_sharpe_ratio: Probability
    """Reported beside the gates."""
    reported_deflated_sharpe_ratio_across_trials: Probability
    """Reported beside the gates: the form with the dispersion observed across trials."""


class Robustness(_Frozen):
    """Whether the edge survives costs that are worse than assumed."""

    stressed_mean_return: Stressed
    stressed_sharpe_lower_bound: StressedBound


class Risk(_Frozen):
    """What the desk's capital can bear."""

    maximum_drawdown: Share


class Policy(_Frozen):
    """What a transition between two stages asks for.

    Every threshold must be given: a policy can't switch a gate off by leaving it out.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")
    from_stage: Stage
    to_stage: Stage
    approval: ApprovalRule
    data_quality: DataQuality
    statistics: Statistics
    robustness: Robustness
    risk: Risk
    overrides: dict[StrategyType, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    """By strategy type, family and threshold: replaces the threshold whole, ``why`` included."""

    @model_validator(mode="after")
    def _overrides_are_thresholds(self) -> Self:
        for strategy_type in self.overrides:
            self.for_type(strategy_type)
        return self

    @property
    def sha256(self) -> str:
        """Digest of the canonical form; comments and layout of the file don't enter."""
        return sha256_hex(self.canonical_bytes())

    def canonical_bytes(self) -> bytes:
        """Return the canonical form, by whose hash a record names the policy."""
        return canonical_json(self.model_dump(mode="json"))

    def for_type(self, strategy_type: StrategyType) -> Policy:
        """Return the policy that applies to ``strategy_type``: the general one with its overrides."""
        plain = self.model_dump(exclude={"overrides"})
        for family, thresholds in self.overrides.get(strategy_type, {}).items():
            if family not in {"data_quality", "statistics", "robustness", "risk"}:
                raise ValueError(f"overrides.{strategy_type}.{family}: no such family")
            plain[family] = {**plain[family], **thresholds}
        return Policy.model_validate(plain)


def load_policy(path: Path) -> Policy:
    """Load a policy file.

    Raises
    ------
    PolicyError
        Listing every wrong field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        policy = Policy.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path.name}: not readable as YAML: {error}") from error
    except ValidationError as error:
        lines = (
            f"{path.name}: {'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
        )
        raise PolicyError("\n".join(lines)) from error
    if policy.id != path.stem:
        raise PolicyError(f"{path.name}: id: {policy.id!r} must be the file's name {path.stem!r}")
    return policy
