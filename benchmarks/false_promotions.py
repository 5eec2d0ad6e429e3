"""How often the shipped gates promote noise, and how often they find an edge that was planted; writes the page.

Each repetition is one research project: 500 trials over 1,088 days are drawn, the best in sample becomes the candidate,
its evidence is made by the pipeline's own functions, and the shipped policy judges it. Measuring is slow and is kept on
disk, repetition by repetition; judging is fast and done anew each time, so a changed threshold costs a minute.

Belongs here: drawing, counting, the page. Doesn't: arithmetic of gates, and anything that makes a candidate pass.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

import research_to_prod
from benchmarks._promotion_rates import Outcome, page
from research_to_prod.gates import statistics
from research_to_prod.gates.evaluation import evaluate
from research_to_prod.gates.evidence import Evidence
from research_to_prod.gates.policy import Policy, load_policy
from research_to_prod.promotion.code_identity import sources_sha256
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR, max_drawdown
from research_to_prod.settings import Settings
from research_to_prod.values import StrategyType, digest

PACKAGE = Path(research_to_prod.__file__).parent
POLICY = PACKAGE / "desk" / "policies" / "research_to_paper.yaml"
PAGE = PACKAGE.parent / "docs" / "false_promotions.md"
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]

SEED, DAYS, TRIALS, WORKERS = 20261122, 1088, 500, 2
VOLATILITY = 0.01
"""Daily; 19 % a year, about what a strategy is levered to."""
COSTS_OF_EDGE = 0.25
"""Base costs as a share of the net edge: a fifth of what is earned before costs. Noise pays what Sharpe 3 would."""


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_normal(shape)


def fat_tailed(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student's t with 4 degrees of freedom: infinite kurtosis."""
    return rng.standard_t(4, shape) / math.sqrt(2)


def autocorrelated(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """First-order autoregression with coefficient 0.1."""
    from scipy.signal import lfilter

    shocks = rng.standard_normal((shape[0] + 50, shape[1])) * math.sqrt(1 - 0.1**2)
    return np.asarray(lfilter([1.0], [1.0, -0.1], shocks, axis=0))[50:]


def clustered(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Normal shocks under one GARCH(1, 1) volatility (0.08, 0.90), as trials on one market share it."""
    burn, variance, path = 250, 1.0, []
    for shock in rng.standard_normal(shape[0] + burn):
        path.append(variance)
        variance = 0.02 + variance * (0.08 * shock**2 + 0.90)
    return rng.standard_normal(shape) * np.sqrt(path[burn:])[:, None]


@dataclass(frozen=True)
class Scenario:
    """What is true of the trials that a repetition draws.

    Parameters
    ----------
    family
        The first so many trials are correlated with each other, and carry the edge.
    sharpe
        Annual Sharpe ratio of each of the family.
    """

    what: str
    repetitions: int
    noise: Noise = normal
    family: int = 0
    correlation: float = 0.0
    sharpe: float = 0.0

    def draw(self, seed: np.random.SeedSequence, days: int = DAYS, trials: int = TRIALS) -> Floats:
        """Return (days, trials) daily net returns."""
        rng = np.random.default_rng(seed)
        noise = self.noise(rng, (days, trials))
        if self.correlation:
            shared = self.noise(rng, (days, 1))
            own = noise[:, : self.family] * math.sqrt(1 - self.correlation)
            noise[:, : self.family] = math.sqrt(self.correlation) * shared + own
        noise[:, : self.family] += self.sharpe / math.sqrt(DAYS_A_YEAR)
        return noise * VOLATILITY


def planted(sharpe: float, family: int, repetitions: int) -> Scenario:
    where = "all" if family == TRIALS else str(family)
    return Scenario(f"Sharpe {sharpe:g} in {where}", repetitions, family=family, correlation=0.9, sharpe=sharpe)


SCENARIOS = (
    Scenario("noise, independent", 200),
    Scenario("noise, correlation 0.5", 200, family=TRIALS, correlation=0.5),
    Scenario("noise, fat tails", 200, noise=fat_tailed),
    Scenario("noise, autocorrelation 0.1", 200, noise=autocorrelated),
    Scenario("noise, clustered volatility", 200, noise=clustered),
    *(planted(3.0, family, 100) for family in (1, 25, 100, TRIALS)),
    *(planted(2.0, family, 100) for family in (1, 25, 100, TRIALS)),
)


def best_of(returns: Floats) -> int:
    """Return the trial with the best Sharpe ratio in sample: what a researcher would propose."""
    return int(np.argmax(statistics.sharpe_moments(returns.T)[:, 0]))


def measure(returns: Floats, seed: np.random.SeedSequence) -> list[list[object]]:
    """Return the rows (study, item, metric, value) that are slow to compute and that no threshold changes."""
    resampling, bootstrap = seed.spawn(2)
    overfitting = statistics.probability_of_backtest_overfitting(returns)
    ability = statistics.superior_predictive_ability(returns, seed=resampling)
    interval = statistics.stationary_bootstrap_interval(returns[:, best_of(returns)], seed=bootstrap, reps=2000)
    return [
        ["overfitting", "all", "pbo", overfitting.probability],
        ["overfitting", "all", "loss_probability", overfitting.loss_probability],
        ["selection", "all", "spa_consistent", ability.consistent],
        ["bootstrap", "all", "sharpe_lower_95", interval.lower * math.sqrt(DAYS_A_YEAR)],
    ]


def evidence_of(returns: Floats, rows: Sequence[Sequence[object]], edge: float) -> Evidence:
    """Return the candidate's evidence, as the pipeline gathers it from such a search.

    Parameters
    ----------
    edge
        Annual Sharpe ratio of which base costs are `COSTS_OF_EDGE`.
    """
    best = returns[:, best_of(returns)]
    cost = COSTS_OF_EDGE * edge / math.sqrt(DAYS_A_YEAR) * VOLATILITY
    equity = np.cumprod(1 + best)
    return Evidence(
        candidate="drawn",
        strategy_type=StrategyType.SWING,
        completeness={"DRAWN/USDT": (1, 1)},
        unresolved={"DRAWN/USDT": ()},
        daily_returns=best,
        stressed_returns={multiple: best - (multiple - 1) * cost for multiple in (1.5, 2.0)},
        max_drawdown=max_drawdown(equity, 1.0),
        n_trials=returns.shape[1],
        trial_sharpes=np.sort(statistics.sharpe_moments(returns.T)[:, 0]),
    )


SETTING = f"""\
Each repetition is one research project. It draws the daily net returns of {TRIALS} trials over {DAYS:,} days (seed \
{SEED}; {VOLATILITY:.0%} daily volatility), and proposes the trial with the best Sharpe ratio in sample. The candidate's \
evidence is made by the functions of the pipeline, with all {TRIALS} trials counted, and the shipped policy judges it.

- **Noise** has no edge: independent normal; correlated 0.5; Student's t with 4 degrees of freedom; autocorrelation 0.1; \
volatility that clusters (GARCH(1, 1) with 0.08 and 0.90, one for all trials).
- **Sharpe s in k** plants the annual Sharpe ratio s in k of the {TRIALS} trials, whose noise is correlated 0.9; the \
others are independent noise.
- Returns are net of base costs, which take {COSTS_OF_EDGE:.0%} of the planted net edge once (noise pays what Sharpe 3 \
would); under costs multiplied by m they take it m - 1 times more.
- The error is binomial; the interval is exact (Clopper and Pearson)."""

HELD_CONSTANT = """\
Drawn returns have no bars, so what needs bars is given as passed and says nothing here: completeness and findings of \
the data. Drawdown is of daily equity; that of hourly equity is deeper."""

Task = tuple[int, int]
"""Number of a scenario, and of a repetition of it."""
Rows = list[list[object]]


def drawn(task: Task) -> tuple[Floats, np.random.SeedSequence]:
    """Return the trials of a repetition, and the seed of what its evidence resamples."""
    draw, resample = np.random.SeedSequence((SEED, *task)).spawn(2)
    return SCENARIOS[task[0]].draw(draw), resample


def measured(task: Task) -> Rows:
    return measure(*drawn(task))


def judged(task: Task, rows: Rows, policy: Policy) -> Outcome:
    """Return what the policy says of the repetition's candidate."""
    scenario, (returns, _) = SCENARIOS[task[0]], drawn(task)
    report = evaluate(policy, evidence_of(returns, rows, scenario.sharpe or 3.0))
    gates = {gate.gate: (gate.verdict, gate.value) for gate in report.gates if gate.gating}
    carries = bool(scenario.sharpe) and best_of(returns) < scenario.family
    return Outcome(scenario.what, scenario.sharpe, carries, report.verdict, gates)


class State:
    """The measurements made so far, one JSON line each; a line torn by a crash is measured again.

    The file is named after all that measurements follow from, so that none outlives a change of the code.
    """

    def __init__(self, folder: Path) -> None:
        follows_from = {
            "seed": SEED,
            "scenarios": [[each.noise.__name__, each.family, each.correlation, each.sharpe] for each in SCENARIOS],
            "statistics": sources_sha256(PACKAGE / "gates" / "statistics"),
            "numpy": np.__version__,
        }
        self.path = folder / f"false_promotions_{digest(follows_from)[:12]}.jsonl"

    def read(self) -> dict[Task, Rows]:
        if not self.path.exists():
            return {}
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        self.path.write_text(whole)
        return {(each["scenario"], each["repetition"]): each["rows"] for each in map(json.loads, whole.splitlines())}

    def measure(self, tasks: Sequence[Task]) -> dict[Task, Rows]:
        """Return the measurements of all tasks, making those that are missing."""
        known = self.read()
        missing = [task for task in tasks if task not in known]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file, ProcessPoolExecutor(WORKERS) as pool:
            running = {pool.submit(measured, task): task for task in missing}
            for done in track(as_completed(running), "measuring", total=len(missing)):
                scenario, repetition = task = running[done]
                known[task] = done.result()
                line = {"scenario": scenario, "repetition": repetition, "rows": known[task]}
                file.write(json.dumps(line) + "\n")
                file.flush()
        return {task: known[task] for task in tasks}


def tasks_of(repetitions: int | None) -> list[Task]:
    """Return every repetition of every scenario, or the first so many of each."""
    return [
        (number, repetition)
        for repetition in range(max(each.repetitions for each in SCENARIOS))
        for number, each in enumerate(SCENARIOS)
        if repetition < min(each.repetitions, repetitions or each.repetitions)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repetitions", type=int, help="at most so many of each scenario (default: all)")
    parser.add_argument("--state", type=Path, default=Settings().data / "studies", help="folder of the measurements")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    policy, tasks = load_policy(POLICY), tasks_of(given.repetitions)
    rows = State(given.state).measure(tasks)
    with ProcessPoolExecutor(WORKERS) as pool:
        running = [pool.submit(judged, task, rows[task], policy) for task in tasks]
        outcomes = [each.result() for each in track(running, "judging")]
    text, missed = page(policy, SETTING, HELD_CONSTANT, outcomes)
    given.page.write_text(text)
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
