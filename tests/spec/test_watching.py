"""The words of rules about who asks: one form each, and what nothing acts on is an error."""

from __future__ import annotations

import pytest

from freehold.errors import BadInput
from freehold.spec.reading import read_config
from freehold.spec.watching import OWN, Watch, plain_rules, rules_from, settled


def test_a_rule_that_says_nothing_more_has_its_own_numbers_and_holds_nobody_back() -> None:
    (given,) = read_config("watch:\n  - rule: jailbreak\n").watch
    rule = settled(given)
    assert (rule.after, rule.within, rule.share, rule.then) == (10, 600, 30, "observe")
    assert rule.covers("claims", "triage")


def test_without_rules_there_are_none() -> None:
    assert read_config("").watch == ()


@pytest.mark.parametrize("name", OWN)
def test_rules_are_kept_as_they_were_said(name: str) -> None:
    given = Watch(rule=name, project="claims", services=("triage",), after=7, within="5m", then="lock")  # type: ignore[arg-type]
    assert rules_from(plain_rules([given])) == (settled(given),)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("{rule: jailbrake}", "did you mean `jailbreak`"),
        ("{rule: jailbreak, then: block}", "observe, throttle, lock, renew"),
        ("{rule: jailbreak, whom: key}", "there is no such field"),
        ("{rule: jailbreak, within: 10}", "within"),
        ("{rule: jailbreak, within: ten}", "`15m`"),
        ("{rule: jailbreak, within: 3d}", "a day at most"),
        ("{rule: jailbreak, within: 0s}", "a day at most"),
        ("{rule: jailbreak, share: much}", "write it as `30%`"),
        ("{rule: jailbreak, share: 130%}", "a part of a hundred"),
        ("{rule: jailbreak, after: -1}", "between 1 and"),
        ("{rule: jailbreak, to: many}", "600/min"),
        ("{rule: jailbreak, to: ''}", "requests a minute"),
        ("{rule: jailbreak, lasts: long}", "15m"),
        ("{rule: jailbreak, lasts: 0s}", "15m"),
        ("{rule: scraping, share: 10%}", "leave it out"),
        ("{rule: jailbreak, services: [triage]}", "project: claims"),
        ("{rule: jailbreak, project: 'Not a name'}", "project"),
        ("{}", "rule"),
    ],
)
def test_what_cannot_be_reckoned_with_is_told(said: str, told: str) -> None:
    with pytest.raises(BadInput) as wrong:
        read_config(f"watch:\n  - {said}\n")
    assert told in str(wrong.value)
