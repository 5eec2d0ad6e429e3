"""Hostile input, one law per kind of place that it may reach, and what an installation keeps by itself.

Laws of one room stand in that room's tests; docs/security.md names them all.
"""

import importlib.metadata
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import dagster as dg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from typer.testing import CliRunner

from research_to_prod.cli import app
from research_to_prod.execution.inbox import MissingDeliveryError, read_inbox
from research_to_prod.lake import Column, Lake, LakeError, Schema
from research_to_prod.lake.schema import PartitionBy
from research_to_prod.research.strategy import load_strategy
from research_to_prod.sandbox.server import SandboxServer
from research_to_prod.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "research_to_prod").rglob("*.py"))
LOCKS = [ROOT / folder / "requirements.lock" for folder in (".", "benchmarks", "tests/production")]
TRADES = Schema("trade", (Column("symbol", pa.string(), "market"), Column("n", pa.int64(), "number")), ("symbol", "n"))
NAMED = Schema("row", (Column("candidate", pa.string(), "name"),), ("candidate",), PartitionBy("candidate"))
# What has been an attack somewhere, beside whatever hypothesis finds.
ATTACKS = [
    "x'; DROP TABLE trades; --", '"; ATTACH \'/tmp/x\' --', "../../etc/x", "/etc/passwd", "..", ".", "", "a/../../b",
    "..\\x", "%2e%2e/x", "x\x00y", "CON", "~root", "$(id)", "{{7*7}}", "=1+1", "*", "[a-z]*", "s3://other/x",
]  # fmt: skip
HOSTILE = st.sampled_from(ATTACKS) | st.text(max_size=40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / "deep" / "data"


@pytest.fixture(scope="module")
def lake(home: Path) -> Lake:
    lake = Lake(home / "lake")
    lake.write("trades", None, pa.table({"symbol": ["BTC/USDT"], "n": [1]}), TRADES)
    return lake


@settings(max_examples=30)
@given(text=HOSTILE)
def test_a_value_in_sql_is_a_value(lake: Lake, text: str) -> None:
    found = lake.sql("SELECT $1 AS given, count(*) FILTER (symbol = $1) AS n FROM trades", [text]).to_pylist()
    assert found == [{"given": text, "n": 0}]
    assert lake.read("trades", where={"symbol": text}).rows.num_rows == 0
    assert (lake.tables(), lake.read("trades").rows.num_rows) == (["trades"], 1)


def everything(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if "trades" not in path.parts}


@given(text=HOSTILE)
def test_a_name_that_is_a_path_touches_nothing_outside_its_folder(home: Path, lake: Lake, text: str) -> None:
    root = home.parents[1]
    (home / "fills").mkdir(exist_ok=True)
    before = everything(root)
    if re.fullmatch("[a-z][a-z0-9_]*", text) is None:
        with pytest.raises(LakeError):
            lake.write(text, None, pa.table({"symbol": ["X"], "n": [1]}), TRADES)
    if re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]*", text) is None:
        with pytest.raises(LakeError):
            lake.write("named", text, pa.table({"candidate": [text]}), NAMED)
    with pytest.raises((MissingDeliveryError, ValueError)):
        read_inbox(home, "fills", text)
    with pytest.raises(FileNotFoundError):
        load_strategy(home, text)
    assert everything(root) == before


@pytest.fixture(scope="module")
def venue() -> Iterator[SandboxServer]:
    with SandboxServer(seed=1) as server:
        yield server


WORDS = st.sampled_from(["BTCUSDT", "1h", "5", "-1", "1e9", "nan"]) | HOSTILE


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    path=st.sampled_from(["/api/v3/klines", "/api/v3/depth", "/fapi/v1/fundingRate", "/api/v3/order"]) | HOSTILE,
    query=st.dictionaries(st.sampled_from(["symbol", "interval", "limit", "startTime", "signature"]) | WORDS, WORDS),
)
def test_whatever_the_sandbox_is_asked_it_answers_as_a_venue(
    venue: SandboxServer, method: str, path: str, query: dict[str, str]
) -> None:
    status, answer = venue.answer(method, path, urlencode(query), None, datetime(2026, 1, 5, tzinfo=UTC))
    assert status in {200, 400, 401, 404}
    assert isinstance(answer, dict | list)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, bool, bool]]:
    """On which host the UI was served, whether for looking only, and whether with what runs schedules."""
    served: list[tuple[str, bool, bool]] = []

    def serve(_settings: Settings, host: str, _port: int, *, read_only: bool, daemon: bool) -> None:
        served.append((host, read_only, daemon))

    monkeypatch.setattr("research_to_prod.defs.ui.serve", serve)
    monkeypatch.setenv("R2P_DATA", str(tmp_path))
    return served


def ui(*arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(app, ["ui", *arguments], env={"COLUMNS": "300"})
    return answer.exit_code, answer.output


def test_the_ui_is_bound_to_loopback_and_may_be_for_looking_only(started: list[tuple[str, bool, bool]]) -> None:
    assert ui()[0] == ui("--read-only")[0] == ui("--no-daemon")[0] == 0
    assert started == [("127.0.0.1", False, True), ("127.0.0.1", True, False), ("127.0.0.1", False, False)]


@pytest.mark.parametrize("address", ["0.0.0.0", ""])  # noqa: S104
def test_the_ui_starts_on_no_other_host_until_somebody_says_that_he_knows(
    started: list[tuple[str, bool, bool]], address: str
) -> None:
    refused, told = ui("--host", address)
    assert (refused, started) == (2, [])
    assert "has no log-in" in told
    assert "anybody who reaches port 3000 can start runs" in told
    assert "can read everything" in ui("--read-only", "--host", address)[1]
    assert ui("--host", address, "--i-know-it-has-no-log-in")[0] == 0
    assert [host for host, *_ in started] == [address]


@pytest.mark.parametrize(
    "command",
    [
        "trace {}", "why {}", "policy explain {}", "incident show {}", "incident ack {} --by {}", "verify {} --keys {}",
        "approve {} --key {}", "halt {} --reason {} --by user:ana", "hold --reason {} --by user:ana --venue {}",
        "new strategy {} --type swing", "new candidate {} --strategy {}", "keys add {}", "ledger witness {}",
        "ledger export {}", "audit trials {}", "policy diff {} {}", "incident review {} --by user:ana --file {}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("attack", ["../../x\x1b[2J'; DROP TABLE orders; --" + "y" * 300])
def test_a_hostile_argument_is_refused_in_words_and_leaves_nothing(
    command: str, attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "a" / "b" / "data"))
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    answer = CliRunner().invoke(app, [word.replace("{}", attack) for word in command.split()])
    assert isinstance(answer.exception, SystemExit), answer.exception
    assert answer.exit_code in {1, 2}
    assert "\x1b[2J" not in answer.output
    assert [path.name for path in (tmp_path / "a").rglob("*") if "y" * 50 in path.name] == []
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


FORGED = """mutation {
  reportRunlessAssetEvents(eventParams:
    {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["promotion"]}, partitionKeys: null}) { __typename }
  wipeAssets(assetPartitionRanges: [{assetKey: {path: ["promotion"]}}]) { __typename }
  deletePipelineRun(runId: "x") { __typename }
}"""


@pytest.mark.filterwarnings("ignore:Using `httpx` with")
@pytest.mark.parametrize("read_only", [True, False])
def test_a_read_only_ui_refuses_what_the_other_does(*, read_only: bool) -> None:
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import EmptyWorkspaceTarget
    from dagster_webserver.webserver import DagsterWebserver
    from starlette.testclient import TestClient

    with (
        dg.DagsterInstance.local_temp() as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget(), version="", read_only=read_only) as context,
    ):
        answer = TestClient(DagsterWebserver(context).create_asgi_app()).post("/graphql", json={"query": FORGED})
        said = {each["__typename"] for each in answer.json()["data"].values()}
        assert (said == {"UnauthorizedError"}) is read_only
        assert (instance.get_latest_materialization_event(dg.AssetKey("promotion")) is None) or not read_only


def test_what_is_shipped_to_run_listens_on_loopback_only() -> None:
    shipped = "".join(path.read_text() for path in (*(ROOT / "deploy").iterdir(), ROOT / "Makefile"))
    assert re.findall(r"--host(?:=| )(\S+)", shipped) == ["127.0.0.1"]
    assert "0.0.0.0" not in shipped  # noqa: S104
    # Dagster's own commands have no door (`defs/ui.py`).
    assert re.findall(r"dagster[_-]webserver|dagster dev", shipped) == []
    assert "grpc_server" not in (ROOT / "workspace.yaml").read_text()


def test_nothing_is_unpickled_and_no_spreadsheet_is_written() -> None:
    """A pickle runs what it holds; a cell ``=cmd|...`` runs in the spreadsheet that opens a CSV."""
    imports = re.compile(r"^\s*(?:import|from) (?:c?pickle|dill|cloudpickle|joblib|marshal|shelve)\b", re.MULTILINE)
    writers = re.compile(r"to_csv|write_csv|csv\.writer|DictWriter|to_excel|read_pickle|COPY .* TO ")
    for source in SOURCES:
        text = source.read_text()
        assert not imports.search(text), source
        assert not writers.search(text), source


def test_yaml_is_read_in_one_place() -> None:
    readers = [path.name for path in SOURCES if re.search(r"yaml\.\w*load", path.read_text())]
    assert readers == ["declared.py"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_every_pinned_package_has_its_hashes(lock: Path) -> None:
    blocks = re.split(r"^(?=[a-z])", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(blocks) > 100
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+", block), block[:60]
        assert "--hash=sha256:" in block, block[:60]
    assert "://" not in re.sub(r"#.*", "", lock.read_text()), "a package from elsewhere than the index"


def test_what_is_installed_is_installed_by_hash_and_what_is_audited_leaves_nothing_out() -> None:
    recipes = (ROOT / "Makefile").read_text().replace("\\\n", "")
    installs = [line for line in recipes.splitlines() if "requirements.lock" in line and " sync " in line]
    assert len(installs) == 3
    assert all("--require-hashes" in line for line in installs)
    (audit,) = [line for line in recipes.splitlines() if "bin/pip-audit -r" in line]
    # Without --strict a package that the database could not be asked about is "no known vulnerabilities found".
    assert {"--strict", "--require-hashes", "requirements.lock"} <= set(audit.split())
    assert "exit 1" in audit


def test_dagster_is_newer_than_its_code_server_that_gave_any_file_away() -> None:
    """GHSA-h7x8-jv97-fvvm, fixed in 1.10.16."""
    assert Version(importlib.metadata.version("dagster")) >= Version("1.13")
    for lock in LOCKS:
        for found in re.findall(r"^dagster==(\S+)", lock.read_text(), re.MULTILINE):
            assert Version(found) >= Version("1.13")
