"""The texts of a stream, each in a lane of its own: what may leave of an event, and what waits.

Knows the shapes of two protocols: chunks with `choices` (chat and completions) and typed events whose
`delta` is a text (`/v1/responses`). Of anything else every text is looked at as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from freehold.gateway.arguments import FIELD, Arguments
from freehold.gateway.reply import STREAM, Piece
from freehold.screen.hold import Held

_DONE = b"[DONE]"
_OPEN_TOKEN = re.compile(r"\[[a-z\- ]{0,24}\d{0,6}\Z")
_OPEN_ARGUMENTS = re.compile(_OPEN_TOKEN.pattern + r"|\\+\Z")
_NO_LANE = frozenset(("role", "type", "id", "name", "index", "object", "finish_reason", "status"))

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Lane:
    """One text on its way out: hidden things hidden, tokens turned back into what they stand for."""

    held: Held | None
    values: Mapping[str, str] = field(repr=False)
    arguments: Arguments | None = None
    """Of a tool's call: JSON, and stays so."""
    _tail: str = ""

    def feed(self, text: str) -> str:
        """What may leave now."""
        return self._restored(self.held.feed(text) if self.held else text, end=False)

    def finish(self) -> str:
        """What was still held back."""
        return self._restored(self.held.finish() if self.held else "", end=True)

    def _restored(self, text: str, *, end: bool) -> str:
        if not self.values and self.arguments is None:
            return text
        text, self._tail = self._tail + text, ""
        if self.arguments is not None:
            return self.arguments.turned(self._kept_open(text, _OPEN_ARGUMENTS, end=end))
        for token, value in self.values.items():
            text = text.replace(token, value)
        return self._kept_open(text, _OPEN_TOKEN, end=end)

    def _kept_open(self, text: str, is_open: re.Pattern[str], *, end: bool) -> str:
        """What of it may leave: what may still become a token waits."""
        if not end and (found := is_open.search(text)):
            text, self._tail = text[: found.start()], text[found.start() :]
        return text


class Stream:
    """The events of one answer.

    `lane` makes a lane, `turn` turns every text of complete JSON; `refused` says after each event which
    guard refuses what has been found by then.
    """

    def __init__(
        self,
        lane: Callable[[str], Lane],
        turn: Callable[[Any], Any],
        refused: Callable[[], str],
    ) -> None:
        self._new_lane, self._turn, self._refused = lane, turn, refused
        self._lanes: dict[Path, Lane] = {}
        self._last: dict[str, Any] = {}
        self._shapes: dict[Path, dict[str, Any]] = {}
        """The last event of each typed lane: what was held back leaves in its shape."""

    def of(self, piece: Piece) -> Iterator[Piece]:
        """What leaves in the place of one event; after a refusal nothing does."""
        head, data = _parted(piece.data)
        done = data == _DONE
        events = [_event(head, said) for said in (self._rests(()) if done else self._turned(data))]
        if done:
            events.append(piece.data)
        if guard := self._refused():
            yield self._refusal(guard, head)
            return
        if piece.last and not events:
            events.append(b"")
        for n, event in enumerate(events, start=1):
            yield replace(piece, data=event, last=piece.last and n == len(events))

    # -- one event ------------------------------------------------------------------------------------

    def _turned(self, data: bytes) -> Iterator[dict[str, Any]]:
        said = msgspec.json.decode(data)
        if isinstance(said.get("choices"), list):
            yield from self._chunk(self._beside(said, ("choices",)))
        elif isinstance(said.get("type"), str) and isinstance(said.get("delta"), str):
            yield from self._delta(self._beside(said, ("delta",)))
        else:
            said = self._last = self._turn(said)
            kind = str(said.get("type", ""))
            if kind.endswith(".done"):
                yield from self._rest_of_delta(_named({**said, "type": kind.removesuffix("done") + "delta"}))
            elif kind in _ENDS:
                for path in tuple(self._shapes):
                    yield from self._rest_of_delta(path)
            yield said

    def _beside(self, said: dict[str, Any], grows: tuple[str, ...]) -> dict[str, Any]:
        """An object with all that stands beside its growing texts as it may leave."""
        turned: dict[str, Any] = self._turn({key: one for key, one in said.items() if key not in grows})
        return {key: turned.get(key, one) for key, one in said.items()}

    def _chunk(self, said: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._last = said
        leaves = []
        for place, choice in enumerate(said["choices"]):
            index, turned = choice.get("index", place), self._beside(choice, _TEXTS)
            turned |= {k: self._through(choice[k], (index, k)) for k in _TEXTS if choice.get(k)}
            if choice.get("finish_reason"):
                yield from self._rests((index,), first=turned)
                turned = {**turned, **{k: _emptied(turned[k]) for k in _TEXTS if k in turned}}
            elif _says_nothing(choice, turned):
                continue
            leaves.append(turned)
        if leaves or not said["choices"] or said.get("usage"):
            yield {**said, "choices": leaves}

    def _through(self, value: Any, path: Path) -> Any:
        """A delta with each of its texts through its lane."""
        if isinstance(value, str):
            name = path[-1]
            return self._turn({name: value})[name] if name in _NO_LANE else self._lane(path).feed(value)
        if isinstance(value, dict):
            return {key: self._through(one, (*path, key)) for key, one in value.items()}
        if isinstance(value, list):
            return [
                self._through(one, (*path, one.get("index", n))) if isinstance(one, dict) else self._turn(one)
                for n, one in enumerate(value)
            ]
        return value

    def _lane(self, path: Path) -> Lane:
        lane = self._lanes.get(path)
        if lane is None:
            lane = self._lanes[path] = self._new_lane(_field(path))
        return lane

    def _rests(self, under: Path, first: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """What the lanes under a path still hold, as chunks like the last one."""
        if first is not None and any(_texts(first.get(key)) for key in _TEXTS):
            yield self._like_last({**first, "finish_reason": None})
        for path in [path for path in self._lanes if path[: len(under)] == under]:
            if rest := self._lanes.pop(path).finish():
                yield self._like_last(_nested(path, rest))

    def _like_last(self, choice: dict[str, Any]) -> dict[str, Any]:
        if "choices" not in self._last:
            return {**self._last, "delta": next(iter(_texts(choice)), "")}
        base = {key: value for key, value in self._last.items() if key != "usage"}
        return {**base, "choices": [choice]}

    # -- typed events --------------------------------------------------------------------------------------

    def _delta(self, said: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self._last = said
        self._shapes[_named(said)] = said
        if leaves := self._lane(_named(said)).feed(said["delta"]):
            yield {**said, "delta": leaves}

    def _rest_of_delta(self, path: Path) -> Iterator[dict[str, Any]]:
        shape, lane = self._shapes.pop(path, None), self._lanes.pop(path, None)
        if shape and lane and (rest := lane.finish()):
            yield {**shape, "delta": rest}

    # -- the end -------------------------------------------------------------------------------------------

    def _refusal(self, guard: str, head: bytes) -> Piece:
        """The last words of an answer that is refused while it is being given."""
        said, done = self._last, b"data: " + _DONE + b"\n\n"
        if "choices" not in said:
            event: dict[str, Any] = {"type": "response.incomplete", "response": _INCOMPLETE}
            head, done = b"event: response.incomplete\n" if head else b"", b""
        else:
            places = sorted({choice.get("index", 0) for choice in said["choices"]}) or [0]
            key = "delta" if any("delta" in choice for choice in said["choices"]) else "text"
            choices = [
                {"index": i, key: {} if key == "delta" else "", "finish_reason": "content_filter"}
                for i in places
            ]
            event = {**{k: v for k, v in said.items() if k != "usage"}, "choices": choices}
        return Piece(data=_event(head, event) + done, last=True, kind=STREAM, refused=guard)


_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed"))
_INCOMPLETE: dict[str, Any] = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
_TEXTS = ("delta", "text", "message")


def _parted(data: bytes) -> tuple[bytes, bytes]:
    """The lines before an event's data, and its data."""
    head, _, rest = data.partition(b"data:")
    return head, rest.strip()


def _event(head: bytes, said: dict[str, Any]) -> bytes:
    """An event under the name of its type, where events have names."""
    if head.startswith(b"event:") and isinstance(said.get("type"), str):
        head = b"event: " + said["type"].encode() + b"\n"
    return head + b"data: " + msgspec.json.encode(said) + b"\n\n"


def _field(path: Path) -> str:
    """The field a lane's text stands in; a typed event says it in its type."""
    kind = str(path[0])
    return FIELD if kind.endswith("_arguments.delta") else str(path[-1])


def _named(said: Mapping[str, Any]) -> Path:
    return (str(said["type"]), said.get("output_index", 0), said.get("content_index", 0))


def _nested(path: Path, text: str) -> dict[str, Any]:
    """A choice with nothing but one text in it, where `path` says."""
    if isinstance(path[0], str):  # a typed event's
        return {"delta": text}
    inner: Any = text
    for key in reversed(path[1:]):
        inner = [{"index": key, **inner}] if isinstance(key, int) else {key: inner}
    return {"index": path[0], **inner, "finish_reason": None}


def _texts(value: Any) -> Iterator[str]:
    """The texts in a delta that are not empty."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key not in _NO_LANE:
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _emptied(value: Any) -> Any:
    return {} if isinstance(value, dict) else ""


def _says_nothing(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether an event held text only, and all of it waits."""
    delta = before.get("delta")
    more = isinstance(delta, dict) and (
        "role" in delta or any(isinstance(one, list) for one in delta.values())
    )
    had = any(True for key in _TEXTS for _ in _texts(before.get(key)))
    has = any(True for key in _TEXTS for _ in _texts(after.get(key)))
    return had and not has and not more
