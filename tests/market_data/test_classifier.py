"""What a failed request means, row by row, and what holds for every row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_to_prod.market_data.classifier import RULES, EndpointKind, Outcome, classify, retry_after
from research_to_prod.market_data.universe import EXCHANGES

READ, ORDER = EndpointKind.READ, EndpointKind.ORDER

# venue, status, code, meaning for a read, meaning for an order
ROWS = """
binance  429 -1003  backoff            backoff
binance  418 -1003  backoff            backoff
binance  403 -      retry_read         unknown
binance  451 -      retry_read         unknown
binance  502 -      retry_read         unknown
binance  500 -1000  retry_read         unknown
binance  503 -1008  backoff            unknown
binance  400 -1016  maintenance        maintenance
binance  408 -1007  retry_read         unknown
binance  400 -1021  retry_read         definitive_reject
binance  400 -2010  definitive_reject  definitive_reject
binance  400 -2011  unknown            unknown
binance  400 -2013  unknown            unknown
binance  401 -2015  auth               auth
binance  400 -1022  auth               auth
binance  400 -1121  definitive_reject  unknown
binance  504 -      retry_read         unknown
binance  -   -      retry_read         unknown
kraken   200 EService:Busy                          backoff      unknown
kraken   200 EService:Unavailable                   retry_read   unknown
kraken   200 EAPI:Rate_limit_exceeded               backoff      backoff
kraken   200 EGeneral:Temporary_lockout             backoff      backoff
kraken   200 EAPI:Invalid_key                       auth         auth
kraken   200 EAPI:Invalid_signature                 auth         auth
kraken   200 EAPI:Invalid_nonce                     auth         auth
kraken   200 EService:Market_in_cancel_only_mode    maintenance  maintenance
kraken   200 EOrder:Insufficient_funds              definitive_reject definitive_reject
kraken   200 EOrder:Unknown_order                   unknown      unknown
kraken   200 EQuery:Unknown_asset_pair              definitive_reject definitive_reject
kraken   520 -                                      retry_read   unknown
okx      503 50001  retry_read         unknown
okx      429 50011  backoff            backoff
okx      200 50011  backoff            backoff
okx      200 50061  backoff            backoff
okx      200 50013  retry_read         unknown
okx      200 50026  retry_read         unknown
okx      200 50004  retry_read         unknown
okx      401 50100  auth               auth
okx      401 50113  auth               auth
okx      401 50102  retry_read         definitive_reject
okx      200 51008  definitive_reject  definitive_reject
okx      200 51603  unknown            unknown
bybit    200 10002  retry_read         definitive_reject
bybit    200 10003  auth               auth
bybit    200 10004  auth               auth
bybit    200 10006  backoff            backoff
bybit    200 10018  backoff            backoff
bybit    200 10016  retry_read         unknown
bybit    403 -      backoff            unknown
bybit    200 110007 definitive_reject  definitive_reject
bybit    200 110001 unknown            unknown
coinbase 401 -      auth               auth
coinbase 403 -      auth               auth
coinbase 429 -      backoff            backoff
coinbase 500 -      retry_read         unknown
coinbase 404 not_found  definitive_reject  unknown
"""


@pytest.mark.parametrize("line", ROWS.strip().splitlines())
def test_each_row_means_what_the_table_says(line: str) -> None:
    venue, status, code, read, order = line.split()
    seen = (venue, None if status == "-" else int(status), None if code == "-" else code.replace("_", " "))
    if venue == "coinbase" and code != "-":
        seen = (venue, int(status), code)
    if "cancel_only" in code:
        seen = (venue, int(status), "EService:Market in cancel_only mode")
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
    assert retry_after({"Retry-After": until.strftime("%a, %d %b %Y %H:%M:%S GMT")}) in {None, 0.0}
