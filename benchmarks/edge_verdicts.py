"""How often the verdicts on edge and execution are right, at every daily look over two years; writes the page.

Each repetition is one strategy's life of 730 days with a known truth, judged each evening by the shipped policy and
the functions that the pipeline uses. Thresholds were chosen on other seeds than those of the page.

Belongs here: drawing, judging, counting. Doesn't: the page (``_verdict_page``), and anything that helps a verdict.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

import research_to_prod
from benchmarks._sandbox_days import sandbox_days
from benchmarks._verdict_page import LIFE, LOOKED_AT, Book, Life, page
from research_to_prod.attribution.verdict import (
    QUESTIONS,
    EdgeVerdict,
    StrategyRecord,
    all_looks,
    allowed_errors,
    answer,
    judge,
    verdict_of,
)
from research_to_prod.attribution.verdict_policy import AttributionPolicy, load_attribution_policy
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR

PACKAGE = Path(research_to_prod.__file__).parent
POLICY = PACKAGE / "desk" / "policies" / "attribution.yaml"
PAGE = PACKAGE.parent / "docs" / "edge_verdicts.md"

SEED, REPETITIONS, WORKERS = 20261129, 1000, 2
SHARPE = 3.0
"""Annual, of the edge that was approved."""
SHADOW_NOISE, COST_NOISE, SELECTION_NOISE = 100.0, 6.0, 20.0
"""Deviations of a day, in bps of capital."""
ORDERS_A_DAY = 10
EXPECTED = SHARPE / math.sqrt(DAYS_A_YEAR) * SHADOW_NOISE
SANDBOX_SEEDS, SANDBOX_DAYS, SANDBOX_BLOCK = range(101, 107), 150, 5

Noise = Callable[[np.random.Generator, int], Floats]
"""Draws (days, 2) errors of mean 0 and variance 1: shadow P&L and cost."""


def normal(rng: np.random.Generator, days: int) -> Floats:
    return rng.standard_normal((days, 2))


def fat_tailed(rng: np.random.Generator, days: int) -> Floats:
    """Student's t with 4 degrees of freedom: infinite kurtosis."""
    return rng.standard_t(4, (days, 2)) / math.sqrt(2)


def autocorrelated(rng: np.random.Generator, days: int) -> Floats:
    """Cost follows a first-order autoregression with coefficient 0.3, shadow P&L one with 0.1."""
    coefficients = np.array([0.1, 0.3])
    shocks = rng.standard_normal((days + 50, 2)) * np.sqrt(1 - coefficients**2)
    for day in range(1, len(shocks)):
        shocks[day] += coefficients * shocks[day - 1]
    return shocks[50:]


def clustered(rng: np.random.Generator, days: int) -> Floats:
    """Draw normal shocks under one GARCH(1, 1) volatility (0.08, 0.90), which bad days of both share."""
    variance, path = 1.0, []
    for shock in rng.standard_normal(days + 250):
        path.append(variance)
        variance = 0.02 + variance * (0.08 * shock**2 + 0.90)
    return rng.standard_normal((days, 2)) * np.sqrt(path[250:])[:, None]


def resampled(pool: Sequence[Floats]) -> Noise:
    """Return the noise of the sandbox's desk: a stationary bootstrap of the days of one of its strategies.

    Each (days, 2) series of the pool has mean 0 and variance 1. A day's shadow P&L and cost stay together.
    """

    def noise(rng: np.random.Generator, days: int) -> Floats:
        source = pool[int(rng.integers(len(pool)))]
        at = rng.integers(len(source), size=days)
        for day in np.flatnonzero(rng.random(days) >= 1 / SANDBOX_BLOCK):
            if day:
                at[day] = (at[day - 1] + 1) % len(source)
        return source[at]

    return noise


def sandbox_pool(seed: int, days: int = SANDBOX_DAYS) -> list[Floats]:
    """Return the standardised (days, 2) series of each strategy of one sandbox."""
    shadow, cost = sandbox_days(seed, days)
    both = np.stack([shadow, cost], axis=2)
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    return [both[:, strategy] for strategy in range(both.shape[1])]


@dataclass(frozen=True)
class Truth:
    """What is true of a strategy from day ``since`` on; before it, all is as expected.

    Parameters
    ----------
    edge_lost
        Share of the expected edge that is gone.
    cost
        Bps a day that trading costs beyond the model.
    selection
        Bps a day by which the unfilled would have done better than the filled; a fifth of it is lost, as cost.
    right
        The verdict that is right from then on.
    """

    what: str
    right: EdgeVerdict
    edge_lost: float = 0.0
    cost: float = 0.0
    selection: float = 0.0
    since: int = 0

    def draw(self, rng: np.random.Generator, noise: Noise, days: int = LIFE) -> StrategyRecord:
        """Return one life."""
        after = np.arange(days) >= self.since
        errors = noise(rng, days)
        shadow = EXPECTED * (1 - self.edge_lost * after) + SHADOW_NOISE * errors[:, 0]
        cost = (self.cost + self.selection / 5) * after + COST_NOISE * errors[:, 1]
        selection = self.selection * after + SELECTION_NOISE * rng.standard_normal(days)
        return StrategyRecord(self.what, shadow, shadow - cost, EXPECTED, selection, ORDERS_A_DAY * days)


NONE = Truth("no effect", EdgeVerdict.NORMAL)
COST = Truth("cost +2 bps", EdgeVerdict.EXECUTION, cost=2.0)
GONE = Truth("edge gone", EdgeVerdict.EDGE, edge_lost=1.0)
OTHERS = (
    Truth("edge gone, cost +2 bps", EdgeVerdict.BOTH, edge_lost=1.0, cost=2.0),
    Truth("selection 10 bps, cost +2 bps", EdgeVerdict.SELECTION, selection=10.0),
    Truth("edge halved", EdgeVerdict.EDGE, edge_lost=0.5),
    Truth("cost +1 bp", EdgeVerdict.EXECUTION, cost=1.0),
    Truth("cost +2 bps from day 365", EdgeVerdict.EXECUTION, cost=2.0, since=365),
    Truth("edge gone from day 365", EdgeVerdict.EDGE, edge_lost=1.0, since=365),
)
NOISES: Mapping[str, Noise | None] = {
    "normal": normal, "sandbox": None, "fat tails": fat_tailed, "autocorrelated": autocorrelated,
    "clustered": clustered,
}  # fmt: skip
"""By name; that of the sandbox is made from a pool."""
SCENARIOS = [(truth, noise) for truth in (NONE, COST, GONE) for noise in NOISES] + [
    (truth, "normal") for truth in OTHERS
]
BOOK = (GONE, COST, *[NONE] * 6)


def verdicts_by_day(records: Sequence[StrategyRecord], policy: AttributionPolicy) -> list[list[EdgeVerdict]]:
    """Return, for each day of the records, the verdicts of a book of them that evening.

    The same as `judge` on the days so far (a test holds it), with the sums of each series made once.
    """
    alphas = allowed_errors(policy, len(records))
    seen = [all_looks(record.series(), policy, alphas) for record in records]
    return [
        [verdict_of(each) for each in answer([{q: found[q][day] for q in QUESTIONS} for found in seen], policy)]
        for day in range(1, len(records[0].shadow) + 1)
    ]


def until(record: StrategyRecord, day: int) -> StrategyRecord:
    return StrategyRecord(
        record.strategy, record.shadow[:day], record.live[:day], record.expected, record.selection[:day],
        ORDERS_A_DAY * day,
    )  # fmt: skip


def lived(seed: int, scenario: int, repetition: int, noise: Noise, policy: AttributionPolicy) -> Life:
    """Return one strategy's verdicts, alone in its book."""
    truth, name = SCENARIOS[scenario]
    record = truth.draw(np.random.default_rng((seed, scenario, repetition)), noise)
    daily = [verdicts[0] for verdicts in verdicts_by_day([record], policy)]
    horizons = {day: judge([until(record, day)], policy)[0].days_to_decide for day in LOOKED_AT}
    return Life(truth.what, name, truth.right, truth.since, tuple(daily), horizons)


def lived_together(seed: int, repetition: int, policy: AttributionPolicy) -> Book:
    """Return the verdicts of a book of eight."""
    rng = np.random.default_rng((seed, len(SCENARIOS), repetition))
    daily = verdicts_by_day([truth.draw(rng, normal) for truth in BOOK], policy)
    return Book(tuple(each.right for each in BOOK), tuple(tuple(verdicts) for verdicts in daily))


def _task(args: tuple[int, int, range, Sequence[Floats], AttributionPolicy]) -> list[Life]:
    seed, scenario, repetitions, pool, policy = args
    noise = NOISES[SCENARIOS[scenario][1]] or resampled(pool)
    return [lived(seed, scenario, each, noise, policy) for each in repetitions]


def _book_task(args: tuple[int, range, AttributionPolicy]) -> list[Book]:
    seed, repetitions, policy = args
    return [lived_together(seed, each, policy) for each in repetitions]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--seed", type=int, default=SEED, help="another seed to choose thresholds on, never the page's")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    policy = load_attribution_policy(POLICY)
    chunks = [range(first, min(first + 20, given.repetitions)) for first in range(0, given.repetitions, 20)]
    with ProcessPoolExecutor(WORKERS) as workers:
        made = workers.map(sandbox_pool, SANDBOX_SEEDS)
        pool = [each for series in track(made, "sandbox", total=len(SANDBOX_SEEDS)) for each in series]
        tasks = [(given.seed, each, chunk, pool, policy) for each in range(len(SCENARIOS)) for chunk in chunks]
        lives = [life for each in track(workers.map(_task, tasks), "lives", total=len(tasks)) for life in each]
        together = [(given.seed, chunk, policy) for chunk in chunks]
        books = [
            book for found in track(workers.map(_book_task, together), "books", total=len(chunks)) for book in found
        ]
    text, missed = page(policy, SETTING.format(repetitions=given.repetitions, seed=given.seed), lives, books)
    given.page.write_text(text)
    print(f"wrote {given.page}" + (f"; missed: {', '.join(missed)}" if missed else "; every target holds"))
    return 1 if missed else 0


SETTING = f"""\
Each repetition is one strategy's life of {LIFE} days, alone in its book; {{repetitions}} of each truth, seed \
{{seed}}. Every evening the shipped policy judges all days so far, with the functions that the pipeline uses. P&L is \
in basis points of capital a day: the model's expected edge is an annual Sharpe ratio of {SHARPE:g} at \
{SHADOW_NOISE:g} bps of noise, cost has {COST_NOISE:g} bps of noise around what the model charges itself, selection \
{SELECTION_NOISE:g} bps.

The noise is

- **normal**: independent days;
- **sandbox**: days of the sandbox's desk, drawn by a stationary bootstrap with a mean block of {SANDBOX_BLOCK} days \
from {len(SANDBOX_SEEDS)} seeds of {SANDBOX_DAYS} days and four strategies each. Their means are taken away and their \
deviations set to the above, so that the truth is the planted one; fat tails, clustering and the correlation of \
shadow P&L and cost are the sandbox's. **This is a generator calibrated to the sandbox, not the sandbox**: two years \
of its desk take a minute and more, for each of some thousands of lives;
- **fat tails**: Student's t with 4 degrees of freedom; **autocorrelated**: 0.1 for shadow P&L, 0.3 for cost; \
**clustered**: GARCH(1, 1) with 0.08 and 0.90, shared by both.

The weights, days and restarts of the policy were chosen on draws with other seeds, and were not changed after the \
first run with this page's. An earlier study (seed 20261125, 200 lives of each truth) missed two of its targets: with \
normal noise a raised cost was found in 87.5 ± 2.3 % of the lives within 180 days, and autocorrelated costs gave a \
false verdict in 6.0 ± 1.7 %. On 1,300 lives with other seeds the same policy found 91.6 %, and 3.4 % were false. So \
part of it was luck, for which there are more lives now; the rest has two causes.

- Newey-West's few lags see 1.6 of the 1.86 variances that an autocorrelation of 0.3 makes. The series is now \
prewhitened (Andrews and Monahan, 1992), and nothing is judged before day 45 instead of 30. On 1,200 training lives \
false verdicts under autocorrelation went from 5.3 to 3.2 % by the first, at the same power.
- In 180 days, 2 bps a day at a noise of 6 are 4.5 standard errors. At the error that was allowed (half of 0.0225) a \
sequential test that knew both would find 93.5 %, and the mixture, which doesn't know the effect, 91.2 % if it knew \
the noise; estimating that costs another one. There is hardly a better boundary to be had, only a larger share of the \
error: execution got 0.5 of it for 0.45, and the first day two thirds for a half. With them the two find 94.7 and \
93.1 %. The price is paid by the edge, and by changes that come late.

The expected edge is taken as known: one that was estimated too high shows as an edge that is partly gone, which is \
why the deflated backtest is the reference."""


if __name__ == "__main__":
    sys.exit(main())
