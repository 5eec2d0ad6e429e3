"""How many people a transition asks for: part of its policy, beside what it asks of the numbers.

Belongs here: the rule. Doesn't: requests, signatures and who may sign (`promotion.approvals`).
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from research_to_prod.declared import Frozen


class ApprovalRule(Frozen):
    """How many people, other than the author, must approve a transition, and how long a request may be answered."""

    people: int = Field(ge=0, le=5, strict=True)
    """Distinct people; two keys of one person count once."""
    valid_for: timedelta = Field(gt=timedelta(0), le=timedelta(days=30))
    """From the request until its approvals count no longer; in YAML an ISO 8601 duration such as ``P7D``."""
    validator: str | None = Field(default=None, pattern=r"^(user|team):[a-z0-9._-]{2,64}$")
    """Who answers for these gates, and is never a candidate's author; None: the record names nobody."""
    holds_for: timedelta | None = Field(default=None, gt=timedelta(0), le=timedelta(days=366))
    """How long a promotion holds from when somebody looked at what stands ready; None: until it is taken back."""
    why: str = Field(min_length=30)
