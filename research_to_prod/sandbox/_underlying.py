"""The price path of each underlying, by the minute: regimes, seasons, planted trend, noise, and a perpetual's basis.

Belongs here: composing the trees of `_tree` into the path of one underlying. Doesn't: markets, ticks and bars.

Times are microseconds since the epoch, minutes count from the listing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import numpy as np

from research_to_prod.sandbox import _tree
from research_to_prod.sandbox._tree import Floats, Ints
from research_to_prod.sandbox.instruments import LISTED_AT, MARKET_VOLATILITY, PROCESSES, Process

MINUTE = 60_000_000
HOUR = 60 * MINUTE
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_WEEK = 7 * 1440
SIZE = 1 << _tree.BLOCK
T = TypeVar("T")


def micros(instant: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant(time: int) -> datetime:
    """Return microseconds since the epoch as a UTC datetime."""
    return _EPOCH + timedelta(microseconds=int(time))


ORIGIN = micros(LISTED_AT)


def _hour_of_week_table() -> Floats:
    """Return the mean intensity of trading by hour of the week (Monday 00 UTC first), with mean 1.

    Activity and volatility peak at 16 UTC (Brauneis, Mestel and Theissen, 2025); weekends are quiet.
    """
    hour = np.arange(168) % 24
    day = 1.0 + 0.55 * np.exp(-(((hour - 16.0) / 3.5) ** 2)) + 0.2 * np.exp(-(((hour - 8.0) / 3.0) ** 2))
    table = day * np.where(np.arange(168) // 24 >= 5, 0.7, 1.0)
    return np.asarray(table / table.mean())


def _depth_table() -> Floats:
    """Return the mean book depth by hour of the week: deepest at 11 UTC, thinnest at 21, thin at weekends."""
    hour = np.arange(168) % 24
    day = 1.0 + 0.3 * np.exp(-(((hour - 11.0) / 4.0) ** 2)) - 0.3 * np.exp(-(((hour - 21.5) / 2.5) ** 2))
    table = day * np.where(np.arange(168) // 24 >= 5, 0.75, 1.0)
    return np.asarray(table / table.mean())


_INTENSITY = _hour_of_week_table()
_DEPTH = _depth_table()
_CUMULATED = np.concatenate(([0.0], np.cumsum(np.repeat(_INTENSITY, 60))))
# 1970-01-05 was a Monday.
_FIRST_MONDAY = 4 * 1440


def _week_minute(minutes: Ints) -> Ints:
    return (minutes + ORIGIN // MINUTE - _FIRST_MONDAY) % _WEEK


def _intensity(minutes: Ints) -> Floats:
    """Return the integral of the hour-of-week intensity from a fixed Monday to each minute."""
    absolute = minutes + ORIGIN // MINUTE - _FIRST_MONDAY
    weeks = absolute // _WEEK
    return np.asarray(weeks * float(_WEEK) + _CUMULATED[absolute - weeks * _WEEK])


@dataclass(frozen=True)
class Path:
    """One block of one underlying by the minute.

    Log mid at the (n + 1) edges, log extremes, variance; activity of the hour (mean 1) and book depth (mean 1).
    """

    edges: Floats
    high: Floats
    low: Floats
    variance: Floats
    activity: Floats
    depth: Floats


class Cache:
    """The values used last; a lost race between threads computes the same value twice, nothing worse."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], compute: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                found: T = self._values[key]
                return found
        value = compute()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value


class Paths:
    """The paths of every underlying for one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        # Trading time and common factor of three years, because every market needs them; some months of each path.
        # Some 80 MB when full.
        self._clocks, self._commons, self._paths = Cache(128), Cache(128), Cache(48)

    def key(self, name: str) -> np.uint64:
        """Return the random stream ``name`` of this seed."""
        return _tree.stream(self._seed, name)

    def _clock(self, block: int) -> _tree.TradingTime:
        return self._clocks.get(("", block), lambda: _tree.TradingTime.of(self.key("clock"), block, _intensity))

    def _common(self, block: int) -> Floats:
        return self._commons.get(
            ("", block), lambda: _tree.martingale(self.key("market"), self._clock(block), MARKET_VOLATILITY)
        )

    def path(self, base: str, block: int) -> Path:
        """Return one block of the underlying.

        Raises
        ------
        ValueError
            Outside the eight years that the tree spans.
        """
        if not 0 <= block < 1 << (_tree.DEPTH - _tree.BLOCK):
            raise ValueError(f"the sandbox has prices for eight years from {LISTED_AT}, not before and not after")
        return self._paths.get((base, block), lambda: self._compute(base, block))

    def _compute(self, base: str, block: int) -> Path:
        process, clock = PROCESSES[base], self._clock(block)
        noise = (
            _tree.reverting(self.key(base), clock, process.volatility, 11)
            if process.reverting
            else _tree.martingale(self.key(base), clock, process.volatility)
        )
        minutes = block * SIZE + np.arange(SIZE + 1)
        edges = np.log(process.base_price) + process.beta * self._common(block) + noise
        edges += self._drift(base, process, minutes)
        annual = process.volatility**2 + (process.beta * MARKET_VOLATILITY) ** 2
        variance = annual / (365.0 * 1440.0) * clock.masses[0]
        first, last = edges[:-1], edges[1:]
        square = (last - first) ** 2
        up, down = _tree.paired(_tree.uniforms(self.key(f"{base}/extremes"), 0, minutes[:-1]))
        # The law of a Brownian bridge's maximum, for each minute's extremes.
        high = 0.5 * (first + last + np.sqrt(square - 2.0 * variance * np.log(up)))
        low = 0.5 * (first + last - np.sqrt(square - 2.0 * variance * np.log(down)))
        activity = np.repeat(clock.masses[6], 64) / 64.0
        depth = _DEPTH[_week_minute(minutes[:-1]) // 60]
        return Path(edges, high, low, variance, activity, depth)

    def _drift(self, base: str, process: Process, minutes: Ints) -> Floats:
        """Return the planted log level: the trend whose turning points lie ``trend_days`` apart, and the slow swing."""
        if process.trend == 0.0:
            return np.zeros(len(minutes))
        trend = process.trend * self._knots(f"{base}/trend", process.trend_days, minutes)
        if process.edge_fades is not None:
            begin, end = ((micros(each) - ORIGIN) / MINUTE for each in process.edge_fades)
            trend = trend * np.clip((end - minutes) / (end - begin), 0.0, 1.0)
        return trend + process.swing * self._knots(f"{base}/swing", 60.0, minutes)

    def _knots(self, name: str, days: float, minutes: Ints | Floats) -> Floats:
        """Return value noise in [-1, 1]: straight lines between random levels at jittered knots."""
        width = days * 1440.0
        index = np.arange(int(minutes[0] / width) - 2, int(minutes[-1] / width) + 4)
        at = (index + 0.4 * (_tree.uniforms(self.key(name), 0, index) - 0.5)) * width
        level = 2.0 * _tree.uniforms(self.key(name), 1, index) - 1.0
        return np.interp(minutes, at, level)

    def basis(self, base: str, times: Ints) -> Floats:
        """Return the perpetual's premium over spot as a fraction: slow within 12 bp, quick within 2 bp."""
        minutes = (times - ORIGIN) / MINUTE
        order = np.argsort(minutes, kind="stable")
        premium = np.empty(len(minutes))
        if len(minutes):
            ordered = minutes[order]
            slow = self._knots(f"{base}/basis", 3.0, ordered)
            quick = self._knots(f"{base}/basis/quick", 0.25, ordered)
            premium[order] = 3e-4 + 1.2e-3 * slow**3 + 2e-4 * quick
        return premium

    def at(self, base: str, minutes: Ints, *names: str) -> list[Floats]:
        """Return the fields of `Path` at scattered minutes; ``last`` is the edge after the minute."""
        found = [np.empty(len(minutes)) for _ in names]
        blocks = minutes >> _tree.BLOCK
        for block in set(blocks.tolist()):
            chosen = blocks == block
            inside = minutes[chosen] - block * SIZE
            path = self.path(base, block)
            for values, name in zip(found, names, strict=True):
                values[chosen] = path.edges[inside + 1] if name == "last" else getattr(path, name)[inside]
        return found
