"""The universe file: what it admits, and that its errors name file and field."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import research_to_prod
from research_to_prod.market_data.universe import FileSource, Universe, UniverseError

COMMITTED = Path(research_to_prod.__file__).parent / "desk" / "universe.yaml"


def write(folder: Path, **changes: Any) -> Path:
    market = {"venue": "x", "symbol": "BTC/USDT", "timeframe": "1h", "since": "2023-01-01"} | changes
    path = folder / "universe.yaml"
    path.write_text(yaml.safe_dump({"venues": [{"name": "x", "ccxt": "binance"}], "markets": [market]}))
    return path


def test_the_committed_universe_is_the_sandbox_with_seven_markets() -> None:
    universe = Universe.load(COMMITTED)
    assert [venue.name for venue in universe.venues] == ["sandbox"]
    assert len(universe.markets) == 7
    assert {market.timeframe for market in universe.markets} == {"1h"}
    assert sorted(market.symbol for market in universe.markets if market.funding) == [
        "BTC/USDT:USDT",
        "ETH/USDT:USDT",
        "SOL/USDT:USDT",
    ]
    assert universe.first_month == "2023-01"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"symbol": "../etc"}, "markets.0.symbol", "is no ccxt unified symbol"),
        ({"symbol": "BTC'--/USDT"}, "markets.0.symbol", "is no ccxt unified symbol"),
        ({"timeframe": "1x"}, "markets.0.timeframe", "not one of the forms"),
        ({"since": "soon"}, "markets.0.since", "isoformat"),
        ({"until": "2022-01-01"}, "markets.0", "not after since"),
        ({"typo": 1}, "markets.0.typo", "Extra inputs"),
        ({"venue": "y"}, "markets.0 (y BTC/USDT 1h)", "not among the venues"),
        ({"funding": True}, "markets.0", "spot market and has no funding"),
        ({"source": {"files": "/etc/passwd"}}, "markets.0.source", "relative"),
        ({"source": {"files": "../secret.csv"}}, "markets.0.source", "relative"),
        ({"source": {"files": "a/**b.csv"}}, "markets.0.source", "stands for folders"),
        ({"source": {"files": "a\nb.csv"}}, "markets.0.source", "line break"),
        ({"symbol": 'BTC"/USDT'}, "markets.0.symbol", "is no ccxt unified symbol"),
        ({"symbol": "BTC/USDT\n"}, "markets.0.symbol", "is no ccxt unified symbol"),
        ({"symbol": "../../etc/passwd"}, "markets.0.symbol", "is no ccxt unified symbol"),
        ({"trades": {"files": "/etc/passwd"}}, "markets.0.trades", "relative"),
    ],
)
def test_an_error_names_file_field_and_reason(tmp_path: Path, changes: dict[str, Any], field: str, reason: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(UniverseError) as caught:
        Universe.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert field in message
    assert reason in message


@pytest.mark.parametrize("content", ["[", "", "- a", "\x00"])
def test_a_file_that_is_no_universe_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "universe.yaml"
    path.write_text(content)
    with pytest.raises(UniverseError, match=r"universe\.yaml"):
        Universe.load(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UniverseError, match=r"nowhere\.yaml: cannot be read"):
        Universe.load(tmp_path / "nowhere.yaml")


def test_a_market_or_its_funding_is_listed_once() -> None:
    perpetual = {"venue": "x", "symbol": "BTC/USDT:USDT", "since": "2023-01-01", "funding": True}
    venues = [{"name": "x", "ccxt": "binance"}]
    with pytest.raises(ValueError, match="listed twice"):
        Universe(venues=venues, markets=[perpetual | {"timeframe": "1h"}] * 2)
    with pytest.raises(ValueError, match="asked for twice"):
        Universe(venues=venues, markets=[perpetual | {"timeframe": "1h"}, perpetual | {"timeframe": "1d"}])


def test_the_public_trades_of_a_market_are_asked_for_once() -> None:
    spot = {"venue": "x", "symbol": "BTC/USDT", "since": "2023-01-01", "trades": True}
    with pytest.raises(ValueError, match="trades of BTC/USDT is asked for twice"):
        Universe(
            venues=[{"name": "x", "ccxt": "binance"}],
            markets=[spot | {"timeframe": "1h"}, spot | {"timeframe": "1d"}],
        )


@given(name=st.text(max_size=30), field=st.sampled_from(["symbol", "venue", "timeframe", "files"]))
def test_any_text_in_the_universe_is_taken_or_refused_by_name(
    name: str, field: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever passes can be a symbol in a URL, a file name and a SQL value."""
    given_field = {"source": {"files": name}} if field == "files" else {field: name}
    path = write(tmp_path_factory.mktemp("universe"), **given_field)
    try:
        market = Universe.load(path).markets[0]
    except UniverseError as error:
        assert str(path) in str(error)  # noqa: PT017 - one law, both ways
    else:
        assert set(market.symbol) <= set(string.ascii_letters + string.digits + "/:-")
        assert set(market.venue) <= set(string.ascii_lowercase + string.digits + "_-")
        if isinstance(market.source, FileSource):
            assert ".." not in Path(market.source.files).parts
            assert market.source.files.isprintable()


def test_a_market_does_not_begin_before_its_venue() -> None:
    venues = [{"name": "x", "ccxt": "binance", "history_start": "2023-06-01"}]
    market = {"venue": "x", "symbol": "BTC/USDT", "timeframe": "1h", "since": "2023-01-01"}
    with pytest.raises(ValueError, match="history_start 2023-06-01"):
        Universe(venues=venues, markets=[market])


def test_credentials_are_names_of_variables_given_in_pairs() -> None:
    market = {"venue": "x", "symbol": "BTC/USDT", "timeframe": "1h", "since": "2023-01-01"}
    with pytest.raises(ValueError, match="belong together"):
        Universe(venues=[{"name": "x", "ccxt": "binance", "key_variable": "KEY"}], markets=[market])
    with pytest.raises(ValueError, match="pattern"):
        Universe(
            venues=[{"name": "x", "ccxt": "binance", "key_variable": "a-real-key", "secret_variable": "S"}],
            markets=[market],
        )


def test_file_markets_need_no_declared_venue_and_keep_a_full_time(tmp_path: Path) -> None:
    path = write(tmp_path, venue="kraken", source={"files": "a/*.csv"}, since="2017-08-17T04:00Z")
    market = Universe.load(path).markets[0]
    assert market.source == FileSource(files="a/*.csv")
    assert market.since == datetime(2017, 8, 17, 4, tzinfo=UTC)
    assert market.bars_of("2017-08", datetime(2018, 1, 1, tzinfo=UTC)) == (
        datetime(2017, 8, 17, 4, tzinfo=UTC),
        datetime(2017, 9, 1, tzinfo=UTC),
    )
