"""ONNX graphs of what was trained, written node by node: double precision, one row, no dates, no ids.

Written here and not by a converter, because the converter's gradient boosting works in single precision
and its TF-IDF splits text otherwise than we do (docs/decisions/0005-which-engine.md has the figures).
The same weights always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float64]

_OPSET = 21
_ML_OPSET = 5
_IR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One vocabulary's part of a text model."""

    name: str
    idf: Floats
    """Shape [terms]."""
    weights: NDArray[np.float32]
    """Shape [terms, outputs]: single precision on disk, double in the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How raw numbers become comparable ones."""

    numbers: int
    """The first so many places of a row are numbers, the others 0 or 1."""
    mean: Floats
    scale: Floats


class Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._shared: set[str] = set()

    def constant(self, name: str, value: Any) -> str:
        array = value if np.ndim(value) == 0 else np.ascontiguousarray(value)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def shared(self, name: str, value: Any) -> str:
        """A constant that several nodes use; it stands there once."""
        if name not in self._shared:
            self._shared.add(name)
            self.constant(name, value)
        return name

    def node(self, operation: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(
            helper.make_node(operation, list(inputs), [output], name=f"make_{output}", **attributes)
        )
        return output

    def probabilities(self, raw: str, outputs: int, scale: float) -> None:
        """Scores of two classes or more out of what the model sums, and their softmax."""
        if outputs == 1:  # two classes share one score: the first class stands at 0
            raw = self.node("Concat", [self.constant("zero", np.zeros((1, 1))), raw], "both", axis=1)
        self.node("Identity", [raw], "scores")
        scaled = self.node(
            "Mul", ["scores", self.constant("calibration", np.array([scale], dtype=np.float64))], "scaled"
        )
        self.node("Softmax", [scaled], "probabilities", axis=1)

    def finish(self, inputs: Sequence[Any], classes: int) -> bytes:
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1, classes])
            for name in ("scores", "probabilities")
        ]
        graph = helper.make_graph(self.nodes, "freehold", list(inputs), outputs, self.constants)
        model = helper.make_model(
            graph,
            producer_name="freehold",
            ir_version=_IR,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)],
        )
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def text(blocks: Sequence[Terms], bias: Floats, scale: float) -> bytes:
    """TF-IDF and a linear model over it.

    Of each vocabulary the graph takes the indices of the terms of one text and how often each stands in
    it; weighs them (1 + ln count) * idf, divides by their Euclidean length, and sums weight rows: only
    the rows of terms that are there are ever touched. No known term at all leaves the bias.
    """
    graph = Graph()
    sums = [_term_sum(graph, block) for block in blocks]
    raw = graph.node("Sum", [*sums, graph.constant("bias", bias.reshape(1, -1))], "raw")
    outputs = len(bias)
    graph.probabilities(raw, outputs, scale)
    inputs = []
    for block in blocks:
        inputs += [
            helper.make_tensor_value_info(block.name, TensorProto.INT64, [f"{block.name}_found"]),
            helper.make_tensor_value_info(
                f"{block.name}_counts", TensorProto.DOUBLE, [f"{block.name}_found"]
            ),
        ]
    return graph.finish(inputs, max(2, outputs))


def _term_sum(graph: Graph, block: Terms) -> str:
    n = block.name
    idf = graph.constant(f"{n}_idf", block.idf)
    weights = graph.constant(f"{n}_weights", block.weights)
    logs = graph.node("Log", [f"{n}_counts"], f"{n}_logs")
    frequency = graph.node(
        "Add", [logs, graph.constant(f"{n}_one", np.ones(1, dtype=np.float64))], f"{n}_frequency"
    )
    weighed = graph.node(
        "Mul", [frequency, graph.node("Gather", [idf, n], f"{n}_found_idf", axis=0)], f"{n}_weighed"
    )
    square = graph.node("ReduceSumSquare", [weighed], f"{n}_square", keepdims=1)
    length = graph.node("Sqrt", [square], f"{n}_length")
    safe = graph.node(  # a text without a known term has length 0, and no part in the sum
        "Max", [length, graph.constant(f"{n}_least", np.array([1e-300]))], f"{n}_safe"
    )
    unit = graph.node("Div", [weighed, safe], f"{n}_unit")
    row = graph.node("Unsqueeze", [unit, graph.constant(f"{n}_axis", np.array([0]))], f"{n}_row")
    rows = graph.node("Gather", [weights, n], f"{n}_rows", axis=0)
    double = graph.node("Cast", [rows], f"{n}_double", to=TensorProto.DOUBLE)
    return graph.node("MatMul", [row, double], f"{n}_sum")


def linear(scaling: Scaling, weights: Floats, bias: Floats) -> bytes:
    """Standardised numbers beside zeros and ones, and a linear model over both.

    `weights` has shape [width, outputs]. A number that is not known counts as the mean.
    """
    graph = Graph()
    width, outputs = weights.shape
    row = _scaled(graph, scaling, width) if scaling.numbers else "row"
    product = graph.node("MatMul", [row, graph.constant("weights", weights)], "product")
    raw = graph.node("Add", [product, graph.constant("bias", bias.reshape(1, -1))], "raw")
    graph.probabilities(raw, outputs, 1.0)
    return graph.finish([_row(width)], max(2, outputs))


def _scaled(graph: Graph, scaling: Scaling, width: int) -> str:
    cut = graph.constant("cut", np.array([scaling.numbers, width - scaling.numbers]))
    graph.nodes.append(
        helper.make_node("Split", ["row", cut], ["numbers", "places"], name="make_parts", axis=1)
    )
    mean = graph.constant("mean", scaling.mean.reshape(1, -1))
    unknown = graph.node("IsNaN", ["numbers"], "unknown")
    known = graph.node("Where", [unknown, mean, "numbers"], "known")
    centred = graph.node("Sub", [known, mean], "centred")
    scaled = graph.node(
        "Div", [centred, graph.constant("scale", scaling.scale.reshape(1, -1))], "scaled_numbers"
    )
    return graph.node("Concat", [scaled, "places"], "scaled_row", axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree of an ensemble, as parallel columns over its nodes; node 0 is the root."""

    target: int
    """Which output it adds to."""
    feature: NDArray[np.int64]
    threshold: Floats
    """A row goes left when its value is at most this."""
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.bool_]
    value: Floats


def trees(ensemble: Sequence[Tree], baseline: Floats, width: int) -> bytes:
    """A sum of trees over the raw row (ai.onnx.ml TreeEnsemble, version 5, double precision)."""
    graph = Graph()
    outputs = len(baseline)
    grown = [tree for tree in ensemble if not tree.leaf[0]]
    start = baseline.astype(np.float64)
    for tree in ensemble:
        if tree.leaf[0]:  # a tree of one leaf asks nothing: its value is part of the start
            start[tree.target] += tree.value[0]
    base = graph.constant("baseline", start.reshape(1, -1))
    if grown:
        attributes = _ensemble(grown)
        graph.node("TreeEnsemble", ["row"], "votes", domain="ai.onnx.ml", n_targets=outputs, **attributes)
        raw = graph.node("Add", ["votes", base], "raw")
    else:  # nothing could be split: every row gets the start, and none is looked at
        raw = graph.node("Identity", [base], "raw")
    graph.probabilities(raw, outputs, 1.0)
    return graph.finish([_row(width)], max(2, outputs))


def _ensemble(grown: Sequence[Tree]) -> dict[str, Any]:
    """All trees as the operator's parallel lists: inner nodes in one table, leaves in another."""
    lists: dict[str, list[int]] = {
        name: []
        for name in (
            "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs",
            "nodes_falseleafs", "nodes_missing_value_tracks_true", "tree_roots", "leaf_targetids",
        )
    }  # fmt: skip
    splits: list[float] = []
    leaves: list[float] = []
    for tree in grown:
        inner = np.cumsum(~tree.leaf) - 1 + len(splits)
        outer = np.cumsum(tree.leaf) - 1 + len(leaves)
        place = np.where(tree.leaf, outer, inner)
        lists["tree_roots"].append(int(place[0]))
        asks = np.flatnonzero(~tree.leaf)
        lists["nodes_featureids"] += tree.feature[asks].tolist()
        lists["nodes_missing_value_tracks_true"] += tree.missing_left[asks].astype(int).tolist()
        for side, chosen in (("true", tree.left), ("false", tree.right)):
            lists[f"nodes_{side}nodeids"] += place[chosen[asks]].tolist()
            lists[f"nodes_{side}leafs"] += tree.leaf[chosen[asks]].astype(int).tolist()
        splits += tree.threshold[asks].tolist()
        leaves += tree.value[tree.leaf].tolist()
        lists["leaf_targetids"] += [tree.target] * int(tree.leaf.sum())
    tensors = {
        "nodes_splits": numpy_helper.from_array(np.array(splits, dtype=np.float64)),
        "nodes_modes": numpy_helper.from_array(np.zeros(len(splits), dtype=np.uint8)),  # 0: at most
        "leaf_weights": numpy_helper.from_array(np.array(leaves, dtype=np.float64)),
    }
    return {**lists, **tensors, "aggregate_function": 1, "post_transform": 0}  # sum, as it is


def _row(width: int) -> Any:
    return helper.make_tensor_value_info("row", TensorProto.DOUBLE, [1, width])
