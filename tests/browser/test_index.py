"""The page over all reports as a person meets it, on a desk and on a phone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from research_to_prod.reports.index import publish_index
from tests.browser.conftest import CHROMIUM
from tests.browser.test_desk_report import BEYOND, NARROW, WIDE, Visit, axe
from tests.reports.test_index import said, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with days of each status, one of which nothing can be said, a gap, a posture and a dossier."""
    folder = tmp_path_factory.mktemp("reports")
    long = [{"strategy": f"a_strategy_of_a_rather_long_name_{n}", "verdict": "INCONCLUSIVE"} for n in range(12)]
    write(folder, "2026-01-08", status="act", headline="Act: " + "what the desk must look at, " * 6, verdicts=long)
    write(folder, "2026-01-07", status="unknown", verdicts=[{"strategy": "momentum", "verdict": "EDGE_DECAY"}])
    write(folder, "2025-12-31", earned_money="-123456789.123456", currency="USDT")
    write(folder, "2025-12-30", verdicts=[])
    (folder / "desk-report-2025-12-29.html").write_text("")
    posture = said("") | {"as_of": "2026-01-09T03:15:00Z", "blind": [{"at_stake": 5.5}]}
    (folder / "risk-posture.json").write_text(json.dumps(posture))
    (folder / "risk-posture.html").write_text("")
    (folder / "dossier-momentum-3.html").write_text("")
    return publish_index(folder).as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_it_is_whole_silent_and_accessible(browser: Browser, address: str, width: int, scheme: str) -> None:
    visit = Visit(browser, address, width, scheme)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith("data:")] == [address]
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.page.evaluate(BEYOND) == []
    wrong, checked = axe(visit.page)
    assert wrong == []
    assert checked >= {"color-contrast", "link-name", "region", "list", "definition-list"}
