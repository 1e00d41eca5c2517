"""Figures with label, source and date. Users' own take the place of those that come with Freehold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from freehold.errors import BadInput
from freehold.spec.yaml import read

OLD = 90
"""Days after which a figure is called old."""
LABELS = ("measured", "derived", "estimated")


class BadFact(BadInput):
    """the fact `{name}` cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure."""

    name: str
    value: float
    label: str
    """measured | derived | estimated"""
    source: str
    as_of: dt.date
    unsourced: bool = False
    """Nobody confirmed it yet: whoever shows it says so."""

    def age(self, today: dt.date) -> int:
        """Days."""
        return (today - self.as_of).days


class Facts:
    """Figures by name; remembers which were asked for, so that a plan can show what it stands on."""

    def __init__(self, known: Mapping[str, Fact]) -> None:
        self._known = dict(known)
        self.used: dict[str, Fact] = {}

    def __call__(self, name: str) -> float:
        """The value. Raises BadFact when there is none of that name."""
        fact = self._known.get(name)
        if fact is None:
            raise BadFact(name=name, why="nothing of that name is known", hint="add it with --facts FILE")
        self.used[name] = fact
        return fact.value

    def devices(self) -> list[str]:
        """The accelerators that are known, by name."""
        return sorted({name.split(".")[1] for name in self._known if name.startswith("device.")})

    def warnings(self, today: dt.date) -> list[str]:
        """What a reader has to know of the figures used: prices that are old."""
        old = [f for f in self.used.values() if _is_price(f.name) and f.age(today) > OLD]
        return [f"{fact.name} is {fact.age(today)} days old: check it" for fact in old]


def _is_price(name: str) -> bool:
    return name.endswith(".rent") or (name.startswith("api.") and name.endswith((".in", ".out")))


def load(own: str = "") -> Facts:
    """The shipped figures, those in `own` (YAML text of the same shape) in place of them. Raises BadFact."""
    shipped = _shipped()
    return Facts({**shipped, **(_read(own) if own else {})})


@cache
def _shipped() -> Mapping[str, Fact]:
    return _read(files("freehold.sizing").joinpath("facts.yaml").read_text(encoding="utf-8"))


def _read(text: str) -> dict[str, Fact]:
    said = read(text).value
    if not isinstance(said, dict):
        raise BadFact(name="(file)", why="it is no list of `name: {value: …}`")
    return {name: _fact(str(name), one) for name, one in said.items()}


def _fact(name: str, said: Any) -> Fact:
    hint = "write `{value: 2.95, label: estimated, as_of: 2026-10-01, source: where it stands}`"
    if not isinstance(said, dict) or not {"value", "label", "as_of", "source"} <= said.keys():
        raise BadFact(name=name, why="it lacks value, label, as_of or source", hint=hint)
    if said["label"] not in LABELS:
        raise BadFact(name=name, why=f"its label is none of: {', '.join(LABELS)}", hint=hint)
    try:
        value, as_of = float(said["value"]), dt.date.fromisoformat(str(said["as_of"]))
    except ValueError as error:
        raise BadFact(name=name, why="value is no number, or as_of no date", hint=hint) from error
    if not value > 0 or value == float("inf"):
        raise BadFact(name=name, why="its value is not above 0", hint=hint)
    return Fact(
        name=name,
        value=value,
        label=str(said["label"]),
        source=str(said["source"]),
        as_of=as_of,
        unsourced=bool(said.get("unsourced", False)),
    )
