"""What a year of live trading becomes when the same candidates are promoted informally, by a rule, and by these gates.

Each desk has the same kinds of candidates, drawn anew. Measuring their searches is slow and kept on disk; promoting and
living through the year is fast and done anew each time. The page is written whatever it says.

Belongs here: measuring, the policies, the command. Doesn't: drawing (``_outcome_draws``), what each regime does
(``_outcome_regimes``), the page (``_outcome_page``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.progress import track

from benchmarks import false_promotions as study
from benchmarks._outcome_draws import KINDS, MIXTURES, TRIALS, drawn
from benchmarks._outcome_page import page
from benchmarks._outcome_regimes import Rules, Year, proposals, years
from research_to_prod.gates.evaluation import evaluate
from research_to_prod.gates.evidence import Studies
from research_to_prod.gates.policy import load_policy
from research_to_prod.settings import Settings
from research_to_prod.values import Verdict, digest

PAGE = study.PACKAGE.parent / "docs" / "outcomes.md"
DESKS = 200
POLICY = load_policy(study.POLICY)


def measured(task: study.Task) -> Studies:
    """Return the figures of the search behind candidate ``task[0]`` of desk ``task[1]``.

    None are measured where the policy fails the candidate without them: no figure turns a FAIL into a PASS.
    """
    number, desk = task
    candidate = drawn(number, desk)
    evidence = study.evidence_of(candidate.research, candidate.kind.sharpe or 3.0, Studies())
    if evaluate(POLICY, evidence).verdict is Verdict.FAIL:
        return Studies()
    found = study.measure(candidate.research, digest([study.SEED, number, desk]))
    return Studies({(each.study, each.item, each.metric): each.value for each in found})


class State(study.State):
    """The measurements of this study."""

    name = "outcomes"
    draws: Sequence[object] = [TRIALS, POLICY.sha256, *(repr(each) for each in KINDS)]
    measured = staticmethod(measured)


def tasks_of(desks: int) -> list[study.Task]:
    return [(number, desk) for desk in range(desks) for number in range(len(KINDS))]


def lived(desk: int, studies: Sequence[Studies], rules: Rules) -> dict[str, dict[str, Year]]:
    """Return one desk's year with each mixture of candidates, under each regime."""
    every = proposals([drawn(number, desk) for number in range(len(KINDS))], studies, rules)
    return {name: years([every[number] for number in numbers]) for name, numbers in MIXTURES.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--desks", type=int, default=DESKS, help="so many desks")
    parser.add_argument("--measured", action="store_true", help="use the desks measured already, and measure no more")
    parser.add_argument("--state", type=Path, default=Settings().data / "studies", help="folder of the measurements")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    state = State(given.state)
    rows = state.read() if given.measured else state.measure(tasks_of(given.desks))
    desks = [desk for desk in range(given.desks) if all((number, desk) in rows for number in range(len(KINDS)))]
    rules = Rules.shipped()
    with ProcessPoolExecutor(study.WORKERS) as pool:
        running = [
            pool.submit(lived, desk, [rows[number, desk] for number in range(len(KINDS))], rules) for desk in desks
        ]
        found = [each.result() for each in track(running, "living")]
    text = page(found, rules, planned=DESKS)
    given.page.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
