"""The demo: the whole graph, materialized once through the persistent instance.

It runs the same jobs that people and the schedule run. A demo that was killed is started again and finishes: months
whose proof already holds are not fetched twice, everything else is simply done again. Belongs here: the order and the
closing table. Doesn't: anything that decides; nothing here knows which candidate should pass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from research_to_prod.defs.promotion.decision import latest_decisions
from research_to_prod.defs.resources import SANDBOX_SEED, utc_now
from research_to_prod.defs.runner import Runner, open_runner
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


def run_demo(settings: Settings, console: Console) -> bool:
    """Materialize everything once; return whether every step did what it should."""
    started = time.monotonic()
    with open_runner(settings, console) as runner:
        candidates = load_candidates(settings.desk / "candidates")
        names = [candidate.name for candidate in candidates]
        fine = runner.each("market data", "market_data", _months_to_fetch(runner, candidates))
        fine &= runner.each("liquidity", "liquidity", list(WEEKS))
        fine &= runner.each("trials, backtests, gates", "research", names, may_fail=True)
        fine &= runner.each("promotion", "promote", names, may_fail=True)
        fine &= runner.each("production manifest", "production", [None])
        deliver_inbox(settings)
        # One after the other: a day begins with what the day before ended with.
        for day in DAYS:
            fine &= runner.each(f"after the trade, {day}", "nightly", [day])
        fine &= runner.each("risk posture", "posture", [None])
        fine &= runner.each("warehouse", "publish_warehouse", [None])
    console.print(_decisions(settings, candidates))
    console.print(f"The desk report of {DAYS[-1]}: {settings.reports / f'desk-report-{DAYS[-1]}.html'}", soft_wrap=True)
    console.print(f"The risk posture: {settings.reports / 'risk-posture.html'}", soft_wrap=True)
    console.print(f"All tables for SQL: {settings.warehouse}", soft_wrap=True)
    console.print(
        f"Done in {time.monotonic() - started:.0f} s. Next: [bold]make dev[/] opens the lineage graph with this "
        "history; then add a file to research_to_prod/desk/candidates/.",
        soft_wrap=True,
    )
    return fine


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


def _decisions(settings: Settings, candidates: Sequence[Candidate]) -> Table:
    """Return the table of each candidate, its verdict and the reason, as the ledger has them."""
    ledger, latest = latest_decisions(settings, utc_now())
    table = Table("candidate", "decision", "why", title="What the gates decided", title_justify="left")
    for candidate in candidates:
        record = latest.get(candidate.name)
        if record is None:
            table.add_row(candidate.name, "[yellow]undecided[/]", "its run failed; see `make dev`")
        elif record.type is RecordType.PROMOTE:
            passed = sum(gate.gating for gate in ledger.evidence(record).gates)
            why = f"all {passed} gates pass on {record.n_trials} trials; ledger record {record.seq}"
            table.add_row(candidate.name, f"[green]promoted to {record.to_stage}[/]", why)
        else:
            table.add_row(candidate.name, "[red]refused[/]", "\n".join(_why_refused(record, ledger.evidence(record))))
    return table


def _why_refused(record: Record, evidence: Evidence) -> Sequence[str]:
    refused = [gate for gate in evidence.gates if gate.gating and gate.verdict is not Verdict.PASS]
    return [f"{gate.gate}: {gate.reason.partition('; remedy')[0]}" for gate in refused] or record.reasons[:3]
