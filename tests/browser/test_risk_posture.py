"""The risk posture as a person meets it, on a desk and on a phone at night."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from research_to_prod.operations.contracts import BREAKS
from research_to_prod.operations.control_journal import ALL, Ladders
from research_to_prod.operations.incidents.store import Incidents
from research_to_prod.operations.ladder import Level, State
from research_to_prod.reports.compile_risk_posture import compile_risk_posture
from research_to_prod.reports.compile_standing import compile_standing
from research_to_prod.reports.rendering import render_posture
from tests.browser.conftest import CHROMIUM
from tests.browser.test_desk_report import BEYOND, CUT, NARROW, WIDE, Visit
from tests.operations.alerting.test_day_measures import rows
from tests.reports.posture_book import LONG, NOON, PROVEN, SHORT, book, manifest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with every section filled, with something of each status."""
    broken = rows(BREAKS, {"status": "open", "verdict": "confirmed", "money": Decimal(5), "opened_at": PROVEN})
    ladders = Ladders({ALL: State(level=Level.REDUCE_ONLY, since=PROVEN, by="user:ana", because="a drill " * 12)})
    standing = compile_standing(broken, PROVEN, Incidents(), None, ladders, NOON)
    known = book(LONG | {"strategy": "carry_of_a_long_name"}, SHORT, manifest=manifest(momentum="1"), standing=standing)
    page = tmp_path_factory.mktemp("posture") / "risk-posture.html"
    page.write_bytes(render_posture(compile_risk_posture(known, NOON + timedelta(hours=9))))
    return page.as_uri()


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_it_is_whole_silent_and_accessible(browser: Browser, address: str, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, address, width, scheme)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith("data:")] == [address]
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.page.evaluate(BEYOND) == []
    if width == WIDE:
        assert visit.page.evaluate(CUT) == []
    found = Axe().run(visit.page)
    assert [(each["id"], node["target"]) for each in found.response["violations"] for node in each["nodes"]] == []
    assert {each["id"] for each in found.response["passes"]} >= {"color-contrast", "region"}


def test_what_is_not_known_stands_above_what_is(browser: Browser, address: str) -> None:
    page = Visit(browser, address, NARROW).page
    titles = page.locator("h2").all_inner_texts()
    assert titles[:2] == ["What is not as it should be", "What is not seen, and how long that can be afforded"]
    assert page.locator(".unknown").count() > 3
