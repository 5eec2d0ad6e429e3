"""Live and its model side by side: days paired, and a waterfall that ends at the ledger of the venue."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from research_to_prod.attribution.parent_orders import slippage_of_orders
from research_to_prod.attribution.shadow import (
    Market,
    MarketDay,
    ModelCharges,
    PairedDay,
    paired_days,
    trades_of,
)
from research_to_prod.attribution.waterfall import Cause, Window, waterfall
from research_to_prod.market_data.contracts import TRADES
from research_to_prod.sandbox._underlying import micros
from research_to_prod.sandbox.desk import SandboxDesk
from research_to_prod.sandbox.faults import FaultPlan
from research_to_prod.sandbox.ledger import Holder
from research_to_prod.sandbox.market import SandboxMarket
from research_to_prod.values import day_bounds

D = Decimal
DAY = "2026-01-02"
CHARGES = ModelCharges(cost_rate=D("0.0001"), fee_rate=D("0.0004"))


@dataclass(frozen=True)
class Simulated:
    """A day of the sandbox's desk as its systems delivered it, and what its ledger says the day earned."""

    tables: Mapping[str, pa.Table]
    markets: Mapping[Market, MarketDay]
    earned: Mapping[Market, Decimal]
    held: Mapping[Market, Decimal]

    @property
    def charges(self) -> dict[str, ModelCharges]:
        return {market.strategy: CHARGES for market in self.markets}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    desk = SandboxDesk(SandboxMarket(7), faults=FaultPlan())
    folder: Path = tmp_path_factory.mktemp("inbox")
    desk.write_inbox(DAY, folder)
    tables = {path.parent.name: pq.read_table(path) for path in folder.glob("*/*.parquet")}
    start, end = day_bounds(DAY)
    before, after = desk.simulate_day(DAY).opening, desk.simulate_day(DAY).books_at(end)
    times = np.array([micros(start), micros(end)])
    markets, earned, held = {}, {}, {}
    for entry in desk.book:
        for symbol in entry.symbols:
            opened, closed = (D(repr(each)) for each in desk.market.mid(symbol, times).tolist())
            legs = [leg for leg in desk.simulate_day(DAY).legs if symbol in leg.event]
            base, quote = symbol.partition(":")[0].split("/")
            kept = [leg for leg in legs if leg.holder in {Holder.SPOT, Holder.FUTURES}]
            cash = sum((leg.amount for leg in kept if leg.asset == quote), D(0))
            if ":" in symbol:
                place = (Holder.CONTRACTS, symbol)
                at_start = before.balance(*place) * opened - before.entry_costs.get(symbol, D(0))
                at_end = after.balance(*place) * closed - after.entry_costs.get(symbol, D(0))
            else:
                place = (Holder.SPOT, base)
                at_start, at_end = before.balance(*place) * opened, after.balance(*place) * closed
            market = Market(entry.strategy_id, symbol)
            earned[market], held[market] = cash + at_end - at_start, after.balance(*place)
            funding = sum((leg.amount for leg in kept if leg.event.startswith("funding")), D(0))
            markets[market] = MarketDay(before.balance(*place), opened, closed, funding)
    return Simulated(tables, markets, earned, held)


def slippage(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Return the slippage of the day; without public trades, which nothing here asks of."""
    records = (tables[name] for name in ("decisions", "orders", "fills"))
    return slippage_of_orders(DAY, *records, [tables["quotes"]], TRADES.arrow.empty_table())


def paired(simulated: Simulated) -> dict[Market, PairedDay]:
    tables = simulated.tables
    days = paired_days(
        tables["decisions"], tables["orders"], tables["fills"], simulated.markets, simulated.charges
    )  # fmt: skip
    return {each.market: each for each in days}


def test_live_is_what_the_ledger_of_the_sandbox_earned(simulated: Simulated):
    found = paired(simulated)
    assert found.keys() == simulated.earned.keys()
    for market, day in found.items():
        # The ledger cuts realized profit to eight digits, once a fill.
        assert float(day.live) == pytest.approx(float(simulated.earned[market]), abs=1e-5), market
        assert day.closing_position == simulated.held[market]


def test_shadow_less_live_is_the_shortfall_beyond_what_the_model_charges(simulated: Simulated):
    tables = simulated.tables
    costs = slippage(tables).to_pandas()
    assert costs["excluded_reason"].isna().all()
    for market, day in paired(simulated).items():
        own = costs[costs["symbol"] == market.symbol]
        # Unfilled quantity is marked to midnight here and to the order's end there; fees in coins to other prices.
        closing = float(simulated.markets[market].closing_mid)
        unfilled = own["side"] * (own["quantity"] - own["filled_quantity"])
        later = (unfilled * (closing - own["end_mid"])).sum()
        charged = float(CHARGES.cost_rate + CHARGES.fee_rate) * (own["quantity"] * own["decision_mid"]).sum()
        expected = own["total"].sum() + later - charged
        assert float(day.shadow - day.live) == pytest.approx(expected, abs=0.02 * own["fees"].sum() + 1e-6)


def test_the_waterfall_of_the_sandbox_ends_at_its_ledger(simulated: Simulated):
    tables = simulated.tables
    costs = slippage(tables)
    rerun = {row["decision_id"]: row["side"] * row["target_quantity"] for row in tables["decisions"].to_pylist()}
    closing = {market.symbol: day.closing_mid for market, day in simulated.markets.items()}
    trades = trades_of(
        tables["decisions"], tables["orders"], tables["fills"], costs, rerun, closing, simulated.charges
    )  # fmt: skip
    carried = sum((day.position * (day.closing_mid - day.opening_mid) for day in simulated.markets.values()), D(0))
    funding = sum((day.funding for day in simulated.markets.values()), D(0))
    ledger = sum(simulated.earned.values(), D(0))
    found = waterfall(trades, Window(D(0), carried, funding, funding, D(0), ledger))
    assert not found.is_data_break(tolerance=D("1e-4"))
    bars = {bar.cause: float(bar.amount) for bar in found.bars}
    assert bars[Cause.SIGNAL] == 0
    measured = costs.to_pandas()
    for cause, names in (
        (Cause.DELAY, ["delay_filled"]), (Cause.TIMING, ["timing"]), (Cause.SPREAD, ["spread"]),
        (Cause.IMPACT, ["impact"]),
    ):  # fmt: skip
        assert bars[cause] == pytest.approx(-measured[names].sum().sum(), abs=1e-6), cause
    a_cent_less = Window(D(0), carried, funding, funding, D(0), ledger - D("0.01"))
    assert waterfall(trades, a_cent_less).is_data_break(D("1e-4"))


def test_the_fills_that_were_the_losers_show_as_selection():
    decisions = table("decisions", [
        {"decision_id": "d", "strategy": "carry", "reference_bid": D(99), "reference_ask": D(101)},
        {"decision_id": "e", "strategy": "carry", "reference_bid": D(49), "reference_ask": D(51)},
    ])  # fmt: skip
    orders = table("orders", [
        {"order_id": "o", "decision_id": "d", "strategy": "carry", "symbol": "A/USDT", "side": 1, "quantity": D(10)},
        {"order_id": "p", "decision_id": "e", "strategy": "carry", "symbol": "B/USDT", "side": -1, "quantity": D(2)},
    ])  # fmt: skip
    fills = table("fills", [
        {"fill_id": "1", "order_id": "o", "symbol": "A/USDT", "side": 1, "quantity": D(4), "price": D(100),
         "fee": D(0), "fee_currency": "USDT"},
    ])  # fmt: skip
    markets = {
        Market("carry", "A/USDT"): MarketDay(D(0), D(100), D(110), D(0)),
        Market("carry", "B/USDT"): MarketDay(D(1), D(50), D(50), D("-0.5")),
    }
    free = {"carry": ModelCharges(D(0), D(0))}
    one, other = paired_days(decisions, orders, fills, markets, free)
    assert (one.shadow, one.live, one.closing_position, one.orders) == (D(100), D(40), D(4), 1)
    assert one.selection == 0
    assert (other.shadow, other.live, other.selection) == (D("-0.5"), D("-0.5"), None)
    with pytest.raises(ValueError, match=r"B/USDT of carry: no position.*fills of order o"):
        paired_days(decisions, orders.slice(1), fills, {}, free)
    with pytest.raises(ValueError, match="carry: no charges"):
        paired_days(decisions, orders, fills, markets, {})
    strange = fills.set_column(fills.column_names.index("fee_currency"), "fee_currency", pa.array(["BNB"]))
    strange = strange.set_column(strange.column_names.index("fee"), "fee", pa.array([D(1)]))
    with pytest.raises(ValueError, match="a fee in BNB"):
        paired_days(decisions, orders, strange, markets, free)


def table(name: str, rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def test_a_waterfall_without_some_of_its_orders_is_refused(simulated: Simulated):
    tables = simulated.tables
    costs = slippage(tables)
    rerun = {"D-never": D(1)}
    with pytest.raises(ValueError, match=r"is not measured: no row.*was not run again.*live never decided on"):
        trades_of(tables["decisions"], tables["orders"], tables["fills"], costs.slice(1), rerun, {}, simulated.charges)
