"""Text: TF-IDF over words and characters, and a linear model over that."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from freehold.engines.features import Counted, TextFeatures, TextRules
from freehold.engines.rows import Rows
from freehold.train import calibration, graphs
from freehold.train.trained import CannotLearn, Floats, Lesson, Say, Trained, softmax, two_sided


def fit(lesson: Lesson, say: Say) -> Trained:
    """Learn the vocabulary, weigh the terms, fit, calibrate, write the graph.

    Raises CannotLearn when no term stands in `min_count` texts.
    """
    say("vocabulary")
    features = _learn(lesson)
    counts = _read(features, lesson.rows)
    weigher = _Weigher(features, *(_transformer(c) for c in counts))
    matrix = weigher.weigh(counts)
    say("fit")
    model, converged = _fit(lesson, matrix, lesson.y)
    say("calibrate")
    scale = _calibrate(lesson, matrix)
    return Trained(
        files={"model.onnx": _graph(weigher, model, scale or 1.0), **features.files()},
        features=features.rules.as_features(),
        scores=_scores(weigher, model, scale or 1.0),
        notes={
            "terms": {"words": len(features.words), "characters": len(features.characters)},
            "converged": converged,
            "calibration": "none needed"
            if lesson.settings["solver"] == "logistic"
            else (f"{scale:.6g}" if scale else "too few rows: scores are used as they are"),
            "texts_cut": sum(features.is_cut(text) for text in _texts(lesson.rows)),
        },
    )


def _learn(lesson: Lesson) -> TextFeatures:
    s = lesson.settings
    rules = TextRules(
        words=int(s["words"]), characters=int(s["characters"]), max_characters=int(s["max_characters"])
    )
    features = TextFeatures.learn(
        rules, _texts(lesson.rows), min_count=int(s["min_count"]), max_terms=int(s["max_terms"])
    )
    if not features.words and not features.characters:
        raise CannotLearn(
            why=f"no word or run of characters stands in {s['min_count']} texts of {len(lesson.rows)}",
            hint="lower `min_count`, or bring more texts",
        )
    return features


def _texts(rows: Rows) -> list[str]:
    (cells,) = rows.columns.values()
    return [str(cell or "") for cell in cells]


Counts = tuple[Any, Any]
"""Two sparse matrices [rows, terms]: words and characters."""


def _read(features: TextFeatures, rows: Rows) -> Counts:
    pairs = [features.read(text) for text in _texts(rows)]
    return (
        _counts([words for words, _ in pairs], len(features.words)),
        _counts([characters for _, characters in pairs], len(features.characters)),
    )


@dataclass(frozen=True, slots=True)
class _Weigher:
    """Counts to TF-IDF: each vocabulary's part of a row has length 1, side by side."""

    features: TextFeatures
    words: TfidfTransformer
    characters: TfidfTransformer

    def weigh(self, counts: Counts) -> Any:
        parts = zip((self.words, self.characters), counts, strict=True)
        return hstack([t.transform(c) for t, c in parts if c.shape[1]]).tocsr()


def _transformer(counts: Any) -> TfidfTransformer:
    transformer = TfidfTransformer(sublinear_tf=True, smooth_idf=True, norm="l2")
    return transformer.fit(counts) if counts.shape[1] else transformer


def _counts(rows: Sequence[Counted], width: int) -> Any:
    ends = np.cumsum([0, *(len(row.indices) for row in rows)])
    indices = np.concatenate([row.indices for row in rows])
    data = np.concatenate([row.counts for row in rows])
    return csr_matrix((data, indices, ends), shape=(len(rows), width))


def _fit(lesson: Lesson, matrix: Any, y: NDArray[np.int64]) -> tuple[Any, bool]:
    """The model, and whether its solver came to rest."""
    s = lesson.settings
    model: Any
    if s["solver"] == "logistic":
        model = LogisticRegression(C=s["strength"], class_weight=lesson.weighting, max_iter=300)
    else:
        model = LinearSVC(
            C=s["strength"], class_weight=lesson.weighting, dual=True, random_state=lesson.seed, max_iter=2000
        )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(matrix, y)
    # stored in single precision: rounded here, so that what is tested is what is stored
    model.coef_ = model.coef_.astype(np.float32).astype(np.float64)
    return model, not any(issubclass(w.category, ConvergenceWarning) for w in said)


def _calibrate(lesson: Lesson, matrix: Any) -> float | None:
    """Logistic regression speaks in probabilities already; a support-vector machine does not."""
    if lesson.settings["solver"] == "logistic":
        return None

    def fit(shown: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], Floats]:
        model, _ = _fit(lesson, matrix[shown], lesson.y[shown])
        return lambda asked: two_sided(model.decision_function(matrix[asked]))

    return calibration.learn(lesson, fit)


def _scores(weigher: _Weigher, model: Any, scale: float) -> Callable[[Rows], tuple[Floats, Floats]]:
    def scores(rows: Rows) -> tuple[Floats, Floats]:
        raw = two_sided(model.decision_function(weigher.weigh(_read(weigher.features, rows))))
        return raw, softmax(scale * raw)

    return scores


def _graph(weigher: _Weigher, model: Any, scale: float) -> bytes:
    weights = model.coef_.T.astype(np.float32)
    words = len(weigher.features.words)
    blocks = (
        _terms("words", weigher.words, weights[:words]),
        _terms("characters", weigher.characters, weights[words:]),
    )
    return graphs.text(blocks, model.intercept_, scale)


def _terms(name: str, transformer: TfidfTransformer, weights: NDArray[np.float32]) -> graphs.Terms:
    idf = transformer.idf_ if len(weights) else np.zeros(0)
    return graphs.Terms(name=name, idf=np.asarray(idf, dtype=np.float64), weights=weights)
