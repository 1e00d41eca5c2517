"""ONNX Runtime: answers with a model's `model.onnx`, one row at a time, one thread.

What is trained here from the data alone computes in double precision, a pre-trained model in single.

One row at a time, because kernels choose other summation orders for other batch sizes: only so is a
batch bit for bit what its rows would have been one by one (docs/decisions/0005-which-engine.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from freehold.engines.features import ColumnFeatures, Counted, TextFeatures
from freehold.engines.protocol import Answers, Columns, EngineClosed, ModelUnreadable, Value, check
from freehold.engines.runtime import onnxruntime
from freehold.engines.tokens import TokenFeatures
from freehold.spec.model import About

MODEL = "model.onnx"

Feed = dict[str, Any]
Features = TextFeatures | ColumnFeatures | TokenFeatures


class OnnxEngine:
    """One loaded model. Several threads may ask at once."""

    def __init__(self, about: About, session: Any, features: Features) -> None:
        self._about = about
        self._session = session
        self._features = features

    @classmethod
    def load(cls, about: About, files: Mapping[str, bytes]) -> Self:
        """See `protocol.Engine.load`."""
        if MODEL not in files:
            raise ModelUnreadable(why=f"`{MODEL}` is missing")
        try:
            session = onnxruntime().InferenceSession(
                files[MODEL], _options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common base of their own
            raise ModelUnreadable(why=f"ONNX Runtime cannot read `{MODEL}`") from error
        return cls(about, session, _features(about, files))

    def metadata(self) -> About:
        """See `protocol.Engine.metadata`."""
        return self._about

    def infer(self, columns: Columns) -> Answers:
        """See `protocol.Engine.infer`."""
        if self._session is None:
            raise EngineClosed(hint="load the model again")
        session = self._session  # ours until this answer is out, even when somebody closes meanwhile
        rows = check(self._about, columns)
        scores: list[Any] = []
        chances: list[tuple[float, ...]] = []
        for feed in self._feeds(columns, rows):
            score, chance = session.run(["scores", "probabilities"], feed)
            scores.append(score[0])
            chances.append(tuple(chance[0].tolist()))
        best = [int(np.argmax(score)) for score in scores]
        return Answers(
            classes=tuple(self._about.classes[place] for place in best),
            probabilities=tuple(chances),
            cut=self._cut(columns),
        )

    def _feeds(self, columns: Columns, rows: int) -> Iterator[Feed]:
        if isinstance(self._features, TextFeatures):
            (texts,) = columns.values()
            for text in texts:
                yield text_feed(self._features, str(text or ""))
        elif isinstance(self._features, TokenFeatures):
            (texts,) = columns.values()
            for text in texts:
                yield {"ids": self._features.read(str(text or "")).reshape(1, -1)}
        else:
            matrix = self._features.read(columns, rows)
            for row in range(rows):
                yield {"row": matrix[row : row + 1]}

    def _cut(self, columns: Columns) -> int:
        if isinstance(self._features, ColumnFeatures):
            return 0
        (texts,) = columns.values()
        return _count_cut(self._features, texts)

    def close(self) -> None:
        """See `protocol.Engine.close`."""
        self._session = None


def text_feed(features: TextFeatures, text: str) -> Feed:
    """What the graph takes for one text."""
    words, characters = features.read(text)
    return _pair("words", words) | _pair("characters", characters)


def _pair(name: str, counted: Counted) -> Feed:
    return {name: counted.indices, f"{name}_counts": counted.counts}


def _count_cut(features: TextFeatures | TokenFeatures, texts: Sequence[Value]) -> int:
    return sum(1 for text in texts if isinstance(text, str) and features.is_cut(text))


def _features(about: About, files: Mapping[str, bytes]) -> Features:
    kind = about.features.get("kind")
    if kind == "text":
        return TextFeatures.open(about.features, files)
    if kind == "columns":
        return ColumnFeatures.open(files)
    if kind == "tokens":
        return TokenFeatures.open(about.features, files)
    raise ModelUnreadable(why=f"its features are of kind `{kind}`, which this engine does not know")


def _options() -> Any:
    """What `identity.flags` says, as settings."""
    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors only: warnings would go to stderr unformatted
    return options
