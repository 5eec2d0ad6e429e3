"""The desk report as a person meets it: in Chromium, wide and narrow, light and dark, and with axe-core's rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from research_to_prod.reports.rendering import render_html
from tests.browser.conftest import CHROMIUM
from tests.reports.test_desk_report import ORDERS, drawdown_rows, report, verdict_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")

WIDE, NARROW = 1440, 390
# What lies beside the page or is cut off by it. A table may scroll within its own region.
BEYOND = """() => {
  const width = document.documentElement.clientWidth;
  const scrolled = node => node.closest('.scroll') && !node.matches('.scroll');
  return [...document.body.querySelectorAll('*')]
    .filter(node => !scrolled(node) && !node.closest('svg') && node.getBoundingClientRect().right > width + 0.5)
    .map(node => node.tagName + '.' + node.className);
}"""
CUT = """() => [...document.querySelectorAll('.scroll')]
  .filter(node => node.scrollWidth > node.clientWidth + 1)
  .map(node => node.getAttribute('aria-labelledby'))"""


@pytest.fixture(scope="module")
def address(generated_report: Path) -> str:
    (page,) = (generated_report / "reports").glob("desk-report-*.html")
    return page.as_uri()


class Visit:
    """An open page with what it said and asked for."""

    def __init__(self, browser: Browser, address: str, width: int, scheme: Any = "light") -> None:
        self.page: Page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_is_said_nothing_is_asked_for_and_nothing_lies_beside_the_page(
    browser: Browser, address: str, width: int
) -> None:
    visit = Visit(browser, address, width)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith("data:")] == [address]
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width
    assert visit.page.evaluate(BEYOND) == []


def test_no_table_is_cut_off_on_a_desk(browser: Browser, address: str) -> None:
    assert Visit(browser, address, WIDE).page.evaluate(CUT) == []


def axe(page: Page) -> tuple[list[tuple[Any, ...]], set[str]]:
    """Return what axe-core finds wrong, and the rules that it found kept."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response
    wrong = [
        (each["id"], node["target"], node["failureSummary"]) for each in found["violations"] for node in each["nodes"]
    ]
    return wrong, {each["id"] for each in found["passes"]}


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")])
def test_axe_finds_every_name_and_every_contrast(browser: Browser, address: str, width: int, scheme: str) -> None:
    wrong, checked = axe(Visit(browser, address, width, scheme).page)
    assert wrong == []
    scrolled = {"scrollable-region-focusable"} if width == NARROW else set()
    assert checked >= {"color-contrast", "role-img-alt", "link-name", "region", *scrolled}


@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_the_evidence_of_several_evenings_is_drawn_within_the_page(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    made = report(ORDERS, verdicts=verdict_rows("momentum"), drawdowns=drawdown_rows("momentum"))
    (tmp_path / "page.html").write_bytes(render_html(made))
    page = Visit(browser, (tmp_path / "page.html").as_uri(), width, scheme).page
    drawn = page.locator("figure[aria-label^='Evidence on'] svg, figure[aria-label^='How far'] svg")
    assert drawn.count() == 4
    boxes = [drawn.nth(number).bounding_box() for number in range(4)]
    assert all(box and box["width"] > 250 and box["x"] + box["width"] <= width for box in boxes)
    # No text of a picture lies outside of it.
    assert (
        page.evaluate("""() => [...document.querySelectorAll('svg text')].filter(text => {
      const [inner, outer] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
      return inner.width && (inner.left < outer.left - 1 || inner.right > outer.right + 1);
    }).map(text => text.textContent)""")
        == []
    )
    assert axe(page)[0] == []


def test_dark_and_light_are_two_pages_and_paper_is_white(browser: Browser, address: str) -> None:
    def paper(page: Page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    dark = Visit(browser, address, WIDE, "dark").page
    assert paper(Visit(browser, address, WIDE, "light").page) > 700
    assert paper(dark) < 100
    dark.emulate_media(media="print")
    assert paper(dark) == 3 * 255


def test_the_policy_of_the_page_lets_no_script_run(browser: Browser, address: str, tmp_path: Path) -> None:
    """The policy itself is at work: a script that got into the page is refused by it."""
    page = Path(address.removeprefix("file://")).read_text()
    (tmp_path / "bitten.html").write_text(page.replace("</body>", "<script>document.title = 'bitten'</script></body>"))
    visit = Visit(browser, (tmp_path / "bitten.html").as_uri(), WIDE)
    assert visit.page.title().startswith("Desk report")
    assert any("Content Security Policy" in said for said in visit.said)


def test_each_answered_question_leads_to_its_section(browser: Browser, address: str) -> None:
    page = Visit(browser, address, NARROW).page
    links = page.locator("section[aria-labelledby=questions] a")
    assert links.count() == 14
    for number in range(links.count()):
        links.nth(number).click()
        top = page.evaluate("document.querySelector(location.hash).getBoundingClientRect().top")
        assert -1 <= top < 900


def test_from_it_to_the_page_over_all_reports_and_back(browser: Browser, address: str) -> None:
    page = Visit(browser, address, NARROW).page
    page.get_by_role("link", name="All reports").click()
    assert page.title() == "All reports"
    page.locator("main h3 a").first.click()
    assert page.url == address


def test_it_prints_whole_on_few_pages(browser: Browser, address: str, tmp_path: Path) -> None:
    page = Visit(browser, address, WIDE).page
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes()))
    assert 3 <= pages <= 25
    page.emulate_media(media="print")
    # A4 landscape less its margins is 1,032 px wide.
    page.set_viewport_size({"width": 1032, "height": 700})
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1032
