"""What is kept of MLflow's things, as frozen records. Times are microseconds UTC."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RunState = Literal["running", "scheduled", "finished", "failed", "killed"]
ModelState = Literal["pending", "ready", "failed"]

ENDED: frozenset[str] = frozenset({"finished", "failed", "killed"})
"""States of a run that is over, for now: a client may take it up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A heading for runs, in one project."""

    id: str
    project: str
    name: str
    """As the client gave it, without the project."""
    tags: Mapping[str, str]
    created_at: int
    changed_at: int
    deleted: bool

    @property
    def full_name(self) -> str:
        """`project/name`."""
        return f"{self.project}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured value."""

    key: str
    value: float
    step: int
    at: int
    model: str = ""
    """The logged model it is about, or empty."""
    dataset: str = ""
    """The client's digest of the data it was measured on, or empty."""
    dataset_name: str = ""

    @property
    def stored(self) -> tuple[float, str]:
        """A number every database compares, and the word for what is no number."""
        if math.isnan(self.value):
            return 0.0, "NaN"
        if math.isinf(self.value):
            return math.copysign(
                sys.float_info.max, self.value
            ), "Infinity" if self.value > 0 else "-Infinity"
        return float(self.value), ""


def value_of(value: float, special: str) -> float:
    """What `Point.stored` took apart."""
    return float(special) if special else value


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHead:
    """A run without its words and metrics: enough to ask whether somebody may see it."""

    id: str
    experiment: str
    project: str
    owner: str
    state: RunState
    digest: str | None
    started_at: int
    ended_at: int | None
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as MLflow shows it."""

    head: RunHead
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[Point, ...]
    """The latest point of each."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """`datasets`, `models` in, `outputs` out, as the client wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """Files of a model that a client logged: foreign, kept sealed, never loaded."""

    id: str
    experiment: str
    project: str
    run: str | None
    owner: str
    state: ModelState
    digest: str | None
    pickled: bool
    created_at: int
    changed_at: int
    deleted: bool
    name: str
    type: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: tuple[tuple[str, Point], ...] = ()
    """(run, point) of what was measured on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A name for foreign models, in one project."""

    id: str
    project: str
    name: str
    description: str
    tags: Mapping[str, str]
    aliases: Mapping[str, int]
    created_at: int
    changed_at: int

    @property
    def full_name(self) -> str:
        """`project.name`: with a slash MLflow's own references could not name it."""
        return f"{self.project}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered name: files that do not change any more."""

    id: str
    registered: Registered
    version: int
    owner: str
    of: str
    run: str | None
    source: str
    folder: str
    """Where below `of` its files are."""
    digest: str
    pickled: bool
    description: str
    tags: Mapping[str, str]
    created_at: int
    changed_at: int

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases that point here."""
        return tuple(sorted(a for a, v in self.registered.aliases.items() if v == self.version))
