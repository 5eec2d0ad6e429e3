"""The policy: what a candidate must show to be promoted, as data that is reviewed and hashed.

Belongs here: the policy file's contract, overrides by strategy type, the digest. Doesn't: arithmetic on evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.gates.approval import ApprovalRule
from research_to_prod.gates.capital import CapitalAllocation, load_allocation
from research_to_prod.gates.families import (
    DataQuality,
    Family,
    Implementation,
    Latency,
    Readiness,
    Risk,
    Robustness,
    Statistics,
)
from research_to_prod.gates.thresholds import PolicyError, Threshold
from research_to_prod.values import Stage, StrategyType, canonical_json, sha256_hex

__all__ = ["TRANSITIONS", "Policy", "PolicyError", "PolicyFile", "Threshold", "load_policy"]

_RESEARCH = frozenset({Family.DATA_QUALITY, Family.STATISTICS, Family.ROBUSTNESS, Family.RISK, Family.READINESS})
_TRADED = frozenset({Family.IMPLEMENTATION, Family.LATENCY, Family.RISK, Family.READINESS})

TRANSITIONS: Mapping[tuple[Stage, Stage], frozenset[Family]] = MappingProxyType(
    {
        (Stage.RESEARCH, Stage.PAPER): _RESEARCH,
        (Stage.PAPER, Stage.CANARY): _TRADED,
        (Stage.CANARY, Stage.LIVE): _TRADED,
    }
)
"""The families that each transition's policy must have: neither can one be left out, nor one be added without use."""


class PolicyFile(Frozen):
    """What a transition between two stages asks for, as its file says it.

    Every threshold must be given: a policy can't switch a gate off by leaving it out.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")
    from_stage: Stage
    to_stage: Stage
    approval: ApprovalRule
    risk: Risk
    readiness: Readiness
    data_quality: DataQuality | None = None
    statistics: Statistics | None = None
    robustness: Robustness | None = None
    implementation: Implementation | None = None
    latency: Latency | None = None
    overrides: dict[StrategyType, dict[Family, dict[str, Any]]] = Field(default_factory=dict)
    """By strategy type, family and threshold: replaces the threshold whole, ``why`` included."""

    @model_validator(mode="after")
    def _has_the_families_of_its_transition(self) -> Self:
        move = (self.from_stage, self.to_stage)
        if move not in TRANSITIONS:
            raise ValueError(f"no policy leads from {self.from_stage} to {self.to_stage}")
        given = {family for family in Family if getattr(self, family) is not None}
        problems = [f"{family}: Field required" for family in sorted(TRANSITIONS[move] - given)]
        problems += [f"{family}: not asked for by {self.to_stage}" for family in sorted(given - TRANSITIONS[move])]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _overrides_are_thresholds(self) -> Self:
        for strategy_type in self.overrides:
            self.for_type(strategy_type)
        return self

    def for_type(self, strategy_type: StrategyType) -> Self:
        """Return the policy that applies to ``strategy_type``: the general one with its overrides."""
        plain = self.model_dump(exclude={"overrides"})
        for family, thresholds in self.overrides.get(strategy_type, {}).items():
            if plain[family] is None:
                raise ValueError(f"overrides.{strategy_type}.{family}: no such family in this policy")
            plain[family] = {**plain[family], **thresholds}
        return type(self).model_validate(plain)


class Policy(PolicyFile):
    """A policy file with the capital allocation that its risk gates derive their limits from: one thing to hash."""

    allocation: CapitalAllocation

    @property
    def sha256(self) -> str:
        """Digest of the canonical form, allocation included; comments and layout of the files don't enter."""
        return sha256_hex(self.canonical_bytes())

    def canonical_bytes(self) -> bytes:
        """Return the canonical form, by whose hash a record names the policy."""
        return canonical_json(self.model_dump(mode="json"))


def load_policy(path: Path, allocation: Path | None = None) -> Policy:
    """Load a policy file.

    Parameters
    ----------
    allocation
        The capital allocation; by default ``capital/allocation.yaml`` beside the policies' folder.

    Raises
    ------
    PolicyError
        Listing every wrong field.
    """
    capital = load_allocation(allocation or path.parent.parent / "capital" / "allocation.yaml")
    file = read_declared(path, PolicyFile, PolicyError)
    if file.id != path.stem:
        raise PolicyError(f"{path.name}: id: {file.id!r} must be the file's name {path.stem!r}")
    return Policy.model_validate({**file.model_dump(), "allocation": capital.model_dump()})
