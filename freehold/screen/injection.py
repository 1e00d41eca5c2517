"""Does this text tell the model to put its instructions aside? A linear gate, a few tens of microseconds.

Words, pairs and triples of words, hashed into a table of small weights; a text is read in windows of
some hundred words and counts as much as its worst one, so that an attack cannot be hidden in a long
letter. It also reads every decoded view of the text. The table was fitted by
`tools/injection/build.py`, which names every source; it holds no word, only numbers.

A score is between 0 and 1. It is no probability: `freehold screens calibrate` says which scores your
own honest traffic reaches.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from freehold.errors import Unavailable
from freehold.screen.normal import readings
from freehold.screen.views import views

BITS = 17
WINDOW, STEP = 96, 64
"""Words read at once, and how far the next window begins after this one."""
_WORDS = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[^\x00-\x7f\W_]+|[{}\[\]<>#|`\"!?:;]")
_MASK = (1 << BITS) - 1
_LONGEST = 20


class GateMissing(Unavailable):
    """the injection gate cannot be read"""

    denies = True


@dataclass(frozen=True, slots=True)
class Gate:
    """The fitted table and how its sums become scores."""

    weights: bytes
    """One signed byte for each of 2^BITS features."""
    scale: float
    bias: float
    flag: float
    refuse: float
    """The scores from which a text is flagged and refused, where a service says nothing else."""
    about: str
    """What it was fitted on, for people."""

    def score(self, text: str) -> float:
        """The score of the worst window of `text` in any way it can be read, 0 to 1."""
        return max(map(self.as_written, _read(text)))

    def as_written(self, text: str) -> float:
        """The score of `text` as it stands there, its disguises left on."""
        worst = max((self._margin(window) for window in windows(text)), default=self.bias)
        return 1 / (1 + math.exp(-max(-40.0, min(40.0, worst))))

    def _margin(self, window: list[str]) -> float:
        weights = self.weights
        places = features(window)
        total = 0
        for place in places:
            weight = weights[place]
            total += weight - 256 if weight > 127 else weight
        return self.bias + self.scale * total / math.sqrt(len(places)) if places else self.bias


def _read(text: str) -> Iterator[str]:
    """Its normal readings, and every view of them."""
    for reading in readings(text):
        yield reading.text
        for view in views(reading.text):
            yield view.text


def words_of(text: str) -> list[str]:
    """The words and telling signs of a text, in small letters without accents."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return _WORDS.findall(text.lower())


def windows(text: str) -> Iterator[list[str]]:
    """The words of `text` in windows that overlap; the last one is full where there are enough."""
    words = words_of(text)
    if len(words) <= WINDOW:
        if words:
            yield words
        return
    for start in range(0, len(words) - WINDOW, STEP):
        yield words[start : start + WINDOW]
    yield words[-WINDOW:]


def features(words: list[str]) -> set[int]:
    """The places in the table of everything that stands in a window, each once."""
    found: set[int] = set()
    before = before_that = 0
    for word in words:
        here = zlib.crc32(word[:_LONGEST].encode())
        pair = before * 0x9E3779B1 + here
        found.add(here & _MASK)
        found.add((pair * 0x85EBCA6B >> 13) & _MASK)
        found.add(((before_that * 0xC2B2AE35 + pair) * 0x27D4EB2F >> 11) & _MASK)
        before_that, before = before, here
    return found


@cache
def gate() -> Gate:
    """The gate that ships with this release. Raises GateMissing."""
    folder = resources.files("freehold.screen")
    try:
        said = json.loads(folder.joinpath("injection.json").read_text())
        weights = zlib.decompress(folder.joinpath("injection.weights").read_bytes())
        fitted = Gate(
            weights=weights, **{name: said[name] for name in ("scale", "bias", "flag", "refuse", "about")}
        )
    except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise GateMissing(
            why=f"its files: {type(error).__name__}", hint="install this release again"
        ) from error
    if len(weights) != 1 << BITS:
        raise GateMissing(why="its table has another size", hint="install this release again")
    return fitted
