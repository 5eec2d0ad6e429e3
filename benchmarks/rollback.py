"""How long the rollback's detectors run, with and without a reason to fire; writes the page, whatever it says.

Drawn days go through the compiled detectors that judge real ones, with the thresholds of the shipped policy. Takes some
minutes.

Belongs here: scenarios, the page. Doesn't: drawing (``_rollback_paths``), and anything that moves a threshold.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import research_to_prod
from benchmarks._rollback_paths import FIRED, NOISE, draw, run
from benchmarks._tables import table
from research_to_prod.gates.statistics import cusum_average_run_length
from research_to_prod.promotion.rollback.baseline import Baseline, BaselineError, Standard, held_to_edge, held_to_shadow
from research_to_prod.promotion.rollback.design import Design, daily_shift, design
from research_to_prod.promotion.rollback.history import rules
from research_to_prod.promotion.rollback.policy import Canary, Confidence, load_rollback_policy
from research_to_prod.promotion.rollback.watch import Watch
from research_to_prod.research.metrics import DAYS_A_YEAR
from research_to_prod.values import Stage, StrategyType

PACKAGE = Path(research_to_prod.__file__).parent
POLICY = PACKAGE / "desk" / "policies" / "rollback.yaml"
PAGE = PACKAGE.parent / "docs" / "rollback.md"

SEED, PATHS, REFERENCE, LONG_REFERENCE = 20261129, 20_000, 1088, 200_000
SHARPE = 3.0
PROMISED = 4
"""So many of the kinds of noise are promised to run as long as the theory says, within `TOLERANCE`."""
TOLERANCE = 0.10


@dataclass(frozen=True)
class Length:
    """A measured mean, its Monte-Carlo error, and how many paths were still running when the count ended."""

    mean: float
    error: float
    unfinished: int

    def against(self, theory: float) -> float:
        """Return by how much the mean is above a theoretical one, as a share of it."""
        return self.mean / theory - 1

    def __str__(self) -> str:
        more = f" ({self.unfinished} unfinished)" if self.unfinished else ""
        return f"{self.mean:,.0f} ± {self.error:,.0f}{more}"


def length(days: npt.NDArray[np.int64], longest: int) -> Length:
    return Length(float(days.mean()), float(days.std() / math.sqrt(len(days))), int((days == longest).sum()))


def watch(shipped: Design, kind: int, sharpe: float, reference: int | None, seed: int) -> Watch:
    """Return the rules for a strategy of unit daily deviation and a true annual Sharpe ratio.

    Parameters
    ----------
    reference
        Days on which its mean and noise were estimated; None: its true mean, and the noise of a very long reference.
    """
    own, mean = shipped.standardisation, daily_shift(sharpe)
    noise = draw(seed, kind, reference or LONG_REFERENCE)
    if reference is None:
        residual = held_to_shadow(noise, own)
        return Watch("drawn", "0" * 64, Stage.LIVE, shipped, Baseline(replace(residual, centre=mean), residual))
    edge = held_to_edge(noise + mean, own)
    return Watch("drawn", "0" * 64, Stage.LIVE, shipped, Baseline(edge, held_to_shadow(noise, own)))


@cache
def known(shipped: Design, kind: int, sharpe: float, paths: int) -> npt.NDArray[Any]:
    return np.full(paths, rules(watch(shipped, kind, sharpe, None, SEED)))


def estimated(shipped: Design, kind: int, sharpe: float, paths: int) -> tuple[npt.NDArray[Any], int]:
    """Return the rules of paths that each estimate their own reference, and how many references showed no edge."""
    found, refused = [], 0
    for path in range(paths):
        try:
            found.append(rules(watch(shipped, kind, sharpe, REFERENCE, SEED + 1 + path)))
        except BaselineError:
            refused += 1
    return np.array(found), refused


@dataclass(frozen=True)
class Measured:
    """How long one detector ran: until it was first beyond its limit, and until that was confirmed and it fired."""

    first: Length
    fired: Length
    within_a_year: float


def measured(
    shipped: Design, kind: int, detector: str, judged_by: npt.NDArray[Any], mean: float, theory: float
) -> Measured:
    """Return the run lengths of one detector, counted up to 20 times what the theory says."""
    # Run lengths are about exponential: beyond 20 means lies one path in a hundred million.
    longest, which = int(20 * min(theory, 3000)), FIRED.index(detector)
    crossed, fired = run(
        SEED, kind, judged_by, mean=mean, until=detector, longest=longest, audit_limit=shipped.audit_limit
    )
    within = float((fired[:, which] <= DAYS_A_YEAR).mean())
    return Measured(length(crossed[:, which], longest), length(fired[:, which], longest), within)


def false_alarms(shipped: Design, kind: int, detector: str, paths: int) -> tuple[float, Measured]:
    """Return the declared days between false alarms of a healthy Sharpe-3 strategy, and the measured ones."""
    theory = {
        "implementation": shipped.implementation.run_length / 2,
        "edge": shipped.edge.run_length,
        "audit": math.expm1(shipped.audit_limit),
    }[detector]
    mean = 0.0 if detector == "implementation" else daily_shift(SHARPE)
    return theory, measured(shipped, kind, detector, known(shipped, kind, SHARPE, paths), mean, theory)


def canary(kind: int, judged_by: npt.NDArray[Any], sharpe: float) -> tuple[float, float, Length]:
    """Return the shares of canaries that are demoted and kept, and the days to either answer."""
    longest = 5000
    _, fired = run(
        SEED, kind, judged_by, mean=daily_shift(sharpe), until="canary lost", longest=longest, audit_limit=math.inf
    )
    lost, kept = fired[:, 2] < longest, fired[:, 3] < longest
    return float(lost.mean()), float(kept.mean()), length(fired[:, 2:4].min(axis=1), longest)


def false_alarm_rows(shipped: Design, detector: str, paths: int) -> tuple[list[list[str]], list[str]]:
    """Return the table's rows, and the kinds of noise that miss the promise."""
    rows, missed = [], []
    for kind, noise in enumerate(NOISE):
        theory, found = false_alarms(shipped, kind, detector, paths)
        off = found.first.against(theory)
        judged = kind < PROMISED and detector != "audit"
        if judged and abs(off) > TOLERANCE:
            missed.append(f"{detector}, {noise}")
        promise = ("holds" if abs(off) <= TOLERANCE else "MISSED") if judged else "reported"
        book = shipped.strategies * DAYS_A_YEAR / found.fired.mean
        rows.append(
            [noise, f"{theory:,.0f}", str(found.first), f"{off:+.1%} ± {found.first.error / theory:.1%}", promise,
             str(found.fired), f"{found.within_a_year:.1%}", f"{book:.2f}"]
        )  # fmt: skip
    return rows, missed


def exact_delay(reference: float, threshold: float, shift: float) -> float:
    return cusum_average_run_length(reference, threshold, shift)


def delay_rows(shipped: Design, paths: int) -> list[list[str]]:
    """Return how long a lost edge goes unnoticed, its mean known and its mean estimated."""
    rows = []
    for sharpe in (3.0, 1.5):
        for kind, noise in enumerate(NOISE[:PROMISED]):
            exact = exact_delay(shipped.edge.reference, shipped.edge.threshold, daily_shift(sharpe))
            if kind == 3:
                # The long-run deviation of AR(1) is larger: the same edge is a smaller shift.
                exact = exact_delay(
                    shipped.edge.reference, shipped.edge.threshold, daily_shift(sharpe) * math.sqrt(0.8 / 1.2)
                )
            found = measured(shipped, kind, "edge", known(shipped, kind, sharpe, paths), 0.0, max(exact, 500))
            audit = measured(shipped, kind, "audit", known(shipped, kind, sharpe, paths // 4), 0.0, 1460)
            rows.append(
                [
                    f"Sharpe {sharpe:g} to 0",
                    noise,
                    f"{exact:,.0f}",
                    str(found.first),
                    str(found.fired),
                    str(audit.first),
                ]
            )
    return rows


def drift_rows(shipped: Design, paths: int) -> list[list[str]]:
    """Return how long two basis points of cost go unnoticed, by the noise of a day's residual."""
    rows = []
    for noise_bps in (5.0, 10.0, 20.0):
        for kind, noise in enumerate(NOISE[:PROMISED]):
            shift = 2.0 / noise_bps
            found = measured(shipped, kind, "implementation", known(shipped, kind, SHARPE, paths), -shift, 1460)
            scaled = shift * math.sqrt(0.8 / 1.2) if kind == 3 else shift
            exact = exact_delay(shipped.implementation.reference, shipped.implementation.threshold, scaled)
            rows.append([f"{noise_bps:g}", noise, f"{exact:,.0f}", str(found.first), str(found.fired)])
    return rows


def estimation_rows(shipped: Design, paths: int) -> list[list[str]]:
    """Return what an estimated reference does, by the confidence of the bound that a candidate is held to."""
    rows = []
    for confidence in (0.5, 0.75, 0.95):
        bound = Confidence(value=confidence, why="A row of the page that compares three of them.")
        other = replace(
            shipped, standardisation=shipped.standardisation.model_copy(update={"reference_confidence": bound})
        )
        for sharpe in (3.0, 1.5):
            judged_by, refused = estimated(other, 0, sharpe, paths)
            healthy = measured(other, 0, "edge", judged_by, daily_shift(sharpe), 1460)
            lost = measured(other, 0, "edge", judged_by, 0.0, 1460)
            share = f"{refused / paths:.1%}"
            rows.append(
                [f"{confidence:g}", f"{sharpe:g}", share, f"{healthy.within_a_year:.1%}",
                 f"{shipped.strategies * healthy.within_a_year:.2f}", f"{lost.within_a_year:.1%}", str(lost.fired)]
            )  # fmt: skip
    return rows


def canary_rows(shipped: Design, rules: Canary, paths: int) -> tuple[list[list[str]], list[str]]:
    """Return the table's rows, and the kinds of noise in which the test errs more often than the policy declares."""
    rows, missed = [], []
    for kind, noise in enumerate(NOISE[:PROMISED]):
        for sharpe in (SHARPE, 0.0):
            lost, kept, days = canary(kind, known(shipped, kind, SHARPE, paths), sharpe)
            wrong, declared = (lost, rules.wrongly_demoted.value) if sharpe else (kept, rules.wrongly_kept.value)
            promise = "holds" if wrong <= declared else "MISSED"
            if promise == "MISSED":
                missed.append(f"canary, {noise}, Sharpe {sharpe:g}")
            rows.append([noise, f"{sharpe:g}", f"{lost:.1%}", f"{kept:.1%}", f"{declared:.0%}", promise, str(days)])
    return rows, missed


def simpler_rows(shipped: Design, paths: int) -> list[list[str]]:
    """Return how far off the declared run lengths simpler standardisations are, for the same shifts and thresholds."""
    own, rows = shipped.standardisation, []

    def held(kind: int, **changed: float) -> Standard:
        numbers = {name: getattr(own, name).model_copy(update={"value": value}) for name, value in changed.items()}
        return held_to_shadow(draw(SEED, kind, LONG_REFERENCE), own.model_copy(update=numbers))

    def off(detector: str, kind: int, standard: Standard, **changed: float) -> str:
        mean = daily_shift(SHARPE) if detector == "edge" else 0.0
        plain = Watch(
            "drawn", "0" * 64, Stage.LIVE, shipped, Baseline(replace(standard, centre=daily_shift(SHARPE)), standard)
        )
        judged_by = np.full(paths, rules(plain))
        for name, value in changed.items():
            judged_by[name] = value
        theory = shipped.edge.run_length if detector == "edge" else shipped.implementation.run_length / 2
        first = measured(shipped, kind, detector, judged_by, mean, theory).first
        return f"{first.against(theory):+.1%} ± {first.error / theory:.1%}"

    for detector in ("edge", "implementation"):
        for kind, noise in enumerate(NOISE):
            bare = held(kind, memory=1.0, clip=1e6)
            divided = replace(bare, autocorrelation=0.0, deviation=bare.long_run_deviation, offset=0.0, scale=1.0)
            rows.append(
                [detector, noise, off(detector, kind, divided, memory=1.0, clip=1e6),
                 off(detector, kind, held(kind, memory=1.0), memory=1.0), off(detector, kind, held(kind))]
            )  # fmt: skip
    return rows


def page(shipped: Design, declared: Canary, paths: int) -> tuple[str, list[str]]:
    """Return the page, and what misses its promise."""
    edge, missed = false_alarm_rows(shipped, "edge", paths)
    implementation, more = false_alarm_rows(shipped, "implementation", paths)
    audit, _ = false_alarm_rows(shipped, "audit", paths // 4)
    missed += more
    canaries, more = canary_rows(shipped, declared, paths)
    missed += more
    alarms = [
        "noise", "declared, days", "first crossing, days", "against declared", "within 10 %", "fired, days",
        "fired within a year", "false alarms a year in the book",
    ]  # fmt: skip
    verdict = f"Missed: {'; '.join(missed)}." if missed else "Every promise holds."
    sections = [
        "# How long the rollback's detectors run",
        "Made by `python -m benchmarks.rollback`, whatever it says; text and numbers are not edited by hand.",
        SETTING.format(paths=paths, charts=_charts(shipped), days=REFERENCE),
        f"## False alarms of a healthy strategy\n\n{FALSE_ALARMS}\n\n{verdict}",
        "### Layer 2: the edge's chart",
        table(alarms, edge),
        "### Layer 1: live against shadow",
        table(alarms, implementation),
        f"### The audit's evidence (e-SR)\n\n{AUDIT}",
        table(alarms, audit),
        f"### What a simpler standardisation would do\n\n{SIMPLER}",
        table(
            ["detector", "noise", "divided by the long-run deviation", "AR(1) and clip, one deviation for all days",
             "as shipped"],
            simpler_rows(shipped, paths // 4),
        ),
        f"## A lost edge\n\n{LOST}",
        table(["edge", "noise", "exact, days", "first crossing, days", "fired, days", "e-SR, days"],
              delay_rows(shipped, paths)),
        f"## Two basis points of cost\n\n{DRIFT}",
        table(["noise of a day, bps", "noise", "exact, days", "first crossing, days", "fired, days"],
              drift_rows(shipped, paths)),
        f"## The canary's test\n\n{CANARY}",
        table(
            ["noise", "true Sharpe", "demoted", "kept", "wrong at most", "declared", "days to an answer"], canaries
        ),
        f"## What an estimated reference costs\n\n{ESTIMATED}",
        table(
            ["confidence", "true Sharpe", "no edge to hold to", "healthy: fired within a year",
             "false alarms in the book's first year", "lost: found within a year", "lost: fired, days"],
            estimation_rows(shipped, paths // 10),
        ),
    ]  # fmt: skip
    return "\n\n".join(sections) + "\n", missed


def _charts(shipped: Design) -> str:
    return "; ".join(
        f"{name}: k = {chart.reference:.4f}, h = {chart.threshold:.3f}"
        for name, chart in (("edge", shipped.edge), ("implementation, each side", shipped.implementation))
    )


SETTING = """\
Drawn days go through the compiled detectors that judge real ones, with the thresholds that follow from the shipped \
policy (`research_to_prod/desk/policies/rollback.yaml`, swing; {charts}). {paths:,} paths for each figure, a quarter \
of them for the evidence and simpler rules, a tenth where every path estimates its own reference; seeds are \
fixed; ± is one standard error of the simulation. A Sharpe ratio is annual, over 365 days of unit deviation; \
GARCH(1, 1) has 0.08 and 0.90; the skewed noise falls by four deviations on one day in fifty.

A day's result becomes an observation in three steps: what the day before foretold is taken out (AR(1)), the rest is \
divided by the exponentially weighted deviation known the day before, and clipped at three. Up to the last section \
the true mean is known, and the noise is estimated on 200,000 other days: these sections are about the charts. The \
last one is about strategies, of which {days:,} days are known.

"First crossing" is the detector whose run length theory gives; "fired" is when it acts, after three clean days in a \
row beyond the limit. Charts start at zero, from where a change takes longest to find. Autocorrelation of 0.2 makes \
the long-run deviation larger by a fifth: the same Sharpe ratio or drift is then a smaller shift, found later."""

FALSE_ALARMS = """\
The declared days follow from the policy: 365 times the strategies of the book, over its false alarms a year. The \
first crossing is held against them, within 10 % for the first four kinds of noise. The confirmation makes the rate \
at which strategies are taken back lower than declared, by what the last column says (declared: 1)."""
AUDIT = """\
It promises at most the declared rate whatever the stopping, for observations that are sub-Gaussian with deviation \
1. It acts on nothing."""
SIMPLER = """\
First crossings against declared, as above. Dividing by the long-run deviation is what the charts' theory asks for; \
its steps are not independent, though, nor of one size."""
LOST = "The strategy was held to its true mean; from the first day on it earns nothing."
DRIFT = """\
From the first day on live earns two basis points a day less than its shadow. Which noise a desk has depends on how \
often it trades and how well fills are matched; three are shown."""
CANARY = """\
Declared: a canary with the whole edge (Sharpe 3) is demoted in at most 5 %, one without any is kept in at most 10 %. \
Three clean days beyond the limit are asked of either answer; one that hasn't come after 5,000 days is neither.

Declared is what the policy allows, whatever the noise. The shift that the test looks for is the lost Sharpe ratio in \
the candidate's own long-run deviation: days that follow each other carry less evidence each, and the test takes \
longer instead of erring more often. With the shift of independent days it kept 18.9 % of the canaries without an edge \
under AR(1) 0.2 (seed 20261125)."""
ESTIMATED = """\
Each path estimates mean and noise on its own reference of normal noise, and is held to the lower bound of the mean \
at the confidence. A reference whose bound is not above zero can hold to nothing, and is refused. "Lost: fired" \
counts up to 29,200 days."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--paths", type=int, default=PATHS, help="paths of each figure")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    policy = load_rollback_policy(POLICY).for_type(StrategyType.SWING)
    text, missed = page(design(policy, StrategyType.SWING), policy.canary, given.paths)
    given.page.write_text(text)
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
