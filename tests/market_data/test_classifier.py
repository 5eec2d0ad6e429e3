"""What a failed request means, row by row, and what holds for every row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.classifier import RULES, EndpointKind, Outcome, classify, retry_after
from research_to_prod.market_data.universe import EXCHANGES

READ, ORDER = EndpointKind.READ, EndpointKind.ORDER

# venue, status, meaning for a read, meaning for an order, code
ROWS = """
binance   429  backoff            backoff            -1003
binance   418  backoff            backoff            -1003
binance   403  retry_read         unknown            -
binance   451  retry_read         unknown            -
binance   502  retry_read         unknown            -
binance   500  retry_read         unknown            -1000
binance   503  backoff            unknown            -1008
binance   400  maintenance        maintenance        -1016
binance   408  retry_read         unknown            -1007
binance   400  retry_read         definitive_reject  -1021
binance   400  definitive_reject  definitive_reject  -2010
binance   400  definitive_reject  definitive_reject  -2022
binance   400  unknown            unknown            -2011
binance   400  unknown            unknown            -2013
binance   401  auth               auth               -2015
binance   400  auth               auth               -1022
binance   400  definitive_reject  unknown            -1121
binance   504  retry_read         unknown            -
binance   -    retry_read         unknown            -
kraken    200  backoff            unknown            EService:Busy
kraken    200  retry_read         unknown            EService:Unavailable
kraken    200  backoff            backoff            EAPI:Rate limit exceeded
kraken    200  backoff            backoff            EGeneral:Temporary lockout
kraken    200  auth               auth               EAPI:Invalid key
kraken    200  auth               auth               EAPI:Invalid signature
kraken    200  auth               auth               EAPI:Invalid nonce
kraken    200  maintenance        maintenance        EService:Market in cancel_only mode
kraken    200  definitive_reject  definitive_reject  EOrder:Insufficient funds
kraken    200  unknown            unknown            EOrder:Unknown order
kraken    200  definitive_reject  definitive_reject  EQuery:Unknown asset pair
kraken    520  retry_read         unknown            -
okx       503  retry_read         unknown            50001
okx       429  backoff            backoff            50011
okx       200  backoff            backoff            50011
okx       200  backoff            backoff            50061
okx       200  retry_read         unknown            50013
okx       200  retry_read         unknown            50026
okx       200  retry_read         unknown            50004
okx       401  auth               auth               50100
okx       401  auth               auth               50113
okx       401  retry_read         definitive_reject  50102
okx       200  definitive_reject  definitive_reject  51008
okx       200  unknown            unknown            51603
bybit     200  retry_read         definitive_reject  10002
bybit     200  auth               auth               10003
bybit     200  auth               auth               10004
bybit     200  backoff            backoff            10006
bybit     200  backoff            backoff            10018
bybit     200  retry_read         unknown            10016
bybit     403  backoff            unknown            -
bybit     200  definitive_reject  definitive_reject  110007
bybit     200  unknown            unknown            110001
coinbase  401  auth               auth               -
coinbase  403  auth               auth               -
coinbase  429  backoff            backoff            -
coinbase  500  retry_read         unknown            -
coinbase  404  definitive_reject  unknown            not_found
"""


@pytest.mark.parametrize("line", ROWS.strip().splitlines())
def test_each_row_means_what_the_table_says(line: str) -> None:
    venue, status, read, order, code = line.split(maxsplit=4)
    seen = (venue, None if status == "-" else int(status), None if code == "-" else code)
    assert classify(*seen, READ) == read
    assert classify(*seen, ORDER) == order


STATUSES = st.one_of(st.none(), st.integers(200, 599))
CODES = st.one_of(st.none(), st.integers(-5000, 200_000).map(str), st.text(max_size=20))


@given(st.sampled_from(EXCHANGES), STATUSES, CODES)
def test_an_order_is_never_a_read_to_be_retried(venue: str, status: int | None, code: str | None) -> None:
    assert classify(venue, status, code, ORDER) is not Outcome.RETRY_READ


@given(st.sampled_from(EXCHANGES), st.one_of(st.none(), st.integers(500, 599)), st.just("no such code"))
def test_an_unlisted_failure_leaves_an_order_unknown_and_a_read_retried(
    venue: str, status: int | None, code: str
) -> None:
    assert classify(venue, status, code, ORDER) is Outcome.UNKNOWN
    assert classify(venue, status, code, READ) is Outcome.RETRY_READ


@given(STATUSES, CODES, st.sampled_from(EndpointKind))
def test_a_venue_that_is_not_in_the_table_gets_an_answer_too(
    status: int | None, code: str | None, kind: EndpointKind
) -> None:
    assert classify("elsewhere", status, code, kind) in Outcome


def test_no_row_is_dead() -> None:
    """Each row decides what it says itself about; one that an earlier row always outranks would be a lie."""
    for position, rule in enumerate(RULES):
        venue, code = rule.venue or "elsewhere", rule.code.removesuffix("*") if rule.code else None
        kind = rule.kind or READ
        first = next(i for i, each in enumerate(RULES) if each.matches(venue, rule.status, code, kind))
        assert first == position or RULES[first] == rule, f"{rule} is outranked by {RULES[first]}"


# Retry-After


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Wed, 21 Jun 2023 07:28:30 GMT", "Date": "Wed, 21 Jun 2023 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Jun 2023 07:28:00 GMT", "Date": "Wed, 21 Jun 2023 07:28:30 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Jun 2023 07:28:00 GMT", "Date": "yesterday"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_date_without_the_answers_own_date_is_not_measured_by_our_clock() -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    assert retry_after({"Retry-After": until.strftime("%a, %d %b %Y %H:%M:%S GMT")}) is None
