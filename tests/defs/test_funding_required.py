"""A perpetual without known funding is not studied: an absent payment would look like none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from research_to_prod.defs.research.inputs import require_funding
from research_to_prod.lake import Lake
from research_to_prod.market_data.certificates import certificates_table, issue
from research_to_prod.market_data.contracts import FETCH_CERTIFICATES
from research_to_prod.research.candidate import Candidate
from research_to_prod.settings import Settings

JUNE, JULY, AUGUST = (datetime(2023, month, 1, tzinfo=UTC) for month in (6, 7, 8))


def candidate(*universe: str) -> Candidate:
    given = yaml.safe_load((Settings().desk / "candidates" / "btc_momentum.yaml").read_text())
    given |= {"strategy_sha256": "0" * 64, "universe": list(universe)}
    given |= {"window": {"start": "2023-06-01", "end": "2023-08-01"}}
    return Candidate.model_validate(given)


def fetched(lake: Lake, month: str, start: datetime, end: datetime) -> None:
    certificate = issue(
        venue="sandbox", endpoint="e", scope="BTC/USDT:USDT", interval=(start, end), bodies=(), rows=0, terminal="e"
    )
    key = f"funding_rates-{month}"
    lake.write("fetch_certificates", key, certificates_table([certificate], key), FETCH_CERTIFICATES)


def test_a_spot_candidate_needs_no_funding(tmp_path: Path) -> None:
    require_funding(Lake(tmp_path), candidate("BTC/USDT"))


def test_a_perpetual_needs_certified_funding_over_its_whole_window(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fetched(lake, "2023-06", JUNE, JULY)
    fetched(lake, "2023-07", JULY, datetime(2023, 7, 9, tzinfo=UTC))
    with pytest.raises(
        ValueError, match=r"funding of BTC/USDT:USDT from 2023-07-09T00:00Z on is not known.*materialize"
    ):
        require_funding(lake, candidate("BTC/USDT:USDT"))
    fetched(lake, "2023-07", JULY, AUGUST)
    require_funding(lake, candidate("BTC/USDT:USDT"))
    with pytest.raises(ValueError, match="ETH/USDT:USDT from 2023-06-01T00:00Z on"):
        require_funding(lake, candidate("BTC/USDT:USDT", "ETH/USDT:USDT"))
