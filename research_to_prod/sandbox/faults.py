"""What goes wrong on purpose, and the journal that says what went wrong when.

Belongs here: the plan of faults, on the wire and on the desk's side, and their records. Doesn't: carrying them out
(`server` and `desk` do).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from research_to_prod.values import sha256_hex


class FaultKind(StrEnum):
    """What the venue does to one request."""

    RATE_LIMITED = "rate_limited"  # 429 with Retry-After
    BANNED = "banned"  # 418 with Retry-After
    SERVER_ERROR = "server_error"  # 503 with code -1000
    BAD_GATEWAY = "bad_gateway"  # 502 with a gateway's error page
    HTML_BODY = "html_body"  # the same page with status 200, as all that follow
    EMPTY_BODY = "empty_body"  # no byte
    CUT_JSON = "cut_json"  # the first half of the body, with its own length
    WRONG_SHAPE = "wrong_shape"  # {}
    NULL_BODY = "null_body"  # null
    WRAPPED_BODY = "wrapped_body"  # {"data": []}
    CODE_BODY = "code_body"  # {"code": 0}
    EMPTY_LIST = "empty_list"  # [], although there are rows: of the right shape, and untrue
    STALL = "stall"  # no answer for a while, then the connection ends
    RESET = "reset"  # before the request is looked at
    DROPPED_REPLY = "dropped_reply"  # after it was carried out: the same to the client, not to the account
    SHORT_BODY = "short_body"  # fewer bytes than Content-Length says
    DUPLICATE_ROWS = "duplicate_rows"  # the last row twice
    OUT_OF_ORDER = "out_of_order"  # the last two rows change places: the end of the page is not its newest row
    SAME_MILLISECOND = "same_millisecond"  # trades are stamped by the whole second
    CLOCK_SKEW = "clock_skew"
    OTHERS_ASK = "others_ask"  # others at our address use up request weight; the answer says so and is whole


@dataclass(frozen=True)
class FaultRule:
    """Which requests get a fault.

    Parameters
    ----------
    pattern
        Shell pattern over the path, such as ``/api/v3/klines`` or ``/fapi/*``.
    occurrences
        Which requests that match, counted from 1 for this rule.
    probability
        Chance of each request that matches and is not named by ``occurrences``.
    seconds
        Retry-After, length of a stall, or skew of the venue's clock (ahead when positive).
    weight
        Request weight that others use.
    """

    pattern: str
    kind: FaultKind
    occurrences: frozenset[int] = frozenset()
    probability: float = 0.0
    seconds: float = 1.0
    weight: int = 0


@dataclass(frozen=True)
class DroppedFill:
    """The desk's own systems lose one fill of a day: the ``index``-th of the day (modulo their number)."""

    day: str
    index: int = 0


@dataclass(frozen=True)
class FaultPlan:
    """Everything that is to go wrong. Rules are tried in order; the first that hits is carried out."""

    rules: tuple[FaultRule, ...] = ()
    dropped_fills: tuple[DroppedFill, ...] = ()
    seed: int = 0


DEFAULT_DESK_FAULTS = FaultPlan(dropped_fills=(DroppedFill("2026-01-06", 17), DroppedFill("2026-01-08", 17)))
"""One fill of either day is missing in the desk's records: the one true break that a reconciliation must find there."""


@dataclass(frozen=True)
class Injection:
    """One fault that was carried out.

    Parameters
    ----------
    sequence
        Order of injection, from 1.
    at
        The venue's clock.
    where
        Path of the request, or the desk's table.
    kind
        A `FaultKind`, or ``dropped_fill``.
    detail
        Which occurrence, or which fill.
    request
        Number of the request among all that the server got, from 1; None for the desk's own faults.
    query
        Of the request, without its signature.
    rows
        Rows that the client got changed or not at all, by the venue's key: the open time of a bar, the id of a trade.
    """

    sequence: int
    at: datetime
    where: str
    kind: str
    detail: str
    request: int | None = None
    query: str = ""
    rows: tuple[int | str, ...] = ()


@dataclass
class Journal:
    """The injections so far, oldest first; safe for several threads."""

    _records: list[Injection] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        at: datetime,
        where: str,
        kind: str,
        detail: str,
        *,
        request: int | None = None,
        query: str = "",
        rows: tuple[int | str, ...] = (),
    ) -> None:
        """Append one record."""
        with self._lock:
            number = len(self._records) + 1
            self._records.append(Injection(number, at.astimezone(UTC), where, kind, detail, request, query, rows))

    @property
    def records(self) -> tuple[Injection, ...]:
        """All records so far."""
        with self._lock:
            return tuple(self._records)


class FaultSwitch:
    """Decides for each request in turn which fault it gets; counts the requests of each rule."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._seen = [0] * len(plan.rules)
        self._lock = threading.Lock()

    def next(self, path: str) -> tuple[FaultRule, int] | None:
        """Return the rule that hits this request and its occurrence, or None."""
        hit = None
        with self._lock:
            for index, rule in enumerate(self._plan.rules):
                if not fnmatchcase(path, rule.pattern):
                    continue
                self._seen[index] += 1
                occurrence = self._seen[index]
                if hit is None and (occurrence in rule.occurrences or self._drawn(index, occurrence)):
                    hit = (rule, occurrence)
        return hit

    def _drawn(self, index: int, occurrence: int) -> bool:
        draw = int(sha256_hex(f"{self._plan.seed}/{index}/{occurrence}".encode())[:13], 16) / 16**13
        return draw < self._plan.rules[index].probability


def skewed(now: datetime, rule: FaultRule | None) -> datetime:
    """Return the venue's clock as the rule bends it."""
    bent = rule is not None and rule.kind is FaultKind.CLOCK_SKEW
    return now + timedelta(seconds=rule.seconds) if bent and rule is not None else now
