"""The same question again gets the same answer, where a service says so; exact, and for nobody else.

An answer is found again only by the same model, words, options, purpose, project, person and rules: any
new snapshot (a stop, a withdrawal, a forgetting, another guard) makes all that was kept unfindable. Each
answer out of here is recorded like any other. It is kept in this process's memory only: it ends with it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from freehold.gateway.asked import Asked
from freehold.gateway.may import Leave
from freehold.gateway.reply import Header, Piece
from freehold.gateway.rules import Rules
from freehold.spec.sensitivity import Sensitivity
from freehold.spec.snapshot import ServiceView, Target

ROOM = 64 << 20
"""Bytes of answers that one process keeps."""
_IX = 8
"""Bytes of a name that say under which rules."""
HIT: Header = (b"x-freehold-cache", b"hit")


@dataclass(frozen=True, slots=True)
class _Kept:
    piece: Piece
    until: float


class Cache:
    """Answers of one gateway process. Owned by its event loop."""

    def __init__(self, clock: Callable[[], float], room: int = ROOM) -> None:
        self._clock, self._room = clock, room
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._size, self._ix = 0, 0

    def name_of(
        self, asked: Asked, service: ServiceView, target: Target, leave: Leave, rules: Rules
    ) -> bytes | None:
        """What an answer to this is found by; None where none is kept: Restricted never, streams neither."""
        if not service.cache or service.sensitivity >= Sensitivity.RESTRICTED or asked.fields.get("stream"):
            return None
        self.follow(rules.snapshot.ix)
        if rules.snapshot.ix < self._ix:
            return None  # it began before a change: what it is told is not for those who come after
        said = (
            *(rules.snapshot.ix, service.project, service.name, service.sensitivity, target.serving_digest),
            *(leave.purpose, leave.subject or "", asked.path, asked.heads.binary_from or 0),
            *(service.guard_in, service.guard_out),
        )
        digest = hashlib.sha256(msgspec.msgpack.encode(said) + b"\n" + asked.body).digest()
        return rules.snapshot.ix.to_bytes(_IX) + digest

    def follow(self, ix: int) -> None:
        """Let go of all that was kept under earlier rules: who is forgotten is not kept in memory either."""
        if ix > self._ix:
            self._kept.clear()
            self._size, self._ix = 0, ix

    def find(self, name: bytes | None) -> Piece | None:
        """The answer that was given, while it is fresh."""
        kept = self._kept.get(name) if name else None
        if kept is None or name is None:
            return None
        if kept.until <= self._clock():
            self._drop(name)
            return None
        self._kept.move_to_end(name)
        return kept.piece

    def keep(self, name: bytes | None, piece: Piece, seconds: int) -> None:
        """Keep a whole answer for as long as the service says; the ones used longest ago make room."""
        if name is None or name in self._kept or len(piece.data) > self._room // 8:
            return
        if int.from_bytes(name[:_IX]) < self._ix:
            return  # the rules changed while it was made
        self._kept[name] = _Kept(piece, self._clock() + seconds)
        self._size += len(piece.data)
        while self._size > self._room:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: bytes) -> None:
        self._size -= len(self._kept.pop(name).piece.data)
