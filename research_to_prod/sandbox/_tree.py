"""Random paths that can be evaluated anywhere: counter-based random numbers on a dyadic tree over minutes.

Belongs here: hashing, trading time (a conserving multiplicative cascade, as in the multifractal model of Mandelbrot,
Calvet and Fisher, 1997) and Brownian bridges in it (Levy's midpoint construction). Doesn't: prices and markets.

A node is (level, index): at level L the tree's span is cut in 2**(DEPTH - L) intervals of 2**L minutes. Every random
number is a pure function of (stream, level, index), so that a block of minutes is computed from the root down its own
branch only, and is the same whoever asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from research_to_prod.values import sha256_hex

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DEPTH = 22
"""The tree spans 2**22 minutes: eight years."""
BLOCK = 14
"""Paths are computed and cached in blocks of 2**14 minutes (11.4 days): one costs a few milliseconds."""
_YEAR = 365.0 * 1440.0


@cache
def stream(seed: int, name: str) -> np.uint64:
    """Return the key of the random stream ``name`` of ``seed``."""
    return np.uint64(int(sha256_hex(f"{seed}/{name}".encode())[:16], 16))


def uniforms(key: np.uint64, level: int | Ints, indices: Ints) -> Floats:
    """Return a number in (0, 1) for every index: splitmix64 (Steele, Lea and Flood, 2014) of the counter.

    ``level`` may be an array that broadcasts to ``indices``.
    """
    # In place: seven passes over fresh arrays cost three times as much.
    z = indices.astype(np.uint64)
    z += (np.asarray(level, np.uint64) << np.uint64(48)) + np.uint64(1)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += key
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    # The 53 high bits, moved to the middle of their cell so that 0 and 1 never occur.
    z >>= np.uint64(11)
    u = z.astype(np.float64)
    u *= 2.0**-53
    u += 2.0**-54
    return u


def paired(u: Floats) -> tuple[Floats, Floats]:
    """Return two numbers in (0, 1) from one: its high and its low 26 bits."""
    scaled = u * 2.0**26
    return u, scaled - np.floor(scaled) + 2.0**-28


def normals(key: np.uint64, level: int, indices: Ints) -> Floats:
    """Return a standard normal for every index; below the day one in 400 is stretched fourfold (the jumps)."""
    from scipy.special import ndtri

    u = uniforms(key, level, indices)
    z: Floats = ndtri(u)
    if level <= 10:
        # The low bits of the same draw decide: independent of the normal for all that matters here.
        u *= 2.0**20
        u -= np.floor(u)
        z[u < 1 / 400] *= 4.0
    return z


@dataclass(frozen=True)
class TradingTime:
    """How much trading time each minute of a block holds: volatility regimes times the hour-of-week intensity.

    Parameters
    ----------
    block
        Index of the block.
    masses
        For every level from DEPTH down to 0, the trading minutes in the intervals at hand: two halves of the branch
        above the block (``masses[level]`` has two entries, the node's halves lie at ``level - 1``), and all the
        intervals inside it.
    before
        Trading minutes from the tree's origin to the block's start.
    """

    block: int
    masses: dict[int, Floats]
    before: float

    @classmethod
    def of(cls, key: np.uint64, block: int, intensity: Callable[[Ints], Floats]) -> TradingTime:
        """Cascade the tree's trading time down to the minutes of ``block``.

        ``intensity`` is the integral of the hour-of-week intensity from the origin to each given minute.
        """
        masses: dict[int, Floats] = {DEPTH: np.diff(intensity(np.array([0, 1 << DEPTH])))}
        before = 0.0
        for level in range(DEPTH, BLOCK, -1):
            node = block >> (level - BLOCK)
            season = np.diff(intensity(np.arange(2 * node, 2 * node + 3) << (level - 1)))
            halves = _split(key, level, np.array([node]), masses[level], season)
            side = (block >> (level - BLOCK - 1)) & 1
            before += float(halves[0]) * side
            masses[level - 1] = halves[side : side + 1]
        edges = intensity((block << BLOCK) + np.arange((1 << BLOCK) + 1))
        for level in range(BLOCK, 0, -1):
            nodes = (block << (BLOCK - level)) + np.arange(1 << (BLOCK - level))
            masses[level - 1] = _split(key, level, nodes, masses[level], np.diff(edges[:: 1 << (level - 1)]))
        return cls(block, masses, before)


# Largest deviation of a half's share from a half, by level: regimes of weeks and days, calm within the hour.
def _spread(level: int) -> float:
    return 0.22 if 7 <= level <= 16 else 0.08


def _split(key: np.uint64, level: int, nodes: Ints, mass: Floats, season: Floats) -> Floats:
    """Return the masses of the halves of ``nodes``: by the season's share of each, bent at random."""
    u = uniforms(key, level, nodes)
    bend = _spread(level) * (4.0 * u - 2.0)
    left, right = season[0::2] * (1.0 + bend), season[1::2] * (1.0 - bend)
    halves = np.empty(2 * len(nodes))
    halves[0::2] = mass * (left / (left + right))
    halves[1::2] = mass - halves[0::2]
    return halves


def _midpoints(key: np.uint64, level: int, nodes: Ints, halves: Floats, ends: Floats, variance: float) -> Floats:
    """Return the values at the middles of ``nodes``, given those at their ``len(nodes) + 1`` ends."""
    left, right = halves[0::2], halves[1::2]
    whole = left + right
    bridge = np.sqrt(variance * left * right / whole)
    return ends[:-1] + (ends[1:] - ends[:-1]) * (left / whole) + bridge * normals(key, level, nodes)


def _refine(key: np.uint64, clock: TradingTime, level: int, stop: int, ends: Floats, variance: float) -> Floats:
    first = clock.block << (BLOCK - level)
    for at in range(level, stop, -1):
        nodes = (first << (level - at)) + np.arange(1 << (BLOCK - at))
        finer = np.empty(2 * len(nodes) + 1)
        finer[0::2] = ends
        finer[1::2] = _midpoints(key, at, nodes, clock.masses[at - 1], ends, variance)
        ends = finer
    return ends


def martingale(key: np.uint64, clock: TradingTime, volatility: float) -> Floats:
    """Return the (2**BLOCK + 1,) log levels of a path whose exponential is a martingale.

    Parameters
    ----------
    volatility
        Annual; a year is 365 days of trading time.
    """
    variance = volatility**2 / _YEAR
    total = clock.masses[DEPTH]
    left, right = np.zeros(1), np.sqrt(variance * total) * normals(key, DEPTH + 1, np.zeros(1, np.int64))
    for level in range(DEPTH, BLOCK, -1):
        node = clock.block >> (level - BLOCK)
        side = (clock.block >> (level - BLOCK - 1)) & 1
        kept = clock.masses[level - 1]
        other = clock.masses[level] - kept
        halves = np.concatenate((other, kept) if side else (kept, other))
        middle = _midpoints(key, level, np.array([node]), halves, np.concatenate((left, right)), variance)
        left, right = (middle, right) if side else (left, middle)
    path = _refine(key, clock, BLOCK, 0, np.concatenate((left, right)), variance)
    elapsed = clock.before + np.concatenate((np.zeros(1), np.cumsum(clock.masses[0])))
    return path - 0.5 * variance * elapsed


def reverting(key: np.uint64, clock: TradingTime, volatility: float, level: int) -> Floats:
    """Return the (2**BLOCK + 1,) log levels of bridges that are zero at every ``2**level`` minutes."""
    ends = np.zeros((1 << (BLOCK - level)) + 1)
    return _refine(key, clock, level, 0, ends, volatility**2 / _YEAR)


def within_minute(key: np.uint64, minutes: Ints, fractions: Floats, first: Floats, last: Floats, variance: Floats,
                  levels: int = 8) -> Floats:  # fmt: skip
    """Return the path at ``fractions`` of ``minutes`` that runs from ``first`` to ``last`` with ``variance`` a minute.

    Levy's construction for ``levels`` halvings (a quarter of a second), straight lines below.
    """
    from scipy.special import ndtri

    # The node of each level follows from the fraction alone: one draw for all levels costs an eighth of eight.
    depth = np.arange(levels)[:, None]
    nodes = np.floor(fractions * 2.0**depth).astype(np.int64)
    z = ndtri(uniforms(key, 30 + depth, (minutes << 8) + nodes))
    left, right = first, last
    for level in range(levels):
        width = 0.5**level
        middle = 0.5 * (left + right) + np.sqrt(variance * width * 0.25) * z[level]
        after = fractions >= (nodes[level] + 0.5) * width
        left, right = np.where(after, middle, left), np.where(after, right, middle)
    start = np.floor(fractions * 2.0**levels) * 0.5**levels
    return np.asarray(left + (right - left) * (fractions - start) / 0.5**levels)
