"""A generated month of a desk in a lake, seeded: records drawn, everything else by the pipeline's own functions.

Belongs here: decisions, orders, events, fills and quotes of a day, and the order in which the real functions turn them
into the tables that the desk report reads. Doesn't: any truth; the prices are a random walk and nothing earns anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from research_to_prod.attribution.drawdown_days import drawdowns_of_day
from research_to_prod.attribution.failure_mode_days import Evening, modes_of_day
from research_to_prod.attribution.failure_mode_policy import load_failure_mode_policy
from research_to_prod.attribution.latency import latency_of_orders
from research_to_prod.attribution.markouts import markouts_of_fills
from research_to_prod.attribution.parent_orders import slippage_of_orders
from research_to_prod.attribution.pnl_contracts import FAILURE_MODES
from research_to_prod.attribution.quote_match import StoredQuotes
from research_to_prod.attribution.shadow import ModelCharges
from research_to_prod.attribution.shadow_days import DeskDay, Model, shadow_of_day
from research_to_prod.attribution.verdict_days import verdicts_of_day
from research_to_prod.attribution.verdict_policy import load_attribution_policy
from research_to_prod.attribution.waterfall_days import waterfalls_of_day
from research_to_prod.defs.tables import TABLES
from research_to_prod.lake import Lake
from research_to_prod.lake.schema import DECIMAL, TIMESTAMP
from research_to_prod.market_data.certificates import certificates_table, issue
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.operations.daily import DayTables, reconcile_day
from research_to_prod.operations.reconciliation_policy import load_reconciliation_policy
from research_to_prod.research.bars import Floats
from research_to_prod.settings import Settings
from research_to_prod.values import day_bounds

SECONDS = 86_400
_SECOND = 1_000_000
FILLS_AN_ORDER = 10
FIRST = date(2026, 1, 1)


class Market(NamedTuple):
    """A market of the generated desk, the one strategy that trades it, and how."""

    strategy: str
    venue: str
    symbol: str
    style: str
    price: float


MARKETS = (
    Market("momentum", "alpha", "BTC/USDT", "taker", 60_000.0),
    Market("momentum", "beta", "BTC/USDT", "taker", 60_000.0),
    Market("reversal", "alpha", "ETH/USDT", "maker", 3_000.0),
    Market("reversal", "beta", "ETH/USDT", "taker", 3_000.0),
    Market("breakout", "alpha", "SOL/USDT", "maker", 150.0),
    Market("breakout", "beta", "SOL/USDT", "maker", 150.0),
)
RATES = {"maker": 2e-4, "taker": 5e-4}
_MODEL = ModelCharges(Decimal("0.0001"), Decimal("0.0005"))


def days_of(count: int) -> list[str]:
    return [(FIRST + timedelta(days=number)).isoformat() for number in range(count)]


def write_month(lake: Lake, days: int, orders_a_day: int, seed: int = 1) -> list[str]:
    """Write the tables of the report for so many days; return their names.

    Parameters
    ----------
    orders_a_day
        Parent orders over all markets; each has `FILLS_AN_ORDER` fills, the last order of each market fewer.
    """
    prices = {market: market.price for market in MARKETS}
    policy = load_attribution_policy(Settings().desk / "policies" / "attribution.yaml")
    names, past = days_of(days), None
    shadows: list[pa.Table] = []
    falls: list[pa.Table] = []
    modes = load_failure_mode_policy(Settings().desk / "policies" / "failure_modes.yaml")
    for number, day in enumerate(names):
        records = _records(day, number, orders_a_day, seed, prices)
        if number == 0:
            records |= {"positions": _flat(day)}
        for name, rows in records.items():
            lake.write(name, day, rows, TABLES[name])
        both = names[max(number - 1, 0) : number + 1]
        quotes = StoredQuotes(lake, tuple(lake.version("quotes", each) for each in both))
        decisions, orders, events, fills = (
            lake.read(name, both).rows for name in ("decisions", "orders", "order_events", "fills")
        )
        costs = slippage_of_orders(day, decisions, orders, fills, quotes, TABLES["trades"].empty())
        own = {name: records[name] for name in ("decisions", "orders", "fills")}
        today = StoredQuotes(lake, (lake.version("quotes", day),))
        desk = DeskDay(day, **own, quotes=today, positions=records.get("positions"), before=past)
        past = shadow_of_day(desk, _models(), {})
        complete = {(market.venue, market.symbol): True for market in MARKETS}
        venue = _venue_fills(records["fills"])
        fall = waterfalls_of_day(desk, past, costs, venue, complete)
        shadows, falls = [*shadows, past], [*falls, fall]
        made = {
            "slippage": costs,
            "latency_costs": latency_of_orders(costs, decisions, orders, events, quotes),
            "markouts": markouts_of_fills(day, fills, quotes),
            "shadow": past,
            "pnl_waterfall": fall,
            "venue_fills": venue,
        }
        if number == days - 1:
            whole = pa.concat_tables(shadows)
            made |= {"edge_verdicts": verdicts_of_day(whole, day, policy)}
            made |= {"drawdowns": drawdowns_of_day(whole, pa.concat_tables(falls), day, {})[0]}
            evening = Evening(day, {}, FAILURE_MODES.empty(), whole, made["drawdowns"])
            made |= {"failure_modes": modes_of_day(evening, modes)}
            made |= {"breaks": _breaks(day, records["fills"], venue)}
        for name, rows in made.items():
            lake.write(name, day, rows, TABLES[name])
    return names


def _records(day: str, number: int, orders_a_day: int, seed: int, prices: dict[Market, float]) -> dict[str, pa.Table]:
    start = int(day_bounds(day)[0].timestamp()) * _SECOND
    parts: dict[str, list[pa.Table]] = {}
    for index, market in enumerate(MARKETS):
        random = np.random.default_rng([seed, number, index])
        mids = prices[market] * np.exp(np.cumsum(random.normal(0, 2e-5, SECONDS)))
        prices[market] = float(mids[-1])
        count = orders_a_day // len(MARKETS) + (index < orders_a_day % len(MARKETS))
        drawn = dict(_of_market(market, index, start, mids, count, random))
        for name, rows in drawn.items():
            parts.setdefault(name, []).append(rows)
    found = {name: pa.concat_tables(each) for name, each in parts.items()}
    rows = [
        {"venue": market.venue, "symbol": market.symbol, "stated_at": day_bounds(day)[0], "tier": "1"}
        | {f"{side}_rate": Decimal(repr(rate)) for side, rate in RATES.items()}
        for market in MARKETS
    ]
    return found | {"fee_schedules": pa.Table.from_pylist(rows, schema=TABLES["fee_schedules"].arrow)}


def _of_market(
    market: Market, index: int, start: int, mids: Floats, count: int, random: np.random.Generator
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the market's decisions, orders, events, fills and quotes of a day that starts at ``start`` microseconds."""
    half = 5e-5 * mids
    at = start + np.arange(SECONDS) * _SECOND + int(random.integers(0, 500_000))
    place = {"venue": market.venue, "symbol": market.symbol}
    size = pa.repeat(1.0, SECONDS)
    yield "quotes", _rows("quotes", SECONDS, place, quoted_at=at, received_at=at + 20_000, sequence=np.arange(SECONDS),
                          bid=mids - half, ask=mids + half, bid_size=size, ask_size=size)  # fmt: skip

    decided = start + np.sort(random.integers(120 * _SECOND, (SECONDS - 1_200) * _SECOND, count))
    seen = ((decided - at[0]) // _SECOND).astype(np.int64)
    side = random.choice([-1, 1], count)
    quantity = np.round(random.lognormal(8, 1, count) / mids[seen], 6)
    sent = decided + random.integers(2_000, 60_000, count) + (random.random(count) < 0.05) * 3 * _SECOND
    live = sent + random.integers(20_000, 300_000, count)
    ids = [f"{market.strategy}-{index}-{moment}" for moment in decided.tolist()]
    own = place | {"strategy": market.strategy}
    yield "decisions", _rows("decisions", count, own, decision_id=[f"D{each}" for each in ids], decided_at=decided,
                             side=side, target_quantity=quantity, reference_bid=(mids - half)[seen],
                             reference_ask=(mids + half)[seen], sent=np.ones(count, bool))  # fmt: skip
    # One order in seven is cancelled with two of its fills missing.
    cut = random.random(count) < 1 / 7
    done = np.where(cut, FILLS_AN_ORDER - 2, FILLS_AN_ORDER)
    of = np.repeat(np.arange(count), done)
    step = np.concatenate([np.arange(each) for each in done]) if count else np.empty(0, np.int64)
    filled = live[of] + (step + 1) * random.integers(1, 60, count)[of] * _SECOND
    then = ((filled - at[0]) // _SECOND).astype(np.int64)
    making = random.random(len(of)) < (0.8 if market.style == "maker" else 0.1)
    price = mids[then] + side[of] * half[then] * np.where(making, -1, 1 + random.exponential(0.4, len(of)))
    lot = np.round(quantity / FILLS_AN_ORDER, 8)[of]
    fee = lot * price * np.where(making, RATES["maker"], RATES["taker"])
    last = np.zeros(count, np.int64)
    np.maximum.at(last, of, filled)
    ended = np.where(cut, last + 5 * _SECOND, last + 15_000)
    yield "orders", _rows("orders", count, own, order_id=ids, decision_id=[f"D{each}" for each in ids], side=side,
                          quantity=np.round(quantity / FILLS_AN_ORDER, 8) * FILLS_AN_ORDER,
                          style=pa.repeat(market.style, count), sent_at=sent, acknowledged_at=live, ended_at=ended,
                          end_reason=["cancelled" if each else "filled" for each in cut])  # fmt: skip
    parents = [ids[each] for each in of]
    yield "fills", _rows("fills", len(of), own, fill_id=[f"{start // _SECOND}-{each}" for each in range(len(of))],
                         order_id=parents, side=side[of], quantity=lot, price=price,
                         liquidity=["maker" if each else "taker" for each in making], fee=fee,
                         fee_currency=pa.repeat("USDT", len(of)), filled_at=filled,
                         received_at=filled + 15_000)  # fmt: skip
    whole = np.concatenate([np.arange(count), of])
    kinds = ["new"] * count + ["fill"] * len(of)
    happened = np.concatenate([live - 30_000, filled])
    yield "order_events", _rows("order_events", len(whole), own,
                                event_id=[f"{index}-{start}-{each}" for each in range(len(whole))],
                                child_id=[f"C{ids[each]}" for each in whole], order_id=[ids[each] for each in whole],
                                side=side[whole], event=kinds, occurred_at=happened, received_at=happened + 15_000,
                                quantity=quantity[whole],
                                post_only=pa.repeat(market.style == "maker", len(whole)))  # fmt: skip


def _rows(table: str, count: int, texts: dict[str, str], **columns: Any) -> pa.Table:
    """Return ``count`` rows of a table, microseconds as times, floats as decimals where it has them, the rest null."""
    found = {}
    for field in TABLES[table].arrow:
        if field.name in texts:
            found[field.name] = pa.repeat(texts[field.name], count)
        elif field.name in columns:
            given = columns[field.name]
            if field.type == DECIMAL:
                given = pa.array(np.round(given, 8)).cast(DECIMAL)
            found[field.name] = pa.array(given, pa.int64()).cast(TIMESTAMP) if field.type == TIMESTAMP else given
        else:
            found[field.name] = pa.nulls(count, field.type)
    return pa.table(found).cast(TABLES[table].arrow)


def _flat(day: str) -> pa.Table:
    """Return the desk's statement that it holds nothing as the first day begins."""
    rows = [
        {"strategy": each.strategy, "venue": each.venue, "symbol": each.symbol, "held_at": day_bounds(day)[0]}
        | {"position": Decimal(0), "mark_price": Decimal(1)}
        for each in MARKETS
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["positions"].arrow)


def _venue_fills(fills: pa.Table) -> pa.Table:
    renamed = {"fill_id": "trade_id", "filled_at": "traded_at", "order_id": "venue_order_id"}
    kept = [name for name in fills.column_names if name != "venue_order_id"]
    rows = fills.select(kept).rename_columns([renamed.get(name, name) for name in kept])
    rows = rows.append_column("fetch_id", pa.repeat("f", fills.num_rows))
    return rows.select(TABLES["venue_fills"].arrow.names).cast(TABLES["venue_fills"].arrow)


def _breaks(day: str, fills: pa.Table, venue_fills: pa.Table) -> pa.Table:
    """Reconcile the day after our first fill of each venue was lost."""
    start, end = day_bounds(day)
    proofs = [
        issue(venue=each.venue, endpoint="generated", scope=each.symbol, interval=(start, end), bodies=[], rows=0,
              terminal="end", clocks=(end, end))
        for each in MARKETS
    ]  # fmt: skip
    venues = sorted({each.venue for each in MARKETS})
    kept = [fills.filter(pc.equal(fills["venue"], venue)).slice(1) for venue in venues]
    certificates = certificates_table(proofs, f"venue_fills-{day}")
    tables = DayTables({"fills": pa.concat_tables(kept)}, {"venue_fills": venue_fills}, {"venue_fills": certificates})
    policy = load_reconciliation_policy(Settings().desk / "policies" / "reconciliation.yaml")
    return reconcile_day(tables, BREAKS.empty(), day, policy, end + timedelta(minutes=2)).breaks


def _models() -> dict[str, Model]:
    return {
        strategy: Model(
            markets=frozenset((each.venue, each.symbol) for each in MARKETS if each.strategy == strategy),
            capital=Decimal(1_000_000),
            charges=_MODEL,
            expected=Decimal(100),
            signals={},
            step=timedelta(hours=1),
        )
        for strategy in {each.strategy for each in MARKETS}
    }
