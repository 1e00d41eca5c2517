"""What answers is what was evaluated: the same parts, and the same answers to the same probes.

An evaluation writes its *evidence* into the card: digests of the parts that answers follow from, and
what the engine answered to a few probes. Every engine asks these again before it takes a request, and
refuses with the name of what is different.

Probes are sentences of our own and the service's `examples`: never rows of anybody's data, for a card
lies open and is kept for as long as the decision it supports.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.engines import probes
from freehold.engines.protocol import Engine, Generator, Value
from freehold.errors import Tampered
from freehold.spec.ids import canonical, digest
from freehold.spec.model import About, FileEntry, Manifest
from freehold.spec.plain import plain, unplain
from freehold.store.signing import Envelope, verify

EVIDENCE_TYPE = "application/vnd.freehold.evidence+json"
"""What the release key signs so that engines can check against a card."""

WRITTEN = 16
"""Tokens of a generator's answer to a probe."""
WRITING_TOLERANCE = 1e-3
"""How far a token's log-probability may be off: single precision, layer upon layer, token upon token."""

TEMPLATE, TOKENIZER = "chat_template.jinja", ("tokenizer.json", "tokenizer_config.json")
_ASIDE = ("about.json", "probes.json", "plan.json")


class OtherThanEvaluated(Tampered):
    """the model does not answer as it was evaluated"""


class NoEvidence(Tampered):
    """nothing says how the model answered when it was evaluated"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which what answers is not what was evaluated."""

    name: str
    """`engine`, `weights`, `adapter`, `template`, `tokenizer`, `end token`; `answers` where all of these
    are the same and the answers are not."""
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def parts(manifest: Manifest) -> dict[str, str]:
    """What answers follow from, each by a digest or by what it is."""
    about = manifest.about
    named = {
        "engine": engine_part(manifest.engine, manifest.engine_flags),
        "weights": _weights(manifest),
        **{
            name: _digest(e for e in manifest.files if part_of(e.path) == name)
            for name in ("adapter", "template", "tokenizer")
        },
    }
    if about.task == "generate":
        named["end token"] = ", ".join(str(id) for id in about.features.get("end_tokens") or ()) or "none"
    return {name: said for name, said in named.items() if said}


def engine_part(engine: str, flags: Mapping[str, str]) -> str:
    """The engine and its settings, in words."""
    return ", ".join([engine, *(f"{name} {said}" for name, said in sorted(flags.items()))])


def part_of(path: str) -> str:
    """Which part a model's file belongs to."""
    if path.startswith("adapter/"):
        return "adapter"
    if path in TOKENIZER:
        return "tokenizer"
    return "template" if path == TEMPLATE else "weights"


def _weights(manifest: Manifest) -> str:
    """A generator's are its base's; any other model's its files, and what its columns and classes mean."""
    about = manifest.about
    if about.task == "generate":
        return str(about.features.get("base", "none"))
    kept = [e for e in manifest.files if e.path not in _ASIDE and part_of(e.path) == "weights"]
    means = {
        "classes": list(about.classes),
        "inputs": [c.name for c in about.inputs],
        "features": about.features,
    }
    return digest({"files": _digest(kept), "means": means})


def _digest(entries: Iterable[FileEntry]) -> str:
    """Of some files; empty when there are none."""
    named = [{"path": e.path, "digest": e.digest} for e in entries]
    return digest({"files": named}) if named else ""


# -- evidence ---------------------------------------------------------------------------------------


def evidence(
    engine: Engine | Generator, manifest: Manifest, examples: Sequence[Mapping[str, Value]] = ()
) -> dict[str, Any]:
    """What a card keeps: the parts, and the answers of this engine to probes and examples. Canonical."""
    about = manifest.about
    if about.task == "generate":
        asked = _ask_generator(engine, [*probes.TEXTS, *_texts(examples)])  # type: ignore[arg-type]  # by its task
        most = WRITING_TOLERANCE
    else:
        rows = [*probes.neutral(about), *examples]
        asked = [plain(one) for one in probes.ask_all(engine, rows)]  # type: ignore[arg-type]  # by its task
        most = probes.tolerance(about)
    return {"parts": parts(manifest), "tolerance": f"{most:.0e}", "probes": asked}


def _texts(examples: Sequence[Mapping[str, Value]]) -> list[str]:
    """A generator is asked with one text."""
    return [str(next(iter(example.values()))) for example in examples]


def _ask_generator(generator: Generator, texts: Sequence[str]) -> list[dict[str, Any]]:
    asks = [[{"role": "user", "content": text}] for text in texts]
    return [
        {"ask": text, "tokens": list(said.tokens), "logprobs": [repr(p) for p in said.logprobs]}
        for text, said in zip(texts, generator.complete(asks, WRITTEN), strict=True)
    ]


def payload(serving_digest: str, card: str, said: Mapping[str, Any]) -> bytes:
    """What is signed as `EVIDENCE_TYPE`: a card's evidence, which card, and about what."""
    return canonical({"serving_digest": serving_digest, "card": card, "parity": said})


def read(path: Path, public: Ed25519PublicKey, manifest: Manifest) -> dict[str, Any]:
    """Signed evidence from its file, when it is about this very model.

    Raises NoEvidence, SignatureWrong, or OtherThanEvaluated, naming the parts that are different.
    """
    said = json.loads(verify(public, Envelope.from_json(_signed(path)), EVIDENCE_TYPE))
    found: dict[str, Any] = said["parity"]
    refuse(compare(found["parts"], parts(manifest)))
    if said["serving_digest"] != manifest.serving_digest:
        raise OtherThanEvaluated(why="the evidence is about another model with the same parts")
    return found


def _signed(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict):
        hint = "evaluate it, and release it then"
        raise NoEvidence(why="its signed evidence is missing or cannot be read", hint=hint)
    return said


# -- checking ---------------------------------------------------------------------------------------


def compare(evaluated: Mapping[str, str], here: Mapping[str, str]) -> tuple[Difference, ...]:
    """The parts that are not the same."""
    names = sorted({*evaluated, *here})
    return tuple(
        Difference(name=name, why=_told(name, evaluated.get(name, "none"), here.get(name, "none")))
        for name in names
        if evaluated.get(name) != here.get(name)
    )


def _told(name: str, evaluated: str, here: str) -> str:
    """Digests are shortened; settings of an engine are told where they differ."""
    if name == "engine":
        was, now = evaluated.split(", "), here.split(", ")
        evaluated = ", ".join(word for word in was if word not in now) or "less"
        here = ", ".join(word for word in now if word not in was) or "less"
    return f"evaluated with {_short(evaluated)}, here is {_short(here)}"


def _short(said: str) -> str:
    return said[:19] if said.startswith("sha256:") else said[:200]


def check(
    engine: Engine | Generator, manifest: Manifest, evidence: Mapping[str, Any]
) -> tuple[Difference, ...]:
    """How this engine, with this model, differs from what was evaluated; nothing when it does not."""
    differences = compare(evidence["parts"], parts(manifest))
    if differences:
        return differences
    if not evidence["probes"]:
        return (Difference(name="answers", why="the evidence holds no probe"),)
    most = float(evidence["tolerance"])
    if manifest.about.task == "generate":
        return _check_generator(engine, evidence["probes"], most)  # type: ignore[arg-type]  # by its task
    return _check_engine(engine, evidence["probes"], most)  # type: ignore[arg-type]  # by its task


def _check_engine(engine: Engine, asked: Sequence[Any], most: float) -> tuple[Difference, ...]:
    for number, probe in enumerate(asked, start=1):
        (now,) = probes.ask_all(engine, [unplain(probe["ask"])])
        where = f"probe {number} of {len(asked)}"
        if now["class"] != probe["class"]:
            return (Difference(name="answers", why=f"{where} has another class"),)
        pairs = zip(now["probabilities"], probe["probabilities"], strict=True)
        off = [abs(float(a) - float(b)) for a, b in pairs]
        if not all(each <= most for each in off):  # what is no number is off, too
            worst = max(off)
            return (Difference(name="answers", why=f"{where} is off by {worst:.1e}, {most:.0e} is allowed"),)
    return ()


def _check_generator(generator: Generator, asked: Sequence[Any], most: float) -> tuple[Difference, ...]:
    now = _ask_generator(generator, [probe["ask"] for probe in asked])
    for number, (probe, said) in enumerate(zip(asked, now, strict=True), start=1):
        if (why := _unlike(probe, said, most)) is not None:
            return (Difference(name="answers", why=f"probe {number} of {len(asked)} {why}"),)
    return ()


def _unlike(evaluated: Mapping[str, Any], here: Mapping[str, Any], most: float) -> str | None:
    """Where two answers part, unless it is a tie: both tokens as likely as the tolerance can tell.

    After a tie the answers go different ways, and nothing more can be compared.
    """
    pairs = zip(evaluated["tokens"], here["tokens"], evaluated["logprobs"], here["logprobs"], strict=False)
    for place, (was, is_, before, after) in enumerate(pairs, start=1):
        off = abs(float(before) - float(after))
        if not off <= most:
            return f"is off by {off:.1e} at token {place}, {most:.0e} is allowed"
        if was != is_:
            return None
    if len(evaluated["tokens"]) != len(here["tokens"]):
        return "has another length"
    return None


def prove(engine: Engine | Generator, manifest: Manifest, evidence: Mapping[str, Any]) -> int:
    """How many probes were answered as evaluated. Raises OtherThanEvaluated, naming what is different."""
    refuse(check(engine, manifest, evidence))
    return len(evidence["probes"])


def refuse(differences: Sequence[Difference]) -> None:
    """Raise OtherThanEvaluated when there is any."""
    if differences:
        raise OtherThanEvaluated(
            why="; ".join(str(difference) for difference in differences),
            hint="release what was evaluated, or evaluate and approve what is here",
        )


def same_meaning(about: About, template: str, tokenizer: str) -> tuple[Difference, ...]:
    """What a generator's own description says of its template and tokenizer, against the files."""
    said = {name: str(about.features.get(name, "none")) for name in ("template", "tokenizer")}
    return compare(said, {"template": template, "tokenizer": tokenizer})
