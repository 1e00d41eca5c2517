"""Guard out: what a model says is looked at while it comes, and leaves masked or not at all.

A whole answer is looked at whole. In a stream each text has a lane of its own (a choice's content, a
tool's arguments), and nothing leaves a lane while it may be the beginning of something that has to be
hidden; everything else passes as it comes. A refusal ends a stream that has begun with
`finish_reason: content_filter`, as OpenAI's clients know it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec.structs import replace

from freehold.errors import BadInput
from freehold.gateway.arguments import FIELD, Arguments
from freehold.gateway.asked import Asked
from freehold.gateway.budget import Result
from freehold.gateway.guards import (
    CameIn,
    ContentFilter,
    Detectors,
    Find,
    Tokens,
    Verdicts,
    action_on,
    groups_of,
    judge,
    missing,
    strictest,
    working,
)
from freehold.gateway.lanes import Lane, Stream
from freehold.gateway.reply import JSON, STREAM, Piece
from freehold.gateway.spoken import LOGPROBS, changed
from freehold.screen.found import Found, masked, without
from freehold.screen.hold import Held
from freehold.spec.snapshot import NO_GUARD, GuardView, ServiceView


class LogprobsUnguarded(BadInput):
    """`logprobs` cannot be given by `{service}`"""

    param = "logprobs"


def check_answerable(asked: Asked, service: ServiceView) -> None:
    """Refuse what would say a second time, word by word, what the guard hides. Raises LogprobsUnguarded."""
    if _hides(service.guard_out) and _wants_logprobs(asked.fields):
        raise LogprobsUnguarded(
            service=service.name,
            why="its answers are guarded, and these repeat every word",
            hint="leave it out",
        )


def _hides(guard: GuardView) -> bool:
    return not {guard.pii, guard.secrets}.isdisjoint(("mask", "refuse"))


def _wants_logprobs(fields: Mapping[str, Any]) -> bool:
    """In the words of chat and completions, where 0 asks for them too, or in those of responses."""
    wanted, included = fields.get("logprobs"), fields.get("include")
    return (
        (wanted is not None and wanted is not False)
        or bool(fields.get("top_logprobs"))
        or (isinstance(included, list) and any("logprobs" in str(one) for one in included))
    )


def go_out(
    pieces: AsyncGenerator[Piece, None],
    came: CameIn,
    service: ServiceView,
    detectors: Detectors,
    verdicts: Verdicts,
) -> AsyncGenerator[Piece, None]:
    """The answer as it may leave. Raises ContentFilter for a whole one, GuardUnusable."""
    if service.guard_out == NO_GUARD and not came.tokens.values:
        return pieces
    return _guarded(pieces, Way(service.guard_out, came.tokens, detectors, verdicts))


async def _guarded(pieces: AsyncGenerator[Piece, None], way: Way) -> AsyncGenerator[Piece, None]:
    stream = Stream(way.lane, way.turned, way.refused)
    try:
        async with aclosing(pieces) as coming:
            async for piece in coming:
                if piece.kind == JSON:
                    yield replace(piece, data=way.whole(piece.data))
                elif piece.kind != STREAM:
                    yield piece  # tensors of our own models: classes and numbers
                else:
                    for leaves in way.leaving(stream, piece):
                        yield leaves
                        if leaves.last:
                            return
    finally:
        way.conclude()


class Way:
    """How one answer leaves."""

    def __init__(self, guard: GuardView, tokens: Tokens, detectors: Detectors, verdicts: Verdicts) -> None:
        self._guard, self._tokens, self._verdicts = guard, tokens, verdicts
        self._detectors, self._groups = detectors, groups_of(guard)
        self._dropped = LOGPROBS if _hides(guard) else frozenset[str]()
        self._found: list[Found] = []
        self._helds: list[Held] = []
        self._concluded = False

    def whole(self, data: bytes) -> bytes:
        """A complete JSON answer. Raises ContentFilter, GuardUnusable."""
        turned = self._working(lambda: self.turned(msgspec.json.decode(data)))
        self._concluded = True
        judge("out", self._guard, self._found, self._verdicts)
        return msgspec.json.encode(turned)

    def leaving(self, stream: Stream, piece: Piece) -> tuple[Piece, ...]:
        """What leaves in the place of one event. Raises GuardUnusable."""
        leaves = self._working(lambda: tuple(stream.of(piece)))
        if leaves and leaves[-1].last:
            self.conclude()  # the record is closed before the last piece leaves
        return leaves

    def conclude(self) -> None:
        """Note what was found, once."""
        if not self._concluded:
            self._concluded = True
            with contextlib.suppress(ContentFilter):  # the stream says so itself
                judge("out", self._guard, self._counted(), self._verdicts)

    def lane(self, field: str) -> Lane:
        """A text that comes in pieces, of a field."""
        held = None
        if self._groups:
            held = Held(self._groups, self._word, self._find())
            self._helds.append(held)
        return Lane(held, self._tokens.values, Arguments(self._tokens.values) if field == FIELD else None)

    def turned(self, said: Any) -> Any:
        """Complete JSON with each of its texts as it may leave, and without logprobs nobody asked for."""
        return changed(said, "", self._turned, self._dropped)

    def refused(self) -> str:
        """The guard that refuses what was found so far; empty when none does."""
        groups = {group for one in self._all() for group, _ in one.said}
        return next((group for group in sorted(groups) if action_on(self._guard, group) == "refuse"), "")

    def _all(self) -> list[Found]:
        return [*self._found, *(one for held in self._helds for one in held.found)]

    def _counted(self) -> list[Found]:
        """Each thing once: a stream's last events repeat what its pieces said."""
        streamed = [one for held in self._helds for one in held.found]
        said = {said for one in streamed for said in one.said}
        return streamed + [one for one in self._found if not said.issuperset(one.said)]

    def _turned(self, text: str, field: str) -> str:
        if self._groups:
            hits = self._find()(text, self._groups)
            if hits:
                self._found += hits
                text = without(text, hits, self._word)
        if field == FIELD:
            return Arguments(self._tokens.values).turned(text)
        for token, value in self._tokens.values.items():
            text = text.replace(token, value)
        return text

    def _find(self) -> Find:
        return self._detectors.rules or missing("rules")

    def _word(self, one: Found, value: str) -> str:
        return value if strictest(self._guard, one) == "observe" else masked(one)

    def _working(self, look: Callable[[], Result]) -> Result:
        name = " and ".join(sorted(self._groups)) or "tokens"
        return working(name, self._guard, self._verdicts, "out", look)
