"""Small value types and canonical forms that every room shares.

Belongs here: enums of the field, canonical JSON, hashes, time arithmetic on UTC.
Doesn't: anything that reads a file, a clock, the environment or another room.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import rfc8785


class StrategyType(StrEnum):
    """How a strategy earns, which decides its latency budget and its gates."""

    MARKET_MAKING = "market_making"
    INTRADAY = "intraday"
    SWING = "swing"
    CARRY = "carry"


class Stage(StrEnum):
    """How far a strategy has come on its way to live money."""

    RESEARCH = "research"
    PAPER = "paper"
    CANARY = "canary"
    LIVE = "live"
    DEMOTED = "demoted"
    HALTED = "halted"


class Verdict(StrEnum):
    """The three answers of a gate; only PASS promotes."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


_TIMEFRAME = re.compile(r"([1-9][0-9]*)([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def timeframe_length(timeframe: str) -> timedelta:
    """Return the length of one bar of a ccxt timeframe such as ``5m``, ``1h`` or ``1d``."""
    match = _TIMEFRAME.fullmatch(timeframe)
    if match is None:
        raise ValueError(f"timeframe {timeframe!r} is not one of the forms 5m, 1h, 1d")
    return int(match[1]) * _UNITS[match[2]]


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Return the first instant of a month ``YYYY-MM`` and of the month after it, in UTC."""
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    return start, (start + timedelta(days=32)).replace(day=1)


def day_bounds(day: str) -> tuple[datetime, datetime]:
    """Return the first instant of a day ``YYYY-MM-DD`` and of the day after it, in UTC."""
    start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    return start, start + timedelta(days=1)


# Control characters but tab and line feed, marks that turn the direction of writing, halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text as a terminal may show it: what would steer the terminal or hide a part becomes U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", text)


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value: one value, one sequence of bytes.

    Raises
    ------
    rfc8785.CanonicalizationError
        On NaN, infinity and integers beyond 2**53: carry numbers that matter as strings.
    """
    return rfc8785.dumps(value)


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``."""
    return sha256_hex(canonical_json(value))
