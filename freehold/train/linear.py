"""Columns: logistic regression over standardised numbers and one place per category."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from freehold.engines.features import ColumnFeatures
from freehold.engines.rows import Rows
from freehold.screen.domain import learn
from freehold.spec.domain import told
from freehold.train import graphs
from freehold.train.trained import CannotLearn, Floats, Lesson, Say, Trained, softmax, two_sided


def fit(lesson: Lesson, say: Say) -> Trained:
    """Learn the categories, standardise, fit, write the graph. Raises CannotLearn without any input."""
    say("columns")
    features = learn_columns(lesson)
    raw = features.read(lesson.rows.columns, len(lesson.rows))
    scaling = _scaling(raw, len(features.numbers))
    say("fit")
    model = LogisticRegression(
        C=lesson.settings["strength"], class_weight=lesson.weighting, max_iter=2000, tol=1e-6
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(_standardised(raw, scaling), lesson.y)
    return Trained(
        files={"model.onnx": _graph(scaling, model), **features.files()},
        features=about_columns(lesson),
        scores=_scores(features, scaling, model),
        notes={
            **describe(features, raw),
            "converged": not any(issubclass(w.category, ConvergenceWarning) for w in said),
        },
    )


def learn_columns(lesson: Lesson) -> ColumnFeatures:
    """The columns as numbers. Raises CannotLearn when none says anything."""
    features = ColumnFeatures.learn(
        lesson.inputs,
        lesson.rows.columns,
        min_count=int(lesson.settings["min_count"]),
        max_categories=int(lesson.settings["max_categories"]),
    )
    if not features.width:
        raise CannotLearn(
            why=f"no category stands in {lesson.settings['min_count']} rows, and there are no numbers",
            hint="lower `min_count`, or name other `features`",
        )
    return features


def about_columns(lesson: Lesson) -> dict[str, Any]:
    """For `About.features`: with the domain, by which the gateway knows what it was trained on."""
    return {"kind": "columns", "domain": told(learn(lesson.inputs, lesson.rows.columns))}


def describe(features: ColumnFeatures, raw: Floats) -> dict[str, Any]:
    """For the report: how wide a row is, where values are missing, which columns say nothing."""
    numbers = raw[:, : len(features.numbers)]
    missing = np.isnan(numbers).sum(axis=0)
    return {
        "width": features.width,
        "missing": {n: int(c) for n, c in zip(features.numbers, missing, strict=True) if c},
        "without_frequent_values": [column for column, values in features.categories if not values],
    }


def _scaling(raw: Floats, numbers: int) -> graphs.Scaling:
    """Means and standard deviations of what is known; a column that never varies keeps its scale."""
    if not numbers:
        return graphs.Scaling(numbers=0, mean=np.zeros(0), scale=np.ones(0))
    with warnings.catch_warnings():  # a column without one known value: its mean is taken as 0
        warnings.simplefilter("ignore", RuntimeWarning)
        scaler = StandardScaler().fit(raw[:, :numbers])
    known = ~np.isnan(scaler.mean_)
    return graphs.Scaling(
        numbers=numbers,
        mean=np.where(known, scaler.mean_, 0.0),
        scale=np.where(known, scaler.scale_, 1.0),
    )


def _standardised(raw: Floats, scaling: graphs.Scaling) -> Floats:
    ready = raw.copy()
    numbers = ready[:, : scaling.numbers]
    known = np.where(np.isnan(numbers), scaling.mean, numbers)
    ready[:, : scaling.numbers] = (known - scaling.mean) / scaling.scale
    return ready


def _scores(
    features: ColumnFeatures, scaling: graphs.Scaling, model: LogisticRegression
) -> Callable[[Rows], tuple[Floats, Floats]]:
    def scores(rows: Rows) -> tuple[Floats, Floats]:
        ready = _standardised(features.read(rows.columns, len(rows)), scaling)
        raw = two_sided(model.decision_function(ready))
        return raw, softmax(raw)

    return scores


def _graph(scaling: graphs.Scaling, model: LogisticRegression) -> bytes:
    return graphs.linear(scaling, model.coef_.T, model.intercept_)
