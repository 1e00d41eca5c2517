"""Whether two answers to the same request say the same: the class, or the words; nothing else of them.

What cannot be read as the answers of this API (a tool's call, tensors without a class) is not laid beside
anything: that is told apart from answers that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from freehold.gateway.private import Private
from freehold.gateway.reply import STREAM, Header
from freehold.spec.answer import DIFFERS, SAME

MOST = 1 << 20
"""Bytes of an answer that is read for this."""
_HEAD = b"inference-header-content-length"


class Given(Private, frozen=True, kw_only=True):
    """An answer as it left, whole."""

    data: bytes
    kind: bytes
    headers: tuple[Header, ...] = ()


def alike(one: Given, other: Given, *, classes: bool) -> str:
    """What a copy's record has as its reason: SAME, DIFFERS or `ok`; `classes` where a model says some."""
    said = _said(one, classes), _said(other, classes)
    if None in said:
        return "ok"
    return SAME if said[0] == said[1] else DIFFERS


def _said(given: Given, classes: bool) -> Any:
    """What it says; None where that cannot be told."""
    if len(given.data) > MOST:
        return None
    try:
        if given.kind == STREAM:
            texts = _streamed(given.data)
        else:
            head = next((int(value) for name, value in given.headers if name == _HEAD), len(given.data))
            whole = msgspec.json.decode(given.data[:head])
            if "outputs" in whole:
                return _classes(whole["outputs"], given.data[head:])
            texts = _texts(whole)
        return [msgspec.json.decode(text)["class"] for text in texts] if classes else texts or None
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _classes(outputs: list[dict[str, Any]], tail: bytes) -> Any:
    """The tensor of classes, be it in JSON or in the bytes behind."""
    for output in outputs:
        size = output.get("parameters", {}).get("binary_data_size")
        if output["name"] == "class":
            return output["data"] if size is None else tail[:size]
        tail = tail[size or 0 :]
    return None


def _texts(whole: Mapping[str, Any]) -> list[str]:
    """Of chat and completions each choice's, of responses each part's."""
    if "choices" in whole:
        every = whole["choices"]
        return [one["text"] if "text" in one else one["message"]["content"] or "" for one in every]
    return [part["text"] for item in whole["output"] for part in item.get("content", ()) if "text" in part]


def _streamed(data: bytes) -> list[str]:
    """The same of a stream, put together."""
    texts: dict[int, str] = {}
    for event in _events(data):
        if event.get("type") == "response.completed":
            return _texts(event["response"])
        for choice in event.get("choices", ()):
            said = choice["text"] if "text" in choice else choice["delta"].get("content")
            texts[choice["index"]] = texts.get(choice["index"], "") + (said or "")
    return [texts[index] for index in sorted(texts)]


def _events(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        if line.startswith(b"data: {"):
            yield msgspec.json.decode(line[6:])
