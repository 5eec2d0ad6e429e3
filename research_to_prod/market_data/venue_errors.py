"""What can go wrong with a venue, by what the caller may conclude from it.

Belongs here: the errors and the removal of secrets from their text. Doesn't: the decision which error an answer is
(``classifier``, ``strict_ccxt``).
"""

from __future__ import annotations

import logging
import re

from research_to_prod.market_data.classifier import Outcome

_QUERY = re.compile(r"\?[^\s'\"<>]+")
_SIGNED = re.compile(
    r"(signature|apikey|x-mbx-apikey|api-key|api-sign|ok-access-\w+|x-bapi-\w+(?:-\w+)?|cb-access-\w+|bearer)"
    r"(\W{1,4})[\w%+/=.-]+",
    re.IGNORECASE,
)


class VenueError(RuntimeError):
    """A venue did not give a usable answer.

    Parameters
    ----------
    outcome
        What the classifier says that this means; None where no answer was classified.
    retryable
        Whether the same request may be sent again: a read that failed in transit. Never true of an order.
    retry_after
        Seconds that the venue asked to wait, if it did.
    banned
        Whether the venue banned this address: each further request prolongs a ban.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        banned: bool = False,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.retryable = retryable
        self.retry_after = retry_after
        self.banned = banned


class VenueUnavailable(VenueError):  # noqa: N818 - says what the caller may conclude
    """The venue or the way to it failed; the same read may succeed later."""


class VenueRejected(VenueError):  # noqa: N818 - says what the caller may conclude
    """The venue refused, and asking again will not help: unknown symbol, bad key, ban."""


class VenueUnsupported(VenueRejected):
    """The venue, ccxt or this client cannot give what was asked for; nothing was requested."""


class VenueUnknown(VenueError):  # noqa: N818 - says what the caller may conclude
    """The answer proves nothing, neither presence nor absence."""


class VenueShape(VenueUnknown):
    """The body is not what the endpoint promises: not JSON, cut, empty, or of another shape."""


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return ``text`` without query strings, signatures and the given secrets.

    ccxt writes the signed URL into its exceptions, and a proxy's error page may echo the request's headers.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return _SIGNED.sub(r"\1\2***", _QUERY.sub("?***", text))


class RedactingFilter(logging.Filter):
    """Removes query strings from the records of libraries that log the URLs they request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and keep it."""
        record.msg, record.args = redact(record.getMessage()), None
        return True
