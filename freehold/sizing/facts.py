"""Figures with label, source and date. Users' own take the place of those that come with Freehold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from freehold.errors import BadInput
from freehold.spec.yaml import read

OLD = 90
"""Days after which a figure is called old."""
DEVICE = ("memory_gb", "bandwidth_gb_s", "tflops", "watts", "link_gb_s", "rent")
"""What has to be known of an accelerator."""
SHARES = (
    *("serve.prefill_efficiency", "serve.decode_efficiency", "serve.utilisation", "serve.mark"),
    *("train.mfu", "train.mfu_large", "train.overlap", "network.efficiency", "storage.usable"),
    *("api.cached", "energy.draw", "own.residual", "house.core_use", "cloud.committed"),
)
"""Facts that are a share: above 1 they would be percent, and a plan absurd."""
OWN_SHARES = (".mfu", ".decode_efficiency", ".prefill_efficiency", ".draw")
"""Those of a device, `device.NAME.mfu`."""
LABELS = ("measured", "derived", "estimated")
SPREAD = {"measured": 0.05, "derived": 0.15, "estimated": 0.30}
"""How far from the truth a figure is taken to be where no range is given with it."""


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
    low: float
    """The range it lies in: as its sources say, else by its label."""
    high: float
    unsourced: bool = False
    """Nobody confirmed it yet: whoever shows it says so."""

    def age(self, today: dt.date) -> int:
        """Days."""
        return (today - self.as_of).days


class Facts:
    """Figures by name; remembers which were asked for, so that a plan can show what it stands on."""

    def __init__(self, known: Mapping[str, Fact], remarks: Iterable[str] = ()) -> None:
        self._known = dict(known)
        self._remarks = tuple(remarks)
        self._numbered: dict[str, list[tuple[int, str]]] | None = None
        self.used: dict[str, Fact] = {}

    def __call__(self, name: str) -> float:
        """The value. Raises BadFact when there is none of that name."""
        fact = self._known.get(name)
        if fact is None:
            raise BadFact(name=name, why="nothing of that name is known", hint="add it with --facts FILE")
        self.used[name] = fact
        return fact.value

    def get(self, name: str) -> float | None:
        """The value, or none where there is none of that name."""
        return self(name) if name in self._known else None

    def at_numbers(self, stem: str) -> tuple[tuple[int, float], ...]:
        """(8, value of `STEM.8`), … in the order of the numbers; empty where there are none."""
        if self._numbered is None:
            self._numbered = {}
            for name in self._known:
                if number := _number_of(name):
                    self._numbered.setdefault(stem_of(name), []).append((number, name))
        return tuple((number, self(name)) for number, name in sorted(self._numbered.get(stem, ())))

    def instead(self, name: str, value: float) -> Facts:
        """The same facts with one of them another; what was asked for is remembered apart."""
        return Facts({**self._known, name: replace(self._known[name], value=value)})

    def with_(self, facts: Iterable[Fact], remarks: Iterable[str] = ()) -> Facts:
        """The same facts with others in place of theirs, or beside them; `remarks` are what to warn of."""
        known = {**self._known, **{fact.name: fact for fact in facts}}
        return Facts(known, (*self._remarks, *remarks))

    def devices(self) -> list[str]:
        """The accelerators that can be planned with, by name: all that a plan asks of them is known."""
        return [name for name, lacks in self._devices().items() if not lacks]

    def _devices(self) -> dict[str, list[str]]:
        """What of each accelerator is not known."""
        names = sorted({name.split(".")[1] for name in self._known if name.startswith("device.")})
        return {n: [part for part in DEVICE if f"device.{n}.{part}" not in self._known] for n in names}

    def warnings(self, today: dt.date) -> list[str]:
        """What a reader has to know: devices that are told by halves, and figures used that are old."""
        old = sorted((f for f in self.used.values() if f.age(today) > OLD), key=lambda f: (f.as_of, f.name))
        missing = [
            f"device.{name} is not planned with: it lacks {', '.join(lacks)}"
            for name, lacks in self._devices().items()
            if lacks
        ]
        return [
            *self._remarks,
            *missing,
            *(f"{fact.name} is {fact.age(today)} days old: check it" for fact in old),
        ]


def load(*own: str) -> Facts:
    """The shipped figures, those in `own` (YAML texts of the same shape) in place of them. Raises BadFact."""
    known = dict(_shipped())
    for text in own:
        said = _read(text) if text.strip() else {}
        stems = {stem_of(name) for name in said}
        # one for all numbers goes before those of each, and the other way round, whoever said it last
        known = {n: f for n, f in known.items() if n not in stems and stem_of(n) not in said} | said
    return Facts(known)


@cache
def _shipped() -> Mapping[str, Fact]:
    return _read(files("freehold.sizing").joinpath("facts.yaml").read_text(encoding="utf-8"))


def _read(text: str) -> dict[str, Fact]:
    said = read(text).value
    if not isinstance(said, dict):
        raise BadFact(
            name=text.strip().splitlines()[0][:40],
            why="a file of facts is a list of names with their figures",
            hint="`storage.read_gb_s: {value: 2.1, label: measured, as_of: 2026-11-20, source: our disks}`",
        )
    return {name: _fact(str(name), one) for name, one in said.items()}


def _fact(name: str, said: Any) -> Fact:
    hint = "write `{value: 2.95, label: estimated, as_of: 2026-10-01, source: where it stands}`"
    if not isinstance(said, dict) or not {"value", "label", "as_of", "source"} <= said.keys():
        raise BadFact(name=name, why="it lacks value, label, as_of or source", hint=hint)
    if said["label"] not in LABELS:
        raise BadFact(name=name, why=f"its label is none of: {', '.join(LABELS)}", hint=hint)
    unknown = said.keys() - {"value", "low", "high", "label", "as_of", "source", "unsourced"}
    if unknown:
        raise BadFact(name=name, why=f"there is no such field: {sorted(map(str, unknown))[0]}", hint=hint)
    try:
        value, as_of = float(said["value"]), dt.date.fromisoformat(str(said["as_of"]))
        low, high = _range(name, value, said)
    except (TypeError, ValueError) as error:
        raise BadFact(name=name, why="value is no number, or as_of no date", hint=hint) from error
    if not value > 0 or value == float("inf"):
        raise BadFact(name=name, why="its value is not above 0", hint=hint)
    if not 0 < low <= value <= high < float("inf"):
        raise BadFact(name=name, why="it does not lie between its low and its high", hint=hint)
    if high > 1 and is_share(name):
        why = f"it is a share, and {high:g} is above 1"
        raise BadFact(name=name, why=why, hint="40 % is written 0.4")
    return Fact(
        name=name,
        value=value,
        label=str(said["label"]),
        source=str(said["source"]),
        as_of=as_of,
        low=low,
        high=high,
        unsourced=bool(said.get("unsourced", False)),
    )


def _range(name: str, value: float, said: Mapping[str, Any]) -> tuple[float, float]:
    by_label = SPREAD[said["label"]] * value
    above = value + by_label
    if is_share(name) and value <= 1:
        above = min(1.0, above)
    return float(said.get("low", value - by_label)), float(said.get("high", above))


def is_share(name: str) -> bool:
    """Whether a fact is a part of a whole: none is more than 1."""
    stem = stem_of(name)
    return stem in SHARES or stem.endswith(OWN_SHARES)


def stem_of(name: str) -> str:
    """`serve.decode_efficiency` of `serve.decode_efficiency.8`; others as they are."""
    return name.rpartition(".")[0] if _number_of(name) else name


def _number_of(name: str) -> int:
    last = name.rpartition(".")[2]
    return int(last) if last.isdecimal() and len(last) < 10 else 0
