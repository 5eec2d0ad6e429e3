"""Pictures of validation are small, the same each time, and say what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from research_to_prod.reports.validation_figures import out_of_sample, stress_curves, sweep_surface

RNG = np.random.default_rng(2)
PICTURES = {
    "out_of_sample": (out_of_sample, (RNG.normal(1, 1, 12_870), RNG.normal(3, 1, 45), RNG.normal(3, 1, 45))),
    "nothing known": (out_of_sample, (None, None, None)),
    "curves": (stress_curves, ([1, 2, 24], [1.0, 0.9, -0.4], [0.0, 8.0], [1.0, 0.2], (0.8, 0.5))),
    "no edge": (stress_curves, ([1, 2], [np.nan, np.nan], [], [], (0.8, 0.5))),
    "surface": (
        sweep_surface,
        ({(a, b): float(a * b) for a in range(20) for b in range(20)}, ("a_b", "b"), (3, 4)),
    ),
    "surface with holes": (sweep_surface, ({(1, "x"): 1.0, (2, "y"): np.nan}, ("a", "b"), (1, "x"))),
    "bars": (sweep_surface, ({(1, ""): 1.0, (2, ""): np.nan}, ("a", ""), (1, ""))),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_small_png_and_always_the_same(name: str) -> None:
    draw, content = PICTURES[name]
    picture = draw(*content)  # type: ignore[operator]
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 60_000
    assert picture == draw(*content)  # type: ignore[operator]
