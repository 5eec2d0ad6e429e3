"""Times as vendors write them: timestamps, ISO 8601 text, epoch numbers.

Belongs here: reading a column of times as UTC, with the one form that all of it is written in. Doesn't: files. A column
that mixes forms is refused: which hour a row means must never be a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.lake.schema import TIMESTAMP

# Below each bound an epoch number counts this unit, of so many microseconds: 1e11 s is the year 5138, 1e11 ms is
# March 1973.
_EPOCH_UNITS = ((1e11, 1_000_000, "seconds"), (1e14, 1_000, "milliseconds"), (1e17, 1, "microseconds"))
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_OFFSET = re.compile(r"[+-][0-9]{2}(:?[0-9]{2})?")
_UTC_NAMES = frozenset({"Z", "UTC", "Etc/UTC", "GMT", "+00:00", "+0000", "+00", "-00:00", "-0000", "-00"})
_NO_ZONE = "without a zone (taken as UTC)"


class TimesError(ValueError):
    """A column of times can't be read; the message names a row (from 0) and the remedy."""


@dataclass(frozen=True)
class Times:
    """A column of times in UTC, and the form in which all of it was written; empty for a column without rows."""

    ts: pa.ChunkedArray
    form: str


def times(values: pa.ChunkedArray) -> Times:
    """Return times in UTC from timestamps, ISO 8601 text, or epoch numbers by their magnitude; naive ones are UTC.

    Raises
    ------
    TimesError
        Naming the first row (from 0) that can't be read or is of another form than row 0, and the remedy.
    """
    if values.null_count:
        row = pc.index(pc.is_null(values), True).as_py()
        raise TimesError(f"ts is empty in row {row}; a row without a time can't be placed: correct or remove it")
    kind = values.type
    if not len(values):
        return Times(pa.chunked_array([], TIMESTAMP), "")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _epoch(values)
    if pa.types.is_timestamp(kind) and kind.tz:
        return Times(_cast(values, TIMESTAMP), _zone(kind.tz))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Times(_cast(values, pa.timestamp("us")).cast(TIMESTAMP), _NO_ZONE)
    return _text(_cast(values, pa.string()))


def first_refused(values: pa.ChunkedArray, read: Callable[[pa.ChunkedArray], object]) -> int:
    """Return the first position of ``values`` that ``read`` refuses, given that it refuses the whole."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            read(values.slice(low, middle - low))
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low


def _text(values: pa.ChunkedArray) -> Times:
    if _NUMBER.fullmatch(values[0].as_py()):
        _same_form(values, pc.match_substring_regex(values, f"^{_NUMBER.pattern}$"))
        whole = not pc.any(pc.match_substring_regex(values, r"[.eE]")).as_py()
        return _epoch(_cast(values, pa.int64() if whole else pa.float64()))
    # What follows date and time is the zone; a bare date, or what is no time at all, stays as it is.
    zones = pc.replace_substring_regex(values, r"^[^T ]+[T ][0-9:.]+ ?", "")
    form = _written(zones[0].as_py())
    if any(_written(each) != form for each in pc.unique(zones).to_pylist()):
        _same_form(values, pa.array([_written(each) == form for each in zones.to_pylist()]))
    if form == _NO_ZONE:
        return Times(_cast(values, pa.timestamp("us")).cast(TIMESTAMP), form)
    return Times(_cast(values, TIMESTAMP), form)


def _same_form(values: pa.ChunkedArray, same: pa.ChunkedArray | pa.Array) -> None:
    if not pc.all(same).as_py():
        row = pc.index(same, False).as_py()
        raise TimesError(
            f"ts mixes time zones or forms: row 0 has {values[0].as_py()!r}, row {row} {values[row].as_py()!r}; write "
            "all times in one form, best in UTC as 2024-01-31T23:00:00Z"
        )


def _written(zone: str) -> str:
    """Return the form of a time that ends in ``zone``; what is not a zone is read as a time without one."""
    return _zone(zone) if zone == "Z" or _OFFSET.fullmatch(zone) else _NO_ZONE


def _zone(name: str) -> str:
    return f"in zone {'UTC' if name in _UTC_NAMES else name}"


def _cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return values.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        row = first_refused(values, lambda part: part.cast(kind))
        raise TimesError(
            f"ts in row {row} is {str(values[row])!r} ({values.type}), which is not a timestamp, ISO 8601 text or "
            "epoch seconds, milliseconds or microseconds; correct the row"
        ) from error


def _epoch(values: pa.ChunkedArray) -> Times:
    numbers = values.to_numpy()
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise TimesError(
            f"ts in row {row} is {numbers[row]}; a row without a time can't be placed: correct or remove it"
        )
    low, high = int(numbers.argmin()), int(numbers.argmax())
    for bound, factor, unit in _EPOCH_UNITS:
        if numbers[high] < bound:
            if numbers[low] < bound / 1000:
                raise TimesError(
                    f"ts mixes units of time, or has times before 1973: {numbers[low]} in row {low}, {numbers[high]} "
                    f"in row {high}; write all times in one unit"
                )
            micros = np.rint(numbers * factor) if numbers.dtype.kind == "f" else numbers.astype("int64") * factor
            return Times(pa.chunked_array([pa.array(micros.astype("int64"), TIMESTAMP)]), f"epoch {unit}")
    raise TimesError(f"ts in row {high} is {numbers[high]}, too large for epoch microseconds; correct the row")
