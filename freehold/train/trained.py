"""What every trainer takes and gives, and the table of trainers: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from freehold.engines.rows import Rows
from freehold.errors import BadInput
from freehold.jobs.folder import SUPPOSED, JobFolder
from freehold.spec.snapshot import Column
from freehold.train.settings import Scalar
from freehold.train.slots import Plan

Floats = NDArray[np.float64]
Precision = Literal["double", "single"]
Say = Callable[[str], None]
"""Tells people which stage it is at: a fixed word."""

TRAINERS = {
    ("classify", "linear"): "freehold.train.text:fit",
    ("tabular", "linear"): "freehold.train.linear:fit",
    ("tabular", "boosting"): "freehold.train.boosting:fit",
    ("classify", "lora"): "freehold.train.tune_classify:fit",
    ("classify", "head"): "freehold.train.tune_classify:fit",
    ("generate", "lora"): "freehold.train.tune_generate:fit",
}
"""(task, trainer) -> where its `fit(Lesson, Say) -> Trained` is; loaded when it is asked for."""


class CannotLearn(BadInput):
    """there is nothing to learn from this data"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a long training has at hand besides its rows."""

    folder: JobFolder
    """For progress and checkpoints; `inputs/base/` holds the base model."""
    asked: str
    """The digest of the run's specification: a checkpoint of another one is not gone on from."""
    tune: str
    """`lora` or `head`."""
    base: str
    """The digest that the base model in `inputs/base/` must have."""
    threads: int = 1
    breaks_every: float = SUPPOSED
    """Mean seconds until an attempt breaks off: how often checkpoints are written follows from it."""
    plan: Plan | None = None
    """The plan of an earlier training that is to be followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a trainer gets: training rows only, each with a label."""

    rows: Rows
    inputs: tuple[Column, ...]
    classes: tuple[str, ...]
    """Sorted; every one stands in some row. None for a generator."""
    settings: Mapping[str, Scalar]
    work: Work | None = None
    """For trainers that tune a base model."""

    @property
    def y(self) -> NDArray[np.int64]:
        """The label of each row as its place in `classes`."""
        place = {name: index for index, name in enumerate(self.classes)}
        return np.array([place[label] for label in self.rows.labels if label is not None], dtype=np.int64)

    @property
    def weighting(self) -> str | None:
        """scikit-learn's word for counting each class the same."""
        return "balanced" if self.settings["balanced"] else None

    @property
    def seed(self) -> int:
        """Every draw follows from it."""
        return int(self.settings["seed"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a trainer gives back."""

    files: Mapping[str, bytes]
    """`model.onnx` and what the features learned; of a generator its adapter and its words."""
    features: dict[str, Any]
    """For `About.features`."""
    scores: Callable[[Rows], tuple[Floats, Floats]] | None = None
    """The trained model itself, not the exported one: (scores, probabilities), each [rows, classes]."""
    losses: Callable[[Rows], list[tuple[int, float, int]]] | None = None
    """The same of a generator: (place of the row, sum of -log p of its answer, tokens of it)."""
    precision: Precision = "double"
    """In which it computes: decides how close the export has to come."""
    curve: list[list[str]] = field(default_factory=list)
    """[step, loss, gradient norm, learning rate] as decimal text, 2,000 points at most."""
    step_seconds: float | None = None
    """The median of what a step took; None where it is not trained in steps."""
    pace: tuple[float, ...] = ()
    """Tokens a second: of all steps, then of each fifth of them."""
    operations: float = 0.0
    """Floating-point ones that a token takes in a step; 0 where no step reads tokens."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What a reader should know, such as `converged`: for the report, decimals as text."""


def trainer(task: str, name: str) -> Callable[[Lesson, Say], Trained]:
    """The trainer's `fit`."""
    module, _, attribute = TRAINERS[task, name].partition(":")
    fit: Callable[[Lesson, Say], Trained] = getattr(import_module(module), attribute)
    return fit


def softmax(scores: Floats) -> Floats:
    """Rows that sum to 1; shifted by the row's maximum, so that nothing overflows."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    total: Floats = raised / raised.sum(axis=1, keepdims=True)
    return total


def two_sided(raw: Floats) -> Floats:
    """One score for two classes becomes two, the first class at 0; others stay as they are."""
    if raw.ndim == 1:
        raw = raw.reshape(-1, 1)
    return np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
