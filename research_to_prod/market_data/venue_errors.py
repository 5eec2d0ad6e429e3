"""What can go wrong with a venue, by what the caller may conclude from it.

Belongs here: the errors and the removal of secrets from their text. Doesn't: the decision which error an answer is
(``strict_ccxt``).
"""

from __future__ import annotations

import logging
import re

_QUERY = re.compile(r"\?[^\s'\"<>]+")
_SIGNATURE = re.compile(r"(signature|apikey|x-mbx-apikey)(\W{1,4})[\w%+/=-]+", re.IGNORECASE)


class VenueError(RuntimeError):
    """A venue did not give a usable answer."""


class VenueUnavailable(VenueError):  # noqa: N818 - says what the caller may conclude
    """The venue or the way to it failed; the same read may succeed later.

    Parameters
    ----------
    retry_after
        Seconds that the venue asked to wait, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class VenueRejected(VenueError):  # noqa: N818 - says what the caller may conclude
    """The venue refused, and asking again will not help: unknown symbol, bad key, ban.

    Parameters
    ----------
    banned
        Whether the venue banned this address: each further request prolongs a ban.
    """

    def __init__(self, message: str, *, banned: bool = False) -> None:
        super().__init__(message)
        self.banned = banned


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
    return _SIGNATURE.sub(r"\1\2***", _QUERY.sub("?***", text))


class RedactingFilter(logging.Filter):
    """Removes query strings from the records of libraries that log the URLs they request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place and keep it."""
        record.msg, record.args = redact(record.getMessage()), None
        return True
