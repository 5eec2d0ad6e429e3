"""The failure modes on dated events of real markets and on calm months; writes the page with what was seen.

Bars become a liquidity profile as in the pipeline, and each window is diagnosed with the shipped policy. Belongs here:
which windows, what is documented of them, which files say anything. Doesn't: rules and thresholds, the page
(``_failure_mode_page``).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.progress import track

import research_to_prod
from benchmarks._failure_mode_page import PICTURE, SHOWN, Event, Seen, Source, page
from research_to_prod.attribution.failure_mode_policy import load_failure_mode_policy
from research_to_prod.attribution.failure_mode_rules.case import Case, MarketBars, Samples
from research_to_prod.attribution.failure_modes import diagnose
from research_to_prod.market_data.contracts import CANDLES
from research_to_prod.market_data.liquidity import WEEKS, profile_week
from research_to_prod.market_data.series import micros
from research_to_prod.market_data.universe import MarketSpec
from research_to_prod.reports.figures import underwater_and_windows
from research_to_prod.values import month_bounds, timeframe_length

DESK = Path(research_to_prod.__file__).parent / "desk"
PAGE = DESK.parent.parent / "docs" / "failure_modes.md"
POLICY = load_failure_mode_policy(DESK / "policies" / "failure_modes.yaml")


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


HOURLY = "candles/binance__BTC-USDT__1h"
BITSTAMP, COINBASE = "candles/bitstamp__BTC-USD__1h", "candles/coinbase__BTC-USD__4h"
FUNDING = ("funding/binance__BTC-USDT_USDT__2022", "funding/binance__BTC-USDT_USDT__2023-01_2024-05")
LATE = "__2025-03_2026-03"
PERPETUAL = "candles/binance__BTC-USDT_USDT__5m__2023-01_2024-05"
OKX = "candles/okx__{}-USDT_USDT__5m__2022"
EVENTS = (
    Event(
        "2020-03-12",
        _at("2020-03-12"),
        _at("2020-03-14"),
        ("volatility_shock", "liquidation_cascade", "venue_outage"),
        (Source("candles/binance__BTC-USDT__5m__2019-11_2020-03"), Source(HOURLY, dollars=BITSTAMP)),
    ),
    Event(
        "2021-05-19",
        _at("2021-05-19"),
        _at("2021-05-20"),
        ("volatility_shock", "liquidation_cascade"),
        (
            Source("candles/binance__BTC-USDT__1m__2021-05"),
            Source("candles/binance__ETH-USDT__1m__2021-05"),
            Source(HOURLY, dollars=BITSTAMP),
        ),
    ),
    Event(
        "LUNA, 2022-05",
        _at("2022-05-08"),
        _at("2022-05-14"),
        ("volatility_shock", "stablecoin_depeg", "liquidation_cascade"),
        (Source(OKX.format("BTC"), FUNDING[:1], HOURLY), Source(HOURLY, dollars=COINBASE)),
    ),
    Event(
        "FTX, 2022-11",
        _at("2022-11-07"),
        _at("2022-11-12"),
        ("volatility_shock", "funding_squeeze"),
        (
            Source(OKX.format("BTC"), FUNDING[:1], HOURLY),
            Source(OKX.format("SOL")),
            Source(HOURLY, dollars=COINBASE),
        ),
    ),
    Event(
        "USDC, 2023-03",
        _at("2023-03-10"),
        _at("2023-03-14"),
        ("stablecoin_depeg",),
        (
            Source(PERPETUAL, FUNDING, HOURLY),
            Source(HOURLY, dollars=COINBASE),
            Source("candles/kraken__BTC-USDT__1h__2023-03_2024-03", dollars=COINBASE),
        ),
    ),
    Event(
        "2025-10-10",
        _at("2025-10-10T12:00"),
        _at("2025-10-11T12:00"),
        (
            "volatility_shock", "funding_squeeze", "liquidity_vacuum", "liquidation_cascade", "basis_blow_out",
            "stablecoin_depeg",
        ),
        tuple(
            Source(
                f"candles/{venue}__{base}-USDT_USDT__1h{LATE}",
                (f"funding/{venue}__{base}-USDT_USDT{LATE}",),
                COINBASE if base == "BTC" else "mark_candles/okx__ETH-USDT_USDT__1h",
            )
            for base in ("BTC", "ETH")
            for venue in ("binance", "bybit")
        ),
    ),
)  # fmt: skip
"""Written down, with what is documented, before the rules saw any of them; but see the page's text."""

CALM = (
    Source(PERPETUAL, FUNDING, HOURLY, COINBASE),
    Source(OKX.format("BTC"), FUNDING[:1], HOURLY, COINBASE),
    Source("candles/binance__BTC-USDT__5m__2019-11_2020-03"),
    Source("candles/bybit__BTC-USDT_USDT__5m__2025-01_2025-05"),
    Source("candles/binance__ETH-USDT_USDT__5m__2023-01_2023-06"),
    Source(OKX.format("ETH")),
    Source(OKX.format("SOL")),
    Source("candles/binance__SOL-USDT__5m__2022-12_2023-10"),
    Source("candles/binance__XRP-USDT__5m__2022-12_2023-10"),
)
"""All five-minute bars but those of five days."""
CALM_HOURS = (
    Source(HOURLY),
    Source(BITSTAMP),
    Source("candles/kraken__BTC-USDT__1h__2023-03_2024-03"),
    Source("candles/binance__ETH-USDT__1h__2023"),
    *(
        Source(f"candles/{venue}__{base}-USDT_USDT__1h{LATE}")
        for venue in ("binance", "bybit")
        for base in ("BTC", "ETH")
    ),
)
"""All hourly bars of a year or more, but one venue's whose file begins after the year's events."""
CALM_DEVIATION = 0.6 / math.sqrt(365) / 2
"""A month is calm when its daily closes move by less: half of what a year at 60 % has."""


@cache
def read_bars(folder: Path, file: str) -> tuple[MarketSpec, pa.Table]:
    """Return the market of a file of candles, and its bars in order, one for each open."""
    rows = pq.read_table(folder / f"{file}.parquet").sort_by("ts")
    ts = rows["ts"].to_numpy()
    rows = rows.filter(pa.array(np.append(True, ts[1:] != ts[:-1])))
    rows = rows.append_column("repair", pa.nulls(rows.num_rows, pa.string())).select([c.name for c in CANDLES.columns])
    venue, symbol, timeframe = (rows[name][0].as_py() for name in ("venue", "symbol", "timeframe"))
    spec = {"venue": venue, "symbol": symbol, "timeframe": timeframe, "since": ts[0].item().replace(tzinfo=UTC)}
    return MarketSpec.model_validate({**spec, "source": {"files": f"{file}.parquet"}}), rows.cast(CANDLES.arrow)


def gather(folder: Path, source: Source, start: datetime, end: datetime) -> Case:
    """Return what the files say of a window, with the profiles of its weeks."""
    market, rows = read_bars(folder, source.bars)
    monday = datetime(start.year, start.month, start.day, tzinfo=UTC) - timedelta(days=start.weekday())
    weeks = [monday + timedelta(weeks=i) for i in range((end - monday) // timedelta(weeks=1) + 1)]
    profile = pa.concat_tables(profile_week(rows, [market], f"{week:%Y-%m-%d}") for week in weeks)
    near = pc.and_(
        pc.greater_equal(rows["ts"], pa.scalar(start - timedelta(days=9), rows["ts"].type)),
        pc.less(rows["ts"], pa.scalar(end, rows["ts"].type)),
    )
    case: dict[str, Any] = {
        "bars": MarketBars(rows.filter(near), timeframe_length(market.timeframe)),
        "profile": profile,
    }
    if source.funding:
        paid = pa.concat_tables(pq.read_table(folder / f"{each}.parquet") for each in source.funding).sort_by("ts")
        case["funding"] = Samples(paid["ts"].cast(pa.int64()).to_numpy(), paid["rate"].to_numpy())
    if source.spot:
        case["basis"] = _ratio(folder, source.bars, source.spot, -1.0)
    if source.dollars:
        implied = _ratio(folder, source.dollars, source.bars, 0.0)
        case["stablecoins"] = {"USDT": {f"{market.venue}_implied": implied}}
    return Case(micros(start), micros(end), **case)


def _ratio(folder: Path, above: str, below: str, offset: float) -> Samples:
    """Return the closes of one market over those of another where both close, plus ``offset``."""
    closes = []
    for file in (above, below):
        rows = pq.read_table(folder / f"{file}.parquet", columns=["ts", "close", "timeframe"]).sort_by("ts")
        length = timeframe_length(rows["timeframe"][0].as_py()) // timedelta(microseconds=1)
        closes.append((rows["ts"].cast(pa.int64()).to_numpy() + length, rows["close"].to_numpy()))
    at, first, second = np.intersect1d(closes[0][0], closes[1][0], return_indices=True)
    return Samples(at, closes[0][1][first] / closes[1][1][second] + offset)


def calm_months(folder: Path, sources: Sequence[Source] = CALM) -> list[Event]:
    """Return the calm months among the whole ones of the sources that have eight weeks of bars before."""
    found = []
    for source in sources:
        _, rows = read_bars(folder, source.bars)
        days = rows.to_pandas().set_index("ts")["close"].resample("1D").last()
        moves = np.log(days).diff().dropna()
        for month, deviation in moves.groupby(moves.index.strftime("%Y-%m")).std().items():
            start, end = month_bounds(str(month))
            # A file may end some hours before its last month does.
            whole = days.index[0] + timedelta(weeks=WEEKS) <= start and end - timedelta(days=1) <= days.index[-1]
            if whole and deviation < CALM_DEVIATION:
                found.append(Event(f"calm, {month}", start, end, (), (source,)))
    return sorted(found, key=lambda each: each.start)


def look(folder: Path, events: Sequence[Event]) -> list[Seen]:
    return [
        Seen(event, source, diagnose(gather(folder, source, event.start, event.end), POLICY))
        for event in track(events, "windows")
        for source in event.sources
    ]


def picture(seen: Seen, folder: Path) -> bytes:
    """Return the drawdown of a holder of the asset, with the windows of each mode that was present."""
    _, rows = read_bars(folder, seen.source.bars)
    ts = rows["ts"].to_numpy().astype("datetime64[us]")
    start, end = (np.datetime64(each.replace(tzinfo=None), "us") for each in (seen.event.start, seen.event.end))
    inside = (ts >= start) & (ts < end)
    close = rows["close"].to_numpy()[inside]
    present = {each.mode: [(w.start, w.end) for w in each.windows] for each in seen.found if each.windows}
    return underwater_and_windows(ts[inside], close / np.maximum.accumulate(close) - 1, present)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with candles/ and funding/")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args()
    events = look(given.data, EVENTS)
    calm, hours = (look(given.data, calm_months(given.data, each)) for each in (CALM, CALM_HOURS))
    given.page.write_text(page(events, calm, hours), encoding="utf-8")
    shown = next(each for each in events if each.event.name == SHOWN)
    (given.page.parent / PICTURE).write_bytes(picture(shown, given.data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
