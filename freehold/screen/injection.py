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
from array import array
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
_LOW = (1 << 30) - 1
_PAIR, _TRIPLE = 0x05EBCA6B, 0x27D4EB2F
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
        words = words_of(text)
        hashed = Hashed(words)
        margins = (self._margin(hashed.features(*span)) for span in spans(len(words)))
        return 1 / (1 + math.exp(-max(-40.0, min(40.0, max(margins, default=self.bias)))))

    def _margin(self, places: set[int]) -> float:
        total = sum(array("b", bytes(map(self.weights.__getitem__, places))))
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
    words: list[str] = []
    for run in text.lower().split():
        if run.isalpha():  # most are words already
            words.append(run)
        else:
            words += _WORDS.findall(run)
    return words


def windows(text: str) -> Iterator[list[str]]:
    """The words of `text` in windows that overlap."""
    words = words_of(text)
    return (words[start:end] for start, end in spans(len(words)))


def spans(count: int) -> Iterator[tuple[int, int]]:
    """Where each window of so many words begins and ends; the last one is full where there are enough."""
    if count <= WINDOW:
        if count:
            yield 0, count
        return
    for start in range(0, count - WINDOW, STEP):
        yield start, start + WINDOW
    yield count - WINDOW, count


def features(words: list[str]) -> set[int]:
    """The places in the table of everything that stands in a window, each once."""
    return Hashed(words).features(0, len(words))


class Hashed:
    """The words of a text, each hashed once although windows overlap.

    A place is some low bits of a multiplied hash: of a word, a pair, a triple. So all factors are held to
    30 bits, which Python multiplies fastest.
    """

    def __init__(self, words: list[str]) -> None:
        self._words = [zlib.crc32(word[:_LONGEST].encode()) & _LOW for word in words]
        before = [0, *self._words]
        self._pairs = [one * 0x1E3779B1 + two & _LOW for one, two in zip(before, self._words, strict=False)]
        self._ones = [word & _MASK for word in self._words]
        self._twos = [pair * _PAIR >> 13 & _MASK for pair in self._pairs]
        triples = zip([0, *before], self._pairs, strict=False)
        self._threes = [(one * 0x02B2AE35 + pair & _LOW) * _TRIPLE >> 11 & _MASK for one, pair in triples]

    def features(self, start: int, end: int) -> set[int]:
        """The places of the words from `start` to `end`; what stands before them counts as nothing."""
        found = set(self._ones[start:end])
        if found:
            found.update(self._twos[start + 1 : end], self._threes[start + 2 : end])
            first = self._words[start]
            found.update((first * _PAIR >> 13 & _MASK, first * _TRIPLE >> 11 & _MASK))
        if end - start > 1:
            found.add(self._pairs[start + 1] * _TRIPLE >> 11 & _MASK)
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
