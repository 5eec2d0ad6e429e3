"""A short form of ``make crash``: every writer is killed and meets a broken disk; and the harness finds a bad one."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from tests.crash.harness import faulted, killed
from tests.crash.writers import WRITERS, HastyWriter, Writer

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="the disk's shim is compiled from C")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("writer", WRITERS)
def test_of_a_killed_writer_all_that_was_acknowledged_is_there_and_the_next_can_write(
    writer: type[Writer], tmp_path: Path
) -> None:
    outcome = killed(writer, tmp_path / "files", kills=3, seed=7)
    assert (outcome.troubles, outcome.problems) == (3, [])


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_refuses_a_name_is_told_and_costs_nothing_that_was_acknowledged(
    writer: type[Writer], tmp_path: Path
) -> None:
    outcome = faulted(writer, tmp_path / "files", "rename", errno.EIO)
    assert (outcome.acknowledged, outcome.refused, outcome.problems) == (0, outcome.troubles, [])


@needs_compiler
def test_a_writer_that_acknowledges_what_the_disk_refused_is_found(tmp_path: Path) -> None:
    outcome = faulted(HastyWriter, tmp_path / "files", "write", errno.ENOSPC)
    assert outcome.troubles == 2
    assert any("acknowledged and lost: ['write-second-2']" in each for each in outcome.problems)


@needs_compiler
def test_a_writer_that_leaves_half_a_line_is_found(tmp_path: Path) -> None:
    outcome = killed(HastyWriter, tmp_path / "files", kills=8, seed=7)
    assert any("stored and never written" in each for each in outcome.problems)
