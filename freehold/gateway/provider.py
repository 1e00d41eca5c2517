"""Asking an attached model server or provider: its words are its own, its name and its usage are ours.

An OpenAI-compatible server is sent what the caller sent; other kinds are translated (`dialects`). The
model's name is replaced on the way in and back; our own words in `metadata` stay here, for a provider
has no business knowing who a request is about. Nothing asks a provider to keep anything for later.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec

from freehold.engines.wanted import NothingActsOn
from freehold.gateway.answering import (
    UpstreamAway,
    UpstreamBroke,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamSlow,
)
from freehold.gateway.asked import Asked, FieldWrong
from freehold.gateway.classifier_chat import stream_options
from freehold.gateway.dialects.dialect import (
    CHAT,
    EMBEDDINGS,
    MISSHAPEN,
    MODERATIONS,
    RESPONSES,
    TEXT,
    Said,
    Sent,
)
from freehold.gateway.dialects.known import DIALECTS
from freehold.gateway.private import Private
from freehold.gateway.reply import Piece
from freehold.gateway.spend import Tally
from freehold.gateway.telling import Telling, as_events, as_pieces
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import ServiceView, Target

UNSAID = 4096
"""Tokens a request may use that does not say `max_tokens` where a spend limit stands: it is then said."""
_PART = 4096
"""Tokens counted for a part of a message that is no text (an image, a sound), before it is known."""
_BYTES_PER_TOKEN = 4
"""For estimates, where a provider does not say what it used."""
_COUNTABLE = 10**9
"""Tokens a provider may say it used: more is no count, and no column holds it."""
_REFUSED = (UpstreamAway, UpstreamBusy, UpstreamFailed, UpstreamRefused, UpstreamRejected)
"""What a provider says that has not answered and will not."""
_OURS = ("purpose", "subject")
_MOST = {
    CHAT: ("max_completion_tokens", "max_tokens"),
    TEXT: ("max_tokens",),
    RESPONSES: ("max_output_tokens",),
}
"""What an answer's length is called, the newest word first."""
_KEEPS: Mapping[str, Sequence[Any]] = {
    "store": (False,),
    "background": (False,),
    "previous_response_id": (),
    "conversation": (),
    "prompt": (),
}
"""What a response is asked for that would be kept at the provider; and the values that ask for nothing."""


class ProviderQuestion(Private, frozen=True, kw_only=True):
    """A request for a provider, at one of the paths of OpenAI's API."""

    service: str
    path: str
    asks: Mapping[str, Said]
    """The body per dialect of the service's targets."""
    stream: bool
    usage_wanted: bool
    base64: bool
    """Whether embeddings are wanted in base64, whatever the provider gives."""
    created: int
    worst_case: tuple[int, int]

    def ask(
        self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """The provider's answer under the service's name."""
        telling = self.told(upstreams, target, secret, tally)
        if self.path == RESPONSES:
            return as_events(telling, stream=self.stream)
        return as_pieces(telling, stream=self.stream)

    async def told(self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally) -> Telling:
        """The answer in OpenAI's words, counted."""
        dialect = DIALECTS[target.api]
        sents = self._sents(target, secret)
        estimate, most = len(sents[0].body) // _BYTES_PER_TOKEN, self.worst_case[1]

        def written(sent: Sent) -> None:
            tally.asked(estimate, most)
            if target.also:
                tally.goes((target.url, *target.also)[sents.index(sent)])

        try:
            asked = upstreams.any_of(
                sents,
                written,
                of=target.serving_digest,
                name=self.service,
                soon=self._soon,
            )
            async with asked as answering:
                if not self.stream:
                    yield self._whole(await answering.whole(dialect, self.path, self.created), tally)
                    return
                tally.answers()
                reading = dialect.reading(self.path, self.created)
                async with aclosing(answering.read(reading)) as chunks:
                    async for chunk in chunks:
                        if self._count_chunk(chunk, tally):
                            yield self._named(chunk)
        except UpstreamSlow:
            tally.asked(estimate, most)  # it may be writing still
            raise
        except _REFUSED:
            tally.nothing()
            raise

    def _sents(self, target: Target, secret: str | None) -> list[Sent]:
        """What goes to the addresses of a target, in their order; encoded once, for it may be megabytes."""
        dialect, body = DIALECTS[target.api], self.asks[target.api]
        sent = dialect.sent(target, secret, self.path, body)
        if target.ca:
            sent = msgspec.structs.replace(sent, ca=target.ca)
        others = (dialect.url(replace(target, url=url), self.path, body) for url in target.also)
        return [sent, *(msgspec.structs.replace(sent, url=url) for url in others)]

    @property
    def _soon(self) -> bool:
        """Whether the answer begins at once: a stream, or one that is no text."""
        return self.stream or self.path not in _MOST

    def _whole(self, answer: Said, tally: Tally) -> Said:
        if not _take_usage(answer, tally):
            said = answer.get("choices") or answer.get("output")
            tally.tokens_out = len(msgspec.json.encode(said)) // _BYTES_PER_TOKEN if said else 0
        if self.path == EMBEDDINGS:
            answer.setdefault("usage", {"prompt_tokens": tally.tokens_in, "total_tokens": tally.tokens_in})
            if self.base64:
                _in_base64(answer)
        return self._named(answer)

    def _named(self, said: Said) -> Said:
        """Under the service's name: the provider's own stays between it and us."""
        if "model" in said or self.path != RESPONSES:
            said["model"] = self.service
        if isinstance(response := said.get("response"), dict):
            response["model"] = self.service
        return said

    def _count_chunk(self, chunk: Said, tally: Tally) -> bool:
        """Count a chunk; whether it is for the caller too."""
        if "error" in chunk and self.path != RESPONSES:
            raise UpstreamBroke(why="the provider broke off with an error")
        choices = chunk.get("choices")
        used = chunk.get("response") if self.path == RESPONSES else chunk
        if isinstance(used, dict) and _take_usage(used, tally):
            if self.path != RESPONSES and not choices and not self.usage_wanted:
                return False  # we asked for it, the caller did not
        elif tally.estimated and (choices or chunk.get("delta")):
            said = _delta_bytes(choices) if choices else len(str(chunk["delta"]).encode())
            tally.tokens_out += max(1, said // _BYTES_PER_TOKEN)
        return True


def read_provider_question(asked: Asked, service: ServiceView) -> ProviderQuestion:
    """Read what we act on ourselves; the rest is for the provider to judge, or for its dialect.

    Raises FieldWrong, FieldUnusable or NothingActsOn, which name the field.
    """
    fields, path = dict(asked.fields), asked.path
    stream, usage = _stream(fields, path)
    if path == CHAT and (not isinstance(fields.get("messages"), list) or not fields["messages"]):
        raise FieldWrong(field="messages", why="it is a list of messages")
    _keep_ours(fields)
    if path == RESPONSES:
        _refuse_kept(fields)
    most = _most_tokens(fields, path, bounded=asked.bounded)
    parts = sum(_foreign_parts(message) for message in _messages(fields, path))
    apis = {route.target.api for route in service.routes}
    return ProviderQuestion(
        service=service.name,
        path=path,
        asks={api: DIALECTS[api].asks(path, fields) for api in apis},
        stream=stream,
        usage_wanted=usage,
        base64=path == EMBEDDINGS and fields.get("encoding_format") == "base64",
        created=asked.at // 1_000_000,
        # a token is at least one byte, so the body's bytes bound the tokens of its text
        worst_case=(len(asked.body) + parts * _PART, most),
    )


def _stream(fields: dict[str, Any], path: str) -> tuple[bool, bool]:
    """Whether a stream is wanted, and usage in it; we ask for usage in any case: bills are made of it."""
    if path in (EMBEDDINGS, MODERATIONS):
        return False, False
    if path == RESPONSES:
        stream = fields.get("stream")
        if stream not in (None, True, False):
            raise FieldWrong(field="stream", why="it is true or false")
        return bool(stream), True
    if not fields.get("stream") and fields.get("stream_options") is not None:
        return False, False  # the provider judges it, or its dialect
    stream, usage = stream_options(fields)
    if stream:
        fields["stream_options"] = {**(fields.get("stream_options") or {}), "include_usage": True}
    return stream, usage


def _refuse_kept(fields: dict[str, Any]) -> None:
    """The stateless form only: what a provider keeps, nobody here could show, stop or forget."""
    for name, nothing in _KEEPS.items():
        if fields.get(name) is not None and fields[name] not in nothing:
            failure = NothingActsOn(
                field=name,
                why="responses are stateless here: what a provider keeps could not be forgotten",
                hint="send the whole conversation as `input`",
            )
            failure.param = name
            raise failure
    fields["store"] = False


def _keep_ours(fields: dict[str, Any]) -> None:
    metadata = fields.get("metadata")
    if isinstance(metadata, dict):
        theirs = {name: value for name, value in metadata.items() if name not in _OURS}
        if theirs:
            fields["metadata"] = theirs
        else:
            del fields["metadata"]


def _most_tokens(fields: dict[str, Any], path: str, *, bounded: bool) -> int:
    """The most tokens the provider may answer with; said upstream where that is limited."""
    names = _MOST.get(path)
    if names is None:
        return 0  # embeddings and moderations write nothing
    said = [fields[name] for name in names if fields.get(name) is not None]
    several = max(_count(fields, "n"), _count(fields, "best_of"))
    if not all(type(number) is int and number >= 0 for number in said):
        raise FieldWrong(field=names[-1], why="it is a whole number")
    if not said and bounded:
        fields[names[-1]] = UNSAID
    prompts = fields.get("prompt") if path == TEXT else None
    texts = len(prompts) if isinstance(prompts, list) and prompts else 1
    return (max(said) if said else UNSAID) * several * texts


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if value is None:
        return 1
    if type(value) is not int or value < 0:
        raise FieldWrong(field=name, why="it is a whole number")
    return max(1, value)


def _messages(fields: Mapping[str, Any], path: str) -> list[Any]:
    said = fields.get("messages") if path == CHAT else fields.get("input")
    return said if isinstance(said, list) else []


def _foreign_parts(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return 0
    return sum(1 for part in content if not (isinstance(part, dict) and "text" in str(part.get("type"))))


def _take_usage(said: Mapping[str, Any], tally: Tally) -> bool:
    """Take the provider's own count; False when it says none that can be used."""
    usage = said.get("usage")
    if not isinstance(usage, dict):
        return False
    tokens_in = usage.get("prompt_tokens", usage.get("input_tokens"))
    tokens_out = usage.get("completion_tokens", usage.get("output_tokens", 0))
    if type(tokens_in) is not int or type(tokens_out) is not int:
        return False
    if not (0 <= tokens_in <= _COUNTABLE and 0 <= tokens_out <= _COUNTABLE):
        return False
    tally.tokens_in, tally.tokens_out, tally.estimated = tokens_in, tokens_out, False
    return True


def _delta_bytes(choices: Any) -> int:
    if not isinstance(choices, list):
        raise UpstreamBroke(why="its choices are no list")
    said = (c.get("delta") or c.get("text") for c in choices if isinstance(c, dict))
    return sum(len(msgspec.json.encode(part)) for part in said if part)


def _in_base64(answer: Said) -> None:
    """As OpenAI's own client asks for them: little-endian 32-bit floats."""
    try:
        for one in answer["data"]:
            if isinstance(numbers := one["embedding"], list):
                packed = struct.pack(f"<{len(numbers)}f", *numbers)
                one["embedding"] = base64.b64encode(packed).decode()
    except (*MISSHAPEN, struct.error) as error:
        raise UpstreamBroke(why="its embeddings are no lists of numbers") from error
