"""How often right, for which classes, how well ranked: figures over one set of rows, each with interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.evaluate.intervals import Measured, decimal, proportion, wilson

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a model answered to labelled rows."""

    classes: tuple[str, ...]
    """The model's classes, then any label in the data that it does not know."""
    known: int
    """How many of them the model knows."""
    truth: Whole
    """Place of each row's label in `classes`."""
    given: Whole
    """Place of each answer."""
    chances: Floats
    """Shape [rows, known]."""

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which rows were answered with their own label."""
        same: NDArray[np.bool_] = self.truth == self.given
        return same

    @property
    def confusion(self) -> Whole:
        """Rows by (label, answer)."""
        size = len(self.classes)
        flat = np.bincount(self.truth * size + self.given, minlength=size * size)
        return flat.reshape(size, size)


def accuracy(outcome: Outcome) -> Measured:
    """The share of rows answered right."""
    return proportion(int(outcome.right.sum()), len(outcome.truth))


def macro_f1(outcome: Outcome) -> Measured:
    """The unweighted mean over classes of F1 = 2 tp / (2 tp + fp + fn).

    Over the classes that occur as label or as answer. Variance by the delta method over rows (as
    Takahashi, Yamamoto, Kuchiba, Koyama 2022); the interval is Wilson's with the number of rows that
    would give the same variance, F (1 - F) / s²: at most what a mean of classes of these sizes is worth.
    """
    table = outcome.confusion
    marked = table.sum(axis=1) + table.sum(axis=0)
    used = np.flatnonzero(marked)
    scores = np.zeros(len(table))
    scores[used] = 2 * np.diag(table)[used] / marked[used]
    value = float(scores[used].mean())
    worth = len(used) ** 2 / float((2 / marked[used]).sum())
    low, high = wilson(value, _rows_like(value, _f1_pull(outcome, scores, marked) / len(used), worth))
    return Measured(value=value, low=low, high=high, method="delta method, Wilson score")


def _f1_pull(outcome: Outcome, scores: Floats, marked: Whole) -> Floats:
    """How far each row pulls the sum of the classes' F1."""
    label, answer = outcome.truth, outcome.given
    pull: Floats = 2.0 * outcome.right / marked[label] - scores[label] / marked[label]
    return pull - scores[answer] / marked[answer]


def _rows_like(value: float, pull: Floats, most: float) -> float:
    """How many rows a plain share would need for the same variance; `most` where nothing varies."""
    variance = float((pull**2).sum())
    return min(value * (1 - value) / variance, most) if variance > 0 else most


def auc(outcome: Outcome) -> Measured | None:
    """The area under the ROC curve: of the second class for two, else the mean of each against the rest.

    None when no class has both rows of its own and others. Components and variance as in DeLong, DeLong,
    Clarke-Pearson 1988, rows taken as independent; the interval is Wilson's with the number of rows that
    would give the same variance, A (1 - A) / s², so it stays within 0 and 1.
    """
    columns = [1] if outcome.known == 2 else range(outcome.known)
    areas: list[float] = []
    pull = np.zeros(len(outcome.truth))
    fewest = 0.0
    for column in columns:
        own = outcome.truth == column
        positives, negatives = int(own.sum()), int((~own).sum())
        if not positives or not negatives:
            continue
        area, components = _components(outcome.chances[:, column], own)
        areas.append(area)
        pull += components
        fewest += 1 / min(positives, negatives)
    if not areas:
        return None
    value = float(np.mean(areas))
    pull /= len(areas)
    most = float(len(pull)) if (pull**2).sum() > 0 else len(areas) ** 2 / fewest
    low, high = wilson(value, _rows_like(value, pull, most))
    return Measured(value=value, low=low, high=high, method="DeLong components, Wilson score")


def _components(scores: Floats, own: NDArray[np.bool_]) -> tuple[float, Floats]:
    """The area, and each row's part in its error: their squares sum to DeLong's variance."""
    ranks = _midranks(scores)
    m, n = int(own.sum()), int((~own).sum())
    above = (ranks[own] - _midranks(scores[own])) / n
    below = 1 - (ranks[~own] - _midranks(scores[~own])) / m
    area = float(above.mean())
    parts = np.zeros(len(scores))
    parts[own] = (above - area) / np.sqrt(m * max(m - 1, 1))
    parts[~own] = (below - area) / np.sqrt(n * max(n - 1, 1))
    return area, parts


def _midranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the middle of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks


def by_class(outcome: Outcome) -> list[dict[str, Any]]:
    """Rows, recall with interval, precision and F1 of each class, for the card."""
    table = outcome.confusion
    told = []
    for place, name in enumerate(outcome.classes):
        hits, rows, given = int(table[place, place]), int(table[place].sum()), int(table[:, place].sum())
        if not rows and not given:
            continue
        line: dict[str, Any] = {"class": name, "rows": rows, "answered": given}
        line["recall"] = proportion(hits, rows).as_card() if rows else None
        line["precision"] = decimal(hits / given) if given else None
        line["f1"] = decimal(2 * hits / (rows + given))
        told.append(line)
    return told


def mistakes(outcome: Outcome, most: int = 20) -> list[dict[str, Any]]:
    """The most frequent confusions: label, answer, rows."""
    table = outcome.confusion.copy()
    np.fill_diagonal(table, 0)
    labels, answers = np.nonzero(table)
    order = sorted(range(len(labels)), key=lambda i: (-table[labels[i], answers[i]], labels[i], answers[i]))
    return [
        {
            "label": outcome.classes[labels[i]],
            "answer": outcome.classes[answers[i]],
            "rows": int(table[labels[i], answers[i]]),
        }
        for i in order[:most]
    ]


def calibration(outcome: Outcome, bins: int = 10) -> dict[str, Any]:
    """Is it right as often as it says? Expected calibration error over equal bins of confidence.

    Naeini, Cooper, Hauskrecht 2015: the mean over rows of |share right - mean confidence| of their bin.
    """
    sure = outcome.chances.max(axis=1)
    place = np.minimum((sure * bins).astype(int), bins - 1)
    error = 0.0
    told = []
    for one in range(bins):
        inside = place == one
        rows = int(inside.sum())
        if not rows:
            continue
        said, was = float(sure[inside].mean()), float(outcome.right[inside].mean())
        error += abs(said - was) * rows / len(sure)
        told.append({"rows": rows, "confidence": decimal(said), "right": decimal(was)})
    return {"error": decimal(error), "bins": told}
