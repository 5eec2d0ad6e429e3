"""Shadow, waterfall and verdicts in the graph, on the simulated desk's first two days."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research_to_prod.attribution.drawdown_days import broken_parts
from research_to_prod.attribution.waterfall_days import STEPS, broken_steps
from research_to_prod.defs.attribution.assets import (
    drawdowns,
    edge_verdicts,
    failure_modes,
    pnl_waterfall,
    shadow,
    slippage,
)
from research_to_prod.defs.attribution.checks import (
    drawdown_parts_add_up,
    signals_are_the_models,
    waterfall_ends_at_the_venue,
    waterfall_telescopes,
)
from research_to_prod.defs.research.assets import TRIAL_LEDGER
from research_to_prod.defs.resources import build_resources
from research_to_prod.defs.tables import TABLES
from research_to_prod.execution.contracts import POSITIONS, VENUE_FILLS
from research_to_prod.lake import Lake
from research_to_prod.lake.io_manager import read_versions
from research_to_prod.lake.schema import TIMESTAMP
from research_to_prod.market_data.certificates import FETCH_CERTIFICATES, certificates_table, issue
from research_to_prod.research.candidate import Candidate, load_candidate
from research_to_prod.research.candidate_table import candidate_to_table
from research_to_prod.research.strategy import load_strategy
from research_to_prod.research.trial_ledger import TrialLedger, TrialRecord
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan
from research_to_prod.sandbox.ledger import Holder
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds, month_bounds, sha256_hex

DAYS = ("2026-01-01", "2026-01-02")
MONTHS = ("2025-10", "2025-11", "2025-12", "2026-01")
DESK = Settings().desk
D = Decimal
CHECKS = [waterfall_telescopes, waterfall_ends_at_the_venue, signals_are_the_models, drawdown_parts_add_up]


@pytest.fixture(scope="module")
def desk() -> SandboxDesk:
    return SandboxDesk(SandboxMarket(7), faults=FaultPlan())


@pytest.fixture(scope="module")
def delivered(desk: SandboxDesk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with two days of the desk and of the venue, and one candidate with its history."""
    folder = tmp_path_factory.mktemp("data")
    lake = Lake(folder / "lake")
    for day in DAYS:
        for path in desk.write_inbox(day, folder / "inbox"):
            lake.write(path.parent.name, day, pq.read_table(path), TABLES[path.parent.name])
        write_venue(lake, desk, day)
        lake.write("positions", day, positions(desk, day), POSITIONS)
    candidate = load_candidate(DESK / "candidates" / "btc_momentum.yaml", DESK / "strategies")
    strategy = load_strategy(DESK / "strategies", candidate.strategy)
    lake.write("candidate", candidate.name, candidate_to_table(candidate, strategy), TABLES["candidate"])
    write_history(lake, desk.market, candidate)
    write_backtest(lake, folder, candidate)
    return folder


@pytest.fixture(scope="module")
def made(delivered: Path) -> dict[str, dg.ExecuteInProcessResult]:
    return {day: materialize(delivered, day) for day in DAYS}


def materialize(folder: Path, day: str) -> dg.ExecuteInProcessResult:
    resources = build_resources({"R2P_DATA": str(folder)})
    assets = [slippage, shadow, pnl_waterfall, edge_verdicts, drawdowns, failure_modes, *CHECKS]
    return dg.materialize(assets, partition_key=day, resources=resources, raise_on_error=False)


def passed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def write_venue(lake: Lake, desk: SandboxDesk, day: str) -> None:
    """Write the venue's fills of a day, certified complete for each market."""
    names = {"trade_id": "fill_id", "traded_at": "filled_at"}
    columns = [each.name for each in VENUE_FILLS.columns if each.name != "fetch_id"]
    fills = desk.simulate_day(day).fills
    rows = [{each: getattr(fill, names.get(each, each)) for each in columns} | {"fetch_id": "f"} for fill in fills]
    lake.write("venue_fills", day, pa.Table.from_pylist(rows, schema=VENUE_FILLS.arrow), VENUE_FILLS)
    proofs = [
        issue(
            venue="sandbox",
            endpoint="my_trades",
            scope=symbol,
            interval=day_bounds(day),
            bodies=(),
            rows=0,
            terminal="end",
        )
        for symbol in desk.symbols
    ]
    key = f"venue_fills-{day}"
    lake.write("fetch_certificates", key, certificates_table(proofs, key), FETCH_CERTIFICATES)


def positions(desk: SandboxDesk, day: str) -> pa.Table:
    start, books = day_bounds(day)[0], desk.simulate_day(day).opening
    opening = desk.simulate_day(DAYS[0]).opening
    rows = []
    for entry in desk.book:
        for symbol in entry.symbols:
            place = (Holder.CONTRACTS, symbol) if ":" in symbol else (Holder.SPOT, symbol.partition("/")[0])
            held = books.balance(*place) - opening.balance(*place)
            row = {"strategy": entry.strategy_id, "venue": "sandbox", "symbol": symbol, "held_at": start}
            rows.append(row | {"position": held, "entry_price": None, "mark_price": D(1000)})
    return pa.Table.from_pylist(rows, schema=POSITIONS.arrow)


def write_history(lake: Lake, market: SandboxMarket, candidate: Candidate) -> None:
    symbol = candidate.universe[0]
    for month in MONTHS:
        start, end = month_bounds(month)
        bars = market.candles(symbol, start, end, timedelta(hours=1))
        columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
        named = {"venue": "sandbox", "symbol": symbol, "timeframe": "1h", "repair": None}
        texts = {name: pa.array([value] * len(bars), pa.string()) for name, value in named.items()}
        rows = pa.table(texts | {"ts": pa.array(bars.ts, TIMESTAMP)} | columns)
        lake.write("candles", month, rows.select(TABLES["candles"].arrow.names), TABLES["candles"])
        lake.write("funding_rates", month, TABLES["funding_rates"].empty(), TABLES["funding_rates"])
        key = f"funding_rates-{month}"
        lake.write("fetch_certificates", key, certificates_table([], key), FETCH_CERTIFICATES)


def write_backtest(lake: Lake, folder: Path, candidate: Candidate) -> None:
    """Write a year in which the candidate earned 20 bps a day, and the two trials that it was chosen from."""
    days = 365
    returns = np.random.default_rng(3).normal(0.002, 0.01, days)
    equity = float(candidate.capital) * np.cumprod(1 + returns)
    numbers = {each.name: np.zeros(days) for each in TABLES["backtest"].columns if each.type == pa.float64()}
    ts = np.datetime64("2025-01-01", "us") + np.arange(days) * np.timedelta64(1, "D")
    texts = {"candidate": [candidate.name] * days, "scenario": ["base"] * days}
    units = pa.array([[0.0]] * days, pa.list_(pa.float64()))
    series = {"equity": equity, "net_return": returns, "ts": pa.array(ts, TIMESTAMP), "units": units}
    rows = pa.table(texts | numbers | series)
    lake.write("backtest", candidate.name, rows.select(TABLES["backtest"].arrow.names), TABLES["backtest"])
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    trials = [
        TrialRecord(
            trial_id=str(n), strategy=candidate.strategy, source_sha256="", venue="sandbox",
            universe=candidate.universe, timeframe="1h", parameters="{}", window_start=noon, window_end=noon,
            data_sha256="", sharpe_daily=0.1, returns_sha256=sha256_hex(returns.astype("<f8").tobytes()),
            candidate=candidate.name, run_id="r", recorded_at=noon,
        )
        for n in range(2)
    ]  # fmt: skip
    TrialLedger(folder / "ledger" / TRIAL_LEDGER).append(trials, [returns, returns])


def rows_of(folder: Path, table: str, day: str) -> dict[str, dict]:
    return {row["symbol"]: row for row in Lake(folder / "lake").read(table, day).rows.to_pylist()}


def test_every_check_passes_where_both_sides_have_all_fills(
    made: dict[str, dg.ExecuteInProcessResult], delivered: Path
) -> None:
    for day, result in made.items():
        assert result.success
        assert passed(result) == {each.check_key.name: True for each in CHECKS}
        row = rows_of(delivered, "shadow", day)["BTC/USDT"]
        assert row["signals"] > 0
        assert row["shadow"] is not None
        assert row["expected"] > 0


def test_live_is_what_the_books_of_the_simulated_desk_earned(
    made: dict[str, dg.ExecuteInProcessResult], desk: SandboxDesk, delivered: Path
) -> None:
    one, two = (desk.simulate_day(day) for day in DAYS)
    books = [one.opening, two.opening, two.books_at(day_bounds(DAYS[1])[1])]
    first, second = (rows_of(delivered, "shadow", day) for day in DAYS)
    coins = [each.balance(Holder.SPOT, "DOGE") - books[0].balance(Holder.SPOT, "DOGE") for each in books]
    assert [first["DOGE/USDT"]["closing_position"], second["DOGE/USDT"]["closing_position"]] == coins[1:]
    assert second["DOGE/USDT"]["opening_mid"] == first["DOGE/USDT"]["closing_mid"]
    cash = sum(
        leg.amount
        for leg in (*one.legs, *two.legs)
        if "DOGE/USDT" in leg.event and leg.asset == "USDT" and leg.holder is Holder.SPOT
    )
    earned = first["DOGE/USDT"]["live"] + second["DOGE/USDT"]["live"]
    assert earned == pytest.approx(cash + coins[2] * second["DOGE/USDT"]["closing_mid"], abs=D("1e-6"))


def test_a_market_without_a_model_or_without_proven_funding_says_so(
    made: dict[str, dg.ExecuteInProcessResult], delivered: Path
) -> None:
    rows = rows_of(delivered, "shadow", DAYS[1])
    assert "no candidate doge_momentum" in rows["DOGE/USDT"]["excluded_reason"]
    assert rows["DOGE/USDT"]["live"] is not None
    assert "funding of the day is not proven" in rows["ETH/USDT:USDT"]["excluded_reason"]
    assert rows["ETH/USDT:USDT"]["live"] is rows["ETH/USDT:USDT"]["shadow"] is None
    steps = Lake(delivered / "lake").read("pnl_waterfall", DAYS[1]).rows.to_pylist()
    assert {row["symbol"]: row["excluded_reason"] for row in steps if row["excluded_reason"]} == {
        symbol: row["excluded_reason"] for symbol, row in rows.items() if row["excluded_reason"]
    }


def test_two_days_are_inconclusive_for_as_long_as_is_stated(
    made: dict[str, dg.ExecuteInProcessResult], delivered: Path
) -> None:
    rows = Lake(delivered / "lake").read("edge_verdicts", DAYS[1]).rows.to_pylist()
    assert len(rows) == 3 * 3, "the breakout waits for its first"
    assert {row["verdict"] for row in rows} == {"INCONCLUSIVE"}
    judged = next(row for row in rows if row["strategy"] == "btc_momentum" and row["question"] == "edge")
    assert (judged["days"], judged["verdict_days"], judged["effect"]) == (2, 43, None)
    assert judged["orders"] > 0
    assert "taken as none" not in judged["reason"]
    refused = next(row for row in rows if row["strategy"] == "doge_momentum")
    assert "2 of 2 days of shadow are not known" in refused["reason"]
    assert "no candidate doge_momentum" in refused["reason"]


def test_what_was_read_is_recorded(made: dict[str, dg.ExecuteInProcessResult]) -> None:
    read = {
        event.asset_key.to_user_string(): {
            (each.table, each.partition) for each in read_versions(event.materialization.metadata)
        }
        for event in made[DAYS[1]].get_asset_materialization_events()
    }
    assert {("shadow", DAYS[0]), ("backtest", "btc_momentum"), ("candles", "2026-01"), ("positions", DAYS[1])} <= read[
        "shadow"
    ]
    assert {("shadow", DAYS[1]), ("venue_fills", DAYS[1]), ("slippage", DAYS[1])} <= read["pnl_waterfall"]
    assert read["edge_verdicts"] == {("shadow", day) for day in DAYS}


@pytest.fixture
def copied(made: dict[str, dg.ExecuteInProcessResult], delivered: Path, tmp_path: Path) -> Path:
    shutil.copytree(delivered, tmp_path / "data")
    return tmp_path / "data"


def test_a_fill_that_the_desk_lacks_is_a_break_and_no_cause(copied: Path, desk: SandboxDesk) -> None:
    lake = Lake(copied / "lake")
    fills = lake.read("fills", DAYS[1]).rows
    lost = next(row for row in fills.to_pylist() if row["symbol"] == "BTC/USDT")
    lake.write("fills", DAYS[1], pa.Table.from_pylist(
        [row for row in fills.to_pylist() if row["fill_id"] != lost["fill_id"]], schema=fills.schema
    ), TABLES["fills"])  # fmt: skip
    result = materialize(copied, DAYS[1])
    assert result.success
    assert passed(result)["waterfall_telescopes"]
    assert not passed(result)["waterfall_ends_at_the_venue"]
    rows = [r for r in lake.read("pnl_waterfall", DAYS[1]).rows.to_pylist() if r["symbol"] == "BTC/USDT"]
    closing = rows_of(copied, "shadow", DAYS[1])["BTC/USDT"]["closing_mid"]
    fee = lost["fee"] * (closing if lost["fee_currency"] == "BTC" else 1)
    assert float(rows[-1]["amount"]) == pytest.approx(
        float(lost["side"] * lost["quantity"] * (closing - lost["price"]) - fee)
    )


def test_a_position_that_nobody_knows_is_no_position_of_none(copied: Path) -> None:
    """The day before was never made and the desk states no positions: its end is not known, so neither is this day."""
    lake = Lake(copied / "lake")
    later = "2026-01-04"
    for kind in ("decisions", "orders", "fills", "quotes"):
        lake.write(kind, later, TABLES[kind].empty(), TABLES[kind])
    lake.write("venue_fills", later, VENUE_FILLS.empty(), VENUE_FILLS)
    lake.write(
        "fetch_certificates", f"venue_fills-{later}", certificates_table([], f"venue_fills-{later}"), FETCH_CERTIFICATES
    )
    result = materialize(copied, later)
    assert result.success
    rows = rows_of(copied, "shadow", later)
    assert "not known" in rows["BTC/USDT"]["excluded_reason"]
    reasons = {
        r["reason"] for r in lake.read("edge_verdicts", later).rows.to_pylist() if r["strategy"] == "btc_momentum"
    }
    assert any("2 of 4 days of shadow are not known" in each for each in reasons)


def test_a_desk_that_states_no_positions_is_told_what_is_taken_as_none(copied: Path) -> None:
    lake = Lake(copied / "lake")
    for table in ("positions", "shadow", "pnl_waterfall"):
        shutil.rmtree(copied / "lake" / table)
    assert materialize(copied, DAYS[0]).success
    row = rows_of(copied, "shadow", DAYS[0])["BTC/USDT"]
    assert (row["position_known"], row["signals"], row["opening_position"]) == (False, 0, 0)
    said = [each for each in lake.read("edge_verdicts", DAYS[0]).rows.to_pylist() if each["strategy"] == "btc_momentum"]
    assert all("taken as none" in each["reason"] for each in said)


def test_another_signal_than_the_models_is_found_and_priced(copied: Path) -> None:
    lake = Lake(copied / "lake")
    decisions = lake.read("decisions", DAYS[1]).rows.to_pylist()
    changed = next(row for row in decisions if row["symbol"] == "BTC/USDT" and not row["sent"])
    changed["target_quantity"] += 1
    lake.write(
        "decisions", DAYS[1], pa.Table.from_pylist(decisions, schema=TABLES["decisions"].arrow), TABLES["decisions"]
    )
    result = materialize(copied, DAYS[1])
    row = rows_of(copied, "shadow", DAYS[1])["BTC/USDT"]
    assert row["diverging"] == [changed["decision_id"]]
    wanted = float(changed["side"] * (changed["target_quantity"] - 1))
    assert row["model_quantities"][0] == pytest.approx(wanted, abs=1e-4)
    assert not passed(result)["signals_are_the_models"]
    assert passed(result)["waterfall_telescopes"]


def test_a_changed_amount_breaks_the_telescope(copied: Path) -> None:
    lake = Lake(copied / "lake")
    rows, live = (lake.read(name, DAYS[1]).rows for name in ("pnl_waterfall", "shadow"))
    assert broken_steps(rows, live) == []
    for step, column in ((4, "amount"), (4, "value"), (12, "cause")):
        wrong = rows.to_pylist()
        at = next(n for n, row in enumerate(wrong) if row["step"] == step)
        wrong[at][column] = "none" if column == "cause" else wrong[at][column] + D("1e-18")
        assert broken_steps(pa.Table.from_pylist(wrong, schema=rows.schema), live), (step, column)
    other = live.to_pylist()
    for row in other:
        row["live"] = None if row["live"] is None else row["live"] + 1
    assert "the fills earned" in broken_steps(rows, pa.Table.from_pylist(other, schema=live.schema))[0]
    assert len(STEPS) == 14


def test_the_drawdown_of_two_days_is_split_and_not_yet_judged(
    made: dict[str, dg.ExecuteInProcessResult], delivered: Path
) -> None:
    lake = Lake(delivered / "lake")
    first, second = (rows_of(delivered, "shadow", day)["BTC/USDT"]["live"] for day in DAYS)
    assert first > 0 > second
    rows = lake.read("drawdowns", DAYS[1]).rows
    own = [row for row in rows.to_pylist() if row["strategy"] == "btc_momentum"]
    record = next(row for row in own if row["episode"] == 0)
    assert (record["standing"], record["reason"]) == ("inconclusive", "2 live days are too few, 20 are needed")
    whole = next(row for row in own if row["episode"] == 1 and row["dimension"] == "all")
    assert float(whole["loss"]) == pytest.approx(-float(second), abs=1e-6)
    assert float(record["loss"]) == float(whole["loss"])
    assert whole["recovered_at"] is None
    depths = {row["value"]: row["loss"] for row in own if (row["episode"], row["dimension"]) == (0, "day")}
    assert depths == {DAYS[0]: 0, DAYS[1]: whole["loss"]}
    assert "edge and regime" in {row["value"] for row in own if row["dimension"] == "component"}
    coins = [row for row in rows.to_pylist() if row["strategy"] == "doge_momentum"]
    assert {row["value"] for row in coins if row["dimension"] == "component"} <= {"not explained"}
    unknown = next(row for row in rows.to_pylist() if row["strategy"] == "eth_momentum_3x")
    assert "2 days of P&L are not known" in unknown["reason"]
    event = next(
        each for each in made[DAYS[1]].get_asset_materialization_events() if each.asset_key == dg.AssetKey("drawdowns")
    )
    assert "underwater" in event.materialization.metadata


def test_a_part_that_was_changed_does_not_add_up(made: dict[str, dg.ExecuteInProcessResult], delivered: Path) -> None:
    rows = Lake(delivered / "lake").read("drawdowns", DAYS[1]).rows
    assert broken_parts(rows) == []
    wrong = rows.to_pylist()
    part = next(row for row in wrong if row["dimension"] == "component")
    part["loss"] += D("1e-8")
    assert "component adds up to" in broken_parts(pa.Table.from_pylist(wrong, schema=rows.schema))[0]


def test_each_market_has_fourteen_answers_and_the_unknown_ones_name_what_is_missing(
    made: dict[str, dg.ExecuteInProcessResult], delivered: Path
) -> None:
    rows = Lake(delivered / "lake").read("failure_modes", DAYS[1]).rows.to_pylist()
    market = {row["mode"]: row for row in rows if row["symbol"] == "BTC/USDT"}
    assert len(market) == 14
    assert all(bool(row["reason"]) is (row["answer"] == "unknown") for row in rows)
    assert "needs bars, profile" in market["volatility_shock"]["reason"], "no profile was made of this week"
    assert market["fee_tier_change"]["reason"] == "", "the schedule and the fills are there"
    whole = next(row for row in rows if row["symbol"] == "all" and row["mode"] == "liquidity_vacuum")
    assert (whole["answer"], whole["days"], whole["days_unknown"]) == ("unknown", 2, 2)
    read = {
        (each.table, each.partition)
        for event in made[DAYS[1]].get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("failure_modes")
        for each in read_versions(event.materialization.metadata)
    }
    assert {("failure_modes", DAYS[0]), ("drawdowns", DAYS[1]), ("fills", DAYS[1]), ("quotes", DAYS[1])} <= read
    assert {("orders", DAYS[0]), ("shadow", DAYS[0]), ("candles", "2026-01")} <= read
