"""The markets that the desk follows: the model of ``universe.yaml``.

Belongs here: what is read from the file, its validation, and which bars follow from it. Doesn't: fetching, and the
values of credentials (the file holds the names of environment variables only).
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from research_to_prod.declared import parse_yaml
from research_to_prod.values import month_bounds, timeframe_length

EXCHANGES = ("binance", "kraken", "okx", "bybit", "coinbase")
"""The ccxt exchanges that the strict client speaks to."""

SYMBOL = re.compile(r"[A-Za-z0-9]+/[A-Za-z0-9]+(:[A-Za-z0-9]+(-[A-Za-z0-9-]+)?)?")
"""ccxt's unified symbols."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UniverseError(ValueError):
    """``universe.yaml`` can't be used; the message names the file and every wrong field."""


def _utc(value: Any) -> Any:
    """Read a date as its midnight and a time without zone as UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value


def _symbol(value: str) -> str:
    # Symbols reach URLs, file names and SQL values: nothing but ccxt's unified form passes.
    if SYMBOL.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} is no ccxt unified symbol; write BTC/USDT, or BTC/USDT:USDT for a perpetual, in ASCII letters "
            "and digits only"
        )
    return value


def _timeframe(value: str) -> str:
    timeframe_length(value)
    return value


def _exchange(value: str) -> str:
    if value not in EXCHANGES:
        raise ValueError(f"there is no strict client for ccxt {value!r}, only for {', '.join(EXCHANGES)}")
    return value


Utc = Annotated[datetime, BeforeValidator(_utc)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Symbol = Annotated[str, AfterValidator(_symbol)]
Timeframe = Annotated[str, AfterValidator(_timeframe)]
VariableName = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VenueSpec(_Model):
    """One venue: which ccxt exchange speaks to it and where its credentials are."""

    name: Name = Field(description="name used in every table")
    ccxt: Annotated[str, AfterValidator(_exchange)] = Field(description="id of the ccxt exchange class")
    key_variable: VariableName | None = Field(None, description="environment variable that holds the API key")
    secret_variable: VariableName | None = Field(None, description="environment variable that holds the API secret")
    passphrase_variable: VariableName | None = Field(
        None, description="environment variable that holds the API passphrase; OKX has one"
    )
    rate_limit_ms: float | None = Field(
        None, gt=0, description="milliseconds between requests of weight 1; ccxt's own value when omitted"
    )
    history_start: Utc | None = Field(None, description="time before which the venue has no data")
    order_history_days: float | None = Field(
        None, gt=0, description="days for which it keeps orders without a fill; the exchange's own rule when omitted"
    )

    @model_validator(mode="after")
    def _both_variables(self) -> Self:
        if (self.key_variable is None) != (self.secret_variable is None):
            raise ValueError("key_variable and secret_variable belong together: give both or neither")
        if (self.passphrase_variable is not None) != (self.ccxt == "okx" and self.key_variable is not None):
            raise ValueError("passphrase_variable belongs to the key_variable of okx: give both, or leave it out")
        return self


class FileSource(_Model):
    """Vendor files: a path or glob relative to the data folder."""

    files: str = Field(min_length=1, description="path or glob, relative to the folder of vendor data")

    @model_validator(mode="after")
    def _inside(self) -> Self:
        parts = Path(self.files).parts
        if not parts or Path(self.files).is_absolute() or ".." in parts:
            raise ValueError(f"files {self.files!r} must be relative to the data folder and stay inside it")
        if not self.files.isprintable():
            raise ValueError(f"files {self.files!r} holds a line break or another character that no file name should")
        if any("**" in part and part != "**" for part in parts):
            raise ValueError(f"files {self.files!r}: ** stands for folders and fills the space between two slashes")
        return self


class MarketSpec(_Model):
    """One series of bars, and where it comes from."""

    venue: Name
    symbol: Symbol
    timeframe: Timeframe
    source: Literal["venue"] | FileSource = "venue"
    since: Utc = Field(description="first bar expected; a date or a full time")
    until: Utc | None = Field(None, description="end of the series, exclusive; omitted for a market that trades on")
    funding: bool | FileSource = Field(default=False, description="true: from the venue; files: from vendor files")
    trades: bool | FileSource = Field(default=False, description="true: from the venue; files: from vendor files")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.until is not None and self.until <= self.since:
            raise ValueError(f"until {self.until:%Y-%m-%dT%H:%MZ} is not after since {self.since:%Y-%m-%dT%H:%MZ}")
        if self.funding and ":" not in self.symbol:
            raise ValueError(f"{self.symbol} is a spot market and has no funding; its perpetual is BASE/QUOTE:SETTLE")
        return self

    @property
    def asks_venue(self) -> bool:
        """Whether anything of the market is fetched from its venue, rather than read from files."""
        return self.source == "venue" or self.funding is True or self.trades is True

    @property
    def length(self) -> timedelta:
        """The length of one bar."""
        return timeframe_length(self.timeframe)

    def bars_of(self, month: str, as_of: datetime) -> tuple[datetime, datetime]:
        """Return the opens of the first expected bar of ``month`` and of the bar after the last one.

        A bar is expected when it opens in the month, at or after ``since``, and has ended by ``until`` and ``as_of``.
        Both times are on the grid; they are equal when no bar is expected.
        """
        start, end = month_bounds(month)
        first = _EPOCH - (_EPOCH - max(start, self.since)) // self.length * self.length
        closed = min(each for each in (as_of, self.until) if each is not None)
        last_close = _EPOCH + (closed - _EPOCH) // self.length * self.length
        stop = min(_EPOCH - (_EPOCH - end) // self.length * self.length, last_close)
        return first, max(first, stop)

    def span_of(self, period: tuple[datetime, datetime], as_of: datetime) -> tuple[datetime, datetime]:
        """Return the part of ``period`` in which the market trades: from ``since`` to ``until`` or ``as_of``."""
        start, end = period
        first = max(start, self.since)
        return first, max(first, min(each for each in (end, self.until, as_of) if each is not None))


class Universe(_Model):
    """All venues and markets of the desk."""

    venues: tuple[VenueSpec, ...] = ()
    markets: tuple[MarketSpec, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        venues = {venue.name: venue for venue in self.venues}
        problems = []
        if len(venues) != len(self.venues):
            problems.append("two venues have one name")
        seen: set[tuple[str, ...]] = set()
        for index, market in enumerate(self.markets):
            where = f"markets.{index} ({market.venue} {market.symbol} {market.timeframe})"
            market_key = (market.venue, market.symbol, market.timeframe)
            if market_key in seen:
                problems.append(f"{where} is listed twice")
            seen.add(market_key)
            for what, asked in (("funding", market.funding), ("trades", market.trades)):
                key = (what, market.venue, market.symbol)
                if asked and key in seen:
                    problems.append(
                        f"{where}: {what} of {market.symbol} is asked for twice; name it on one timeframe only"
                    )
                seen |= {key} if asked else set()
            venue = venues.get(market.venue)
            if venue is None and market.asks_venue:
                problems.append(f"{where}: venue {market.venue!r} is not among the venues {sorted(venues)}")
            start = venue.history_start if venue is not None and market.source == "venue" else None
            if start is not None and market.since < start:
                problems.append(f"{where}: since is before the venue's history_start {start:%Y-%m-%d}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @classmethod
    def load(cls, path: Path) -> Universe:
        """Read and validate ``universe.yaml``.

        Raises
        ------
        UniverseError
            Naming the file and every wrong field.
        """
        try:
            content = parse_yaml(path.read_text(encoding="utf-8"))
            return cls.model_validate(content)
        except OSError as error:
            raise UniverseError(f"{path}: cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UniverseError(f"{path}: is not YAML: {error}") from error
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()]
            raise UniverseError(f"{path}: " + "; ".join(lines)) from error

    def venue(self, name: str) -> VenueSpec:
        """Return the venue called ``name``."""
        for each in self.venues:
            if each.name == name:
                return each
        raise KeyError(f"venue {name!r} is not in the universe; there are {[each.name for each in self.venues]}")

    @property
    def first_month(self) -> str:
        """The earliest month in which a bar is expected, ``YYYY-MM``."""
        return min(market.since for market in self.markets).strftime("%Y-%m")
