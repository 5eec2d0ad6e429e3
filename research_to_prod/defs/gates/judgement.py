"""Evaluate a candidate's gates from the lake: once for the report, once more when a promotion proves its case."""

from __future__ import annotations

from dataclasses import dataclass

from research_to_prod.defs.research.inputs import read_study
from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.evidence import Evidence, gather_evidence
from research_to_prod.gates.policy import Policy, load_policy
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.settings import Settings

POLICY_FILE = "research_to_paper.yaml"


@dataclass(frozen=True)
class Judgement:
    """A candidate, its evidence, the gates' answers, and the snapshots that these rest on."""

    candidate: Candidate
    policy: Policy
    evidence: Evidence
    report: GateReport
    read: tuple[Snapshot, ...]


def policy_in_force(settings: Settings) -> Policy:
    """Load the policy that decides on research -> paper."""
    return load_policy(settings.desk / "policies" / POLICY_FILE)


def judge(lake: Lake, settings: Settings, name: str) -> Judgement:
    """Gather the candidate's evidence from the lake as it is now, and hold it against the policy in force.

    Raises
    ------
    LakeError
        If backtest, trials, validation, or a month of market quality or findings was never materialized.
    """
    from research_to_prod.defs.research.assets import TRIAL_LEDGER

    study = read_study(lake, settings, name)
    candidate = study.candidate
    backtest, trials, validation = (lake.read(table, name) for table in ("backtest", "trials", "validation"))
    quality, findings = (lake.read(name, candidate.window.months) for name in ("market_quality", "market_findings"))
    ledger = TrialLedger(settings.ledger / TRIAL_LEDGER)
    evidence = gather_evidence(
        candidate,
        study.strategy,
        quality.rows,
        findings.rows,
        backtest.rows,
        ledger.trials(candidate.strategy, candidate.universe),
        validation=validation.rows,
        bars=study.bars,
        book=(),
    )
    policy = policy_in_force(settings)
    read = (*study.read, backtest, trials, validation, quality, findings)
    return Judgement(candidate, policy, evidence, evaluate(policy, evidence), read)
