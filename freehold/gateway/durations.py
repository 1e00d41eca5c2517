"""How long answers take, as Prometheus counts it: by endpoint, without names, for whoever reads `/metrics`.

An answer's stopwatch runs from its headers to its last byte. It is told when somebody else is waited for: for
the caller's body, for each piece from upstream, for the caller to take it. What is left is Freehold's own.
Only answers that were given are counted, each once; first words are counted when they leave, because what
becomes of the rest changes nothing about them.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing

from freehold.gateway.counted import Sample
from freehold.gateway.questions import PATHS
from freehold.gateway.reply import Piece

INFER = "/v2/infer"
"""The endpoint of the Open Inference Protocol: its path as it comes holds a service's name."""

# Bounds stand where objectives usually stand, so that the share within one is counted and not guessed between
# two bounds. Few of them: each is a line for each endpoint and process.
_WHOLE = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""From a classifier to a long text; after ten minutes there is no answer any more (`Bounds.answer`)."""
_FIRST = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30)
"""From what seems to be at once to what nobody waits for."""
_TOKEN = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
"""From 200 tokens a second to 2; people read some 5 to 10."""
_OVERHEAD = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
"""From one request that the disk answers at once to one that waits behind others."""

_TOLD = {
    "answer_seconds": "From the headers of a request to the last byte of its answer.",
    "first_words_seconds": "From the headers of a request to the first words of its stream.",
    "token_seconds": "Of a stream, for each token after its first words.",
    "overhead_seconds": "Of an answer, without waiting for its caller or for upstream.",
}
HEADS = tuple(
    f"# {line}"
    for name, told in _TOLD.items()
    for line in (f"HELP freehold_gateway_{name} {told}", f"TYPE freehold_gateway_{name} histogram")
)
"""What Prometheus's text says of them before their lines."""

_WORDS = re.compile(rb'"(?:content|text|delta|arguments|refusal|reasoning|reasoning_content|thinking)":"[^"]')
"""Where an event says something, as we write JSON: no role, no count. Thoughts are tokens, too."""


class Histogram:
    """Durations counted by the bound within which they are."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` in seconds, rising."""
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def samples(self, name: str, labels: str) -> Iterator[Sample]:
        """As Prometheus's text has it: up to each bound, all, their sum; nothing while there are none."""
        if not any(self._counts):
            return
        so_far = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            so_far += count
            yield f"{name}_bucket", f'{labels},le="{bound}"', so_far
        yield f"{name}_count", labels, so_far
        yield f"{name}_sum", labels, self._sum


class Endpoint:
    """How long answers take at one endpoint."""

    __slots__ = ("first", "overhead", "token", "whole")

    def __init__(self) -> None:
        self.whole, self.first = Histogram(_WHOLE), Histogram(_FIRST)
        self.token, self.overhead = Histogram(_TOKEN), Histogram(_OVERHEAD)

    def samples(self, labels: str) -> Iterator[Sample]:
        """Of all four."""
        for name, one in zip(_TOLD, (self.whole, self.first, self.token, self.overhead), strict=True):
            yield from one.samples(name, labels)


class Durations:
    """How long the answers of one gateway process take. Owned by its event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._infer = Endpoint()
        self._of = {**{path: Endpoint() for path in PATHS}, INFER: self._infer}

    def begin(self, path: str) -> Stopwatch:
        """The headers of a question are there, asked at `path`."""
        return Stopwatch(self._of.get(path, self._infer), self._clock)

    def samples(self) -> Iterator[Sample]:
        """What was counted, of endpoints where something was."""
        for name, endpoint in self._of.items():
            yield from endpoint.samples(f'endpoint="{name}"')


class Stopwatch:
    """The time of one answer. Owned by its request."""

    __slots__ = ("_at", "_began", "_clock", "_first", "_since", "_waited")

    def __init__(self, at: Endpoint, clock: Callable[[], float]) -> None:
        self._at, self._clock = at, clock
        self._began = clock()
        self._waited = self._first = 0.0
        self._since: float | None = None

    def waits(self) -> None:
        """From here on somebody else is waited for."""
        self._since = self._clock()

    def goes_on(self) -> None:
        """Nobody is, any more."""
        if self._since is not None:
            self._waited += self._clock() - self._since
            self._since = None

    def left(self, piece: Piece) -> None:
        """The caller has taken a piece, for which they were waited for."""
        self.goes_on()
        if not self._first and not piece.last and _WORDS.search(piece.data):
            self._first = self._clock()
            self._at.first.add(self._first - self._began)

    def given(self, tokens: int) -> None:
        """The answer has left whole; so many tokens were written."""
        ended = self._clock()
        whole = ended - self._began
        self._at.whole.add(whole)
        self._at.overhead.add(max(0.0, whole - self._waited))
        if self._first and tokens > 1:
            self._at.token.add((ended - self._first) / (tokens - 1))


async def waited_for(pieces: AsyncGenerator[Piece, None], took: Stopwatch) -> AsyncGenerator[Piece, None]:
    """The pieces of whoever is asked; until each is there, they are waited for."""
    took.waits()
    try:
        async with aclosing(pieces) as coming:
            async for piece in coming:
                took.goes_on()
                yield piece
                took.waits()
    finally:
        took.goes_on()  # asked in vain is waited, too
