"""A desk's ledger, keys and drafts, as the tests of this room need them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.promotion.keys import Keys, open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Draft
from research_to_prod.values import digest

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def _draft(number: int, **changes: Any) -> Draft:
    """A promotion of candidate ``c<number>`` to paper, ``number`` seconds into 2026; or a refusal, given reasons."""
    return Draft.model_validate(_fields(number) | changes)


def _fields(number: int) -> dict[str, Any]:
    sha256 = digest(number)
    return {
        "decision_id": f"decision-{number}",
        "recorded_at": EPOCH + timedelta(seconds=number),
        "candidate": f"c{number}",
        "candidate_sha256": sha256,
        "strategy": "momentum",
        "strategy_type": "swing",
        "from_stage": "research",
        "to_stage": "paper",
        "policy": {"id": "research_to_paper", "version": "1", "sha256": sha256},
        "code": {"package_sha256": sha256, "lockfile_sha256": sha256, "version": "0.1.0"},
        "parameters_sha256": sha256,
        "inputs": [
            {
                "asset": "candles",
                "partition": "2023-01",
                "lake_version": 3,
                "content_sha256": sha256,
                "rows": 744,
                "run_id": "run-1",
                "storage_id": 11,
            }
        ],
        "checks": [
            {
                "asset": "candles",
                "check": "complete",
                "partition": "2023-01",
                "passed": True,
                "run_id": "run-1",
                "storage_id": 12,
            }
        ],
        "n_trials": 40,
        "trial_ledger_head": sha256,
        "author": "ann",
        "limits": {
            "instruments": [{"venue": "sandbox", "symbol": "BTC/USDT"}],
            "capital": "250000",
            "currency": "USDT",
        },
        "dagster": {"run_id": "run-2"},
        "type": "promote",
        "gates": [
            {
                "gate": "deflated_sharpe",
                "family": "statistics",
                "verdict": "pass",
                "value": "0.97",
                "threshold": "0.95",
                "margin": "0.02",
                "samples": 1088,
                "reason": "0.97 >= 0.95",
            }
        ],
        "reasons": [],
        "gate_report_sha256": sha256,
    }


@pytest.fixture(scope="session")
def draft() -> Callable[..., Draft]:
    return _draft


@pytest.fixture(scope="session")
def draft_fields() -> Callable[[int], dict[str, Any]]:
    return _fields


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return open_keys(tmp_path / "keys", EPOCH)


@pytest.fixture
def ledger(tmp_path: Path, keys: Keys) -> Ledger:
    return Ledger(tmp_path / "ledger", keys)
