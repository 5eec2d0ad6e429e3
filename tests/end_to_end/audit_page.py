"""The auditor's page held against what its commands print: the same lines, but for numbers, hashes and times.

Belongs here: when an output has the shape of the one on the page. Doesn't: whether the commands tell the truth
(``tests/promotion``, ``tests/commands``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def answers() -> list[tuple[str, list[str]]]:
    """Return each command under the page's questions, with the lines that the page shows of its output."""
    (section,) = re.findall(r"^## Ten questions\n(.*?)(?=^## )", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```\n\$ (r2p [^\n]+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [(command, shown.splitlines()) for command, shown in blocks]


WIDTH = "118"


def as_on_the_page(command: str, printed: str) -> None:
    """Fail unless the page shows what a command printed, wherever it shows the command."""
    pages = [shown for each, shown in answers() if shape(each) == shape(command)]
    assert pages, f"{command} is not on the page"
    for shown in pages:
        assert not (told := unlike(shown, printed.splitlines())), f"{command}: {told}"


def shape(line: str) -> str:
    """Return a line with its times, hashes and numbers as such, and without the widths of its columns."""
    line = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?Z?", "TIME", line)
    line = re.sub(r"\b[0-9a-f]{8,64}\b", "HASH", line)
    line = re.sub(r"\d{4}-\d\d(-\d\d)?", "DAY", line)
    line = re.sub(r"-?\d[\d,]*(\.\d+)?(e-?\d+)?", "N", line)
    return " ".join(re.sub(r"[━─]+", "-", line).split())


def unlike(shown: Sequence[str], printed: Iterable[str]) -> str:
    """Return the first line of the page that was not printed where the page has it; nothing when all were.

    A line ``...`` stands for any lines, one that ends with it for any end.
    """
    left, skip = [shape(line) for line in printed if line.strip()], False
    for line in shown:
        if line.strip() == "...":
            skip = True
            continue
        wanted = shape(line)
        at = next((n for n, each in enumerate(left) if _same(wanted, each)), None)
        if at is None or (at and not skip):
            return f"{line!r}, where it is {left[:1]}"
        left, skip = left[at + 1 :], False
    return "" if skip or not left else f"the page ends before {left[0]!r}"


def _same(wanted: str, printed: str) -> bool:
    return printed.startswith(wanted[:-3].rstrip()) if wanted.endswith("...") else printed == wanted
