"""What a failed request means, as a table: (venue, status, venue's code, kind of endpoint) -> outcome.

ccxt's exception classes alone mislead: Binance's overload (-1008) is an ExchangeError, its shutdown (-1016) a
BadRequest, and a rate limit and a ban are one class. Belongs here: the table and the reading of Retry-After. Doesn't:
what the caller does about an outcome (``strict_ccxt``, ``venue``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum


class EndpointKind(StrEnum):
    """Whether a request may be repeated without harm."""

    READ = "read"
    ORDER = "order"


class Outcome(StrEnum):
    """What the caller may conclude from a failed request."""

    DEFINITIVE_REJECT = "definitive_reject"
    UNKNOWN = "unknown"
    RETRY_READ = "retry_read"
    BACKOFF = "backoff"
    MAINTENANCE = "maintenance"
    AUTH = "auth"


REPEATABLE = frozenset({Outcome.RETRY_READ, Outcome.BACKOFF, Outcome.MAINTENANCE})
"""Outcomes after which the same read may succeed later; an order is repeated after none."""


@dataclass(frozen=True)
class Rule:
    """One row: None matches anything, a code that ends in ``*`` matches by its beginning."""

    outcome: Outcome
    venue: str | None = None
    status: int | None = None
    code: str | None = None
    kind: EndpointKind | None = None

    def matches(self, venue: str, status: int | None, code: str | None, kind: EndpointKind) -> bool:
        """Tell whether the row speaks of this failure."""
        wanted, given = self.code, code or ""
        if wanted is not None and not (given.startswith(wanted[:-1]) if wanted[-1] == "*" else given == wanted):
            return False
        return self.venue in {None, venue} and self.status in {None, status} and self.kind in {None, kind}


_REJECT, _UNKNOWN, _RETRY = Outcome.DEFINITIVE_REJECT, Outcome.UNKNOWN, Outcome.RETRY_READ
_BACKOFF, _MAINTENANCE, _AUTH = Outcome.BACKOFF, Outcome.MAINTENANCE, Outcome.AUTH


def _codes(venue: str, read: Outcome, order: Outcome, codes: str, separator: str = " ") -> Iterator[Rule]:
    for code in codes.split(separator):
        yield Rule(order, venue, code=code, kind=EndpointKind.ORDER)
        yield Rule(read, venue, code=code, kind=EndpointKind.READ)


def _statuses(venue: str | None, read: Outcome, order: Outcome, *statuses: int) -> Iterator[Rule]:
    for status in statuses:
        yield Rule(order, venue, status, kind=EndpointKind.ORDER)
        yield Rule(read, venue, status, kind=EndpointKind.READ)


RULES: tuple[Rule, ...] = (
    # A ban outranks the code that comes with it (-1003 serves for both), and a status of "too many" any code.
    *_statuses(None, _BACKOFF, _BACKOFF, 418, 429),
    # Binance: -1000, -1001, -1006 and -1007 say that the execution status is unknown; an order behind -1008 is treated
    # alike, although the venue calls it not executed: a wrong "not executed" is a second fill.
    *_codes("binance", _RETRY, _UNKNOWN, "-1000 -1001 -1006 -1007 -1034"),
    *_codes("binance", _BACKOFF, _UNKNOWN, "-1008"),
    *_codes("binance", _BACKOFF, _BACKOFF, "-1003 -1015"),
    *_codes("binance", _MAINTENANCE, _MAINTENANCE, "-1016"),
    # The clock is measured again before the next read; the venue refused before it looked at an order.
    *_codes("binance", _RETRY, _REJECT, "-1021"),
    *_codes("binance", _AUTH, _AUTH, "-1002 -1022 -2014 -2015"),
    # -2022: reduce-only would increase; -5022: post-only would take.
    *_codes("binance", _REJECT, _REJECT, "-2010 -2022 -5022"),
    # "No such order" is not proof that it never existed: the venue forgets, and replicas lag.
    *_codes("binance", _UNKNOWN, _UNKNOWN, "-2011 -2013"),
    *_codes("kraken", _BACKOFF, _UNKNOWN, "EService:Busy*"),
    *_codes("kraken", _RETRY, _UNKNOWN, "EService:Unavailable*|EService:Timeout*|EGeneral:Internal error*", "|"),
    *_codes("kraken", _BACKOFF, _BACKOFF, "EAPI:Rate limit exceeded*|EOrder:Rate limit exceeded*", "|"),
    *_codes("kraken", _BACKOFF, _BACKOFF, "EGeneral:Temporary lockout*|EGeneral:Too many requests*", "|"),
    *_codes("kraken", _MAINTENANCE, _MAINTENANCE, "EService:Market in *|EService:cancel_only*|cancel_only*", "|"),
    *_codes("kraken", _AUTH, _AUTH, "EAPI:Invalid key*|EAPI:Invalid signature*|EAPI:Invalid nonce*", "|"),
    *_codes("kraken", _AUTH, _AUTH, "EGeneral:Permission denied*|EAPI:Bad request*", "|"),
    *_codes("kraken", _UNKNOWN, _UNKNOWN, "EOrder:Unknown order*|EOrder:Invalid order*", "|"),
    *_codes("kraken", _REJECT, _REJECT, "EOrder:*|EQuery:*|EGeneral:Invalid arguments*|EFunding:*|ETrade:*", "|"),
    *_codes("okx", _RETRY, _UNKNOWN, "50001 50004 50013 50026"),
    *_codes("okx", _BACKOFF, _BACKOFF, "50011 50040 50061"),
    *_codes("okx", _RETRY, _REJECT, "50102 50112"),
    *_codes("okx", _AUTH, _AUTH, "501*"),
    *_codes("okx", _UNKNOWN, _UNKNOWN, "51400 51603"),
    *_codes("okx", _REJECT, _REJECT, "51008 51119 51* 50014 50015"),
    *_codes("bybit", _RETRY, _UNKNOWN, "10000 10016"),
    *_codes("bybit", _RETRY, _REJECT, "10002"),
    *_codes("bybit", _AUTH, _AUTH, "10003 10004 10005 10007 10009 10010 33004"),
    *_codes("bybit", _BACKOFF, _BACKOFF, "10006 10018"),
    *_codes("bybit", _UNKNOWN, _UNKNOWN, "110001 170213"),
    *_codes("bybit", _REJECT, _REJECT, "10001 110* 170*"),
    # Bybit answers 403 to an address that asks too often.
    *_statuses("bybit", _BACKOFF, _UNKNOWN, 403),
    *_statuses("coinbase", _AUTH, _AUTH, 403),
    *_statuses(None, _AUTH, _AUTH, 401),
    # From a firewall or a proxy before or behind the matching engine: nobody knows what became of an order.
    *_statuses(None, _RETRY, _UNKNOWN, 403, 408, 451),
)
"""The rows, the first that matches decides. The codes are those of the venues' documents and of what ccxt was seen to
do with them; those of OKX, Bybit and Coinbase were not seen live."""


def classify(venue: str, status: int | None, code: str | None, kind: EndpointKind) -> Outcome:
    """Return what a failed request means.

    Parameters
    ----------
    venue
        The ccxt id, such as ``binance``.
    status
        The HTTP status; None when no answer came (reset, timeout, cut body).
    code
        The venue's own code from the body; None where there was none.

    Returns
    -------
    Outcome
        Of the first row of :data:`RULES` that matches. Unlisted: an order is UNKNOWN; a read is RETRY_READ without an
        answer or with a 5xx, DEFINITIVE_REJECT when the venue named a code or a 4xx, else UNKNOWN.
    """
    for rule in RULES:
        if rule.matches(venue, status, code, kind):
            return rule.outcome
    if kind is EndpointKind.ORDER:
        return Outcome.UNKNOWN
    if status is None or status >= 500:
        return Outcome.RETRY_READ
    return Outcome.DEFINITIVE_REJECT if code is not None or status >= 400 else Outcome.UNKNOWN


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the header Retry-After asks for, given as seconds or as an HTTP date; None without one.

    A date counts from the answer's own Date header, so that our clock does not matter; without that, none is known.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    value, sent = named.get("retry-after"), named.get("date")
    if value is None:
        return None
    if value.isdigit():
        return float(value)
    if sent is None:
        return None
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(sent)).total_seconds())
    except (TypeError, ValueError):
        return None
