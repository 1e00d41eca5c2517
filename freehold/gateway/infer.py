"""Asking a model of ours by the Open Inference Protocol, JSON or binary tensors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freehold.errors import BadInput
from freehold.gateway.answering import EngineFailed
from freehold.gateway.asked import Asked
from freehold.gateway.reply import JSON, Header, Piece
from freehold.gateway.spend import Tally
from freehold.gateway.tensors import read_inputs, to_binary
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import ServiceView, Target

OUTPUTS = ("class", "confidence", "probabilities")
_FIELDS = frozenset(("id", "inputs", "outputs", "parameters"))


class InferFieldUnknown(BadInput):
    """nothing acts on `{field}`"""


class OutputUnknown(BadInput):
    """there is no output `{name}`"""


class InferUnreadable(BadInput):
    """the inference request cannot be read"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferQuestion:
    """Rows for a classifier or a tabular model."""

    service: str
    body: bytes = field(repr=False)
    """What the engine is asked: JSON, in the datatypes the model declares."""
    binary: Mapping[str, bool]
    """Which outputs are wanted, and whether as bytes."""
    values: Mapping[str, list[Any]] = field(repr=False)
    """The rows, by column."""
    outside: Mapping[str, int] = field(default_factory=dict)
    """How many of them are unlike those the model was trained on, by column."""

    @property
    def worst_case(self) -> tuple[int, int]:
        """Our own models use no tokens."""
        return 0, 0

    async def ask(
        self, upstreams: Upstreams, target: Target, _secret: str | None, _tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """One piece: the protocol has no streams."""
        answer = await upstreams.infer(target, self.body)
        answer["model_name"] = self.service
        answer.pop("model_version", None)  # of whichever service the engine was started for
        if self.outside:
            answer["parameters"] = {**answer.get("parameters", {}), "outside_domain": dict(self.outside)}
        data, headers = _rendered(answer, self.binary)
        kind = b"application/octet-stream" if headers else JSON
        yield Piece(data=data, last=True, kind=kind, headers=headers)


def read_infer_question(asked: Asked, service: ServiceView) -> InferQuestion:
    """Read tensors against the service's declared inputs. Raises BadInput, naming the field."""
    said = asked.fields
    if unknown := sorted(said.keys() - _FIELDS):
        raise InferFieldUnknown(field=unknown[0][:40], hint="a request has id, inputs, outputs, parameters")
    inputs, name = said.get("inputs"), said.get("id")
    if not isinstance(inputs, list) or not inputs:
        raise InferUnreadable(why="`inputs` is a list of tensors", hint="ask the model's metadata for them")
    if name is not None and (not isinstance(name, str) or len(name) > 256):
        raise InferUnreadable(why="`id` is a text of 256 characters at most")
    start = asked.heads.binary_from if asked.heads.binary_from is not None else len(asked.body)
    rows, values = read_inputs(inputs, asked.body[start:], service.inputs)
    outputs = _outputs(said.get("outputs"), binary=_wants_binary(said.get("parameters")))
    return InferQuestion(
        service=service.name,
        body=engine_request(service, rows, values, outputs, name),
        binary=outputs,
        values=values,
    )


def engine_request(
    service: ServiceView,
    rows: int,
    values: Mapping[str, list[Any]],
    outputs: Mapping[str, bool],
    name: str | None = None,
) -> bytes:
    """What an engine is asked, as JSON."""
    request: dict[str, Any] = {
        "inputs": [
            {"name": c.name, "shape": [rows], "datatype": c.datatype, "data": values[c.name]}
            for c in service.inputs
        ],
        "outputs": [{"name": output} for output in outputs],
    }
    if name:
        request["id"] = name
    return msgspec.json.encode(request)


def _wants_binary(parameters: Any) -> bool:
    if parameters is None:
        return False
    if not isinstance(parameters, dict):
        raise InferUnreadable(why="`parameters` is an object")
    if unknown := sorted(parameters.keys() - {"binary_data_output"}):
        raise InferFieldUnknown(
            field=f"parameters.{unknown[0][:40]}", hint="`binary_data_output` is the one there is"
        )
    return parameters.get("binary_data_output") is True


def _outputs(asked: Any, *, binary: bool) -> dict[str, bool]:
    """The wanted outputs, all when none is named, and which of them as bytes."""
    if not asked:
        return dict.fromkeys(OUTPUTS, binary)
    if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
        raise InferUnreadable(why="`outputs` is a list of objects with a name")
    return {_output_name(one): _output_binary(one, binary) for one in asked}


def _output_name(one: Mapping[str, Any]) -> str:
    name = one.get("name")
    if name not in OUTPUTS:
        raise OutputUnknown(name=str(name)[:40], hint="there are " + ", ".join(OUTPUTS))
    return str(name)


def _output_binary(one: Mapping[str, Any], default: bool) -> bool:
    parameters = one.get("parameters") or {}
    if not isinstance(parameters, dict) or (unknown := sorted(parameters.keys() - {"binary_data"})):
        name = unknown[0][:40] if isinstance(parameters, dict) else "parameters"
        raise InferFieldUnknown(field=f"outputs.parameters.{name}", hint="`binary_data` is the one there is")
    return bool(parameters.get("binary_data", default))


def _rendered(answer: dict[str, Any], binary: Mapping[str, bool]) -> tuple[bytes, tuple[Header, ...]]:
    """The response, with the outputs that are wanted as bytes behind the JSON."""
    tail: list[bytes] = []
    try:
        for output in answer["outputs"]:
            if binary.get(output["name"]):
                tail.append(to_binary(output["datatype"], output.pop("data")))
                output["parameters"] = {"binary_data_size": len(tail[-1])}
        head = msgspec.json.encode(answer)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineFailed(why="its answer has not the protocol's shape") from error
    if not tail:
        return head, ()
    return head + b"".join(tail), ((b"inference-header-content-length", b"%d" % len(head)),)


def metadata(service: ServiceView) -> dict[str, Any]:
    """What the protocol's metadata request is told about a service."""
    rows = [-1]
    tensors = service.task != "generate"  # text is asked for at `/v1`, and has none
    outputs = [
        {"name": "class", "datatype": "BYTES", "shape": rows},
        {"name": "confidence", "datatype": "FP64", "shape": rows},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(service.classes)]},
    ]
    return {
        "name": service.name,
        "versions": [],
        "platform": "freehold",
        "inputs": [
            {"name": c.name, "datatype": c.datatype, "shape": rows} for c in service.inputs if tensors
        ],
        "outputs": outputs if tensors else [],
        "parameters": {"classes": list(service.classes), "purpose": service.purpose},
    }
