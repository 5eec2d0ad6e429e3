"""The shipped alert rules on simulated weeks with a journal of faults, against baselines; writes the page.

Belongs here: the study. Doesn't: the weeks (``_alert_weeks``), the systems (``_alert_systems``, ``_alert_plain``,
``_alert_ablations``), the scores (``_alert_scores``), the text (``_alert_page``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from benchmarks._alert_ablations import ablations
from benchmarks._alert_incidents import incidents_week
from benchmarks._alert_page import Findings, page, targets
from benchmarks._alert_plain import (
    TUNINGS,
    Plain,
    Setting,
    Tuning,
    plain_day_and_night,
    plain_static,
    plain_z,
    shipped_lasting,
)
from benchmarks._alert_scores import Score, cases_of, score, tuned, tuned_by_clock
from benchmarks._alert_surroundings import TUNED, Surroundings, surroundings
from benchmarks._alert_systems import RULES, SHIPPED, System, contextual, day_and_night, run, shipped, static, z_scores
from benchmarks._alert_weeks import WEEK, Plan, weeks_of
from research_to_prod.market_data.liquidity import WEEKS

PAGE = Path(__file__).parent.parent / "docs" / "alert_quality.md"
TIMES = (0.7, 1.0, 1.5, 2.5, 4.0)
"""What training may multiply a level of normal hours by."""
LIMITS = (7.0, 12.0, 20.0, 35.0)
"""What training may choose as limit of a z-score."""
PLAIN_TIMES = (*TIMES, 6.0, 10.0)
PLAIN_LIMITS = (*LIMITS, 60.0)
LASTING = (0.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds of ``for`` that training may choose for a plain baseline."""
ADJUSTABLE = [name for name in RULES if any(bound.metric in TUNED for bound in SHIPPED.by_id[name].bounds())]
"""The rules with a level that can be moved."""


@dataclass(frozen=True)
class Tried:
    """Every level that could be chosen, with what it came to in some weeks: all rules had the same one.

    Parameters
    ----------
    own
        The shipped rules with their levels times so much.
    constant, deviations
        The baselines with our machinery: one level always, and the limits of a z-score.
    plain, plain_deviations
        The same without it, by level and ``for``.
    """

    own: dict[float, Score]
    constant: dict[float, Score]
    deviations: dict[float, Score]
    plain: dict[Setting, Score]
    plain_deviations: dict[Setting, Score]


def tried(around: Surroundings, begin: int, end: int) -> Tried:
    """Try every level on the weeks between two minutes."""
    cases = cases_of(around, begin, end)

    def ours(make: Callable[[dict[str, float]], System], levels: Sequence[float], what: str) -> dict[float, Score]:
        return {
            level: score(run(around, make(dict.fromkeys(ADJUSTABLE, level)), begin, end), cases, begin, end)
            for level in track(levels, what)
        }

    def plain(make: Callable[[dict[str, Setting]], Plain], levels: Sequence[float]) -> dict[Setting, Score]:
        settings = [Setting(level, lasting) for level in levels for lasting in LASTING]
        return {
            each: score(make(dict.fromkeys(RULES, each)).run(around, begin, end), cases, begin, end)
            for each in settings
        }

    return Tried(
        own=ours(contextual, [each for each in TIMES if each >= 1], "levels of the shipped rules"),
        constant=ours(static, TIMES, "constant levels"),
        deviations=ours(z_scores, LIMITS, "limits of z"),
        plain=plain(plain_static, PLAIN_TIMES),
        plain_deviations=plain(plain_z, PLAIN_LIMITS),
    )


def baselines(found: Tried) -> list[System | Plain]:
    """Return the baselines of both sorts, tuned rule by rule to detect as much as the shipped rules did there."""
    required, free = found.own[1.0], next(iter(TUNINGS.values()))
    return [
        static({rule: tuned(found.constant, rule, required) for rule in ADJUSTABLE}),
        day_and_night({rule: tuned_by_clock(found.constant, rule, required) for rule in ADJUSTABLE}),
        z_scores({rule: tuned(found.deviations, rule, required) for rule in ADJUSTABLE}),
        *plain_baselines(found, free),
    ]


def plain_baselines(found: Tried, way: Tuning) -> list[Plain]:
    """Return the plain ones, tuned in one of the ways."""
    required = found.own[1.0]

    def of(scores: dict[Setting, Score], rule: str) -> dict[Setting, Score]:
        return {each: score for each, score in scores.items() if way.free or each.lasting == shipped_lasting(rule)}

    return [
        plain_static({rule: tuned(of(found.plain, rule), rule, required, within=way.within) for rule in RULES}),
        plain_day_and_night(
            {rule: tuned_by_clock(of(found.plain, rule), rule, required, way.within) for rule in RULES}
        ),
        plain_z({rule: tuned(of(found.plain_deviations, rule), rule, required, within=way.within) for rule in RULES}),
    ]


def scores_of(around: Surroundings, systems: Iterable[System | Plain], begin: int, end: int) -> dict[str, Score]:
    """Return each system's score between two minutes."""
    cases = cases_of(around, begin, end)
    found = {}
    for each in track(list(systems), "scored weeks"):
        watched = each.run(around, begin, end) if isinstance(each, Plain) else run(around, each, begin, end)
        found[each.name] = score(watched, cases, begin, end)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    parser.add_argument(
        "--seed", type=int, default=Plan.seed, help="of the weeks; others than the page's are for trying"
    )
    given = parser.parse_args()
    plan = Plan(given.seed)
    around = surroundings(weeks_of(plan))
    first = (WEEKS + plan.training) * WEEK
    calm = first + plan.scored * WEEK
    after = calm + plan.calm * WEEK
    training, scored = (tried(around, *weeks) for weeks in ((WEEKS * WEEK, first), (first, calm)))
    levels = contextual({rule: tuned(training.own, rule, training.own[1.0]) for rule in ADJUSTABLE})
    systems = [shipped(), levels, *baselines(training)]
    afterwards = baselines(scored)
    plain = {what: plain_baselines(training, way) for what, way in TUNINGS.items()}
    past = surroundings(incidents_week(plan.seed))
    findings = Findings(
        systems=systems,
        faulty=scores_of(around, systems, first, calm),
        quiet=scores_of(around, systems, calm, after),
        dated=scores_of(past, systems, WEEKS * WEEK, (WEEKS + 1) * WEEK),
        plain_faulty={what: scores_of(around, each, first, calm) for what, each in plain.items()},
        plain_quiet={what: scores_of(around, each, calm, after) for what, each in plain.items()},
        ablated_faulty=scores_of(around, ablations(), first, calm),
        ablated_quiet=scores_of(around, ablations(), calm, after),
        hindsight_faulty=scores_of(around, afterwards, first, calm),
        hindsight_quiet=scores_of(around, afterwards, calm, after),
    )
    given.page.write_text(page(plan, findings), encoding="utf-8")
    return 0 if all(claim.holds for claim in targets(findings)) else 1


if __name__ == "__main__":
    sys.exit(main())
