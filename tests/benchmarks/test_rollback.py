"""The study of run lengths: what it draws, how it counts, and a smaller version of its promise."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import rollback as study
from benchmarks._rollback_paths import FIRED, NOISE, draw, run
from research_to_prod.gates.statistics import cusum_average_run_length
from research_to_prod.promotion.rollback.design import Design, daily_shift, design
from research_to_prod.promotion.rollback.policy import load_rollback_policy
from research_to_prod.values import StrategyType


@pytest.fixture(scope="module")
def shipped() -> Design:
    return design(load_rollback_policy(study.POLICY), StrategyType.SWING)


@pytest.mark.parametrize("kind", range(len(NOISE)))
def test_noise_has_no_mean_and_unit_deviation(kind: int) -> None:
    values = draw(1, kind, 200_000)
    # The error of the mean is 0.0022, and 0.0027 with autocorrelation.
    assert abs(values.mean()) < 0.011
    assert values.std() == pytest.approx(1.0, rel=0.05)
    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(0.2 if kind == 3 else 0.0, abs=0.02)
    np.testing.assert_array_equal(draw(1, kind, 100), draw(1, kind, 100))


def test_clusters_and_jumps_are_there() -> None:
    clustered, jumping = np.abs(draw(2, 2, 100_000)), draw(2, 4, 100_000)
    assert np.corrcoef(clustered[1:], clustered[:-1])[0, 1] > 0.1
    assert ((jumping - jumping.mean()) ** 3).mean() < -0.5


def test_a_path_ends_when_its_detector_fires_and_a_crossing_comes_before(shipped: Design) -> None:
    judged_by = study.known(shipped, 0, 3.0, 50)
    crossed, fired = run(3, 0, judged_by, mean=-0.3, until="edge", longest=500, audit_limit=shipped.audit_limit)
    which = FIRED.index("edge")
    assert (fired[:, which] < 500).all()
    assert (crossed[:, which] <= fired[:, which] - 2).all()
    assert (fired[:, FIRED.index("implementation")] == 500).all()


# 2,000 paths of exponential length leave an error of 2.3 %, so that this fails where the true run length is off by a
# tenth or more in half of the cases; the page's 20,000 paths, below, know it to 0.7 %.
@pytest.mark.parametrize("detector", ["edge", "implementation"])
@pytest.mark.parametrize("kind", range(study.PROMISED), ids=NOISE[: study.PROMISED])
def test_false_alarms_come_as_rarely_as_declared(shipped: Design, kind: int, detector: str) -> None:
    theory, found = study.false_alarms(shipped, kind, detector, 2000)
    assert found.first.unfinished == 0
    assert found.first.error / theory < 0.027
    assert abs(found.first.against(theory)) <= study.TOLERANCE
    # Three clean days in a row can only come later.
    assert found.fired.mean > found.first.mean


# The error of a share of one in ten over 4,000 paths is 0.5 %; with the shift of independent days AR(1) kept 18.9 %.
@pytest.mark.parametrize("kind", range(study.PROMISED), ids=NOISE[: study.PROMISED])
def test_a_canary_s_test_errs_no_more_often_than_declared_whatever_the_noise(shipped: Design, kind: int) -> None:
    judged_by = study.known(shipped, kind, study.SHARPE, 4000)
    demoted, _, _ = study.canary(kind, judged_by, study.SHARPE)
    _, kept, _ = study.canary(kind, judged_by, 0.0)
    assert demoted <= 0.05 + 2 * 0.0035
    assert kept <= 0.10 + 2 * 0.005


def test_a_lost_edge_is_found_when_theory_says(shipped: Design) -> None:
    theory = cusum_average_run_length(shipped.edge.reference, shipped.edge.threshold, daily_shift(3.0))
    found = study.measured(shipped, 0, "edge", study.known(shipped, 0, 3.0, 2000), 0.0, 1460)
    assert found.first.mean == pytest.approx(theory, rel=0.06)


def test_the_page_says_what_is_missed(shipped: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_: Design, kind: int, detector: str, paths: int) -> tuple[float, study.Measured]:
        length = study.Length(730.0 if kind == 1 and detector == "edge" else 1460.0, 10.0, 0)
        return 1460.0, study.Measured(length, length, 0.2)

    monkeypatch.setattr(study, "false_alarms", half)
    rows, missed = study.false_alarm_rows(shipped, "edge", 10)
    assert missed == ["edge, Student's t, 4 degrees"]
    assert [row[4] for row in rows] == ["holds", "MISSED", "holds", "holds", "reported"]
    assert study.false_alarm_rows(shipped, "implementation", 10)[1] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", range(study.PROMISED), ids=NOISE[: study.PROMISED])
def test_the_edges_false_alarms_are_within_a_tenth_of_declared_beyond_the_error_of_counting(
    shipped: Design, kind: int
) -> None:
    theory, found = study.false_alarms(shipped, kind, "edge", 6000)
    assert abs(found.first.against(theory)) + 2 * found.first.error / theory <= study.TOLERANCE
