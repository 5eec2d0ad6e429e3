"""A desk's ledger, keys and drafts, as the tests of this room need them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.promotion.keys import Keys, open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Draft, Record
from research_to_prod.values import canonical_json, digest

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BLOBS: dict[str, bytes] = {}
"""What the drafts of these tests name by hash, whatever it says."""


class DeskLedger(Ledger):
    """A ledger that is handed what its drafts name by hash, as the promotion asset does."""

    def append(self, draft: Draft, blobs: Iterable[bytes] = ()) -> Record:
        named = (draft.policy.sha256, draft.parameters_sha256, draft.gate_report_sha256)
        return super().append(draft, (*blobs, *dict.fromkeys(BLOBS[name] for name in named if name in BLOBS)))


ALSO: dict[str, dict[str, Any]] = {
    "rollback": {
        "trigger": {
            "rule": "cusum_of_edge",
            "value": "11.2",
            "threshold": "9.5",
            "samples": 40,
            "observed_at": "2026-01-01T00:00:00.000Z",
        }
    },
    "override": {"expires_at": "2026-02-01T00:00:00.000Z"},
}
"""What a draft of that type says besides."""


def _draft(number: int, **changes: Any) -> Draft:
    """A promotion of candidate ``c<number>`` to paper, ``number`` seconds into 2026; or a refusal, given reasons."""
    return Draft.model_validate(_fields(number) | ALSO.get(changes.get("type", "promote"), {}) | changes)


def _fields(number: int) -> dict[str, Any]:
    sha256 = digest(number)
    BLOBS[sha256] = canonical_json(number)
    return {
        "decision_id": f"decision-{number}",
        "recorded_at": EPOCH + timedelta(seconds=number),
        "candidate": f"c{number}",
        "candidate_sha256": sha256,
        "algo_id": f"c{number}",
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
    return DeskLedger(tmp_path / "ledger", keys)
