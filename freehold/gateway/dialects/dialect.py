"""One way of speaking with a provider: what it is asked, and how its answer reads in OpenAI's words.

Everything here is pure: no clock, no connection. What a provider has no word for is refused by its name,
because an option that silently does nothing is worse than an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from freehold.engines.wanted import FieldUnusable, NothingActsOn
from freehold.gateway.private import Private
from freehold.spec.snapshot import Target

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
MODERATIONS = "/v1/moderations"
RESPONSES = "/v1/responses"
RESPONSE_ENDS = frozenset(
    ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")
)
"""The types of event with which the stream of a response ends."""

Said = dict[str, Any]


class Sent(Private, frozen=True, kw_only=True):
    """A request as it goes to a provider."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    ca: str = ""
    """The certificates that alone vouch for who listens there; empty: the machine's CAs."""


class Strange(Exception):
    """What a provider said has not the shape of its own API."""


MISSHAPEN = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError)
"""What reading one raises, where it has not that shape."""


class Reading(Protocol):
    """A stream that is being read: the data of their events in, OpenAI's chunks out."""

    @property
    def whole(self) -> bool:
        """Whether the provider has said that it is done; a stream that ends before was cut off."""

    def chunks(self, data: bytes) -> Iterable[Said]:
        """What one event says. Raises Strange."""


class Dialect(Protocol):
    """One kind of provider."""

    @property
    def serves(self) -> frozenset[str]:
        """The paths of OpenAI's API that it can be asked at."""

    def asks(self, path: str, fields: Mapping[str, Any]) -> Said:
        """The body for a request in OpenAI's words, the model left out.

        Raises FieldUnusable or NothingActsOn, naming the field.
        """

    def url(self, target: Target, path: str, body: Said) -> str:
        """Where such a body goes."""

    def sent(self, target: Target, secret: str | None, path: str, body: Said) -> Sent:
        """What goes over the wire; `body` is what `asks` made."""

    def answer(self, path: str, said: Said, at: int) -> Said:
        """A whole answer in OpenAI's words; `at` in seconds UTC. Raises Strange."""

    def reading(self, path: str, at: int) -> Reading:
        """A stream about to be read."""


def unusable(name: str, why: str, hint: str = "") -> FieldUnusable:
    """That a field has a value which cannot be used; the value is not repeated."""
    failure = FieldUnusable(field=name[:60], why=why, hint=hint)
    failure.param = name[:60]
    return failure


def nothing_acts_on(name: str, provider: str) -> NothingActsOn:
    """That a field says something which the provider has no word for."""
    failure = NothingActsOn(
        field=name[:60], why=f"{provider} has no such option, and one that does nothing is an error here"
    )
    failure.hint = "leave it out"
    failure.param = name[:60]
    return failure


def refuse_others(
    fields: Mapping[str, Any], known: frozenset[str], holds: Mapping[str, tuple[Any, ...]], provider: str
) -> None:
    """Refuse a field that is not `known`, unless its value asks for what `holds` anyway."""
    for name, value in fields.items():
        if name not in known and value is not None and value not in holds.get(name, ()):
            raise nothing_acts_on(name, provider)


def check_stream(fields: Mapping[str, Any], provider: str) -> None:
    """Refuse options of a stream that nothing acts on; that usage is wanted, the gateway acts on itself."""
    options = fields.get("stream_options") or {}
    if options and not fields.get("stream"):
        raise unusable("stream_options", "it is only for streams")
    for name in options:
        if name != "include_usage":
            raise nothing_acts_on(f"stream_options.{name}", provider)


def chunk(at: int, id: str, choices: list[Said], usage: Said | None = None) -> Said:
    """A chunk of a streamed chat completion; the model's name comes later."""
    said: Said = {"id": id, "object": "chat.completion.chunk", "created": at, "model": "", "choices": choices}
    return said if usage is None else {**said, "usage": usage}


def delta(said: Said, finish: str | None = None, index: int = 0) -> Said:
    """One choice of a chunk."""
    return {"index": index, "delta": said, "logprobs": None, "finish_reason": finish}


def completion(at: int, id: str, choices: list[Said], usage: Said) -> Said:
    """A whole chat completion; the model's name comes later."""
    kind = "chat.completion"
    return {"id": id, "object": kind, "created": at, "model": "", "choices": choices, "usage": usage}


def usage(tokens_in: Any, tokens_out: Any, cached: Any = 0) -> Said:
    """What it took, in OpenAI's words. Raises Strange for what is no count."""
    for count in (tokens_in, tokens_out, cached):
        if type(count) is not int or count < 0:
            raise Strange("a count of tokens is no number")
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def words_of(content: Any, where: str = "messages") -> str:
    """The text of a message whose parts are all text."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, list):
        raise unusable(where, "a message's `content` is text or a list of parts")
    if not all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        raise unusable(where, "a part of such a message is no text")
    return "\n".join(str(part.get("text", "")) for part in content)


def most_tokens(fields: Mapping[str, Any]) -> int | None:
    """The most tokens an answer may have, where it is said. Raises FieldUnusable where two differ."""
    said = {fields[n] for n in ("max_completion_tokens", "max_tokens") if fields.get(n) is not None}
    if len(said) > 1:
        raise unusable("max_tokens", "it and `max_completion_tokens` differ", "send one of them")
    return said.pop() if said else None


def stops(fields: Mapping[str, Any]) -> list[str] | None:
    """The words at which an answer ends."""
    stop = fields.get("stop")
    if stop is None:
        return None
    words = [stop] if isinstance(stop, str) else stop
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise unusable("stop", "it is a text, or a list of texts")
    return words


def functions(fields: Mapping[str, Any]) -> list[Said] | None:
    """The functions that are offered as tools."""
    tools = fields.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list) or not all(_is_function(tool) for tool in tools):
        raise unusable("tools", "each is an object with `type: function` and a named `function`")
    return [tool["function"] for tool in tools]


def _is_function(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def inner(value: Any, name: str) -> Mapping[str, Any]:
    """An object in a caller's object; an empty one where something else stands."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def arguments_of(call: Said) -> Any:
    """What a call's arguments say."""
    try:
        return msgspec.json.decode(call["function"]["arguments"] or "{}")
    except (msgspec.DecodeError, RecursionError):
        raise unusable("messages", "a tool call's `arguments` are not JSON") from None


def called(message: Mapping[str, Any]) -> list[Said]:
    """The calls in an assistant's message, their arguments as text."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(_is_call(call) for call in calls):
        raise unusable("messages", "a tool call is an object with `id` and a named `function`")
    return calls


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and isinstance(call.get("id"), str)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )
