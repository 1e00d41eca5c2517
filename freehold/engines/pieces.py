"""From tokens to text that may leave: whole characters only, and nothing of a stop sequence.

A character may take several tokens and a stop sequence may begin in one token and end in another. What
could still become either is held back; what was let go is never taken back.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field, replace

from freehold.engines.generation import Token, Written


class Characters:
    """Bytes in, whole characters out. `blank_first`: a blank at the very beginning is not the text's."""

    def __init__(self, *, blank_first: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._blank_first = blank_first

    def add(self, raw: bytes) -> str:
        """The characters that are whole with these bytes."""
        return self._cut(self._decoder.decode(raw))

    def rest(self) -> str:
        """What is held back: bytes that will not become a character any more."""
        return self._cut(self._decoder.decode(b"", final=True))

    def _cut(self, text: str) -> str:
        if self._blank_first and text:
            self._blank_first = False
            return text.removeprefix(" ")
        return text


@dataclass(slots=True)
class Stops:
    """Text in, text out that holds none of the stop sequences."""

    words: tuple[str, ...]
    stopped: bool = False
    _held: str = ""

    def add(self, text: str) -> str:
        """What may leave. When a stop sequence is complete, `stopped` says so and nothing more leaves."""
        if self.stopped:
            return ""
        self._held += text
        places = [place for word in self.words if (place := self._held.find(word)) >= 0]
        if places:
            self.stopped = True
            out, self._held = self._held[: min(places)], ""
            return out
        keep = max((_overlap(self._held, word) for word in self.words), default=0)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def rest(self) -> str:
        """What was held back, when no stop sequence came of it."""
        out, self._held = self._held, ""
        return out


def _overlap(text: str, word: str) -> int:
    """How many characters at the end of `text` could be the beginning of `word`."""
    for size in range(min(len(word) - 1, len(text)), 0, -1):
        if text.endswith(word[:size]):
            return size
    return 0


@dataclass(slots=True)
class Pieces:
    """The text of one answer, as its tokens come; each token leaves with the text that it completes."""

    characters: Characters
    stops: Stops
    _waiting: list[tuple[int, Token]] = field(default_factory=list)
    """Tokens whose text is not out yet, each with how many characters there are before it."""
    _made: int = 0
    _out: int = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop sequence was met."""
        return self.stops.stopped

    def add(self, token: Token) -> Written | None:
        """What may leave now that the token is there."""
        self._waiting.append((self._made, token))
        text = self.characters.add(b"" if token.special else token.raw)
        self._made += len(text)
        return self._written(self.stops.add(text))

    def rest(self) -> Written | None:
        """What is left when no token follows."""
        text = self.stops.add(self.characters.rest())
        return self._written(text + self.stops.rest(), last=not self.stopped)

    def _written(self, text: str, last: bool = False) -> Written | None:
        """Tokens whose first character is out; in the end, those without any text of their own too."""
        self._out += len(text)
        count = len(self._waiting) if last else sum(1 for begins, _ in self._waiting if begins < self._out)
        tokens = tuple(replace(token, begins=begins) for begins, token in self._waiting[:count])
        del self._waiting[:count]
        return Written(text=text, tokens=tokens) if text or tokens else None
