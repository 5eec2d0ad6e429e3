"""The Dagster UI as a researcher walks it: from the lineage to a gate report, and to a promotion that is refused.

``python -m tests.end_to_end.ui FOLDER`` does it on the demo's data and keeps the pictures, for README and docs. Belongs
here: the walk. Doesn't: what the pages of the desk show (``tests/browser``).
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from research_to_prod.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")
_PATIENCE = 120.0


@contextmanager
def served(data: Path) -> Iterator[str]:
    """Serve the UI on ``data`` with `r2p ui`, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "research_to_prod.cli", "ui", "--port", str(port)]
    # A session of its own, because the UI's processes are ended together.
    ui = subprocess.Popen(
        command,
        env={**os.environ, "R2P_DATA": str(data)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _answers(url):
            if ui.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"the UI does not answer at {url}")
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(ui.pid, signal.SIGTERM)
        ui.wait(_PATIENCE)


def walk(url: str, candidate: str, folder: Path) -> str:
    """Walk from the lineage over the gate report to a promotion of ``candidate``, and return what the UI says of it.

    Pictures of the way go into ``folder``.
    """
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(_PATIENCE * 1000)
        page.goto(f"{url}/asset-groups")
        page.get_by_text("market_data").last.wait_for()
        _settled(page)
        page.screenshot(path=folder / "lineage.png")

        page.goto(f"{url}/assets/gate_report?view=partitions&partition={candidate}")
        page.get_by_text("[Show Markdown]").first.wait_for()
        _settled(page)
        page.screenshot(path=folder / "gate_report.png")
        page.get_by_text("[Show Markdown]").first.click()
        page.get_by_role("dialog").get_by_role("table").first.wait_for()
        _settled(page)
        page.screenshot(path=folder / "gates.png")

        refused = f"{url}/assets/promotion?view=partitions&partition={candidate}"
        page.goto(refused)
        page.get_by_text("did not materialize this asset").wait_for()
        before = _refused_run(page)
        page.goto(f"{url}/assets/promotion?view=partitions")
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_text("Select a partition or create one").click()
        page.get_by_role("menuitem").filter(has_text=candidate).first.click()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Launch 1 run").click()
        page.get_by_text("Launch runs to materialize").wait_for(state="hidden")
        page.goto(refused)
        deadline = time.monotonic() + 2 * _PATIENCE
        while _refused_run(page) in {before, None}:
            if time.monotonic() > deadline:
                raise TimeoutError("the run that was launched does not end")
            # The page keeps saying that a run is starting until it is asked anew.
            page.reload()
            page.get_by_text("Run", exact=True).last.wait_for()
            page.wait_for_timeout(3000)
        page.get_by_text("View logs").first.click()
        refusal = page.get_by_text("refused").first
        refusal.wait_for()
        said = page.get_by_role("dialog").first.inner_text()
        _settled(page)
        page.screenshot(path=folder / "refused.png")
        browser.close()
    return said


def _refused_run(page: Page) -> str | None:
    """Return the run that the partition's page names as failed; None while it names one that is under way."""
    told = re.search(r"Run (\w+) failed, and did not materialize this asset", page.inner_text("body"))
    return None if told is None else told[1]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - our own address
            return True
    except OSError:
        return False


def status_as(url: str, host: str) -> int:
    """Return the status with which the UI answers who reaches it under a name."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _settled(page: Page) -> None:
    """Wait until nothing is asked any more and what was drawn has stopped moving."""
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    with served(Settings().data) as address:
        walk(address, "sol_breakout", Path(sys.argv[1]))
    # Its stack trace shows where this machine keeps its files.
    (Path(sys.argv[1]) / "refused.png").unlink()
