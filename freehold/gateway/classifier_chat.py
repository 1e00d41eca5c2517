"""A classifier or tabular model asked by any chat client: the last message in, class and confidence out.

Fields of the chat API that nothing here would act on are refused by name, except where what they ask
for holds anyway (`temperature: 0`, `n: 1`, any `seed`): an option that silently does nothing is worse
than an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from freehold.errors import BadInput
from freehold.gateway.answering import EngineFailed
from freehold.gateway.asked import Asked, FieldWrong
from freehold.gateway.infer import engine_request
from freehold.gateway.reply import STREAM, Piece
from freehold.gateway.spend import Tally
from freehold.gateway.tensors import read_inputs
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import ServiceView, Target

_ACTED_ON = frozenset(("model", "messages", "stream", "stream_options", "metadata", "user"))
_HOLDS: Mapping[str, Callable[[Any], bool]] = {
    "temperature": lambda v: v == 0,
    "top_p": lambda v: v == 1,
    "n": lambda v: v == 1,
    "seed": lambda v: isinstance(v, int),
    "store": lambda v: v is False,
    "logprobs": lambda v: v is False,
    "frequency_penalty": lambda v: v == 0,
    "presence_penalty": lambda v: v == 0,
    "max_tokens": lambda v: isinstance(v, int) and v >= 128,
    "max_completion_tokens": lambda v: isinstance(v, int) and v >= 128,
    "tool_choice": lambda v: v == "none",
    "service_tier": lambda v: v in ("auto", "default"),
    "response_format": lambda v: isinstance(v, dict) and v.get("type") in ("text", "json_object"),
}
_NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""A classifier reads no tokens; saying a made-up number would end up on somebody's bill."""


class FieldWithoutEffect(BadInput):
    """`{field}` has no effect on `{service}`"""

    param: str | None = None


class MessageUnusable(BadInput):
    """the last message cannot be read"""

    param = "messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierChat:
    """One row for a model of ours, asked in chat."""

    service: str
    body: bytes = field(repr=False)
    id: str
    created: int
    stream: bool
    usage_wanted: bool
    values: Mapping[str, list[Any]] = field(repr=False)
    """The row, by column."""
    outside: Mapping[str, int] = field(default_factory=dict)
    """In which columns it is unlike those the model was trained on."""

    @property
    def worst_case(self) -> tuple[int, int]:
        """Our own models use no tokens."""
        return 0, 0

    async def ask(
        self, upstreams: Upstreams, target: Target, _secret: str | None, _tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """A completion, or a stream of one word."""
        content = _content(await upstreams.infer(target, self.body), self.outside)
        if not self.stream:
            yield Piece(data=msgspec.json.encode(self._completion(content)), last=True)
            return
        yield self._chunk({"role": "assistant", "content": content})
        yield self._chunk({}, finish="stop")
        if self.usage_wanted:
            yield _event(self._object("chat.completion.chunk", [], usage=_NO_TOKENS))
        yield Piece(data=b"data: [DONE]\n\n", last=True, kind=STREAM)

    def _completion(self, content: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": content, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return self._object("chat.completion", [choice], usage=_NO_TOKENS)

    def _chunk(self, delta: dict[str, str], finish: str | None = None) -> Piece:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(self._object("chat.completion.chunk", [choice]))

    def _object(self, kind: str, choices: list[Any], usage: dict[str, int] | None = None) -> dict[str, Any]:
        said = {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.service,
            "choices": choices,
        }
        if usage is not None:
            said["usage"] = usage
        return said


def _event(value: dict[str, Any]) -> Piece:
    return Piece(data=b"data: " + msgspec.json.encode(value) + b"\n\n", kind=STREAM)


def read_classifier_chat(asked: Asked, service: ServiceView, answer: str) -> ClassifierChat:
    """Read a chat request against the service's inputs. Raises BadInput, naming the field."""
    _refuse_without_effect(asked.fields, service)
    stream, usage = stream_options(asked.fields)
    text = _last_words(asked.fields.get("messages"))
    values = _text_row(text, service) if service.task == "classify" else _column_row(text, service)
    outputs = {"class": False, "confidence": False}
    return ClassifierChat(
        service=service.name,
        body=engine_request(service, 1, values, outputs),
        id=f"chatcmpl-{answer.removeprefix('ans_')}",
        created=asked.at // 1_000_000,
        stream=stream,
        usage_wanted=usage,
        values=values,
    )


def _refuse_without_effect(fields: Mapping[str, Any], service: ServiceView) -> None:
    for name, value in fields.items():
        if name in _ACTED_ON or value is None:
            continue
        holds = _HOLDS.get(name)
        if holds is None or not holds(value):
            failure = FieldWithoutEffect(
                field=name[:60],
                service=service.name,
                why="it is a classifier, and an option that does nothing is an error here",
                hint="leave it out",
            )
            failure.param = name[:60]
            raise failure


def stream_options(fields: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a stream is wanted, and usage in its last chunk."""
    stream, options = fields.get("stream"), fields.get("stream_options")
    if stream is not None and not isinstance(stream, bool):
        raise FieldWrong(field="stream", why="it is true or false")
    if options is None:
        return bool(stream), False
    if not stream or not isinstance(options, dict):
        raise FieldWrong(field="stream_options", why="it is an object, and only for streams")
    return True, options.get("include_usage") is True


def _last_words(messages: Any) -> str:
    """The text of the last message, which is the caller's; earlier ones are not read."""
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        raise MessageUnusable(why="`messages` ends with one of role `user`")
    content = last.get("content")
    if isinstance(content, list):
        if not all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
            raise MessageUnusable(why="it has parts that are no text")
        content = "\n".join(part["text"] for part in content)
    if not isinstance(content, str) or not content.strip():
        raise MessageUnusable(why="it has no text")
    return content


def _text_row(text: str, service: ServiceView) -> dict[str, list[Any]]:
    return {column.name: [text] for column in service.inputs}


def _column_row(text: str, service: ServiceView) -> dict[str, list[Any]]:
    """One row written as a JSON object of its columns."""
    names = ", ".join(f'"{c.name}"' for c in service.inputs[:3])
    hint = f"write one row as JSON: {{{names}{', …' if len(service.inputs) > 3 else ''}}}"
    try:
        row = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise MessageUnusable(why=f"`{service.name}` reads columns, not text", hint=hint) from None
    if not isinstance(row, dict):
        raise MessageUnusable(why="it is no JSON object", hint=hint)
    datatypes = {column.name: column.datatype for column in service.inputs}
    tensors = [
        {"name": name, "shape": [1], "datatype": datatypes.get(name), "data": [value]}
        for name, value in row.items()
    ]
    return read_inputs(tensors, b"", service.inputs)[1]


def _content(answer: Mapping[str, Any], outside: Collection[str] = ()) -> str:
    try:
        found = {output["name"]: output["data"][0] for output in answer["outputs"]}
        said = {"class": found["class"], "confidence": found["confidence"]}
        if answer.get("parameters", {}).get("rows_cut"):
            said["cut"] = True  # the text was longer than the model reads
        if outside:
            said["outside_domain"] = sorted(outside)
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise EngineFailed(why="its answer has not the protocol's shape") from error
    return msgspec.json.encode(said).decode()
