"""Pictures of validation are small PNGs, always the same, and drawn also where a study is missing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from research_to_prod.reports.validation_figures import out_of_sample, stress_curves, sweep_surface

LIMITS = (0.8, 0.5)
NUMBERS = np.random.default_rng(2).normal(0.3, 1, 90)
# Of a search of 500 trials.
LOGITS = np.log(np.arange(1, 501) / np.arange(500, 0, -1))
SPLITS, NONE = np.arange(500.0), np.empty(0)
GRID = {(row, column): row * 0.1 - column * 0.2 for row in (12, 24, 48) for column in (6, 12)}
DELAYS, SIZES = (1, 2, 3, 4), (0.0, 0.5, 1.0, 2.0)

PICTURES: dict[str, Callable[[], bytes]] = {
    "surface": lambda: sweep_surface(GRID, ("lookback", "rebalance"), (24, 6)),
    "surface with a hole": lambda: sweep_surface({**GRID, (12, 6): math.nan}, ("lookback", "rebalance"), (24, 6)),
    "surface of nothing": lambda: sweep_surface(dict.fromkeys(GRID, math.nan), ("lookback", "rebalance"), (24, 6)),
    "surface of words": lambda: sweep_surface({("a", 1): 1.0, ("b$", 1): 0.5}, ("how$", "$x"), ("b$", 1)),
    "bars": lambda: sweep_surface({(12, ""): 1.0, (24, ""): -0.5, (48, ""): math.nan}, ("lookback", ""), (24, "")),
    "out of sample": lambda: out_of_sample(LOGITS, SPLITS, NUMBERS[:45], NUMBERS[45:90]),
    "no overfitting": lambda: out_of_sample(NONE, NONE, NUMBERS[:45], NUMBERS[45:90]),
    "no cross-validation": lambda: out_of_sample(LOGITS, SPLITS, NONE, NONE),
    "neither": lambda: out_of_sample(NONE, NONE, NONE, NONE),
    "equal logits": lambda: out_of_sample(np.zeros(1), np.full(1, 10.0), NUMBERS[:5], NUMBERS[:5]),
    "an idle winner": lambda: out_of_sample(LOGITS, SPLITS, NUMBERS[:5], np.full(5, math.nan)),
    "curves": lambda: stress_curves(DELAYS, (1, 0.9, 0.5, -0.1), SIZES, (1, 0.9, 0.7, 0.4), LIMITS),
    "no capacity": lambda: stress_curves(DELAYS, (1, 0.9, 0.5, -0.1), (), (), LIMITS),
    "no edge": lambda: stress_curves(DELAYS, [math.nan] * 4, SIZES, [math.nan] * 4, LIMITS),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_small_png_and_always_the_same(name: str) -> None:
    picture = PICTURES[name]()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 100_000
    assert picture == PICTURES[name]()


def test_what_is_missing_changes_the_picture() -> None:
    halves = [PICTURES[name]() for name in ("out of sample", "no overfitting", "no cross-validation", "neither")]
    assert len(set(halves)) == 4


def test_the_candidates_own_set_is_marked() -> None:
    names = ("lookback", "rebalance")
    assert sweep_surface(GRID, names, (24, 6)) != sweep_surface(GRID, names, (48, 12))
