"""Texts with something to hide that come in pieces: what of it leaves, and how much waits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import screens_secrets
import screens_text

from freehold.screen.found import Found, without
from freehold.screen.hold import CAP, Held
from freehold.screen.rules import BOTH, find

GOALS = {"characters held, mean": 14, "characters held, most": CAP, "characters that left": 0}
HIDDEN = "\ue000"
"""Stands for each character that is taken out, so that every place of a text keeps its own."""
DOCUMENT = 1_500


def measured(data: Path) -> dict[str, Any]:
    """Every cut of every text that has something to hide, and documents in small pieces."""
    labelled = [row.text for row in screens_text.labelled(data)]
    texts = [text for text in labelled if find(text)]
    secrets = [text for _, text, _, _ in screens_secrets.texts()]
    bounded = [text for text in secrets if _bounded(text)]
    ordinary = screens_text.ordinary(data)
    return {
        "goals": GOALS,
        "personal data, cut at every place": _cut(texts),
        "secrets, cut at every place": _cut(bounded),
        "secrets longer than the cap, in pieces of 1 to 64": _long(
            [text for text in secrets if not _bounded(text)]
        ),
        f"documents of {DOCUMENT} characters in pieces of 1 to 8": {
            "personal data": _waits(_documents(labelled)),
            "secrets": _waits(_documents(bounded)),
            "personal data and secrets": _waits(_documents(labelled + bounded)),
            "GDPR": _waits(_documents(ordinary["GDPR"])),
            "BANKING77": _waits(_documents(ordinary["BANKING77"])),
        },
    }


def _bounded(text: str) -> bool:
    return all(one.end - one.start <= CAP for one in find(text))


def _cut(texts: Sequence[str]) -> dict[str, int]:
    told = Counter[str](texts=len(texts), entities=0, cuts=0, differ=0, left=0)
    for text in texts:
        found = find(text)
        whole = without(text, found, _hidden)
        told["entities"] += len(found)
        for cut in range(1, len(text)):
            out = _streamed((text[:cut], text[cut:]))
            told["cuts"] += 1
            told["differ"] += out != whole
            told["left"] += _left(whole, out)
    return _said(told)


def _long(texts: Sequence[str]) -> dict[str, int]:
    """What is longer than the cap is masked once, and its rest swallowed: what leaves has none of it."""
    told, chance = Counter[str](texts=len(texts), entities=0, cuts=0, differ=0, left=0), random.Random(7)
    for text in texts:
        found = find(text)
        told["entities"] += len(found)
        held = Held(BOTH, lambda _one, _value: HIDDEN)
        pieces = list(_pieces(text, chance, 64))
        out = "".join(held.feed(piece) for piece in pieces) + held.finish()
        whole = without(text, found, lambda _one, _value: HIDDEN)
        told["cuts"] += len(pieces)
        told["differ"] += out != whole
        told["left"] += max(0, len(out) - len(whole))
    return _said(told)


def _said(told: Counter[str]) -> dict[str, int]:
    return {
        "texts": told["texts"],
        "entities": told["entities"],
        "cuts": told["cuts"],
        "outputs unlike the masked whole": told["differ"],
        "characters that left": told["left"],
    }


def _hidden(_one: Found, value: str) -> str:
    return HIDDEN * len(value)


def _streamed(pieces: Sequence[str]) -> str:
    held = Held(BOTH, _hidden)
    return "".join([held.feed(piece) for piece in pieces]) + held.finish()


def _left(whole: str, out: str) -> int:
    """Characters of something hidden that left all the same."""
    if len(whole) != len(out):
        return whole.count(HIDDEN)  # no place can be compared: all of it counts
    return sum(kept == HIDDEN != said for kept, said in zip(whole, out, strict=True))


def _documents(texts: Sequence[str]) -> list[str]:
    """The texts one behind the other, in pieces of `DOCUMENT`."""
    mixed = list(texts)
    random.Random(7).shuffle(mixed)
    joined = "\n".join(mixed)
    return [joined[start : start + DOCUMENT] for start in range(0, len(joined), DOCUMENT)]


def _waits(documents: Sequence[str]) -> dict[str, float]:
    chance, waiting, differ, left = random.Random(7), list[int](), 0, 0
    for text in documents:
        held, out = Held(BOTH, _hidden), ""
        for piece in _pieces(text, chance, 8):
            out += held.feed(piece)
            waiting.append(held.waiting)
        out += held.finish()
        whole = without(text, find(text), _hidden)
        differ += out != whole
        left += _left(whole, out)
    waiting.sort()
    return {
        "documents": len(documents),
        "characters held, mean": round(sum(waiting) / len(waiting), 1),
        "characters held, 99 of 100": waiting[int(0.99 * len(waiting))],
        "characters held, most": waiting[-1],
        "outputs unlike the masked whole": differ,
        "characters that left": left,
    }


def _pieces(text: str, chance: random.Random, most: int) -> Iterator[str]:
    done = 0
    while done < len(text):
        size = chance.randint(1, most)
        yield text[done : done + size]
        done += size
