"""Columns: gradient boosting over histograms. Missing numbers go the way that fitted best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from freehold.engines.features import ColumnFeatures
from freehold.engines.rows import Rows
from freehold.train import graphs
from freehold.train.linear import about_columns, describe, learn_columns
from freehold.train.trained import Floats, Lesson, Say, Trained, softmax, two_sided


def fit(lesson: Lesson, say: Say) -> Trained:
    """Learn the categories, grow the trees, write them down. Raises CannotLearn without any input."""
    say("columns")
    features = learn_columns(lesson)
    raw = features.read(lesson.rows.columns, len(lesson.rows))
    say("fit")
    model = _booster(lesson).fit(raw, lesson.y)
    baseline = np.asarray(model._baseline_prediction, dtype=np.float64).ravel()
    return Trained(
        files={
            "model.onnx": graphs.trees(_trees(model), baseline, features.width),
            **features.files(),
        },
        features=about_columns(lesson),
        scores=_scores(features, model),
        notes=describe(features, raw),
    )


def _booster(lesson: Lesson) -> HistGradientBoostingClassifier:
    """Early stopping is off: it would tie how long it trains to which rows happen to be there."""
    s = lesson.settings
    return HistGradientBoostingClassifier(
        max_iter=int(s["trees"]),
        learning_rate=float(s["learning_rate"]),
        max_leaf_nodes=int(s["leaves"]),
        min_samples_leaf=int(s["min_leaf"]),
        l2_regularization=float(s["l2"]),
        class_weight=lesson.weighting,
        early_stopping=False,
        random_state=lesson.seed,
    )


def _trees(model: HistGradientBoostingClassifier) -> list[graphs.Tree]:
    """scikit-learn's node tables, round by round, class by class."""
    return [
        _tree(predictor.nodes, target)
        for round_ in model._predictors
        for target, predictor in enumerate(round_)
    ]


def _tree(nodes: Any, target: int) -> graphs.Tree:
    return graphs.Tree(
        target=target,
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        leaf=nodes["is_leaf"].astype(bool),
        value=nodes["value"].astype(np.float64),
    )


def _scores(
    features: ColumnFeatures, model: HistGradientBoostingClassifier
) -> Callable[[Rows], tuple[Floats, Floats]]:
    def scores(rows: Rows) -> tuple[Floats, Floats]:
        raw = two_sided(model.decision_function(features.read(rows.columns, len(rows))))
        return raw, softmax(raw)

    return scores
