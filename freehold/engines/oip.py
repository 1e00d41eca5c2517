"""The Open Inference Protocol, version 2, over JSON: requests in, answers and errors out.

https://github.com/open-inference-protocol/open-inference-protocol: "Inference Request JSON Object" and
its siblings. Inputs have shape [rows] or [rows, 1]; data may be flat or nested, as the protocol allows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from freehold import __version__
from freehold.engines.protocol import Answers, CannotAnswer, Columns, Value
from freehold.errors import Failure
from freehold.spec.model import About

MAX_ROWS = 4096
OUTPUTS = ("class", "confidence", "probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that has the protocol's shape."""

    id: str | None
    columns: Columns
    outputs: tuple[str, ...]


def read_request(body: bytes, about: About) -> Asked:
    """Raises CannotAnswer, saying which part is wrong; never repeats a value, for it may be personal."""
    said = _object(body)
    if unknown := sorted(said.keys() - {"id", "inputs", "outputs", "parameters"}):
        raise CannotAnswer(
            why=f"`{unknown[0][:40]}` is no field of a request", hint="it has id, inputs, outputs, parameters"
        )
    request_id = said.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise CannotAnswer(why="`id` must be text")
    inputs = said.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise CannotAnswer(why="`inputs` must be a list of tensors", hint="ask the model's metadata for them")
    columns: dict[str, list[Value]] = {}
    known = {column.name: column.datatype for column in about.inputs}
    for tensor in inputs:
        name, values = _tensor(tensor, known)
        if name in columns:
            raise CannotAnswer(why=f"the input `{name[:80]}` is given twice")
        columns[name] = values
    return Asked(id=request_id, columns=columns, outputs=_outputs(said.get("outputs")))


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CannotAnswer(why="the body is not JSON") from error
    if not isinstance(said, dict):
        raise CannotAnswer(why="the body is not a JSON object")
    return said


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _tensor(tensor: Any, known: Mapping[str, str]) -> tuple[str, list[Value]]:
    if not isinstance(tensor, dict) or not isinstance(name := tensor.get("name"), str):
        raise CannotAnswer(why="an input has no `name`")
    name = name[:200]
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    wanted = known.get(name)
    if wanted and datatype != wanted:
        raise CannotAnswer(why=f"the input `{name}` takes {wanted}, the request says {str(datatype)[:20]}")
    rows = _rows(name, shape)
    if not isinstance(data, list):
        raise CannotAnswer(
            why=f"the input `{name}` has no `data`",
            hint="binary tensors are for the gateway, which reads them",
        )
    values = _flat(data)
    if len(values) != rows:
        raise CannotAnswer(why=f"the input `{name}` has {len(values)} values, its shape says {rows}")
    return name, values


def _rows(name: str, shape: Any) -> int:
    """The first dimension, when the shape is [rows] or [rows, 1]."""
    whole = isinstance(shape, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in shape)
    if not whole or len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1) or shape[0] < 1:
        raise CannotAnswer(why=f"the input `{name}` has a shape that is neither [rows] nor [rows, 1]")
    if shape[0] > MAX_ROWS:
        raise CannotAnswer(why=f"{shape[0]} rows at once", hint=f"send at most {MAX_ROWS} at a time")
    return int(shape[0])


def _flat(data: list[Any]) -> list[Value]:
    """[[a], [b]] and [a, b] alike. What is neither is left for the check of values to refuse."""
    return [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in data]


def _outputs(asked: Any) -> tuple[str, ...]:
    if asked is None or asked == []:
        return OUTPUTS
    if not isinstance(asked, list):
        raise CannotAnswer(why="`outputs` must be a list")
    names = [str(one.get("name")) if isinstance(one, dict) else "" for one in asked]
    for name in names:
        if name not in OUTPUTS:
            raise CannotAnswer(why=f"`{name[:40]}` is no output", hint="outputs are " + ", ".join(OUTPUTS))
    return tuple(dict.fromkeys(names))


def response(about: About, model: str, version: int, asked: Asked, answers: Answers) -> dict[str, Any]:
    """The "Inference Response JSON Object"."""
    rows, classes = len(answers.classes), len(about.classes)
    made: dict[str, dict[str, Any]] = {
        "class": _output("class", "BYTES", [rows], list(answers.classes)),
        "confidence": _output("confidence", "FP64", [rows], list(answers.confidence)),
        "probabilities": _output(
            "probabilities", "FP64", [rows, classes], [p for row in answers.probabilities for p in row]
        ),
    }
    said: dict[str, Any] = {
        "model_name": model,
        "model_version": str(version),
        "outputs": [made[name] for name in asked.outputs],
    }
    if asked.id is not None:
        said["id"] = asked.id
    if answers.cut:
        said["parameters"] = {"rows_cut": answers.cut, **_read_at_most(about.features)}
    return said


def _read_at_most(features: Mapping[str, Any]) -> dict[str, int]:
    """How much of a text is read: tokens where a tokenizer reads it, else characters."""
    if features.get("kind") == "tokens":
        return {"read_tokens": features["max_length"]}
    return {"read_characters": features["max_characters"]}


def _output(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def metadata(about: About, model: str, version: int, engine: str, serving_digest: str) -> dict[str, Any]:
    """The "Metadata Response JSON Object" of a model; -1 is "as many rows as you send"."""
    return {
        "name": model,
        "versions": [str(version)],
        "platform": engine.replace(" ", "_"),
        "inputs": [{"name": c.name, "datatype": c.datatype, "shape": [-1]} for c in about.inputs],
        "outputs": [
            {"name": "class", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(about.classes)]},
        ],
        "parameters": {"classes": list(about.classes), "serving_digest": serving_digest, "task": about.task},
    }


def server() -> dict[str, Any]:
    """The "Server Metadata Response JSON Object"."""
    return {"name": "freehold-engine", "version": __version__, "extensions": []}


def error(failure: Failure) -> dict[str, str]:
    """The "Inference Error Response JSON Object": one line that says what, why and what now."""
    parts = [failure.what, failure.why, failure.hint]
    return {"error": ": ".join(part for part in parts if part)}
