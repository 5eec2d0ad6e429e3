"""The policy of the verdicts: which effects matter, when they should be seen, and how often a verdict may be false.

Belongs here: the contract of ``attribution.yaml``. Doesn't: arithmetic on series (``verdict_evidence``), the verdicts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.gates.thresholds import Count, PolicyError, Positive, Share
from research_to_prod.values import digest


class Question(Frozen):
    """One way in which a strategy can do worse than it was approved to.

    Effects are positive when worse: for the edge a share of the expected edge, otherwise bps of capital a day.
    """

    acted_on: Positive
    """Smallest estimated effect that gets a verdict; a smaller one is not worth an interruption, however certain."""
    ruled_out: Positive
    """Effect that must be excluded before the answer is "no"; decides how long INCONCLUSIVE lasts."""
    decide_by_days: Positive
    """Length of record at which the bounds are about as tight as they can be."""
    weight: Share
    """Share of the false verdicts allowed that this question may use up; the three add up to 1."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.acted_on.value > self.ruled_out.value:
            raise ValueError("acted_on must not exceed ruled_out, or an effect could be both absent and acted on")
        return self


class BurnIn(Count):
    """A number of days; a long-run deviation takes three."""

    value: float = Field(ge=3, multiple_of=1)


class AttributionPolicy(Frozen):
    """When the desk is told that something changed, that nothing did, and that nobody can know yet."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{2,63}$")
    false_discovery_rate: Share
    """Most false ones expected among the changes reported across the book, at any look."""
    false_normal: Share
    """Largest probability, over all looks, of excluding an effect of `Question.ruled_out` that is there."""
    power: Share
    """Chance of an answer that the stated horizon stands for."""
    burn_in_days: BurnIn
    """Days below which a long-run deviation is too uncertain to judge by."""
    restart_days: BurnIn
    """A change is looked for from the first day, and from every so many days on."""
    edge: Question
    execution: Question
    selection: Question

    @model_validator(mode="after")
    def _weights_add_up(self) -> Self:
        total = sum(each.weight.value for each in self.questions.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the weights of edge, execution and selection must add up to 1, are {total:g}")
        return self

    @property
    def questions(self) -> dict[str, Question]:
        """The three questions by name."""
        return {"edge": self.edge, "execution": self.execution, "selection": self.selection}

    @property
    def sha256(self) -> str:
        """Digest of the canonical form; comments and layout of the file don't enter."""
        return digest(self.model_dump(mode="json"))


def load_attribution_policy(path: Path) -> AttributionPolicy:
    """Load the policy file.

    Raises
    ------
    PolicyError
        Listing every wrong field.
    """
    policy = read_declared(path, AttributionPolicy, PolicyError)
    if policy.id != path.stem:
        raise PolicyError(f"{path.name}: id: {policy.id!r} must be the file's name {path.stem!r}")
    return policy
