"""The page of the study of alert quality: text, tables, and which targets hold.

Belongs here: what is written. Doesn't: what is measured.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks._alert_incidents import INCIDENTS
from benchmarks._alert_scores import FAMILY, GRACE, Score, bootstrap
from benchmarks._alert_surroundings import TUNED
from benchmarks._alert_systems import RULES, System, contextual, shipped
from benchmarks._alert_weeks import Floats, Kind, Plan
from benchmarks._harness import Claim
from benchmarks._tables import table
from research_to_prod.market_data.liquidity import WEEKS, Regime

SHIPPED, TRAINED = shipped().name, contextual({}).name

MADE = """\
**Simulated**: one venue, two perpetuals, two strategies that are flat a third of the time, 2,000,000 of capital. \
Volume, volatility, spread and depth follow the hour of the week, wild spells come twice a week, and nuisances are no \
faults: sockets that reconnect, a late answer, a fill that is booked one look later, a clock that steps, a coin that \
wiggles. {kinds} kinds of fault are drawn at random hours, from faint to strong, and written into a journal; it is the \
truth, and no rule takes part in it. After {history} weeks of history come {training} weeks of training with \
{dense} faults of each kind, {scored} that are scored with {sparse} of each, and {calm} without any (seed {seed}). \
All rates and sizes are judgement, written down before a rule was asked; faults are more frequent than a desk could \
bear, and precision depends on that. Rules are never changed by what these weeks said: those of seed 7 showed which \
rules page for nothing, those of seed 101 what changes do, and these were scored once.

The alerter makes a turn a minute: the project's own `profile_week`, live regime, calendars, `evaluate` and `take_in`; \
a person acknowledges after three minutes and resolves what has been calm for ten. {rules} of the thirty rules take \
part: those that page and whose metrics are simulated. Tickets are not counted.

A page is about a fault when rule family and subject agree and it comes between the fault's begin and {grace} minutes \
after its end. Recall is over faults that begin with something at stake. The blind time is that of the exposure in the \
minute before. Intervals are 90 %, bootstrapped by day."""

SYSTEMS = """\
- **{shipped}**: `desk/alerts` as it is. Nothing of it was tuned here.
- **{trained}**: the same context, each rule's levels times what training found (1 to 4), to the recall of the shipped \
ones. This is what the baselines' advantage of knowing these weeks is worth; it isn't shipped.
- **static thresholds**: the level of normal hours times what training found (0.7 to 4), always; knows no exposure.
- **day and night**: the same with two levels, 06 to 22 UTC and the rest.
- **same-hour z**: robust z-score against this hour of the week, its limit (7 to 35) from training.

Each baseline takes, rule by rule, the level with the fewest pages that detects as many training faults of the rule's \
own kind as the shipped rules do. What counts events (a missing fill is one) is the same for all, and so are lasting \
times, minimum counts, what is beyond chance, parents, grouping and reopening: what is compared is levels and context. \
(A z-score is no share of events, so that chance can't be told of it.)"""

REGIMES = """\
Of the market concerned, at the beginning of a fault and at the time of a page: recall (faults), precision (pages)."""

DATED = """\
Reconstructed from published figures, in one week of a book that is long 400,000 in each market. Minutes to the first \
page; the blind time is this book's. Not part of any score above."""

LIMITS = """\
- Simulated by the authors of the rules. Half of a real desk's nuisances are of kinds that nobody thought of.
- A turn a minute can't tell anything within a blind time of less; with {short} of {faults} scored faults it is.
- {few} weeks and {faults} faults with something at stake: a kind has a handful of them, a regime fewer.
- Sixteen rules are not measured: tickets, and pages whose inputs are not simulated (orders that aren't ours, \
balances, transfers, forced events, slippage, protective orders among them).
- Escalation is not: the person on call always answers.
- No rule was removed or moved to see what changes (mutation of rules)."""


def targets(faulty: Mapping[str, Score], quiet: Mapping[str, Score], name: str = SHIPPED) -> list[Claim]:
    """Return the targets of alert quality for one system, with what was measured."""
    ratio = faulty[name].pages_a_shift / faulty[best_baseline(faulty)].pages_a_shift
    return [
        Claim("pages over those of the best baseline", ratio, at_most=0.5),
        Claim("time to detect over blind time, p95 of the detected", faulty[name].of_budget_detected[1], at_most=1),
        Claim("the same, what was missed counted as never", faulty[name].of_budget[1], at_most=1),
        Claim("pages a shift in calm weeks", quiet[name].pages_a_shift, at_most=2),
    ]


def best_baseline(faulty: Mapping[str, Score]) -> str:
    """Return the baseline with the fewest pages; all were tuned to the same recall."""
    return min(
        (name for name in faulty if name not in {SHIPPED, TRAINED}), key=lambda name: len(faulty[name].run.pages)
    )


def page(
    plan: Plan,
    systems: Sequence[System],
    faulty: Mapping[str, Score],
    quiet: Mapping[str, Score],
    dated: Mapping[str, Score],
) -> str:
    """Return the page in Markdown."""
    outcomes = faulty[SHIPPED].outcomes
    short = sum(each.case.blind_seconds < 60 for each in outcomes)
    parts = [
        "# How good the alerts are",
        "Made by `python -m benchmarks.alert_quality`, whatever it says; text and numbers are not edited by hand.",
        MADE.format(
            kinds=len(Kind), history=WEEKS, training=plan.training, dense=plan.training_faults, scored=plan.scored,
            sparse=plan.scored_faults, calm=plan.calm, seed=plan.seed, rules=len(RULES), grace=GRACE,
        ),
        "## Targets",
        _targets(faulty, quiet),
        "## What is compared",
        SYSTEMS.format(shipped=SHIPPED, trained=TRAINED),
        "## Scored weeks",
        _scored(faulty, quiet),
        _soon(faulty),
        "## By kind of fault",
        "Detected of those with something at stake.",
        _by_kind(faulty),
        "## Pages about nothing",
        "Pages in the scored weeks that are about no fault, by rule.",
        _for_nothing(faulty),
        "## By regime",
        REGIMES,
        _by_regime(faulty),
        "## Dated incidents",
        DATED,
        _dated(dated),
        "## What training chose",
        "Times the shipped level of normal hours; limits for z. Day / night.",
        _levels(systems),
        "## What this does not show",
        LIMITS.format(short=short, faults=len(outcomes), few=plan.scored + plan.calm),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _targets(faulty: Mapping[str, Score], quiet: Mapping[str, Score]) -> str:
    best = best_baseline(faulty)
    rows = []
    for own, other in zip(targets(faulty, quiet), targets(faulty, quiet, TRAINED), strict=True):
        cells = [f"{_number(each.measured)}, {'holds' if each.holds else 'missed'}" for each in (own, other)]
        rows.append([own.what, f"at most {own.at_most:g}", *cells])
    ratios = [
        bootstrap([faulty[name], faulty[best]], lambda sums: float(sums[0][0] / max(1, sums[1][0])))
        for name in (SHIPPED, TRAINED)
    ]
    recalls = [
        bootstrap([faulty[name], faulty[best]], lambda sums: _over(sums[0], 3, 2) - _over(sums[1], 3, 2))
        for name in (SHIPPED, TRAINED)
    ]
    found = sum(each.minutes is not None for each in faulty[SHIPPED].outcomes)
    least = found / max(1, len(faulty[best].run.pages))
    told = (
        f"The best baseline is *{best}*. Pages over its pages: {_interval(ratios[0])} as shipped, "
        f"{_interval(ratios[1])} with levels from training. Recall less its recall, in the scored weeks: "
        f"{_interval(recalls[0])} and {_interval(recalls[1])}. One page for each fault that the shipped rules found, "
        f"and nothing else, would be {least:.2f} of its pages."
    )
    return table(["target", "", SHIPPED, TRAINED], rows) + "\n\n" + told


def _scored(faulty: Mapping[str, Score], quiet: Mapping[str, Score]) -> str:
    rows = []
    for name, each in faulty.items():
        recall = bootstrap([each], lambda sums: _over(sums[0], 3, 2))
        precision = bootstrap([each], lambda sums: _over(sums[0], 1, 0))
        days = len(each.by_day)
        paged = [total / (2 * days) for total in bootstrap([each], lambda sums: float(sums[0][0]))]
        rows.append(
            [
                name,
                f"{each.recall:.0%} ({_interval(recall, '.0%')})",
                f"{each.precision:.0%} ({_interval(precision, '.0%')})",
                f"{each.pages_a_shift:.2f} ({_interval(paged)})",
                f"{quiet[name].pages_a_shift:.2f}",
                f"{each.flat:.0%}",
                f"{each.duplicates:.2f}",
                str(each.run.flaps),
            ]
        )
    head = [
        "system", "recall", "precision", "pages a shift of 12 h", "in calm weeks", "paged while flat",
        "pages too many a fault", "flaps",
    ]  # fmt: skip
    return table(head, rows)


def _soon(faulty: Mapping[str, Score]) -> str:
    rows = [
        [
            name,
            f"{_number(each.minutes[0])} / {_number(each.minutes[1])}",
            f"{_number(each.of_budget_detected[0])} / {_number(each.of_budget_detected[1])}",
            f"{each.in_time:.0%}",
        ]
        for name, each in faulty.items()
    ]
    head = ["system", "minutes to detect, p50 / p95", "over the blind time, p50 / p95", "told within the blind time"]
    return (
        table(head, rows)
        + "\n\nThe first two are of what was detected; in the last, what was missed was not told in time."
    )


def _by_kind(faulty: Mapping[str, Score]) -> str:
    rows = []
    for kind in Kind:
        cells = []
        for each in faulty.values():
            own = [o.minutes is not None for o in each.outcomes if o.case.fault.kind is kind]
            cells.append(f"{sum(own)} of {len(own)}")
        rows.append([kind.value, ", ".join(f"`{rule}`" for rule in FAMILY[kind]), *cells])
    return table(["fault", "rules that may tell", *faulty], rows)


def _for_nothing(faulty: Mapping[str, Score]) -> str:
    counts = {
        name: Counter(p.rule for p, matched in zip(each.run.pages, each.matched, strict=True) if not matched)
        for name, each in faulty.items()
    }
    rows = [[f"`{rule}`", *(str(each[rule]) for each in counts.values())] for rule in RULES]
    rows.append(["all", *(str(each.total()) for each in counts.values())])
    return table(["rule", *faulty], rows)


def _by_regime(faulty: Mapping[str, Score]) -> str:
    rows = []
    for regime in Regime:
        cells = []
        for each in faulty.values():
            found = [o.minutes is not None for o in each.outcomes if o.case.regime is regime]
            right = [m for p, m in zip(each.run.pages, each.matched, strict=True) if p.regime is regime]
            shares = [f"{sum(got) / len(got):.0%} ({len(got)})" if got else "– (0)" for got in (found, right)]
            cells.append(", ".join(shares))
        rows.append([regime.value, *cells])
    return table(["regime", *faulty], rows)


def _dated(dated: Mapping[str, Score]) -> str:
    rows = []
    for incident in INCIDENTS:
        found = [next(o for o in each.outcomes if o.case.fault == incident.fault) for each in dated.values()]
        cells = ["–" if each.minutes is None else str(each.minutes) for each in found]
        blind = f"{found[0].case.blind_seconds / 60:.1f}"
        rows.append([incident.title, f"{incident.figures} ({incident.source})", blind, *cells])
    rows.append(["pages in that week", "", "", *(str(len(each.run.pages)) for each in dated.values())])
    return table(["incident", "figures and source", "blind time, min", *dated], rows)


def _levels(systems: Sequence[System]) -> str:
    chosen = [each for each in systems if each.levels]
    rules = [rule for rule in RULES if any(rule in each.levels for each in chosen)]
    rows = []
    for rule in rules:
        cells = [" / ".join(f"{level:g}" for level in dict.fromkeys(each.levels[rule])) for each in chosen]
        rows.append([f"`{rule}`", *cells])
    metrics = ", ".join(f"`{each}`" for each in sorted(TUNED))
    return table(["rule", *(each.name for each in chosen)], rows) + f"\n\nMoved are the levels of {metrics}."


def _over(sums: Floats, part: int, whole: int) -> float:
    return float(sums[part] / sums[whole]) if sums[whole] else math.nan


def _interval(found: Sequence[float], form: str = ".2f") -> str:
    return " to ".join(format(each, form) for each in found)


def _number(value: float) -> str:
    return "never" if math.isinf(value) else "–" if math.isnan(value) else f"{value:.3g}"
