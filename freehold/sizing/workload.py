"""What somebody wants to train and to serve, as a file says it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from importlib.resources import files
from typing import Any

from freehold.errors import BadInput
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.yaml import read

METHODS = ("lora", "qlora", "full", "scratch")
MOST_DAYS = 10_000
"""Of one run."""
KINDS = ("text", "images", "volumes")
FEEDS = ("n", "n+1", "2n")
CURVES: dict[str, tuple[float, ...]] = {
    "flat": (1.0,) * 24,
    "office": (
        *(0.10, 0.10, 0.10, 0.10, 0.10, 0.15, 0.25, 0.70, 1.50, 2.50, 2.90, 2.80),
        *(2.00, 2.40, 2.70, 2.40, 1.80, 1.00, 0.50, 0.30, 0.20, 0.20, 0.10, 0.10),
    ),
    "evening": (
        *(0.60, 0.35, 0.20, 0.15, 0.15, 0.20, 0.40, 0.70, 0.90, 0.95, 1.00, 1.05),
        *(1.15, 1.10, 1.05, 1.10, 1.20, 1.40, 1.70, 2.10, 2.40, 2.30, 1.80, 1.10),
    ),
}
"""Requests of an hour of the day over those of a mean hour: drawn by us, not measured."""


class BadWorkload(BadInput):
    """`{field}` cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The shape of a language model."""

    parameters: float
    layers: float
    kv_heads: float
    head: float
    """Width of one attention head."""
    hidden: float
    active: float = 0
    """Parameters that one token passes; 0: all of them."""
    experts: float = 0
    """Of each layer of a mixture; 0: not told, or none."""
    chosen: float = 0
    """Of these, for one token."""
    latent: float = 0
    """Width of the compressed cache of multi-head latent attention; 0: keys and values as they are."""
    rope: float = 0
    """Width of the positions beside it."""
    bytes: float = 1
    """Of one weight while it answers: 2 in 16 bit, 1 in 8, 0.55 in 4."""
    cache_bytes: float = 2
    """Of one number in the attention cache."""
    vocabulary: float = 128_256
    """Tokens it can write: each gets a number for each token that is trained on; Llama 3's where not told."""

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
    """Sequences that one device works on at a time."""
    times_a_year: float = 1
    adapter: float = 0.005
    """Share of the parameters that an adapter has: rank 16 in all layers of an 8 B model."""
    days: float = 0
    """Within which a run has to end; 0: no matter, the fewest devices do it."""
    step_tokens: float = 0
    """Tokens of one step of all devices together; 0: a thousand steps, 4 M tokens at most."""
    gigabytes: float = 0
    """What is read in one epoch; 0: the tokens' text."""
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """What is asked of it."""

    requests_a_day: float
    tokens_in: float
    tokens_out: float
    first_token_ms: float = 2000
    token_ms: float = 50
    cached: float = 0
    """Share of a prompt that stands in the cache already."""
    curve: tuple[float, ...] = ()
    """Requests of each hour of the day over those of a mean one; empty: the peak is a fact."""


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
    currency: str = "usd"
    country: str = ""
    """Where it shall stand; empty: a mean price and grid."""
    users: tuple[str, ...] = ()
    """Countries that ask."""
    sensitivity: str = "Internal"
    redundancy: str = "2n"
    device: str = ""
    """The one accelerator to plan with; empty: all that are known."""
    named: str = ""
    """The model's name, where it is a known one."""


_LIMITS: dict[str, tuple[float, float, str]] = {
    # field: least, most, what is counted
    "parameters": (1e6, 1e14, "parameters"),
    "layers": (1, 1000, "layers"),
    "kv_heads": (1, 1024, "heads"),
    "head": (8, 1024, "numbers"),
    "hidden": (8, 1e6, "numbers"),
    "active": (0, 1e14, "parameters"),
    "experts": (0, 1e5, "experts"),
    "chosen": (0, 1e5, "experts"),
    "latent": (0, 1e5, "numbers"),
    "rope": (0, 1e5, "numbers"),
    "bytes": (0.25, 4, "bytes"),
    "cache_bytes": (0.25, 4, "bytes"),
    "vocabulary": (2, 1e7, "tokens"),
    "tokens": (1, 1e15, "tokens"),
    "epochs": (0.1, 1000, "times"),
    "sequence": (1, 1e7, "tokens"),
    "batch": (1, 1e6, "sequences"),
    "times_a_year": (0.01, 10_000, "times"),
    "adapter": (1e-6, 1, "a share"),
    "days": (0, MOST_DAYS, "days"),
    "step_tokens": (0, 1e9, "tokens"),
    "gigabytes": (0, 1e9, "GB"),
    "requests_a_day": (1, 1e11, "requests"),
    "tokens_in": (1, 1e7, "tokens"),
    "tokens_out": (1, 1e7, "tokens"),
    "first_token_ms": (1, 1e7, "milliseconds"),
    "token_ms": (0.1, 1e6, "milliseconds"),
    "cached": (0, 0.99, "a share"),
    "years": (1, 10, "years"),
    "growth": (0.1, 10, "times"),
    "rack_kw": (0.1, 1000, "kW"),
}
_WORDS: dict[str, tuple[str, ...]] = {
    "method": METHODS,
    "kind": KINDS,
    "redundancy": FEEDS,
    "sensitivity": tuple(level.name.capitalize() for level in Sensitivity),
}
_PARTS: dict[str, type[Any]] = {"model": Model, "train": Train, "serve": Serve}


def from_text(text: str, asked: Serve | None = None) -> Workload:
    """Read a workload file. Raises BadWorkload, BadYaml.

    What is `asked` by measurement takes the place of what the file says; how fast it has to be stays.
    """
    said = read(text).value
    if not isinstance(said, dict):
        hint = "begin with `model: llama-3-8b` and `serve: {…}` or `train: {…}`"
        raise BadWorkload(field="(file)", why="it is no list of `name: value`", hint=hint)
    _refuse_unknown("", said, Workload, "named")
    if "model" not in said:
        raise BadWorkload(field="model", why="it is missing", hint=_hint(Model))
    if not ("train" in said or "serve" in said or asked):
        raise BadWorkload(field="serve", why="nothing is to be trained or served", hint=_hint(Serve))
    parts = {name: one for name, one in said.items() if name in _PARTS and not (asked and name == "serve")}
    values: dict[str, Any] = {name: _part(name, one) for name, one in parts.items()}
    values |= {name: _value("", name, one) for name, one in said.items() if name not in _PARTS}
    if asked is not None:
        values["serve"] = _objectives(asked, said.get("serve") or {})
    if isinstance(said["model"], str):
        values["named"] = said["model"].casefold()
    return Workload(**values)


def _objectives(asked: Serve, said: Any) -> Serve:
    if not isinstance(said, dict):
        raise BadWorkload(field="serve", why="it is no list of `name: value`", hint=_hint(Serve))
    _refuse_unknown("serve.", said, Serve)
    fast = {
        name: _value("serve", name, said[name]) for name in ("first_token_ms", "token_ms") if name in said
    }
    return replace(asked, **fast)


def of_model(name: str, serve: Serve) -> Workload:
    """A known model under a traffic. Raises BadWorkload."""
    return Workload(model=_known(name), serve=serve, named=name.casefold())


@cache
def known_models() -> Mapping[str, Model]:
    """Shapes of open models by name."""
    said = read(files("freehold.sizing").joinpath("models.yaml").read_text(encoding="utf-8")).value
    return {name: Model(**{f: float(v) for f, v in shape.items()}) for name, shape in said.items()}


def _known(name: str) -> Model:
    found = known_models().get(name.casefold())
    if found is None:
        near = difflib.get_close_matches(name.casefold(), known_models(), n=1)
        hint = f"did you mean `{near[0]}`?" if near else "known are: " + ", ".join(known_models())
        raise BadWorkload(field="model", why=f"no model `{name[:40]}` is known", hint=hint)
    return found


def _part(name: str, said: Any) -> Any:
    kind = _PARTS[name]
    if name == "model" and isinstance(said, str):
        return _known(said)
    if not isinstance(said, dict):
        raise BadWorkload(field=name, why="it is no list of `name: value`", hint=_hint(kind))
    _refuse_unknown(f"{name}.", said, kind)
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in said]
    if missing:
        raise BadWorkload(field=f"{name}.{missing[0]}", why="it is missing", hint=_hint(kind))
    made = kind(**{field: _value(name, field, value) for field, value in said.items()})
    if isinstance(made, Model):
        _consistent(made)
    return made


def _consistent(model: Model) -> None:
    if model.active > model.parameters:
        hint = "`active` are those that one token passes, `parameters` all of them"
        raise BadWorkload(field="model.active", why="more than all of its parameters", hint=hint)
    hint = "`experts` are those of a layer, `chosen` how many of them one token takes"
    if model.chosen > model.experts:
        why = f"{model.chosen:g} of {model.experts:g} experts"
        raise BadWorkload(field="model.chosen", why=why, hint=hint)
    if bool(model.chosen) != bool(model.experts):
        why = "experts and chosen are said together, or not at all"
        raise BadWorkload(field="model.chosen", why=why, hint=hint)


def _value(part: str, name: str, said: Any) -> Any:
    if name == "curve":
        return _curve(said)
    if name == "users":
        one = said if isinstance(said, list) else [said]
        return tuple(_country("users", country) for country in one)
    if name == "country":
        return _country(name, said)
    if name in ("currency", "device"):
        return str(said).strip().casefold()[:40]
    if name not in _WORDS:
        return _number(name, said, part)
    word = next((w for w in _WORDS[name] if w.casefold() == str(said).strip().casefold()), None)
    if word is None:
        place = f"{part}.{name}" if part else name
        near = difflib.get_close_matches(str(said).casefold(), [w.casefold() for w in _WORDS[name]], n=1)
        meant = next((w for w in _WORDS[name] if [w.casefold()] == near), _WORDS[name][0])
        hint = f"write `{name}: {meant}`"
        raise BadWorkload(field=place, why=f"it is one of: {', '.join(_WORDS[name])}", hint=hint)
    return word


def _curve(said: Any) -> tuple[float, ...]:
    if isinstance(said, str) and said.casefold() in CURVES:
        return CURVES[said.casefold()]
    numbers = all(isinstance(n, int | float) and n >= 0 for n in said) if isinstance(said, list) else False
    if not numbers or len(said) != 24 or not sum(said):
        why = f"it is one of: {', '.join(CURVES)}; or 24 numbers, one for each hour"
        raise BadWorkload(field="serve.curve", why=why, hint="write `curve: office`")
    mean = sum(said) / 24
    return tuple(float(n) / mean for n in said)


def _country(field: str, said: Any) -> str:
    code = str(said).strip().casefold()
    if not re.fullmatch("[a-z]{2}", code):
        hint = "two letters, as in `de`"
        raise BadWorkload(field=field, why=f"`{code[:40]}` is no country's code", hint=hint)
    return code


def _number(name: str, said: Any, part: str = "") -> float:
    place = f"{part}.{name}" if part else name
    least, most, counted = _LIMITS[name]
    plain = str(said).strip().replace(",", "").replace("_", "")
    if with_unit := re.fullmatch(r"([-+.0-9eE]+)\s*([A-Za-z%°µ/]+)", plain):
        why = f"`{str(said)[:40]}` has the unit {with_unit[2][:12]}; this is a plain number of {counted}"
        raise BadWorkload(field=place, why=why, hint=f"write `{name}: …` in {counted}, without a unit")
    try:
        number = float(plain)
    except ValueError as error:
        hint = f"write `{name}: …` as a plain number of {counted}"
        raise BadWorkload(field=place, why=f"`{str(said)[:40]}` is no number", hint=hint) from error
    if not least <= number <= most:
        why = f"{number:g} is not between {least:g} and {most:g}"
        raise BadWorkload(field=place, why=why, hint=f"write `{name}: …` in {counted}")
    return number


def _refuse_unknown(before: str, said: Mapping[Any, Any], kind: type[Any], *hidden: str) -> None:
    known = [f.name for f in fields(kind) if f.name not in hidden]
    for name in said:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{before}{near[0]}`?" if near else _hint(kind)
            raise BadWorkload(field=f"{before}{name}", why="there is no such field", hint=hint)


def _hint(kind: type[Any]) -> str:
    return "fields: " + ", ".join(f.name for f in fields(kind))
