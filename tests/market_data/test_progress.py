"""A bar in a terminal, lines elsewhere."""

from __future__ import annotations

import io
import logging

import pytest

from research_to_prod.market_data.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_progress_is_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    with caplog.at_level(logging.INFO), show_progress("2024-01", logging.getLogger("fetch"), stream) as progress:
        progress("BTC/USDT", 1, 7)
    assert caplog.messages == ["2024-01: 1 of 7, BTC/USDT"]
    assert stream.getvalue() == ""


def test_in_a_terminal_progress_is_a_bar(caplog: pytest.LogCaptureFixture) -> None:
    stream = Terminal()
    with caplog.at_level(logging.INFO), show_progress("2024-01", logging.getLogger("fetch"), stream) as progress:
        progress("BTC/USDT", 7, 7)
    assert "7/7" in stream.getvalue()
    assert caplog.messages == []
