"""The journal of a watch: a line a reading, with what it led to, from which the state is found again and proven.

Belongs here: lines and resuming from them. Doesn't: the file that they are kept in, and deciding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from research_to_prod.promotion.rollback.readings import DayResult, Exposure, Reading
from research_to_prod.promotion.rollback.stepping import Outcome, State, start, step
from research_to_prod.promotion.rollback.trigger import demotion_draft_fields
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import canonical_json, sha256_hex


class JournalError(ValueError):
    """A line does not follow from the lines before it; the message says which."""


def line(reading: Reading, outcome: Outcome) -> bytes:
    """Return one line in RFC 8785 form, without its end; a number that is not known is null."""
    known = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(reading).items()
    }
    return canonical_json(
        {
            "kind": type(reading).__name__,
            "reading": TypeAdapter(dict[str, Any]).dump_python(known, mode="json"),
            "state_sha256": sha256_hex(outcome.state.canonical_bytes()),
            "triggers": [demotion_draft_fields(trigger) for trigger in outcome.triggers],
            "inconclusive": list(outcome.inconclusive),
        }
    )


def resume(watch: Watch, lines: Iterable[bytes]) -> State:
    """Return the state after all lines, each of which is stepped through again and must come out byte for byte.

    Raises
    ------
    JournalError
        At the first line that is not readable, or does not follow: edited, left out, or made under other rules.
    """
    state = start(watch)
    for number, written in enumerate(lines, start=1):
        try:
            content = json.loads(written)
            reading = _adapter(content["kind"]).validate_python(content["reading"])
            outcome = step(watch, state, reading)
        except (KeyError, TypeError, ValueError, ValidationError) as error:
            raise JournalError(f"line {number} of the journal of {watch.candidate}: {error}") from error
        if line(reading, outcome) != written:
            raise JournalError(
                f"line {number} of the journal of {watch.candidate} does not follow from those before it"
            )
        state = outcome.state
    return state


@cache
def _adapter(kind: str) -> TypeAdapter[Reading]:
    of: type = {"Exposure": Exposure, "DayResult": DayResult}[kind]
    return TypeAdapter(of)
