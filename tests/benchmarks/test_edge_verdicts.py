"""The study of the verdicts: what it draws, how it counts, and a small version of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks import edge_verdicts as study
from benchmarks._verdict_page import Book, Life, claims, page
from research_to_prod.attribution.verdict import EdgeVerdict, judge
from research_to_prod.attribution.verdict_policy import load_attribution_policy

POLICY = load_attribution_policy(study.POLICY)
OTHER_SEED = 7
"""Not the page's: its numbers stay those of one run."""


@pytest.mark.parametrize("name", [name for name, noise in study.NOISES.items() if noise])
def test_noise_has_no_mean_and_the_stated_deviation(name: str) -> None:
    noise = study.NOISES[name]
    assert noise is not None
    errors = noise(np.random.default_rng(0), 40_000)
    assert errors.shape == (40_000, 2)
    assert errors.std(axis=0) == pytest.approx([1.0, 1.0], rel=0.1)
    assert np.abs(errors.mean(axis=0)).max() < 5 * 1.4 / math.sqrt(40_000)


def test_the_truth_is_planted_from_its_day_on() -> None:
    def quiet(_rng: np.random.Generator, days: int) -> np.ndarray:
        return np.zeros((days, 2))

    late = study.Truth("x", EdgeVerdict.BOTH, edge_lost=0.5, cost=2.0, since=365)
    record = late.draw(np.random.default_rng(0), quiet)
    expected = 3 / math.sqrt(365) * 100
    assert record.expected == pytest.approx(expected)
    assert record.shadow[[364, 365]] == pytest.approx([expected, expected / 2])
    assert (record.shadow - record.live)[[364, 365]] == pytest.approx([0.0, 2.0])


def test_the_noise_of_the_sandbox_keeps_a_days_pair_and_runs_of_days() -> None:
    pool = study.sandbox_pool(seed=7, days=9)
    assert len(pool) == 4
    for series in pool:
        assert series.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-9)
        assert series.std(axis=0) == pytest.approx([1.0, 1.0])
    source = np.stack([np.arange(100.0), -np.arange(100.0)], axis=1)
    drawn = study.resampled([source])(np.random.default_rng(1), 5000)
    assert (drawn[:, 0] == -drawn[:, 1]).all()
    followed = (np.diff(drawn[:, 0]) % 100 == 1).mean()
    assert followed == pytest.approx(1 - 1 / study.SANDBOX_BLOCK, abs=0.03)


def test_an_evening_of_the_study_is_the_verdict_on_the_days_so_far() -> None:
    rng = np.random.default_rng(3)
    records = [truth.draw(rng, study.normal, 260) for truth in (study.COST, study.NONE)]
    daily = study.verdicts_by_day(records, POLICY)
    for day in (1, 2, 3, 44, 45, 91, 200, 260):
        said = [each.verdict for each in judge([study.until(record, day) for record in records], POLICY)]
        assert daily[day - 1] == said
    assert {EdgeVerdict.EXECUTION, EdgeVerdict.INCONCLUSIVE} <= {verdicts[0] for verdicts in daily}


def life(truth: str, *daily: tuple[EdgeVerdict, int], right: EdgeVerdict = EdgeVerdict.EDGE) -> Life:
    evenings = tuple(verdict for verdict, days in daily for _ in range(days))
    return Life(truth, "normal", right, 0, evenings, dict.fromkeys((30, 90, 180, 365, 730), 100))


def test_the_page_counts_and_says_what_is_missed() -> None:
    fine, unknown, dearer, lost = (
        EdgeVerdict.NORMAL, EdgeVerdict.INCONCLUSIVE, EdgeVerdict.EXECUTION, EdgeVerdict.EDGE,
    )  # fmt: skip
    healthy = [life("no effect", (unknown, 300), (fine, 430), right=fine)] * 19
    alarmed = life("no effect", (unknown, 300), (dearer, 1), (fine, 429), right=fine)
    dear = [life("cost +2 bps", (unknown, 179), (dearer, 551), right=dearer)] * 9
    late = life("cost +2 bps", (unknown, 180), (dearer, 550), right=dearer)
    mistaken = life("cost +2 bps", (unknown, 60), (lost, 1), (dearer, 669), right=dearer)
    gone = [life("edge gone", (unknown, 364), (lost, 366))] * 5
    later = [life("edge gone", (unknown, 700), (lost, 30))] * 3
    never = [life("edge gone", (unknown, 400), (fine, 330))] * 2
    book = Book((lost, dearer, fine), (((lost, unknown, dearer),) * 730))
    lives = [*healthy, alarmed, *dear, late, *gone, *later, *never]
    assert [round(each.share, 3) for each in claims(lives)] == [0.05, 0.9, 0.5, 0.8, 0.877, 1.0]
    text, missed = page(POLICY, "", lives, [book])
    assert missed == ["normal: edge gone, looks before that say INCONCLUSIVE"]
    assert "| 365 | 50.0 ± 0.0 | 100.0 ± 0.0 | 0.0 ± 0.0 |" in text
    assert "first change reported is EXECUTION, within 180 days" in page(POLICY, "", [*lives, mistaken], [book])[1][0]


def test_a_small_version_of_the_study_keeps_its_targets_within_the_error_of_counting() -> None:
    def lives(truth: str, repetitions: int) -> list[Life]:
        scenario = next(i for i, (each, noise) in enumerate(study.SCENARIOS) if (each.what, noise) == (truth, "normal"))
        return [study.lived(OTHER_SEED, scenario, each, study.normal, POLICY) for each in range(repetitions)]

    counted = {each.what: each for name in ("no effect", "cost +2 bps", "edge gone") for each in claims(lives(name, 6))}
    assert len(counted) == 6
    for claim in counted.values():
        if claim.at_most is not None:
            assert claim.share * claim.of <= binom.ppf(0.999, claim.of, claim.at_most), claim
        elif claim.at_least is not None and "looks" not in claim.what:
            assert claim.share * claim.of >= binom.ppf(0.001, claim.of, claim.at_least), claim
