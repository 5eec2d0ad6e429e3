"""The shipped alert rules on simulated weeks with a journal of faults, against baselines; writes the page.

Belongs here: the study. Doesn't: the weeks (``_alert_weeks``), the systems (``_alert_systems``), the scores
(``_alert_scores``), the text (``_alert_page``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import track

from benchmarks._alert_incidents import incidents_week
from benchmarks._alert_page import page, targets
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


def trained(around: Surroundings, plan: Plan) -> list[System]:
    """Return the systems that are compared: the shipped rules first, the baselines tuned to detect as much as they."""
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
    return [
        shipped(),
        contextual({rule: tuned(own, rule, required) for rule in adjustable}),
        static({rule: tuned(plain, rule, required) for rule in adjustable}),
        day_and_night({rule: tuned_by_clock(plain, rule, required) for rule in adjustable}),
        z_scores({rule: tuned(deviations, rule, required) for rule in adjustable}),
    ]


def scores_of(around: Surroundings, systems: Sequence[System], begin: int, end: int) -> dict[str, Score]:
    """Return each system's score between two minutes."""
    cases = cases_of(around, begin, end)
    return {
        each.name: score(run(around, each, begin, end), cases, begin, end) for each in track(systems, "scored weeks")
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    plan = Plan()
    around = surroundings(weeks_of(plan))
    systems = trained(around, plan)
    first = (WEEKS + plan.training) * WEEK
    calm = first + plan.scored * WEEK
    faulty = scores_of(around, systems, first, calm)
    quiet = scores_of(around, systems, calm, calm + plan.calm * WEEK)
    past = surroundings(incidents_week(plan.seed))
    dated = scores_of(past, systems, WEEKS * WEEK, (WEEKS + 1) * WEEK)
    given.page.write_text(page(plan, systems, faulty, quiet, dated), encoding="utf-8")
    return 0 if all(claim.holds for claim in targets(faulty, quiet)) else 1


if __name__ == "__main__":
    sys.exit(main())
