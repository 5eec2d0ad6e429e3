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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

import research_to_prod
from benchmarks._promotion_rates import Outcome, page
from research_to_prod.gates import statistics
from research_to_prod.gates.evaluation import evaluate
from research_to_prod.gates.evidence import Evidence, Studies
from research_to_prod.gates.holdings import Holdings
from research_to_prod.gates.policy import Policy, load_policy
from research_to_prod.gates.validation_statistics import assess_significance
from research_to_prod.promotion.code_identity import sources_sha256
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR, max_drawdown
from research_to_prod.research.validation.cross_validation import cross_validate
from research_to_prod.research.validation.measures import Measure
from research_to_prod.research.validation.splits import TrialPanel
from research_to_prod.research.validation.study import EMBARGO
from research_to_prod.research.validation.walk_forward import walk_forward
from research_to_prod.settings import Settings
from research_to_prod.values import StrategyType, Verdict, digest, sha256_hex

PACKAGE = Path(research_to_prod.__file__).parent
POLICY = PACKAGE / "desk" / "policies" / "research_to_paper.yaml"
PAGE = PACKAGE.parent / "docs" / "false_promotions.md"
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]

Task = tuple[int, int]
"""Number of a scenario, and of a repetition of it."""
SEED, DAYS, TRIALS, WORKERS = 20261125, 1088, 500, 2
"""The draws of seed 20261122 were looked at while the policy was chosen; these were not."""
VOLATILITY = 0.01
"""Daily; 19 % a year, about what a strategy is levered to."""
CAPITAL = 100_000.0
"""A twentieth of the sample desk's book, as its candidates ask for."""
COSTS_OF_EDGE = 0.25
"""Base costs as a share of the net edge: a fifth of what is earned before costs. Noise pays what Sharpe 3 would."""

PURGE = 1
"""Days between training and test; drawn returns look back no further."""


WALKS = ("walk_forward_anchored", "walk_forward_rolling")


def reaches(figure: float | None, threshold: float) -> bool:
    return figure is not None and figure >= threshold


def stays_below(figure: float | None, threshold: float) -> bool:
    return figure is not None and figure <= threshold


ALTERNATIVES: dict[str, Callable[[Studies], bool]] = {
    "PBO <= 0.20 alone": lambda found: stays_below(found.value("overfitting", "pbo"), 0.20),
    "loss <= 0.10 alone": lambda found: stays_below(found.value("overfitting", "loss_probability"), 0.10),
    "efficiency >= 0.5 on both walks": lambda found: all(
        reaches(found.value(walk, "efficiency"), 0.5) for walk in WALKS
    ),
    "positive folds >= 60 % on both walks": lambda found: all(
        reaches(found.value(walk, "positive_share"), 0.6) for walk in WALKS
    ),
}
"""The textbook forms that the policy does not ask for: how each would do."""


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
    """Draw normal shocks under one GARCH(1, 1) volatility (0.08, 0.90), as trials on one market share it."""
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
    *(planted(2.0, family, 50) for family in (1, 25, 100, TRIALS)),
)


def best_of(returns: Floats) -> int:
    """Return the trial with the best Sharpe ratio in sample: what a researcher would propose."""
    return int(np.argmax(statistics.sharpe_moments(returns.T)[:, 0]))


def measure(returns: Floats, candidate_sha256: str) -> list[Measure]:
    """Return the rows of the validation table that a trial matrix has: slow, and no threshold changes them."""
    panel, embargo = TrialPanel(returns), math.ceil(EMBARGO * len(returns))
    rows = [
        *walk_forward(panel, rolling=False, purge=PURGE).measures("walk_forward_anchored"),
        *walk_forward(panel, rolling=True, purge=PURGE).measures("walk_forward_rolling"),
        *cross_validate(panel, purge=PURGE, embargo=embargo).measures(),
        *assess_significance(returns, returns[:, best_of(returns)], candidate_sha256),
    ]
    # A row for each of 500 ranks and of 45 splits is drawn, and judged by no gate.
    return [row for row in rows if not row.item.startswith(("rank_", "split_"))]


NEEDS_BARS: dict[tuple[str, str, str], float | None] = {
    ("neighbourhood", "all", "base_sharpe"): 1.0, ("neighbourhood", "all", "median_ratio"): 1.0,
    ("neighbourhood", "all", "minimum_sharpe"): 1.0, ("neighbourhood", "all", "neighbours"): 8.0,
    ("latency_stress", "delay_1_bars", "sharpe"): 1.0, ("latency_stress", "all", "l_star_ms"): 8.64e7,
    ("latency_stress", "all", "improves_with_latency"): 0.0,
    ("capacity", "1x", "mean"): 1.0, ("capacity", "all", "retained_at_capital"): 1.0,
}  # fmt: skip
"""The figures of studies that drawn returns can't have, given as passed."""
HOLDINGS = Holdings(
    ("DRAWN/USDT",), 1.0, np.full((DAYS, 1), 0.5), np.ones((DAYS, 1)), np.full((DAYS, 1), 1e12), np.zeros(1)
)


def evidence_of(returns: Floats, edge: float, studies: Studies) -> Evidence:
    """Return the candidate's evidence, as the pipeline gathers it from such a search.

    Parameters
    ----------
    edge
        Annual Sharpe ratio of which base costs are `COSTS_OF_EDGE`.
    studies
        What was measured of the search.
    """
    best = returns[:, best_of(returns)]
    cost = COSTS_OF_EDGE * edge / math.sqrt(DAYS_A_YEAR) * VOLATILITY
    equity: Floats = np.cumprod(1 + best)
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
        days=np.datetime64("2023-01-01", "D") + np.arange(len(best)),
        venue="drawn",
        capital=CAPITAL,
        studies=Studies(studies.figures | NEEDS_BARS),
        holdings=HOLDINGS,
        book=(),
    )


SETTING = f"""\
Each repetition is one research project. It draws the daily net returns of {TRIALS} trials over {DAYS:,} days (seed \
{SEED}; {VOLATILITY:.0%} daily volatility), and proposes the trial with the best Sharpe ratio in sample. The \
evidence is made by the functions of the pipeline, with all {TRIALS} trials counted, and the shipped policy judges \
it.

- **Noise** has no edge: independent normal; correlated 0.5; Student's t with 4 degrees of freedom; autocorrelation \
0.1; volatility that clusters (GARCH(1, 1) with 0.08 and 0.90, one for all trials).
- **Sharpe s in k** plants the annual Sharpe ratio s in k of the {TRIALS} trials, whose noise is correlated 0.9; the \
others are independent noise.
- Returns are net of base costs, which take {COSTS_OF_EDGE:.0%} of the planted net edge once (noise pays what Sharpe \
3 would); under costs multiplied by m they take it m - 1 times more.
- The error is binomial; the interval is exact (Clopper and Pearson)."""

HELD_CONSTANT = """\
Drawn returns have no bars and no positions. What needs them is given as passed, and the rates say nothing of it: \
completeness and findings of the data, neighbourhood, delay, capacity, positions and what follows from them \
(concentration, participation, liquidation, shocks), limits. The live book is empty. As gates these can only lower \
both rates. Drawdown is of daily equity; that of hourly equity is deeper."""


def drawn(task: Task) -> Floats:
    return SCENARIOS[task[0]].draw(np.random.SeedSequence((SEED, *task)))


def measured(task: Task) -> Studies:
    found = measure(drawn(task), digest([SEED, *task]))
    return Studies({(each.study, each.item, each.metric): each.value for each in found})


def judged(task: Task, studies: Studies, policy: Policy) -> Outcome:
    """Return what the policy says of the repetition's candidate."""
    scenario, returns = SCENARIOS[task[0]], drawn(task)
    report = evaluate(policy, evidence_of(returns, scenario.sharpe or 3.0, studies))
    gates = {gate.gate: gate.verdict is Verdict.PASS for gate in report.gates if gate.gating}
    alternatives = {name: holds(studies) for name, holds in ALTERNATIVES.items()}
    carries = bool(scenario.sharpe) and best_of(returns) < scenario.family
    return Outcome(scenario.what, scenario.sharpe, carries, report.verdict, gates, alternatives)


class State:
    """The measurements made so far, one JSON line each; a line torn by a crash is measured again.

    The file is named after all that measurements follow from, so that none outlives a change of the code.
    """

    name = "false_promotions"
    draws: Sequence[object] = [[each.noise.__name__, each.family, each.correlation, each.sharpe] for each in SCENARIOS]
    measured = staticmethod(measured)

    def __init__(self, folder: Path) -> None:
        follows_from = {
            "seed": SEED,
            "scenarios": self.draws,
            "statistics": sources_sha256(PACKAGE / "gates" / "statistics"),
            "significance": sha256_hex((PACKAGE / "gates" / "validation_statistics.py").read_bytes()),
            "validation": sources_sha256(PACKAGE / "research" / "validation"),
            "numpy": np.__version__,
        }
        self.path = folder / f"{self.name}_{digest(follows_from)[:12]}.jsonl"

    def read(self) -> dict[Task, Studies]:
        """Return what is there, after cutting off a torn last line."""
        if not self.path.exists():
            return {}
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole)
        return {
            (each["scenario"], each["repetition"]): Studies(
                {(study, item, metric): value for study, item, metric, value in each["figures"]}
            )
            for each in map(json.loads, whole.splitlines())
        }

    def measure(self, tasks: Sequence[Task]) -> dict[Task, Studies]:
        """Return the measurements of all tasks, making those that are missing."""
        known = self.read()
        missing = [task for task in tasks if task not in known]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file, ProcessPoolExecutor(WORKERS) as pool:
            running = {pool.submit(self.measured, task): task for task in missing}
            for done in track(as_completed(running), "measuring", total=len(missing)):
                scenario, repetition = task = running[done]
                known[task] = done.result()
                figures = [[*key, value] for key, value in known[task].figures.items()]
                line = {"scenario": scenario, "repetition": repetition, "figures": figures}
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
    parser.add_argument("--measured", action="store_true", help="judge what is measured already, and measure no more")
    parser.add_argument("--state", type=Path, default=Settings().data / "studies", help="folder of the measurements")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    policy, state, tasks = load_policy(POLICY), State(given.state), tasks_of(given.repetitions)
    rows = state.read() if given.measured else state.measure(tasks)
    tasks = [task for task in tasks if task in rows]
    with ProcessPoolExecutor(WORKERS) as pool:
        running = [pool.submit(judged, task, rows[task], policy) for task in tasks]
        outcomes = [each.result() for each in track(running, "judging")]
    planned = len(tasks_of(None))
    unfinished = f"\n\nMeasured so far: {len(tasks):,} of {planned:,} repetitions." if len(tasks) < planned else ""
    text, missed = page(policy, SETTING + unfinished, HELD_CONSTANT, outcomes)
    given.page.write_text(text)
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
