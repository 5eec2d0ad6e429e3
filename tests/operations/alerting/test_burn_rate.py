"""Burn rates: both windows must burn, and a handful of events is counted instead of divided."""

from __future__ import annotations

import pytest

from research_to_prod.operations.alerting.burn_rate import Tally, burn_reading
from research_to_prod.operations.alerting.settings import Objective
from tests.operations.alerting.book import NOON, POLICY, VENUE

(CERTIFICATES, *_) = POLICY.settings.objectives
HOUR, FIVE, SIX, HALF = 3600.0, 300.0, 21_600.0, 1800.0


def speed(objective: Objective = CERTIFICATES, **windows: tuple[int, int]) -> float | None:
    names = {"hour": HOUR, "five": FIVE, "six": SIX, "half": HALF}
    return burn_reading(objective, {names[k]: Tally(*v) for k, v in windows.items()}, VENUE, NOON).value


def test_google_s_fast_pair_fires_at_fourteen_point_four_times_the_tolerated_share() -> None:
    """A target of 99 % tolerates one in a hundred: 14.4 of a hundred bad in both windows is exactly the limit."""
    calm = {"six": (6000, 0), "half": (500, 0)}
    assert speed(hour=(1000, 144), five=(1000, 144), **calm) == pytest.approx(1)
    assert speed(hour=(1000, 143), five=(1000, 500), **calm) < 1  # type: ignore[operator]


def test_it_stops_as_soon_as_the_short_window_does() -> None:
    assert speed(hour=(1000, 500), five=(100, 0), six=(6000, 500), half=(500, 0)) == 0


def test_the_slow_pair_sees_what_the_fast_one_misses() -> None:
    assert speed(hour=(1000, 60), five=(100, 6), six=(6000, 360), half=(500, 30)) == pytest.approx(1)


def test_fewer_than_a_hundred_events_are_counted() -> None:
    """Two of three bad at 3 a.m. are 67 times the tolerated share, and still only two."""
    few = {"hour": (3, 2), "five": (1, 1), "six": (20, 2), "half": (3, 2)}
    assert speed(**few) == pytest.approx(2 / 5)
    assert speed(**(few | {"six": (20, 5)})) == pytest.approx(1)


def test_a_window_that_is_missing_makes_it_unknown() -> None:
    assert speed(hour=(1000, 500), five=(100, 50), six=(6000, 500)) is None


def test_more_bad_than_events_is_no_tally() -> None:
    with pytest.raises(ValueError, match="3 bad of 2 events"):
        Tally(2, 3)
