"""What makes two firings the same incident."""

from __future__ import annotations

from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.values import digest


def fingerprint(environment: str, rule: str, subject: Subject, *, blind: bool = False) -> str:
    """Return the SHA-256 of where, which rule and on what; of nothing that changes while it burns.

    Value, time, severity and regime are left out: an incident that gets worse, or goes on into the night, is the same.
    Not to see something is another incident than to see it.
    """
    fields = (subject.venue, subject.account, subject.instrument, subject.strategy, subject.key)
    return digest([environment, rule, *fields, *(["blind"] if blind else [])])
