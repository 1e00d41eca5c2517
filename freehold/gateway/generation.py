"""Asking a generator of ours, at `/v1/chat/completions` and `/v1/completions`.

The engine hears what it acts on and nothing else: not who asks, for what purpose, or about whom.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freehold.engines.wanted import Wanted, read_chat, read_text, texts
from freehold.gateway.answering import EngineFailed
from freehold.gateway.asked import Asked
from freehold.gateway.dialects.dialect import CHAT, TEXT
from freehold.gateway.dialects.openai import OpenAI
from freehold.gateway.reply import Piece
from freehold.gateway.spend import Tally
from freehold.gateway.telling import Telling, as_pieces
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import ServiceView, Target

_OPENAI = OpenAI()
"""Our engines speak it."""
OURS = frozenset(("metadata", "user"))
"""Fields that are the gateway's: purpose and subject stand in `metadata`, and both are on the record."""
_UNSAID = 4096
"""Tokens reserved for an answer that does not say how long it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationQuestion:
    """A request for text, for a model of ours."""

    service: str
    wanted: Wanted = field(repr=False)
    id: str
    created: int

    @property
    def worst_case(self) -> tuple[int, int]:
        """A token is at least one byte."""
        return texts(self.wanted.prompt), self.wanted.how.most_tokens or _UNSAID

    def ask(
        self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """The engine's answer under the service's name and the answer's id."""
        return as_pieces(self.told(upstreams, target, secret, tally), stream=self.wanted.stream)

    async def told(self, upstreams: Upstreams, target: Target, _secret: str | None, tally: Tally) -> Telling:
        """The answer in OpenAI's words, counted."""
        wanted = self.wanted
        fields = wanted.as_fields(target.serving_digest)
        if wanted.stream:
            # what was used is on the record, whether or not the caller wants to hear of it
            fields["stream_options"] = {"include_usage": True}
        body = msgspec.json.encode(fields)
        tally.tokens_in, tally.estimated = texts(wanted.prompt) // 4, True
        path = CHAT if wanted.chat else TEXT
        async with upstreams.write(target, path, body, streams=wanted.stream) as answering:
            if not wanted.stream:
                answer = await answering.whole(_OPENAI, path, self.created)
                _count(answer, tally)
                yield self._named(answer)
                return
            async with aclosing(answering.read(_OPENAI.reading(path, self.created))) as chunks:
                async for chunk in chunks:
                    if self._is_for_the_caller(chunk, tally):
                        yield self._named(chunk)

    def _is_for_the_caller(self, chunk: Mapping[str, Any], tally: Tally) -> bool:
        if "error" in chunk:
            raise EngineFailed(why="it broke while it wrote the answer")
        if _count(chunk, tally):
            return self.wanted.usage
        tally.tokens_out += 1
        return True

    def _named(self, said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "id": self.id, "created": self.created, "model": self.service}


def _count(said: Mapping[str, Any], tally: Tally) -> bool:
    """Take the engine's own count; whether it said one."""
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return False
    tally.tokens_in, tally.tokens_out = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    tally.estimated = False
    return True


def read_generation(asked: Asked, service: ServiceView, answer: str) -> GenerationQuestion:
    """Read a request for text. Raises FieldUnusable or NothingActsOn, which name the field."""
    chat = asked.path == CHAT
    wanted = read_chat(asked.fields, OURS) if chat else read_text(asked.fields, OURS)
    return GenerationQuestion(
        service=service.name,
        wanted=wanted,
        id=f"{'chatcmpl' if chat else 'cmpl'}-{answer.removeprefix('ans_')}",
        created=asked.at // 1_000_000,
    )
