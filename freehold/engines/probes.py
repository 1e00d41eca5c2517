"""Questions with the answers the trained model gave: asked again at every engine start.

They come from the service's own `examples` and from an empty request: never from anybody's data. An
engine whose answers differ from those of training is not the engine that was approved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from freehold.engines.protocol import Columns, Engine, ModelUnreadable, Value
from freehold.errors import Tampered
from freehold.spec.model import About

FILE = "probes.json"
TOLERANCE = 1e-6
"""How far a probability may be off: the same arithmetic on another processor, nothing more."""
SINGLE = 1e-4
"""The same for a model that computes in single precision, layer upon layer."""


TEXTS = (
    "Hello",
    "The parcel arrived on Tuesday, but the box was open.",
    "Das Wasser steht im Keller, und der Strom ist aus.",
    "¿Dónde está la estación más cercana?",
    "水が台所から漏れています。",
    "مرحبا، كيف الحال؟ ١٢٣",
    "a1 B2\tc3\n\n--- 99.50 € (approx.) ---",
    "🌊🚗 SOS!!! https://example.org/?q=1&r=2",
)
"""Questions of our own, in several scripts: what a model makes of them is nobody's secret."""


class AnswersDiffer(Tampered):
    """the engine does not answer as the model did when it was trained"""


def empty_request(about: About) -> dict[str, Value]:
    """Nothing known: an empty text, a missing number, no."""
    blank: dict[str, Value] = {"BYTES": "", "FP64": None, "INT64": None, "BOOL": None}
    return {column.name: blank[column.datatype] for column in about.inputs}


def neutral(about: About) -> list[dict[str, Value]]:
    """Rows of nobody's data: nothing known, then as many as there are texts, each column in its turn."""
    return [empty_request(about), *(_row(about, number) for number in range(len(TEXTS)))]


def _row(about: About, number: int) -> dict[str, Value]:
    """Small and large, round and not, so that every column moves."""
    values: dict[str, tuple[Value, ...]] = {
        "BYTES": TEXTS,
        "FP64": (0.0, 1.0, -1.0, 0.5, 42.25, 1234.5, -987.625, 1e6),
        "INT64": (0, 1, -1, 7, 42, 365, 10_000, 1_000_000),
        "BOOL": (False, True),
    }
    return {
        column.name: values[column.datatype][(number + place) % len(values[column.datatype])]
        for place, column in enumerate(about.inputs)
    }


def tolerance(about: About) -> float:
    """How far a probability of this model may be off."""
    return SINGLE if about.features.get("precision") == "single" else TOLERANCE


def ask_all(engine: Engine, asks: Sequence[Mapping[str, Value]]) -> list[dict[str, Any]]:
    """Ask each, and keep question and answer; probabilities as decimal text, digit for digit."""
    kept: list[dict[str, Any]] = []
    for ask in asks:
        answers = engine.infer(_columns(ask))
        kept.append(
            {
                "ask": dict(ask),
                "class": answers.classes[0],
                "probabilities": [repr(p) for p in answers.probabilities[0]],
            }
        )
    return kept


def file_of(probes: Sequence[Mapping[str, Any]]) -> bytes:
    """`probes.json`."""
    return json.dumps(list(probes), ensure_ascii=False, sort_keys=True, indent=1).encode()


def prove(engine: Engine, files: Mapping[str, bytes]) -> int:
    """Ask every probe again; how many there were. Raises AnswersDiffer, naming the probe by its number."""
    probes, most = read(files), tolerance(engine.metadata())
    for number, probe in enumerate(probes, start=1):
        answers = engine.infer(_columns(probe["ask"]))
        if answers.classes[0] != probe["class"]:
            raise AnswersDiffer(why=f"probe {number} of {len(probes)} has another class")
        wanted = [float(p) for p in probe["probabilities"]]
        off = [abs(a - b) for a, b in zip(answers.probabilities[0], wanted, strict=True)]
        if not all(each <= most for each in off):  # what is no number is off, too
            worst = max(off)
            raise AnswersDiffer(
                why=f"probe {number} of {len(probes)} is off by {worst:.1e}, {most:.0e} is allowed"
            )
    return len(probes)


def read(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The probes of a model; none when it has no file of them. Raises ModelUnreadable."""
    if FILE not in files:
        return []
    try:
        probes: list[dict[str, Any]] = json.loads(files[FILE])
    except ValueError as error:
        raise ModelUnreadable(why=f"`{FILE}` cannot be read") from error
    return probes


def _columns(ask: Mapping[str, Value]) -> Columns:
    return {name: [value] for name, value in ask.items()}
