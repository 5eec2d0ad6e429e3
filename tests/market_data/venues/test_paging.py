"""The loop over pages, as laws: whatever the truth and the venue's page size, every row is seen once, or it is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from research_to_prod.market_data.dialects import dialect
from research_to_prod.market_data.paging import Terminal, walk
from research_to_prod.market_data.venue_errors import VenueUnknown

HOUR_US = 3_600_000_000
T0 = 1_685_577_600_000_000
MARKETS: Mapping[str, dict[str, Any]] = {
    name: {"id": market, "spot": True, "linear": None, "contract": False}
    for name, market in (("binance", "BTCUSDT"), ("kraken", "XXBTZUSD"), ("okx", "BTC-USDT"), ("coinbase", "BTC-USD"))
}
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Answer(NamedTuple):
    content: Any
    sha256: str = "00"


def tape(gaps: list[int]) -> list[Any]:
    """Trades from half an hour before the interval on, ``gaps`` milliseconds apart; a gap of 0 shares the time."""
    at, rows = T0 - HOUR_US // 2, []
    for number, gap in enumerate(gaps):
        at += gap * 1000
        rows.append((number + 1, at, "27000.5", "0.25", "buy" if number % 3 else "sell"))
    return rows


@pytest.mark.parametrize("name", MARKETS)
@given(
    gaps=st.lists(st.sampled_from([0, 0, 1, 40, 1000, 90_000, 4_000_000]), max_size=60),
    cap=st.integers(1, 12),
    hours=st.integers(1, 5),
)
@relaxed
def test_a_walk_over_the_tape_loses_nothing_and_repeats_nothing(
    routes: Any, new_world: Any, paths: Any, name: str, gaps: list[int], cap: int, hours: int
) -> None:
    world = new_world(trades=tape(gaps), cap=cap)
    route = routes[name](world)[paths[name]["trades"]]
    stop = T0 + hours * HOUR_US
    truth = sorted(row[0] for row in world.trades if T0 <= row[1] < stop)

    def read(_method: str, parameters: Mapping[str, Any]) -> Any:
        return Answer(route({key: str(value) for key, value in parameters.items()}))

    feed = dialect(name).trades(MARKETS[name])
    if feed.overlap:
        # A cursor that is coarser than the trades can be stuck; then the venue must serve pages longer than a step.
        world.cap = 60
    got = walk(read, feed, T0, stop, venue=name, last=stop, now=stop)
    assert sorted(int(feed.values(row)[0]) for _, _, row in got.rows()) == truth
    assert got.terminal in {Terminal.EMPTY_PAGE, Terminal.END_REACHED, Terminal.CAUGHT_UP}


@pytest.mark.parametrize("name", ["kraken", "coinbase"])
@given(together=st.integers(1000, 1200), before=st.integers(0, 3))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stuck_cursor_is_an_error_and_never_the_end(
    routes: Any, new_world: Any, paths: Any, name: str, together: int, before: int
) -> None:
    rows = tape([1_800_000 + 1000, *[0] * before, 2000, *[0] * together, 2000])
    route = routes[name](new_world(trades=rows))[paths[name]["trades"]]
    feed, stop = dialect(name).trades(MARKETS[name]), T0 + HOUR_US
    with pytest.raises(VenueUnknown, match="share one step"):
        walk(
            lambda _, asked: Answer(route({key: str(value) for key, value in asked.items()})),  # type: ignore[arg-type, return-value]
            feed, T0, stop, venue=name, last=stop, now=stop,
        )  # fmt: skip
