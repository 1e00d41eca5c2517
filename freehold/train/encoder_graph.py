"""A fine-tuned encoder and its head as one ONNX graph, written node by node like the other models.

For the families of `train.base.ENCODERS`: BERT (Devlin et al. 2019) and its likes, post-norm
transformer layers with learned positions. One text at a time, so no padding and no mask; single
precision inside, probabilities in double. torch's exporter was tried: the old one traces one example and
warns that it may have frozen what depends on the text, the new one needs two more libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from freehold.train.graphs import Graph

Single = NDArray[np.float32]
Weights = Mapping[str, Single]
"""Under the names that the family's checkpoints have, LoRA merged in."""

ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "relu": ""}
MOST_BYTES = 1_900_000_000
"""A graph is one protobuf message, which ends at 2 GiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a config decides the graph."""

    layers: int
    heads: int
    epsilon: float
    activation: str
    first_position: int
    """RoBERTa counts positions from the padding token on, BERT from 0."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """From config.json. Raises KeyError or ValueError for what this graph does not do."""
        activation = str(config.get("hidden_act", "gelu"))
        if activation not in ACTIVATIONS:
            raise ValueError(f"the activation `{activation}` is not known")
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError("its positions are relative")
        if config.get("is_decoder") or config.get("add_cross_attention"):
            raise ValueError("it is set up as a decoder")
        roberta = config["model_type"] in ("roberta", "xlm-roberta")
        return cls(
            layers=int(config["num_hidden_layers"]),
            heads=int(config["num_attention_heads"]),
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
            activation=activation,
            first_position=int(config.get("pad_token_id", 1)) + 1 if roberta else 0,
        )


def longest(config: Mapping[str, Any]) -> int:
    """How many tokens the positions reach for."""
    return int(config["max_position_embeddings"]) - Shape.of(config).first_position


def classifier(shape: Shape, weights: Weights, head: Single, bias: Single) -> bytes:
    """Input `ids` [1, tokens]; outputs `scores` and `probabilities` [1, classes].

    `head` has shape [classes, hidden]: it reads the mean over the tokens of the last layer.
    """
    graph = Graph()
    state = _embed(graph, shape, weights)
    for layer in range(shape.layers):
        state = _layer(graph, shape, weights, state, f"encoder.layer.{layer}")
    axis = graph.constant("over_tokens", np.array([1]))
    pooled = graph.node("ReduceMean", [state, axis], "pooled", keepdims=0)
    turned = graph.constant("head", np.ascontiguousarray(head.T))
    raw = graph.node("MatMul", [pooled, turned], "head_product")
    raw = graph.node("Add", [raw, graph.constant("head_bias", bias.reshape(1, -1))], "single_scores")
    double = graph.node("Cast", [raw], "raw", to=TensorProto.DOUBLE)
    graph.probabilities(double, len(bias), 1.0)
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])
    return graph.finish([ids], len(bias))


def _embed(graph: Graph, shape: Shape, weights: Weights) -> str:
    words = graph.node("Gather", [_held(graph, weights, f"{_E}.word_embeddings.weight"), "ids"], "words")
    kind = graph.constant("kind", weights[f"{_E}.token_type_embeddings.weight"][0].reshape(1, 1, -1))
    typed = graph.node("Add", [words, kind], "typed")
    reached = weights[f"{_E}.position_embeddings.weight"][shape.first_position :]
    positions = graph.constant("positions", reached)
    size = graph.node("Shape", ["ids"], "size", start=1, end=2)
    start = graph.constant("start", np.array([0]))
    placed = graph.node("Slice", [positions, start, size, graph.constant("rows", np.array([0]))], "placed")
    return _norm(graph, shape, weights, graph.node("Add", [typed, placed], "embedded"), f"{_E}.LayerNorm")


_E = "embeddings"


def _layer(graph: Graph, shape: Shape, weights: Weights, state: str, at: str) -> str:
    attended = _attend(graph, shape, weights, state, f"{at}.attention.self")
    out = _dense(graph, weights, attended, f"{at}.attention.output.dense")
    added = graph.node("Add", [out, state], f"{at}.attention.sum")
    state = _norm(graph, shape, weights, added, f"{at}.attention.output.LayerNorm")
    inner = _dense(graph, weights, state, f"{at}.intermediate.dense")
    out = _dense(graph, weights, _activated(graph, shape, inner, at), f"{at}.output.dense")
    added = graph.node("Add", [out, state], f"{at}.sum")
    return _norm(graph, shape, weights, added, f"{at}.output.LayerNorm")


def _attend(graph: Graph, shape: Shape, weights: Weights, state: str, at: str) -> str:
    """softmax(Q Kᵀ / √d) V over the heads (Vaswani et al. 2017, section 3.2)."""
    width = weights[f"{at}.query.weight"].shape[0] // shape.heads
    split = graph.shared("split_heads", np.array([0, 0, shape.heads, width]))
    q = _heads(graph, weights, state, f"{at}.query", split, [0, 2, 1, 3])
    k = _heads(graph, weights, state, f"{at}.key", split, [0, 2, 3, 1])
    v = _heads(graph, weights, state, f"{at}.value", split, [0, 2, 1, 3])
    scale = graph.shared("scale", np.array(1 / np.sqrt(width), dtype=np.float32))
    product = graph.node("Mul", [graph.node("MatMul", [q, k], f"{at}.product"), scale], f"{at}.scaled")
    chances = graph.node("Softmax", [product], f"{at}.chances", axis=-1)
    mixed = graph.node("MatMul", [chances, v], f"{at}.mixed")
    turned = graph.node("Transpose", [mixed], f"{at}.turned", perm=[0, 2, 1, 3])
    joined = graph.shared("join_heads", np.array([0, 0, shape.heads * width]))
    return graph.node("Reshape", [turned, joined], f"{at}.joined")


def _heads(graph: Graph, weights: Weights, state: str, at: str, split: str, turn: list[int]) -> str:
    parts = graph.node("Reshape", [_dense(graph, weights, state, at), split], f"{at}.parts")
    return graph.node("Transpose", [parts], f"{at}.heads", perm=turn)


def _activated(graph: Graph, shape: Shape, value: str, at: str) -> str:
    if shape.activation == "relu":
        return graph.node("Relu", [value], f"{at}.activated")
    how = ACTIVATIONS[shape.activation]
    return graph.node("Gelu", [value], f"{at}.activated", approximate=how)


def _dense(graph: Graph, weights: Weights, value: str, at: str) -> str:
    turned = graph.constant(f"{at}.weight", np.ascontiguousarray(weights[f"{at}.weight"].T))
    product = graph.node("MatMul", [value, turned], f"{at}.dense")
    return graph.node("Add", [product, _held(graph, weights, f"{at}.bias")], f"{at}.moved")


def _norm(graph: Graph, shape: Shape, weights: Weights, value: str, at: str) -> str:
    parts = [value, _held(graph, weights, f"{at}.weight"), _held(graph, weights, f"{at}.bias")]
    return graph.node("LayerNormalization", parts, f"{at}.normed", axis=-1, epsilon=shape.epsilon)


def _held(graph: Graph, weights: Weights, name: str) -> str:
    return graph.constant(name, weights[name])
