"""Fitting the gate's table: a logistic regression over the very features that the gate reads at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from templates import ATTACKS, HONEST, SLOTS, filled

from freehold.screen.injection import BITS, Gate, features, windows
from freehold.screen.normal import normalize

PER_ATTACK, PER_HONEST = 30, 12


def fit(attacks: Sequence[str], honest: Sequence[str], *, strength: float = 10.0) -> Gate:
    """A gate that has learned from these texts; its thresholds are still to be set."""
    rows, marks = [], []
    for texts, mark in ((attacks, 1), (honest, 0)):
        for text in texts:
            for window in windows(normalize(text).text):
                rows.append(features(window))
                marks.append(mark)
    model = LogisticRegression(C=strength, class_weight="balanced", solver="liblinear", random_state=7)
    model.fit(_matrix(rows), np.array(marks))
    weights = model.coef_[0]
    scale = float(np.quantile(np.abs(weights[weights != 0]), 0.9995)) / 127
    small = np.clip(np.round(weights / scale), -127, 127).astype(np.int8)
    return Gate(
        weights=small.tobytes(), scale=scale, bias=float(model.intercept_[0]), flag=1.0, refuse=1.0, about=""
    )


def _matrix(rows: Sequence[set[int]]) -> csr_matrix:
    starts = np.cumsum([0, *(len(row) for row in rows)])
    places = np.fromiter(
        (place for row in rows for place in sorted(row)), dtype=np.int32, count=int(starts[-1])
    )
    values = np.concatenate([np.full(len(row), 1 / np.sqrt(max(1, len(row)))) for row in rows])
    return csr_matrix((values, places, starts), shape=(len(rows), 1 << BITS))


def short_attacks(
    templates: Sequence[str] = ATTACKS, slots: Mapping[str, Sequence[str]] = SLOTS
) -> list[str]:
    """Overrides in one line."""
    return [text for template in templates for text in filled(template, PER_ATTACK, 1, slots)]


def short_honest(templates: Sequence[str] = HONEST) -> list[str]:
    """Honest lines with the same words."""
    return [text for template in templates for text in filled(template, PER_HONEST, seed=2)]
