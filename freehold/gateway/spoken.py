"""Where the words stand in a request: every text in its JSON, whoever says it, and putting others there.

Every string is found, not only those in fields we know, so that a new field is guarded before anybody
has thought of it. What is left out holds no words: names of roles, types and ids, and encoded images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Channel = Literal["user", "operator", "document", "other"]
"""Who says it: a user; the service's own prompts; a tool or a document; nobody in particular."""

_NO_WORDS = frozenset(
    (
        "model",
        "role",
        "type",
        "id",
        "tool_call_id",
        "call_id",
        "object",
        "format",
        "detail",
        "status",
        "datatype",
        "encoding_format",
        "response_format",
        "reasoning_effort",
        "service_tier",
        "finish_reason",
        "b64_json",
    )
)
_NOT_SENT = frozenset(("purpose", "subject"))
_ROLES: Mapping[str, Channel] = {
    "system": "operator",
    "developer": "operator",
    "tool": "document",
    "function": "document",
}
_FIELDS: Mapping[str, Channel] = {
    "prompt": "user",
    "suffix": "user",
    "input": "user",
    "instructions": "operator",
    "tools": "operator",
    "functions": "operator",
}
_DOCUMENTS = ("function_call_output", "tool_result", "document", "file")


@dataclass(frozen=True, slots=True)
class Spoken:
    """One text."""

    text: str
    channel: Channel


def spoken(fields: Mapping[str, Any]) -> Iterator[Spoken]:
    """Every text of a request's body, in the order of the body."""
    for name, value in fields.items():
        yield from _spoken(value, name, _channel(name))


def _channel(name: str) -> Channel:
    return "user" if name == "messages" else _FIELDS.get(name, "other")


def _spoken(value: Any, name: str, channel: Channel) -> Iterator[Spoken]:
    if isinstance(value, str):
        if _says_something(value, name):
            yield Spoken(value, channel)
    elif isinstance(value, Mapping):
        inner = _of_message(value, channel)
        for key, one in value.items():
            if not (name == "metadata" and key in _NOT_SENT):
                yield from _spoken(one, key, inner)
    elif isinstance(value, list):
        for one in value:
            yield from _spoken(one, name, channel)


def _says_something(text: str, name: str) -> bool:
    return name not in _NO_WORDS and bool(text) and not text.startswith("data:")


def _of_message(value: Mapping[str, Any], channel: Channel) -> Channel:
    if value.get("type") in _DOCUMENTS:
        return "document"
    role = value.get("role")
    return _ROLES.get(role, "user") if isinstance(role, str) else channel


def with_texts(fields: Mapping[str, Any], texts: Iterator[str]) -> dict[str, Any]:
    """The same body with `texts` in the places that `spoken` yields, in its order."""
    return {name: _with(value, name, texts) for name, value in fields.items()}


def _with(value: Any, name: str, texts: Iterator[str]) -> Any:
    if isinstance(value, str):
        return next(texts) if _says_something(value, name) else value
    if isinstance(value, Mapping):
        return {
            key: one if name == "metadata" and key in _NOT_SENT else _with(one, key, texts)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_with(one, name, texts) for one in value]
    return value


def changed(value: Any, name: str, turn: Callable[[str], str]) -> Any:
    """An answer's JSON with every text turned; what holds no words stays as it is."""
    if isinstance(value, str):
        return turn(value) if _says_something(value, name) else value
    if isinstance(value, Mapping):
        return {key: one if key in _NO_TEXT else changed(one, key, turn) for key, one in value.items()}
    if isinstance(value, list):
        return [changed(one, name, turn) for one in value]
    return value


_NO_TEXT = frozenset(("embedding", "usage", "system_fingerprint", "created"))
