"""Dagster's UI behind a door that only its own pages get through, and the reports under ``/reports/`` beside it.

Dagster's webserver has no log-in, and takes mutations by GET and from any origin: without the door, any page that is
open in a browser beside the UI could start runs. The door knows browsers only: what they say of where a request comes
from they say truly, and a program that is no browser may say what it likes.

Belongs here: the door, and serving UI and reports behind it. Doesn't: who may reach the port (tunnel, proxy).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocketClose

from research_to_prod.defs.publishing import REPORTS
from research_to_prod.defs.runner import open_instance
from research_to_prod.promotion.files import make_folder
from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Door:
    """Middleware that refuses with 403 what no page of the UI itself asks for.

    Parameters
    ----------
    app
        What is behind it.
    names
        As whom browsers reach it: what the ``Host`` header names. Its port is any, because a tunnel may begin at any.
    origins
        Of which hosts (``name`` or ``name:port``) its pages are beside the one that ``Host`` says: a proxy in front may
        send another ``Host`` than the browser did.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._app, self._names, self._origins = app, tuple(names), frozenset(origins)
        self._known = {_name(each) for each in self._names} - {None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        why = self._refusal(HTTPConnection(scope)) if scope["type"] in {"http", "websocket"} else ""
        if not why:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, why)(scope, receive, send)
        else:
            await PlainTextResponse(f"refused: {why}\n", 403)(scope, receive, send)

    def _refusal(self, asked: HTTPConnection) -> str:
        hosts, origins = asked.headers.getlist("host"), asked.headers.getlist("origin")
        if len(hosts) != 1 or _name(hosts[0]) not in self._known:
            # A name of somebody else's that resolves to this machine: its pages would be of one origin with the UI.
            return (
                f"the UI is not reached as {', '.join(hosts) or 'no host'} but as {', '.join(self._names)}; "
                "R2P_UI_HOSTS names others (docs/security.md)"
            )
        own = {hosts[0].lower(), *self._origins}
        foreign = [each for each in origins if each.partition("://")[2].lower() not in own]
        site = asked.headers.get("sec-fetch-site", "none")
        if foreign or (site not in {"same-origin", "none"} and not _is_navigation(asked)):
            return f"the request comes from another site, {', '.join(foreign) or site}"
        if _method(asked) != "POST" and asked.scope["path"] == "/graphql" and "query" in asked.query_params:
            return "a link or a picture of another site can be a GraphQL query by GET; ask by POST"
        return ""


class Reports:
    """Middleware that answers under ``/reports/`` with the files of a folder; everything else is the UI's.

    A browser follows no link from a page of the UI to a file of this machine, and a desk head may sit at another one.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        make_folder(folder)
        self._app = app
        self._reports = Starlette(routes=[Mount(REPORTS, StaticFiles(directory=folder, html=True))])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a report, or pass on."""
        ours = scope["type"] == "http" and scope["path"].startswith(REPORTS)
        await (self._reports if ours else self._app)(scope, receive, send)


def serve(settings: Settings, host: str, port: int, *, read_only: bool, daemon: bool) -> None:
    """Serve the UI until SIGINT or SIGTERM.

    Parameters
    ----------
    host
        Address to listen on; browsers may name it too, beside loopback and the hosts of ``settings``.
    read_only
        Refuse every mutation.
    daemon
        Run schedules, sensors and the run queue beside it.
    """
    from dagster_webserver.cli import create_dagster_webserver_cli

    with open_instance(settings):
        pass  # the home exists now, with the project's dagster.yaml
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home.resolve())
    workspace = str(Path(__file__).resolve().parents[2] / "workspace.yaml")
    put_door([f"[{host}]" if ":" in host else host], settings.ui_hosts, settings.reports)
    with _daemon(workspace) if daemon else nullcontext():
        # Given as arguments, so that no DAGSTER_WEBSERVER_HOST of the environment moves it.
        options = ["--host", host, "--port", str(port), "--workspace", workspace]
        create_dagster_webserver_cli().main([*options, *(["--read-only"] if read_only else [])])


def put_door(names: Iterable[str], origins: Iterable[str], reports: Path) -> None:
    """Put the door before every UI that this process serves from now on, and a folder of reports behind it.

    Loopback and ``origins`` are names too.
    """
    from dagster_webserver.webserver import DagsterWebserver

    inner, origins = DagsterWebserver.build_middleware, tuple(origins)
    door = Middleware(Door, names=(*LOOPBACK, *names, *origins), origins=origins)
    beside = Middleware(Reports, folder=reports)

    def build_middleware(self: DagsterWebserver) -> list[Middleware]:
        return [door, beside, *inner(self)]

    # Its command line makes the webserver itself, and offers no other place to add to it.
    DagsterWebserver.build_middleware = build_middleware  # type: ignore[method-assign]


@contextmanager
def _daemon(workspace: str) -> Iterator[None]:
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", workspace]
    process = subprocess.Popen(command)  # noqa: S603 - our own interpreter
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _is_navigation(asked: HTTPConnection) -> bool:
    """Whether somebody follows a link to a page of the UI, as the page of a tab and not in a frame."""
    told = (asked.headers.get(f"sec-fetch-{name}") for name in ("mode", "dest"))
    return (_method(asked), *told) == ("GET", "navigate", "document")


def _method(asked: HTTPConnection) -> str:
    return str(asked.scope.get("method", ""))


def _name(host: str) -> str | None:
    """Return the name in ``name:port``; None where it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
