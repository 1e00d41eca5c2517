"""What a training would do, before anything is done: the run's full specification, and estimates."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from freehold.engines.identity import FAMILIES
from freehold.errors import BadInput
from freehold.jobs.machine import cores
from freehold.spec.base import Base
from freehold.spec.config import Config
from freehold.spec.plain import plain
from freehold.spec.service import Model, Service
from freehold.spec.sizes import memory_bytes
from freehold.spec.snapshot import Column
from freehold.train import settings

Datatype = Literal["BYTES", "FP64", "INT64", "BOOL"]

_DATATYPES: dict[str, Datatype] = {
    "text": "BYTES",
    "integer": "INT64",
    "number": "FP64",
    "boolean": "BOOL",
}
"""A data set's word for a type -> the Open Inference Protocol's. Nested values (`json`) have none."""


class CannotTrain(BadInput):
    """`{data}` cannot be trained on as `{service}` asks"""


class BaseUnfit(BadInput):
    """`{base}` cannot be tuned for `task: {task}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """What a plan needs to know of a data set version."""

    ref: str
    digest: str
    rows: int
    columns: Mapping[str, str]
    """Name -> `text`, `integer`, `number`, `boolean` or `json`, in the version's order, without subject and
    consent columns."""
    target: str | None
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A guess before the run, marked as one, and how it was made. Decimals are text."""

    seconds: str
    memory_bytes: int
    watt_hours: str
    money: str
    currency: str
    formula: str
    estimated: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """What would run."""

    spec: dict[str, Any]
    """Canonical: everything the run depends on, defaults written out."""
    estimate: Estimate
    fits: bool
    """Whether the estimated memory is within what the service asks for."""
    left_out: dict[str, str]
    """Columns that are not learned from, and why."""


def trainer_of(model: Model) -> str:
    """What trains it: `linear` or `boosting`, or for a base model how it is tuned."""
    return model.tune if model.base else model.trainer


def plan(service: Service, *, data: DataFacts, config: Config, base: Base | None = None) -> TrainPlan:
    """`base` is the one the service names. Raises BadInput (CannotTrain, SettingUnusable, BaseUnfit)."""
    model = service.model
    trainer = trainer_of(model)
    chosen = settings.complete(model.task, trainer, model.train)
    inputs, left_out = _inputs(service, data)
    spec: dict[str, Any] = {
        "kind": "train",
        "format": 1,
        "task": model.task,
        "trainer": trainer,
        "data": {"ref": data.ref, "digest": data.digest},
        "target": _target(service, data),
        "inputs": [{"name": c.name, "datatype": c.datatype} for c in inputs],
        "settings": settings.as_text(chosen),
        "probes": [plain(dict(example.ask)) for example in service.examples],
        "threads": 1,
    }
    if model.base:
        spec |= _tuning(model, base)
    _check_examples(service, data, inputs)
    estimate = _estimate(service, data, len(inputs), chosen, config, base)
    return TrainPlan(
        spec=spec,
        estimate=estimate,
        fits=estimate.memory_bytes <= memory_bytes(model.memory),
        left_out=left_out,
    )


def _tuning(model: Model, base: Base | None) -> dict[str, Any]:
    """What a run that tunes a base model depends on besides. Raises BaseUnfit."""
    if base is None:
        raise BaseUnfit(base=model.base, task=model.task, why="it was not handed to the plan")
    _refuse_unfit(model, base)
    return {
        "base": {"ref": base.ref, "digest": base.digest},
        "threads": min(MOST_THREADS, cores()),
        "checkpoint_seconds": CHECKPOINT_SECONDS,
    }


def _refuse_unfit(model: Model, base: Base) -> None:
    """An encoder classifies, a causal model writes, if there is an engine for its family."""
    facts = base.facts
    wanted = "causal" if model.task == "generate" else "encoder"
    if facts.role != wanted:
        raise BaseUnfit(
            base=base.ref,
            task=model.task,
            why=f"it is of the family {facts.model_type} ({facts.role})",
            hint="name an encoder" if wanted == "encoder" else "name a model that continues text",
        )
    if wanted == "causal" and facts.model_type not in FAMILIES:
        raise BaseUnfit(
            base=base.ref,
            task=model.task,
            why=f"the engine does not compute the family {facts.model_type}",
            hint="it computes " + ", ".join(FAMILIES),
        )
    if wanted == "causal" and facts.template is None:
        raise BaseUnfit(
            base=base.ref,
            task=model.task,
            why="it has no chat template",
            hint="add one that was tuned for conversations, or put a `chat_template.jinja` beside it",
        )


MOST_THREADS = 2
"""More are no faster for what is tuned on processors here, and one is left for everybody else."""
CHECKPOINT_SECONDS = "30"
"""Read only by workers of the release before, which may stand on other machines; to go after the next one."""


def _target(service: Service, data: DataFacts) -> str:
    if data.target is None:
        raise _cannot(
            service,
            data,
            "it has no target column",
            "add it again with `--target COLUMN`: the column to be learned",
        )
    return data.target


def _inputs(service: Service, data: DataFacts) -> tuple[tuple[Column, ...], dict[str, str]]:
    if service.model.task != "tabular":
        return _text_input(service, data)
    return _column_inputs(service, data)


def _text_input(service: Service, data: DataFacts) -> tuple[tuple[Column, ...], dict[str, str]]:
    if data.text is None:
        raise _cannot(
            service, data, "it has no text column", "add it again with `--text COLUMN`: what is asked"
        )
    if service.model.features:
        raise _cannot(
            service, data, "`features` names columns, and this task reads the text", "use task tabular"
        )
    if data.columns.get(data.text) != "text":
        raise _cannot(service, data, f"its text column `{data.text}` does not hold text")
    others = {name: "not the text" for name in data.columns if name not in (data.text, data.target)}
    return (Column(name=data.text, datatype="BYTES"),), others


def _column_inputs(service: Service, data: DataFacts) -> tuple[tuple[Column, ...], dict[str, str]]:
    """The named features, else every column that is not target, text or a gate's group."""
    groups = {column for gate in service.gates.values() for column in gate.across}
    why = dict.fromkeys(groups, "compared across by a gate")
    why |= {name: "the target" for name in (data.target,) if name}
    why |= {name: "free text" for name in (data.text,) if name}
    names = service.model.features or tuple(name for name in data.columns if name not in why)
    inputs = []
    for name in names:
        if name not in data.columns:
            near = difflib.get_close_matches(name, data.columns, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "it has " + ", ".join(data.columns)
            raise _cannot(service, data, f"it has no column `{name[:60]}`", hint)
        if name in (data.target, data.text):
            raise _cannot(service, data, f"`{name}` is {why[name]}, and cannot be a feature")
        inputs.append(Column(name=name, datatype=_readable(service, data, name)))
    if not inputs:
        raise _cannot(service, data, "no column is left to learn from", "name some in `features`")
    return tuple(inputs), {n: why.get(n, "not named in features") for n in data.columns if n not in names}


def _readable(service: Service, data: DataFacts, name: str) -> Datatype:
    found = _DATATYPES.get(data.columns[name])
    if found is None:
        raise _cannot(
            service,
            data,
            f"`{name}` is of type `{data.columns[name]}`, which no trainer reads",
            "name the columns to learn from in `features`, without this one",
        )
    return found


def _check_examples(service: Service, data: DataFacts, inputs: tuple[Column, ...]) -> None:
    """An example must ask for exactly the inputs, in their types: each is asked of every candidate."""
    kinds: dict[str, tuple[type, ...]] = {
        "BYTES": (str,), "FP64": (int, float), "INT64": (int,), "BOOL": (bool,)
    }  # fmt: skip
    wanted = {column.name: kinds[column.datatype] for column in inputs}
    for number, example in enumerate(service.examples, start=1):
        if example.ask.keys() != wanted.keys():
            raise _cannot(
                service,
                data,
                f"example {number} asks for {', '.join(example.ask) or 'nothing'}",
                f"the model's inputs are {', '.join(wanted)}",
            )
        for name, value in example.ask.items():
            if not isinstance(value, wanted[name]) or (isinstance(value, bool) and bool not in wanted[name]):
                raise _cannot(service, data, f"example {number} gives `{name}` a value of another type")


def _cannot(service: Service, data: DataFacts, why: str, hint: str = "") -> CannotTrain:
    return CannotTrain(data=data.ref, service=service.service, why=why, hint=hint)


# -- estimates: measured on one core (docs/manual/train.md says how), scaled by rows ------------------

_START_SECONDS = 3.0
_START_BYTES = 300_000_000


def _estimate(
    service: Service,
    data: DataFacts,
    inputs: int,
    chosen: Mapping[str, settings.Scalar],
    config: Config,
    base: Base | None,
) -> Estimate:
    threads = 1
    if base is not None:
        threads = min(MOST_THREADS, cores())
        seconds, memory, formula = _tuning_work(base, service.model, data.rows, chosen, threads)
    else:
        seconds, memory, formula = _work(service, data.rows, inputs, chosen)
    watt_hours = Decimal(str(seconds)) * threads * Decimal(config.watts_per_core) / 3600
    money = watt_hours / 1000 * Decimal(config.tariff)
    return Estimate(
        seconds=f"{seconds:.0f}",
        memory_bytes=memory,
        watt_hours=f"{watt_hours:.4f}",
        money=f"{money:.6f}",
        currency=config.currency,
        formula=f"{formula}; energy = seconds x {threads} x {config.watts_per_core} W a core",
    )


_GIGAFLOPS = 40.0
"""Of single precision a thread, as measured while tuning a small encoder on two busy cores."""
_TOKENS = 20
"""Of a text, on average: its length is not known before it is read."""
_TOKENS_WITH_ANSWER = 120
"""Of a question and its answer."""


def _tuning_work(
    base: Base, model: Model, rows: int, chosen: Mapping[str, settings.Scalar], threads: int
) -> tuple[float, int, str]:
    """Seconds on `threads`, bytes, and the formula: two floating-point operations a weight and token forward,

    twice that backward where the adapter lies beside every matrix, nothing where only a head learns.
    """
    facts = base.facts
    weights = max(facts.parameters - facts.vocabulary * facts.hidden, facts.hidden)
    epochs = int(chosen["epochs"]) if model.tune == "lora" else 1
    passes = 3 if model.tune == "lora" else 1
    tokens = _TOKENS if model.task == "classify" else _TOKENS_WITH_ANSWER
    read = rows * min(tokens, int(chosen["max_length"]))
    seconds = 10.0 + 2.0 * passes * weights * read * epochs / (_GIGAFLOPS * 1e9 * threads)
    memory = 1_500_000_000 + facts.parameters * 4 * 10 + rows * 2_000
    words = "10 s + 2 x weights x tokens x passes x epochs"
    return seconds, memory, f"{words} / ({_GIGAFLOPS:g} GFLOP/s x {threads} threads), {tokens} tokens a row"


def _work(
    service: Service, rows: int, inputs: int, chosen: Mapping[str, settings.Scalar]
) -> tuple[float, int, str]:
    """Seconds on one core, bytes, and the formula in words."""
    if service.model.task == "classify":
        each, size = (0.6e-3, 30_000) if chosen["solver"] == "svm" else (2e-3, 40_000)
        formula = f"{_START_SECONDS:g} s + rows x {each * 1000:g} ms"
        return _START_SECONDS + rows * each, _START_BYTES + rows * size, formula
    if service.model.trainer == "boosting":
        cells = rows * inputs * int(chosen["trees"])
        formula = f"{_START_SECONDS:g} s + rows x columns x trees x 40 ns"
        return _START_SECONDS + cells * 40e-9, _START_BYTES + rows * inputs * 40, formula
    formula = f"{_START_SECONDS:g} s + rows x columns x 2 µs"
    return _START_SECONDS + rows * inputs * 2e-6, _START_BYTES + rows * inputs * 200, formula
