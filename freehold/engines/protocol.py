"""What every engine can do: load a verified package, say what it is, answer, close.

One conformance suite (`tests/conformance/test_engines.py`) runs over all implementations. Powers that
only some engines have become protocols of their own beside this one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from freehold.errors import BadInput, Unavailable
from freehold.spec.model import About

Value = str | float | int | bool | None
"""One cell of a request. None is "not known": an empty text, a missing number."""

Columns = Mapping[str, Sequence[Value]]
"""A request: one sequence per input, all of the same length."""


class CannotAnswer(BadInput):
    """the model cannot read this request"""


class EngineClosed(Unavailable):
    """the engine was closed"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One answer per row of the request."""

    classes: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    """Shape [rows, classes], in the order of `About.classes`; each row sums to 1."""
    cut: int = 0
    """How many rows held more text than the model reads (`About.features` says how much)."""

    @property
    def confidence(self) -> tuple[float, ...]:
        """The probability of the class that was given."""
        return tuple(max(row) for row in self.probabilities)


class Engine(Protocol):
    """Something that runs one model."""

    @classmethod
    def load(cls, about: About, files: Mapping[str, bytes]) -> Self:
        """Make an engine of a model's files, as bytes that were verified already.

        Raises ModelUnreadable when the files do not fit together.
        """

    def metadata(self) -> About:
        """What it is: inputs, classes, where it comes from."""

    def infer(self, columns: Columns) -> Answers:
        """One answer per row. Raises CannotAnswer (the request is wrong) or EngineClosed."""

    def close(self) -> None:
        """Give back memory; closing twice is fine."""


class ModelUnreadable(Unavailable):
    """the files of the model do not fit together"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """An answer that was written to its end."""

    text: str
    tokens: tuple[int, ...]
    """All that were produced, the end token included."""
    logprobs: tuple[float, ...]
    """Of each of them, natural logarithm, under the model itself."""
    ended: bool
    """Whether it ended by itself; else it was cut off at the most tokens it might have."""


class Generator(Protocol):
    """Something that writes text, one model version; training and evaluation ask it so."""

    def metadata(self) -> About:
        """What it is: its base, its end tokens, its template."""

    def complete(
        self, prompts: Sequence[Sequence[Mapping[str, str]]], max_tokens: int
    ) -> tuple[Completed, ...]:
        """Greedy answers to conversations (`role` and `content`). Raises CannotAnswer or EngineClosed."""

    def losses(
        self, pairs: Sequence[tuple[Sequence[Mapping[str, str]], str]]
    ) -> tuple[tuple[float, int], ...]:
        """For each conversation and its right answer: the sum of -log p of the answer's tokens, the end
        token included, and how many these are."""

    def close(self) -> None:
        """Give back memory; closing twice is fine."""


def check(about: About, columns: Columns) -> int:
    """How many rows a request has. Raises CannotAnswer when its columns are not the model's inputs."""
    known = {column.name: column.datatype for column in about.inputs}
    if missing := [name for name in known if name not in columns]:
        raise CannotAnswer(why=f"the input `{missing[0]}` is missing", hint=_inputs(about))
    if unknown := [name for name in columns if name not in known]:
        raise CannotAnswer(why=f"`{unknown[0][:80]}` is no input of this model", hint=_inputs(about))
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise CannotAnswer(
            why="every input must have the same number of values, one or more",
            hint="one value per row: shape [rows]",
        )
    for name, values in columns.items():
        _check_values(name, known[name], values)
    return lengths.pop()


_PYTHON: dict[str, tuple[type, ...]] = {
    "BYTES": (str,),
    "FP64": (float, int),
    "INT64": (int,),
    "BOOL": (bool,),
}


def _check_values(name: str, datatype: str, values: Sequence[Value]) -> None:
    allowed = _PYTHON[datatype]
    for value in values:
        if value is None:
            continue
        if not isinstance(value, allowed) or (isinstance(value, bool) and datatype != "BOOL"):
            raise CannotAnswer(why=f"the input `{name}` takes {datatype}, and one of its values is none")
        if isinstance(value, int | float) and not _fits(value):
            raise CannotAnswer(why=f"a value of the input `{name}` is outside the range of {datatype}")


def _fits(value: int | float) -> bool:
    """INT64 for whole numbers, finite or NaN (not known) for others."""
    return -(2**63) <= value < 2**63 if isinstance(value, int) else not math.isinf(value)


def _inputs(about: About) -> str:
    return "its inputs are " + ", ".join(f"`{c.name}` ({c.datatype})" for c in about.inputs)
