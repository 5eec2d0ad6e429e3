"""What the lake's tables of an account give the rules of a finished day: all that the domain measures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks._reconciliation_trials import sound_day
from research_to_prod.defs.operations.day_sources import DaySources
from research_to_prod.execution.contracts import INBOX_KINDS, VENUE_RECORDS
from research_to_prod.lake import Lake
from research_to_prod.market_data.contracts import CANDLES, FETCH_CERTIFICATES, FUNDING_RATES
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.sandbox.record_faults import RecordFault
from research_to_prod.settings import Settings
from tests.operations.alerting.account_day import DAY, END, MARKET, account, at, values
from tests.operations.alerting.test_day_measures import rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake with a day of the account on which the venue closed a part of a position."""
    known, lake = at(account(RecordFault.LIQUIDATION), END), Lake(tmp_path / "lake")
    assert known.breaks is not None
    lake.write("breaks", DAY, known.breaks, BREAKS)
    for name in ("order_events", "ledger_entries"):
        lake.write(name, DAY, sound_day(MARKET, DAY).desk[name], INBOX_KINDS[name])
    for name, table in (("fills", known.fills), ("positions", known.positions)):
        assert table is not None
        lake.write(name, DAY, table, INBOX_KINDS[name])
    for name, table in known.venue.items():
        lake.write(name, DAY, table, VENUE_RECORDS[name])
    for name, table in known.certificates.items():
        lake.write("fetch_certificates", f"{name}-{DAY}", table, FETCH_CERTIFICATES)
    assert known.funding_rates is not None
    lake.write("funding_rates", DAY[:7], known.funding_rates, FUNDING_RATES)
    bars = [
        {"venue": venue, "symbol": symbol, "timeframe": "1h", "ts": END - timedelta(hours=1), "close": price}
        for (venue, symbol), (price, _) in known.prices.items()
    ]
    lake.write("candles", DAY[:7], rows(CANDLES, *bars), CANDLES)
    return Settings(data=tmp_path)


def test_a_finished_day_is_measured_from_the_lake_as_it_is_in_the_domain(settings: Settings) -> None:
    expected = values(account(RecordFault.LIQUIDATION))
    assert expected["forced_events"] == 1
    found = {
        each.metric: each.value
        for each in DaySources(Lake(settings.lake), settings, DAY).observations(END, None)
        if each.metric in expected
    }
    # No liquidity profile was made, so that nobody knows what is usual at this hour.
    assert found.pop("liquidation_distance") is None
    assert found == {metric: value for metric, value in expected.items() if metric != "liquidation_distance"}


def test_what_the_measures_rest_on_is_among_what_was_read(settings: Settings) -> None:
    sources = DaySources(Lake(settings.lake), settings, DAY)
    read = {each.table for snapshot in sources.read for each in snapshot.versions}
    assert read == {*VENUE_RECORDS, "breaks", "fills", "positions", "fetch_certificates", "candles", "funding_rates"}


def test_an_account_that_was_never_read_is_not_measured(tmp_path: Path) -> None:
    found = DaySources(Lake(tmp_path / "lake"), Settings(data=tmp_path), DAY).observations(END, None)
    assert {each.metric for each in found} == {"asset_lag", "reconciliation_lag"}
