"""From paper to canary on the sandbox: the simulated desk trades on paper, and what it shows decides.

The policy of the way is the shipped one but for its sample sizes: medians instead of a p99 of latency, and what
eight days of this strategy's five orders a day give. The shipped sizes take some 85 days of it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from research_to_prod.defs.attribution.assets import slippage
from research_to_prod.defs.attribution.checks import components_add_up
from research_to_prod.defs.execution import assets as execution
from research_to_prod.defs.gates.assets import gate_report, readiness
from research_to_prod.defs.gates.checks import gates_by_family
from research_to_prod.defs.gates.judgement import judge, now_known, policy_into
from research_to_prod.defs.gates.replay import replay
from research_to_prod.defs.market_data.assets import (
    examined_markets,
    funding_rates,
    raw_candles,
    validated_candles,
)
from research_to_prod.defs.operations.control_state import control_state
from research_to_prod.defs.operations.kill_drill import kill_drill, kills_everything
from research_to_prod.defs.partitions import CANDIDATES
from research_to_prod.defs.promotion.assets import production_manifest, promotion
from research_to_prod.defs.research import assets as research
from research_to_prod.defs.research import checks as research_checks
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.runner import open_instance
from research_to_prod.lake import Lake, Snapshot
from research_to_prod.promotion.approvals import approve
from research_to_prod.promotion.keys import new_approver, open_keys, public_entries, trust
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.manifest import read_manifest
from research_to_prod.promotion.record import CodeIdentity, Record, RecordType
from research_to_prod.promotion.waiting import ApprovalFolder, envelope_name
from research_to_prod.sandbox.book import BOOK
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.settings import Settings
from research_to_prod.values import Stage

pytestmark = pytest.mark.slow

NAME = "btc_momentum"
MONTHS = [f"{year}-{month:02d}" for year, months in ((2024, [12]), (2025, range(1, 13))) for month in months]
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [(date(2026, 1, 1) + timedelta(n)).isoformat() for n in range(8)]
UNIVERSE = """
venues:
  - {name: sandbox, ccxt: binance, key_variable: KEY, secret_variable: SECRET, rate_limit_ms: 1}
markets:
  - {venue: sandbox, symbol: BTC/USDT, timeframe: 1h, since: 2024-12-01}
"""
SAMPLES = (
    (r"(    swing:\n      minimum_samples: \{value: )300", r"\g<1>20"),
    (r"p50: 500, p95: 2000, p99: 5000", "p50: 500"),
    (r"cancel_to_ack: \{p99: 5000", "cancel_to_ack: {p50: 5000"),
    (r"(minimum_days:\n    value: )5", r"\g<1>1"),
    (r"(paired_days:\n    value: )14", r"\g<1>8"),
    (r"(paired_decisions:\n    value: )200", r"\g<1>30"),
)


@dataclass
class World:
    """A desk with one candidate, its instance, and the time that it is."""

    settings: Settings
    instance: dg.DagsterInstance
    now: datetime = START

    def run(self, *definitions: Any, partition: str | None = NAME, to_stage: str = "") -> bool:
        environment = {"R2P_DATA": str(self.settings.data), "R2P_DESK": str(self.settings.desk)}
        config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        if to_stage:
            config["ops"] = {"gate_report": {"config": {"to_stage": to_stage}}}
        resources = build_resources(environment, clock=lambda: self.now)
        done = dg.materialize(
            list(definitions), instance=self.instance, partition_key=partition, resources=resources,
            run_config=config, raise_on_error=False,
        )  # fmt: skip
        return done.success

    def report(self, to_stage: str) -> None:
        self.run(readiness, gate_report, gates_by_family, to_stage=to_stage)

    def last(self) -> Record:
        return self.ledger.records()[-1]

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger, open_keys(self.settings.keys, self.now))

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The candidate at paper since the first instant of 2026, and eight days of its trading there."""
    folder = tmp_path_factory.mktemp("canary")
    desk = Path(shutil.copytree(Settings().desk, folder / "desk"))
    (desk / "universe.yaml").write_text(UNIVERSE)
    candidate = desk / "candidates" / f"{NAME}.yaml"
    candidate.write_text(candidate.read_text().replace("start: 2023-01-01", "start: 2024-12-01"))
    policy = desk / "policies" / "paper_to_canary.yaml"
    text = policy.read_text()
    for old, new in SAMPLES:
        text, times = re.subn(old, new, text)
        assert times == 1, old
    policy.write_text(text)
    settings = Settings(data=folder / "data", desk=desk)
    with pytest.MonkeyPatch.context() as patch, open_instance(settings) as instance:
        # A developer's tree is seldom committed, and uncommitted code promotes to no money.
        patch.setattr("research_to_prod.defs.promotion.decision.code_identity", lambda *_: committed())
        instance.add_dynamic_partitions(CANDIDATES.name or "", [NAME])
        made = World(settings, instance)
        made.now = datetime(2026, 2, 1, 1, tzinfo=UTC)
        for month in [*MONTHS, "2026-01"]:
            assert made.run(raw_candles, validated_candles, funding_rates, examined_markets, partition=month)
        made.now = START
        studies = (research.candidate, research.trials, research.backtest, research.validation)
        judges = [each for each in vars(research_checks).values() if isinstance(each, dg.AssetChecksDefinition)]
        assert made.run(*studies, *judges)
        made.report("paper")
        assert made.run(promotion), made.last().reasons
        simulated = SandboxDesk(SandboxMarket(7), BOOK[:1], FaultPlan())
        records = (execution.decisions, execution.orders, execution.fills, execution.quotes, execution.order_events)
        for day in DAYS:
            simulated.write_inbox(day, settings.inbox)
            assert made.run(*records, slippage, components_add_up, partition=day)
        made.now = START + timedelta(days=len(DAYS), hours=3)
        yield made


def committed() -> CodeIdentity:
    return CodeIdentity(package_sha256="1" * 64, lockfile_sha256="2" * 64, version="0.1.0", commit="c", dirty=False)


def refused_by(world: World) -> set[str]:
    assert world.last().type is RecordType.REJECT
    evidence = world.ledger.evidence(world.last())
    return {each.gate for each in evidence.gates if each.gating and each.verdict != "pass"}


def test_a_drill_that_was_fresh_when_somebody_looked_is_too_old_a_day_later(world: World) -> None:
    drilled = world.now
    assert world.run(kill_drill, kills_everything, partition=DAYS[-1])
    world.report("canary")
    world.now = drilled + timedelta(hours=24, minutes=3)
    assert not world.run(promotion)
    assert refused_by(world) == set()
    assert [each.split(",")[0] for each in world.last().reasons] == ["the kill drill that was judged is 24.1 hours old"]


def test_all_that_was_asked_for_is_shown_and_a_person_s_signature_makes_it_a_canary(
    world: World, tmp_path: Path
) -> None:
    assert world.run(kill_drill, kills_everything, partition=DAYS[-1])
    world.report("canary")
    assert not world.run(promotion)
    assert refused_by(world) == set()
    assert all("approv" in each for each in world.last().reasons), world.last().reasons

    bob = new_approver(tmp_path / "bob.key", "user:bob", world.now)
    (tmp_path / "bob.json").write_bytes(public_entries(bob))
    trust(world.settings.keys / "keys.json", tmp_path / "bob.json")
    asked = ApprovalFolder(world.settings.approvals).asked(NAME, Stage.CANARY)
    assert asked is not None
    (world.settings.approvals / envelope_name(asked, bob)).write_bytes(approve(asked, bob, world.now))
    assert world.run(promotion), world.last().reasons

    record = world.last()
    assert (record.type, record.from_stage, record.to_stage) == (RecordType.PROMOTE, Stage.PAPER, Stage.CANARY)
    assert [each.person for each in record.approvals or ()] == ["user:bob"]
    assert (record.validator, record.expires_at) == ("team:risk", world.now + timedelta(days=365))
    assert record.limits is not None
    assert record.limits.capital == "8000"
    cited = {each.asset for each in world.ledger.evidence(record).inputs}
    assert {"order_events", "quotes", "readiness", "kill_drill", "candles", "decisions", "slippage"} <= cited
    again = replay(record, world.lake, world.settings, world.ledger, committed())
    assert again.equal, again.problems
    assert world.run(control_state, production_manifest, partition=None)
    keys = open_keys(world.settings.keys, world.now)
    (entry,) = read_manifest(world.settings.production / "manifest.json", keys).entries
    assert (entry.candidate, entry.stage) == (NAME, Stage.CANARY)


@dataclass(frozen=True)
class Without:
    """The lake as it would be had a table, or some of its partitions, never been written."""

    lake: Lake
    table: str
    months: tuple[str, ...] = ()

    def _hides(self, table: str, partition: str) -> bool:
        return table == self.table and (not self.months or partition in self.months)

    def read(self, table: str, partitions: str | Sequence[str], **chosen: Any) -> Snapshot:
        asked = [partitions] if isinstance(partitions, str) else partitions
        assert not any(self._hides(table, each) for each in asked), table
        return self.lake.read(table, partitions, **chosen)

    def partitions(self, table: str) -> tuple[str, ...]:
        return tuple(each for each in self.lake.partitions(table) if not self._hides(table, each))


TRADED = {"paired_days", "paired_decisions", "slippage_ratio", "signal_to_ack_p50", "latency_busiest_hours"}
FEED = {"feed_agreement", "feed_age_p99"}


@pytest.mark.parametrize(
    ("hidden", "unknown"),
    [
        (("order_events",), {"cancel_to_ack_p50"}),
        (("quotes",), FEED),
        (("readiness",), {"runbook", "kill_drill"}),
        (("candles", ("2026-01",)), {"signal_parity", *FEED}),
        (("quotes", (DAYS[5],)), FEED),
        (("decisions",), {*TRADED, *FEED, "signal_parity", "cancel_to_ack_p50"}),
        (("slippage", (DAYS[5],)), {*TRADED, *FEED, "signal_parity", "cancel_to_ack_p50"}),
    ],
    ids=lambda each: "-".join(map(str, each)) if isinstance(each, tuple) else "",
)
def test_each_piece_of_evidence_that_is_missing_leaves_its_gates_inconclusive(
    world: World, hidden: tuple[Any, ...], unknown: set[str]
) -> None:
    policy, past = policy_into(world.settings, Stage.CANARY), now_known(world.settings)
    # As on the eve of the promotion: at canary the evidence begins anew.
    records = tuple(each for each in past.records if each.to_stage is not Stage.CANARY or each.type == "reject")
    found = judge(Without(world.lake, *hidden), NAME, policy, type(past)(records, past.trials, past.trial_head))
    assert {each.gate for each in found.report.gates if each.gating and each.verdict == "inconclusive"} == unknown
    assert found.report.verdict == "inconclusive"
