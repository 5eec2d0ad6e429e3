import os
import stat
from pathlib import Path

import pytest

from research_to_prod.promotion.files import create_once, make_folder, replace_file


def test_what_is_published_replaces_what_was_there(tmp_path):
    path = tmp_path / "f"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_and_no_debris(tmp_path):
    path = tmp_path / "f"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(path, b"two")
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_first_creates(tmp_path):
    path = tmp_path / "deep" / "f"
    assert create_once(path, b"one", 0o600)
    assert not create_once(path, b"two", 0o600)
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_folders_are_made_once_or_found(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("publish", [replace_file, lambda path, data: create_once(path, data, 0o644)])
def test_the_bytes_are_on_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch, publish):
    path = tmp_path / "f"
    synced = []
    fsync = os.fsync

    def spy(descriptor):
        synced.append((Path(f"/proc/self/fd/{descriptor}").resolve().name.split(".")[-1], path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    publish(path, b"one")
    assert synced == [("tmp", False), (tmp_path.name, True)]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_created_file_has_the_mode_asked_for(tmp_path, mode):
    create_once(tmp_path / "f", b"one", mode)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode
