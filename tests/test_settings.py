"""Settings come from three variables, and a misspelt one is an error."""

from pathlib import Path

import pytest

from research_to_prod.settings import Settings


def test_folders_come_from_the_environment(tmp_path: Path) -> None:
    settings = Settings.from_environment({"R2P_DATA": str(tmp_path), "R2P_VENDOR": str(tmp_path / "files")})
    assert settings.lake == tmp_path / "lake"
    assert settings.vendor == tmp_path / "files"
    assert (settings.desk / "universe.yaml").exists()


def test_a_misspelt_setting_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"R2P_DAAT.*R2P_DATA, R2P_DESK, R2P_VENDOR"):
        Settings.from_environment({"R2P_DAAT": "x"})


def test_other_peoples_variables_do_not_matter() -> None:
    assert Settings.from_environment({"HOME": "/", "R2P_REAL_DATA": "x"}) == Settings()
