"""Where the words stand in a request: every text in its JSON, whoever says it, and putting others there.

Every string is found, not only those in fields we know, so that a new field is guarded before anybody
has thought of it; names of fields too, where they could say something. What is left out holds no words:
roles, types and ids that look like one, and encoded images, sounds and PDFs where such are expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal

import msgspec

Channel = Literal["user", "operator", "document", "fetched", "other"]
"""Who says it: a user; the service's own prompts; a document that a user brings; a tool, or a document that
whoever asks for the user brings; nobody in particular."""

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
_NAME = re.compile(r"[\w.:/+=\-]{0,128}", re.ASCII)
"""What a role, a type or an id looks like."""
_FIELD = re.compile(r"[A-Za-z_$][A-Za-z_$.\-]{0,39}\d{0,4}|\d{1,5}")
"""A field's name that says nothing about anybody."""
_PICTURES = frozenset(("url", "image_url", "file_data"))
_ENCODED = re.compile(
    r"data:(?:(?:image|audio|video)/(?!svg)[\w.+\-]+|application/pdf);base64,[A-Za-z0-9+/=_\-]*", re.ASCII
)
_NOT_SENT = frozenset(("purpose", "subject"))
"""Ours in `metadata`: no provider sees them."""
_ROLES: Mapping[str, Channel] = {
    "system": "operator",
    "developer": "operator",
    "tool": "fetched",
    "function": "fetched",
}
_FIELDS: Mapping[str, Channel] = {
    "prompt": "user",
    "suffix": "user",
    "input": "user",
    "inputs": "user",
    "instructions": "operator",
    "tools": "operator",
    "functions": "operator",
    "documents": "fetched",
}
_ITEMS = ("messages", "input")
"""Where what is said stands item by item, each with who says it."""
_PARTS = (*_ITEMS, "content")
"""Where a document may stand."""
_DOCUMENTS = ("document", "file", "input_file", "search_result", "tool_result")
"""Types of parts that are a document, or what a tool brought."""
_WORDS = ("content", "data", "logs", "output", "outputs", "results", "snippet", "text")
"""Fields of a document that hold its words."""
_OUTPUT = ("content", "output")
"""Fields of what a tool brought that hold its words."""
_BROUGHT = ("output", "outputs", "results")
"""Fields of a call that its provider made, with what came of it."""
_BYTES = re.compile(r"[A-Za-z0-9+/=_\-]*", re.ASCII)
"""Encoded, and no words: there is no space."""


class Spoken(msgspec.Struct, frozen=True):
    """One text."""

    text: str
    channel: Channel
    field: str = ""
    """What it stands in."""


def spoken(fields: Mapping[str, Any]) -> Iterator[Spoken]:
    """Every text of a request's body, in the order of the body."""
    for name, value in fields.items():
        if _says_who(name):
            yield Spoken(name, "other")
        yield from _spoken(value, name, _channel(name), _NOT_SENT if name == "metadata" else ())


def brings(fields: Mapping[str, Any]) -> bool:
    """Whether a request brings what a tool or a document says, be it a file that nobody can read here."""
    return bool(fields.get("documents")) or any(_brings(value, name) for name, value in fields.items())


def _brings(value: Any, name: str) -> bool:
    if isinstance(value, dict):
        call = name in _ITEMS and _is_call(value) and any(value.get(key) for key in _BROUGHT)
        it = call or (name in _ITEMS and _is_output(value)) or (name in _PARTS and _is_document(value))
        return it or any(_brings(one, _within(name, key)) for key, one in value.items())
    return isinstance(value, list) and any(_brings(one, name) for one in value)


def _is_output(item: Mapping[str, Any]) -> bool:
    """Whether a message or an item of a response's input is what a tool brought."""
    role = item.get("role")
    return role in ("tool", "function") or (role is None and _kind(item).endswith("_call_output"))


def _is_document(part: Mapping[str, Any]) -> bool:
    """Whether a part of a message is a document; what names a role is a message, whatever its type."""
    return part.get("type") in _DOCUMENTS and "role" not in part


def _is_call(item: Mapping[str, Any]) -> bool:
    """Whether an item of a response's input is a call, which may hold what came of it."""
    return item.get("role") is None and _kind(item).endswith("_call")


def _kind(item: Mapping[str, Any]) -> str:
    return str(item.get("type"))


def _holds_words(document: Mapping[str, Any], name: str) -> bool:
    """Whether a field of a document holds its words, or more of it; a file's bytes are none."""
    if name == "source":
        return isinstance(document[name], dict)
    return name in _WORDS and not (name == "data" and document.get("type") == "base64")


def _channel(name: str) -> Channel:
    return "user" if name == "messages" else _FIELDS.get(name, "other")


def _spoken(value: Any, name: str, channel: Channel, ours: Collection[str] = ()) -> Iterator[Spoken]:
    if isinstance(value, str):
        if _says_something(value, name):
            yield Spoken(value, channel, name)
    elif isinstance(value, dict):
        inner = _of_message(value, name, channel)
        for key, one in value.items():
            if _says_who(key):
                yield Spoken(key, "other")
            if key not in ours:
                yield from _spoken(one, _within(name, key), _of_field(value, name, key, inner))
    elif isinstance(value, list):
        for one in value:
            yield from _spoken(one, name, channel)


def _within(name: str, key: str) -> str:
    """What a field counts as: in `metadata` a caller names fields freely, and any may hold words.

    Who says it is said by the items of the request itself, not by what is called so within them.
    """
    if name == "metadata":
        return name
    return "" if key in _ITEMS else key


def _says_something(text: str, name: str) -> bool:
    if name in _NO_WORDS:
        return _NAME.fullmatch(text) is None
    return bool(text) and not (name in _PICTURES and _ENCODED.fullmatch(text))


def _says_who(field: str) -> bool:
    return _FIELD.fullmatch(field) is None


def _of_message(value: Mapping[str, Any], name: str, channel: Channel) -> Channel:
    """Who says what stands in an object of the field `name`: only an item says it by its role."""
    role = value.get("role")
    if name in _ITEMS and isinstance(role, str):
        return _ROLES.get(role, "user")
    if name in _ITEMS and _is_output(value):
        return "fetched"
    if name in _PARTS and _is_document(value):
        return "document" if channel in ("user", "document") else "fetched"
    return channel


def _of_field(item: Mapping[str, Any], name: str, key: str, channel: Channel) -> Channel:
    """Of what was brought only its words are its own: whatever else stands there may be anybody's."""
    if channel in ("document", "fetched"):
        if name in _ITEMS and _is_output(item):
            return channel if key in _OUTPUT else "user"
        return channel if _holds_words(item, key) else _beside(item, key)
    return "fetched" if key in _BROUGHT and name in _ITEMS and _is_call(item) else channel


def _beside(document: Mapping[str, Any], key: str) -> Channel:
    text = document[key]
    encoded = key == "data" and isinstance(text, str) and _BYTES.fullmatch(text)
    return "other" if encoded else "user"


def with_texts(fields: Mapping[str, Any], texts: Iterator[str]) -> dict[str, Any]:
    """The same body with `texts` in the places that `spoken` yields, in its order."""
    return {
        next(texts) if _says_who(name) else name: _with(
            value, name, texts, _NOT_SENT if name == "metadata" else ()
        )
        for name, value in fields.items()
    }


def _with(value: Any, name: str, texts: Iterator[str], ours: Collection[str] = ()) -> Any:
    if isinstance(value, str):
        return next(texts) if _says_something(value, name) else value
    if isinstance(value, dict):
        return {
            next(texts) if _says_who(key) else key: one
            if key in ours
            else _with(one, _within(name, key), texts)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_with(one, name, texts) for one in value]
    return value


Turn = Callable[[str, str], str]
"""A text and the field it stands in: what stands there then."""


def changed(value: Any, name: str, turn: Turn, dropped: Collection[str] = ()) -> Any:
    """An answer's JSON with every text turned; what holds no words stays as it is.

    Fields that are `dropped` say nothing any more.
    """
    if isinstance(value, str):
        return turn(value, name) if _says_something(value, name) else value
    if isinstance(value, dict):
        return {key: _changed(one, key, turn, dropped) for key, one in value.items()}
    if isinstance(value, list):
        return [changed(one, name, turn, dropped) for one in value]
    return value


def _changed(value: Any, name: str, turn: Turn, dropped: Collection[str]) -> Any:
    if name in dropped:
        return [] if isinstance(value, list) else None
    return value if name in _NO_TEXT else changed(value, name, turn, dropped)


LOGPROBS = frozenset(("logprobs", "prompt_logprobs"))
"""Fields of an answer that repeat its words one by one."""
_NO_TEXT = frozenset(("embedding", "usage", "system_fingerprint", "created"))
