"""What an endpoint's body must be: small checks that combine, and the contract of one endpoint.

A check takes a decoded body and returns what is wrong with it, or None. Belongs here: the combinators. Doesn't: which
endpoint has which shape (``dialects``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from research_to_prod.market_data.classifier import EndpointKind

Check = Callable[[Any], str | None]
"""Returns what is wrong with a decoded body, or None."""

Kind = Callable[[Any], bool]
"""Whether a field's value is of a kind; its name is shown in the complaint."""

_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Contract:
    """What is known of one endpoint: the shape of its body, its verb, and whether repeating it is harmless."""

    check: Check
    verb: str = "GET"
    kind: EndpointKind = EndpointKind.READ


def contract_of(contracts: Mapping[str, Contract], verb: str, path: str) -> Contract | None:
    """Return the contract of a request.

    ``{}`` in a contract's path stands for one segment; a path that has several verbs is named once with each of them,
    as in ``DELETE /api/v3/openOrders``.
    """
    for template, contract in contracts.items():
        pattern = re.escape(template.rpartition(" ")[2]).replace(re.escape("{}"), "[^/]+")
        if contract.verb == verb and re.fullmatch(pattern, path):
            return contract
    return None


def text(value: Any) -> bool:
    """Tell whether ``value`` is text."""
    return isinstance(value, str)


def integer(value: Any) -> bool:
    """Tell whether ``value`` is a JSON integer; true and false are not."""
    return type(value) is int


def flag(value: Any) -> bool:
    """Tell whether ``value`` is true or false."""
    return isinstance(value, bool)


def digits(value: Any) -> bool:
    """Tell whether ``value`` is the text of a non-negative integer."""
    return isinstance(value, str) and _DIGITS.fullmatch(value) is not None


def number(value: Any) -> bool:
    """Tell whether ``value`` is a number or the text of one."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


def number_or_empty(value: Any) -> bool:
    """Tell whether ``value`` is a number, the text of one, or empty text, with which venues say "not applicable"."""
    return value == "" or number(value)


def moment(value: Any) -> bool:
    """Tell whether ``value`` is a time in ISO 8601 with its zone."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def rows(value: Any) -> bool:
    """Tell whether ``value`` is a list."""
    return isinstance(value, list)


def fields(value: Any) -> bool:
    """Tell whether ``value`` is an object."""
    return isinstance(value, dict)


def record(**kinds: Kind) -> Check:
    """Check for an object that has at least these fields, each of its kind."""

    def checked(body: Any) -> str | None:
        if not isinstance(body, dict):
            return f"is {type(body).__name__}, not an object"
        bad = [f"{name} ({kind.__name__})" for name, kind in kinds.items() if not kind(body.get(name))]
        return f"has no valid {', '.join(bad)}" if bad else None

    return checked


def row(kinds: Sequence[Kind], *, length: int | None = None) -> Check:
    """Check for a list that begins with these kinds and has ``length`` elements, or at least as many as ``kinds``."""

    def checked(body: Any) -> str | None:
        if not isinstance(body, list) or (len(body) != length if length is not None else len(body) < len(kinds)):
            return f"is not a list of {length if length is not None else f'at least {len(kinds)}'}"
        bad = [f"{place} ({kind.__name__})" for place, kind in enumerate(kinds) if not kind(body[place])]
        return f"has no valid element {', '.join(bad)}" if bad else None

    return checked


def list_of(check: Check, *, least: int = 0) -> Check:
    """Check for a list of at least ``least`` elements that each pass ``check``."""

    def checked(body: Any) -> str | None:
        if not isinstance(body, list):
            return f"is {type(body).__name__}, not a list"
        if len(body) < least:
            return "is an empty list" if not body else f"is a list of {len(body)}, fewer than {least}"
        problems = ((index, check(each)) for index, each in enumerate(body))
        return next((f"row {index} {problem}" for index, problem in problems if problem is not None), None)

    return checked


def values_of(check: Check, *, ignoring: str = "") -> Check:
    """Check for an object, not empty, whose values each pass ``check``, except the field ``ignoring``."""

    def checked(body: Any) -> str | None:
        if not isinstance(body, dict):
            return f"is {type(body).__name__}, not an object"
        named = {name: value for name, value in body.items() if name != ignoring}
        if not named:
            return "is an empty object"
        problems = ((name, check(value)) for name, value in named.items())
        return next((f"{name} {problem}" for name, problem in problems if problem is not None), None)

    return checked


def inside(path: str, check: Check) -> Check:
    """Check the value at ``path``, names joined by dots."""

    def checked(body: Any) -> str | None:
        for name in path.split("."):
            if not isinstance(body, dict) or name not in body:
                return f"has no {path}"
            body = body[name]
        problem = check(body)
        return None if problem is None else f"{path} {problem}"

    return checked


def all_of(*checks: Check) -> Check:
    """Check that every one of ``checks`` passes."""

    def checked(body: Any) -> str | None:
        return next((problem for check in checks if (problem := check(body)) is not None), None)

    return checked
