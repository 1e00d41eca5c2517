"""Guard out: what a model says is looked at while it comes, and leaves masked or not at all.

A whole answer is looked at whole. In a stream each text has a lane of its own (a choice's content, a
tool's arguments), and nothing leaves a lane while it may be the beginning of something that has to be
hidden; everything else passes as it comes. A refusal ends a stream that has begun with
`finish_reason: content_filter`, as OpenAI's clients know it.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from typing import Any

import msgspec

from freehold.errors import BadInput
from freehold.gateway.asked import Asked
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
    working,
)
from freehold.gateway.lanes import Lane, Stream
from freehold.gateway.reply import JSON, STREAM, Piece
from freehold.gateway.spoken import changed
from freehold.screen.found import Found, masked, without
from freehold.screen.hold import Held
from freehold.spec.snapshot import NO_GUARD, GuardView, ServiceView


class LogprobsUnguarded(BadInput):
    """`logprobs` cannot be given by `{service}`"""

    param = "logprobs"


def check_answerable(asked: Asked, service: ServiceView) -> None:
    """Refuse what would say a second time, word by word, what the guard hides. Raises LogprobsUnguarded."""
    hides = {service.guard_out.pii, service.guard_out.secrets} & {"mask", "refuse"}
    wanted = asked.fields.get("logprobs")
    if hides and wanted is not None and wanted is not False:  # 0 asks for them too
        raise LogprobsUnguarded(
            service=service.name,
            why="its answers are guarded, and these repeat every word",
            hint="leave it out",
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
        self._found: list[Found] = []
        self._helds: list[Held] = []
        self._concluded = False

    def whole(self, data: bytes) -> bytes:
        """A complete JSON answer. Raises ContentFilter, GuardUnusable."""
        with self._working():
            turned = self.turned(msgspec.json.decode(data))
        self._concluded = True
        judge("out", self._guard, self._found, self._verdicts)
        return msgspec.json.encode(turned)

    def leaving(self, stream: Stream, piece: Piece) -> tuple[Piece, ...]:
        """What leaves in the place of one event. Raises GuardUnusable."""
        with self._working():
            leaves = tuple(stream.of(piece))
        if leaves and leaves[-1].last:
            self.conclude()  # the record is closed before the last piece leaves
        return leaves

    def conclude(self) -> None:
        """Note what was found, once."""
        if not self._concluded:
            self._concluded = True
            with contextlib.suppress(ContentFilter):  # the stream says so itself
                judge("out", self._guard, self._counted(), self._verdicts)

    def lane(self) -> Lane:
        """A text that comes in pieces."""
        held = None
        if self._groups:
            held = Held(self._groups, self._word, self._find())
            self._helds.append(held)
        return Lane(held, self._tokens.values)

    def turned(self, said: Any) -> Any:
        """Complete JSON with each of its texts as it may leave."""
        return changed(said, "", self._turned)

    def refused(self) -> str:
        """The guard that refuses what was found so far; empty when none does."""
        groups = {one.group for one in self._all()}
        return next((group for group in sorted(groups) if action_on(self._guard, group) == "refuse"), "")

    def _all(self) -> list[Found]:
        return [*self._found, *(one for held in self._helds for one in held.found)]

    def _counted(self) -> list[Found]:
        """Each thing once: a stream's last events repeat what its pieces said."""
        streamed = [one for held in self._helds for one in held.found]
        kinds = {(one.group, one.kind) for one in streamed}
        return streamed + [one for one in self._found if (one.group, one.kind) not in kinds]

    def _turned(self, text: str) -> str:
        if self._groups:
            hits = self._find()(text, self._groups)
            self._found += hits
            text = without(text, hits, self._word)
        for token, value in self._tokens.values.items():
            text = text.replace(token, value)
        return text

    def _find(self) -> Find:
        return self._detectors.rules or missing("rules")

    def _word(self, one: Found, value: str) -> str:
        return value if action_on(self._guard, one.group) == "observe" else masked(one)

    def _working(self) -> AbstractContextManager[None]:
        return working(" and ".join(sorted(self._groups)) or "tokens", self._guard, self._verdicts, "out")
