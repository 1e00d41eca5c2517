"""One number that makes a classifier's scores into honest probabilities (temperature scaling).

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, section 4.2; the
targets are softened as in Platt 1999, so that rows which are all right do not ask for certainty.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from freehold.spec.split import share_of
from freehold.train.trained import Floats, Lesson, softmax

SHARE = 0.2
FEWEST = 30
LOWEST, HIGHEST = 0.05, 50.0

Fit = Callable[[NDArray[np.int64]], Callable[[NDArray[np.int64]], Floats]]
"""Train on the rows at these places; gives a function from places to scores [rows, classes]."""


def learn(lesson: Lesson, fit: Fit) -> float | None:
    """The scale, learned on training rows that a second model did not see; None with too few rows.

    Which rows those are follows from each row's key alone, as the split itself does.
    """
    aside = np.array([share_of(key, lesson.seed, "calibration") < SHARE for key in lesson.rows.keys])
    asked, shown = np.flatnonzero(aside), np.flatnonzero(~aside)
    y = lesson.y
    if len(asked) < FEWEST or len(set(y[shown].tolist())) < len(lesson.classes):
        return None  # a class would be missing from the second model, and its scores with it
    return best_scale(fit(shown)(asked), y[asked])


def best_scale(scores: Floats, y: NDArray[np.int64]) -> float:
    """The s for which softmax(s * scores) has the least cross-entropy against softened labels.

    Cross-entropy is convex in s, so its slope changes sign once: found by halving the interval.
    """
    rows, classes = scores.shape
    soft = 1 / (rows + 2)
    target = np.full_like(scores, soft / classes)
    target[np.arange(rows), y] += 1 - soft
    low, high = LOWEST, HIGHEST
    for _ in range(60):
        middle = (low + high) / 2
        slope = float(((softmax(middle * scores) - target) * scores).sum())
        low, high = (low, middle) if slope > 0 else (middle, high)
    return (low + high) / 2
