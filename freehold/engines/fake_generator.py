"""A generator without a model: its words follow from a digest of the prompt. For tests, and it ships.

Its tokens are three bytes each, so that characters and stop sequences lie across them, as in real ones.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Self

from freehold.engines.generation import Ended, Finish, How, Message, Tell, Token, Writing, begin_all
from freehold.engines.pieces import Characters, Pieces, Stops
from freehold.engines.protocol import CannotAnswer, Completed, EngineClosed, ModelUnreadable
from freehold.spec.model import About

WORDS = (
    "water",
    "damage",
    "in",
    "the",
    "kitchen",
    "Küche",
    "überschwemmt",
    "水",
    "🌊",
    "please",
    "call",
    "us",
)
LENGTH = 12
"""Words of an answer."""
_BYTES = 3
_CERTAIN = math.log(0.5)


class _Nothing:
    """What was told is over already."""

    def cancel(self) -> None:
        """See `generation.Writing`."""


class FakeGenerator:
    """Writes by digest; the same prompt gives the same words, another seed others."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._most = int(about.features.get("max_new_tokens", 256))
        self._longest = int(about.features.get("max_length", 4096))
        self.ready = True

    @classmethod
    def load(cls, about: About, files: Mapping[str, bytes]) -> Self:
        """See `protocol.Generator`; the files are not looked at."""
        if about.task != "generate":
            raise ModelUnreadable(why="it is no generator")
        return cls(about)

    def metadata(self) -> About:
        """See `protocol.Generator`."""
        return self._about

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Writing:
        """See `generation.Writes`; all of it is told before this returns."""
        if not self.ready:
            raise EngineClosed(hint="load the model again")
        said = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
        size = math.ceil(len(said.encode()) / _BYTES)
        most = how.most_tokens or self._most
        if size + (how.most_tokens or 1) > self._longest:
            raise CannotAnswer(
                why=f"the prompt has {size} tokens, the model reads {self._longest} with its answer",
                hint="shorten the prompt, or lower `max_tokens`",
            )
        _write(_words(said, how), size, how, most, tell)
        return _Nothing()

    def complete(self, prompts: Sequence[Sequence[Message]], max_tokens: int) -> tuple[Completed, ...]:
        """See `protocol.Generator`."""
        return begin_all(self, prompts, How(most_tokens=max_tokens, alternatives=0))

    def losses(self, pairs: Sequence[tuple[Sequence[Message], str]]) -> tuple[tuple[float, int], ...]:
        """See `protocol.Generator`: every token is as likely as not."""
        counts = (math.ceil(len(answer.encode()) / _BYTES) + 1 for _, answer in pairs)
        return tuple((-_CERTAIN * count, count) for count in counts)

    def close(self) -> None:
        """See `protocol.Generator`."""
        self.ready = False


def _words(said: str, how: How) -> bytes:
    """Greedy ones follow from the prompt alone; drawn ones from the seed as well."""
    salt = b""
    if how.temperature > 0:
        salt = os.urandom(8) if how.seed is None else str(how.seed).encode()
    drawn = hashlib.sha256(salt + said.encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in drawn[:LENGTH]).encode()


def _write(text: bytes, prompt: int, how: How, most: int, tell: Tell) -> None:
    pieces = Pieces(Characters(blank_first=False), Stops(how.stop))
    tokens = [_token(text[at : at + _BYTES], how) for at in range(0, len(text), _BYTES)]
    finish: Finish = "stop"
    count = 0
    for token in tokens[:most]:
        count += 1
        if (written := pieces.add(token)) is not None:
            tell(written)
        if pieces.stopped:
            break
    else:
        finish = "length" if most < len(tokens) + 1 else "stop"
    if (rest := pieces.rest()) is not None:
        tell(rest)
    ids = [token.id for token in tokens[:count]]
    if finish == "stop" and not pieces.stopped:
        ids.append(0)  # the end token
    logprobs = (_CERTAIN,) * len(ids) if how.alternatives is not None else ()
    tell(Ended(finish=finish, prompt_tokens=prompt, tokens=len(ids), ids=tuple(ids), logprobs=logprobs))


def _token(raw: bytes, how: How) -> Token:
    id = 1 + int.from_bytes(raw)
    if how.alternatives is None:
        return Token(id=id, raw=raw)
    others = ((id, raw, _CERTAIN), (0, b"<end>", _CERTAIN))[: how.alternatives]
    return Token(id=id, raw=raw, logprob=_CERTAIN, others=others)
