"""Evaluate a candidate's gates from the lake: for the report, again when a promotion proves its case, and on replay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from research_to_prod.defs.gates.trading import read_evidence_of_trading
from research_to_prod.defs.research.inputs import Study, read_bars, read_candidate
from research_to_prod.gates.evaluation import GateReport, evaluate
from research_to_prod.gates.evidence import BookStrategy, Evidence, book_strategy, gather_evidence
from research_to_prod.gates.policy import Policy, PolicyError, load_policy
from research_to_prod.lake import Reader, Snapshot
from research_to_prod.promotion.record import Record
from research_to_prod.promotion.stages import standing
from research_to_prod.research.trial_ledger import TrialRecord
from research_to_prod.settings import Settings
from research_to_prod.values import Stage

if TYPE_CHECKING:
    import pyarrow as pa

    from research_to_prod.promotion.ledger import Ledger

POLICIES: Mapping[Stage, str] = MappingProxyType(
    {Stage.PAPER: "research_to_paper", Stage.CANARY: "paper_to_canary", Stage.LIVE: "canary_to_live"}
)
"""The policy that decides on the way into each stage."""
MONEY = (Stage.CANARY, Stage.LIVE)
"""The stages at which a strategy trades the desk's money, and so is part of its book."""


@dataclass(frozen=True)
class Judgement:
    """A candidate, its evidence, the gates' answers, and the snapshots that these rest on.

    Parameters
    ----------
    study
        The candidate with its strategy and bars.
    backtest, trials
        Its rows of ``BACKTEST`` and ``TRIALS``.
    """

    study: Study
    backtest: pa.Table
    trials: pa.Table
    policy: Policy
    evidence: Evidence
    report: GateReport
    read: tuple[Snapshot, ...]


@dataclass(frozen=True)
class Past:
    """What two ledgers held when it was judged.

    Parameters
    ----------
    records
        The promotion ledger's records: they say which strategies are the live book.
    trials
        The trial ledger's records.
    trial_head
        The hash that seals the last of them.
    """

    records: tuple[Record, ...]
    trials: tuple[TrialRecord, ...]
    trial_head: str


def policy_into(settings: Settings, stage: Stage) -> Policy:
    """Load the policy that decides on the way into ``stage``.

    Raises
    ------
    PolicyError
        If its file is wrong, or no policy leads there.
    """
    if stage not in POLICIES:
        raise PolicyError(f"no policy leads to {stage}; there are those to {', '.join(POLICIES)}")
    return load_policy(settings.desk / "policies" / f"{POLICIES[stage]}.yaml")


def policy_named(settings: Settings, policy_id: str) -> Policy:
    """Load the policy in force under the id that a report names.

    Raises
    ------
    PolicyError
        If there is none.
    """
    stages = [stage for stage, name in POLICIES.items() if name == policy_id]
    if not stages:
        raise PolicyError(f"no policy is called {policy_id!r}; there are {', '.join(POLICIES.values())}")
    return policy_into(settings, stages[0])


def now_known(settings: Settings) -> Past:
    """Return what both ledgers hold now, verified.

    Raises
    ------
    LedgerError, TrialLedgerError
        If one of them does not verify: a book or a number of trials that can't be trusted is none.
    """
    from research_to_prod.defs.research.assets import TRIAL_LEDGER
    from research_to_prod.research.trial_ledger import TrialLedger

    ledger = verified_ledger(settings)
    records = () if ledger is None else ledger.records()
    trials = TrialLedger(settings.ledger / TRIAL_LEDGER)
    head = trials.head  # first: others may append meanwhile, and a decision counts exactly what it names
    return Past(records, tuple(trials.records(head)), head)


def verified_ledger(settings: Settings) -> Ledger | None:
    """Return the promotion ledger for reading; None where nothing was ever decided."""
    from research_to_prod.promotion.keys import PUBLIC_FILE, read_keys
    from research_to_prod.promotion.ledger import Ledger
    from research_to_prod.promotion.verifier import RECORDS

    if not (settings.ledger / RECORDS).exists():
        return None
    return Ledger(settings.ledger, read_keys(settings.keys / PUBLIC_FILE))


def judge(lake: Reader, name: str, policy: Policy, past: Past) -> Judgement:
    """Gather the candidate's evidence and hold it against ``policy``.

    Parameters
    ----------
    lake
        The lake as it is now, or as a past decision read it.

    Raises
    ------
    LakeError
        If backtest, trials, validation, or a month of market quality or findings was never materialized.
    """
    from research_to_prod.research.trial_ledger import distinct_trials

    study = read_bars(lake, name)
    candidate = study.candidate
    backtest, trials, validation = (lake.read(table, name) for table in ("backtest", "trials", "validation"))
    quality, findings = (lake.read(name, candidate.window.months) for name in ("market_quality", "market_findings"))
    book, read = _live_book(lake, name, past.records)
    evidence = gather_evidence(
        candidate,
        study.strategy,
        quality.rows,
        findings.rows,
        backtest.rows,
        distinct_trials(past.trials, candidate.strategy, candidate.universe),
        validation=validation.rows,
        bars=study.bars,
        book=book,
    )
    shown = read_evidence_of_trading(lake, study, policy, past.records)
    evidence = replace(evidence, latency=shown.latency, paired=shown.paired, readiness=shown.readiness)
    read = (*study.read, backtest, trials, validation, quality, findings, *read, *shown.read)
    return Judgement(study, backtest.rows, trials.rows, policy, evidence, evaluate(policy, evidence), read)


def _live_book(
    lake: Reader, name: str, records: Iterable[Record]
) -> tuple[tuple[BookStrategy, ...] | None, tuple[Snapshot, ...]]:
    """Return the strategies that trade the desk's money beside ``name``, None when one is not known; and what was read.

    Records that hold a stage are the book, each with the capital that its limits allow.
    """
    book, read = [], []
    for record in standing(records).deciding():
        if record.to_stage not in MONEY or record.candidate == name:
            continue
        other, _, recorded = read_candidate(lake, record.candidate)
        backtest = lake.read("backtest", record.candidate)
        read += [recorded, backtest]
        capital = None if record.limits is None or record.limits.capital is None else float(record.limits.capital)
        found = None if capital is None else book_strategy(other, backtest.rows, capital)
        if found is None or other.sha256 != record.candidate_sha256:
            return None, tuple(read)
        book.append(found)
    return tuple(book), tuple(read)
