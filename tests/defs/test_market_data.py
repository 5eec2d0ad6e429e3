"""Market data in the graph, from small vendor files: what blocks, what only warns, what goes on, how a crash looks."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image

from research_to_prod.definitions import defs
from research_to_prod.defs.execution.assets import quotes
from research_to_prod.defs.execution.checks import clocks_agree
from research_to_prod.defs.market_data.assets import (
    examined_markets,
    funding_rates,
    raw_candles,
    trades,
    validated_candles,
)
from research_to_prod.defs.publishing import LARGEST_PICTURE, image
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.market_data.certificates import certificates_from, covered_until
from research_to_prod.market_data.contracts import CANDLES, FUNDING_RATES, TRADES
from research_to_prod.settings import Settings

MONTH, DAY = "2024-01", "2026-01-05"
START, TODAY = datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)
UNIVERSE = """
markets:
  - {venue: v, symbol: A/B, timeframe: 1h, since: 2024-01-01, until: 2024-01-03, source: {files: "bars/a*"}}
  - {venue: v, symbol: C/D, timeframe: 1h, since: 2024-01-01, until: 2024-01-03, source: {files: "bars/c*"}}
  - {venue: v, symbol: "P/Q:Q", timeframe: 1d, since: 2024-01-01, until: 2024-01-03, source: {files: "bars/p*"},
     funding: {files: "funding/p*"}}
  - {venue: v, symbol: "R/Q:Q", timeframe: 1d, since: 2024-01-01, until: 2024-01-03, source: {files: "bars/p*"},
     funding: {files: "funding/r*"}}
  - {venue: v, symbol: T/U, timeframe: 1d, since: 2026-01-01, source: {files: "bars/t*"}, trades: {files: "trades/t*"}}
"""


@dataclass
class Graph:
    """A small vendor's folder and an instance to materialize it on."""

    folder: Path
    instance: dg.DagsterInstance

    def write(self, name: str, header: str, *lines: str) -> None:
        path = self.folder / "vendor" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([header, *lines]) + "\n")

    @property
    def lake(self) -> Lake:
        return Lake(self.folder / "data" / "lake")

    def run(self, *definitions: Any, partition: str) -> dg.ExecuteInProcessResult:
        environment = {f"R2P_{name.upper()}": str(self.folder / name) for name in ("data", "desk", "vendor")}
        return dg.materialize(
            list(definitions),
            instance=self.instance,
            partition_key=partition,
            resources=build_resources(environment, clock=lambda: datetime(2026, 2, 1, tzinfo=UTC)),
            raise_on_error=False,
        )

    def planned(self, asset: str, check: str, partition: str) -> str:
        """Return the state of the check of one partition in the event log."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        (found,) = self.instance.event_log_storage.get_asset_check_partition_info([key], partition_keys=[partition])
        return str(found.latest_execution_status.value)


def bars(symbol: str, hours: int, step: int = 1, close: str = "11") -> list[str]:
    times = [START + timedelta(hours=hour) for hour in range(0, hours, step)]
    frame = {1: "1h", 24: "1d"}[step]
    return [f"v,{symbol},{frame},{at:%Y-%m-%dT%H:%M:%SZ},10,12,9,{close},3" for at in times]


BARS = "venue,symbol,timeframe,ts,open,high,low,close,volume"
FUNDING = "venue,symbol,ts,rate"
TRADED = "venue,symbol,trade_id,ts,price,amount,side"
QUOTED = "venue,symbol,quoted_at,received_at,sequence,bid,bid_size,ask,ask_size"


def payments(symbol: str, *hours: int, rate: str = "0.0001") -> list[str]:
    return [f"v,{symbol},{START + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ},{rate}" for hour in hours]


def traded(*changes: dict[str, Any]) -> list[str]:
    lines = []
    for number, change in enumerate(changes):
        at = TODAY + timedelta(minutes=number)
        given = {"id": number, "ts": f"{at:%Y-%m-%dT%H:%M:%SZ}", "price": 10, "amount": 1, "side": "buy"} | change
        lines.append(f"v,T/U,{given['id']},{given['ts']},{given['price']},{given['amount']},{given['side']}")
    return lines


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    shutil.copytree(Settings().desk / "policies", tmp_path / "desk" / "policies")
    (tmp_path / "desk" / "universe.yaml").write_text(UNIVERSE)
    with dg.DagsterInstance.ephemeral() as instance:
        graph = Graph(tmp_path, instance)
        graph.write("bars/a.csv", BARS, *bars("A/B", 48))
        graph.write("bars/c.csv", BARS, *bars("C/D", 48))
        graph.write("bars/p.csv", BARS, *bars("P/Q:Q", 48, 24), *bars("R/Q:Q", 48, 24))
        graph.write("funding/p.csv", FUNDING, *payments("P/Q:Q", 0, 8, 16, 24, 32, 40))
        graph.write("funding/r.csv", FUNDING, *payments("R/Q:Q", 0, 8, 16, 24, 32, 40))
        graph.write("trades/t.csv", TRADED, *traded({}, {}, {}))
        yield graph


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        f"{each.asset_key.to_user_string()} {each.check_name}": each for each in result.get_asset_check_evaluations()
    }


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    events = result.get_asset_materialization_events()
    return {event.asset_key.to_user_string() for event in events if event.asset_key is not None}


def pictures(markdown: Any) -> list[tuple[str, bytes]]:
    found = re.findall(r"!\[[^\]]*\]\(data:image/(png|svg\+xml);base64,([A-Za-z0-9+/=]+)\)", str(markdown.value))
    return [(kind, base64.b64decode(body, validate=True)) for kind, body in found]


def worst(evaluation: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    table = evaluation.metadata["worst_rows"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def tampered(schema: Any, table: str, partition: str, changes: dict[str, Any]) -> Any:
    """Return a Lake.write that stores other rows than it is given, as a bug between validation and storage would."""
    real = Lake.write

    def write(self: Lake, name: str, key: str | None, rows: pa.Table, declared: Any) -> Any:
        if name == table:
            records = rows.to_pylist()
            records[-1] |= changes
            rows = pa.Table.from_pylist(records, schema=schema.arrow)
        return real(self, name, key, rows, declared)

    return write


def test_every_blocking_check_has_severity_error_and_what_warns_blocks_nothing(graph: Graph) -> None:
    graph.write("bars/a.csv", BARS, *bars("A/B", 40))  # incomplete: the one check that warns has something to say
    result = graph.run(raw_candles, validated_candles, funding_rates, examined_markets, partition=MONTH)
    assert result.success
    found = evaluations(result)
    assert not found["market_quality is_complete"].passed
    asset_graph = defs.resolve_asset_graph()
    for each in found.values():
        spec = asset_graph.get_check_spec(each.asset_check_key)
        if spec.blocking:
            assert each.severity is dg.AssetCheckSeverity.ERROR, each.check_name
        if each.severity is dg.AssetCheckSeverity.WARN:
            assert not spec.blocking


def test_a_month_that_passes_shows_a_small_line_of_every_market(graph: Graph) -> None:
    graph.write("bars/a.csv", BARS, *bars("A/B", 20), *bars("A/B", 48)[30:])
    found = evaluations(graph.run(raw_candles, validated_candles, partition=MONTH))["candles matches_contract"]
    shown = pictures(found.metadata["picture"])
    assert [kind for kind, _ in shown] == ["svg+xml"] * 4
    documents = [ET.fromstring(body) for _, body in shown]  # noqa: S314
    gaps = [len(list(each.iter("{http://www.w3.org/2000/svg}path"))) - 1 for each in documents if len(each)]
    assert gaps[:2] == [1, 0]
    assert sum(len(body) for _, body in shown) < 4_000


def test_bars_that_break_the_contract_block_and_are_shown_in_a_table_and_a_picture(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lake, "write", tampered(CANDLES, "candles", MONTH, {"high": 1.0}))
    result = graph.run(raw_candles, validated_candles, examined_markets, partition=MONTH)
    assert not result.success
    assert "market_quality" not in materialized(result)
    found = evaluations(result)["candles matches_contract"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert [row["why"] for row in worst(found)] == ["high_is_highest, low_is_lowest"]
    ((kind, body),) = pictures(found.metadata["picture"])
    assert kind == "png"
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.size == (800, 240)
    assert len(body) < LARGEST_PICTURE


def test_a_lost_row_blocks_and_is_shown(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lake.write

    def write(self: Lake, name: str, key: str | None, rows: pa.Table, declared: Any) -> Any:
        return real(self, name, key, rows.slice(1) if name == "candles" else rows, declared)

    monkeypatch.setattr(Lake, "write", write)
    result = graph.run(raw_candles, validated_candles, examined_markets, partition=MONTH)
    assert not result.success
    found = evaluations(result)["candles accounts_for_every_row"]
    assert (found.passed, found.metadata["lost"].value) == (False, 1)
    assert worst(found)[0]["symbol"] == "A/B"
    assert pictures(found.metadata["picture"])[0][0] == "png"


@pytest.mark.parametrize(
    ("lines", "check", "why"),
    [
        (payments("P/Q:Q", 0, 8, 16, 24, 32, 40, rate="0.5"), "is_plausible", "beyond 3%"),
        (payments("P/Q:Q", 0, 8, 24, 32, 40), "is_regular", "beside a hole"),
    ],
)
def test_implausible_and_missing_funding_blocks_and_is_shown(
    graph: Graph, lines: list[str], check: str, why: str
) -> None:
    graph.write("funding/p.csv", FUNDING, *lines)
    result = graph.run(funding_rates, partition=MONTH)
    assert not result.success
    found = evaluations(result)[f"funding_rates {check}"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert worst(found)[0]["why"] == why
    assert pictures(found.metadata["picture"])[0][0] == "png"


def test_rates_that_are_no_numbers_are_shown_without_breaking_the_page(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lake, "write", tampered(FUNDING_RATES, "funding_rates", MONTH, {"rate": float("nan")}))
    result = graph.run(funding_rates, partition=MONTH)
    found = evaluations(result)["funding_rates is_plausible"]
    assert not found.passed
    assert worst(found)[0]["rate"] == "nan"  # NaN itself is no JSON


def test_a_good_day_of_trades_passes_every_check(graph: Graph) -> None:
    result = graph.run(trades, partition=DAY)
    assert result.success
    found = evaluations(result)
    assert {name: each.passed for name, each in found.items()} == {
        "trades is_plausible": True,
        "trades is_certified": True,
        "trades every_market_was_fetched": True,
    }
    assert graph.lake.read("trades", DAY).rows["side"].to_pylist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"price": -1}, "price not positive and finite"),
        ({"side": "any"}, "side unknown"),
        ({"id": 0.5}, None),
        ({"id": 100, "ts": f"{TODAY:%Y-%m-%dT%H:%M:%SZ}"}, "id against time"),
    ],
)
def test_trades_that_cannot_be_believed_block_and_are_shown(
    graph: Graph, change: dict[str, Any], why: str | None
) -> None:
    graph.write("trades/t.csv", TRADED, *traded({}, {}, change))
    result = graph.run(trades, partition=DAY)
    found = evaluations(result)["trades is_plausible"]
    assert result.success == found.passed == (why is None)
    if why:
        assert worst(found)[0]["why"] == why
        assert pictures(found.metadata["picture"])[0][0] == "png"


def test_a_day_that_no_certificate_covers_blocks(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("research_to_prod.market_data.judgement.covered_until", lambda *_: TODAY)
    result = graph.run(trades, partition=DAY)
    assert not result.success
    assert not evaluations(result)["trades is_certified"].passed


def quoted(graph: Graph, *lines: str) -> None:
    inbox = graph.folder / "data" / "inbox" / "quotes"
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{DAY}.csv").write_text("\n".join([QUOTED, *lines]) + "\n")


def quote(second: int, ask: float = 10.1, late_ms: int = 30) -> str:
    at = TODAY + timedelta(seconds=second)
    return f"v,T/U,{at.isoformat()},{(at + timedelta(milliseconds=late_ms)).isoformat()},{second},10,1,{ask},1"


def test_crossed_quotes_block_and_a_collector_behind_only_warns(graph: Graph) -> None:
    quoted(graph, *(quote(second) for second in range(5)))
    good = evaluations(graph.run(quotes, trades, clocks_agree, partition=DAY))
    assert good["quotes is_plausible"].passed
    assert good["quotes clocks_agree"].passed
    assert pictures(good["quotes is_plausible"].metadata["picture"])[0][0] == "svg+xml"
    quoted(graph, *(quote(second, late_ms=-500) for second in range(5)))
    behind = graph.run(quotes, trades, clocks_agree, partition=DAY)
    found = evaluations(behind)["quotes clocks_agree"]
    assert behind.success
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert "clock is behind" in worst(found)[0]["why"]
    quoted(graph, *(quote(second, ask=9.0 if second == 3 else 10.1) for second in range(5)))
    crossed = graph.run(quotes, partition=DAY)
    found = evaluations(crossed)["quotes is_plausible"]
    assert not crossed.success
    assert (found.severity, worst(found)[0]["why"]) == (
        dg.AssetCheckSeverity.ERROR,
        "crossed",
    )


CRASHES = [
    ("research_to_prod.market_data.judgement.judge_bars", "candles", "matches_contract", MONTH),
    ("research_to_prod.market_data.judgement.judge_rates", "funding_rates", "is_plausible", MONTH),
    ("research_to_prod.market_data.judgement.judge_funding_times", "funding_rates", "is_regular", MONTH),
    ("research_to_prod.market_data.judgement.judge_trades", "trades", "is_plausible", DAY),
    ("research_to_prod.execution.quote_judgement.judge_quotes", "quotes", "is_plausible", DAY),
]


@pytest.mark.parametrize(("function", "asset", "check", "partition"), CRASHES)
def test_a_crash_looks_like_a_crash(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, function: str, asset: str, check: str, partition: str
) -> None:
    """The step fails with the error itself, and nothing in the log says that the check passed or failed."""

    def crash(*_: Any) -> None:
        raise ZeroDivisionError("a bug in the judgement")

    quoted(graph, quote(0))
    monkeypatch.setattr(function, crash)
    upstream = [raw_candles] if asset == "candles" else []
    step = {"candles": validated_candles, "funding_rates": funding_rates, "trades": trades, "quotes": quotes}[asset]
    result = graph.run(*upstream, step, partition=partition)
    assert not result.success
    failed = [event for event in result.all_events if event.is_step_failure]
    assert "a bug in the judgement" in failed[0].step_failure_data.error.to_string()  # type: ignore[union-attr]
    assert f"{asset} {check}" not in evaluations(result)
    assert graph.planned(asset, check, partition) == "PLANNED"


def test_one_bad_file_is_named_and_the_other_markets_go_on(graph: Graph) -> None:
    graph.write("bars/c.csv", BARS, *bars("C/D", 3), "v,C/D,1h,2024-01-01T03:00:00Z,10,12,9,eleven,3")
    result = graph.run(raw_candles, validated_candles, funding_rates, examined_markets, partition=MONTH)
    assert result.success
    found = evaluations(result)["raw_candles every_market_was_fetched"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    told = str(found.metadata["failures"].value)
    assert "c.csv: column close in row 3 is 'eleven' and not a number" in told
    assert "correct the file" in told
    stored = graph.lake.read("candles", MONTH).rows
    assert set(stored["symbol"].to_pylist()) == {"A/B", "P/Q:Q", "R/Q:Q"}
    certificates = certificates_from(graph.lake.read("fetch_certificates", f"raw_candles-{MONTH}").rows)
    assert "C/D 1h" not in {each.scope for each in certificates}
    # Without a certificate nothing of the market is known: its bars are unknown, not absent, and no gate can pass.
    quality = graph.lake.read("market_quality", MONTH).rows
    (unknown,) = quality.filter(pc.equal(quality["symbol"], "C/D")).to_pylist()
    assert (unknown["valid_bars"], unknown["unknown_bars"], unknown["completeness"]) == (0, 48, None)


def test_a_market_that_fails_later_keeps_its_certified_rows(graph: Graph) -> None:
    assert graph.run(raw_candles, partition=MONTH).success
    before = graph.lake.read("raw_candles", MONTH).rows
    (graph.folder / "vendor" / "bars" / "c.csv").write_bytes(b"\x00\xff\x00")
    result = graph.run(raw_candles, partition=MONTH)
    assert result.success
    assert not evaluations(result)["raw_candles every_market_was_fetched"].passed
    assert graph.lake.read("raw_candles", MONTH).rows.equals(before)


def test_nothing_is_written_when_no_market_succeeds(graph: Graph) -> None:
    for file in (graph.folder / "vendor" / "bars").iterdir():
        file.write_bytes(b"")
    result = graph.run(raw_candles, partition=MONTH)
    assert not result.success
    assert not materialized(result)
    assert graph.lake.tables() == []
    assert graph.planned("raw_candles", "every_market_was_fetched", MONTH) == "PLANNED"


def test_one_bad_funding_file_is_named_and_the_other_perpetuals_go_on(graph: Graph) -> None:
    graph.write("funding/r.csv", FUNDING, *payments("R/Q:Q", 0), *payments("R/Q:Q", 0, rate="0.0002"))
    result = graph.run(funding_rates, partition=MONTH)
    assert result.success
    found = evaluations(result)
    assert not found["funding_rates every_market_was_fetched"].passed
    assert "two different rates" in str(found["funding_rates every_market_was_fetched"].metadata["failures"].value)
    assert set(graph.lake.read("funding_rates", MONTH).rows["symbol"].to_pylist()) == {"P/Q:Q"}
    certificates = certificates_from(graph.lake.read("fetch_certificates", f"funding_rates-{MONTH}").rows)
    assert covered_until(certificates, "v", "P/Q:Q", START) > START
    assert covered_until(certificates, "v", "R/Q:Q", START) == START


def test_a_picture_of_a_hundred_kilobytes_is_refused() -> None:
    assert pictures(image(b"<svg/>", "tiny")) == [("svg+xml", b"<svg/>")]
    with pytest.raises(ValueError, match="draw it with fewer points"):
        image(b"\x89PNG" + bytes(LARGEST_PICTURE), "huge")


def test_trades_belong_to_the_night_and_not_to_the_month() -> None:
    monthly = {key.to_user_string() for key in defs.resolve_job_def("market_data").asset_layer.executable_asset_keys}
    assert monthly == {
        "raw_candles",
        "repairs",
        "candles",
        "candle_quarantine",
        "funding_rates",
        "market_quality",
        "market_findings",
    }
    assert TRADES.partition_by is not None
    assert TRADES.partition_by.time_format == "%Y-%m-%d"
