"""Rules about who asks: what looks like an attack, from when on, and what is done then.

Pure words and numbers. Control judges by them over records, gateways by what they see themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from freehold.errors import BadInput
from freehold.spec.limits import requests_per_minute, seconds
from freehold.spec.plain import plain

Pattern = Literal["jailbreak", "key-abuse", "scraping", "extraction"]
Reaction = Literal["observe", "throttle", "lock", "renew"]
WORST: tuple[Reaction, ...] = ("observe", "throttle", "renew", "lock")
"""From the mildest on: who has to renew helps themselves, who is locked waits for somebody else."""

MANY = 10
"""Where persons are told apart, a key whose persons together have this many times as many is noticed, too;
and so many of its persons at most are told apart at a time."""
LONGEST = 86_400
"""Seconds that a rule looks back at most."""
MOST_RULES = 50

_SHARE = re.compile(r"^(\d{1,3})\s*%$", re.ASCII)


class BadShare(BadInput):
    """`{text}` is not a share"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One rule about who asks. Each field but `rule` has a default that ordinary use does not reach."""

    rule: Pattern
    """What is looked for: `jailbreak`, `key-abuse`, `scraping`, `extraction`."""
    project: str = ""
    """Whose services; empty: every project's."""
    services: tuple[str, ...] = ()
    """Which of them; empty: all."""
    after: int = 0
    """How many make it an attack; 0: as many as the rule itself has."""
    within: str = ""
    """In how long, such as `10m`; empty: as the rule itself has it."""
    share: str = ""
    """How much of what the same one asked meanwhile has to look so, such as `30%`; empty: as the rule itself
    has it. Somebody busy is not taken for an attacker for what goes wrong now and then."""
    by: Literal["person", "key"] = "person"
    """Who is counted and held: the person a request names, else the key; or always the key. Scraping is
    always counted by the key."""
    then: Reaction = "observe"
    """What is done: `observe` opens an incident, and the others do, too; `throttle` lets them ask `to` for as
    long as it `lasts`; `lock` refuses until somebody unlocks; `renew` until the key is renewed, or the token
    is a newer one."""
    to: str = "6/min"
    """How much somebody throttled may ask."""
    lasts: str = "15m"
    """For how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The same with its numbers."""

    name: Pattern
    project: str
    services: tuple[str, ...]
    after: int
    within: int
    """Seconds."""
    share: int
    """Of 100."""
    by: Literal["person", "key"]
    then: Reaction
    pace: int
    """Requests a minute."""
    lasts: int
    """Seconds."""
    said: bool
    """Whether somebody says how many, and so knows of ordinary use."""

    def covers(self, project: str, service: str) -> bool:
        """Whether it looks at this service."""
        return self.project in ("", project) and (not self.services or service in self.services)


OWN: dict[Pattern, tuple[int, str, int]] = {
    "jailbreak": (10, "10m", 30),
    "key-abuse": (50, "10m", 50),
    "scraping": (10_000, "1h", 0),
    "extraction": (500, "1h", 20),
}
"""How many, in how long, and which share of 100, where a rule does not say."""


def settled(given: Watch) -> Rule:
    """A rule with the numbers it goes by. Raises BadLimit, BadShare."""
    after, within, share = OWN[given.rule]
    return Rule(
        name=given.rule,
        project=given.project,
        services=given.services,
        after=given.after or after,
        within=seconds(given.within or within),
        share=_share(given.share) if given.share else share,
        by="key" if given.rule == "scraping" else given.by,
        then=given.then,
        pace=requests_per_minute(given.to) or 1,
        lasts=seconds(given.lasts),
        said=bool(given.after),
    )


def _share(text: str) -> int:
    found = _SHARE.match(text.strip())
    if not found or int(found[1]) > 100:
        raise BadShare(text=text[:40], why="it is a part of a hundred", hint="write it as `30%`")
    return int(found[1])


def plain_rules(rules: Sequence[Watch]) -> list[dict[str, Any]]:
    """As they are kept."""
    return [plain(rule) for rule in rules]


def rules_from(kept: Sequence[dict[str, Any]]) -> tuple[Rule, ...]:
    """What `plain_rules` kept, with its numbers."""
    return tuple(settled(Watch(**{**one, "services": tuple(one["services"])})) for one in kept)
