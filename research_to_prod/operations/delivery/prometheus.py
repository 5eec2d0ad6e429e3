"""Figures of alerting in Prometheus's text format, for the node exporter's textfile collector.

Written here rather than with a client library: a gauge is three lines of text, and the whole file is replaced at once.
Belongs here: the format and the figures. Doesn't: serving them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from research_to_prod.operations.alerting.evaluation import Evaluation
from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.delivery.outbox import Pending
from research_to_prod.operations.incidents.lifecycle import Incident
from research_to_prod.promotion.files import replace_file

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Gauge:
    """One figure with its samples by labels."""

    name: str
    meaning: str
    samples: Mapping[Labels, float]


def exposition(gauges: Iterable[Gauge]) -> str:
    """Return the text format 0.0.4 of ``gauges``."""
    lines = []
    for gauge in gauges:
        lines += [f"# HELP {gauge.name} {_help(gauge.meaning)}", f"# TYPE {gauge.name} gauge"]
        for labels, value in sorted(gauge.samples.items()):
            named = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels)
            lines.append(f"{gauge.name}{{{named}}} {_number(value)}" if named else f"{gauge.name} {_number(value)}")
    return "\n".join(lines) + "\n"


def write_textfile(path: Path, gauges: Iterable[Gauge]) -> None:
    """Replace the file at ``path``, which ends in ``.prom``; a scrape sees the old one or the new one."""
    if path.suffix != ".prom":
        raise ValueError(f"{path.name}: the textfile collector reads names that end in .prom only")
    replace_file(path, exposition(gauges).encode())


def gauges_of(
    evaluations: Iterable[Evaluation], incidents: Iterable[Incident], pending: Iterable[Pending], now: datetime
) -> list[Gauge]:
    """Return what a desk watches of its alerting."""
    firing: Counter[Labels] = Counter()
    blind: dict[Labels, float] = {}
    regime: dict[Labels, float] = {}
    for each in evaluations:
        subject, situation = each.case.subject, each.case.situation
        if each.fires and each.severity is not None:
            firing[("rule", each.case.rule), ("severity", each.severity.value)] += 1
        if subject.venue and subject.instrument:
            place: Labels = (("venue", subject.venue), ("symbol", subject.instrument))
            regime[(*place, ("regime", situation.regime.value))] = 1.0
            if situation.blind_seconds is not None:
                blind[place] = situation.blind_seconds
    told = Counter(each.severity for each in incidents if each.speaks)
    ages = [(now - each.message.at).total_seconds() for each in pending]
    counted = {labels: float(count) for labels, count in firing.items()}
    by_severity: dict[Labels, float] = {(("severity", each.value),): float(told[each]) for each in Severity}
    return [
        Gauge("r2p_alert_firing", "conditions that fire, by rule and severity", counted),
        Gauge("r2p_incidents_open", "incidents that are told for themselves and not resolved", by_severity),
        Gauge("r2p_blind_time_seconds", "longest tolerable blindness by market", blind),
        Gauge("r2p_regime", "1 for the regime that holds", regime),
        Gauge("r2p_outbox_undelivered", "messages that a channel has not taken", {(): float(len(ages))}),
        Gauge("r2p_outbox_oldest_seconds", "age of the oldest of them", {(): max(ages, default=0.0)}),
        Gauge("r2p_alerter_turn_timestamp_seconds", "end of the alerter's last turn", {(): now.timestamp()}),
    ]


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value) or repr(float(value))


def _help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
