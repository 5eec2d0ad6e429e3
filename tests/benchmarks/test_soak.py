"""A quarter of an hour on the sandbox venue at full speed: what runs by itself, with faults on the wire.

The whole day is ``make soak``.
"""

from __future__ import annotations

import contextlib
import io
from itertools import pairwise
from pathlib import Path

from benchmarks.soak import EPISODES, Episode, always, soak
from research_to_prod.sandbox.faults import FaultKind


def test_a_venue_that_goes_away_is_one_incident_nothing_is_missed_or_done_twice_and_silence_is_said(
    tmp_path: Path,
) -> None:
    away = Episode(3, 7, "venue_status", always("/sapi/*", FaultKind.BAD_GATEWAY))
    untold = Episode(9, 10, "certificate_missing", always("/nowhere", FaultKind.BAD_GATEWAY))
    with contextlib.redirect_stdout(io.StringIO()):
        found = soak(tmp_path, 12, [away, untold], reconcile_every=1_000)
    assert found["wrong"] == {"episodes with other than one incident": {"9 certificate_missing": 0}}
    assert (found["turns"], found["reconciliations asked for, run, and of them failed"]) == (12, (3, 0, 0))
    faults = found["faults injected"]
    assert isinstance(faults, dict)
    assert faults["bad_gateway"] >= 4


def test_the_day_has_episodes_of_each_kind_apart_from_each_other() -> None:
    assert {each.rule for each in EPISODES} == {"venue_status", "certificate_missing"}
    assert all(one.end + 60 < other.begin for one, other in pairwise(EPISODES))
