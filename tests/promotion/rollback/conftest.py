"""A desk's policy, and candidates that are watched under it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import research_to_prod
from research_to_prod.promotion.rollback.baseline import Baseline, held_to_edge, held_to_shadow
from research_to_prod.promotion.rollback.design import Chart, Design, design
from research_to_prod.promotion.rollback.policy import RollbackPolicy, load_rollback_policy
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.values import Stage, StrategyType

FILE = Path(research_to_prod.__file__).parent / "desk" / "policies" / "rollback.yaml"

WatchOf = Callable[..., Watch]


@pytest.fixture(scope="session")
def policy() -> RollbackPolicy:
    return load_rollback_policy(FILE)


@pytest.fixture(scope="session")
def shipped(policy: RollbackPolicy) -> Design:
    return design(policy, StrategyType.SWING)


@pytest.fixture(scope="session")
def baseline(shipped: Design) -> Baseline:
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 0.01, 1088)
    smooth = noise + 0.2 * np.roll(noise, 1)
    own = shipped.standardisation
    return Baseline(held_to_edge(smooth + 0.002, own), held_to_shadow(rng.normal(0, 0.0005, 200), own))


@pytest.fixture(scope="session")
def watch_of(shipped: Design, baseline: Baseline) -> WatchOf:
    """Return a maker of watches; ``quick`` ones have limits that a few bad days are beyond."""

    def make(candidate: str = "alpha", stage: Stage = Stage.LIVE, *, quick: bool = False) -> Watch:
        used = replace(
            shipped, implementation=Chart(0.1, 3.0, 60.0), edge=Chart(0.08, 3.0, 30.0), canary_upper=0.8,
            canary_lower=-0.8,
        )  # fmt: skip
        return Watch(candidate, "0" * 64, stage, used if quick else shipped, baseline)

    return make
