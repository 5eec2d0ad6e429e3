"""The door before Dagster's UI, in front of the real webserver: what a browser sends for its pages and for others'."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.webserver import DagsterWebserver
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from research_to_prod.defs import ui
from research_to_prod.defs.ui import LOOPBACK, Door, put_door
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from starlette.testclient import TestClient

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with")

OURS, PROXY = "127.0.0.1:3000", "ui.desk.example"
FORGE = """mutation { reportRunlessAssetEvents(eventParams:
  {eventType: ASSET_MATERIALIZATION, assetKey: {path: ["promotion"]}, partitionKeys: null}) { __typename } }"""
ASK = {"query": "{ version }"}
EVIL = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}


class Served:
    """The UI as `r2p ui` serves it behind a proxy, and what was reported to it."""

    def __init__(self, instance: dg.DagsterInstance, client: TestClient) -> None:
        self.instance, self.client = instance, client

    def ask(self, method: str, path: str, host: str = OURS, headers: dict[str, str] | None = None, **more: Any) -> Any:
        return self.client.request(method, path, headers={"Host": host, **(headers or {})}, **more)

    @property
    def forged(self) -> bool:
        return self.instance.get_latest_materialization_event(dg.AssetKey("promotion")) is not None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from starlette.testclient import TestClient

    with (
        pytest.MonkeyPatch.context() as patched,
        dg.DagsterInstance.local_temp() as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget(), version="1.2.3") as context,
    ):
        patched.setattr(DagsterWebserver, "build_middleware", DagsterWebserver.build_middleware)
        data = tmp_path_factory.mktemp("data")
        (data / "secret.key").write_text("secret")
        (data / "reports").mkdir()
        put_door([], [PROXY], data / "reports")
        (data / "reports" / "index.html").write_text("all of them")
        # What `dagster-webserver` itself makes its application by.
        yield Served(instance, TestClient(create_app_from_workspace_process_context(context)))


LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
OWN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "path", "host", "headers"),
    [
        ("POST", "/graphql", OURS, OWN | {"Origin": f"http://{OURS}"}),
        ("POST", "/graphql", "localhost:8080", OWN | {"Origin": "http://localhost:8080"}),
        ("POST", "/graphql", "[::1]:3000", OWN | {"Origin": "http://[::1]:3000"}),
        ("POST", "/graphql", PROXY, OWN | {"Origin": f"https://{PROXY}"}),
        ("POST", "/graphql", OURS, OWN | {"Origin": f"https://{PROXY}"}),
        ("POST", "/graphql", OURS, {}),
        ("GET", "/server_info", OURS, {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}),
        ("GET", "/", OURS, LINK),
        ("GET", "/assets/promotion", OURS, LINK | {"Sec-Fetch-Site": "same-site"}),
        ("GET", "/graphql", OURS, OWN | {"Accept": "text/html"}),
    ],
)
def test_what_the_pages_of_the_ui_ask_a_link_to_them_and_a_program_get_through(
    served: Served, method: str, path: str, host: str, headers: dict[str, str]
) -> None:
    answer = served.ask(method, path, host, headers, json=ASK if method == "POST" else None)
    assert answer.status_code == 200, answer.text
    if method == "POST":
        assert answer.json() == {"data": {"version": "1.2.3"}}


def test_reports_lie_beside_the_ui_behind_the_same_door_and_nothing_else_does(served: Served) -> None:
    for path in ("/reports/", "/reports/index.html"):
        shown = served.ask("GET", path, headers=LINK)
        assert (shown.status_code, shown.text) == (200, "all of them")
    for path in ("/reports/none.html", "/reports/../secret.key", "/reports/%2e%2e/secret.key", "/reports//secret.key"):
        assert "secret" not in served.ask("GET", path).text
    assert served.ask("GET", "/reports/none.html").status_code == 404
    assert served.ask("POST", "/reports/index.html").status_code == 405
    assert served.ask("GET", "/reports/index.html", "evil.example").status_code == 403
    assert served.ask("GET", "/reports/index.html", headers=EVIL).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "host", "headers", "told"),
    [
        ("POST", "/graphql", "evil.example:3000", OWN | {"Origin": "http://evil.example:3000"}, "evil.example:3000"),
        ("POST", "/graphql", "127.0.0.1.evil.example", {}, "R2P_UI_HOSTS"),
        ("POST", "/graphql", "", {}, "not reached as"),
        ("POST", "/graphql", "[::1", {}, "not reached as"),
        ("POST", "/graphql", OURS, EVIL, "https://evil.example"),
        ("POST", "/graphql", OURS, {"Origin": "https://evil.example"}, "https://evil.example"),
        ("POST", "/graphql", OURS, {"Origin": "null"}, "null"),
        ("POST", "/graphql", OURS, {"Origin": "http://127.0.0.1"}, "another site"),
        ("POST", "/graphql", OURS, {"Origin": "http://127.0.0.1:8888", "Sec-Fetch-Site": "same-site"}, "8888"),
        ("POST", "/graphql", OURS, {"Origin": f"https://evil.{PROXY}"}, "another site"),
        ("POST", "/graphql", OURS, LINK | {"Origin": "https://evil.example"}, "another site"),
        ("POST", "/graphql", OURS, LINK, "cross-site"),
        ("POST", "/report_asset_materialization/promotion", OURS, EVIL, "another site"),
        ("GET", "/graphql", OURS, {}, "ask by POST"),
        ("GET", "/graphql", OURS, LINK, "ask by POST"),
        ("GET", "/graphql", OURS, OWN, "ask by POST"),
        ("GET", "/", OURS, LINK | {"Sec-Fetch-Dest": "iframe"}, "cross-site"),
        ("GET", "/logs/x", OURS, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "cross-site"),
    ],
)
def test_what_another_site_s_page_can_make_a_browser_send_is_refused_and_says_why(
    served: Served, method: str, path: str, host: str, headers: dict[str, str], told: str
) -> None:
    query = {"query": FORGE} if "graphql" in path else None
    for more in ({"params": query}, {"params": query, "headers": headers | FORM}, {"json": {"query": FORGE}}):
        if method == "GET" and "json" in more:
            continue
        answer = served.ask(method, path, host, **({"headers": headers} | more))
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/plain; charset=utf-8"), answer.text
        assert answer.text.startswith("refused: ")
        assert told in answer.text
    assert not served.forged


def test_two_hosts_or_none_are_refused(served: Served) -> None:
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b""}
    door = Door(served.client.app, LOOPBACK)
    for headers in ([], [(b"host", b"127.0.0.1"), (b"host", b"evil.example")]):
        assert "is not reached as" in door._refusal(HTTPConnection(scope | {"headers": headers}))


def test_without_the_door_the_webserver_does_what_any_site_asks(served: Served) -> None:
    """Why there is a door; when this fails, Dagster has one of its own."""
    from starlette.testclient import TestClient

    assert isinstance(served.client.app, Starlette)
    bare = TestClient(served.client.app.router)
    forge = FORGE.replace("promotion", "candles")
    assert bare.get("/graphql", params={"query": forge}, headers=EVIL | {"Host": "evil.example"}).status_code == 200
    assert served.instance.get_latest_materialization_event(dg.AssetKey("candles")) is not None


@pytest.mark.parametrize("origin", [f"http://{OURS}", f"https://{PROXY}", None])
def test_a_web_socket_of_the_ui_is_answered(served: Served, origin: str | None) -> None:
    headers = {"Host": OURS} | ({"Origin": origin} if origin else {})
    with served.client.websocket_connect("/graphql", subprotocols=["graphql-ws"], headers=headers) as socket:
        socket.send_json({"type": "connection_init"})
        assert socket.receive_json() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "headers",
    [{"Host": OURS, "Origin": "https://evil.example"}, {"Host": "evil.example", "Origin": "http://evil.example"},
     {"Host": OURS, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "websocket"}],
)  # fmt: skip
def test_a_web_socket_of_another_site_is_never_opened(served: Served, headers: dict[str, str]) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        served.client.websocket_connect("/graphql", subprotocols=["graphql-ws"], headers=headers),
    ):
        pass
    assert closed.value.code == 1008


@given(name=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
def test_of_all_names_only_those_that_were_given_are_a_host_and_only_ours_an_origin(name: str) -> None:
    door = Door(lambda *_: None, LOOPBACK)  # type: ignore[arg-type]

    def refused(host: str, origin: str) -> bool:
        headers = [(b"host", host.encode()), (b"origin", origin.encode())]
        scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
        return bool(door._refusal(HTTPConnection(scope)))

    assert refused(name, f"http://{name}") or re.search(r"127\.0\.0\.1|localhost|\[::1\]", name.lower())
    assert refused(OURS, name)
    assert refused(OURS, f"http://{name}") is (name != OURS)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What `serve` hands to Dagster's command line, and the processes beside it, in place of serving."""
    seen: dict[str, Any] = {"processes": [], "ended": 0}

    class Process:
        def __init__(self, command: list[str]) -> None:
            seen["processes"].append(command[1:])

        def terminate(self) -> None:
            seen["ended"] += 1

        def wait(self) -> None:
            pass

    class CommandLine:
        def main(self, arguments: list[str]) -> None:
            seen["arguments"] = arguments
            raise KeyboardInterrupt

    monkeypatch.setattr(ui, "open_instance", lambda _: nullcontext())
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr("dagster_webserver.cli.create_dagster_webserver_cli", CommandLine)
    monkeypatch.setattr(DagsterWebserver, "build_middleware", DagsterWebserver.build_middleware)
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    monkeypatch.setenv("DAGSTER_WEBSERVER_HOST", "0.0.0.0")  # noqa: S104 - what must not count
    return seen


@pytest.mark.parametrize("daemon", [True, False])
def test_the_ui_is_served_with_its_door_and_the_daemon_ends_with_it(
    started: dict[str, Any], tmp_path: Path, *, daemon: bool
) -> None:
    settings = Settings(data=tmp_path, ui_hosts=(PROXY,))
    with pytest.raises(KeyboardInterrupt):
        ui.serve(settings, "::1", 3001, read_only=not daemon, daemon=daemon)
    workspace = str(Path(ui.__file__).resolve().parents[2] / "workspace.yaml")
    looking = [] if daemon else ["--read-only"]
    assert started["arguments"] == ["--host", "::1", "--port", "3001", "--workspace", workspace, *looking]
    running = [["-m", "dagster._daemon", "run", "--workspace", workspace]] if daemon else []
    assert (started["processes"], started["ended"]) == (running, len(running))
    door = DagsterWebserver.build_middleware(None)[0]  # type: ignore[arg-type]
    assert door.cls is Door
    assert set(door.kwargs["names"]) == {*LOOPBACK, PROXY}
    assert door.kwargs["origins"] == (PROXY,)
