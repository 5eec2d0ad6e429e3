"""Statistics over desks, and the page that says what they come to.

Belongs here: intervals, tables, text. Doesn't: drawing and promoting.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata

import numpy as np

from benchmarks._outcome_draws import CORRELATION, FAMILY, KINDS, LIVE, LIVE_COSTS, MIXTURES, TRACKING, TRIALS
from benchmarks._outcome_regimes import (
    CANARY_SIZE,
    DECISIONS_A_DAY,
    GATES,
    INFORMAL,
    LARGEST_DRAWDOWN,
    MEETING,
    REGIMES,
    SHARPES,
    SLOTS,
    STOP,
    Course,
    Rules,
    Year,
)
from benchmarks._outcome_sandbox import sandbox
from benchmarks._tables import table
from benchmarks.false_promotions import COSTS_OF_EDGE, DAYS, HELD_CONSTANT, SEED, VOLATILITY
from research_to_prod.research.bars import Floats
from research_to_prod.research.metrics import DAYS_A_YEAR

RESAMPLES = 4000
Desks = Sequence[dict[str, Year]]
Statistic = Callable[[Floats], Floats]
"""From (..., desks) to (...)."""

SETTING = f"""\
The days are drawn, not taken from the sandbox's market: there an asset has one edge of one strength, and the only \
one that ends does so at one time. What its strategies are, measured below, set the draws: daily net returns with \
an autocorrelation of 0.1, and no correlation between ideas. The edges drawn are weaker than the sandbox's, Sharpe \
ratios of 3 and 2, so that the task is harder than there; costs take more of them, {COSTS_OF_EDGE:.0%} of the net \
edge.

Each desk has {len(KINDS)} candidates, one of each kind below, and each regime decides on the same ones. A \
candidate is the best in sample of a search of {TRIALS} trials over {DAYS:,} days (seed {SEED}; {VOLATILITY:.0%} \
daily volatility, normal). An edge is in {FAMILY} of the trials, whose noise is correlated {CORRELATION}. Then \
follow {LIVE} live days. Live differs from its shadow by a noise of {TRACKING * 1e4:.0f} bp a day, and where costs \
are worse, by what {LIVE_COSTS:g} times the costs assumed take: a quarter of that edge is left, and does not count \
as alive. How many candidates of each kind a real desk has \
isn't known, and the result depends on it: besides all eight, two smaller mixtures of the same draws are shown. \
They were added after twelve desks had been seen: with all eight, six have an edge of Sharpe 2 or 3 in research, \
so that the best four are never the overfitted ones, whoever chooses.

A desk runs at most {SLOTS} strategies, each with an equal part of its capital; idle capital earns nothing, and a slot \
that is given up stays empty. The year counts from the first day, with nothing earned until a strategy is live. A \
desk that trades nothing has a Sharpe ratio of 0.

- **{INFORMAL}**: the {SLOTS} best Sharpe ratios in sample, live at once.
- **rule, Sharpe x**: those with an annual Sharpe ratio in sample of at least x (two values: \
{" and ".join(f"{each:g}" for each in SHARPES)}) and a drawdown of at most {LARGEST_DRAWDOWN:.0%}, the best \
{SLOTS}, live after {MEETING} days (the next weekly meeting). The numbers are judgements of what is common.
- In both, a strategy is stopped for good when its live drawdown exceeds {STOP:g} times that of its backtest.
- **{GATES}**: the shipped policies. `research_to_paper` judges the evidence of the search, as in \
[false_promotions.md](false_promotions.md); the risk gates of `paper_to_canary` judge it again beside those \
admitted before it. Paper and canary last as long as their gates on implementation ask, on simulated pairs: 14 and \
30 days at least, and until the upper bound of realised over assumed costs is low enough. The canary trades \
{CANARY_SIZE:.0%} of the size (a judgement). From the canary on, the shipped detectors of `rollback.yaml` decide; \
nothing is promoted twice."""

HELD = f"""\
{HELD_CONSTANT} On the way to the canary the book is not empty: it holds those admitted before.

Strategies decide every hour ({DECISIONS_A_DAY} paired decisions a day, all equal to the model's). One that \
decides once a day would stay 200 days on paper under `paper_to_canary`, and miss most of the year; that is not in \
these figures. Latency, runbooks and drills are given as passed. Hard limits within the day, approvals and the \
time people take are left out. The drawdown stop and the two thresholds were written down before the first result, \
and not changed after it. Noise is normal: fat tails and clustered volatility would raise false alarms of every \
regime."""

ALIVE = """\
An edge is alive on a day when at least half of what was planted is left, net of what live pays. A rollback is any \
reduction: a stop, or a demotion by a detector; it is false when the edge was alive on the day that decided it. \
Full size of a strategy for a day without an edge counts as one unsound day. Time to find runs from the first day \
on which a strategy trades without an edge to the day that decides its first reduction, over those found; what was \
never found within the year stands beside it."""

_YEAR = """\
Over {desks} desks; in brackets 95 % intervals (percentiles of {resamples:,} resamples of desks). Capital at work \
is the mean over the days. In the second table of each mixture, gates less the other regime on the same desks \
(paired resamples); what the interval tells apart from zero is bold."""
_KINDS = """\
With all eight candidates. Per cent promoted out of research; under the gates, also per cent that reached full \
size; and per cent of the promoted that were taken back within the year."""


def page(found: Sequence[dict[str, dict[str, Year]]], rules: Rules, planned: int) -> str:
    """Return the page in Markdown.

    Parameters
    ----------
    found
        By desk, mixture and regime.
    """
    by_mixture = {name: [desk[name] for desk in found] for name in MIXTURES}
    desks = by_mixture[next(iter(MIXTURES))]
    unfinished = f"\n\nMeasured so far: {len(desks)} of {planned} desks." if len(desks) < planned else ""
    parts = [
        "# What promotion by gates does to a year of live trading",
        "Made by `python -m benchmarks.outcomes`, whatever it says; text and numbers are not edited by hand.",
        SETTING + unfinished,
        "## The year",
        _YEAR.format(desks=len(desks), resamples=RESAMPLES),
        *(
            part
            for name, mixed in by_mixture.items()
            for part in (f"### {name[0].upper()}{name[1:]}", _years(mixed), _differences(mixed))
        ),
        "## What that comes to",
        _verdict(by_mixture),
        "## Promotions, rollbacks and lead time",
        "With all eight candidates.",
        ALIVE,
        _promotions(desks),
        "Rollbacks by what decided them, false ones after the bar:",
        _layers(desks),
        "## By kind of candidate",
        _KINDS,
        _kinds(desks),
        "## The sandbox's strategies",
        "Over the window of its candidates, 2023 to 2025, on hourly bars, funding left out.",
        sandbox(),
        "## What was held constant",
        HELD,
        "## Made with",
        _versions(rules),
    ]
    return "\n\n".join(parts) + "\n"


def interval(values: Floats, statistic: Statistic) -> tuple[float, float, float]:
    """Return a statistic over desks, and the percentile interval of its bootstrap (95 %).

    Every call resamples the same desks, so that differences of values are paired.
    """
    chosen = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(statistic(values[chosen]), [0.025, 0.975])
    return float(statistic(values)), float(low), float(high)


def mean(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=-1))


def deviation(values: Floats) -> Floats:
    return np.asarray(values.std(axis=-1, ddof=1))


def tenth(values: Floats) -> Floats:
    return np.asarray(np.quantile(values, 0.1, axis=-1))


def largest(values: Floats) -> Floats:
    return np.asarray(np.quantile(values, 0.9, axis=-1))


def sharpes(desks: Desks, regime: str) -> Floats:
    return np.array([desk[regime].sharpe for desk in desks])


def gains(desks: Desks, regime: str) -> Floats:
    """Return the year's return on the desk's capital in per cent (sum of days: no compounding)."""
    return np.array([100 * desk[regime].returns.mean() * DAYS_A_YEAR for desk in desks])


def at_work(desks: Desks, regime: str) -> Floats:
    """Return the mean share of the desk's capital that traded, in per cent."""
    return counts(desks, regime, lambda course: 100 * float(course.size.mean()) / SLOTS)


def drawdowns(desks: Desks, regime: str) -> Floats:
    """Return the largest fall from a peak in per cent of the desk's capital."""
    return np.array([100 * desk[regime].drawdown for desk in desks])


def counts(desks: Desks, regime: str, count: Callable[[Course], float]) -> Floats:
    """Return the sum of ``count`` over each desk's candidates."""
    return np.array([float(sum(count(course) for course in desk[regime].courses)) for desk in desks])


def unsound_days(course: Course) -> float:
    return float(course.size[~course.alive].sum())


def false_rollbacks(course: Course) -> float:
    return sum(each.false for each in course.rollbacks)


_FIGURES: dict[str, tuple[Callable[[Desks, str], Floats], Statistic]] = {
    "Sharpe, mean": (sharpes, mean),
    "Sharpe, deviation over desks": (sharpes, deviation),
    "Sharpe, worst tenth": (sharpes, tenth),
    "return, %": (gains, mean),
    "capital at work, %": (at_work, mean),
    "drawdown, %": (drawdowns, mean),
    "drawdown, worst tenth, %": (drawdowns, largest),
}
_COUNTS: dict[str, Callable[[Course], float]] = {
    "promoted": lambda course: course.promoted,
    "at full size": lambda course: course.lead is not None,
    "rollbacks": lambda course: len(course.rollbacks),
    "false rollbacks": false_rollbacks,
    "unsound days": unsound_days,
}


def _shown(found: tuple[float, float, float]) -> str:
    return "{:.2f} ({:.2f} to {:.2f})".format(*found)


def _years(desks: Desks) -> str:
    rows = []
    for regime in REGIMES:
        figures = [_shown(interval(values(desks, regime), statistic)) for values, statistic in _FIGURES.values()]
        idle = sum(not desk[regime].returns.any() for desk in desks)
        losing = sum(desk[regime].returns.sum() < 0 for desk in desks)
        rows.append([regime, *figures, f"{losing / len(desks):.0%}", f"{idle / len(desks):.0%}"])
    return table(["regime", *_FIGURES, "desks that lose", "desks that trade nothing"], rows)


def _differences(desks: Desks) -> str:
    rows = []
    for regime in REGIMES[:-1]:
        found = [_difference(desks, regime, figure) for figure in _FIGURES]
        rows.append(
            [f"less {regime}", *(f"**{_shown(each)}**" if _told_apart(each) else _shown(each) for each in found)]
        )
    return table(["gates", *_FIGURES], rows)


def _difference(desks: Desks, regime: str, figure: str) -> tuple[float, float, float]:
    """Return by how much the gates' figure is above a regime's, with its paired interval."""
    values, statistic = _FIGURES[figure]
    both = np.stack([values(desks, GATES), values(desks, regime)], axis=-1)
    return interval(both, lambda pair: statistic(pair[..., 0]) - statistic(pair[..., 1]))


def _told_apart(found: tuple[float, float, float]) -> bool:
    return found[1] > 0 or found[2] < 0


def _verdict(by_mixture: Mapping[str, Desks]) -> str:
    lines = []
    for name, desks in by_mixture.items():
        for regime in REGIMES[:-1]:
            said = []
            for figure in ("Sharpe, mean", "return, %", "drawdown, %"):
                found = _difference(desks, regime, figure)
                how = ("higher" if found[0] > 0 else "lower") if _told_apart(found) else "not told apart"
                said.append(f"{figure.split(',')[0]} {how}")
            lines.append(f"- {name}; gates against {regime}: {', '.join(said)}.")
    return "\n".join(lines)


def _promotions(desks: Desks) -> str:
    rows = []
    for regime in REGIMES:
        found = [_shown(interval(counts(desks, regime, count), mean)) for count in _COUNTS.values()]
        courses = _courses(desks, regime)
        leads = [each.lead for each in courses if each.lead is not None]
        unsound = [each for each in courses if each.unsound]
        delays = [each.detection for each in unsound if each.detection is not None]
        rows.append(
            [
                regime,
                *found,
                _median(leads, "{:.0f} ({:.0f} to {:.0f})"),
                f"{_median(delays, '{:.0f} ({:.0f} to {:.0f})')}; {len(unsound) - len(delays)} of {len(unsound)} never",
            ]
        )
    head = ["a desk", *_COUNTS, "lead time, days: median (10 % to 90 %)", "time to find, days: median (10 % to 90 %)"]
    return table(head, rows)


def _median(values: Sequence[float], form: str) -> str:
    return form.format(*np.quantile(values, [0.5, 0.1, 0.9])) if values else "none"


def _layers(desks: Desks) -> str:
    rows = []
    for regime in REGIMES:
        fired = [each for course in _courses(desks, regime) for each in course.rollbacks]
        every, false = Counter(each.layer for each in fired), Counter(each.layer for each in fired if each.false)
        named = ", ".join(f"{layer} {number} \\| {false[layer]}" for layer, number in sorted(every.items()))
        rows.append([regime, named or "none"])
    return table(["regime", "rollbacks \\| false"], rows)


def _kinds(desks: Desks) -> str:
    rows = []
    for kind in KINDS:
        of = {regime: [each for each in _courses(desks, regime) if each.kind == kind.what] for regime in REGIMES}
        gated = [each for each in of[GATES] if each.promoted]
        rows.append(
            [
                kind.what,
                *(_percent(each.promoted for each in of[regime]) for regime in REGIMES),
                _percent(each.lead is not None for each in of[GATES]),
                *(
                    _percent(bool(each.rollbacks) for each in of[regime] if each.promoted)
                    for regime in (INFORMAL, GATES)
                ),
                str(len(gated)),
            ]
        )
    back = ["taken back, informal", "taken back, gates", "promoted by gates, n"]
    return table(["kind", *REGIMES, "gates, full size", *back], rows)


def _percent(answers: Iterable[bool]) -> str:
    given = list(answers)
    return f"{100 * sum(given) / len(given):.0f}" if given else "none"


def _courses(desks: Desks, regime: str) -> list[Course]:
    return [course for desk in desks for course in desk[regime].courses]


def _versions(rules: Rules) -> str:
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "numba", "arch"))
    policies = (rules.to_paper, rules.to_canary, rules.to_live)
    named = ", ".join(f"`{policy.id}` {policy.sha256[:16]}" for policy in policies)
    return (
        f"Policies (SHA-256, first 16 digits) {named}, `rollback` {rules.rollback.policy_sha256[:16]}; "
        f"Python {platform.python_version()}, {packages}."
    )
