"""The whole way down from one decision: gates, backtest, trials, candles, fetches, repairs, as they were.

Everything is read from the ledgers and from the lake at the versions that the decision recorded, each proven by its
content hash; newer data change nothing, and Dagster's database is not needed. What is not there any more, or not what
it was, is a problem that the trace names; the rest is told all the same.

Certificates of fetches are no recorded input: they are found in the history of their table by the fetch ids that the
proven rows carry. A fetch id is the digest of what was asked and answered, so a certificate can't be moved to another
interval or answer; that a fetch was complete rests on its table's commit alone.

Belongs here: the value and how it is put together. Doesn't: how it is shown (reports), judging again (replay).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from research_to_prod.lake import Lake, LakeError, Version
from research_to_prod.market_data.certificates import Certificate, certificates_from
from research_to_prod.market_data.repairs import Repair, repairs_from
from research_to_prod.promotion.blobs import BlobError
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Check, Evidence, Gate, Record, number_text
from research_to_prod.research.candidate import Candidate
from research_to_prod.research.candidate_table import candidate_from_table
from research_to_prod.research.metrics import annualised_sharpe_ratio, daily_returns, max_drawdown, sharpe_ratio
from research_to_prod.research.trial_ledger import TrialLedger, TrialLedgerError, distinct_trials
from research_to_prod.research.trials import SCENARIOS

MONTHLY = (
    "candles",
    "raw_candles",
    "repairs",
    "candle_quarantine",
    "funding_rates",
    "market_quality",
    "market_findings",
)
"""The tables of market data in the closure, what strategies see first."""
_FETCHED = ("raw_candles", "funding_rates")
"""Those of them whose rows name the fetch that they came from."""

Market = tuple[str, str]
"""A venue and a symbol."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Partition(_Value):
    """One partition as the decision read it, and whether the lake still has exactly that; ``problem`` says what not."""

    asset: str
    partition: str | None
    version: int
    content_sha256: str
    rows: int
    run_id: str
    problem: str = ""


class Scenario(_Value):
    """Headline figures of the backtest under one cost scenario; numbers as shortest text, None: undefined."""

    scenario: str
    days: int
    sharpe_annual: str | None
    total_return: str
    max_drawdown: str | None


class Trials(_Value):
    """What had been tried when it was decided; Sharpe ratios are annual."""

    count: int | None
    ledger_head: str | None
    own_sharpe: str | None = None
    best_sharpe: str | None = None
    problem: str = ""


class Fetch(_Value):
    """One fetch that the month's rows came from, as its completeness certificate says."""

    table: str
    fetch_id: str
    venue: str
    endpoint: str
    scope: str
    interval_start: datetime
    interval_end: datetime
    pages: int
    rows: int
    terminal: str
    complete: bool
    body_sha256: str


class AppliedRepair(_Value):
    """One declared repair that the month was made with."""

    id: str
    kind: str
    author: str
    reason: str
    market: str
    start: datetime
    end: datetime
    bars: int
    file_sha256: str

    @classmethod
    def of(cls, repair: Repair, bars: int) -> AppliedRepair:
        """Take what a trace shows of a repair that touched ``bars`` bars."""
        same = repair.model_dump(include={"id", "kind", "author", "reason", "start", "end"})
        return cls(**same, market=" ".join(repair.market), bars=bars, file_sha256=repair.sha256)


class Month(_Value):
    """One month of the candidate's markets, from candles down to the fetches."""

    month: str
    partitions: tuple[Partition, ...]
    fetches: tuple[Fetch, ...]
    repairs: tuple[AppliedRepair, ...]
    quarantined: dict[str, int]
    """Rows of the candidate's markets that did not become candles, by the rules that they broke."""


class Trace(_Value):
    """A decision and everything under it.

    Parameters
    ----------
    record
        The decision as it was signed: who, when, stages, policy, code, approvals.
    definition
        The candidate's whole file, defaults filled in; None when it can't be read any more.
    parameters, policy
        The very texts whose hashes the record names.
    months
        The months of the candidate's window.
    partitions
        What else was read: the candidate's own tables, and what the live book beside it rests on.
    problems
        Everything that is missing or not what it was; empty when the whole way down was found.
    """

    record: Record
    record_sha256: str
    gates: tuple[Gate, ...]
    checks: tuple[Check, ...]
    definition: Candidate | None
    parameters: str | None
    policy: str | None
    scenarios: tuple[Scenario, ...]
    trials: Trials
    months: tuple[Month, ...]
    partitions: tuple[Partition, ...]
    problems: tuple[str, ...]

    def inputs(self) -> Iterator[Partition]:
        """Yield every partition of the closure once."""
        yield from self.partitions
        for month in self.months:
            yield from month.partitions


def trace(record: Record, ledger: Ledger, lake: Lake, trials: TrialLedger) -> Trace:
    """Follow ``record`` down to the fetches.

    Every partition that it names is read once and proven, so this takes about as long as reading the data does.

    Parameters
    ----------
    record
        A record of ``ledger``, verified with it.
    """
    reading = _Reading.of(record, ledger, lake)
    definition = reading.definition()
    backtest = reading.rows("backtest", record.candidate)
    months = () if definition is None else tuple(reading.month(definition, each) for each in definition.window.months)
    parameters = reading.blob(record.parameters_sha256)
    tried = _trials(record, trials, definition, parameters)
    reading.prove_the_rest()
    of_months = {(each.asset, each.partition) for month in months for each in month.partitions}
    return Trace(
        record=record,
        record_sha256=record.sha256,
        gates=reading.evidence.gates,
        checks=reading.evidence.checks,
        definition=definition,
        parameters=parameters,
        policy=reading.blob(record.policy.sha256),
        scenarios=() if definition is None or backtest is None else tuple(_scenarios(definition, backtest)),
        trials=tried,
        months=months,
        partitions=tuple(part for key, part in reading.read.items() if key not in of_months),
        problems=(*reading.problems, *([tried.problem] if tried.problem else [])),
    )


@dataclass
class _Reading:
    """One pass over what a decision recorded; what can't be had becomes a problem and None, never an exception."""

    ledger: Ledger
    lake: Lake
    evidence: Evidence
    candidate: str
    problems: list[str]
    read: dict[tuple[str, str | None], Partition] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record, ledger: Ledger, lake: Lake) -> _Reading:
        try:
            return cls(ledger, lake, ledger.evidence(record), record.candidate, [])
        except (BlobError, ValueError) as error:
            return cls(ledger, lake, Evidence(inputs=(), checks=(), gates=()), record.candidate, [str(error)])

    def blob(self, sha256: str) -> str | None:
        """Return a text that the record names by its hash."""
        try:
            return self.ledger.blobs.read(sha256).decode()
        except BlobError as error:
            self.problems.append(str(error))
            return None

    def rows(self, asset: str, partition: str | None) -> pa.Table | None:
        """Return the rows of a recorded partition, proven; None where it was not recorded or is not what it was."""
        for each in self.evidence.inputs:
            if (each.asset, each.partition) == (asset, partition):
                break
        else:
            return None
        version = Version(each.asset, each.partition, each.lake_version, each.content_sha256, each.rows)
        rows, problem = None, ""
        try:
            rows = self.lake.read_version(version)
        except LakeError as error:
            problem = str(error)
            self.problems.append(problem)
        self.read[asset, partition] = Partition(
            asset=asset,
            partition=partition,
            version=each.lake_version,
            content_sha256=each.content_sha256,
            rows=each.rows,
            run_id=each.run_id,
            problem=problem,
        )
        return rows

    def prove_the_rest(self) -> None:
        """Read what nothing was shown of."""
        for each in self.evidence.inputs:
            if (each.asset, each.partition) not in self.read:
                self.rows(each.asset, each.partition)

    def definition(self) -> Candidate | None:
        """Return the candidate as it was materialized; its code is not run."""
        rows = self.rows("candidate", self.candidate)
        try:
            return None if rows is None else candidate_from_table(rows)
        except ValueError as error:
            self.problems.append(str(error))
            return None

    def month(self, candidate: Candidate, month: str) -> Month:
        """Return one month of the candidate's markets, and of those that its repairs filled from."""
        found = {name: self.rows(name, month) for name in ("repairs", "candle_quarantine", *_FETCHED)}
        markets = {(candidate.venue, symbol) for symbol in candidate.universe}
        repairs = _applied(found["repairs"], markets, candidate.timeframe)
        quarantine = _of(found["candle_quarantine"], markets, candidate.timeframe)
        rules = Counter[str]() if quarantine is None else Counter(quarantine["rule"].to_pylist())
        sources = {(each.source.venue, each.source.symbol) for each, _ in repairs if each.source is not None}
        fetches = [
            Fetch(table=table, **{name: getattr(each, name) for name in Fetch.model_fields if name != "table"})
            for table in _FETCHED
            for each in self.certificates(table, month, _of(found[table], markets | sources, candidate.timeframe))
        ]
        for name in MONTHLY:
            if (name, month) not in self.read:
                self.rows(name, month)
        return Month(
            month=month,
            partitions=tuple(self.read[name, month] for name in MONTHLY if (name, month) in self.read),
            fetches=tuple(fetches),
            repairs=tuple(AppliedRepair.of(each, bars) for each, bars in repairs),
            quarantined=dict(sorted(rules.items())),
        )

    def certificates(self, table: str, month: str, rows: pa.Table | None) -> list[Certificate]:
        """Return the certificates of the fetches that ``rows`` came from, as they stood when these were written."""
        wanted = set() if rows is None else set(rows["fetch_id"].unique().to_pylist())
        if not wanted:
            return []
        key, held = f"{table}-{month}", dict[str, Certificate]()
        try:
            # A refetch replaces certificates, so the version that knew these fetches may be an old one.
            for version in self.lake.history("fetch_certificates", key):
                stored = certificates_from(self.lake.read_version(version))
                held |= {each.fetch_id: each for each in stored if each.fetch_id in wanted and each.genuine}
                if held.keys() >= wanted:
                    break
        except LakeError as error:
            self.problems.append(str(error))
        self.problems += [f"{key} has no certificate of fetch {each}" for each in sorted(wanted - held.keys())]
        return sorted(held.values(), key=lambda each: (each.venue, each.scope, each.interval_start, each.fetch_id))


def _of(rows: pa.Table | None, markets: Iterable[Market], timeframe: str) -> pa.Table | None:
    """Return the rows of these markets; bars of one timeframe only."""
    if rows is None:
        return None
    chosen = pa.array([False] * len(rows), pa.bool_())
    for venue, symbol in markets:
        chosen = pc.or_(chosen, pc.and_(pc.equal(rows["venue"], venue), pc.equal(rows["symbol"], symbol)))
    if "timeframe" in rows.column_names:
        chosen = pc.and_(chosen, pc.equal(rows["timeframe"], timeframe))
    return rows.filter(chosen)


def _applied(rows: pa.Table | None, markets: set[Market], timeframe: str) -> list[tuple[Repair, int]]:
    """Return the repairs of these markets, each with the bars that it touched."""
    if rows is None:
        return []
    chosen = {(*market, timeframe) for market in markets}
    applied = zip(repairs_from(rows), rows["bars"].to_pylist(), strict=True)
    return [(repair, bars) for repair, bars in applied if repair.market in chosen]


def _scenarios(candidate: Candidate, backtest: pa.Table) -> Iterator[Scenario]:
    capital = float(candidate.capital)
    for name in SCENARIOS:
        rows = backtest.filter(pc.equal(backtest["scenario"], name)).sort_by("ts")
        equity = rows["equity"].to_numpy()
        if not len(equity):
            continue
        days, returns = daily_returns(rows["ts"].to_numpy(), equity, capital)
        yield Scenario(
            scenario=name,
            days=len(days),
            sharpe_annual=_figure(annualised_sharpe_ratio(sharpe_ratio(returns))),
            total_return=str(float(equity[-1]) / capital - 1),
            max_drawdown=_figure(max_drawdown(equity, capital)),
        )


def _trials(record: Record, trials: TrialLedger, candidate: Candidate | None, parameters: str | None) -> Trials:
    """Return what the trial ledger held when it was decided: up to the line that the record names."""
    stated = {"count": record.n_trials, "ledger_head": record.trial_ledger_head}
    if candidate is None or record.trial_ledger_head is None:
        return Trials(**stated)
    try:
        past = trials.records(record.trial_ledger_head)
    except TrialLedgerError as error:
        return Trials(**stated, problem=str(error))
    tried = distinct_trials(past, candidate.strategy, candidate.universe).values()
    daily = {(each.timeframe, each.parameters): each.sharpe_daily for each in tried if each.sharpe_daily is not None}
    own = None if parameters is None else daily.get((candidate.timeframe, parameters))
    if record.n_trials is not None and record.n_trials != len(tried):
        problem = f"the trial ledger held {len(tried)} distinct trials up to its recorded head, not {record.n_trials}"
    else:
        problem = ""
    return Trials(
        **stated,
        own_sharpe=None if own is None else _figure(annualised_sharpe_ratio(own)),
        best_sharpe=_figure(annualised_sharpe_ratio(max(daily.values()))) if daily else None,
        problem=problem,
    )


def _figure(value: float) -> str | None:
    return number_text(value) if math.isfinite(value) else None
