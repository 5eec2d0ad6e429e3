"""A finished demo's data, and the means to go on from there as a user of the UI would."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from research_to_prod.defs.promotion.assets import production_manifest
from research_to_prod.defs.resources import build_resources
from research_to_prod.lake import Lake
from research_to_prod.promotion.keys import open_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.manifest import read_manifest
from research_to_prod.promotion.record import Record, RecordType
from research_to_prod.settings import Settings

NOW = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Desk:
    """A finished demo's data; ``also`` replaces some of the resources."""

    settings: Settings
    instance: dg.DagsterInstance
    also: dict[str, Any] = field(default_factory=dict)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.lake)

    def records(self) -> list[Record]:
        return list(self.ledger.records())

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger, open_keys(self.settings.keys, NOW))

    def promoted(self) -> set[str]:
        return {record.candidate for record in self.records() if record.type is RecordType.PROMOTE}

    def materialize(self, *definitions: object, partition: str | None) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            list(definitions),  # type: ignore[arg-type]
            instance=self.instance,
            partition_key=partition,
            resources={**build_resources(self.environment()), **self.also},
            raise_on_error=False,
        )

    def environment(self) -> Mapping[str, str]:
        return {"R2P_DATA": str(self.settings.data), "R2P_DESK": str(self.settings.desk)}

    def edit_policy(self, folder: Path, old: str, new: str) -> None:
        """Give the desk a folder of its own, in which the policy of the first move says something else."""
        own = Path(shutil.copytree(self.settings.desk, folder / "desk"))
        policy = own / "policies" / "research_to_paper.yaml"
        assert old in policy.read_text()
        policy.write_text(policy.read_text().replace(old, new))
        self.settings = self.settings.model_copy(update={"desk": own})

    def may_trade(self) -> set[str]:
        """Derive the manifest again, as the graph does, and read it as an execution system would."""
        assert self.materialize(production_manifest, partition=None).success
        keys = open_keys(self.settings.keys, NOW)
        entries = read_manifest(self.settings.production / "manifest.json", keys).entries
        return {entry.candidate for entry in entries}


def run_demo(data: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "R2P_DATA": str(data)}
    command = [sys.executable, "-W", "ignore", "-m", "research_to_prod.cli", "demo"]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
