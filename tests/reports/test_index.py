"""The page over all reports is a function of the folder: what each day says, and of which day nothing can be said."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from research_to_prod.reports.index import PAGE, Gap, ListedDay, compile_index, publish_index

DAYS = ("2026-01-08", "2026-01-07", "2026-01-03", "2025-12-31")


def said(day: str, **changed: Any) -> dict[str, Any]:
    """Return what the page reads of a day's JSON, and one thing that it does not."""
    return {
        "day": day,
        "status": "clear",
        "headline": f"All is well on {day}.",
        "currency": "USDT",
        "earned_money": "12.3456789",
        "verdicts": [{"strategy": "momentum", "verdict": "NORMAL", "orders": 3}],
        "costs": {"total": 3.25, "name": "all"},
        "reconciliation": {"money_at_stake": "0.00", "unknown": 0},
        "actions": [],
    } | changed


def write(folder: Path, day: str, **changed: Any) -> None:
    (folder / f"desk-report-{day}.html").write_text("<!doctype html>")
    (folder / f"desk-report-{day}.json").write_text(json.dumps(said(day, **changed)))


def listed(folder: Path, day: str) -> ListedDay:
    (found,) = [each for each in compile_index(folder).days if each.day == date.fromisoformat(day)]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for day in DAYS:
        write(tmp_path, day)
    return tmp_path


def text(folder: Path) -> str:
    return publish_index(folder).read_text()


def test_days_are_listed_newest_first_with_the_days_between_that_have_no_report(folder: Path) -> None:
    january, december = compile_index(folder).months
    shown = [each.days if isinstance(each, Gap) else str(each.day) for each in january.lines]
    assert shown == ["2026-01-08", "2026-01-07", 3, "2026-01-03", 2]
    assert [each.day for each in december.lines if isinstance(each, ListedDay)] == [date(2025, 12, 31)]
    assert re.findall(r'href="desk-report-([0-9-]+)\.html"', text(folder)) == list(DAYS)
    assert "no report of 2026-01-04 to 2026-01-06" in text(folder)


def test_what_a_day_says_stands_there_to_the_last_digit(folder: Path) -> None:
    verdicts = [{"strategy": name, "verdict": said} for name, said in
                (("a", "NORMAL"), ("b", "EDGE_DECAY"), ("c", "INCONCLUSIVE"), ("d", "NORMAL"))]  # fmt: skip
    write(folder, DAYS[0], earned_money="-1.000000000001", headline="Act.", status="act", verdicts=verdicts)
    page = text(folder)
    assert '<data value="-1.000000000001">−1.00</data>' in page
    assert '<span class="status act">ACT</span> Act.' in page
    (summary,) = [each.summary for each in compile_index(folder).days[:1]]
    assert summary is not None
    assert list(summary.by_verdict.items()) == [
        ("EDGE_DECAY", ("b",)),
        ("INCONCLUSIVE", ("c",)),
        ("NORMAL", ("a", "d")),
    ]


def test_money_that_a_day_does_not_know_is_unknown(folder: Path) -> None:
    write(folder, DAYS[0], earned_money=None)
    assert text(folder).count('<span class="none">unknown</span>') == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "its JSON is missing"),
        ("", "its JSON can't be read"),
        (json.dumps(said(DAYS[1]))[:-40], "its JSON can't be read"),
        (json.dumps(said(DAYS[1], costs={"total": float("nan")})), "costs.total"),
        (json.dumps(said(DAYS[1], status="fine")), "status"),
        (json.dumps({"day": DAYS[1]}), "status: Field required"),
        ("[]", "its JSON can't be read"),
        ("\udcff", "its JSON can't be read"),
        (json.dumps(said(DAYS[0])), f"of another day, {DAYS[0]}"),
    ],
)
def test_a_day_that_cannot_be_read_is_shown_as_such_and_hides_no_other(
    folder: Path, content: str | None, problem: str
) -> None:
    path = folder / f"desk-report-{DAYS[1]}.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    found = listed(folder, DAYS[1])
    assert found.summary is None
    assert problem in found.problem
    page = text(folder)
    assert "1 of them can't be read whole" in page
    assert page.count("All is well") == len(DAYS) - 1


def test_a_day_whose_page_is_missing_leads_nowhere_and_says_why(folder: Path) -> None:
    (folder / f"desk-report-{DAYS[2]}.html").unlink()
    assert f'href="desk-report-{DAYS[2]}.html"' not in text(folder)
    assert "its page is missing" in text(folder)
    assert listed(folder, DAYS[2]).summary is not None


def test_a_text_of_a_report_is_never_markup(folder: Path) -> None:
    attack = "<script>alert(1)</script>"
    write(folder, DAYS[0], headline=attack, currency=attack, verdicts=[{"strategy": attack, "verdict": attack}])
    page = text(folder)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4
    assert "default-src 'none'" in page


def test_the_same_reports_make_the_same_page_in_whatever_order_they_came(folder: Path, tmp_path: Path) -> None:
    first = publish_index(folder).read_bytes()
    assert publish_index(folder).read_bytes() == first
    other = tmp_path / "other"
    other.mkdir()
    for day in (DAYS[2], DAYS[0], DAYS[3], DAYS[1]):
        write(other, day)
        publish_index(other)
    assert (other / PAGE).read_bytes() == first


def test_every_link_leads_to_a_file_beside_it_wherever_the_folder_is(folder: Path, tmp_path: Path) -> None:
    (folder / "dossier-momentum-3.html").write_text("")
    for kind in ("html", "json"):
        (folder / f"risk-posture.{kind}").write_text("{}")
    publish_index(folder)
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    links = re.findall(r'href="([^"#:]+)"', (copied / PAGE).read_text())
    assert {"risk-posture.html", "dossier-momentum-3.html"} <= set(links)
    assert [link for link in links if not (copied / link).is_file() or "/" in link] == []


def test_a_report_that_a_crash_left_out_comes_in_with_the_next(folder: Path) -> None:
    before = publish_index(folder).read_bytes()
    write(folder, "2026-01-09")
    assert (folder / PAGE).read_bytes() == before
    write(folder, "2026-01-10")
    assert [str(each.day) for each in compile_index(folder).days[:2]] == ["2026-01-10", "2026-01-09"]
    assert "2026-01-09" in text(folder)


def test_of_reports_made_at_once_none_is_lost_from_the_page(tmp_path: Path) -> None:
    days = [f"2026-02-{day:02d}" for day in range(1, 17)]

    def make(day: str) -> None:
        write(tmp_path, day)
        publish_index(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, days))
    assert set(re.findall(r'href="desk-report-([0-9-]+)\.html"', (tmp_path / PAGE).read_text())) == set(days)
    assert {path.suffix for path in tmp_path.iterdir()} == {".html", ".json"}


def test_a_folder_without_reports_says_so(tmp_path: Path) -> None:
    (tmp_path / "desk-report-2026-02-30.html").write_text("")
    assert "No desk report was made yet" in text(tmp_path)


def test_the_asset_that_writes_a_report_writes_the_page(generated_report: Path) -> None:
    """On a copy of the numbers that the real report has."""
    reports = generated_report / "reports"
    page = (reports / PAGE).read_bytes()
    assert publish_index(reports).read_bytes() == page
    (day,) = compile_index(reports).days
    assert day.summary is not None
    numbers = json.loads((reports / f"desk-report-{day.day}.json").read_text())
    assert f'value="{numbers["costs"]["total"]}"'.encode() in page
    assert f'value="{numbers["earned_money"]}"'.encode() in page
    assert 'href="index.html"' in (reports / f"desk-report-{day.day}.html").read_text()
