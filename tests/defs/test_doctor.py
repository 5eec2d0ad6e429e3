"""`r2p doctor` looks at everything, whatever is wrong with one thing, and each trouble comes with its remedy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from research_to_prod.defs import doctor
from research_to_prod.defs.doctor import Finding, Health, examine
from research_to_prod.defs.runner import open_instance
from research_to_prod.promotion.keys import open_keys
from research_to_prod.settings import Settings

NOW = datetime.now(UTC)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # A venue's client takes ccxt's four seconds; the demo's test asks the venue.
    monkeypatch.setattr(doctor, "_venues", lambda *_: iter(()))
    return Settings(data=tmp_path / "data")


def found(settings: Settings, now: datetime = NOW) -> dict[str, Finding]:
    return {each.what: each for each in examine(settings, {}, now)}


def test_a_new_installation_is_told_its_first_steps_and_nothing_has_failed(settings: Settings) -> None:
    findings = found(settings)
    assert {each.health for each in findings.values()} == {Health.FINE, Health.ATTENTION}
    assert findings["lake"].remedy.startswith("`r2p demo`")
    assert all(each.remedy for each in findings.values() if each.health is not Health.FINE)


def test_a_private_key_that_others_can_read_has_failed(settings: Settings) -> None:
    open_keys(settings.keys, NOW)
    assert found(settings)["keys"].health is Health.FINE
    (private,) = (path for path in settings.keys.iterdir() if path.name != "keys.json")
    private.chmod(0o644)
    finding = found(settings)["keys"]
    assert (finding.health, private.name in finding.told) == (Health.FAILED, True)
    assert "chmod 600" in finding.remedy


def test_a_ledger_that_does_not_verify_hides_nothing_that_comes_after_it(settings: Settings) -> None:
    open_keys(settings.keys, NOW)
    (settings.ledger / "checkpoints").mkdir(parents=True)
    (settings.ledger / "checkpoints" / "00000001").write_bytes(b"signed by nobody\n")
    (settings.ledger / "records.jsonl").write_bytes(b'{"v":2}\n')
    findings = found(settings)
    assert findings["ledger"].health is Health.FAILED
    assert findings["runs"].health is Health.FINE


def test_a_run_unfinished_for_over_an_hour_is_named(settings: Settings) -> None:
    @dg.job
    def nightly() -> None: ...

    with open_instance(settings) as instance:
        tags = {"dagster/partition": "2026-01-06"}
        instance.create_run_for_job(nightly, status=dg.DagsterRunStatus.STARTED, tags=tags)
    assert found(settings)["runs"].health is Health.FINE
    finding = found(settings, NOW + timedelta(hours=2))["runs"]
    assert finding.health is Health.FAILED
    assert "nightly 2026-01-06" in finding.told


def test_a_desk_file_that_is_wrong_is_named(settings: Settings, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "universe.yaml").write_text("markets: 5\n")
    finding = found(settings.model_copy(update={"desk": desk}))["desk"]
    assert finding.health is Health.FAILED
    assert "universe.yaml" in finding.told
