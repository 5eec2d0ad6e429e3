"""The rules as the desk declares them: thirty, each whole, and nothing that contradicts itself is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from research_to_prod.operations.alerting.rules import AlertPolicyError, NoData, load_alert_policy
from research_to_prod.operations.alerting.settings import Exposed, Severity
from tests.operations.alerting.book import POLICY, SHIPPED


def changed(folder: Path, file: str, old: str, new: str) -> Path:
    """The shipped rules with one text replaced."""
    copy = folder / "alerts"
    shutil.copytree(SHIPPED, copy)
    text = (copy / file).read_text()
    assert text.count(old) == 1, f"{old!r} is not once in {file}"
    (copy / file).write_text(text.replace(old, new))
    return copy


def test_the_catalogue_has_the_thirty_signals() -> None:
    assert [rule.number for rule in POLICY.rules] == list(range(1, 31))


def test_what_touches_positions_balances_margin_and_security_is_never_muted() -> None:
    assert {rule.number for rule in POLICY.rules if rule.never_muted} == {9, 10, 11, 15, 17, 27, 29, 30}
    (ban,) = [each for each in POLICY.by_id["rate_budget"].any if each.never_muted]
    assert ban.all[0].metric == "venue_bans"


def test_what_would_hide_a_loss_fires_when_it_is_not_seen() -> None:
    silent = {rule.number for rule in POLICY.rules if rule.no_data is NoData.UNKNOWN}
    assert silent == {2, 3, 4, 5, 7, 8, 13, 14, 19, 21, 24, 25, 26}
    assert not [rule.id for rule in POLICY.rules if rule.never_muted and rule.no_data is NoData.UNKNOWN]


def test_pages_escalate_to_the_owner_within_fifteen_and_forty_five_minutes() -> None:
    steps = POLICY.settings.paging.escalation
    assert [step.after for step in steps[Severity.P1]] == [0, 300, 900]
    assert [step.after for step in steps[Severity.P2]] == [0, 900, 2700]


def test_the_hash_is_that_of_what_decides_not_of_its_spelling(tmp_path: Path) -> None:
    spaced = changed(tmp_path / "a", "risk.yaml", "title: Margin runs out", 'title: "Margin runs out"  # soon')
    other = changed(tmp_path / "b", "risk.yaml", "at_most: 4, clears: 1.25", "at_most: 3, clears: 1.25")
    assert load_alert_policy(spaced).sha256 == POLICY.sha256
    assert load_alert_policy(other).sha256 != POLICY.sha256


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("risk.yaml", "{metric: liquidation_distance, at_most: 4, clears: 1.25}",
         "{metric: liquidation_distance, at_most: 4, clears: 1}", "not on the calm side"),
        ("risk.yaml", "{metric: liquidation_distance, at_most: 4, clears: 1.25}",
         "{metric: liquidation_distance, at_most: 0, clears: 1.25}", "none is 0"),
        ("risk.yaml", "{metric: liquidation_distance, at_most: 4, clears: 1.25}",
         "{metric: liquidation_distances, at_most: 4, clears: 1.25}", "metric liquidation_distances: not declared"),
        ("risk.yaml", "    runbook: margin\n",
         "    runbook: margin\n    adjust: [{events: [macro], times: 2, why: weekends are long and people sleep}]\n",
         "never laxer"),
        ("risk.yaml", "    runbook: margin\n",
         "    runbook: margin\n    adjust: [{events: [macro], mutes: true, why: a release moves them all at once}]\n",
         "never laxer"),
        ("operations.yaml", "fill_ratio, asset_lag, certificate_missing]", "position_break]", "is never muted"),
        ("operations.yaml", "fill_ratio, asset_lag, certificate_missing]", "asset_lags]", "does not exist"),
        ("operations.yaml", "    number: 30\n", "    number: 29\n", "number 29: used twice"),
        ("operations.yaml", "    number: 30\n", "    number: 30\n    enabled: false\n", "Extra inputs"),
        ("market_data.yaml", "meaning: \"now less the time of the venue's last event of this market\"",
         "meaning: \"now less the time of the venue's last event of this market\", since: 1", "Extra inputs"),
        ("market_data.yaml", "market_data_age: {unit: seconds", "market_data_age: {unit: minutes", "not in seconds"),
        ("orders.yaml", "            minimum: 10\n            beyond:", "            beyond:", "beyond chance is for"),
        ("orders.yaml", "              odds: 0.0001\n", "              odds: 0.5\n", "beyond.odds"),
        ("risk.yaml", "          level: 4\n          rests_on: valued\n          why: The venue closes",
         "          level: 4\n          rests_on: unseen\n          why: The venue closes", "rests_on"),
        ("settings.yaml", "P2: [{after: 0, to: on-call}", "P3: [{after: 0, to: on-call}", "only pages escalate"),
    ],
)  # fmt: skip
def test_rules_that_contradict_themselves_are_refused(file: str, old: str, new: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(AlertPolicyError, match=told):
        load_alert_policy(changed(tmp_path, file, old, new))


def test_every_wrong_file_is_named_at_once(tmp_path: Path) -> None:
    copy = changed(tmp_path, "risk.yaml", "number: 15", "number: fifteen")
    (copy / "orders.yaml").write_text("rules: [")
    with pytest.raises(AlertPolicyError, match=r"(?s)orders\.yaml: not readable.*risk\.yaml: rules\.0\.number"):
        load_alert_policy(copy)


def test_every_rule_says_why_in_words_of_its_own() -> None:
    whys = [rule.why for rule in POLICY.rules]
    assert len(set(whys)) == len(whys) == 30
    assert all(rule.runbook == rule.id for rule in POLICY.rules)


def test_what_is_declared_by_regime_is_declared_for_all_three() -> None:
    for path in SHIPPED.glob("*.yaml"):
        for rule in yaml.safe_load(path.read_text()).get("rules", ()):
            for condition in rule["any"]:
                for bound in condition["all"]:
                    levels = bound.get("at_least", bound.get("at_most"))
                    assert not isinstance(levels, dict) or set(levels) == {"normal", "thin", "stressed"}, rule["id"]


def test_exposure_has_three_classes_in_order() -> None:
    assert list(Exposed) == ["X0", "X1", "X2"]
