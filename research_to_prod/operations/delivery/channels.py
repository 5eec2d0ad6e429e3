"""Where messages go: the terminal and a file by default, web hooks, PagerDuty and apprise where the desk has them.

Belongs here: one class a channel, and making them from what the desk declares. Doesn't: retrying (``outbox``).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

from pydantic import Field

from research_to_prod.declared import Frozen, read_declared
from research_to_prod.operations.alerting.settings import Severity
from research_to_prod.operations.append_only import AppendOnly
from research_to_prod.operations.delivery.formats import as_alertmanager, as_json, as_pagerduty, as_text
from research_to_prod.operations.delivery.message import Message
from research_to_prod.operations.delivery.outbox import Channel, DeliveryError
from research_to_prod.values import printable

PAGERDUTY = "https://events.pagerduty.com/v2/enqueue"
_TIMEOUT = 10.0  # seconds; the outbox waits for nobody longer


class ChannelError(ValueError):
    """A channel can't be used as it is declared; the message says what is missing."""


@dataclass(frozen=True)
class _Named:
    name: str
    severities: frozenset[Severity]

    def takes(self, message: Message) -> bool:
        """Whether it is for this channel."""
        return message.page.severity in self.severities


@dataclass(frozen=True)
class Console(_Named):
    """Writes pages as text."""

    stream: TextIO

    def send(self, message: Message) -> str:
        """Write the page."""
        self.stream.write(printable(as_text(message)) + "\n\n")
        self.stream.flush()
        return "written"


@dataclass(frozen=True)
class JsonLines(_Named):
    """Appends messages to a file, durably, one a line."""

    path: Path

    def send(self, message: Message) -> str:
        """Append the message."""
        line = json.dumps(as_json(message), sort_keys=True, separators=(",", ":")).encode()
        with AppendOnly(self.path).turn() as turn:
            turn.append([line])
        return f"appended to {self.path.name}"


@dataclass(frozen=True)
class Webhook(_Named):
    """Posts what Alertmanager would post, to whatever listens for it."""

    url: str

    def send(self, message: Message) -> str:
        """Post the message."""
        return _post(self.url, as_alertmanager(message, self.name), message.key)


@dataclass(frozen=True)
class PagerDuty(_Named):
    """PagerDuty's Events API v2."""

    routing_key: str
    url: str = PAGERDUTY

    def send(self, message: Message) -> str:
        """Send the event."""
        return _post(self.url, as_pagerduty(message, self.routing_key), message.key)


@dataclass(frozen=True)
class Apprise(_Named):
    """Whatever apprise reaches: Slack, Teams, Telegram, e-mail and a hundred more."""

    urls: tuple[str, ...]

    def send(self, message: Message) -> str:
        """Send the page as text."""
        apprise = _apprise(self.name)
        sender = apprise.Apprise()
        if not sender.add(list(self.urls)):
            raise DeliveryError("apprise knows no service for one of the addresses")
        if not sender.notify(title=message.page.text, body=as_text(message)):
            raise DeliveryError("apprise could not deliver to every address; its log says to which")
        return "notified"


class Declared(Frozen):
    """One channel in ``desk/channels.yaml``; what is secret is named, never written.

    Parameters
    ----------
    variable
        Environment variable with the address (web hook), the routing key (PagerDuty), or the addresses (apprise,
        separated by spaces).
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,29}$")]
    kind: Literal["console", "json_lines", "webhook", "pagerduty", "apprise"]
    severities: tuple[Severity, ...] = tuple(Severity)
    variable: str | None = None


class DeclaredChannels(Frozen):
    """The file of channels."""

    channels: tuple[Declared, ...] = Field(min_length=1)


def open_channels(path: Path, environment: Mapping[str, str], folder: Path, stream: TextIO) -> list[Channel]:
    """Return the channels that ``path`` declares.

    Parameters
    ----------
    folder
        Where channels of lines write ``NAME.jsonl``.
    stream
        Where channels of the terminal write.

    Raises
    ------
    ChannelError
        Listing every field, variable and package that is missing: a channel that can't tell is no channel.
    """
    declared = read_declared(path, DeclaredChannels, ChannelError).channels
    problems: list[str] = []
    channels: list[Channel] = []
    for each in declared:
        try:
            channels.append(_opened(each, environment, folder, stream))
        except ChannelError as error:
            problems.append(str(error))
    if not {Severity.P1, Severity.P2} <= {severity for each in declared for severity in each.severities}:
        problems.append("no channel takes pages (P1 and P2)")
    if problems:
        raise ChannelError(f"{path.name}: " + "; ".join(problems))
    return channels


def _opened(declared: Declared, environment: Mapping[str, str], folder: Path, stream: TextIO) -> Channel:
    name, severities = declared.name, frozenset(declared.severities)
    if declared.kind == "console":
        return Console(name, severities, stream)
    if declared.kind == "json_lines":
        return JsonLines(name, severities, folder / f"{name}.jsonl")
    secret = environment.get(declared.variable or "", "")
    if not secret:
        raise ChannelError(f"channel {name}: the environment variable {declared.variable or '(none named)'} is empty")
    if declared.kind == "pagerduty":
        return PagerDuty(name, severities, secret)
    if declared.kind == "webhook":
        if not secret.startswith(("https://", "http://")):
            raise ChannelError(f"channel {name}: {declared.variable} holds no http address")
        return Webhook(name, severities, secret)
    _apprise(name)
    return Apprise(name, severities, tuple(secret.split()))


def _apprise(name: str) -> Any:
    try:
        import apprise
    except ImportError:
        raise ChannelError(
            f"channel {name} needs the package apprise: pip install 'research_to_prod[notify]'"
        ) from None
    return apprise


def _post(url: str, body: Mapping[str, Any], key: str) -> str:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - its scheme was checked
            return f"{answer.status} {answer.read(200).decode(errors='replace')}"
    except urllib.error.HTTPError as error:
        raise DeliveryError(f"{error.code} {error.read(200).decode(errors='replace')}") from None
    except (OSError, ValueError) as error:
        # The address may hold a secret, and some errors print it.
        raise DeliveryError(f"no answer: {type(error).__name__}") from None
