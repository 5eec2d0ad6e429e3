"""Where things are: the one place that reads the environment.

Belongs here: paths and their environment variables. Doesn't: thresholds (policies), markets (universe.yaml), secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_PACKAGE = Path(__file__).resolve().parent


class SettingsError(ValueError):
    """The environment names a setting that does not exist; the message names those that do."""


class Settings(BaseModel):
    """Folders of one installation.

    Parameters
    ----------
    data
        Everything made at run time (``R2P_DATA``, default ``data/`` beside the package).
    desk
        What the desk owns: universe, strategies, candidates, policies (``R2P_DESK``, default the committed samples).
    vendor
        Vendor files that the universe names (``R2P_VENDOR``); None when it names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = _PACKAGE.parent / "data"
    desk: Path = _PACKAGE / "desk"
    vendor: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read ``R2P_DATA``, ``R2P_DESK`` and ``R2P_VENDOR``.

        Raises
        ------
        SettingsError
            On an unknown ``R2P_`` variable: a misspelt setting must not be ignored.
        """
        known = {"R2P_DATA": "data", "R2P_DESK": "desk", "R2P_VENDOR": "vendor"}
        foreign = {"R2P_REAL_DATA", "R2P_REFERENCE_CASES"}  # read by the tests only
        unknown = [name for name in environment if name.startswith("R2P_") and name not in known.keys() | foreign]
        if unknown:
            raise SettingsError(f"unknown settings {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        given = {field: Path(environment[name]).resolve() for name, field in known.items() if environment.get(name)}
        return cls(**given)

    @property
    def lake(self) -> Path:
        """Folder of the lake's tables."""
        return self.data / "lake"

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
