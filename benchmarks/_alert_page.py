"""The page of the study of alert quality: text, tables, and which targets hold.

Belongs here: what is written of a run. Doesn't: what is measured, and the text around it (``_alert_words``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks._alert_incidents import INCIDENTS
from benchmarks._alert_plain import TUNINGS, Plain, plain_day_and_night, plain_static, plain_z
from benchmarks._alert_scores import FAMILY, GRACE, Score, bootstrap
from benchmarks._alert_surroundings import TUNED
from benchmarks._alert_systems import RULES, System, contextual, day_and_night, shipped, static, z_scores
from benchmarks._alert_systems import SHIPPED as POLICY
from benchmarks._alert_weeks import Floats, Kind, Plan
from benchmarks._alert_words import APART, DATED, FEWER, HINDSIGHT, LIMITS, MADE, REGIMES, SYSTEMS, TUNED_OTHERWISE
from benchmarks._harness import Claim
from benchmarks._tables import table
from research_to_prod.market_data.liquidity import WEEKS, Regime

SHIPPED, TRAINED = shipped().name, contextual({}).name
SORTS = (
    ("baseline with our machinery", tuple(each({}).name for each in (static, day_and_night, z_scores))),
    ("plain baseline", tuple(each({}).name for each in (plain_static, plain_day_and_night, plain_z))),
)
"""Sorts of baselines, and which they are."""

RECALL_LESS = 0.05
"""By how much a baseline may detect less and still be compared at equal recall."""


@dataclass(frozen=True)
class Findings:
    """What the page tells: scores by system of the weeks with faults, the calm ones, and the dated incidents.

    ``plain_faulty`` and ``plain_quiet`` are of the plain baselines by the way they were tuned, ``hindsight_faulty`` and
    ``hindsight_quiet`` of all baselines tuned on the very weeks with faults.
    """

    systems: Sequence[System | Plain]
    faulty: Mapping[str, Score]
    quiet: Mapping[str, Score]
    dated: Mapping[str, Score]
    plain_faulty: Mapping[str, Mapping[str, Score]]
    plain_quiet: Mapping[str, Mapping[str, Score]]
    ablated_faulty: Mapping[str, Score]
    ablated_quiet: Mapping[str, Score]
    hindsight_faulty: Mapping[str, Score]
    hindsight_quiet: Mapping[str, Score]


def targets(found: Findings, name: str = SHIPPED) -> list[Claim]:
    """Return the targets of alert quality for one system, with what was measured."""
    faulty, quiet = found.faulty, found.quiet
    afterwards = best_of({SHIPPED: faulty[SHIPPED], **found.hindsight_faulty}, tuple(found.hindsight_faulty), less=0)
    over = faulty[name].pages_a_shift / found.hindsight_faulty[afterwards].pages_a_shift
    pages = {sort: faulty[name].pages_a_shift / faulty[best_of(faulty, among)].pages_a_shift for sort, among in SORTS}
    return [
        *(Claim(f"pages over those of the best {sort}", ratio, at_most=0.5) for sort, ratio in pages.items()),
        Claim("pages over those of the best of all, tuned in hindsight to equal recall", over, at_most=0.5),
        Claim("time to detect over blind time, p95 of the detected", faulty[name].of_budget_detected[1], at_most=1),
        Claim("the same, what was missed counted as never", faulty[name].of_budget[1], at_most=1),
        Claim("pages a shift in calm weeks", quiet[name].pages_a_shift, at_most=2),
    ]


def best_of(
    faulty: Mapping[str, Score], among: Sequence[str], *, in_time: bool = False, less: float = RECALL_LESS
) -> str:
    """Return the baseline with the fewest pages of those that detect about as much as the shipped rules, if any do.

    With ``in_time`` only what is told within the blind time counts as detected; ``less`` is by how much the recall may
    be lower.
    """
    detected = {name: each.in_time if in_time else each.recall for name, each in faulty.items()}
    equal = [name for name in among if detected[name] >= detected[SHIPPED] - less]
    return min(equal or among, key=lambda name: len(faulty[name].run.pages))


def page(plan: Plan, found: Findings) -> str:
    """Return the page in Markdown."""
    faulty, quiet = found.faulty, found.quiet
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
        _targets(found),
        "## What is compared",
        SYSTEMS.format(shipped=SHIPPED, trained=TRAINED),
        "## Scored weeks",
        _scored(faulty, quiet),
        _soon(faulty),
        "## The plain baselines, tuned in other ways",
        TUNED_OTHERWISE,
        _tuned_otherwise(found),
        "## At equal recall",
        HINDSIGHT,
        _at_equal_recall(found),
        FEWER.format(faults=len(outcomes) / plan.scored),
        _with_fewer_faults(found, plan),
        "## What each part is worth",
        APART,
        _parts(found),
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
        _dated(found.dated),
        "## What training chose",
        "Times the shipped level of normal hours; limits for z. Day / night.",
        _levels([each for each in found.systems if isinstance(each, System) and each.levels]),
        "The plain ones, with `for`. A rule without such a level has none to move.",
        _settings([each for each in found.systems if isinstance(each, Plain)]),
        "## What this does not show",
        LIMITS.format(short=short, faults=len(outcomes), few=plan.scored + plan.calm),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _targets(found: Findings) -> str:
    rows = []
    for own, other in zip(targets(found), targets(found, TRAINED), strict=True):
        cells = [f"{_number(each.measured)}, {'holds' if each.holds else 'missed'}" for each in (own, other)]
        rows.append([own.what, f"at most {own.at_most:g}", *cells])
    told = [_against(found.faulty, sort, among) for sort, among in SORTS]
    return "\n\n".join([table(["target", "", SHIPPED, TRAINED], rows), *told])


def _against(faulty: Mapping[str, Score], sort: str, among: Sequence[str]) -> str:
    """Return sentences on pages and recall against the best of a sort, and on what could be had at all."""
    best, most = best_of(faulty, among), max(among, key=lambda name: faulty[name].recall)
    ratios = [bootstrap([faulty[name], faulty[best]], _pages_over) for name in (SHIPPED, TRAINED)]
    recalls = [
        bootstrap([faulty[name], faulty[best]], lambda sums: _over(sums[0], 3, 2) - _over(sums[1], 3, 2))
        for name in (SHIPPED, TRAINED)
    ]
    least = _detected(faulty[SHIPPED]) / max(1, len(faulty[best].run.pages))
    told = (
        f"The best {sort} is *{best}*. Pages over its pages: {_interval(ratios[0])} as shipped, "
        f"{_interval(ratios[1])} with levels from training. Recall less its recall, in the scored weeks: "
        f"{_interval(recalls[0])} and {_interval(recalls[1])}. One page for each fault that the shipped rules found, "
        f"and nothing else, would be {least:.2f} of its pages."
    )
    if faulty[most].recall >= faulty[SHIPPED].recall - RECALL_LESS:
        return told
    own, other = faulty[SHIPPED], faulty[most]
    return (
        f"{told} *{best}* is not at equal recall: what was tuned to the recall of the shipped rules in training falls "
        f"short of it in these weeks, and none of the sort comes within five points. The one that comes nearest is "
        f"*{most}*, {other.recall:.0%}; pages over its pages {len(own.run.pages) / len(other.run.pages):.2f} "
        f"({_interval(bootstrap([own, other], _pages_over))}). (Looked at after the scores were known.)"
    )


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
    by_rule = ", ".join(f"{name} {each.run.by_rule}" for name, each in faulty.items() if each.run.by_rule is not None)
    told = ", ".join(f"{name} {len(each.run.pages)}" for name, each in faulty.items())
    return (
        table(head, rows)
        + f"\n\nPages in all: {told}. Were all subjects of a rule one group (`group_by: [alertname]`): {by_rule}."
    )


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


def _tuned_otherwise(found: Findings) -> str:
    own, calm = found.faulty[SHIPPED], found.quiet[SHIPPED]
    both = [("not", SHIPPED, own, calm)]
    for what, scores in found.plain_faulty.items():
        best = best_of({SHIPPED: own, **scores}, tuple(scores), in_time=math.isfinite(TUNINGS[what].within))
        both.append((what, best, scores[best], found.plain_quiet[what][best]))
    rows = [
        [
            what,
            name,
            f"{each.recall:.0%}",
            f"{each.precision:.0%}",
            f"{each.pages_a_shift:.2f}",
            f"{quiet.pages_a_shift:.2f}",
            f"{_number(each.minutes[0])} / {_number(each.minutes[1])}",
            _number(each.of_budget_detected[1]),
            f"{each.in_time:.0%}",
            f"{own.pages_a_shift / each.pages_a_shift:.2f} ({_interval(bootstrap([own, each], _pages_over))})",
        ]
        for what, name, each, quiet in both
    ]
    head = [
        "tuned", "best", "recall", "precision", "pages a shift", "in calm weeks", "minutes to detect, p50 / p95",
        "over the blind time, p95", "told within the blind time", "shipped pages over its",
    ]  # fmt: skip
    return table(head, rows)


def _at_equal_recall(found: Findings) -> str:
    own = found.faulty[SHIPPED]
    both = {SHIPPED: (own, found.quiet[SHIPPED])}
    both |= {name: (each, found.hindsight_quiet[name]) for name, each in found.hindsight_faulty.items()}
    rows = [
        [
            name,
            f"{each.recall:.0%}",
            f"{each.precision:.0%}",
            str(len(each.run.pages)),
            f"{calm.pages_a_shift:.2f}",
            f"{each.in_time:.0%}",
            f"{own.pages_a_shift / each.pages_a_shift:.2f} ({_interval(bootstrap([own, each], _pages_over))})",
            f"{_detected(each) / max(1, len(each.run.pages)):.2f}",
        ]
        for name, (each, calm) in both.items()
    ]
    head = [
        "system", "recall", "precision", "pages", "a shift in calm weeks", "told within the blind time",
        "shipped pages over its", "one page a fault found over its",
    ]  # fmt: skip
    return table(head, rows)


def _with_fewer_faults(found: Findings, plan: Plan) -> str:
    """Return pages a week were faults rarer: those about faults in proportion, those about nothing as they are."""
    both = {SHIPPED: (found.faulty[SHIPPED], found.quiet[SHIPPED])}
    both |= {name: (each, found.hindsight_quiet[name]) for name, each in found.hindsight_faulty.items()}

    def pages(name: str, faults: float) -> float:
        faulty, calm = both[name]
        about = sum(faulty.matched)
        nothing = (len(faulty.matched) - about + len(calm.run.pages)) / (plan.scored + plan.calm)
        return faults * about / len(faulty.outcomes) + nothing

    rates = (len(found.faulty[SHIPPED].outcomes) / plan.scored, 7.0, 1.0, 0.0)
    rows = [
        [
            name,
            *(f"{pages(name, rate):.1f} ({pages(SHIPPED, rate) / max(1e-9, pages(name, rate)):.2f})" for rate in rates),
        ]
        for name in both
    ]
    return table(["system", *(f"with {rate:.3g} a week" for rate in rates)], rows)


def _detected(score: Score) -> int:
    return sum(each.minutes is not None for each in score.outcomes)


def _parts(found: Findings) -> str:
    base = found.faulty[SHIPPED]
    both = [(SHIPPED, base, found.quiet[SHIPPED])]
    both += [(name, each, found.ablated_quiet[name]) for name, each in found.ablated_faulty.items()]
    rows = [
        [
            name,
            f"{each.recall:.0%}",
            f"{each.precision:.0%}",
            f"{each.pages_a_shift:.2f}",
            _interval(bootstrap([each, base], _pages_over)),
            f"{calm.pages_a_shift:.2f}",
            f"{each.flat:.0%}",
            f"{each.duplicates:.2f}",
            str(each.run.flaps),
            f"{_number(each.of_budget_detected[1])}",
        ]
        for name, each, calm in both
    ]
    head = [
        "system", "recall", "precision", "pages a shift", "over those as shipped", "in calm weeks", "paged while flat",
        "pages too many a fault", "flaps", "over the blind time, p95",
    ]  # fmt: skip
    return table(head, rows)


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


def _levels(chosen: Sequence[System]) -> str:
    rules = [rule for rule in RULES if any(rule in each.levels for each in chosen)]
    rows = []
    for rule in rules:
        cells = [" / ".join(f"{level:g}" for level in dict.fromkeys(each.levels[rule])) for each in chosen]
        rows.append([f"`{rule}`", *cells])
    metrics = ", ".join(f"`{each}`" for each in sorted(TUNED))
    return table(["rule", *(each.name for each in chosen)], rows) + f"\n\nMoved are the levels of {metrics}."


def _settings(chosen: Sequence[Plain]) -> str:
    rows = []
    for rule in RULES:
        has_level = any(bound.metric in TUNED for bound in POLICY.by_id[rule].bounds())
        cells = [
            " / ".join(
                f"{f'{level:g}, ' if has_level else ''}{lasting / 60:g} min"
                for level, lasting in dict.fromkeys(each.settings[rule])
            )
            for each in chosen
        ]
        rows.append([f"`{rule}`", *cells])
    return table(["rule", *(each.name for each in chosen)], rows)


def _pages_over(sums: Sequence[Floats]) -> float:
    return float(sums[0][0] / max(1, sums[1][0]))


def _over(sums: Floats, part: int, whole: int) -> float:
    return float(sums[part] / sums[whole]) if sums[whole] else math.nan


def _interval(found: Sequence[float], form: str = ".2f") -> str:
    return " to ".join(format(each, form) for each in found)


def _number(value: float) -> str:
    return "never" if math.isinf(value) else "–" if math.isnan(value) else f"{value:.3g}"
