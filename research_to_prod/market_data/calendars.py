"""Events that a desk knows beforehand: weekends, bank holidays, funding, maintenance, closes, expiries, releases.

A calendar is data with dates of effect, because venues change their hours. Events tag a moment; nothing here mutes
anything. Belongs here: the model of ``desk/calendars/*.yaml`` and the question which events hold at a moment. Doesn't:
what a rule makes of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from research_to_prod.declared import parse_yaml
from research_to_prod.market_data.universe import Name, Symbol, Utc


class CalendarError(ValueError):
    """Calendar files can't be used; the message lists every wrong file and field."""


class EventKind(StrEnum):
    """What an event is about."""

    WEEKEND = "weekend"
    BANK_HOLIDAY = "bank_holiday"
    FUNDING = "funding"
    MAINTENANCE = "maintenance"
    MARKET_CLOSE = "market_close"
    EXPIRY = "expiry"
    MACRO = "macro"


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown, no valid key, a folder of zones
        raise ValueError(f"{value!r} is no time zone") from None
    return value


def _quoted(value: object) -> object:
    # YAML reads 16:00 as the number 960, which would pass for 16 minutes past midnight.
    if not isinstance(value, str | time | timedelta):
        raise ValueError(f"{value!r} is not a text; put quotes around it")  # noqa: TRY004 - pydantic wants a ValueError
    return value


Zone = Annotated[str, AfterValidator(_zone)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ClockTime = Annotated[time, BeforeValidator(_quoted)]
Duration = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=7)), BeforeValidator(_quoted)]


class _Rule(BaseModel):
    """What every rule has: a label, and the dates between which it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(min_length=1)
    valid_from: Utc | None = Field(None, description="first moment at which the rule holds; omitted for always")
    valid_to: Utc | None = Field(None, description="moment from which it holds no more; omitted for always")
    verified: bool = Field(description="whether somebody checked it against the source that it names")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.valid_from is not None and self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to is not after valid_from")
        return self

    def holds(self, when: datetime) -> bool:
        """Whether ``when`` lies in ``[valid_from, valid_to)``."""
        return (self.valid_from is None or self.valid_from <= when) and (self.valid_to is None or when < self.valid_to)


class Once(_Rule):
    """One stretch of time."""

    rule: Literal["once"]
    start: Utc
    end: Utc

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end is not after start")
        return self

    def spans(self, when: datetime, symbol: str) -> Iterator[tuple[datetime, datetime]]:
        """Yield the stretch."""
        del when, symbol
        yield self.start, self.end


class Days(_Rule):
    """Whole days in a time zone."""

    rule: Literal["days"]
    zone: Zone
    days: tuple[date, ...] = Field(min_length=1)

    def spans(self, when: datetime, symbol: str) -> Iterator[tuple[datetime, datetime]]:
        """Yield the day of ``when`` if it is one of them."""
        del symbol
        day = when.astimezone(ZoneInfo(self.zone)).date()
        if day in self.days:
            yield _utc(day, time(), self.zone), _utc(day + timedelta(days=1), time(), self.zone)


class Weekly(_Rule):
    """The same clock times every week, in a time zone; ``lasts`` is counted on that zone's clock."""

    rule: Literal["weekly"]
    zone: Zone
    weekdays: tuple[Weekday, ...] = Field(min_length=1)
    at: ClockTime
    lasts: Duration

    def spans(self, when: datetime, symbol: str) -> Iterator[tuple[datetime, datetime]]:
        """Yield the occurrences that began on the day of ``when`` or the seven before."""
        del symbol
        today = when.astimezone(ZoneInfo(self.zone)).date()
        for back in range(8):
            day = today - timedelta(days=back)
            if _WEEKDAYS[day.weekday()] in self.weekdays:
                end = datetime.combine(day, self.at) + self.lasts
                yield _utc(day, self.at, self.zone), _utc(end.date(), end.time(), self.zone)


class Every(_Rule):
    """Around every n-th hour of the day in UTC, for perpetuals: the funding times."""

    rule: Literal["every"]
    hours: Literal[1, 2, 4, 6, 8, 12, 24]
    symbols: dict[Symbol, Literal[1, 2, 4, 6, 8, 12, 24]] = Field(
        default_factory=dict, description="symbols whose interval is another one"
    )
    around: Duration = Field(description="how long before and after each time")

    def spans(self, when: datetime, symbol: str) -> Iterator[tuple[datetime, datetime]]:
        """Yield the stretches around the times before and after ``when``; a spot market has none."""
        if ":" not in symbol:
            return
        interval = timedelta(hours=self.symbols.get(symbol, self.hours))
        midnight = datetime.combine(when.astimezone(UTC).date(), time(), UTC)
        last = midnight + (when - midnight) // interval * interval
        for at in (last, last + interval):
            yield at - self.around, at + self.around


Rule = Annotated[Once | Days | Weekly | Every, Field(discriminator="rule")]


class Calendar(BaseModel):
    """One file of ``desk/calendars``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="the file's name")
    kind: EventKind
    source: str = Field(min_length=10, description="where the dates come from, and how far they can be relied on")
    events: tuple[Rule, ...]


@dataclass(frozen=True)
class Event:
    """Something that is the case from ``start`` (inclusive) to ``end`` (exclusive)."""

    start: datetime
    end: datetime
    kind: EventKind
    calendar: str
    label: str
    verified: bool


def load_calendars(folder: Path) -> tuple[Calendar, ...]:
    """Load every ``*.yaml`` of ``folder``, sorted by name.

    Raises
    ------
    CalendarError
        Listing every wrong file and field.
    """
    calendars, problems = [], []
    for path in sorted(folder.glob("*.yaml")):
        try:
            calendar = Calendar.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            problems.append(f"{path.name}: not readable as YAML: {error}")
        except ValidationError as error:
            problems += [f"{path.name}: {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        else:
            calendars.append(calendar)
            if calendar.name != path.stem:
                problems.append(f"{path.name}: name: must be the file's name {path.stem!r}")
    if problems:
        raise CalendarError("\n".join(problems))
    return tuple(calendars)


def events_at(calendars: Sequence[Calendar], when: datetime, symbol: str) -> tuple[Event, ...]:
    """Return the events that hold at ``when`` for ``symbol``, by start, kind and label."""
    found = {
        Event(start, end, calendar.kind, calendar.name, rule.label, rule.verified)
        for calendar in calendars
        for rule in calendar.events
        if rule.holds(when)
        for start, end in rule.spans(when, symbol)
        if start <= when < end
    }
    return tuple(sorted(found, key=lambda each: (each.start, each.kind, each.calendar, each.label)))


def _utc(day: date, at: time, zone: str) -> datetime:
    return datetime.combine(day, at, ZoneInfo(zone)).astimezone(UTC)
