"""What Dagster remembers of a failed fetch holds no secret of the venue's account."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from research_to_prod.defs.execution.assets import venue_records
from research_to_prod.defs.market_data.assets import raw_candles
from research_to_prod.defs.resources import build_resources
from research_to_prod.market_data.reads import ATTEMPTS
from research_to_prod.market_data.universe import VenueSpec
from research_to_prod.market_data.venue import Credentials, VenueClient, connect

ENVIRONMENT = {"PEER_KEY": "canaryKEYcanaryKEYcanaryKEY", "PEER_SECRET": "canarySECRETcanarySECRETcanarySECRET"}
KLINES, TRADES = "/api/v3/klines", "/api/v3/myTrades"
FAULTS: dict[str, dict[str, Any]] = {
    "html": {"body": b"<html>maintenance</html>"},
    "echo": {"status": 502, "body": f"X-MBX-APIKEY: {ENVIRONMENT['PEER_KEY']} signature=deadbeef".encode()},
    "bad_key": {"status": 401, "body": {"code": -2015, "msg": "Invalid API-key"}},
    "ban": {"status": 418},
    "reset": {"reset": True},
    "healthy": {"body": []},
}


class PeerVenues:
    """Opens the universe's venue at the peer, with the credentials of the environment."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def client(self, venue: VenueSpec) -> VenueClient:
        credentials = Credentials.from_environment(venue, ENVIRONMENT)
        return connect(venue, base_url=self.base_url, credentials=credentials, sleep=lambda _: None)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_event_of_a_run_shows_a_secret(peer: Any, tmp_path: Path, capfd: Any, fault: str) -> None:
    venue = {"name": "peer", "ccxt": "binance", "key_variable": "PEER_KEY", "secret_variable": "PEER_SECRET"}
    market = {"venue": "peer", "symbol": "BTC/USDT", "timeframe": "1h", "since": "2023-01-01"}
    (tmp_path / "desk").mkdir()
    universe = {"venues": [venue | {"rate_limit_ms": 0.1}], "markets": [market]}
    (tmp_path / "desk" / "universe.yaml").write_text(yaml.safe_dump(universe))
    places = {"R2P_DATA": str(tmp_path / "data"), "R2P_DESK": str(tmp_path / "desk")}
    resources = build_resources(places) | {"venues": PeerVenues(peer.base_url)}
    peer.now = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000)
    shown = ""
    with dg.DagsterInstance.ephemeral() as instance:
        for asset, partition, path in ((venue_records, "2026-01-02", TRADES), (raw_candles, "2023-06", KLINES)):
            peer.queue(path, times=ATTEMPTS, **FAULTS[fault])
            peer.routes[path] = lambda _: []
            run = dg.materialize(
                [asset], partition_key=partition, resources=resources, instance=instance, raise_on_error=False
            )
            assert run.success is (fault == "healthy")
            records = instance.all_logs(run.run_id)
            assert records
            shown += "".join(repr(each) + each.to_json() + each.user_message for each in records)
            shown += "".join(repr(each.message) for each in records)
    captured = capfd.readouterr()
    shown += captured.out + captured.err
    signatures = [query["signature"] for query in peer.asked(TRADES)]
    assert signatures, "the run must have signed a request"
    assert fault == "healthy" or "peer: " in shown, "the error must be among what is searched"
    for secret in (*ENVIRONMENT.values(), "canary", "deadbeef", *signatures):
        assert secret not in shown
