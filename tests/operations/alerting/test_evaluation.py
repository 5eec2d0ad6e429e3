"""Judging: levels follow the hour and the book, blindness is a finding, nothing is resolved from not seeing."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from research_to_prod.market_data.liquidity import Regime
from research_to_prod.operations.alerting.evaluation import Key, Observation, Phase, Sight, State
from research_to_prod.operations.alerting.settings import Exposed, Severity
from research_to_prod.operations.alerting.situation import Context, Subject, situation_of
from tests.operations.alerting.book import (
    ACCOUNT,
    BTC,
    ETH,
    NOON,
    POLICY,
    VENUE,
    context,
    firing,
    held,
    judged,
    market,
    of,
    reading,
)

WATCHED = {"market": (BTC,)}


def age(seconds: float, usual: float | None = 0.2, at: timedelta = timedelta()) -> Observation:
    return reading("market_data_age", seconds, at=NOON + at, usual=usual)


class TestLevels:
    @pytest.mark.parametrize(
        ("regime", "usual", "level"),
        [
            (Regime.NORMAL, 0.2, 60), (Regime.DEEP, 0.2, 60), (Regime.NORMAL, 8.0, 80), (Regime.THIN, 0.2, 60),
            (Regime.UNKNOWN, 0.2, 60), (Regime.THIN, 8.0, 80), (Regime.STRESSED, 0.2, 30), (Regime.STRESSED, 8.0, 80),
        ],
    )  # fmt: skip
    def test_silence_is_ten_usual_gaps_of_the_hour_and_not_less_than_the_regimes_floor(
        self, regime: Regime, usual: float, level: float
    ) -> None:
        found = of(judged([age(1, usual)], context(held(), regime=regime)), "md_stale")
        assert found.threshold == pytest.approx(level)

    def test_no_silence_is_longer_than_the_book_can_bear(self) -> None:
        """A socket has a minute to come back; 2 million at 21 UTC give it 27 seconds, a flat book all sixty."""
        thin_book = (market(depth=2.36e6),)
        exposed = of(judged([age(28, 3.0)], context(held(2e6), markets=thin_book)), "md_stale")
        assert exposed.threshold == pytest.approx(27, abs=0.5)
        assert exposed.fires
        assert not firing(judged([age(28, 3.0)], context(markets=thin_book)), "md_stale")

    @pytest.mark.parametrize(
        ("bad", "sent", "sight"),
        [
            (1, 10, Sight.BETWEEN), (3, 10, Sight.BETWEEN), (4, 10, Sight.BROKEN), (5, 25, Sight.BETWEEN),
            (6, 25, Sight.BROKEN), (9, 100, Sight.BETWEEN), (10, 100, Sight.BROKEN), (9, 9, Sight.TOO_FEW),
            (0, 25, Sight.CALM), (20, 10, Sight.BROKEN),
        ],
    )  # fmt: skip
    def test_rejects_that_luck_explains_begin_nothing(self, bad: int, sent: int, sight: Sight) -> None:
        """Limits from SciPy's binomial tail: four of ten, six of 25, ten of 100. Over all is a wrong reading."""
        rate = reading("reject_rate", bad / sent, Subject(strategy="momentum"), count=sent)
        assert of(judged([rate], context(held())), "reject_rate").sight is sight

    def test_a_limit_shrinks_with_the_depth_of_the_hour_and_never_grows(self) -> None:
        for share, level in ((0.5, 0.5), (3.0, 1.0)):
            now = context(held(), markets=(market(depth_share=share),))
            assert of(judged([reading("limit_use", 0.4)], now), "exposure_limit").threshold == level
        nothing = context(held(), markets=(market(depth_share=None),))
        assert of(judged([reading("limit_use", 0.4)], nothing), "exposure_limit").sight is Sight.NO_DATA

    def test_with_banks_shut_a_coin_is_watched_twice_as_closely(self) -> None:
        coin = Subject(key="USDC")
        off = reading("peg_deviation", 30, coin, count=3)
        weekday, weekend = (judged([off], context(held(), events=each)) for each in ((), ("weekend",)))
        assert [(e.case.condition, e.severity) for e in firing(weekday)] == [(0, Severity.P3)]
        assert [(e.case.condition, e.severity) for e in firing(weekend)] == [(0, Severity.P3), (1, Severity.P2)]
        assert of(weekend, "depeg").case.situation.events == ("weekend",)

    def test_a_fall_below_needs_every_venue_that_the_rule_asks_for(self) -> None:
        found = of(judged([reading("peg_deviation", 900, Subject(key="USDC"), count=2)], context(held())), "depeg")
        assert found.sight is Sight.TOO_FEW

    def test_in_a_stressed_market_a_thin_book_is_no_news(self) -> None:
        gone = reading("depth", 1e5, usual=3e6)
        assert of(judged([gone], context(regime=Regime.STRESSED)), "liquidity_evaporation").sight is Sight.OFF
        assert of(judged([gone], context()), "liquidity_evaporation").sight is Sight.BROKEN

    def test_half_of_the_incident_s_budget_in_one_fill_needs_no_statistics(self) -> None:
        fill = reading("worst_fill_loss", 2_600, Subject(strategy="momentum"))
        assert of(judged([fill], context(held())), "slippage", 1).threshold == 2_500
        assert len(firing(judged([fill], context(held())), "slippage")) == 1


class TestDuration:
    def play(self, *steps: tuple[int, float]) -> list[Phase]:
        """The basis at so many seconds after noon, in basis points; 60 s to fire, 300 s of calm to end."""
        states: dict[Key, State] = {}
        phases = []
        for second, value in steps:
            at = NOON + timedelta(seconds=second)
            result = judged([reading("basis", value, at=at)], context(held()), states, at)
            states = dict(result.states)
            phases.append(of(result, "basis").after.phase)
        return phases

    def test_it_fires_after_its_time_and_a_break_begins_again(self) -> None:
        assert self.play((0, 60), (59, 60), (60, 60)) == ["pending", "pending", "firing"]
        assert self.play((0, 60), (30, 40), (60, 60), (90, 60)) == ["pending", "calm", "pending", "pending"]

    def test_it_ends_below_another_level_than_it_began_and_only_after_lasting_calm(self) -> None:
        begun = ((0, 60), (60, 60))
        assert self.play(*begun, (90, 40), (900, 40))[2:] == ["firing", "firing"]  # 35 ends it, not 40
        assert self.play(*begun, (90, 30), (389, 30), (390, 30))[2:] == ["firing", "firing", "calm"]
        assert self.play(*begun, (90, 30), (200, 40), (390, 30))[2:] == ["firing", "firing", "firing"]
        unseen = float("nan")
        assert self.play(*begun, (90, 30), (200, unseen), (390, 30))[2:] == ["firing", "firing", "firing"]

    def test_no_condition_is_waited_for_longer_than_half_of_the_blind_time(self) -> None:
        """Two million at 11 UTC bear 40 s: after 20 of the 60 s that a burst of errors must last it is told."""
        large = context(held(2e6))
        states: dict[Key, State] = {}
        phases = []
        for second in (0, 19, 20):
            at = NOON + timedelta(seconds=second)
            result = judged([reading("server_errors", 0.5, VENUE, at, count=40)], large, states, at)
            states = dict(result.states)
            phases.append(of(result, "venue_status", 1).after.phase)
        assert phases == ["pending", "pending", "firing"]

    def test_two_windows_must_both_burn(self) -> None:
        momentum = Subject(strategy="momentum")
        hour, minutes = (reading(each, 0.4, momentum) for each in ("loss_share_1h", "loss_share_5m"))
        calm, lost = reading("loss_share_5m", 0.0, momentum), reading("loss_1h", 12_000, momentum, usual=2_000)
        assert firing(judged([hour, minutes, lost], context(held())), "drawdown_burn")
        assert not firing(judged([hour, calm, lost], context(held())), "drawdown_burn")
        assert of(judged([hour, calm, lost], context(held())), "drawdown_burn").metric == "loss_share_5m"

    def test_a_loss_that_the_market_alone_makes_is_no_burn_until_the_day_s_budget_is_gone(self) -> None:
        """Four tenths of the day's budget, in hours of which one deviation makes 2,000 and 6,000 of the 12,000."""
        momentum = Subject(strategy="momentum")
        fast = [reading(each, 0.4, momentum) for each in ("loss_share_1h", "loss_share_5m")]
        for deviation, burns in ((2_000, True), (3_225, True), (3_227, False), (6_000, False)):
            lost = reading("loss_1h", 12_000, momentum, usual=deviation)
            assert bool(firing(judged([*fast, lost], context(held())), "drawdown_burn")) is burns
        wild = reading("loss_1h", 12_000, momentum, usual=6_000)
        gone = reading("loss_share_day", 1.0, momentum)
        assert of(judged([*fast, wild, gone], context(held())), "drawdown_burn", 1).severity is Severity.P1


class TestBlindness:
    def now(self, *holdings: object, minutes: float = 60) -> Context:
        return context(*holdings, watched=WATCHED, watched_since=NOON - timedelta(minutes=minutes))  # type: ignore[arg-type]

    def test_no_data_on_an_exposed_book_fires(self) -> None:
        found = of(judged([], self.now(held())), "md_stale")
        assert (found.sight, found.severity, found.value) == (Sight.BLIND, Severity.P2, None)

    def test_no_data_on_a_flat_book_is_written_down_and_fires_nothing(self) -> None:
        found = of(judged([], self.now()), "md_stale")
        assert (found.sight, found.fires) == (Sight.NO_DATA, False)

    def test_it_fires_as_soon_as_the_book_can_bear_no_more(self) -> None:
        """2 million at 11 UTC bear 40 s, less than the 60 s for which a measurement counts as fresh."""
        assert of(judged([], self.now(held(2e6), minutes=39 / 60)), "md_stale").sight is Sight.NO_DATA
        assert of(judged([], self.now(held(2e6), minutes=41 / 60)), "md_stale").sight is Sight.BLIND

    def test_blindness_counts_from_what_was_last_seen(self) -> None:
        seen = judged([age(1)], self.now(held()))
        later = NOON + timedelta(seconds=59)
        assert of(judged([], self.now(held()), dict(seen.states), later), "md_stale").sight is Sight.NO_DATA
        later = NOON + timedelta(seconds=60)
        assert of(judged([], self.now(held()), dict(seen.states), later), "md_stale").sight is Sight.BLIND

    def test_seeing_it_calm_ends_blindness_at_once_and_seeing_it_broken_is_a_firing_of_its_own(self) -> None:
        blind = judged([], self.now(held()))
        (state,) = [each for (rule, *_), each in blind.states.items() if rule == "md_stale"]
        assert (state.phase, state.blind) == (Phase.FIRING, True)
        later = NOON + timedelta(seconds=10)
        calm = judged([age(1, at=timedelta(seconds=10))], self.now(held()), dict(blind.states), later)
        assert not firing(calm, "md_stale")
        broken = of(
            judged([age(90, at=timedelta(seconds=10))], self.now(held()), dict(blind.states), later), "md_stale"
        )
        assert (broken.fires, broken.blind, broken.after.since) == (True, False, later)

    @pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
    def test_what_is_not_a_number_is_no_measurement(self, value: float | None) -> None:
        assert of(judged([reading("market_data_age", value)], self.now(held())), "md_stale").sight is Sight.BLIND

    def test_an_old_measurement_is_none(self) -> None:
        old = age(1, at=timedelta(seconds=-61))
        assert of(judged([old], self.now(held())), "md_stale").sight is Sight.BLIND

    def test_a_count_that_is_not_given_is_not_enough(self) -> None:
        bare = reading("reject_rate", 0.5, Subject(strategy="momentum"))
        assert of(judged([bare], context(held())), "reject_rate").sight is Sight.NO_DATA

    def test_not_seeing_resolves_nothing(self) -> None:
        fired = judged([reading("unknown_orders", 1, ACCOUNT)], context(held()))
        later = NOON + timedelta(days=1)
        found = of(judged([], context(), dict(fired.states), later), "unknown_order")
        assert found.fires
        assert found.severity is Severity.P1

    def test_what_nobody_watches_and_costs_nothing_is_forgotten(self) -> None:
        fired = judged([age(500)], context(held()))
        assert firing(fired, "md_stale")
        assert not firing(judged([], context(), dict(fired.states), NOON + timedelta(hours=1)), "md_stale")

    def test_a_break_is_gone_when_its_account_is_known_to_have_none(self) -> None:
        one = Subject("sandbox", "main", "BTC/USDT:USDT", key="b-17")
        states: dict[Key, State] = {}
        phases = []
        for minutes, lots, subject in ((0, 3, one), (1, 0, ACCOUNT), (2, 0, ACCOUNT)):
            at = NOON + timedelta(minutes=minutes)
            result = judged([reading("position_break_lots", lots, subject, at)], context(held()), states, at)
            states = dict(result.states)
            phases += [
                e.after.phase
                for e in result.evaluations
                if e.case.subject == one and e.case.condition == 0 and e.case.rule == "position_break"
            ]
        assert phases == ["firing", "firing", "calm"]


class TestSeverity:
    def severity(self, now: Context, metric: str = "market_data_age", value: float = 600) -> Severity | None:
        (found,) = [each for each in firing(judged([reading(metric, value)], now)) if each.metric == metric]
        return found.severity

    def test_a_flat_book_asks_for_a_ticket_at_most(self) -> None:
        assert self.severity(context(held())) is Severity.P2
        assert self.severity(context()) is Severity.P3

    def test_unless_the_rule_is_never_muted(self) -> None:
        assert self.severity(context(), "forced_events", 1) is Severity.P1

    def test_a_thin_market_that_is_hard_to_leave_is_one_worse(self) -> None:
        slow = (market(Regime.THIN, hour_volume=1e5),)
        assert self.severity(context(held(), regime=Regime.THIN)) is Severity.P2
        assert self.severity(context(held(), markets=slow)) is Severity.P1

    def test_a_stressed_market_is_one_worse_with_anything_at_stake(self) -> None:
        assert self.severity(context(held(), regime=Regime.STRESSED)) is Severity.P1
        assert self.severity(context(regime=Regime.STRESSED)) is Severity.P3

    def test_what_cannot_be_valued_is_exposed_as_far_as_can_be(self) -> None:
        names = ("volatility", "half_spread", "depth", "hour_volume")
        unknown = [context(held(), markets=(market(**{name: None}),)) for name in names]
        for now in (context(held(None)), context(held(), markets=()), *unknown):
            found = situation_of(BTC, now, POLICY.settings)
            assert (found.exposed, found.blind_seconds) == (Exposed.X2, None)

    def test_working_orders_alone_are_exposure_and_a_close_margin_is_the_highest(self) -> None:
        working = situation_of(BTC, context(held(0.0, working_orders=1)), POLICY.settings)
        assert working.exposed is Exposed.X1
        close = situation_of(BTC, context(held(margin_use=0.6)), POLICY.settings)
        assert close.exposed is Exposed.X2

    def test_the_strictest_market_of_the_book_decides(self) -> None:
        both = (market(), market(Regime.STRESSED, "ETH/USDT:USDT"))
        book = (held(), held(instrument="ETH/USDT:USDT"))
        assert situation_of(VENUE, context(*book, markets=both), POLICY.settings).regime is Regime.STRESSED
        assert situation_of(BTC, context(*book, markets=both), POLICY.settings).regime is Regime.NORMAL


class TestParentsAndEvents:
    DOWN = reading("venue_not_ok", 1, VENUE)

    def test_a_venue_that_is_down_speaks_for_its_own_markets_only(self) -> None:
        elsewhere = Subject("kraken", instrument="BTC/USD")
        silent = [age(600), reading("market_data_age", 600, elsewhere)]
        result = judged([self.DOWN, *silent], context(held()))
        assert {e.case.subject: e.inhibited_by for e in firing(result, "md_stale")} == {
            BTC: "venue_status",
            elsewhere: None,
        }

    def test_what_a_cause_would_explain_waits_for_it_and_speaks_when_it_goes_calm(self) -> None:
        """A burst of errors is told after a minute: silence and slow answers of that minute are parts of it, or not."""
        told: dict[float, list[list[str]]] = {}
        for later in (0.5, 0.0):
            states: dict[Key, State] = {}
            told[later] = []
            for second, errors in ((0, 0.5), (60, later)):
                at = NOON + timedelta(seconds=second)
                burst = reading("server_errors", errors, VENUE, at, count=40)
                result = judged([burst, age(600, at=at - NOON)], context(held()), states, at)
                states = dict(result.states)
                told[later].append([each.case.rule for each in firing(result) if each.tells])
        assert told == {0.5: [[], ["venue_status"]], 0.0: [[], ["md_stale"]]}

    def test_not_to_know_how_a_venue_is_speaks_for_nothing(self) -> None:
        now = context(held(), watched={"venue": (VENUE,)}, watched_since=NOON - timedelta(hours=1))
        result = judged([age(600)], now)
        assert of(result, "venue_status").sight is Sight.BLIND
        assert of(result, "md_stale").tells

    def test_it_never_speaks_for_what_is_never_muted(self) -> None:
        result = judged([self.DOWN, reading("position_break_lots", 3, ACCOUNT)], context(held()))
        assert all(e.tells for e in firing(result, "position_break"))

    def test_an_announced_maintenance_mutes_holes_and_nothing_that_costs_money(self) -> None:
        hole, silence = reading("market_data_gap", 900, ETH), reading("market_data_age", 900, ETH)
        result = judged([hole, silence], context(held(), events=("maintenance",)))
        told = {e.case.rule: e.muted_by for e in firing(result) if e.case.subject == ETH}
        assert told == {"md_gap": "maintenance", "md_stale": None}
        assert all(e.case.situation.events == ("maintenance",) for e in result.evaluations)


class TestMisuse:
    def test_a_measurement_of_the_future_is_refused(self) -> None:
        with pytest.raises(ValueError, match="after 2026-01-05T12:00"):
            judged([age(1, at=timedelta(seconds=1))], context())

    def test_two_measurements_of_one_thing_are_refused(self) -> None:
        with pytest.raises(ValueError, match="given twice"):
            judged([age(1), age(2)], context())

    def test_an_unknown_metric_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"latency of .* is no declared metric"):
            judged([reading("latency", 1)], context())
