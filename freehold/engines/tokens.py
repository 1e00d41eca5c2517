"""Text as a pre-trained model reads it: the model's own tokenizer, the same in training and in serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from freehold.engines.protocol import ModelUnreadable

FILE = "tokenizer.json"
CHARACTERS_A_TOKEN = 64
"""So many characters are looked at for each token that is read: a bound on the work, never on a word."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TokenFeatures:
    """A tokenizer, and how many tokens of a text are read. Several threads may use it."""

    tokenizer: Any
    max_length: int

    @classmethod
    def of(cls, tokenizer_json: bytes, max_length: int) -> Self:
        """From the tokenizer's own file. Raises ModelUnreadable."""
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_str(tokenizer_json.decode())
        except Exception as error:  # the library raises plain Exception
            raise ModelUnreadable(why=f"`{FILE}` cannot be read") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length)
        tokenizer.encode_special_tokens = True  # a text that spells `[SEP]` is a text, no mark
        return cls(tokenizer, max_length)

    @classmethod
    def open(cls, features: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        """Read what `as_features` said. Raises ModelUnreadable, also for another version of the library."""
        if FILE not in files:
            raise ModelUnreadable(why=f"`{FILE}` is missing")
        if (here := version("tokenizers")) != features.get("tokenizers"):
            raise ModelUnreadable(
                why=f"it was made with tokenizers {features.get('tokenizers')}, here is {here}",
                hint="train it again with what is installed",
            )
        return cls.of(files[FILE], int(features["max_length"]))

    def as_features(self) -> dict[str, Any]:
        """For `About.features`. `precision` says what tolerance its answers need elsewhere."""
        return {
            "kind": "tokens",
            "max_length": self.max_length,
            "tokenizers": version("tokenizers"),
            "precision": "single",
        }

    def read(self, text: str) -> Indices:
        """The tokens of a text, marks at its edges included; never empty."""
        ids = self._encode(text).ids
        return np.array(ids or [0], dtype=np.int64)

    def is_cut(self, text: str) -> bool:
        """Whether the text is longer than what is read of it."""
        return len(text) > self._characters or bool(self._encode(text).overflowing)

    @property
    def _characters(self) -> int:
        return self.max_length * CHARACTERS_A_TOKEN

    def _encode(self, text: str) -> Any:
        # a lone surrogate is no Unicode text, and the library would refuse it
        return self.tokenizer.encode(text[: self._characters].encode("utf-8", "replace").decode())
