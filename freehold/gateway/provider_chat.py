"""Asking an attached model server or provider: the request goes through, its name and its usage are ours.

Tools, response formats and everything else pass unchanged. The model's name is replaced on the way in
and back; our own words in `metadata` stay here, for a provider has no business knowing who a request
is about.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freehold.gateway.asked import Asked, FieldWrong
from freehold.gateway.classifier_chat import stream_options
from freehold.gateway.reply import STREAM, Piece
from freehold.gateway.spend import Tally
from freehold.gateway.upstream import UpstreamBroke, Upstreams
from freehold.spec.snapshot import ServiceView, Target

UNSAID = 4096
"""Tokens a request may use that does not say `max_tokens` where a spend limit stands: it is then said."""
_PART = 4096
"""Tokens counted for a part of a message that is no text (an image, a sound), before it is known."""
_BYTES_PER_TOKEN = 4
"""For estimates, where a provider does not say what it used."""
_MOST = 10**9
"""Tokens a provider may say it used: more is no count, and no column holds it."""
_OURS = ("purpose", "subject")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChat:
    """A chat request for a provider."""

    service: str
    fields: Mapping[str, Any] = field(repr=False)
    """As it goes upstream, but for the model's name."""
    stream: bool
    usage_wanted: bool
    worst_case: tuple[int, int]

    async def ask(
        self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """The provider's answer under the service's name."""
        body = msgspec.json.encode({**self.fields, "model": target.name})
        async with upstreams.chat(target, secret, body) as answering:
            tally.tokens_in, tally.estimated = len(body) // _BYTES_PER_TOKEN, True
            if not self.stream:
                answer = await answering.whole()
                self._count_whole(answer, tally)
                answer["model"] = self.service
                yield Piece(data=msgspec.json.encode(answer), last=True)
                return
            async with aclosing(answering.events()) as events:
                async for chunk in events:
                    if self._count_chunk(chunk, tally):
                        chunk["model"] = self.service
                        yield Piece(data=b"data: " + msgspec.json.encode(chunk) + b"\n\n", kind=STREAM)
        yield Piece(data=b"data: [DONE]\n\n", last=True, kind=STREAM)

    def _count_whole(self, answer: Mapping[str, Any], tally: Tally) -> None:
        if not _take_usage(answer, tally):
            tally.tokens_out = len(msgspec.json.encode(answer.get("choices"))) // _BYTES_PER_TOKEN

    def _count_chunk(self, chunk: dict[str, Any], tally: Tally) -> bool:
        """Count a chunk; whether it is for the caller too."""
        if "error" in chunk:
            raise UpstreamBroke(why="the provider broke off with an error")
        choices = chunk.get("choices")
        if _take_usage(chunk, tally):
            if not choices and not self.usage_wanted:
                return False  # we asked for it, the caller did not
        elif tally.estimated and choices:
            tally.tokens_out += max(1, _delta_bytes(choices) // _BYTES_PER_TOKEN)
        return True


def read_provider_chat(asked: Asked, service: ServiceView) -> ProviderChat:
    """Read what we act on ourselves; the rest is for the provider to judge."""
    fields = dict(asked.fields)
    stream, usage = stream_options(fields)
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise FieldWrong(field="messages", why="it is a list of messages")
    _keep_ours(fields)
    if stream:
        # usage is what the bill is made of, so we ask for it whether or not the caller does
        fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    most = _most_tokens(fields, service)
    parts = sum(_foreign_parts(message) for message in messages)
    return ProviderChat(
        service=service.name,
        fields=fields,
        stream=stream,
        usage_wanted=usage,
        # a token is at least one byte, so the body's bytes bound the tokens of its text
        worst_case=(len(asked.body) + parts * _PART, most),
    )


def _keep_ours(fields: dict[str, Any]) -> None:
    metadata = fields.get("metadata")
    if isinstance(metadata, dict):
        theirs = {name: value for name, value in metadata.items() if name not in _OURS}
        if theirs:
            fields["metadata"] = theirs
        else:
            del fields["metadata"]


def _most_tokens(fields: dict[str, Any], service: ServiceView) -> int:
    """The most tokens the provider may answer with; said upstream where money is limited."""
    said = [fields[name] for name in ("max_completion_tokens", "max_tokens") if fields.get(name) is not None]
    several = 1 if fields.get("n") is None else fields["n"]
    if not all(type(number) is int and number > 0 for number in (*said, several)):
        raise FieldWrong(field="max_tokens", why="it and `n` are whole numbers above zero")
    if not said and service.spend_per_day is not None:
        fields["max_tokens"] = UNSAID
    return (max(said) if said else UNSAID) * int(several)


def _foreign_parts(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return 0
    return sum(1 for part in content if not (isinstance(part, dict) and part.get("type") == "text"))


def _take_usage(said: Mapping[str, Any], tally: Tally) -> bool:
    """Take the provider's own count; False when it says none that can be used."""
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return False
    tokens_in, tokens_out = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    if type(tokens_in) is not int or type(tokens_out) is not int:
        return False
    if not (0 <= tokens_in <= _MOST and 0 <= tokens_out <= _MOST):
        return False
    tally.tokens_in, tally.tokens_out, tally.estimated = tokens_in, tokens_out, False
    return True


def _delta_bytes(choices: Any) -> int:
    return sum(
        len(msgspec.json.encode(c["delta"])) for c in choices if isinstance(c, dict) and c.get("delta")
    )
