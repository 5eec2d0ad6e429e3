"""Channels against real listeners: the shapes are those that Alertmanager's and PagerDuty's readers expect."""

from __future__ import annotations

import importlib.util
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import research_to_prod
from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.delivery.channels import ChannelError, PagerDuty, Webhook, open_channels
from research_to_prod.operations.delivery.formats import as_text
from research_to_prod.operations.delivery.message import Message
from research_to_prod.operations.delivery.outbox import DeliveryError
from tests.operations.delivery.told import history

SHIPPED = Path(research_to_prod.__file__).parent / "desk" / "channels.yaml"
ALL = frozenset(Severity)


class Listener(HTTPServer):
    """Remembers what is posted to it and answers with ``status``."""

    status = 202

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, Any], str | None]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                listener.got.append((json.loads(body), self.headers["Idempotency-Key"]))
                self.send_response(listener.status)
                self.end_headers()
                self.wfile.write(b"noted")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def told(tmp_path: Path) -> list[Message]:
    return history(tmp_path)


def test_a_web_hook_gets_what_alertmanager_would_post(listener: Listener, told: list[Message]) -> None:
    page, _, end = told
    channel = Webhook("hook", ALL, listener.url)
    assert channel.send(page) == "202 noted"
    channel.send(end)
    (fires, key), (resolved, _) = listener.got
    assert key == page.key
    assert {"version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
            "commonAnnotations", "externalURL", "alerts"} == set(fires)  # fmt: skip
    assert (fires["version"], fires["status"], fires["receiver"]) == ("4", "firing", "hook")
    (alert,) = fires["alerts"]
    assert {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"} == set(alert)
    assert alert["labels"] == {
        "alertname": "md_stale", "severity": "P2", "venue": "sandbox", "instrument": "BTC/USDT:USDT",
    }  # fmt: skip
    assert (alert["startsAt"], alert["endsAt"]) == ("2026-01-05T12:00:00.000Z", "0001-01-01T00:00:00Z")
    assert (resolved["status"], resolved["alerts"][0]["endsAt"]) == ("resolved", "2026-01-05T12:02:00.000Z")
    assert resolved["alerts"][0]["fingerprint"] == alert["fingerprint"]


def test_pagerduty_gets_events_of_one_incident_by_one_key(listener: Listener, told: list[Message]) -> None:
    channel = PagerDuty("pager", ALL, "R0UT1NG", listener.url)
    for each in told:
        channel.send(each)
    bodies = [body for body, _ in listener.got]
    assert [body["event_action"] for body in bodies] == ["trigger", "acknowledge", "resolve"]
    assert {body["dedup_key"] for body in bodies} == {told[0].incident_id}
    assert {body["routing_key"] for body in bodies} == {"R0UT1NG"}
    payload = bodies[0]["payload"]
    assert {"summary", "source", "severity"} <= set(payload)
    assert payload["severity"] == "error"
    assert "payload" not in bodies[1]


def test_an_answer_that_is_no_thanks_is_no_delivery(listener: Listener, told: list[Message]) -> None:
    listener.status = 429
    with pytest.raises(DeliveryError, match="429 noted"):
        Webhook("hook", ALL, listener.url).send(told[0])


def test_nobody_listening_is_no_delivery_and_no_error_shows_the_address(told: list[Message]) -> None:
    with pytest.raises(DeliveryError) as failed:
        Webhook("hook", ALL, "http://127.0.0.1:1/s3cret").send(told[0])
    assert "s3cret" not in str(failed.value)


def test_the_shipped_channels_need_nothing_and_take_every_page(tmp_path: Path, told: list[Message]) -> None:
    stream = io.StringIO()
    channels = open_channels(SHIPPED, {}, tmp_path, stream)
    for channel in channels:
        assert channel.takes(told[0])
        channel.send(told[0])
    assert stream.getvalue() == as_text(told[0]) + "\n\n"
    (line,) = (tmp_path / "pages.jsonl").read_text().splitlines()
    assert json.loads(line)["key"] == told[0].key
    assert json.loads(line)["page"]["blind_seconds"] == told[0].page.blind_seconds


def declared(folder: Path, *channels: str) -> Path:
    path = folder / "channels.yaml"
    path.write_text("channels:\n" + "".join(f"  - {each}\n" for each in channels))
    return path


@pytest.mark.skipif(importlib.util.find_spec("apprise") is not None, reason="apprise is installed here")
def test_a_package_that_is_not_there_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    path = declared(tmp_path, "{name: chat, kind: apprise, variable: URLS}")
    with pytest.raises(ChannelError, match=r"chat needs the package apprise: pip install 'research_to_prod\[notify\]'"):
        open_channels(path, {"URLS": "json://localhost"}, tmp_path, io.StringIO())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_apprise_tells_every_address_or_says_that_it_could_not(
    listener: Listener, told: list[Message], tmp_path: Path
) -> None:
    pytest.importorskip("apprise")
    path = declared(tmp_path, "{name: chat, kind: apprise, variable: URLS}")
    address = listener.url.replace("http://", "json://")
    (channel,) = open_channels(path, {"URLS": f"{address}a {address}b"}, tmp_path, io.StringIO())
    assert channel.send(told[0]) == "notified"
    assert [body["title"] for body, _ in listener.got] == [told[0].page.text] * 2
    listener.status = 500
    with pytest.raises(DeliveryError, match="could not deliver to every address"):
        channel.send(told[0])
    (wrong,) = open_channels(path, {"URLS": "carrierpigeon://loft"}, tmp_path, io.StringIO())
    with pytest.raises(DeliveryError, match="no service for one of the addresses"):
        wrong.send(told[0])


def test_everything_that_a_channel_lacks_is_named_at_once(tmp_path: Path) -> None:
    path = declared(
        tmp_path,
        "{name: pager, kind: pagerduty, severities: [P1], variable: ROUTING}",
        "{name: hook, kind: webhook, severities: [P3], variable: HOOK}",
    )
    with pytest.raises(ChannelError) as failed:
        open_channels(path, {"HOOK": "file:///etc/passwd"}, tmp_path, io.StringIO())
    assert str(failed.value) == (
        "channels.yaml: channel pager: the environment variable ROUTING is empty; "
        "channel hook: HOOK holds no http address; no channel takes pages (P1 and P2)"
    )
