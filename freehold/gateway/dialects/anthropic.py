"""Anthropic's Messages API (docs.anthropic.com, "Messages", version 2023-06-01) for OpenAI's chat."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from freehold.gateway.dialects.dialect import (
    CHAT,
    MISSHAPEN,
    Reading,
    Said,
    Sent,
    Strange,
    arguments_of,
    called,
    check_stream,
    chunk,
    completion,
    delta,
    functions,
    inner,
    most_tokens,
    nothing_acts_on,
    refuse_others,
    stops,
    unusable,
    usage,
    words_of,
)
from freehold.gateway.dialects.openai import read_object
from freehold.spec.snapshot import Target

VERSION = "2023-06-01"
UNSAID = 4096
"""The API wants to be told the most tokens; this is said where the caller does not."""
_NAME = "Anthropic"
_KNOWN = frozenset(
    (
        *("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
        *("temperature", "top_p", "stop", "tools", "tool_choice", "parallel_tool_calls", "user"),
    )
)
_HOLDS: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
}
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_DATA = re.compile(r"data:(image/[a-z0-9.+-]+);base64,(.*)", re.DOTALL)


class Anthropic:
    """Asked in chat only; its answers in OpenAI's words."""

    serves = frozenset((CHAT,))

    def asks(self, path: str, fields: Mapping[str, Any]) -> Said:
        """See `Dialect`."""
        refuse_others(fields, _KNOWN, _HOLDS, _NAME)
        check_stream(fields, _NAME)
        system, messages = _conversation(fields["messages"])
        most = most_tokens(fields)
        body: Said = {"messages": messages, "max_tokens": UNSAID if most is None else most}
        if system:
            body["system"] = system
        for name in ("temperature", "top_p"):
            if fields.get(name) is not None:
                body[name] = _share(name, fields[name])
        if (words := stops(fields)) is not None:
            body["stop_sequences"] = words
        if fields.get("user") is not None:
            body["metadata"] = {"user_id": str(fields["user"])}
        if fields.get("stream"):
            body["stream"] = True
        return body | _tools(fields)

    def url(self, target: Target, path: str, body: Said) -> str:
        """See `Dialect`."""
        return target.url.rstrip("/") + "/messages"

    def sent(self, target: Target, secret: str | None, path: str, body: Said) -> Sent:
        """See `Dialect`."""
        headers = {"anthropic-version": VERSION}
        if secret:
            headers["x-api-key"] = secret
        return Sent(
            url=self.url(target, path, body),
            headers=headers,
            body=msgspec.json.encode({**body, "model": target.name}),
        )

    def answer(self, path: str, said: Said, at: int) -> Said:
        """See `Dialect`."""
        try:
            blocks = [block for block in said["content"] if isinstance(block, dict)]
            text = "".join(block["text"] for block in blocks if block["type"] == "text")
            calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
            message: Said = {"role": "assistant", "content": text or None, "refusal": None}
            if calls:
                message["tool_calls"] = calls
            choice = {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": _FINISH.get(said["stop_reason"], "stop"),
            }
            return completion(at, str(said["id"]), [choice], _usage(said["usage"], 0))
        except MISSHAPEN as error:
            raise Strange("it is no message") from error

    def reading(self, path: str, at: int) -> Reading:
        """See `Dialect`."""
        return _Events(at)


def _share(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise unusable(name, f"{_NAME} takes a number from 0 to 1")
    return float(value)


# -- asking -----------------------------------------------------------------------------------------------


def _conversation(messages: Any) -> tuple[str, list[Said]]:
    """The instructions, and turns that take turns: neighbours of one side become one message."""
    system: list[str] = []
    turns: list[Said] = []
    for message in messages:
        if not isinstance(message, dict):
            raise unusable("messages", "a message is an object with `role` and `content`")
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(words_of(message.get("content")))
            continue
        side, blocks = _turn(role, message)
        if turns and turns[-1]["role"] == side:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": side, "content": blocks})
    return "\n\n".join(system), turns


def _turn(role: Any, message: Mapping[str, Any]) -> tuple[str, list[Said]]:
    if role == "user":
        return "user", _blocks(message.get("content"))
    if role == "assistant":
        said = [{"type": "text", "text": words}] if (words := words_of(message.get("content"))) else []
        return "assistant", [*said, *(_use(call) for call in called(message))]
    if role == "tool":
        result = {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id"))}
        return "user", [{**result, "content": words_of(message.get("content"))}]
    raise unusable("messages", "a role is unknown", "roles are system, developer, user, assistant, tool")


def _blocks(content: Any) -> list[Said]:
    if not isinstance(content, list):
        return [{"type": "text", "text": words_of(content)}]
    return [_block(part) for part in content]


def _block(part: Any) -> Said:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": "text", "text": str(part.get("text", ""))}
    if kind == "image_url":
        return {"type": "image", "source": _source(part.get("image_url"))}
    raise unusable("messages", "a part of a message is neither text nor an image")


def _source(image: Any) -> Said:
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str):
        raise unusable("messages", "an image has no `url`")
    found = _DATA.fullmatch(url)
    if found:
        return {"type": "base64", "media_type": found[1], "data": found[2]}
    return {"type": "url", "url": url}


def _use(call: Said) -> Said:
    name = call["function"]["name"]
    return {"type": "tool_use", "id": call["id"], "name": name, "input": arguments_of(call)}


def _tools(fields: Mapping[str, Any]) -> Said:
    offered = functions(fields)
    if not offered:
        if fields.get("tool_choice") not in (None, "none", "auto"):
            raise unusable("tool_choice", "no `tools` are offered")
        return {}
    tools = [_tool(function) for function in offered]
    choice = _choice(fields.get("tool_choice") or "auto")
    if fields.get("parallel_tool_calls") is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tools": tools, "tool_choice": choice}


def _tool(function: Said) -> Said:
    if function.get("strict"):
        raise nothing_acts_on("tools.function.strict", _NAME)
    tool = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    if function.get("description"):
        tool["description"] = function["description"]
    return tool


def _choice(said: Any) -> Said:
    if said in ("auto", "none"):
        return {"type": said}
    if said == "required":
        return {"type": "any"}
    name = inner(said, "function").get("name")
    if not isinstance(name, str):
        raise unusable("tool_choice", "it is auto, none, required, or names a function")
    return {"type": "tool", "name": name}


# -- answering --------------------------------------------------------------------------------------------


def _call(block: Said) -> Said:
    arguments = msgspec.json.encode(block["input"]).decode()
    return {
        "id": str(block["id"]),
        "type": "function",
        "function": {"name": str(block["name"]), "arguments": arguments},
    }


def _usage(said: Mapping[str, Any], out: int) -> Said:
    """Cached tokens are apart there and a part of the prompt here."""
    cached = said.get("cache_read_input_tokens") or 0
    written = said.get("cache_creation_input_tokens") or 0
    return usage(said["input_tokens"] + written + cached, said.get("output_tokens", out), cached)


class _Events:
    """A stream of events: a message begins, its blocks grow one after another, it stops."""

    def __init__(self, at: int) -> None:
        self.whole = False
        self._at = at
        self._id = ""
        self._used: Said = {}
        self._calls: dict[int, int] = {}

    def chunks(self, data: bytes) -> Iterable[Said]:
        event = read_object(data)
        try:
            return list(self._said(event))
        except MISSHAPEN as error:
            raise Strange("an event has not the shape of its kind") from error

    def _said(self, event: Said) -> Iterator[Said]:
        match event.get("type"):
            case "message_start":
                self._id, self._used = str(event["message"]["id"]), dict(event["message"]["usage"])
                yield self._chunk(delta({"role": "assistant", "content": ""}))
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                yield self._begins(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._grows(event["index"], event["delta"])
            case "message_delta":
                self._used |= event.get("usage") or {}
                finish = _FINISH.get(event["delta"].get("stop_reason"), "stop")
                yield self._chunk(delta({}, finish))
            case "message_stop":
                self.whole = True
                yield chunk(self._at, self._id, [], _usage(self._used, 0))
            case "error":
                raise Strange("the provider broke off with an error")

    def _begins(self, index: int, block: Said) -> Said:
        place = self._calls[index] = len(self._calls)
        function = {"name": str(block["name"]), "arguments": ""}
        call = {"index": place, "id": str(block["id"]), "type": "function", "function": function}
        return self._chunk(delta({"tool_calls": [call]}))

    def _grows(self, index: int, said: Said) -> Iterator[Said]:
        if said["type"] == "text_delta":
            yield self._chunk(delta({"content": said["text"]}))
        elif said["type"] == "input_json_delta":
            call = {"index": self._calls[index], "function": {"arguments": said["partial_json"]}}
            yield self._chunk(delta({"tool_calls": [call]}))

    def _chunk(self, choice: Said) -> Said:
        return chunk(self._at, self._id, [choice])
