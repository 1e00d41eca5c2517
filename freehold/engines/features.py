"""How raw input becomes what a model reads: the same code in training and in serving, so nothing skews.

A model's folder holds what was learned about the raw input (`words.txt`, `characters.txt`,
`features.json`); `About.features` holds the rules. Only whole numbers are made here from text, and raw
values from columns: every weight, scale and logarithm is in `model.onnx`.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from freehold.engines.protocol import ModelUnreadable, Value
from freehold.spec.snapshot import Column

_TOKEN = re.compile(r"\w+")

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """How a text is split. `words=2` means single words and pairs; 0 switches the kind off."""

    words: int
    characters: int
    """Longest run of characters within a word, edges included; runs have two or more."""
    max_characters: int
    """Only so much of a text is read, in training as in serving."""

    def as_features(self) -> dict[str, Any]:
        """For `About.features`."""
        return {
            "kind": "text",
            "form": "NFC",
            "case": "lower",
            "words": self.words,
            "characters": self.characters,
            "max_characters": self.max_characters,
        }

    @classmethod
    def of(cls, features: Mapping[str, Any]) -> Self:
        """Read what `as_features` wrote."""
        return cls(
            words=features["words"],
            characters=features["characters"],
            max_characters=features["max_characters"],
        )

    def normalized(self, text: str) -> str:
        """Cut, composed (NFC), lower case."""
        return unicodedata.normalize("NFC", text[: self.max_characters].lower())

    def word_terms(self, text: str) -> Iterator[str]:
        """Runs of 1 to `words` neighbouring words of a normalized text."""
        tokens = _TOKEN.findall(text)
        for length in range(1, self.words + 1):
            if length == 1:
                yield from tokens
            else:
                for start in range(len(tokens) - length + 1):
                    yield " ".join(tokens[start : start + length])

    def character_terms(self, text: str) -> Iterator[str]:
        """Runs of 2 to `characters` characters inside each blank-separated word with a blank at its edges."""
        if not self.characters:
            return
        for word in text.split():
            padded = f" {word} "
            for length in range(2, self.characters + 1):
                for start in range(len(padded) - length + 1):
                    yield padded[start : start + length]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A text as a model reads it: which terms of the vocabulary, and how often each."""

    indices: Indices
    counts: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFeatures:
    """The rules and the two vocabularies: term -> index."""

    rules: TextRules
    words: Mapping[str, int]
    characters: Mapping[str, int]

    @classmethod
    def learn(cls, rules: TextRules, texts: Sequence[str], *, min_count: int, max_terms: int) -> Self:
        """The terms that stand in at least `min_count` texts, at most `max_terms` of each kind.

        Depends on nothing but the texts, whatever their order: terms are numbered alphabetically, and
        among equally frequent ones the alphabetically first are kept.
        """
        normal = [rules.normalized(text) for text in texts]
        return cls(
            rules=rules,
            words=_vocabulary((set(rules.word_terms(t)) for t in normal), min_count, max_terms),
            characters=_vocabulary((set(rules.character_terms(t)) for t in normal), min_count, max_terms),
        )

    def read(self, text: str) -> tuple[Counted, Counted]:
        """The words and the characters of one text."""
        normal = self.rules.normalized(text)
        return (
            _counted(self.rules.word_terms(normal), self.words),
            _counted(self.rules.character_terms(normal), self.characters),
        )

    def is_cut(self, text: str) -> bool:
        """Whether the text is longer than what is read of it."""
        return len(text) > self.rules.max_characters

    def files(self) -> dict[str, bytes]:
        """The vocabularies, one term a line in the order of their index. No term holds a line end."""
        return {
            "words.txt": "\n".join(self.words).encode(),
            "characters.txt": "\n".join(self.characters).encode(),
        }

    @classmethod
    def open(cls, features: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        """Read what `files` wrote. Raises ModelUnreadable."""
        try:
            return cls(
                rules=TextRules.of(features),
                words=_lines(files["words.txt"]),
                characters=_lines(files["characters.txt"]),
            )
        except (KeyError, UnicodeDecodeError) as error:
            raise ModelUnreadable(why=f"its text features cannot be read: {error}") from error


def _vocabulary(documents: Iterable[set[str]], min_count: int, max_terms: int) -> dict[str, int]:
    frequency: Counter[str] = Counter()
    for terms in documents:
        frequency.update(terms)
    kept = [term for term, count in frequency.items() if count >= min_count]
    if len(kept) > max_terms:
        kept = sorted(kept, key=lambda term: (-frequency[term], term))[:max_terms]
    return {term: index for index, term in enumerate(sorted(kept))}


def _counted(terms: Iterable[str], vocabulary: Mapping[str, int]) -> Counted:
    """Known terms with their counts, by rising index: one order, so that sums round one way."""
    counts = Counter(index for term in terms if (index := vocabulary.get(term)) is not None)
    order = sorted(counts)
    return Counted(
        indices=np.array(order, dtype=np.int64),
        counts=np.array([counts[index] for index in order], dtype=np.float64),
    )


def _lines(data: bytes) -> dict[str, int]:
    text = data.decode()
    return {term: index for index, term in enumerate(text.split("\n"))} if text else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFeatures:
    """Columns as one row of numbers: numbers and truth values first, then one place per category."""

    numbers: tuple[str, ...]
    """Columns read as numbers; what is not known is NaN."""
    categories: tuple[tuple[str, tuple[str, ...]], ...]
    """(column, its values): a value that is not listed sets none of the places."""

    @classmethod
    def learn(
        cls,
        inputs: Sequence[Column],
        columns: Mapping[str, Sequence[Value]],
        *,
        min_count: int,
        max_categories: int,
    ) -> Self:
        """Keep the values that stand in at least `min_count` rows, the most frequent first to be kept."""
        return cls(
            numbers=tuple(c.name for c in inputs if c.datatype != "BYTES"),
            categories=tuple(
                (c.name, _values(columns[c.name], min_count, max_categories))
                for c in inputs
                if c.datatype == "BYTES"
            ),
        )

    @property
    def width(self) -> int:
        """How many numbers a row becomes."""
        return len(self.numbers) + sum(len(values) for _, values in self.categories)

    def names(self) -> list[str]:
        """What each number is: `age`, `region=north`."""
        named = [f"{column}={value}" for column, values in self.categories for value in values]
        return [*self.numbers, *named]

    def read(self, columns: Mapping[str, Sequence[Value]], rows: int) -> Floats:
        """Shape [rows, width]."""
        matrix = np.zeros((rows, self.width), dtype=np.float64)
        for place, name in enumerate(self.numbers):
            matrix[:, place] = [_number(value) for value in columns[name]]
        start = len(self.numbers)
        for name, values in self.categories:
            known = {value: start + offset for offset, value in enumerate(values)}
            for row, value in enumerate(columns[name]):
                if (found := known.get(_category(value))) is not None:
                    matrix[row, found] = 1.0
            start += len(values)
        return matrix

    def files(self) -> dict[str, bytes]:
        """`features.json`: the columns in order, and the known values of each category."""
        said = {"numbers": list(self.numbers), "categories": [[n, list(v)] for n, v in self.categories]}
        return {"features.json": json.dumps(said, ensure_ascii=False, sort_keys=True).encode()}

    @classmethod
    def open(cls, files: Mapping[str, bytes]) -> Self:
        """Read what `files` wrote. Raises ModelUnreadable."""
        try:
            said = json.loads(files["features.json"])
            return cls(
                numbers=tuple(said["numbers"]),
                categories=tuple((name, tuple(values)) for name, values in said["categories"]),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ModelUnreadable(why=f"its column features cannot be read: {error}") from error


def _values(cells: Sequence[Value], min_count: int, max_categories: int) -> tuple[str, ...]:
    frequency = Counter(_category(cell) for cell in cells)
    kept = [value for value, count in frequency.items() if count >= min_count]
    return tuple(sorted(sorted(kept, key=lambda value: (-frequency[value], value))[:max_categories]))


def _number(value: Value) -> float:
    return math.nan if value is None else float(value)


def _category(value: Value) -> str:
    """An empty text and one that is not known are the same category."""
    return "" if value is None else str(value)
