import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import research_to_prod
from research_to_prod.promotion.code_identity import CodeIdentityError, checkout, code_identity, sources_sha256
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


def git(folder, *arguments):
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.environ["PATH"]}
    who = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    done = subprocess.run(
        ["git", *who, "-C", folder, *arguments], env=alone, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def committed(package):
    """The package in a repository in which all of it is committed."""
    root = package.parent
    (package / "desk").mkdir()
    (package / "desk" / "candidate.yaml").write_text("lookback: 20\n")
    (root / ".gitignore").write_text("__pycache__/\n.venv/\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "everything")
    return package


def test_a_clean_checkout_is_its_commit(committed):
    assert checkout(committed) == (git(committed, "rev-parse", "HEAD"), False)


def test_a_package_outside_any_repository_has_no_commit_and_is_not_dirty(package):
    assert checkout(package) == (None, None)


@pytest.mark.parametrize("name", ["room/module.py", "room/query.sql", "room/never_added.py", "notes.md"])
def test_an_edited_or_added_file_makes_the_checkout_dirty(committed, name):
    (committed / name).write_text("changed")
    assert checkout(committed) == (git(committed, "rev-parse", "HEAD"), True)


def test_a_removed_or_merely_staged_file_makes_the_checkout_dirty(committed):
    git(committed, "rm", "--quiet", "room/query.sql")
    assert checkout(committed)[1] is True


@pytest.mark.parametrize("name", ["desk/candidate.yaml", "desk/new.py", "room/__pycache__/module.pyc", "../README.md"])
def test_what_the_desk_edits_and_what_is_no_source_leaves_it_clean(committed, name):
    (committed / name).parent.mkdir(exist_ok=True)
    (committed / name).write_text("changed")
    assert checkout(committed)[1] is False


def test_a_commit_that_leaves_the_sources_alone_is_not_another_code(committed):
    before = checkout(committed)
    (committed / "desk" / "candidate.yaml").write_text("lookback: 30\n")
    git(committed.parent, "commit", "--quiet", "--all", "-m", "a candidate")
    assert checkout(committed) == before


def test_a_release_installed_in_an_ignored_folder_of_a_repository_is_not_of_that_repository(committed, package):
    installed = shutil.copytree(package, committed.parent / ".venv" / "package")
    assert checkout(installed) == (None, None)


def test_what_git_cannot_answer_for_is_dirty(package, committed, tmp_path, monkeypatch):
    git_folder = committed.parent / ".git"
    shutil.move(git_folder, tmp_path / "moved")
    git(package.parent, "init", "--quiet")
    assert checkout(package) == (None, True), "no commit yet"
    shutil.rmtree(git_folder)
    git_folder.mkdir()
    assert checkout(package) == (None, True), "not a repository that git can read"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout(package) == (None, True), "no git"
