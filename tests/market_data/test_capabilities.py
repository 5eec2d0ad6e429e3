"""What can be read from which venue: the matrix, and that it fails closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from research_to_prod.market_data.capabilities import Capability, capabilities, capability_matrix, require
from research_to_prod.market_data.dialects import dialect
from research_to_prod.market_data.dialects.base import Dialect
from research_to_prod.market_data.universe import EXCHANGES
from research_to_prod.market_data.venue import VenueClient, VenueUnsupported

# clock status instruments fees candles trades book funding_rates my_trades my_orders holdings statements payments
HELD = {
    "binance": "yes yes yes yes yes yes yes yes yes yes yes yes yes",
    "kraken": "yes yes yes yes yes yes yes no no no no no no",
    "okx": "yes yes yes yes yes yes yes yes no no no no no",
    "bybit": "yes yes yes yes yes yes yes yes no no no no no",
    "coinbase": "yes no yes yes yes yes yes no no no no no no",
}


def test_the_matrix_is_what_we_say_it_is() -> None:
    rows = capability_matrix().to_pylist()
    found = {venue: [r["available"] for r in rows if r["venue"] == venue] for venue in EXCHANGES}
    assert found == {venue: [word == "yes" for word in line.split()] for venue, line in HELD.items()}
    assert [row["capability"] for row in rows[:13]] == [str(each) for each in Capability]


def test_what_ccxt_has_and_we_have_no_contract_for_is_no() -> None:
    support = capabilities("okx")[Capability.MY_TRADES]
    assert (support.ccxt, support.contract, support.available) == (True, False, False)


def test_what_is_not_available_says_what_to_do() -> None:
    for row in capability_matrix().to_pylist():
        assert bool(row["remedy"]) is not row["available"]
    with pytest.raises(VenueUnsupported, match=r"desk \(kraken\) gives no my_trades: no contract for it; read it from"):
        require("kraken", Capability.MY_TRADES, "desk")


def test_each_capability_is_a_method_of_client_and_dialect() -> None:
    for each in Capability:
        assert callable(getattr(VenueClient, each))
        # Markets come through ccxt, whose endpoints each dialect has contracts for.
        assert callable(getattr(Dialect, each, None)) is (each is not Capability.INSTRUMENTS)


def test_the_page_on_venues_shows_the_matrix() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "venues.md").read_text()
    for row in capability_matrix().to_pylist():
        (line,) = [each for each in page.splitlines() if each.startswith(f"| `{row['capability']}`")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[1 + EXCHANGES.index(row["venue"])] == ("yes" if row["available"] else "no"), row


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_each_exchange_has_a_dialect_of_its_own_name(exchange: str) -> None:
    assert dialect(exchange).ccxt == exchange


def test_dialects_and_client_do_not_import_ccxt() -> None:
    code = (
        "import sys; from research_to_prod.market_data import venue, dialects, capabilities, ingest;"
        "[dialects.dialect(each) for each in dialects.EXCHANGES]; print('ccxt' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
