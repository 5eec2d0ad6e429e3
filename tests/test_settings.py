"""Settings come from the environment; a misspelt or impossible one is an error."""

from pathlib import Path

import pytest

from research_to_prod.settings import Settings, SettingsError


def test_folders_come_from_the_environment(tmp_path: Path) -> None:
    settings = Settings.from_environment({"R2P_DATA": str(tmp_path), "R2P_VENDOR": str(tmp_path / "files")})
    assert settings.lake == str(tmp_path / "lake")
    assert settings.vendor == tmp_path / "files"
    assert (settings.desk / "universe.yaml").exists()


def test_a_misspelt_setting_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"R2P_DAAT; known are R2P_BROKER, R2P_DATA, R2P_DESK, R2P_LAKE"):
        Settings.from_environment({"R2P_DAAT": "x"})


def test_other_peoples_variables_do_not_matter() -> None:
    assert Settings.from_environment({"HOME": "/", "R2P_REAL_DATA": "x"}) == Settings()


PRODUCTION = {
    "R2P_LAKE": "s3://desk/lake",
    "R2P_POSTGRES": "postgresql://dagster:hunter2@db/dagster",
    "R2P_BROKER": "redis://:hunter2@queue:6379/0",
}


def test_production_is_a_change_of_settings_only() -> None:
    settings = Settings.from_environment(PRODUCTION)
    assert settings.lake == "s3://desk/lake"
    assert "hunter2" not in repr(settings)


def test_each_impossible_setting_is_named_and_no_password_is_told() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment(
            {"R2P_LAKE": "desk/lake", "R2P_POSTGRES": "mysql://dagster:hunter2@db/dagster", "R2P_BROKER": "redis://"}
        )
    told = str(refused.value)
    assert all(name in told for name in PRODUCTION)
    assert "hunter2" not in told


def test_hosts_of_the_ui_are_told_by_commas_and_are_no_addresses_of_pages() -> None:
    settings = Settings.from_environment({"R2P_UI_HOSTS": "UI.desk.example, desk7:3000"})
    assert settings.ui_hosts == ("ui.desk.example", "desk7:3000")
    with pytest.raises(SettingsError, match=r"R2P_UI_HOSTS names https://ui.desk.example, \*: give ui.example.com"):
        Settings.from_environment({"R2P_UI_HOSTS": "https://ui.desk.example,desk7,*"})


def test_workers_without_a_shared_run_history_are_refused() -> None:
    with pytest.raises(SettingsError, match="R2P_BROKER asks for R2P_POSTGRES"):
        Settings.from_environment({"R2P_BROKER": PRODUCTION["R2P_BROKER"]})
