"""Thresholds: a number of a policy or of the capital allocation, with the sentence that says why it is that number.

Belongs here: the kinds of numbers. Doesn't: which numbers there are.
"""

from __future__ import annotations

from pydantic import Field

from research_to_prod.declared import Frozen


class PolicyError(ValueError):
    """A policy file, or the capital allocation beside it, is wrong; the message lists every field."""


class Threshold(Frozen):
    """A number, and the sentence that says why it is that number."""

    value: float
    why: str = Field(min_length=30)


class Share(Threshold):
    """A threshold that is a fraction."""

    value: float = Field(gt=0, le=1)


class Probability(Threshold):
    """A threshold that is a probability of at least one half."""

    value: float = Field(ge=0.5, lt=1)


class Significance(Threshold):
    """A threshold that is a probability of being wrong, of at most one half."""

    value: float = Field(gt=0, le=0.5)


class Positive(Threshold):
    """A threshold that is a positive quantity."""

    value: float = Field(gt=0)


class Count(Threshold):
    """A threshold that is a number of things."""

    value: float = Field(ge=0, multiple_of=1)


class PositiveCount(Threshold):
    """A threshold that is a number of things, of which there must be one."""

    value: float = Field(ge=1, multiple_of=1)


class Sampled(Threshold):
    """A threshold for a figure that means nothing on too few samples."""

    minimum_samples: int = Field(ge=1)


class SampledShare(Sampled):
    """The same for a fraction."""

    value: float = Field(gt=0, le=1)


class Stressed(Threshold):
    """A threshold under multiplied costs."""

    cost_multiplier: float = Field(ge=1)


class StressedBound(Stressed):
    """A threshold for a lower confidence bound under multiplied costs."""

    confidence: float = Field(ge=0.5, lt=1)
