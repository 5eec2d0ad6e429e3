"""Where things are: the one place that reads the environment.

Belongs here: places and their environment variables. Doesn't: thresholds (policies), markets (universe.yaml), and the
credentials of venues and of S3, which those who use them read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

_PACKAGE = Path(__file__).resolve().parent
_SCHEMES = {
    "R2P_LAKE": ("s3",),
    "R2P_POSTGRES": ("postgresql",),
    "R2P_BROKER": ("redis", "rediss"),
    "R2P_SOURCE": ("https", "http"),
}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


class SettingsError(ValueError):
    """The environment holds settings that do not exist or cannot be; the message names each and the remedy."""


class Settings(BaseModel):
    """Places of one installation: on a laptop folders, in production services.

    Parameters
    ----------
    data
        Everything made at run time (``R2P_DATA``, default ``data/`` beside the package).
    desk
        What the desk owns: universe, strategies, candidates, policies (``R2P_DESK``, default the committed samples).
    vendor
        Vendor files that the universe names (``R2P_VENDOR``); None when it names none.
    lake_uri
        Where the lake is, if not under ``data``: ``s3://bucket/folder`` (``R2P_LAKE``). Its credentials and endpoint
        are the usual ``AWS_...`` variables.
    postgres
        Where Dagster keeps its runs and events, if not in files (``R2P_POSTGRES``, ``postgresql://user@host/db``).
    broker
        The Redis over which runs go to Celery workers (``R2P_BROKER``, ``redis://host:6379/0``); without it each
        process executes its own runs.
    ui_hosts
        By which hosts browsers reach the UI beside loopback, as in their address bar, without a scheme
        (``R2P_UI_HOSTS``, ``ui.desk.example,desk7:3000``).
    source
        Where people read the code that runs: the address of the checkout's folder at a forge, at its revision
        (``R2P_SOURCE``, ``https://forge/desk/research_to_prod/blob/<commit>``). Without it the UI refers to files of
        the machine that serves it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = _PACKAGE.parent / "data"
    desk: Path = _PACKAGE / "desk"
    vendor: Path | None = None
    lake_uri: str | None = None
    postgres: SecretStr | None = None
    broker: SecretStr | None = None
    ui_hosts: tuple[str, ...] = ()
    source: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        secrets = {"R2P_POSTGRES": self.postgres, "R2P_BROKER": self.broker}
        given = {"R2P_LAKE": self.lake_uri, "R2P_SOURCE": self.source} | {
            name: None if secret is None else secret.get_secret_value() for name, secret in secrets.items()
        }
        wrong = []
        for name, uri in given.items():
            if uri is not None and (urlsplit(uri).scheme not in _SCHEMES[name] or not urlsplit(uri).netloc):
                wrong.append(f"{name} is not of the form {_SCHEMES[name][0]}://host/...")
        if foreign := [host for host in self.ui_hosts if not _HOST.fullmatch(host)]:
            wrong.append(
                f"R2P_UI_HOSTS names {', '.join(foreign)}: give ui.example.com or ui.example.com:8443, by commas"
            )
        if self.broker is not None and self.postgres is None:
            # Workers write run events from many processes at once, which SQLite's files do not bear.
            wrong.append("R2P_BROKER asks for R2P_POSTGRES: workers share their run history there")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the ``R2P_`` variables.

        Raises
        ------
        SettingsError
            On an unknown ``R2P_`` variable (a misspelt setting must not be ignored) or an impossible value.
        """
        known = {
            "R2P_DATA": "data",
            "R2P_DESK": "desk",
            "R2P_VENDOR": "vendor",
            "R2P_LAKE": "lake_uri",
            "R2P_POSTGRES": "postgres",
            "R2P_BROKER": "broker",
            "R2P_UI_HOSTS": "ui_hosts",
            "R2P_SOURCE": "source",
        }
        foreign = {"R2P_REAL_DATA", "R2P_REFERENCE_CASES"}  # read by the tests only
        unknown = [name for name in environment if name.startswith("R2P_") and name not in known.keys() | foreign]
        if unknown:
            raise SettingsError(f"unknown settings {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        given: dict[str, Any] = {field: environment[name] for name, field in known.items() if environment.get(name)}
        if "ui_hosts" in given:
            given["ui_hosts"] = tuple(host.strip().lower() for host in given["ui_hosts"].split(","))
        folders = {field: Path(given[field]).resolve() for field in ("data", "desk", "vendor") if field in given}
        try:
            return cls(**given | folders)
        except ValidationError as error:
            raise SettingsError(
                "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
            ) from None

    @property
    def lake(self) -> str:
        """Folder or URI of the lake's tables."""
        return self.lake_uri or str(self.data / "lake")

    @property
    def ledger(self) -> Path:
        """Folder of the promotion ledger and the trial ledger."""
        return self.data / "ledger"

    @property
    def keys(self) -> Path:
        """Folder of the ledger's private signing key."""
        return self.data / "keys"

    @property
    def approvals(self) -> Path:
        """Folder of the decisions that wait for people, and of the envelopes that answer them."""
        return self.data / "approvals"

    @property
    def controls(self) -> Path:
        """The journal of what is held back: the mitigation ladders' readings and releases."""
        return self.data / "controls" / "journal.jsonl"

    @property
    def inbox(self) -> Path:
        """Folder into which the desk's systems drop their records."""
        return self.data / "inbox"

    @property
    def production(self) -> Path:
        """Folder of the production manifest."""
        return self.data / "production"

    @property
    def operations(self) -> Path:
        """Folder of the incidents, of what was told of them, and of the alerter's sign of life."""
        return self.data / "operations"

    @property
    def reports(self) -> Path:
        """Folder of the desk reports."""
        return self.data / "reports"

    @property
    def warehouse(self) -> Path:
        """The published DuckDB file."""
        return self.data / "warehouse.duckdb"

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's instance: run history and event log."""
        return self.data / "dagster"
