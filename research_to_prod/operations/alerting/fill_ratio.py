"""Whether a strategy's orders still fill as they do at this hour: the last five minutes against four weeks.

Belongs here: what was ordered and filled by windows, and the robust z-score of the newest. Doesn't: levels; and orders
that the venue refused, which are another rule's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import fmean, median

import duckdb
import pyarrow as pa

from research_to_prod.operations.alerting.evaluation import Observation
from research_to_prod.operations.alerting.situation import Subject

WINDOW = timedelta(minutes=5)
WEEKS_BACK = timedelta(days=28)
FEWEST_ORDERS = 10
"""In a window, for its ratio to be one; the rule asks as many of the newest."""
FEWEST_WINDOWS = 24
"""Before, for a median and its deviation to be this hour's: as many as the liquidity profile asks."""
_NORMAL = 1.4826  # median absolute deviations in a standard deviation of a normal distribution


def filled_shares(connection: duckdb.DuckDBPyConnection, moment: datetime) -> pa.Table:
    """Return the share filled of each order that ended in the hour before ``moment``, or in that hour on days before.

    From the views ``orders`` and ``fills``; columns ``strategy, back`` (windows of five minutes, counted back from
    ``moment``) and ``share``. What came at the moment is the next day's.
    """
    return connection.execute(_SHARES, [moment, moment - WEEKS_BACK]).to_arrow_table()


_SHARES = """
WITH o AS (SELECT strategy, order_id, quantity, epoch($1 - ended_at) AS age FROM orders
           WHERE ended_at >= $2 AND ended_at < $1 AND end_reason <> 'rejected' AND quantity > 0),
near AS (SELECT * FROM o WHERE age % 86400 > 0 AND age % 86400 <= 3600),
f AS (SELECT order_id, strategy, sum(quantity) AS filled FROM fills
      WHERE filled_at >= $2 - INTERVAL 7 DAY AND filled_at < $1 GROUP BY ALL)
SELECT strategy, CAST(ceil(age / 300) AS BIGINT) - 1 AS back,
       least(1, CAST(coalesce(filled, 0) AS DOUBLE) / CAST(quantity AS DOUBLE)) AS share
FROM near LEFT JOIN f USING (strategy, order_id) ORDER BY strategy, back, order_id
"""


def fill_ratio(shares: pa.Table, moment: datetime) -> Iterator[Observation]:
    """Yield by strategy how unusual the filled share of its newest orders is, in robust deviations.

    The ratio of a window is the mean over its orders, so that a large one doesn't speak for all. The deviation is never
    taken for less than one order of the window: where everything always fills it would be nothing. Not known with
    fewer than `FEWEST_WINDOWS` windows of `FEWEST_ORDERS` before.
    """
    windows: dict[str, dict[int, list[float]]] = {}
    for row in shares.to_pylist():
        windows.setdefault(row["strategy"], {}).setdefault(row["back"], []).append(row["share"])
    day = timedelta(days=1) // WINDOW
    for strategy, found in sorted(windows.items()):
        newest = found.get(0, [])
        before = [fmean(each) for at, each in sorted(found.items()) if at >= day // 2 and len(each) >= FEWEST_ORDERS]
        z = None
        if newest and len(before) >= FEWEST_WINDOWS:
            usual = median(before)
            deviation = _NORMAL * median(abs(each - usual) for each in before)
            z = (fmean(newest) - usual) / max(deviation, 1 / len(newest))
        yield Observation("fill_ratio_z", Subject(strategy=strategy), z, moment, len(newest), None, "orders, fills")
