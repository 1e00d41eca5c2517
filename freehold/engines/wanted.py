"""What a request for text says, in OpenAI's words: read once, checked field by field.

Gateway and engine read with the same code. A field that nothing would act on is refused by its name,
except where what it asks for holds anyway (`n: 1`, `presence_penalty: 0`): an option that silently does
nothing is worse than an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from freehold.engines.generation import How, Message
from freehold.errors import BadInput

MOST_STOPS, LONGEST_STOP = 4, 200
MOST_ALTERNATIVES = 20
ROLES = ("system", "user", "assistant")


class FieldUnusable(BadInput):
    """`{field}` cannot be used"""

    param: str | None = None


class NothingActsOn(BadInput):
    """nothing acts on `{field}`"""

    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request for text that makes sense."""

    prompt: str | tuple[Message, ...] = field(repr=False)
    """A conversation, or a text to go on from."""
    how: How
    stream: bool
    usage: bool
    """Whether a stream ends with what was used."""

    @property
    def chat(self) -> bool:
        """Whether it is a conversation."""
        return not isinstance(self.prompt, str)

    def as_fields(self, model: str) -> dict[str, Any]:
        """The request again, as an engine is asked: nothing in it that is not acted on."""
        how = self.how
        alternatives = how.alternatives
        fields: dict[str, Any] = {
            "model": model,
            "stream": self.stream,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "stop": list(how.stop),
            **_given(max_tokens=how.most_tokens, seed=how.seed),
        }
        if isinstance(self.prompt, str):
            return fields | {"prompt": self.prompt} | _given(logprobs=alternatives)
        said = _given(top_logprobs=alternatives, logprobs=None if alternatives is None else True)
        return fields | {"messages": [dict(message) for message in self.prompt]} | said


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


_BOTH = frozenset(
    ("model", "stream", "stream_options", "max_tokens", "temperature", "top_p", "seed", "stop", "logprobs")
)
_CHAT = _BOTH | {"messages", "max_completion_tokens", "top_logprobs"}
_TEXT = _BOTH | {"prompt"}

_HOLDS: Mapping[str, Callable[[Any], bool]] = {
    "n": lambda v: v == 1,
    "best_of": lambda v: v == 1,
    "echo": lambda v: v is False,
    "suffix": lambda v: v == "",
    "frequency_penalty": lambda v: v == 0,
    "presence_penalty": lambda v: v == 0,
    "logit_bias": lambda v: v == {},
    "tools": lambda v: v == [],
    "tool_choice": lambda v: v == "none",
    "store": lambda v: v is False,
    "service_tier": lambda v: v in ("auto", "default"),
    "modalities": lambda v: v == ["text"],
    "response_format": lambda v: isinstance(v, dict) and v.get("type") == "text",
}


def read_chat(fields: Mapping[str, Any], others: frozenset[str] = frozenset()) -> Wanted:
    """A request at `/v1/chat/completions`; `others` are fields that the reader acts on itself.

    Raises FieldUnusable or NothingActsOn, which name the field and never repeat its value.
    """
    said = _said(fields, _CHAT | others)
    most = [said[name] for name in ("max_completion_tokens", "max_tokens") if name in said]
    if len(most) == 2 and most[0] != most[1]:
        raise _unusable("max_tokens", "it and `max_completion_tokens` differ", "send one of them")
    wants = _is_true(said, "logprobs")
    if "top_logprobs" in said and not wants:
        raise _unusable("top_logprobs", "`logprobs` is not true", "send `logprobs: true` too")
    alternatives = _whole(said, "top_logprobs", 0, MOST_ALTERNATIVES) if "top_logprobs" in said else 0
    how = _how({**said, "max_tokens": most[0] if most else None}, alternatives if wants else None)
    stream, usage = _stream(said)
    return Wanted(prompt=_messages(said.get("messages")), how=how, stream=stream, usage=usage)


def read_text(fields: Mapping[str, Any], others: frozenset[str] = frozenset()) -> Wanted:
    """A request at `/v1/completions`. Raises as `read_chat` does."""
    said = _said(fields, _TEXT | others)
    prompt = said.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise _unusable("prompt", "it is one text", "send several prompts as several requests")
    alternatives = _whole(said, "logprobs", 0, MOST_ALTERNATIVES) if "logprobs" in said else None
    stream, usage = _stream(said)
    return Wanted(prompt=prompt, how=_how(said, alternatives), stream=stream, usage=usage)


def _said(fields: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The fields that say something: null is the same as silence."""
    said = {name: value for name, value in fields.items() if value is not None}
    for name, value in said.items():
        if name in known:
            continue
        holds = _HOLDS.get(name)
        if holds is None or not holds(value):
            failure = NothingActsOn(
                field=name[:60], why="an option that does nothing is an error here", hint="leave it out"
            )
            failure.param = name[:60]
            raise failure
    return said


def _how(said: Mapping[str, Any], alternatives: int | None) -> How:
    return How(
        most_tokens=_whole(said, "max_tokens", 1, 2**31) if said.get("max_tokens") is not None else None,
        temperature=_number(said, "temperature", 0, 2, missing=0.0),
        top_p=_number(said, "top_p", 0, 1, missing=1.0),
        seed=_whole(said, "seed", -(2**63), 2**63 - 1) if "seed" in said else None,
        stop=_stops(said.get("stop")),
        alternatives=alternatives,
    )


def _messages(messages: Any) -> tuple[Message, ...]:
    if not isinstance(messages, list) or not messages:
        raise _unusable("messages", "it is a list of messages")
    read = tuple(_message(message) for message in messages)
    if read[-1]["role"] != "user":
        raise _unusable("messages", "the last one is not of role `user`", "end with what is asked")
    return read


def _message(message: Any) -> Message:
    if not isinstance(message, dict):
        raise _unusable("messages", "a message is an object with `role` and `content`")
    for name, value in message.items():
        if name not in ("role", "content") and value not in (None, []):
            raise _unusable("messages", f"nothing acts on a message's `{name[:40]}`", "leave it out")
    if message.get("role") not in ROLES:
        raise _unusable("messages", "a role is unknown", "roles are " + ", ".join(ROLES))
    content = message.get("content")
    if isinstance(content, list):
        if not all(isinstance(p, dict) and p.get("type") == "text" for p in content):
            raise _unusable("messages", "a part of a message is no text")
        content = "\n".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise _unusable("messages", "a message's `content` is text")
    return {"role": message["role"], "content": content}


def _stops(stop: Any) -> tuple[str, ...]:
    words = [stop] if isinstance(stop, str) else stop
    if words is None:
        return ()
    if not isinstance(words, list) or len(words) > MOST_STOPS:
        raise _unusable("stop", f"it is a text, or a list of {MOST_STOPS} at most")
    if not all(isinstance(word, str) and 0 < len(word) <= LONGEST_STOP for word in words):
        raise _unusable("stop", f"each is a text of 1 to {LONGEST_STOP} characters")
    return tuple(dict.fromkeys(words))


def _stream(said: Mapping[str, Any]) -> tuple[bool, bool]:
    stream, options = _is_true(said, "stream"), said.get("stream_options")
    if options is None:
        return stream, False
    if not stream or not isinstance(options, dict):
        raise _unusable("stream_options", "it is an object, and only for streams")
    for name, value in options.items():
        if name != "include_usage" or not isinstance(value, bool):
            raise _unusable("stream_options", f"nothing acts on its `{name[:40]}`", "it has `include_usage`")
    return stream, options.get("include_usage") is True


def _is_true(said: Mapping[str, Any], name: str) -> bool:
    value = said.get(name, False)
    if not isinstance(value, bool):
        raise _unusable(name, "it is true or false")
    return value


def _whole(said: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = said.get(name)
    if type(value) is not int or not least <= value <= most:
        raise _unusable(name, f"it is a whole number from {least} to {most}")
    return value


def _number(said: Mapping[str, Any], name: str, least: float, most: float, *, missing: float) -> float:
    value = said.get(name, missing)
    if type(value) not in (int, float) or not least <= value <= most:
        raise _unusable(name, f"it is a number from {least:g} to {most:g}")
    return float(value)


def _unusable(name: str, why: str, hint: str = "") -> FieldUnusable:
    failure = FieldUnusable(field=name, why=why, hint=hint)
    failure.param = name
    return failure


def texts(prompt: str | Sequence[Message]) -> int:
    """Bytes of a prompt: an upper bound of its tokens."""
    if isinstance(prompt, str):
        return len(prompt.encode())
    return sum(len(message["content"].encode()) for message in prompt)
