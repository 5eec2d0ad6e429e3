"""The demo: the whole graph, materialized once through the persistent instance.

It runs the same jobs that people and the schedule run. A demo that was killed is started again and finishes: months
whose proof already holds are not fetched twice, everything else is simply done again. Belongs here: the order, and
what came of it. Doesn't: anything that decides; nothing here knows which candidate should pass.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from research_to_prod.defs.promotion.decision import latest_decisions
from research_to_prod.defs.resources import SANDBOX_SEED, utc_now
from research_to_prod.defs.runner import Run, Runner, open_runner
from research_to_prod.lake import Lake
from research_to_prod.market_data.liquidity import months_of
from research_to_prod.promotion.evidence import unproven_months
from research_to_prod.promotion.record import Evidence, Record, RecordType
from research_to_prod.research.candidate import Candidate, load_candidates
from research_to_prod.settings import Settings
from research_to_prod.values import Verdict

DAYS = ("2026-01-07", "2026-01-08")
# The week of those days, and the one before it.
WEEKS = ("2025-12-29", "2026-01-05")


@dataclass(frozen=True)
class Decided:
    """What the ledger says of one candidate: ``promoted to STAGE``, ``refused`` or ``undecided``, and why."""

    candidate: str
    decision: str
    why: tuple[str, ...]


@dataclass(frozen=True)
class Demonstrated:
    """What the demo made, and where it is.

    Parameters
    ----------
    failed
        The runs that should have succeeded; a candidate's may fail: a refusal is a result.
    seconds
        How long it took.
    """

    decisions: tuple[Decided, ...]
    failed: tuple[Run, ...]
    desk_report: Path
    risk_posture: Path
    all_reports: Path
    warehouse: Path
    seconds: float


def run_demo(settings: Settings, console: Console) -> Demonstrated:
    """Materialize everything once, with progress on ``console``, and return what came of it."""
    started, failed = time.monotonic(), list[Run]()
    with open_runner(settings, console) as runner:

        def each(title: str, job: str, partitions: Sequence[str | None]) -> None:
            for run in runner.each(title, job, partitions):
                if not run.success:
                    failed.append(run)
                    console.print(f"[red]{escape(run.failure())}[/]")

        candidates = load_candidates(settings.desk / "candidates")
        names = [candidate.name for candidate in candidates]
        each("market data", "market_data", _months_to_fetch(runner, candidates))
        each("liquidity", "liquidity", list(WEEKS))
        # Either may fail: a refusal is a result, and stands in the ledger.
        list(runner.each("trials, backtests, gates", "research", names))
        list(runner.each("promotion", "promote", names))
        each("production manifest", "production", [None])
        deliver_inbox(settings)
        # One after the other: a day begins with what the day before ended with.
        for day in DAYS:
            each(f"after the trade, {day}", "nightly", [day])
        each("risk posture", "posture", [None])
        each("warehouse", "publish_warehouse", [None])
    return Demonstrated(
        decisions=tuple(_decisions(settings, candidates)),
        failed=tuple(failed),
        desk_report=settings.reports / f"desk-report-{DAYS[-1]}.html",
        risk_posture=settings.reports / "risk-posture.html",
        all_reports=settings.reports / "index.html",
        warehouse=settings.warehouse,
        seconds=time.monotonic() - started,
    )


def _months_to_fetch(runner: Runner, candidates: Sequence[Candidate]) -> list[str]:
    """Return the months of all windows whose data is not proven yet; an earlier demo may have brought some."""
    return sorted(unproven_months(runner.instance, Lake(runner.settings.lake), months_of_the_demo(candidates)))


def months_of_the_demo(candidates: Sequence[Candidate]) -> list[str]:
    """Return the months that the candidates' windows and the liquidity profiles read."""
    windows = [candidate.window.months for candidate in candidates] + [months_of(week) for week in WEEKS]
    return sorted({month for window in windows for month in window})


def deliver_inbox(settings: Settings) -> None:
    """Let the simulated desk drop its records, as the desk's own systems do every day."""
    from research_to_prod.sandbox.desk import SandboxDesk
    from research_to_prod.sandbox.market import SandboxMarket

    desk = SandboxDesk(SandboxMarket(SANDBOX_SEED))
    for day in DAYS:
        desk.write_inbox(day, settings.inbox)


def _decisions(settings: Settings, candidates: Sequence[Candidate]) -> Iterator[Decided]:
    """Yield what became of each candidate, and the reason, as the ledger has them."""
    ledger, latest = latest_decisions(settings, utc_now())
    for candidate in candidates:
        record = latest.get(candidate.name)
        if record is None:
            yield Decided(candidate.name, "undecided", ("its run failed; see `make dev`",))
        elif record.type is RecordType.PROMOTE:
            passed = sum(gate.gating for gate in ledger.evidence(record).gates)
            why = f"all {passed} gates pass on {record.n_trials} trials; ledger record {record.seq}"
            yield Decided(candidate.name, f"promoted to {record.to_stage}", (why,))
        else:
            yield Decided(candidate.name, "refused", tuple(_why_refused(record, ledger.evidence(record))))


def _why_refused(record: Record, evidence: Evidence) -> Sequence[str]:
    refused = [gate for gate in evidence.gates if gate.gating and gate.verdict is not Verdict.PASS]
    return [f"{gate.gate}: {gate.reason.partition('; remedy')[0]}" for gate in refused] or record.reasons[:3]
