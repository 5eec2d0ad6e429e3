"""Foreign exports into the inbox: which of their columns, words, times and symbols are which of ours.

Belongs here: the model of ``desk/mappings/*.yaml`` and its application to one file. Doesn't: judging the rows. They go
into the inbox as text, and it refuses what does not fit with its reason, as it does for every other file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import pyarrow as pa
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from research_to_prod.declared import parse_yaml
from research_to_prod.execution.contracts import INBOX_KINDS
from research_to_prod.execution.inbox_writer import InboxWriter
from research_to_prod.execution.row_checks import read_file
from research_to_prod.lake.schema import Schema
from research_to_prod.market_data.calendars import Zone
from research_to_prod.market_data.universe import Name
from research_to_prod.values import digest, sha256_hex

_MICROSECONDS = {"s": Decimal(1_000_000), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_ROWS = 10

Texts = list[str | None]


class MappingError(ValueError):
    """A mapping or a file that it is applied to can't be used; the message lists everything wrong."""


def _kind(value: str) -> str:
    if value not in INBOX_KINDS:
        raise ValueError(f"{value!r} is no kind of the inbox; kinds are {', '.join(INBOX_KINDS)}")
    return value


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeRule(_Model):
    """How the export writes a time that is neither ISO text with a zone nor a Parquet timestamp with a zone."""

    unit: Literal["s", "ms", "us", "ns"] | None = Field(None, description="unit of a number since 1970, UTC")
    format: str | None = Field(None, description="strptime format of a text")
    zone: Zone | None = Field(None, description="time zone of a text whose format has none")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.unit is None) == (self.format is None):
            raise ValueError("give unit or format")
        if (self.zone is not None) != (self.format is not None and "%z" not in self.format):
            raise ValueError("zone belongs to a format without %z, and such a format needs one")
        return self

    def read(self, text: str) -> datetime:
        """Return the time, cut to microseconds; ValueError where it can't be read."""
        if self.format is not None:
            read = datetime.strptime(text, self.format)  # noqa: DTZ007 - the zone follows
            return (read if self.zone is None else read.replace(tzinfo=ZoneInfo(self.zone))).astimezone(UTC)
        try:
            return _EPOCH + timedelta(microseconds=int(Decimal(text) * _MICROSECONDS[self.unit or "us"]))
        except (InvalidOperation, OverflowError) as error:
            raise ValueError(f"{text!r} is no number of {self.unit}") from error


class SymbolRule(_Model):
    """How the export's symbols become ccxt unified ones; what neither names nor matches stays and is refused."""

    names: dict[str, str] = Field(default_factory=dict, description="their symbol: ours")
    pattern: str | None = Field(None, description="regular expression that a whole symbol matches")
    unified: str | None = Field(None, description=r"ours, with \1 for the first group of the pattern")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.pattern is None) != (self.unified is None):
            raise ValueError("pattern and unified belong together: give both or neither")
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern {self.pattern!r}: {error}") from error
        return self

    def unify(self, symbol: str) -> str:
        """Return our symbol."""
        if symbol in self.names:
            return self.names[symbol]
        match = re.fullmatch(self.pattern, symbol) if self.pattern else None
        return symbol if match is None else match.expand(self.unified or "")


class Mapping(_Model):
    """One export's layout; the keys of all tables but ``expects`` are columns of ours."""

    name: Name
    kind: Annotated[str, AfterValidator(_kind)]
    columns: dict[str, str] = Field(description="our column: the export's")
    constants: dict[str, str] = Field(default_factory=dict, description="our column: what every row has in it")
    identifiers: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="our column: those of the export whose values together tell one from another"
    )
    enums: dict[str, dict[str, str | int]] = Field(default_factory=dict, description="our column: their word: ours")
    times: dict[str, TimeRule] = Field(default_factory=dict, description="our column: how the time is written")
    symbols: SymbolRule = SymbolRule()
    expects: dict[str, str] = Field(
        default_factory=dict, description="the export's column: the value without which this is another export"
    )

    @model_validator(mode="after")
    def _fits_the_contract(self) -> Self:
        given = [*self.columns, *self.constants, *self.identifiers]
        declared = {column.name: column for column in self.contract.columns}
        problems = [f"{self.kind} have no column {name!r}" for name in given if name not in declared]
        problems += [f"{name} is given twice" for name in sorted(set(given)) if given.count(name) > 1]
        problems += [
            f"{name} is not given and may not be null"
            for name, column in declared.items()
            if name not in given and not column.nullable
        ]
        problems += [f"{name} has a rule and no column" for name in {**self.enums, **self.times} if name not in given]
        problems += [f"{self.day_column} decides the day and must be a column"] * (self.day_column not in self.columns)
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def contract(self) -> Schema:
        """The contract of the kind."""
        return INBOX_KINDS[self.kind]

    @property
    def day_column(self) -> str:
        """The column by whose time a row belongs to a day."""
        assert self.contract.partition_by is not None  # noqa: S101 - every kind is delivered by day
        return self.contract.partition_by.column


def load_mapping(path: Path) -> Mapping:
    """Read one file of ``desk/mappings``; its stem is the mapping's name.

    Raises
    ------
    MappingError
        Naming the file and every wrong field.
    """
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise MappingError(f"{path} is no table of fields")
        return Mapping(name=path.stem, **found)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise MappingError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise MappingError(f"{path}: {wrong}") from error


def deliver_export(path: Path, mapping: Mapping, writer: InboxWriter, revision: int = 0) -> tuple[Path, ...]:
    """Put one foreign file into the inbox, one file a day, and return them in the order of the days.

    Their names hold the mapping's name and the start of the export's SHA-256, so that delivering the same file again
    replaces them. Days of which the export has no row get no file: it does not say that nothing happened on them.

    Raises
    ------
    MappingError
        If columns are missing, a row is not of this export, or a row's day can't be told; nothing is written then.
    InboxError
        If the file can't be read at all.
    """
    content = path.read_bytes()
    delivered, malformed = read_file(path.name, content)
    if malformed.num_rows:
        shown = [f"row {row['row']}: {row['reason']}" for row in malformed.slice(0, _SHOWN_ROWS).to_pylist()]
        raise MappingError(f"{path.name} refused: {'; '.join(shown)}; {malformed.num_rows} in all; export it again")
    rows = map_rows(path.name, delivered, mapping)
    by_day: dict[str, list[int]] = defaultdict(list)
    for number, at in enumerate(rows[mapping.day_column].to_pylist()):
        by_day[at[:10]].append(number)
    part = f"{mapping.name}-{sha256_hex(content)[:12]}"
    return tuple(
        writer.write_unjudged(mapping.kind, day, rows.take(by_day[day]), part=part, revision=revision)
        for day in sorted(by_day)
    )


def map_rows(name: str, delivered: pa.Table, mapping: Mapping) -> pa.Table:
    """Return the export's rows under our columns, in their order, all of them text.

    A float becomes the shortest decimal that names it: the number as its author wrote it, up to 15 digits. A word that
    no enum has stays as it is, for the inbox to refuse and to show.

    Raises
    ------
    MappingError
        If columns are missing, a row is not of this export, or the time that decides its day can't be read.
    """
    wanted = {*mapping.columns.values(), *mapping.expects, *(c for each in mapping.identifiers.values() for c in each)}
    problems = [f"missing column {column!r}" for column in sorted(wanted - set(delivered.column_names))]
    if problems:
        raise MappingError(f"{name} is no export of {mapping.name}: {'; '.join(problems)}")
    source = {column: _texts(delivered.column(column)) for column in sorted(wanted)}
    for column, value in mapping.expects.items():
        problems += [
            f"row {row}: {column} is {found!r}, not {value!r}"
            for row, found in enumerate(source[column], start=1)
            if found != value
        ]
    mapped: dict[str, Sequence[str | None]] = {}
    for column, theirs in mapping.columns.items():
        mapped[column] = _translated(column, source[theirs], mapping)
    for column, value in mapping.constants.items():
        mapped[column] = [value] * delivered.num_rows
    for column, parts in mapping.identifiers.items():
        values = zip(*(source[each] for each in parts), strict=True)
        mapped[column] = [f"derived-{digest(list(each))[:24]}" for each in values]
    problems += [
        f"row {row}: {mapping.day_column} {at!r} is no time with a zone"
        for row, at in enumerate(mapped[mapping.day_column], start=1)
        if at is None or not at.endswith("+00:00")
    ]
    if problems:
        shown, more = problems[:_SHOWN_ROWS], len(problems) - _SHOWN_ROWS
        raise MappingError(f"{name} refused: {'; '.join(shown)}{f'; and {more} more' if more > 0 else ''}")
    return pa.table({column: pa.array(values, pa.string()) for column, values in mapped.items()})


def _translated(column: str, texts: Texts, mapping: Mapping) -> Texts:
    """Return one column's texts in our words."""

    def ours(text: str) -> str:
        if column in mapping.enums:
            return str(mapping.enums[column].get(text, text))
        if column == "symbol":
            return mapping.symbols.unify(text)
        if pa.types.is_timestamp(types[column]):
            return _time(text, mapping.times.get(column))
        return text

    types = {each.name: each.type for each in mapping.contract.columns}
    return [None if text is None else ours(text) for text in texts]


def _time(text: str, rule: TimeRule | None) -> str:
    """Return the time in UTC as ISO text, or the text itself where it can't be read."""
    try:
        read = datetime.fromisoformat(text) if rule is None else rule.read(text)
    except ValueError:
        return text
    return text if read.tzinfo is None else read.astimezone(UTC).isoformat()


def _texts(values: pa.ChunkedArray) -> Texts:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return [None if value is None else _text(value) for value in values.to_pylist()]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return value.isoformat() if isinstance(value, datetime) else str(value)
