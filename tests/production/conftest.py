"""One installation of a desk's production for all tests of this folder: it takes a minute to start, its demo ten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.production.servers import Production

# Imported where they are used: without .venv-production this file is read, and the tests are skipped by name.


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The services, by the environment that names them."""
    from tests.production.servers import services

    with services(tmp_path_factory.mktemp("services")) as environment:
        yield environment


@pytest.fixture(scope="session")
def installed(running: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """The processes that work with them, two workers among them."""
    from tests.production.servers import started

    with started(running, tmp_path_factory.mktemp("production") / "data", workers=2) as made:
        yield made
