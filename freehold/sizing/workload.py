"""What somebody wants to train and to serve, as a file says it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from freehold.errors import BadInput
from freehold.spec.yaml import read

METHODS = ("lora", "qlora", "full", "scratch")


class BadWorkload(BadInput):
    """`{field}` cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The shape of a language model."""

    parameters: float
    layers: int
    kv_heads: int
    head: int
    """Width of one attention head."""
    hidden: int
    active: float = 0
    """Parameters that one token passes; 0: all of them."""
    bytes: float = 1
    """Of one weight while it answers: 2 in 16 bit, 1 in 8, 0.55 in 4."""

    @property
    def used(self) -> float:
        return self.active or self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """How it is trained."""

    method: str
    tokens: float
    """Of one epoch."""
    epochs: float = 1
    sequence: float = 2048
    batch: float = 8
    times_a_year: float = 1
    adapter: float = 0.005
    """Share of the parameters that an adapter has: rank 16 in all layers of an 8 B model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """What is asked of it."""

    requests_a_day: float
    tokens_in: float
    tokens_out: float
    first_token_ms: float = 2000
    token_ms: float = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All of it."""

    model: Model
    serve: Serve | None = None
    train: Train | None = None
    years: float = 3
    growth: float = 1
    """Traffic of a year over that of the year before."""
    rack_kw: float = 0
    """What one rack may take where it shall stand; 0: the mean of the world."""


_LIMITS: dict[str, tuple[float, float]] = {
    # field: least, most
    "parameters": (1e6, 1e14),
    "layers": (1, 1000),
    "kv_heads": (1, 1024),
    "head": (8, 1024),
    "hidden": (8, 1e6),
    "active": (0, 1e14),
    "bytes": (0.25, 4),
    "tokens": (1, 1e15),
    "epochs": (0.1, 1000),
    "sequence": (1, 1e7),
    "batch": (1, 1e6),
    "times_a_year": (0.01, 10_000),
    "adapter": (1e-6, 1),
    "requests_a_day": (1, 1e11),
    "tokens_in": (1, 1e7),
    "tokens_out": (1, 1e7),
    "first_token_ms": (1, 1e7),
    "token_ms": (0.1, 1e6),
    "years": (1, 10),
    "growth": (0.1, 10),
    "rack_kw": (0.1, 1000),
}


def from_text(text: str) -> Workload:
    """Read a workload file. Raises BadWorkload, BadYaml."""
    said = read(text).value
    if not isinstance(said, dict):
        raise BadWorkload(field="(file)", why="it is no list of `name: value`")
    parts: dict[str, Any] = {"model": Model, "train": Train, "serve": Serve}
    _refuse_unknown("", said, Workload)
    if "model" not in said:
        raise BadWorkload(field="model", why="it is missing", hint=_hint(Model))
    if not ("train" in said or "serve" in said):
        raise BadWorkload(field="serve", why="nothing is to be trained or served", hint=_hint(Serve))
    values = {name: _part(name, said[name], kind) for name, kind in parts.items() if name in said}
    values |= {name: _number(name, said[name]) for name in ("years", "growth", "rack_kw") if name in said}
    return Workload(**values)


def _part(name: str, said: Any, kind: type[Any]) -> Any:
    if not isinstance(said, dict):
        raise BadWorkload(field=name, why="it is no list of `name: value`", hint=_hint(kind))
    _refuse_unknown(f"{name}.", said, kind)
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in said]
    if missing:
        raise BadWorkload(field=f"{name}.{missing[0]}", why="it is missing", hint=_hint(kind))
    return kind(**{field: _value(name, field, value) for field, value in said.items()})


def _value(part: str, name: str, said: Any) -> Any:
    if name != "method":
        return _number(name, said, part)
    if said not in METHODS:
        raise BadWorkload(field=f"{part}.method", why=f"it is one of: {', '.join(METHODS)}")
    return said


def _number(name: str, said: Any, part: str = "") -> float:
    place = f"{part}.{name}" if part else name
    least, most = _LIMITS[name]
    try:
        number = float(str(said).replace(",", "").replace("_", ""))
    except ValueError as error:
        raise BadWorkload(field=place, why=f"`{str(said)[:40]}` is no number") from error
    if not least <= number <= most:
        raise BadWorkload(field=place, why=f"{number:g} is not between {least:g} and {most:g}")
    return number


def _refuse_unknown(before: str, said: Mapping[Any, Any], kind: type[Any]) -> None:
    known = [f.name for f in fields(kind)]
    for name in said:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{before}{near[0]}`?" if near else _hint(kind)
            raise BadWorkload(field=f"{before}{name}", why="there is no such field", hint=hint)


def _hint(kind: type[Any]) -> str:
    return "fields: " + ", ".join(f.name for f in fields(kind))
