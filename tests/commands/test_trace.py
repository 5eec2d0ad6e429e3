"""`r2p trace`, `r2p replay` and `r2p why`, as an auditor types them: a lake and two ledgers, and no Dagster instance.

The desk is small and real: raw bars with a fetch's certificate, a declared repair, quarantined rows, a backtest,
trials, and a decision that the gates refused.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

import research_to_prod
from research_to_prod.cli import app
from research_to_prod.defs.gates.judgement import Past, judge
from research_to_prod.defs.research.assets import TRIAL_LEDGER
from research_to_prod.defs.tables import TABLES, stored_tables
from research_to_prod.gates.policy import load_policy
from research_to_prod.lake import Column, Lake
from research_to_prod.market_data.certificates import certificates_table, issue
from research_to_prod.market_data.contracts import (
    FETCH_CERTIFICATES,
    MARKET_FINDINGS,
    MARKET_QUALITY,
    RAW_CANDLES,
)
from research_to_prod.market_data.repairs import Repair, apply_repairs
from research_to_prod.promotion.code_identity import code_identity
from research_to_prod.promotion.decision import decide
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Case, CodeIdentity, Dagster, Input, Policy, Record
from research_to_prod.research.bars import align_bars
from research_to_prod.research.candidate import Candidate, Window, canonical_parameters
from research_to_prod.research.candidate_table import candidate_to_table
from research_to_prod.research.strategy import load_strategy
from research_to_prod.research.trial_ledger import TrialLedger
from research_to_prod.research.trials import backtest_candidate, run_trials
from research_to_prod.research.validation.measures import validation_table
from research_to_prod.values import Stage, sha256_hex

PACKAGE = Path(research_to_prod.__file__).parent
NAME, MONTH, MARKET = "some_candidate", "2024-01", "BTC/USDT"
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = 744
SECRET = "<script>alert(1)</script> & more"


@dataclass
class Desk:
    """A desk's data on disk, and the command line over it."""

    data: Path
    folder: Path
    record: Record

    @property
    def lake(self) -> Lake:
        return Lake(self.data / "lake")

    def r2p(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, [str(each) for each in arguments])

    def json(self, *arguments: object) -> Any:
        return json.loads(self.r2p(*arguments, "--json").stdout)


def fetched(hours: int, body: str) -> tuple[pa.Table, pa.Table]:
    """Return the raw bars of one fetch, with one sent twice and one broken, and its certificate."""
    certificate = issue(
        venue="sandbox",
        endpoint="klines",
        scope=f"{MARKET} 1h",
        interval=(START, START + timedelta(hours=hours)),
        bodies=[sha256_hex(body.encode())],
        rows=hours + 1,
        terminal="end_reached",
    )
    close = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, hours)))
    rows = [
        {
            "venue": "sandbox", "symbol": MARKET, "timeframe": "1h", "ts": START + timedelta(hours=n), "open": price,
            "high": price * 1.01, "low": price * 0.99, "close": price, "volume": 5.0,
            "fetch_id": certificate.fetch_id, "page": 0, "row": n,
        }
        for n, price in enumerate(close.tolist())
    ]  # fmt: skip
    rows[50]["high"] = rows[50]["low"] / 2
    rows.append({**rows[10], "row": hours})
    raw = pa.Table.from_pylist(rows, schema=RAW_CANDLES.arrow)
    return raw, certificates_table([certificate], f"raw_candles-{MONTH}")


def write_market(lake: Lake, raw: pa.Table, certificates: pa.Table, repairs: list[Repair]) -> None:
    """Make the month as the assets do, from its raw rows down."""
    done = apply_repairs(raw, repairs, MONTH)
    tables = {
        "raw_candles": raw,
        "repairs": done.log,
        "candles": done.accepted,
        "candle_quarantine": done.rejected,
        "funding_rates": TABLES["funding_rates"].empty(),
        "market_quality": MARKET_QUALITY.empty(),
        "market_findings": MARKET_FINDINGS.empty(),
    }
    lake.write("fetch_certificates", f"raw_candles-{MONTH}", certificates, FETCH_CERTIFICATES)
    for name, rows in tables.items():
        lake.write(name, MONTH, rows, TABLES[name])


def declared() -> Repair:
    fields = {
        "id": "masked", "author": "user:mira", "reason": f"Looked at with the venue {SECRET}", "kind": "mask",
        "declared_at": "2024-02-02T00:00Z", "venue": "sandbox", "symbol": MARKET, "timeframe": "1h",
        "start": "2024-01-05T00:00Z", "end": "2024-01-05T02:00Z",
    }  # fmt: skip
    return Repair.model_validate(fields | {"text": yaml.safe_dump(fields)})


def make_desk(root: Path) -> Record:
    """Write everything that one refused decision rests on, and the decision."""
    data, folder = root / "data", Path(shutil.copytree(PACKAGE / "desk", root / "desk"))
    lake, trials = Lake(data / "lake"), TrialLedger(data / "ledger" / TRIAL_LEDGER)
    strategy = load_strategy(folder / "strategies", "momentum")
    candidate = Candidate(
        name=NAME,
        owner="user:mira",
        hypothesis=f"Prices that moved keep moving for another day or two. {SECRET}",
        strategy="momentum",
        type=strategy.type,
        venue="sandbox",
        universe=(MARKET,),
        timeframe="1h",
        window=Window.model_validate({"start": START.date(), "end": END.date()}),
        parameters={"lookback_hours": 24, "rebalance_hours": 6},
        search_space={"lookback_hours": (12, 24, 48)},
        capital="1000",  # type: ignore[arg-type]
        strategy_sha256=strategy.source_sha256,
    )
    write_market(lake, *fetched(HOURS, "the first answer"), [declared()])
    bars = align_bars(
        lake.read("candles", MONTH).rows, TABLES["funding_rates"].empty(), (MARKET,), START, END, timedelta(hours=1)
    )
    asked = {"run_id": "run", "recorded_at": NOW}
    for name, rows in {
        "candidate": candidate_to_table(candidate, strategy),
        "trials": run_trials(candidate, strategy, bars, trials, **asked),  # type: ignore[arg-type]
        "backtest": backtest_candidate(candidate, strategy, bars, trials, **asked),  # type: ignore[arg-type]
        "validation": validation_table(NAME, []),
    }.items():
        lake.write(name, NAME, rows, TABLES[name])

    policy = load_policy(folder / "policies" / "research_to_paper.yaml")
    judged = judge(lake, NAME, policy, Past((), tuple(trials.records()), trials.head))
    report, parameters = judged.report, canonical_parameters(candidate.own_parameters(strategy)).encode()
    inputs = [
        Input(
            asset=table,
            partition=version.partition,
            lake_version=version.version,
            content_sha256=version.content_sha256,
            rows=version.rows,
            run_id="run",
            storage_id=1,
        )
        for table in lake.tables()
        if table != "fetch_certificates"
        for version in lake.versions(table).values()
    ]
    case = Case(
        decision_id=f"run:{NAME}",
        recorded_at=NOW,
        candidate=NAME,
        candidate_sha256=candidate.sha256,
        strategy="momentum",
        strategy_type=candidate.type,
        from_stage=Stage.RESEARCH,
        to_stage=Stage.PAPER,
        policy=Policy(id=policy.id, sha256=policy.sha256),
        code=code_identity(PACKAGE, PACKAGE.parent / "requirements.lock"),
        parameters_sha256=sha256_hex(parameters),
        inputs=tuple(inputs),
        checks=(),
        n_trials=judged.evidence.n_trials,
        trial_ledger_head=trials.head,
        author=candidate.owner,
        dagster=Dagster(run_id="run"),
    )
    ledger = Ledger(data / "ledger", open_keys(data / "keys", NOW))
    blobs = [policy.canonical_bytes(), parameters, report.canonical_bytes()]
    return ledger.append(decide(case, report, []), blobs)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    root = tmp_path_factory.mktemp("made")
    return root, make_desk(root)


@pytest.fixture
def desk(made: tuple[Path, Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("R2P_DESK", str(tmp_path / "desk"))
    monkeypatch.setenv("COLUMNS", "300")
    return Desk(tmp_path / "data", tmp_path / "desk", made[1])


def ledger_of(desk: Desk) -> Ledger:
    return Ledger(desk.data / "ledger", open_keys(desk.data / "keys", NOW))


def a_newer_fetch(desk: Desk) -> None:
    """Fetch the month again with another answer, take the repair away, and replace every certificate."""
    write_market(desk.lake, *fetched(HOURS - 100, "a later answer"), [])


def more_trials(desk: Desk) -> None:
    """Somebody tries the strategy with other parameters, on what the lake holds now."""
    path = desk.data / "ledger" / TRIAL_LEDGER
    ledger = TrialLedger(path)
    last = ledger.records()[-1]
    ledger.append([last.model_copy(update={"trial_id": "f" * 64, "returns_at": None})], [ledger.returns(last)])


def another_policy(desk: Desk) -> None:
    path = desk.folder / "policies" / "research_to_paper.yaml"
    path.write_text("nonsense: true\n", encoding="utf-8")


def an_edited_strategy(desk: Desk) -> None:
    (desk.folder / "strategies" / "momentum.py").write_text("raise RuntimeError('edited')\n", encoding="utf-8")


def an_upgraded_lake(desk: Desk) -> None:
    """A release declares another column of every table whose rows the code doesn't make into objects by all columns."""
    note = Column("note", pa.string(), "what a later release adds", nullable=True)
    for table in set(desk.lake.tables()) - {"fetch_certificates"}:
        schema = stored_tables()[table]
        assert desk.lake.upgrade(table, replace(schema, columns=(*schema.columns, note))) == ["note"]


LATER: dict[str, Callable[[Desk], None]] = {
    "nothing": lambda _: None,
    "newer data": a_newer_fetch,
    "more trials": more_trials,
    "an edited policy": another_policy,
    "an edited strategy": an_edited_strategy,
    "an upgraded lake": an_upgraded_lake,
}


@pytest.mark.parametrize("later", LATER)
def test_whatever_came_later_the_way_down_and_the_judgement_stay_the_same(desk: Desk, later: str) -> None:
    before = desk.json("trace", 0)
    LATER[later](desk)
    assert desk.json("trace", 0) == before
    again = desk.json("replay", 0)
    assert (again["problems"], again["differences"]) == ([], [])
    assert again["gate_report_sha256"] == again["recorded_sha256"] == desk.record.gate_report_sha256
    assert bool(again["notes"]) == (later == "an edited strategy")
    assert desk.r2p("replay", 0).stdout.startswith("byte-equal")


def test_the_way_down_ends_at_the_fetch_and_names_all_that_was_done_to_its_rows(desk: Desk) -> None:
    found = desk.json("trace", f"run:{NAME}")
    assert desk.r2p("trace", 0).exit_code == 0
    assert found["problems"] == []
    (month,) = found["months"]
    (fetch,), (repair,) = month["fetches"], month["repairs"]
    (certificate,) = desk.lake.read("fetch_certificates").rows.to_pylist()
    assert (fetch["fetch_id"], fetch["complete"], fetch["terminal"]) == (certificate["fetch_id"], True, "end_reached")
    assert (repair["id"], repair["author"], repair["bars"]) == ("masked", "user:mira", 2)
    assert sum(month["quarantined"].values()) == 4
    assert month["quarantined"]["duplicate"] == 1
    assert month["quarantined"]["masked"] == 2
    recorded = {(each.asset, each.content_sha256) for each in ledger_of(desk).evidence(desk.record).inputs}
    shown = [*found["partitions"], *month["partitions"]]
    assert len(shown) == len(recorded)
    assert {(each["asset"], each["content_sha256"]) for each in shown} == recorded


def test_headline_figures_are_those_of_the_backtest_and_the_trial_ledger(desk: Desk) -> None:
    found = desk.json("trace", 0)
    base = desk.lake.read("backtest", NAME).rows.to_pylist()
    last = [row["equity"] for row in base if row["scenario"] == "base"][-1]
    (scenario,) = [each for each in found["scenarios"] if each["scenario"] == "base"]
    assert float(scenario["total_return"]) == pytest.approx(last / 1000 - 1, abs=1e-12)
    assert scenario["days"] == 31
    tried = {row["parameters"]: row["sharpe_annual"] for row in desk.lake.read("trials", NAME).rows.to_pylist()}
    assert found["trials"]["count"] == len(tried) == 3
    assert float(found["trials"]["own_sharpe"]) == pytest.approx(tried[found["parameters"]])
    assert float(found["trials"]["best_sharpe"]) == pytest.approx(max(tried.values()))


def an_altered_file(desk: Desk) -> str:
    file = min((desk.data / "lake" / "candles").glob("partition=*/**/*.parquet"))
    file.write_bytes(b"PAR1" + file.read_bytes()[4:].replace(b"sandbox", b"sandbax"))
    return "candles"


def a_lost_file(desk: Desk) -> str:
    (file,) = (desk.data / "lake" / "raw_candles").glob("partition=*/**/*.parquet")
    file.unlink()
    return "raw_candles"


def a_lost_table(desk: Desk) -> str:
    shutil.rmtree(desk.data / "lake" / "backtest")
    return "backtest"


def a_cut_trial_ledger(desk: Desk) -> str:
    path = desk.data / "ledger" / TRIAL_LEDGER
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    return "no line sealed"


@pytest.mark.parametrize("damage", [an_altered_file, a_lost_file, a_lost_table, a_cut_trial_ledger])
def test_what_is_missing_or_altered_is_named_and_the_rest_is_told(desk: Desk, damage: Callable[[Desk], str]) -> None:
    named = damage(desk)
    found, again = desk.json("trace", 0), desk.json("replay", 0)
    assert any(named in problem for problem in found["problems"]), found["problems"]
    assert found["definition"]["name"] == NAME
    assert len(found["gates"]) > 20
    assert any(named in problem for problem in again["problems"]), again["problems"]
    assert again["gate_report_sha256"] is None
    assert [desk.r2p(command, 0).exit_code for command in ("trace", "replay")] == [1, 1]


def test_replay_names_everything_that_is_lost_at_once(desk: Desk) -> None:
    a_lost_file(desk)
    a_lost_table(desk)
    problems = " ".join(desk.json("replay", 0)["problems"])
    assert "raw_candles" in problems
    assert "backtest" in problems


def test_rows_whose_certificate_was_altered_have_none(desk: Desk) -> None:
    """The fetch id is a digest of what was asked and answered, and the proven rows carry it."""
    key = f"raw_candles-{MONTH}"
    (row,) = desk.lake.read("fetch_certificates", key).rows.to_pylist()
    wider = {**row, "interval_end": row["interval_end"] + timedelta(days=1)}
    shutil.rmtree(desk.data / "lake" / "fetch_certificates")
    desk.lake.write(
        "fetch_certificates", key, pa.Table.from_pylist([wider], FETCH_CERTIFICATES.arrow), FETCH_CERTIFICATES
    )
    assert desk.json("trace", 0)["problems"] == [f"{key} has no certificate of fetch {row['fetch_id']}"]


def test_another_judgement_is_listed_gate_by_gate(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an edit of the gates' code: the report of today is not the recorded one."""
    from dataclasses import replace

    from research_to_prod.defs.gates import judgement
    from research_to_prod.gates.evaluation import GateReport, evaluate

    def edited(policy: Any, evidence: Any) -> GateReport:
        report = evaluate(policy, evidence)
        first = replace(report.gates[0], threshold=0.5, samples=1)
        return replace(report, gates=(first, *report.gates[1:]))

    monkeypatch.setattr(judgement, "evaluate", edited)
    monkeypatch.setattr(
        "research_to_prod.promotion.code_identity.code_identity",
        lambda *_: CodeIdentity(package_sha256="0" * 64, lockfile_sha256="0" * 64, version="9"),
    )
    shown, again = desk.r2p("replay", 0), desk.json("replay", 0)
    assert shown.exit_code == 1
    assert shown.stdout.startswith("differs")
    assert {(each["gate"], each["field"]) for each in again["differences"]} == {
        ("completeness", "threshold"),
        ("completeness", "samples"),
    }
    assert len(again["notes"]) == 2


def test_the_dossier_is_one_page_that_runs_nothing_and_asks_for_nothing(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "dossier.html"
    assert desk.r2p("trace", 0, "--html", path).exit_code == 0
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    outside = set(re.findall(r"https?://[^\"' <]+", page))
    assert outside == {"http://www.w3.org/2000/svg"}
    assert re.search(r'<meta name="viewport" content="width=device-width', page)
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for each in desk.json("trace", 0)["months"][0]["partitions"]:
        assert each["content_sha256"] in page


def test_a_dossier_among_the_reports_is_listed_with_them_and_leads_back(desk: Desk) -> None:
    reports = desk.data / "reports"
    reports.mkdir()
    assert desk.r2p("trace", 0, "--html", reports / "dossier-first.html").exit_code == 0
    assert 'href="dossier-first.html"' in (reports / "index.html").read_text()
    assert 'href="index.html"' in (reports / "dossier-first.html").read_text()


@pytest.mark.parametrize("lost", ["raw_candles", "candidate", "backtest"])
def test_the_dossier_of_a_decision_whose_data_are_gone_says_so(desk: Desk, tmp_path: Path, lost: str) -> None:
    shutil.rmtree(desk.data / "lake" / lost)
    path = tmp_path / "dossier.html"
    assert desk.r2p("trace", 0, "--html", path).exit_code == 1
    page = path.read_text(encoding="utf-8")
    assert f"has no table &#39;{lost}&#39;" in page
    assert re.search(rf">{lost}</text><text [^>]+>1 not proven<", page)


def test_the_dossier_names_who_approved(desk: Desk) -> None:
    from research_to_prod.promotion.evidence import READS
    from research_to_prod.promotion.record import Approval
    from research_to_prod.promotion.trace import trace
    from research_to_prod.reports.dossier import render_html

    found = trace(desk.record, ledger_of(desk), desk.lake, TrialLedger(desk.data / "ledger" / TRIAL_LEDGER))
    approval = Approval(key_id="k" * 64, person="user:bob", envelope_sha256="e" * 64, signed_at=NOW)
    approved = found.record.model_copy(update={"approvals": (approval,)})
    page = render_html(found.model_copy(update={"record": approved}), READS)
    assert "Approved by user:bob, 2026-03-01 12:00 UTC" in page
    assert "e" * 64 in page


def test_the_diagram_draws_every_table_below_what_was_made_of_it(desk: Desk) -> None:
    from research_to_prod.promotion.evidence import READS
    from research_to_prod.promotion.trace import trace
    from research_to_prod.reports.dossier import closure_svg

    found = trace(desk.record, ledger_of(desk), desk.lake, TrialLedger(desk.data / "ledger" / TRIAL_LEDGER))
    svg = closure_svg(found, READS)
    height = {name: float(y) for y, name in re.findall(r'<text x="[^"]+" y="([^"]+)" fill="var\(--ink\)">(\w+)<', svg)}
    drawn = {each.asset for each in found.inputs()}
    assert height.keys() == drawn | {"decision", "fetches"}
    for name in drawn:
        assert height["decision"] < height[name]
        assert all(height[name] < height[each] for each in READS[name] & drawn)


def test_openlineage_events_are_of_the_spec_and_carry_our_hashes(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert desk.r2p("trace", 0, "--openlineage", path).exit_code == 0
    start, complete = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"] == complete["run"]
    facets = [complete["run"]["facets"]]
    for event in (start, complete):
        assert event.keys() >= {"eventTime", "producer", "schemaURL", "run", "job"}
        assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", event["run"]["runId"])
        assert datetime.fromisoformat(event["eventTime"]) == NOW
    for dataset in (*complete["inputs"], *complete["outputs"]):
        assert dataset.keys() == {"namespace", "name", "facets"}
        assert dataset["facets"]["version"]["datasetVersion"]
        facets.append(dataset["facets"])
    for facet in (facet for each in facets for facet in each.values()):
        assert facet.keys() > {"_producer", "_schemaURL"}
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/")
    content = {each["name"]: each["facets"]["r2p_content"]["content_sha256"] for each in complete["inputs"]}
    assert content == {
        f"lake/{each.asset}/{each.partition}": each.content_sha256
        for each in ledger_of(desk).evidence(desk.record).inputs
    }
    assert complete["run"]["facets"]["r2p_decision"]["record_sha256"] == desk.record.sha256


@pytest.mark.parametrize("command", [("trace", "nobody"), ("replay", "17"), ("why", "nobody", "--on", "2026-03-01")])
def test_what_nobody_recorded_is_a_usage_error(desk: Desk, command: tuple[str, ...]) -> None:
    shown = desk.r2p(*command)
    assert shown.exit_code == 2
    assert "r2p ledger" in shown.output


def an_edited_record(desk: Desk) -> None:
    path = desk.data / "ledger" / "records.jsonl"
    path.write_bytes(path.read_bytes().replace(b"user:mira", b"user:mary"))


def a_lost_policy(desk: Desk) -> None:
    ledger_of(desk).blobs.path(desk.record.policy.sha256).unlink()


@pytest.mark.parametrize("damage", [an_edited_record, a_lost_policy])
@pytest.mark.parametrize("command", [("trace", "0"), ("replay", "0"), ("why", NAME, "--on", "2026-03-01")])
def test_nothing_is_told_of_a_ledger_that_does_not_verify(
    desk: Desk, command: tuple[str, ...], damage: Callable[[Desk], None]
) -> None:
    damage(desk)
    shown = desk.r2p(*command)
    assert (shown.exit_code, shown.stdout) == (1, "")


def test_a_refused_candidate_was_at_research_and_the_refusal_says_why(desk: Desk) -> None:
    assert "no record had moved it" in desk.r2p("why", NAME, "--on", "2026-02-28").stdout
    told = desk.r2p("why", NAME, "--on", "2026-03-01").stdout
    assert "reject of some_candidate from research to paper" in told
    assert "the gate report's verdict is" in told


def test_every_parameter_set_is_listed_and_what_a_decision_counted_is_counted_again(desk: Desk) -> None:
    found = desk.json("audit", "trials", NAME)
    assert (found["strategy"], found["universe"]) == ("momentum", [MARKET])
    assert sorted(json.loads(each["parameters"])["lookback_hours"] for each in found["trials"]) == [12, 24, 48]
    assert {tuple(each["candidates"]) for each in found["trials"]} == {(NAME,)}
    (decision,) = found["decisions"]
    assert (decision["n_trials"], decision["counted_again"], decision["since"]) == (3, 3, 0)
    more_trials(desk)
    (decision,) = desk.json("audit", "trials", NAME)["decisions"]
    assert (decision["counted_again"], decision["since"]) == (3, 1)
    shown = desk.r2p("audit", "trials", NAME)
    assert shown.exit_code == 0
    assert f"4 parameter sets were tried of momentum on {MARKET}." in shown.stdout
    assert "decided on 3, the trial ledger has as many up to then; 1 since" in shown.stdout


def test_trials_that_are_gone_or_were_never_made_are_no_empty_list(desk: Desk) -> None:
    shown = desk.r2p("audit", "trials", "nobody")
    assert shown.exit_code == 2
    assert f"there are trials of {NAME}" in shown.output
    a_cut_trial_ledger(desk)
    shown = desk.r2p("audit", "trials", NAME)
    assert (shown.exit_code, shown.stdout) == (1, "")


def test_a_recorded_policy_is_held_against_another_by_its_hash(desk: Desk) -> None:
    path = desk.folder / "policies" / "research_to_paper.yaml"
    path.write_text(path.read_text().replace("value: 0.999\n", "value: 0.99\n", 1), encoding="utf-8")
    found = desk.json("policy", "diff", desk.record.policy.sha256[:12], "research_to_paper")
    before, after = found["policies"]
    assert before["sha256"] == desk.record.policy.sha256
    assert before["used"] == "1 decisions, the first record 0 of 2026-03-01 12:00Z"
    assert after["used"] == "nothing was decided under it"
    assert {(each["before"], each["after"]) for each in found["changes"]} == {("0.999", "0.99")}
    assert [each["problem"] for each in found["decisions"]] == [""]
