"""Counting the study's verdicts, and the page that says what they come to.

Belongs here: rates with their Monte-Carlo error, what each gate costs, the page. Doesn't: drawing and judging.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata

from benchmarks._tables import table
from research_to_prod.gates.policy import Policy
from research_to_prod.values import Verdict

_ALONE = """\
Refused by this gate and by no other, in per cent of all candidates: what leaving it out would let through. For \
planted edges that is its price, for noise its worth. A gate may show zero in both columns and still be needed: \
another one refuses the same candidates here."""
_ALTERNATIVES = """\
The textbook forms of some gates: first the per cent of the candidates that meet each one alone, then, after the bar, \
the per cent promoted if it were asked for beside the policy's own gates. Where every trial carries the edge, the rank \
of the winner out of sample is a coin toss, so that PBO alone refuses the most robust strategy of all. The rolling \
walk's training is short: the best of 500 trials looks far better in it than it is, and its efficiency is low even for \
a real edge."""
NOISE_AT_MOST, EDGE_AT_LEAST = 0.01, 0.60


@dataclass(frozen=True)
class Outcome:
    """The verdict on one drawn candidate.

    Parameters
    ----------
    sharpe
        Annual Sharpe ratio that was planted; 0 for noise.
    carries_edge
        Whether the trial that was found is one of those in which an edge was planted.
    gates
        Whether each gate that decides passed.
    alternatives
        Whether each form that the policy does not ask for was met.
    """

    scenario: str
    sharpe: float
    carries_edge: bool
    verdict: Verdict
    gates: dict[str, bool]
    alternatives: dict[str, bool]

    def refused_by(self) -> frozenset[str]:
        """Return the gates that did not pass."""
        return frozenset(name for name, passed in self.gates.items() if not passed)


@dataclass(frozen=True)
class Rate:
    """How many of how many, with the error of counting."""

    passed: int
    of: int

    @property
    def share(self) -> float:
        return self.passed / self.of

    @property
    def error(self) -> float:
        """The binomial standard error; 0 for none and for all, where the interval says more."""
        return float((self.share * (1 - self.share) / self.of) ** 0.5)

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of Clopper and Pearson."""
        from scipy.stats import binomtest

        exact = binomtest(self.passed, self.of).proportion_ci(0.95, "exact")
        return float(exact.low), float(exact.high)


def rate(outcomes: Iterable[Outcome], holds: Callable[[Outcome], bool]) -> Rate:
    answers = [holds(each) for each in outcomes]
    return Rate(sum(answers), len(answers))


def promoted(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.PASS


def page(policy: Policy, setting: str, held_constant: str, outcomes: Sequence[Outcome]) -> tuple[str, list[str]]:
    """Return the page in Markdown, and the scenarios that miss their target."""
    scenarios = list(dict.fromkeys(each.scenario for each in outcomes))
    of = {name: [each for each in outcomes if each.scenario == name] for name in scenarios}
    noise, sought, weaker = (
        [name for name in scenarios if wanted(of[name][0].sharpe)]
        for wanted in (lambda sharpe: sharpe == 0, lambda sharpe: sharpe >= 3, lambda sharpe: 0 < sharpe < 3)
    )
    missed = [name for name in noise if rate(of[name], promoted).share > NOISE_AT_MOST]
    missed += [name for name in sought if rate(of[name], promoted).share < EDGE_AT_LEAST]
    refusing = frozenset[str]().union(*(each.refused_by() for each in outcomes))
    gates, idle = sorted(refusing), [gate for gate in _gates(outcomes) if gate not in refusing]
    parts = [
        "# False promotions, and edges found",
        "Made by `python -m benchmarks.false_promotions`, whatever it says; text and numbers are not edited by hand.",
        setting,
        "## The two rates",
        _rates(of, noise, sought),
        _verdict(of, noise, missed),
        "## Gate by gate",
        "Per cent of the candidates that pass each gate, taken alone. "
        + (f"Refused nobody here: {', '.join(f'`{gate}`' for gate in idle)}." if idle else ""),
        *(_by_gate({name: of[name] for name in names}, gates) for names in (noise, sought, weaker) if names),
        "## What each gate costs, and what it is worth",
        _ALONE,
        _alone([each for name in noise for each in of[name]], [each for name in sought for each in of[name]], gates),
        "## Forms that the policy does not ask for",
        _ALTERNATIVES,
        *(_alternatives({name: of[name] for name in names}) for names in (noise, sought, weaker) if names),
        "## What was held constant",
        held_constant,
        "## Made with",
        _versions(policy),
    ]
    return "\n\n".join(parts) + "\n", missed


def _rates(of: dict[str, list[Outcome]], noise: Sequence[str], sought: Sequence[str]) -> str:
    rows = []
    for name, outcomes in of.items():
        passing = rate(outcomes, promoted)
        low, high = passing.interval
        target, met = "reported", ""
        if name in noise:
            target = f"at most {NOISE_AT_MOST:.0%}"
            met = "holds" if passing.share <= NOISE_AT_MOST else "**missed**"
        elif name in sought:
            target = f"at least {EDGE_AT_LEAST:.0%}"
            met = "holds" if passing.share >= EDGE_AT_LEAST else "**missed**"
        found = rate(outcomes, lambda each: each.carries_edge).share
        rows.append(
            [
                name,
                str(passing.of),
                f"{found:.0%}" if outcomes[0].sharpe else "",
                f"{100 * passing.share:.1f} ± {100 * passing.error:.1f}",
                f"{100 * low:.1f} to {100 * high:.1f}",
                target,
                met,
            ]
        )
    head = ["truth", "repetitions", "best carries the edge", "promoted, % ± error", "95 % interval", "target", ""]
    return table(head, rows)


def _verdict(of: dict[str, list[Outcome]], noise: Sequence[str], missed: Sequence[str]) -> str:
    pooled = rate([each for name in noise for each in of[name]], promoted)
    low, high = (100 * bound for bound in pooled.interval)
    counted = f"{pooled.passed} of all {pooled.of} noise candidates were promoted"
    lines = [f"{counted} (95 % interval {low:.2f} to {high:.2f} %)."]
    for name in missed:
        shares = {gate: rate(of[name], _passes(gate)).share for gate in _gates(of[name])}
        strictest = sorted(shares, key=lambda gate: shares[gate])[:3]
        named = ", ".join(f"`{gate}` ({shares[gate]:.0%} pass)" for gate in strictest)
        lines.append(f"**{name} misses its target.** Its strictest gates, each alone: {named}.")
    return "\n\n".join(lines if missed else [*lines, "Every target holds."])


def _by_gate(of: dict[str, list[Outcome]], gates: Sequence[str]) -> str:
    rows = [
        [f"`{gate}`", *(f"{100 * rate(outcomes, _passes(gate)).share:.0f}" for outcomes in of.values())]
        for gate in gates
    ]
    return table(["gate", *of], [*rows, ["all", *(f"{100 * rate(each, promoted).share:.0f}" for each in of.values())]])


def _alone(noise: Sequence[Outcome], sought: Sequence[Outcome], gates: Sequence[str]) -> str:
    def only(outcomes: Sequence[Outcome], gate: str) -> str:
        alone = rate(outcomes, lambda each: each.refused_by() == {gate})
        return f"{100 * alone.share:.1f} ± {100 * alone.error:.1f}"

    rows = [[f"`{gate}`", only(sought, gate), only(noise, gate)] for gate in gates]
    return table(["gate", "Sharpe 3 that it alone refuses", "noise that it alone refuses"], rows)


def _alternatives(of: dict[str, list[Outcome]]) -> str:
    def cell(outcomes: Sequence[Outcome], name: str) -> str:
        alone = rate(outcomes, lambda each: each.alternatives[name])
        beside = rate(outcomes, lambda each: promoted(each) and each.alternatives[name])
        return f"{100 * alone.share:.0f} \\| {100 * beside.share:.0f}"

    names = next(iter(of.values()))[0].alternatives
    return table(["form", *of], [[name, *(cell(each, name) for each in of.values())] for name in names])


def _gates(outcomes: Sequence[Outcome]) -> list[str]:
    return sorted(outcomes[0].gates)


def _passes(gate: str) -> Callable[[Outcome], bool]:
    return lambda outcome: outcome.gates[gate]


def _versions(policy: Policy) -> str:
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "numba", "arch"))
    return f"Policy `{policy.id}`, SHA-256 `{policy.sha256}`; Python {platform.python_version()}, {packages}."
