"""The risk posture: numbers worked by hand, what is unknown said as such, and nothing clear that was not seen."""

from __future__ import annotations

import html
import io
import json
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_to_prod.operations.book_risk import expected_shortfall
from research_to_prod.operations.contracts import BREAKS
from research_to_prod.operations.control_journal import ALL, Ladders
from research_to_prod.operations.incidents.store import Incidents
from research_to_prod.operations.ladder import Level, State
from research_to_prod.reports.compile_risk_posture import compile_risk_posture
from research_to_prod.reports.compile_standing import compile_standing
from research_to_prod.reports.desk_report import Status
from research_to_prod.reports.posture_inputs import Known
from research_to_prod.reports.rendering import render_json, render_parquet, render_posture
from research_to_prod.reports.risk_posture import By, ExposureLine, RiskPosture
from tests.operations.alerting.test_day_measures import rows
from tests.reports.posture_book import LONG, NOON, PROVEN, SHORT, book, manifest, position, profile, wallet
from tests.reports.test_desk_report import Page


def of(known: Known) -> RiskPosture:
    return compile_risk_posture(known, NOON)


def exposure(posture: RiskPosture, by: By, name: str) -> ExposureLine:
    (line,) = [each for each in posture.exposures if (each.by, each.name) == (by, name)]
    return line


def said(posture: RiskPosture, status: Status) -> list[str]:
    return [each.what for each in posture.findings if each.status is status]


def test_a_book_within_its_limits_that_is_seen_is_clear() -> None:
    posture = of(book())
    assert (posture.status, posture.findings) == (Status.CLEAR, ())
    assert posture.headline == "Within all limits, and everything is seen"


def test_exposure_is_added_up_by_strategy_asset_venue_and_coin() -> None:
    posture = of(book())
    carry = exposure(posture, By.STRATEGY, "carry")
    assert (carry.gross, carry.net, carry.limit_use) == (200_000, 200_000, 0.4)
    assert exposure(posture, By.ASSET, "BTC").net == -50_000
    venue = exposure(posture, By.VENUE, "sandbox")
    assert (venue.gross, venue.net, venue.limited, venue.limit) == (250_000, 150_000, 100_000, 700_000)
    coin = exposure(posture, By.STABLECOIN, "USDT")
    assert (coin.limited, coin.limit, coin.because) == (100_000, None, "no limit is declared")


def test_the_shortfall_follows_the_hours_ahead_and_nothing_offsets() -> None:
    one, _, day = of(book()).shortfalls
    assert one.money == pytest.approx(expected_shortfall([(250_000, [0.005])], 0.975))
    assert day.money == pytest.approx(expected_shortfall([(250_000, [0.005] * 24)], 0.975))
    assert (day.limit, one.limit) == (60_000, None)


def test_what_is_left_of_the_margin_is_told_in_price_and_in_usual_hours() -> None:
    """(100,000 - 2,000) / (200,000 + 2,000) is 48.5 %, 97 usual hours of half a percent."""
    (line,) = of(book()).liquidations
    assert line.distance == pytest.approx(0.48515, abs=1e-5)
    assert line.hourly_deviations == pytest.approx(97.03, abs=0.01)


def test_an_open_loss_counts_against_the_margin() -> None:
    lost = LONG | {"entry_price": Decimal(2500)}
    (line,) = of(book(lost)).liquidations
    assert line.equity == 50_000


def test_a_position_close_to_its_liquidation_is_to_be_acted_on() -> None:
    posture = of(book(LONG, balances=rows_of("2500")))
    assert said(posture, Status.ACT) == ["sandbox: liquidation is 0.2% away"]


def test_time_to_unwind_is_at_a_tenth_of_the_hour_s_volume() -> None:
    line = of(book()).markets[1]
    assert line.unwind_hours == pytest.approx(200_000 / 5e6)


def test_funding_is_due_at_the_next_interval() -> None:
    (line,) = of(book()).funding
    assert (line.due_at, line.received) == (NOON + timedelta(hours=4), -40.0)


def test_a_limit_that_is_exceeded_is_the_headline() -> None:
    posture = of(book(manifest=manifest(carry="100000", momentum="500000")))
    assert posture.headline == "Strategy carry: 200% of its limit (1 to act on)"


def test_what_the_manifest_does_not_list_may_hold_nothing() -> None:
    posture = of(book(manifest=manifest(momentum="500000")))
    assert said(posture, Status.ACT) == ["strategy carry: the production manifest lets it hold nothing"]


def test_blindness_beyond_its_budget_is_told_and_within_it_is_not() -> None:
    budget = of(book()).blind[0].blind_seconds
    assert budget is not None
    seen = book(account_proven={"sandbox": NOON - timedelta(seconds=budget - 1)})
    unseen = book(account_proven={"sandbox": NOON - timedelta(seconds=budget + 1)})
    assert [each.over for each in (*of(seen).blind, *of(unseen).blind)] == [False, False, True, True]
    assert "the book: not seen for longer than can be afforded" in said(of(unseen), Status.UNKNOWN)


UNKNOWN: list[tuple[Known, str]] = [
    (book(account_proven={}), "never read completely"),
    (book(position(("sandbox", "ETH/USDT:USDT"), "carry", "100", None)), "no price"),
    (book(hours=profile(volatility_med=None)), "volatility"),
    (book(manifest=None), "no production manifest"),
    (book(maintenance={}), "maintenance_margin"),
    (book(LONG | {"entry_price": None}), "no entry or mark price"),
    (book(balances=None), "futures wallet"),
    (book(standing=compile_standing(None, None, Incidents(), PROVEN, Ladders({}), NOON)), "never compared"),
    (book(standing=compile_standing(BREAKS.empty(), None, Incidents(), PROVEN, Ladders({}), NOON)), "not complete"),
    (book(standing=compile_standing(BREAKS.empty(), PROVEN, None, PROVEN, Ladders({}), NOON)), "can't be read"),
    (book(standing=compile_standing(BREAKS.empty(), PROVEN, Incidents(), None, Ladders({}), NOON)), "never made"),
    (book(standing=compile_standing(BREAKS.empty(), PROVEN, Incidents(), PROVEN, "line 3", NOON)), "line 3"),
]


@pytest.mark.parametrize(("known", "why"), UNKNOWN, ids=[why for _, why in UNKNOWN])
def test_what_is_missing_is_unknown_and_never_clear(known: Known, why: str) -> None:
    posture = of(known)
    assert posture.status is Status.UNKNOWN
    assert any(why in each for each in said(posture, Status.UNKNOWN)), said(posture, Status.UNKNOWN)


def test_a_desk_of_which_nothing_is_known_is_shown_as_unknown() -> None:
    empty = replace(book().context, holdings=(), markets=())
    known = book(context=empty, positions=None, profile=None, profile_to=None, balances=None, account_proven={})
    posture = of(known)
    assert posture.status is Status.UNKNOWN
    assert [line.money for line in posture.shortfalls] == [None, None, None]
    assert (posture.blind[0].at_stake, posture.blind[0].over) == (None, None)
    assert "unknown" in render_posture(posture).decode()


def test_every_line_says_up_to_when_it_is_proven_and_the_oldest_input_decides() -> None:
    older = PROVEN - timedelta(hours=3)
    posture = of(book(profile_to=older))
    assert {each.proven_at for each in posture.exposures} == {PROVEN}
    assert {each.proven_at for each in (*posture.shortfalls, *posture.markets)} == {older}
    assert {each.proven_at for each in of(book(funding_to={})).funding} == {None}


def test_open_breaks_are_counted_by_their_age_now() -> None:
    open_ = {"status": "open", "verdict": "confirmed", "money": Decimal(5)}
    found = rows(
        BREAKS,
        open_ | {"opened_at": NOON - timedelta(minutes=1)},
        open_ | {"opened_at": NOON - timedelta(days=2), "verdict": "unknown", "money": None},
        open_ | {"opened_at": NOON, "status": "resolved"},
    )
    posture = of(book(standing=compile_standing(found, PROVEN, Incidents(), PROVEN, Ladders({}), NOON)))
    told = [(each.age, each.confirmed, each.unknown, each.money, each.without_money) for each in posture.breaks]
    assert told == [("<5m", 1, 0, 5.0, 0), (">1d", 0, 1, 0.0, 1)]
    assert posture.status is Status.ACT


def test_what_is_held_back_is_told_with_who_did_it() -> None:
    ladders = Ladders({ALL: State(level=Level.REDUCE_ONLY, since=PROVEN, by="user:ana", because="drill")})
    posture = of(book(standing=compile_standing(BREAKS.empty(), PROVEN, Incidents(), PROVEN, ladders, NOON)))
    (line,) = posture.controls
    assert (line.level, line.mode, line.by) == (2, "reduce_only", "user:ana")
    assert said(posture, Status.ACT) == ["everything is held back: level 2, reduce_only"]


def test_page_json_and_parquet_have_the_same_numbers() -> None:
    posture = of(book())
    document = json.loads(render_json(posture))
    table = pq.read_table(io.BytesIO(render_parquet(posture))).to_pylist()
    assert RiskPosture.model_validate(document) == posture
    numbers = {row["number"] for row in table if row["number"] is not None}
    shown = {float(each) for each in re.findall(r'<data value="([^"]+)"', render_posture(posture).decode())}
    assert numbers == set(leaves(document))
    assert shown <= numbers


def leaves(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in leaves(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in leaves(inner)]
    return [float(value)] if isinstance(value, int | float) else []


def page_of(strategy: str) -> tuple[bytes, Counter[tuple[str, ...]]]:
    """Return the page of a book with a position of this strategy, and its tags, each with its attributes' names."""
    page = render_posture(of(book(position(("sandbox", "ETH/USDT:USDT"), strategy, "1"), SHORT)))
    return page, Counter((tag, *attributes) for tag, attributes in Page(page).tags)


MARKUP = st.sampled_from(["<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "</style>", "{{ 7 }}"])


@settings(max_examples=10)
@given(name=MARKUP | st.text("<>&\"'/=!-{}%;# ax", min_size=1, max_size=30))
def test_a_name_from_outside_is_text_and_never_markup(name: str) -> None:
    page, tags = page_of(name)
    assert tags == page_of("plain")[1]
    assert name in html.unescape(page.decode())


def rows_of(money: str) -> Any:
    from research_to_prod.execution.contracts import VENUE_BALANCES

    return rows(VENUE_BALANCES, wallet("USDT", money))
