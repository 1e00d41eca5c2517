"""The words of a roll-out, one form each: `shadow 1d`, `canary 5% 1h` as often as wanted, `ab 50% 14d`, then
`100%`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from freehold.errors import BadInput
from freehold.spec.limits import seconds

ALL = 10_000
MOST = 4
"""Canary stages in one roll-out."""

NOT_NAMED = "the file names none"
"""Why a journey has no share of some kind, where nobody asked for it."""

_SHARE = re.compile(r"^(\d{1,3}(?:\.\d{1,2})?)\s*%$", re.ASCII)
_HINT = "write `rollout: [shadow 1d, canary 5% 1h, 100%]`"
_HINT_AB = "write `rollout: [canary 5% 1h, ab 50% 14d, 100%]`"


class BadRollout(BadInput):
    """`{word}` is no step of a roll-out"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A share of the traffic, and how long it is watched at it."""

    weight: int
    """Of 10,000; 0: a shadow, which gets copies and answers nobody."""
    seconds: int
    """0: for good."""
    ab: bool = False
    """An A/B test: the share stands for the whole time, and both versions are compared at its end."""

    @property
    def percent(self) -> str:
        """As it was written: `5`, `0.5`."""
        return f"{Decimal(self.weight) / 100:g}"


def stage(word: str) -> Stage:
    """One step: `shadow 1d`, `canary 5% 1h`, `ab 50% 14d`, or `100%`. Raises BadRollout, BadLimit."""
    parts = word.split()
    if parts[:1] == ["shadow"]:
        return _shadow(parts, word)
    if parts[:1] in (["canary"], ["ab"]):
        return _shared(parts, word)
    if _weight(word, word) != ALL:
        raise BadRollout(word=word[:40], why="a share of the traffic is called a canary", hint=_HINT)
    return Stage(weight=ALL, seconds=0)


def _shared(parts: Sequence[str], word: str) -> Stage:
    test = parts[0] == "ab"
    if len(parts) != 3:
        called, hint = ("an A/B test", _HINT_AB) if test else ("a canary", _HINT)
        raise BadRollout(word=word[:40], why=f"{called} has a share and a time", hint=hint)
    weight, span = _weight(parts[1], word), seconds(parts[2])
    if not 0 < weight < ALL:
        raise BadRollout(word=word[:40], why="its share lies between 0.01 and 99.99 %", hint=_HINT)
    if not span:
        did = "compared" if test else "watched"
        raise BadRollout(word=word[:40], why=f"it is {did} for no time at all", hint=_HINT)
    return Stage(weight=weight, seconds=span, ab=test)


def _shadow(parts: Sequence[str], word: str) -> Stage:
    if len(parts) != 2:
        raise BadRollout(word=word[:40], why="a shadow has a time, and no share", hint=_HINT)
    if not (span := seconds(parts[1])):
        raise BadRollout(word=word[:40], why="it is compared for no time at all", hint=_HINT)
    return Stage(weight=0, seconds=span)


def shadow(words: Sequence[str]) -> Stage | None:
    """The stage in which the candidate only gets copies; None where there is none."""
    return next((one for one in stages(words) if not one.weight), None)


def shares(words: Sequence[str]) -> tuple[Stage, ...]:
    """The canaries, and all of the traffic last; without an A/B test."""
    return tuple(one for one in stages(words) if one.weight and not one.ab)


def ab(words: Sequence[str]) -> Stage | None:
    """The stage in which both versions are compared; None where there is none."""
    return next((one for one in stages(words) if one.ab), None)


def stages(words: Sequence[str]) -> tuple[Stage, ...]:
    """A whole roll-out: a shadow first, canaries, an A/B test, `100%` last. Raises BadRollout, BadLimit."""
    read = tuple(stage(word) for word in words)
    weights = [one.weight for one in read]
    if not weights or weights[-1] != ALL or ALL in weights[:-1]:
        raise BadRollout(word=_joined(words), why="it ends with all of the traffic, once", hint=_HINT)
    if 0 in weights[1:]:
        raise BadRollout(word=_joined(words), why="a shadow comes first, and once", hint=_HINT)
    if any(one.ab for one in read[:-2]):
        why = "an A/B test comes last before `100%`, and once"
        raise BadRollout(word=_joined(words), why=why, hint=_HINT_AB)
    rising = [one.weight for one in read if not one.ab]
    falls = weights != sorted(weights)  # nobody leaves it: a test may keep a share
    if falls or rising != sorted(set(rising)):
        raise BadRollout(word=_joined(words), why="each share is larger than the one before", hint=_HINT)
    if len(rising) - rising.count(0) > MOST + 1:
        raise BadRollout(word=_joined(words), why=f"it has more than {MOST} canaries", hint=_HINT)
    return read


def _joined(words: Sequence[str]) -> str:
    return ", ".join(words)[:80]


def _weight(text: str, word: str) -> int:
    found = _SHARE.match(text)
    if not found or (weight := Decimal(found[1]) * 100) > ALL:
        raise BadRollout(word=word[:40], why="a share is written as `5%`", hint=_HINT)
    return int(weight)
