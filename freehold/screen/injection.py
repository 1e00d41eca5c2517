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
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from operator import itemgetter

from freehold.errors import Unavailable
from freehold.screen.normal import readings
from freehold.screen.views import views

BITS = 17
WINDOW, STEP = 96, 64
"""Words read at once, and how far the next window begins after this one."""
_SIGNS = r"[{}\[\]<>#|`\"!?:;]"
_WORDS = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[^\x00-\x7f\W_]+|" + _SIGNS)
_PLAIN_WORDS = re.compile((r"[a-z]+(?:'[a-z]+)?|\d+|" + _SIGNS).encode())
_SMALL = re.sub(rb"[^a-z\d'{}\[\]<>#|`\"!?:;]", b" ", bytes(range(256)).lower())
"""For ASCII: small letters, and blanks for what is in no word."""
_MASK = (1 << BITS) - 1
_LOW = (1 << 30) - 1
_BEFORE, _TWO_BEFORE = 0x1E3779B1, 0x02B2AE35
_PAIR, _TRIPLE = 0x05EBCA6B, 0x27D4EB2F
_LONGEST = 20
_RAISED = bytes(number ^ 0x80 for number in range(256))


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
    _raised: bytes = field(init=False, repr=False, compare=False)
    """The weights and 128 each: what a byte is read as without a step more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_raised", self.weights.translate(_RAISED))

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
        count = len(places)
        if count < 2:  # of one place `itemgetter` gives no tuple
            total = sum(self._raised[place] - 128 for place in places)
        else:
            total = sum(itemgetter(*places)(self._raised)) - 128 * count
        return self.bias + self.scale * total / math.sqrt(count) if count else self.bias


def _read(text: str) -> Iterator[str]:
    """Its normal readings, and every view of them."""
    for reading in readings(text):
        yield reading.text
        for view in views(reading.text):
            yield view.text


def words_of(text: str) -> list[bytes]:
    """The words and telling signs of a text, in small letters without accents; of long ones the beginning."""
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
        return [word[:_LONGEST].encode() for word in _WORDS.findall(text.lower())]
    words: list[bytes] = []
    for run in text.encode().translate(_SMALL).split():
        if run.isalpha():  # most are words already
            words.append(run)
        else:
            words += _PLAIN_WORDS.findall(run)
    return [word[:_LONGEST] for word in words]


def windows(text: str) -> Iterator[list[bytes]]:
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


def features(words: list[bytes]) -> set[int]:
    """The places in the table of everything that stands in a window, each once."""
    return Hashed(words).features(0, len(words))


class Hashed:
    """The words of a text, each hashed once although windows overlap.

    A place is some low bits of a multiplied hash: of a word, a pair, a triple. All words are multiplied at
    once, as one long number of 64 bits a word: a hash has at most 32 bits and a factor 30, so that no product
    reaches into its neighbour.
    """

    def __init__(self, words: list[bytes]) -> None:
        self._words = list(map(zlib.crc32, words))
        count = len(words)
        low, place = _each(_LOW, count), _each(_MASK, count)
        hashes = int.from_bytes(struct.pack(f"<{count}Q", *self._words), "little")
        pairs = (hashes << 64) * _BEFORE + hashes & low
        triples = (hashes << 128) * _TWO_BEFORE + pairs & low
        self._ones = _numbers(hashes & place, count)
        self._twos = _numbers(pairs * _PAIR >> 13 & place, count)
        self._threes = _numbers(triples * _TRIPLE >> 11 & place, count)

    def features(self, start: int, end: int) -> set[int]:
        """The places of the words from `start` to `end`; what stands before them counts as nothing."""
        if start == end:
            return set()
        first = self._words[start]
        found = {
            first * _PAIR >> 13 & _MASK,
            first * _TRIPLE >> 11 & _MASK,
            *self._ones[start:end],
            *self._twos[start + 1 : end],
            *self._threes[start + 2 : end],
        }
        if end - start > 1:
            found.add((first * _BEFORE + self._words[start + 1]) * _TRIPLE >> 11 & _MASK)
        return found


def _each(number: int, count: int) -> int:
    """A long number that holds `number` so many times."""
    return int.from_bytes(number.to_bytes(8, "little") * count, "little")


def _numbers(row: int, count: int) -> tuple[int, ...]:
    """What a long number holds."""
    return struct.unpack(f"<{count}Q", row.to_bytes(8 * count, "little"))


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
