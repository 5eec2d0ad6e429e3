"""A ccxt exchange that refuses what ccxt would quietly parse into nothing.

ccxt 4.5 turns an empty, HTML or cut body with status 200 into ``[]``, ``{}`` totals or rows whose ids are None, and
valid JSON of the wrong shape into empty results. Here every body is checked against its endpoint's contract before
ccxt parses it.

Belongs here: one request, and the error that its failure is. Doesn't: shapes and codes (``dialects``), what a failure
means (``classifier``), retries, cursors and certificates (``venue``, ``paging``). Imported lazily: ccxt takes seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ccxt

from research_to_prod.market_data.classifier import REPEATABLE, EndpointKind, Outcome, classify, retry_after
from research_to_prod.market_data.dialects.base import EPOCH, Dialect, Market
from research_to_prod.market_data.shapes import Contract, contract_of
from research_to_prod.market_data.traffic import Traffic
from research_to_prod.market_data.venue_errors import (
    RedactingFilter,
    VenueError,
    VenueRejected,
    VenueShape,
    VenueUnavailable,
    VenueUnknown,
    redact,
)
from research_to_prod.values import sha256_hex

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Body:
    """One accepted answer."""

    content: Any
    sha256: str


@dataclass(frozen=True)
class _Answer:
    """One answer as it came, before anything is made of it."""

    status: int
    headers: Mapping[str, str]
    text: str
    at: int


@dataclass(frozen=True)
class _Sent:
    """When a request went out, our clock in milliseconds, and whether with a signature."""

    at: int
    signed: bool


class _Refusal(Exception):  # noqa: N818 - the venue's answer, not a fault of this program
    """An answer that is no success, by its status or by the venue's own code."""

    def __init__(self, code: str | None) -> None:
        super().__init__(code)
        self.code = code


def _strict(base: Any, dialect: Dialect, venue: str, traffic: Traffic) -> Any:
    """Return a subclass of the ccxt exchange ``base`` that holds to the contracts of ``dialect``, and counts."""

    class Strict(base):
        # Exact decimal text, also for the fees that ccxt declares; ``Decimal`` breaks its fees ({cost: None}).
        number = str

        def __init__(self, config: dict[str, Any]) -> None:
            self.begin()
            super().__init__(config)
            # ccxt logs request headers with the API key at DEBUG.
            self.logger = logging.getLogger(f"{__name__}.silenced")
            self.logger.disabled = True
            self.has["fetchCurrencies"] = dialect.reads_currencies

        def begin(self) -> None:
            """Forget the last call."""
            # A Contract and an _Answer, once a request was made and once it was answered.
            self.contract: Any = None
            self.answer: Any = None
            self.failure: Exception | None = None

        def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
            """Request and decode one body that holds to its contract."""
            path = urlsplit(url).path
            contract = contract_of(dialect.contracts, method, path)
            if contract is None:
                known = ", ".join(sorted(dialect.contracts))
                raise VenueRejected(f"{venue}: {method} {path} has no contract; this client knows only {known}")
            if self.contract is not None and EndpointKind.ORDER in {contract.kind, self.contract.kind}:
                # Whoever asks (ccxt's maxRetriesOnFailure re-POSTs orders): a second send may be a second fill.
                raise VenueUnknown(
                    f"{venue}: {method} {path} was sent once and is never repeated; ask the venue what became of it"
                )
            self.contract, self.answer, failure = contract, None, None
            self.sent = _Sent(self.milliseconds(), _is_signed(url, headers, body))
            try:
                return super().fetch(url, method, headers, body)
            except Exception as error:
                # ccxt swallows some failures, such as that of coinbase's futures on loading markets.
                self.failure = failure = error
                raise
            finally:
                _count(traffic, dialect, self.answer, failure, path, self.sent)

        def on_rest_response(
            self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *request: Any
        ) -> str:
            """Keep the answer; ccxt calls this before it decodes the body."""
            self.answer = _Answer(code, headers, body, self.milliseconds())
            return str(super().on_rest_response(code, reason, url, method, headers, body, *request))

        def handle_errors(self, status: int, _reason: str, url: str, *answered: Any) -> None:
            """Judge status, venue's code and shape, in place of ccxt's own reading of them."""
            decoded = answered[3]
            contract, text = self.contract, self.answer.text
            code = dialect.error_code(decoded) if isinstance(decoded, dict) else None
            if status != 200 or code is not None:
                raise _Refusal(code)
            problem = contract.check(decoded) if isinstance(decoded, list | dict) else "is not JSON"
            if problem is not None:
                what = (
                    f"body of {urlsplit(url).path} ({len(text)} characters, SHA-256 {sha256_hex(text.encode())[:16]})"
                )
                raise VenueShape(f"{venue}: {what} {problem}", retryable=contract.kind is EndpointKind.READ)

    return Strict


def _count(
    traffic: Traffic, dialect: Dialect, answer: _Answer | None, failure: Exception | None, path: str, sent: _Sent
) -> None:
    """Count one request by what came of it."""
    if answer is None:
        traffic.note(_time_of(sent.at), {}, unanswered=1)
        return
    code = failure.code if isinstance(failure, _Refusal) else None
    off = code is not None and code in dialect.skew_codes
    # Some venues say by their own code, whatever the status, that they failed.
    meant = classify(dialect.ccxt, answer.status, code, EndpointKind.READ) if code is not None and not off else None
    failed = answer.status >= 500 or meant in {Outcome.RETRY_READ, Outcome.MAINTENANCE}
    named = {name.lower(): value for name, value in answer.headers.items()}
    used = {
        host: int(named[budget.header]) / budget.allowed
        for host, budget in dialect.budgets.items()
        if path.startswith(host) and named.get(budget.header, "").isdecimal()
    }
    flags = {"server_errors": failed, "signed": sent.signed, "clock_refusals": off, "bans": answer.status == 418}
    traffic.note(_time_of(answer.at), used, answers=1, **{name: int(flag) for name, flag in flags.items()})


def _is_signed(url: str, headers: Any, body: Any) -> bool:
    named = " ".join(headers or ()).lower()
    return "signature=" in f"{url} {body or ''}" or "sign" in named or "authorization" in named


def _time_of(milliseconds: int) -> datetime:
    return EPOCH + milliseconds * _MILLISECOND


class Transport:
    """One venue's exchange object and the errors that its failures are.

    Parameters
    ----------
    base_url
        Replaces scheme and host of every endpoint, for a peer on loopback; None for the real venue.
    key, secret, passphrase
        Credentials; empty for public data.
    rate_limit_ms
        Milliseconds between requests of weight 1; None for ccxt's own value.
    """

    def __init__(
        self,
        venue: str,
        dialect: Dialect,
        *,
        base_url: str | None,
        key: str,
        secret: str,
        passphrase: str,
        rate_limit_ms: float | None,
    ) -> None:
        self.venue = venue
        self.signed = bool(key)
        self._dialect = dialect
        self._secrets = (secret, passphrase, key)
        options = {**dialect.options, "adjustForTimeDifference": self.signed}
        config: dict[str, Any] = {"enableRateLimit": True, "timeout": 10_000, "options": options}
        if key:
            config |= {"apiKey": key, "secret": secret, "password": passphrase}
        if rate_limit_ms is not None:
            config["rateLimit"] = rate_limit_ms
        self.traffic = Traffic(venue)
        self._exchange = _strict(getattr(ccxt, dialect.ccxt), dialect, venue, self.traffic)(config)
        self._skewed = False
        # A redirect would carry the API key's header to another host.
        self._exchange.session.max_redirects = 0
        if base_url is not None:
            urls = self._exchange.urls["api"]
            for name, url in urls.items():
                if isinstance(url, str):
                    urls[name] = base_url.rstrip("/") + urlsplit(url).path
        wire = logging.getLogger("urllib3.connectionpool")
        if not any(isinstance(each, RedactingFilter) for each in wire.filters):
            wire.addFilter(RedactingFilter())

    def __repr__(self) -> str:
        return f"Transport({self.venue!r})"

    @property
    def now(self) -> datetime:
        """Our clock, by which requests are signed."""
        return _time_of(self._exchange.milliseconds())

    @property
    def bracket(self) -> tuple[datetime, datetime]:
        """Our clock when the last request that was answered was sent, and when its answer had come."""
        return _time_of(self._exchange.sent.at), _time_of(self._exchange.answer.at)

    def markets(self) -> Mapping[str, Market]:
        """Return ccxt's description of every market, loading them on first use."""
        markets: Mapping[str, Market] = self._call(self._exchange.load_markets)
        absent = [kind for kind in self._dialect.kinds if not any(each[kind] for each in markets.values())]
        if absent:
            # Valid but empty lists: a venue that lost its markets is not a venue without them.
            self._exchange.markets = None
            raise VenueShape(f"{self.venue} lists no {' and no '.join(absent)} markets", retryable=True)
        return markets

    def get(self, method: str, parameters: Mapping[str, Any]) -> Body:
        """Call one of ccxt's endpoint methods, such as ``publicGetKlines``, and return the checked body.

        Raises
        ------
        VenueError
            Of the class that tells what the caller may do; its text holds no query string and no secret.
        """
        if self._skewed:
            self._call(self._exchange.load_time_difference)
            self._skewed = False
        content = self._call(lambda: getattr(self._exchange, method)(dict(parameters)))
        return Body(content, sha256_hex(self._exchange.answer.text.encode()))

    def parse_trade(self, row: Mapping[str, Any], market: Market) -> dict[str, Any]:
        """Return ccxt's unified form of a trade, amounts as text."""
        trade: dict[str, Any] = self._call(lambda: self._exchange.parse_trade(dict(row), market))
        return trade

    def parse_order(self, row: Mapping[str, Any], market: Market) -> dict[str, Any]:
        """Return ccxt's unified form of an order, amounts as text."""
        order: dict[str, Any] = self._call(lambda: self._exchange.parse_order(dict(row), market))
        return order

    def _call(self, request: Callable[[], Any]) -> Any:
        self._exchange.begin()
        failure: Exception
        try:
            result = request()
        except Exception as error:  # noqa: BLE001 - ccxt's signers and parsers raise whatever they meet
            failure = error
        else:
            if self._exchange.failure is None:
                return result
            # A part of what was asked for failed and ccxt hid it: a market list without its futures, for one.
            failure = self._exchange.failure
            self._exchange.markets = None
        # Outside the handler: ccxt's exception, whose text has the signed URL, is not even the context of ours.
        problem = self._problem(failure)
        del failure
        raise problem

    def _problem(self, error: Exception) -> VenueError:
        """Return what a failed call means; by status and venue's code, never by ccxt's class."""
        contract, answer = self._exchange.contract, self._exchange.answer
        if isinstance(error, VenueError):
            return error
        if contract is None:
            return VenueRejected(
                f"{self.venue}: the request could not be signed or built ({type(error).__name__}); check the form of "
                "the API key, its secret and its passphrase",
                outcome=Outcome.AUTH,
            )
        if answer is not None and not isinstance(error, _Refusal):
            # ccxt's parsers raise these on rows that passed the shape check and still surprise them.
            return VenueShape(
                f"{self.venue}: ccxt could not parse the answer: {type(error).__name__}",
                retryable=contract.kind is EndpointKind.READ,
            )
        return self._refused(contract, answer, error)

    def _shown(self) -> tuple[str, ...]:
        """Return the secrets, and what was made of them for the last request: an error page may repeat either."""
        headers = (self._exchange.last_request_headers or {}).values()
        signed = parse_qs(urlsplit(self._exchange.last_request_url or "").query).get("signature", [])
        return (*self._secrets, *signed, *(str(each) for each in headers if len(str(each)) >= 16))

    def _refused(self, contract: Contract, answer: _Answer | None, error: Exception) -> VenueError:
        status = answer.status if answer is not None else None
        code = error.code if isinstance(error, _Refusal) else None
        outcome = classify(self._dialect.ccxt, status, code, contract.kind)
        wait = retry_after(answer.headers) if answer is not None else None
        # Redacted before it is cut: half of a secret is one too.
        said = redact(answer.text, self._shown())[:300] if answer is not None else type(error).__name__
        text = f"{self.venue}: {outcome}, status {status}, code {code}: {said}"
        if status == 418:
            stop = f"{text}; the venue banned this address: stop, and wait for {wait} s"
            return VenueRejected(stop, outcome=outcome, banned=True, retry_after=wait)
        if code is not None and code in self._dialect.skew_codes:
            # The difference that ccxt measured on connecting has drifted; it is measured before the next attempt.
            self._skewed = True
            text += "; our clock and the venue's drift apart: correct the clock of this machine"
        if outcome in REPEATABLE:
            wait = 1.0 if wait is None and outcome is Outcome.BACKOFF else wait
            retryable = contract.kind is EndpointKind.READ
            return VenueUnavailable(text, outcome=outcome, retryable=retryable, retry_after=wait)
        if outcome is Outcome.UNKNOWN:
            return VenueUnknown(text, outcome=outcome)
        if outcome is Outcome.AUTH:
            text += "; check the API key, its permissions and its address list"
        return VenueRejected(text, outcome=outcome)
