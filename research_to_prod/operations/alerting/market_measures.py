"""What the lake says of prices: a venue against the others, a coin against its dollar, a basis against its past.

Belongs here: what is read of ``quotes``, ``trades`` and ``candles`` for these, and the measurements that follow.
Doesn't: prices as marks of what is held (``book_measures``), whether markets are quoted at all (``day_measures``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

import duckdb
import pyarrow as pa

from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Subject
from research_to_prod.values import timeframe_length

TOGETHER = timedelta(minutes=1)
"""How old a mid may be to be compared: at 3 % a day a price wanders 8 bp in a minute, a third of the lowest level."""
OTHERS = 2
"""Venues besides the one in question: of two prices nobody can say which one is wrong."""

DOLLAR = "USD"
DOLLAR_COINS = frozenset(
    {"USDT", "USDC", "DAI", "USDS", "FDUSD", "TUSD", "USDP", "PYUSD", "GUSD", "BUSD", "RLUSD", "USD1", "USDE"}
)
"""Coins that promise a dollar each. A coin that promises nothing, such as BTC in ETH/BTC, has no peg to leave."""
PEG_WINDOW = timedelta(minutes=5)

BASIS_PAST = timedelta(weeks=4)
"""What this hour's basis is held against: carry changes with the market, so that older weeks say less of today."""
BASIS_FEWEST = 24
"""Observations of the hour, as the liquidity profile asks for; hourly bars have 27 in four weeks."""
_MAD_TO_SIGMA = 1.4826
_PRICES = "quotes, trades, candles"


@dataclass(frozen=True)
class MarketDay:
    """What was read at one moment; each table as the function of its name returns it, None where it can't be.

    Parameters
    ----------
    mids
        Of `mids_at`, for the moment and any other times.
    minutes
        Of `spot_minutes`.
    bases
        Of `bases_now`.
    """

    mids: pa.Table | None = None
    minutes: pa.Table | None = None
    bases: pa.Table | None = None


def market_of(connection: duckdb.DuckDBPyConnection, views: Collection[str], times: Sequence[datetime]) -> MarketDay:
    """Return what those of the views ``quotes``, ``trades`` and ``candles`` say that are there.

    Parameters
    ----------
    times
        At which mids are asked for; the last one is the moment.
    """
    moment = times[-1]
    return MarketDay(
        mids=mids_at(connection, times) if "quotes" in views else None,
        minutes=spot_minutes(connection, views, moment),
        bases=bases_now(connection, moment) if "candles" in views else None,
    )


def mids_at(connection: duckdb.DuckDBPyConnection, times: Sequence[datetime]) -> pa.Table:
    """Return the newest sane mid of each market before each of ``times``, at most a quarter of an hour old.

    Columns ``venue, symbol, asked_at`` (one of ``times``), ``quoted_at`` and ``mid``. Before, not at: what came at
    midnight is the next day's.
    """
    return connection.execute(_MIDS, [list(times)]).to_arrow_table()


_MIDS = """
WITH q AS (SELECT venue, symbol, quoted_at, arg_max((bid + ask) / 2, sequence) AS mid FROM quotes
      WHERE bid > 0 AND bid < ask AND quoted_at >= list_min($1::TIMESTAMPTZ[]) - INTERVAL 15 MINUTE
        AND quoted_at < list_max($1::TIMESTAMPTZ[]) GROUP BY ALL),
t AS (SELECT venue, symbol, unnest($1::TIMESTAMPTZ[]) AS asked_at FROM (SELECT DISTINCT venue, symbol FROM q))
SELECT t.venue, t.symbol, asked_at, quoted_at, mid
FROM t ASOF JOIN q ON t.venue = q.venue AND t.symbol = q.symbol AND t.asked_at > q.quoted_at
WHERE quoted_at >= asked_at - INTERVAL 15 MINUTE ORDER BY ALL
"""


def spot_minutes(connection: duckdb.DuckDBPyConnection, views: Collection[str], moment: datetime) -> pa.Table | None:
    """Return the last price of each spot market in each of the five minutes before ``moment``.

    Columns ``venue, symbol, minute, price``: the mid where the minute has a quote, else its last trade, else the close
    of a bar that ended in it.
    """
    lengths = _lengths(connection, moment - timedelta(days=2)) if "candles" in views else {}
    parts = [_POINTS[view] for view in ("quotes", "trades") if view in views] + [_POINTS["candles"]] * bool(lengths)
    if not parts:
        return None
    given = {"start": moment - PEG_WINDOW, "end": moment, "names": list(lengths), "lengths": list(lengths.values())}
    query = _MINUTES.format(points=" UNION ALL ".join(parts))
    return connection.execute(
        query, {name: each for name, each in given.items() if f"${name}" in query}
    ).to_arrow_table()


_POINTS = {
    "quotes": """SELECT venue, symbol, quoted_at AS ts, (bid + ask) / 2 AS price, 3 AS rank, sequence AS place,
                 '' AS name FROM quotes
                 WHERE quoted_at >= $start AND quoted_at < $end AND bid > 0 AND bid < ask""",
    "trades": """SELECT venue, symbol, ts, price, 2 AS rank, page * 1000000 + row AS place, fetch_id AS name FROM trades
                 WHERE ts >= $start AND ts < $end AND price > 0""",
    "candles": """SELECT venue, symbol, ts + length - INTERVAL 1 MICROSECOND AS ts, close AS price, 1 AS rank,
                  -epoch_us(length) AS place, '' AS name
                  FROM candles JOIN (SELECT unnest($names::VARCHAR[]) AS timeframe,
                                            unnest($lengths::INTERVAL[]) AS length) USING (timeframe)
                  WHERE ts >= $start - INTERVAL 2 DAY AND ts + length > $start AND ts + length <= $end
                    AND repair IS NULL""",
}
_MINUTES = """
WITH p AS ({points})
SELECT venue, symbol, epoch_us(ts) // 60000000 AS minute, arg_max(price, (rank, ts, place, name)) AS price
FROM p WHERE NOT contains(symbol, ':') GROUP BY ALL ORDER BY ALL
"""


def bases_now(connection: duckdb.DuckDBPyConnection, moment: datetime) -> pa.Table:
    """Return how far perpetual and spot were apart in the last bar before ``moment``, and usually are at its hour.

    Columns ``venue, symbol`` (the perpetual), ``bp`` (distance of the closes), ``med`` and ``mad`` (median and median
    absolute deviation of that distance in the bars of the same hour of the day in four weeks before), ``n`` (their
    number). Of timeframes that both markets have the finest; bars that a repair filled are another market's.
    """
    first = moment - BASIS_PAST
    lengths = _lengths(connection, first)
    given = {"names": list(lengths), "lengths": list(lengths.values()), "moment": moment, "first": first}
    return connection.execute(_BASES, given).to_arrow_table()


_BASES = """
WITH l AS (SELECT unnest($names::VARCHAR[]) AS timeframe, unnest($lengths::INTERVAL[]) AS length),
c AS (SELECT * FROM candles JOIN l USING (timeframe)
      WHERE ts >= $first AND ts + length <= $moment AND repair IS NULL),
b AS (SELECT p.venue, p.symbol, p.length, p.ts, abs(1e4 * (p.close / s.close - 1)) AS bp,
             epoch_us(p.ts) // 3600000000 % 24 AS hour
      FROM c p JOIN c s ON s.venue = p.venue AND s.symbol = split_part(p.symbol, ':', 1) AND s.ts = p.ts
                           AND s.length = p.length
      WHERE contains(p.symbol, ':')),
f AS (SELECT * FROM b QUALIFY length = min(length) OVER (PARTITION BY venue, symbol)),
n AS (SELECT * FROM f WHERE ts + 2 * length > $moment
      QUALIFY row_number() OVER (PARTITION BY venue, symbol ORDER BY ts DESC) = 1)
SELECT n.venue, n.symbol, n.bp, median(f.bp) AS med, mad(f.bp) AS mad, count(f.bp) AS n
FROM n LEFT JOIN f ON f.venue = n.venue AND f.symbol = n.symbol AND f.hour = n.hour AND f.ts < n.ts
GROUP BY ALL ORDER BY ALL
"""


def observe_market(market: MarketDay | None, moment: datetime) -> Iterator[Observation]:
    """Yield what prices say at ``moment``: ``mid_deviation``, ``peg_deviation`` and ``basis_z``."""
    if market is not None:
        yield from mid_deviations(market.mids, moment)
        yield from peg_deviations(market.minutes, moment)
        yield from basis_scores(market.bases, moment)


def mid_deviations(mids: pa.Table | None, moment: datetime) -> Iterator[Observation]:
    """Yield how far each venue's mid is from the median of the others'; None with fewer than two others.

    Only mids of the last minute are compared: an older one differs because the market has moved.
    """
    fresh: dict[str, dict[str, float | None]] = {}
    for row in [] if mids is None else mids.to_pylist():
        if row["asked_at"] == moment:
            known = row["mid"] if row["quoted_at"] >= moment - TOGETHER else None
            fresh.setdefault(row["symbol"], {})[row["venue"]] = known
    for symbol, venues in sorted(fresh.items()):
        for venue, mid in sorted(venues.items()):
            others = [each for name, each in venues.items() if name != venue and each is not None]
            off = None if mid is None or len(others) < OTHERS else 1e4 * abs(mid / median(others) - 1)
            subject = Subject(venue, instrument=symbol)
            yield Observation("mid_deviation", subject, off, moment, len(others), None, "quotes")


def peg_deviations(minutes: pa.Table | None, moment: datetime) -> Iterator[Observation]:
    """Yield how far each coin that promises a dollar is from it: the median of venues, with their number.

    A venue's price of the coin is the median of its minutes in the coin's own market against the dollar; where it has
    none, of ratios such as BTC/USD over BTC/USDT, which arbitrage keeps at the same value: two spot prices of one asset
    in one minute at one venue, so that a venue's own trouble cancels out.
    """
    prices: dict[str, dict[str, dict[int, float]]] = {}
    for row in [] if minutes is None else minutes.to_pylist():
        prices.setdefault(row["venue"], {}).setdefault(row["symbol"], {})[row["minute"]] = row["price"]
    named = {coin for markets in prices.values() for symbol in markets for coin in symbol.split("/")}
    for coin in sorted(named & DOLLAR_COINS):
        venues = [each for markets in prices.values() if (each := _dollars(coin, markets)) is not None]
        if venues:
            off = 1e4 * abs(median(venues) - 1)
            yield Observation(
                "peg_deviation", Subject(key=coin), off, moment, len(venues), None, "quotes, trades, candles"
            )
    in_dollars = sum(any(each.endswith(f"/{DOLLAR}") for each in markets) for markets in prices.values())
    if in_dollars:
        # Of a market that is quoted in dollars there is nothing to lose a peg.
        yield Observation(
            "peg_deviation", Subject(key=DOLLAR), 0.0, moment, in_dollars, None, "quotes, trades, candles"
        )


def _dollars(coin: str, markets: Mapping[str, Mapping[int, float]]) -> float | None:
    """Return what one venue pays for a coin, in dollars; None where its markets don't say."""
    direct = markets.get(f"{coin}/{DOLLAR}")
    if direct:
        return median(direct.values())
    implied = [
        price / in_coin[minute]
        for symbol, in_dollars in markets.items()
        if symbol.endswith(f"/{DOLLAR}") and (in_coin := markets.get(f"{symbol.partition('/')[0]}/{coin}"))
        for minute, price in in_dollars.items()
        if minute in in_coin
    ]
    return median(implied) if implied else None


def basis_scores(bases: pa.Table | None, moment: datetime) -> Iterator[Observation]:
    """Yield the robust z-score of each perpetual's distance from spot; None where the hour was seen too rarely.

    The distance less its median, over 1.4826 times its median absolute deviation.
    """
    for row in [] if bases is None else bases.to_pylist():
        known = row["n"] >= BASIS_FEWEST and row["mad"] > 0
        z = (row["bp"] - row["med"]) / (_MAD_TO_SIGMA * row["mad"]) if known else None
        yield Observation(
            "basis_z", Subject(row["venue"], instrument=row["symbol"]), z, moment, row["n"], None, "candles"
        )


def _lengths(connection: duckdb.DuckDBPyConnection, first: datetime) -> dict[str, timedelta]:
    """Return the length of each timeframe that has bars from ``first`` on."""
    query = "SELECT DISTINCT timeframe FROM candles WHERE ts >= ? ORDER BY 1"
    names = connection.execute(query, [first]).fetchall()
    return {name: timeframe_length(name) for (name,) in names}
