"""The shipped alert rules on simulated weeks with a journal of faults, against baselines; writes the page.

Belongs here: the study. Doesn't: the weeks (``_alert_weeks``), the systems (``_alert_systems``, ``_alert_plain``,
``_alert_ablations``), the scores (``_alert_scores``), the text (``_alert_page``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
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


def trained(around: Surroundings, plan: Plan) -> tuple[list[System], Score]:
    """Return the shipped rules and the baselines tuned to detect as much, and what the shipped ones did in training."""
    begin, end = WEEKS * WEEK, (WEEKS + plan.training) * WEEK
    cases = cases_of(around, begin, end)
    adjustable = [name for name in RULES if any(bound.metric in TUNED for bound in SHIPPED.by_id[name].bounds())]

    def tried(make: Callable[[dict[str, float]], System], levels: Sequence[float], what: str) -> dict[float, Score]:
        return {
            level: score(run(around, make(dict.fromkeys(adjustable, level)), begin, end), cases, begin, end)
            for level in track(levels, what)
        }

    own = tried(contextual, [each for each in TIMES if each >= 1], "levels of the shipped rules")
    plain = tried(static, TIMES, "constant levels")
    deviations = tried(z_scores, LIMITS, "limits of z")
    required = own[1.0]
    systems = [
        shipped(),
        contextual({rule: tuned(own, rule, required) for rule in adjustable}),
        static({rule: tuned(plain, rule, required) for rule in adjustable}),
        day_and_night({rule: tuned_by_clock(plain, rule, required) for rule in adjustable}),
        z_scores({rule: tuned(deviations, rule, required) for rule in adjustable}),
    ]
    return systems, required


def trained_plain(around: Surroundings, plan: Plan, required: Score) -> dict[str, list[Plain]]:
    """Return the plain baselines by the way they were tuned, rule by rule, to detect as much as the shipped rules."""
    begin, end = WEEKS * WEEK, (WEEKS + plan.training) * WEEK
    cases = cases_of(around, begin, end)

    def tried(make: Callable[[dict[str, Setting]], Plain], levels: Sequence[float]) -> dict[Setting, Score]:
        settings = [Setting(level, lasting) for level in levels for lasting in LASTING]
        return {
            each: score(make(dict.fromkeys(RULES, each)).run(around, begin, end), cases, begin, end)
            for each in settings
        }

    constant, deviations = tried(plain_static, PLAIN_TIMES), tried(plain_z, PLAIN_LIMITS)

    def of(scores: dict[Setting, Score], way: Tuning, rule: str) -> dict[Setting, Score]:
        return {each: found for each, found in scores.items() if way.free or each.lasting == shipped_lasting(rule)}

    return {
        what: [
            plain_static({rule: tuned(of(constant, way, rule), rule, required, within=way.within) for rule in RULES}),
            plain_day_and_night(
                {rule: tuned_by_clock(of(constant, way, rule), rule, required, way.within) for rule in RULES}
            ),
            plain_z({rule: tuned(of(deviations, way, rule), rule, required, within=way.within) for rule in RULES}),
        ]
        for what, way in TUNINGS.items()
    }


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
    own, required = trained(around, plan)
    plain = trained_plain(around, plan, required)
    systems = [*own, *plain[next(iter(TUNINGS))]]
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
    )
    given.page.write_text(page(plan, findings), encoding="utf-8")
    return 0 if all(claim.holds for claim in targets(findings.faulty, findings.quiet)) else 1


if __name__ == "__main__":
    sys.exit(main())
