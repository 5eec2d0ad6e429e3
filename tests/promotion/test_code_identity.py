import shutil
from importlib import metadata
from pathlib import Path

import pytest

import research_to_prod
from research_to_prod.promotion.code_identity import CodeIdentityError, code_identity, sources_sha256
from research_to_prod.values import sha256_hex

PACKAGE = Path(research_to_prod.__file__).parent


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "package"
    (root / "room").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "room" / "module.py").write_text("x = 1\n")
    (root / "room" / "query.sql").write_text("select 1")
    return root


@pytest.fixture
def lockfile(tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text("pydantic==2.12 --hash=sha256:00\n")
    return path


def test_the_installed_package_knows_itself(lockfile):
    identity = code_identity(PACKAGE, lockfile)
    assert identity.version == metadata.version("research_to_prod")
    assert identity.lockfile_sha256 == sha256_hex(lockfile.read_bytes())
    assert identity.package_sha256 == sources_sha256(PACKAGE)


def test_a_copy_elsewhere_without_version_control_has_the_same_hash(package, tmp_path):
    copy = shutil.copytree(package, tmp_path / "site-packages" / "other name")
    assert sources_sha256(copy) == sources_sha256(package)


@pytest.mark.parametrize("name", ["room/module.py", "room/query.sql", "policy.yaml", "report.html.j2", "room/new.py"])
def test_any_changed_or_added_source_changes_the_hash(package, name):
    before = sources_sha256(package)
    (package / name).write_text("changed")
    assert sources_sha256(package) != before


def test_a_moved_source_changes_the_hash(package):
    before = sources_sha256(package)
    (package / "room" / "module.py").rename(package / "module.py")
    assert sources_sha256(package) != before


@pytest.mark.parametrize("name", ["__pycache__/module.py", "room/__pycache__/module.pyc", "notes.md", "data.parquet"])
def test_what_is_no_source_does_not_count(package, name):
    before = sources_sha256(package)
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("anything")
    assert sources_sha256(package) == before


def test_where_no_sources_are_there_is_no_identity(tmp_path):
    with pytest.raises(CodeIdentityError, match="no source files"):
        sources_sha256(tmp_path)


def test_a_missing_lock_file_is_a_clear_error(tmp_path):
    with pytest.raises(CodeIdentityError, match="no lock file"):
        code_identity(PACKAGE, tmp_path / "requirements.lock")


def test_a_package_that_is_not_installed_is_a_clear_error(package, lockfile):
    with pytest.raises(CodeIdentityError, match="package is not installed"):
        code_identity(package, lockfile)
