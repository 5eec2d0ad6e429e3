"""Holding back and letting go from the command line: at once, in somebody's name, and to be seen in the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner, Result

from research_to_prod.cli import app
from research_to_prod.defs.operations.control_state import control_state
from research_to_prod.defs.resources import build_resources, open_drill_venue
from research_to_prod.execution.order_entry import OrderEntry
from research_to_prod.lake import Lake
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.manifest import Manifest, read_manifest
from research_to_prod.settings import Settings

R2p = Callable[..., Result]
UNIVERSE = """
venues:
  - {name: binance, ccxt: binance, key_variable: A_KEY, secret_variable: A_SECRET}
  - {name: kraken, ccxt: kraken, key_variable: B_KEY, secret_variable: B_SECRET}
markets:
  - {venue: binance, symbol: BTC/USDT, timeframe: 1h, since: 2024-01-01}
  - {venue: binance, symbol: "ETH/USDT:USDT", timeframe: 1h, since: 2024-01-01, funding: true}
  - {venue: kraken, symbol: BTC/USD, timeframe: 1h, since: 2024-01-01}
"""


@pytest.fixture
def r2p(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> R2p:
    monkeypatch.setenv("R2P_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, [str(each) for each in words])


def manifest(folder: Path) -> Manifest:
    keys = open_keys(folder / "data" / "keys", datetime.now(UTC))
    return read_manifest(folder / "data" / "production" / "manifest.json", keys)


def test_a_hold_is_in_the_manifest_at_once_and_one_person_lets_go(r2p: R2p, tmp_path: Path) -> None:
    done = r2p("hold", "--reason", "venue looks odd", "--by", "user:ann", "--venue", "sandbox")
    assert done.exit_code == 0, done.output
    (control,) = manifest(tmp_path).controls
    assert (control.scope, control.name, control.mode, control.by) == ("venue", "sandbox", "reduce_only", "user:ann")
    assert "venue looks odd" in control.reason
    done = r2p("release", "--reason", "it is fine", "--by", "user:ann", "--venue", "sandbox")
    assert done.exit_code == 0, done.output
    assert manifest(tmp_path).controls == ()


def test_a_kill_is_let_go_by_two_different_people(r2p: R2p, tmp_path: Path) -> None:
    assert r2p("kill", "--reason", "loop", "--by", "user:ann").exit_code == 0
    (control,) = manifest(tmp_path).controls
    assert (control.scope, control.mode) == ("all", "halt")
    for people in (["user:ann"], ["user:ann", "user:ann"]):
        refused = r2p("release", "--reason", "over", *(word for each in people for word in ("--by", each)))
        assert refused.exit_code == 2
        assert "2 different people" in refused.output
    assert manifest(tmp_path).controls == (control,)
    done = r2p("release", "--reason", "over", "--by", "user:ann", "--by", "user:bob", "--to", "1")
    assert done.exit_code == 0, done.output
    assert [each.mode for each in manifest(tmp_path).controls] == ["reduce_only"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--by", "ann"), "user:NAME"),
        (("--by", "team:risk"), "user:NAME"),
        (("--by", "user:ann", "--venue", "v", "--candidate", "c"), "name a venue or a candidate"),
        (("--by", "user:ann", "--venue", "sandbx"), "nothing is held back: there is no venue 'sandbx'"),
        (("--by", "user:ann", "--candidate", "../x"), "nothing is held back: there is no candidate '../x'"),
    ],
)
def test_whoever_holds_back_is_a_person_and_says_of_what(r2p: R2p, words: tuple[str, ...], says: str) -> None:
    refused = r2p("hold", "--reason", "odd", *words)
    assert refused.exit_code == 2
    assert says in refused.output


def test_an_edited_journal_is_followed_by_nobody(r2p: R2p, tmp_path: Path) -> None:
    r2p("kill", "--reason", "loop", "--by", "user:ann")
    journal = tmp_path / "data" / "controls" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"level":5', b'"level":0'))
    for words in (("controls",), ("hold", "--reason", "odd", "--by", "user:ann")):
        refused = r2p(*words)
        assert refused.exit_code == 1
        assert "does not follow" in refused.output
    resources = build_resources({"R2P_DATA": str(tmp_path / "data")})
    assert not dg.materialize([control_state], resources=resources, raise_on_error=False).success


def test_the_asset_shows_where_each_ladder_stands(r2p: R2p, tmp_path: Path) -> None:
    r2p("hold", "--reason", "odd fills", "--by", "user:ann", "--candidate", "btc_momentum")
    assert dg.materialize([control_state], resources=build_resources({"R2P_DATA": str(tmp_path / "data")})).success
    (row,) = Lake(tmp_path / "data" / "lake").read("control_state").rows.to_pylist()
    assert (row["scope"], row["name"], row["level"], row["mode"]) == ("candidate", "btc_momentum", 2, "reduce_only")
    assert (row["by"], "odd fills" in row["because"]) == ("user:ann", True)


@pytest.fixture
def venue() -> Iterator[OrderEntry]:
    with open_drill_venue() as orders:
        yield orders


def test_a_kill_cancels_what_rests_at_each_venue_and_says_which_it_could_not(
    r2p: R2p, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, venue: OrderEntry
) -> None:
    from research_to_prod.execution import order_entry

    real = order_entry.connect_orders

    def connected(spec: Any, credentials: Any) -> OrderEntry:
        return venue if spec.name == "binance" else real(spec, credentials)

    monkeypatch.setattr(order_entry, "connect_orders", connected)
    for name in ("A_KEY", "A_SECRET", "B_KEY", "B_SECRET"):
        monkeypatch.setenv(name, "x")
    (tmp_path / "desk").mkdir()
    for each in ("policies", "capital"):
        (tmp_path / "desk" / each).symlink_to(Settings().desk / each)
    (tmp_path / "desk" / "universe.yaml").write_text(UNIVERSE)
    monkeypatch.setenv("R2P_DESK", str(tmp_path / "desk"))
    venue.rest("BTC/USDT", 1, Decimal(10_000), Decimal("0.01"))
    venue.rest("ETH/USDT:USDT", 1, Decimal(500), Decimal(1))

    done = r2p("kill", "--reason", "loop", "--by", "user:ann")
    assert (venue.open_orders("BTC/USDT"), venue.open_orders("ETH/USDT:USDT")) == ((), ())
    assert done.exit_code == 1
    assert "kraken" in done.output
    assert "nothing here can cancel them" in done.output
    assert [each.mode for each in manifest(tmp_path).controls] == ["halt"]
    last = json.loads((tmp_path / "data" / "controls" / "journal.jsonl").read_bytes().splitlines()[-1])
    assert last["event"]["by"] == "user:ann"
