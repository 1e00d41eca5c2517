"""In which order rows are learned from: each row has its slot in every epoch, whoever else is there.

A slot is a batch of an epoch. Which one a row has follows from the seed, the epoch and the row itself,
so that taking a row out leaves its place empty and moves nobody: the same plan with a hole. Everything
about the rows as a whole that a training depends on (how many batches there are, for which lengths, the
classes and their weights) is written into the plan once, and given back to a training that has to
follow it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from freehold.errors import BadInput
from freehold.spec.ids import canonical, digest

FILE = "plan.json"
_LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192)


class PlanUnusable(BadInput):
    """the plan of an earlier training does not fit"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Rows of similar length go together, so that little is padded."""

    longest: int
    """Tokens."""
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the order and the size of a training depend on, without a word about any row."""

    seed: int
    epochs: int
    batch_size: int
    """Rows of a batch on average: sizes vary, as each row is drawn for itself."""
    bands: tuple[Band, ...]
    classes: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    """What a row of each class counts, decimal text."""
    scale: int = 0
    """Generators: tokens that are learned from in a batch, on average; each token counts 1/scale."""

    @property
    def steps(self) -> int:
        """Slots of the whole training."""
        return self.epochs * self.batches

    @property
    def batches(self) -> int:
        """Slots of an epoch."""
        return sum(band.batches for band in self.bands)

    @property
    def digest(self) -> str:
        """By which a run cites its plan."""
        return digest(asdict(self))

    def as_file(self) -> bytes:
        """`plan.json`."""
        return canonical(asdict(self))


def read(data: bytes) -> Plan:
    """Read what `as_file` wrote. Raises PlanUnusable."""
    try:
        said: dict[str, Any] = json.loads(data)
        bands = tuple(Band(**band) for band in said.pop("bands"))
        classes, weights = tuple(said.pop("classes")), tuple(said.pop("weights"))
        return Plan(bands=bands, classes=classes, weights=weights, **said)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanUnusable(why=f"`{FILE}` cannot be read") from error


def make(*, seed: int, epochs: int, batch_size: int, lengths: Sequence[int]) -> Plan:
    """A plan for rows of these lengths in tokens. A band has a whole batch of rows, if there are so many."""
    counts = Counter(next(most for most in (*_LENGTHS, length) if length <= most) for length in lengths)
    bands: list[Band] = []
    waiting = 0
    for most in sorted(counts):
        waiting += counts[most]
        if waiting >= batch_size:
            bands.append(Band(longest=most, batches=round(waiting / batch_size)))
            waiting = 0
    if waiting:
        longest = max(counts)
        if bands:  # too few of the longest rows for a band of their own
            last = bands.pop()
            more = round(last.batches + waiting / batch_size)
            bands.append(Band(longest=longest, batches=more))
        else:
            bands.append(Band(longest=longest, batches=1))
    return Plan(seed=seed, epochs=epochs, batch_size=batch_size, bands=tuple(bands))


def with_classes(plan: Plan, labels: Sequence[str], *, balanced: bool) -> Plan:
    """The same with the classes of these labels; balanced, each class counts the same."""
    counts = Counter(labels)
    classes = tuple(sorted(counts))
    shares = [len(labels) / (len(classes) * counts[name]) if balanced else 1.0 for name in classes]
    return replace(plan, classes=classes, weights=tuple(f"{share:.9g}" for share in shares))


def with_scale(plan: Plan, learned: Sequence[int]) -> Plan:
    """The same for a generator, from how many tokens of each row are learned."""
    return replace(plan, scale=max(1, round(sum(learned) / plan.batches)))


def names(keys: Sequence[str], contents: Sequence[Sequence[str]]) -> list[str]:
    """A name for each row, from its key and content; equal rows are told apart by their number.

    Which of several equal rows goes does not matter: those that stay have the names of the first ones.
    """
    seen: Counter[str] = Counter()
    found = []
    for key, content in zip(keys, contents, strict=True):
        said = hashlib.sha256(json.dumps([key, *content]).encode()).hexdigest()
        found.append(f"{said}/{seen[said]}")
        seen[said] += 1
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One batch: where in the training it is, and the rows it has; none when all are gone."""

    step: int
    """From 0, empty slots included."""
    epoch: int
    rows: tuple[int, ...]
    """Places in the sequence that was given."""


def walk(plan: Plan, rows: Sequence[str], lengths: Sequence[int], *, start: int = 0) -> Iterator[Slot]:
    """Every slot from step `start` on, in order. `rows` are names. Raises PlanUnusable.

    An epoch's slots come in an order of their own, so that short and long rows mix.
    """
    bands = [_band(plan, length) for length in lengths]
    for epoch in range(start // max(plan.batches, 1), plan.epochs):
        held = _deal(plan, epoch, rows, bands)
        places = [(b, n) for b, band in enumerate(plan.bands) for n in range(band.batches)]
        places.sort(key=lambda place: _draw(plan, epoch, "order", f"{place[0]}/{place[1]}"))
        for number, place in enumerate(places):
            step = epoch * plan.batches + number
            if step >= start:
                yield Slot(step=step, epoch=epoch, rows=tuple(held.get(place, ())))


def _deal(
    plan: Plan, epoch: int, rows: Sequence[str], bands: Sequence[int]
) -> Mapping[tuple[int, int], Sequence[int]]:
    """(band, batch) -> places of its rows, in an order that follows from each row alone."""
    drawn = [_draw(plan, epoch, "row", name) for name in rows]
    held: dict[tuple[int, int], list[int]] = {}
    for place in sorted(range(len(rows)), key=lambda place: (drawn[place], rows[place])):
        band = bands[place]
        held.setdefault((band, drawn[place] % plan.bands[band].batches), []).append(place)
    return held


def _draw(plan: Plan, epoch: int, use: str, name: str) -> int:
    said = hashlib.sha256(f"{plan.seed}/{epoch}/{use}/{name}".encode()).digest()
    return int.from_bytes(said[:8], "big")


def _band(plan: Plan, length: int) -> int:
    for place, band in enumerate(plan.bands):
        if length <= band.longest:
            return place
    raise PlanUnusable(
        why=f"a row has {length} tokens, and the longest it knows had {plan.bands[-1].longest}",
        hint="a plan is only followed with the rows it was made for, or fewer",
    )
