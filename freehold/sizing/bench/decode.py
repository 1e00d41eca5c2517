"""Writing text, token after token, without a model: the same matrices in the same order, filled at random.

A step reads every weight once, and of each answer that it goes on with the attention cache of what was said
before; what comes out means nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any

import numpy as np

from freehold.engines.runtime import onnxruntime

WIDTHS = {"fp32": 4, "bf16": 2, "int8": 1}
"""Bytes of a weight."""
CONTEXT = 256
"""Tokens that stand before the one that is written."""
ROWS = (1, 8)
"""Answers that are written at a time, on processors."""
MOST_ASKING = 0.2
"""The share of a step above which it says more of who asks than of the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A language model, without its weights."""

    name: str
    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward part."""
    heads: int
    kv_heads: int
    head: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """That a token passes; the embedding is counted once."""
        attention = self.hidden * self.head * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.inner) + self.hidden * self.vocabulary

    def cache(self, width: int) -> int:
        """Bytes that a step reads of one answer's attention cache, numbers of `width` bytes."""
        return 2 * self.layers * self.kv_heads * self.head * CONTEXT * width


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            name="15m",  # stories15M of llama2.c
            layers=6,
            hidden=288,
            inner=768,
            heads=6,
            kv_heads=6,
            head=48,
            vocabulary=32_000,
        ),
        Shape(
            name="135m",  # SmolLM2-135M
            layers=30,
            hidden=576,
            inner=1536,
            heads=9,
            kv_heads=3,
            head=64,
            vocabulary=49_152,
        ),
        Shape(
            name="1b",  # Llama-3.2-1B
            layers=16,
            hidden=2048,
            inner=8192,
            heads=32,
            kv_heads=8,
            head=64,
            vocabulary=128_256,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """One shape, one width of weights, so many requests at a time."""

    shape: str
    weights: str
    """fp32, int8, bf16"""
    device: str = "cpu"
    engine: str
    step: float
    """Seconds a token, median."""
    asking: float = 0.0
    """Of these the seconds that asking for one operation after the other takes, whatever they work on."""
    parameters: int
    rows: int = 1
    cache: int = 0
    """Bytes of the attention cache of each row."""
    joules: float | None = None
    """A token, where the device has a meter."""

    @property
    def tokens(self) -> float:
        """A second, all rows together."""
        return self.rows / self.step

    @property
    def watts(self) -> float | None:
        """Of the device meanwhile."""
        return None if self.joules is None else self.joules * self.tokens

    @property
    def size(self) -> float:
        """Bytes of the weights, all of which a token reads."""
        return WIDTHS[self.weights] * self.parameters

    @property
    def by_memory(self) -> bool:
        """Whether a step is as long as its weights make it, and not as its operations are many."""
        return self.asking < MOST_ASKING * self.step


def on_onnx(shape: Shape, weights: str, seconds: float, threads: int, rows: int = 1) -> Decoded:
    """With onnxruntime on the processors; `weights` is fp32 or int8."""
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    graph = _graph(shape, weights, rows)
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    x = np.random.Generator(np.random.SFC64(1)).standard_normal((rows, shape.hidden), dtype=np.float32)
    session.run(None, {"x": x})  # lays the weights out
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 3:
        began = time.perf_counter()
        session.run(None, {"x": x})
        took.append(time.perf_counter() - began)
    return Decoded(
        shape=shape.name,
        weights=weights,
        engine=f"onnxruntime {ort.__version__}, {threads} threads",
        step=median(took),
        parameters=shape.parameters,
        rows=rows,
        cache=shape.cache(4),
    )


# -- the graph --------------------------------------------------------------------------------------


class _Graph:
    """Nodes and weights as they are added, in ONNX's own words."""

    def __init__(self, weights: str) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self._weights = weights
        self._random = np.random.Generator(np.random.SFC64(1))
        self._names = count()

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> tuple[str, ...]:
        from onnx import helper

        names = tuple(f"v{next(self._names)}" for _ in range(outputs))
        self.nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
        return names

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"w{next(self._names)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def times(self, x: str, rows: int, columns: int) -> str:
        """`x` times a matrix of weights."""
        if self._weights == "fp32":
            matrix = self._random.standard_normal((rows, columns), dtype=np.float32) * np.float32(rows**-0.5)
            return self.op("MatMul", x, self.constant(matrix))[0]
        whole = self._random.integers(-127, 128, (rows, columns), dtype=np.int8)
        small, scale, zero = self.op("DynamicQuantizeLinear", x, outputs=3)
        summed = self.op("MatMulInteger", small, self.constant(whole), zero)[0]
        real = self.op("Cast", summed, to=1)[0]
        scaled = self.op("Mul", scale, self.constant(np.float32(rows**-0.5 / 73)))[0]
        return self.op("Mul", real, scaled)[0]


def _graph(shape: Shape, weights: str, rows: int) -> bytes:
    from onnx import TensorProto, helper

    graph = _Graph(weights)
    x = "x"
    for _ in range(shape.layers):
        x = _layer(graph, shape, x, rows)
    logits = graph.times(x, shape.hidden, shape.vocabulary)
    graph.nodes.append(helper.make_node("ArgMax", [logits], ["token"], axis=1, keepdims=0))
    made = helper.make_graph(
        graph.nodes,
        "decode",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, shape.hidden])],
        [helper.make_tensor_value_info("token", TensorProto.INT64, [rows])],
        graph.tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _layer(graph: _Graph, shape: Shape, x: str, rows: int) -> str:
    attended = _attended(graph, shape, x, rows)
    x = graph.op("Add", x, graph.times(attended, shape.heads * shape.head, shape.hidden))[0]
    gate = graph.times(x, shape.hidden, shape.inner)
    bent = graph.op("Mul", gate, graph.op("Sigmoid", gate)[0])[0]
    wide = graph.op("Mul", bent, graph.times(x, shape.hidden, shape.inner))[0]
    return graph.op("Tanh", graph.op("Add", x, graph.times(wide, shape.inner, shape.hidden))[0])[0]


def _attended(graph: _Graph, shape: Shape, x: str, rows: int) -> str:
    """Each row against its own cache of CONTEXT tokens; keys and values of the token itself are computed,

    and left out.
    """
    group = shape.heads // shape.kv_heads
    q = graph.times(x, shape.hidden, shape.heads * shape.head)
    new = graph.times(x, shape.hidden, 2 * shape.kv_heads * shape.head)
    q = graph.op("Reshape", q, graph.constant(np.array([rows, shape.kv_heads, group, shape.head])))[0]
    keys, values = (graph.constant(part) for part in _cache(shape, rows))
    scores = graph.op("Softmax", graph.op("MatMul", q, keys)[0], axis=-1)[0]
    mixed = graph.op("MatMul", scores, values)[0]
    flat = graph.op("Reshape", mixed, graph.constant(np.array([rows, shape.heads * shape.head])))[0]
    used = graph.op("ReduceMean", new, keepdims=1)[0]  # or the runtime would see that nobody needs it
    return graph.op("Add", flat, used)[0]


def _cache(shape: Shape, rows: int) -> Iterator[Any]:
    random = np.random.Generator(np.random.SFC64(2))
    yield random.standard_normal((rows, shape.kv_heads, shape.head, CONTEXT), dtype=np.float32)
    yield random.standard_normal((rows, shape.kv_heads, CONTEXT, shape.head), dtype=np.float32)
