"""The compiled statistics once more, in plain NumPy, to hold them against and to time them against.

Belongs here: the formulas, as short as NumPy says them. Doesn't: speed, validation, or anything the product imports.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import ndtr

from research_to_prod.research.bars import Floats


def probabilistic_sharpe_ratios(returns: Floats, benchmark: float | Floats = 0.0) -> Floats:
    """Return what `sharpe.probabilistic_sharpe_ratios` does."""
    n = returns.shape[1]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = returns.mean(axis=1)
        centred = returns - mean[:, None]
        squared = centred**2
        variance = squared.mean(axis=1)
        constant = np.sqrt(variance) <= 1e-12 * np.sqrt(variance + mean**2)
        skewness = (squared * centred).mean(axis=1) / variance**1.5
        kurtosis = (squared**2).mean(axis=1) / variance**2
        sharpe = mean / np.sqrt(variance * n / (n - 1))
        spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
        result = ndtr((sharpe - benchmark) * np.sqrt((n - 1) / spread))
    return np.asarray(np.where(constant | ~np.isfinite(spread) | (spread <= 0), np.nan, result), dtype=np.float64)


def overfitting_splits(returns: Floats, n_blocks: int, metric: str = "sharpe") -> tuple[Floats, Floats]:
    """Return the (n_splits,) rank and value out of sample of each split's winner, from block sums by matrix product."""
    kept = returns[len(returns) % n_blocks :]
    blocks = kept.reshape(n_blocks, -1, kept.shape[1])
    chosen = np.array(list(itertools.combinations(range(n_blocks), n_blocks // 2)))
    inside = np.zeros((len(chosen), n_blocks))
    np.put_along_axis(inside, chosen, 1.0, axis=1)
    ranks, values = np.empty(len(chosen)), np.empty(len(chosen))
    for first in range(0, len(chosen), 512):
        part = slice(first, first + 512)
        x, y = (_performance(weights, blocks, metric) for weights in (inside[part], 1 - inside[part]))
        value = np.take_along_axis(y, x.argmax(axis=1)[:, None], axis=1)
        ranks[part] = (y < value).sum(axis=1) + ((y == value).sum(axis=1) + 1) / 2
        values[part] = value[:, 0]
    return ranks, values


def _performance(weights: Floats, blocks: Floats, metric: str) -> Floats:
    n = blocks.shape[0] * blocks.shape[1] // 2
    sums: Floats = weights @ blocks.sum(axis=1)
    if metric == "mean":
        return sums
    squares = weights @ np.square(blocks).sum(axis=1)
    spread = squares - sums * sums / n
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = sums / np.sqrt(spread)
        constant = np.where(sums == 0, 0.0, np.copysign(np.inf, sums))
    return np.asarray(np.where(spread > 1e-14 * squares, ratio, constant))


def resampled_maxima(starts: Floats, uniforms: Floats, probability: float, values: Floats, centres: Floats) -> Floats:
    """Return (reps, c) maxima over columns of the resampled means of (n, k) values, less each of the (c, k) centres."""
    n = len(values)
    maxima = []
    for first, uniform in zip(starts, uniforms, strict=True):
        positions = [int(first[0])]
        for t in range(1, n):
            positions.append((positions[-1] + 1) % n if uniform[t] > probability else int(first[t]))
        maxima.append((values[positions].mean(axis=0) - centres).max(axis=1))
    return np.array(maxima)


def bootstrap_deviations(values: Floats, block_size: float) -> Floats:
    """Return (k,) deviations of the means of (n, k) values over stationary resamples, lag by lag."""
    n = len(values)
    centred = values - values.mean(axis=0)
    stay = 1 - 1 / block_size
    total = (centred**2).sum(axis=0) / n
    for lag in range(1, n):
        weight = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
        total = total + 2 * weight * (centred[lag:] * centred[:-lag]).sum(axis=0) / n
    return np.asarray(np.sqrt(total / n))
