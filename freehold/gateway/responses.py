"""OpenAI's responses API in its stateless form, for whatever here answers in chat.

The request is turned into a chat request and the answer back; nothing is kept between two of them. A
provider that speaks the responses API itself is asked in it (`provider`), not through here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from msgspec.structs import replace

from freehold.engines.wanted import NothingActsOn
from freehold.gateway.answering import UpstreamBroke
from freehold.gateway.asked import Asked
from freehold.gateway.dialects.dialect import CHAT, MISSHAPEN, Said, unusable
from freehold.gateway.reply import Piece
from freehold.gateway.response_stream import ResponseStream
from freehold.gateway.spend import Tally
from freehold.gateway.telling import Telling, as_events
from freehold.gateway.upstream import Upstreams
from freehold.spec.snapshot import ServiceView, Target

_SAME = ("model", "temperature", "top_p", "stream", "parallel_tool_calls", "metadata", "user")
_ACTED_ON = frozenset(
    (*_SAME, "input", "instructions", "max_output_tokens", "tools", "tool_choice", "text", "service_tier")
)
_HOLDS: Mapping[str, tuple[Any, ...]] = {
    "store": (False,),
    "background": (False,),
    "include": ([],),
    "truncation": ("disabled",),
    "top_logprobs": (0,),
    "stream_options": ({},),
}
_TEXTS = ("input_text", "output_text", "text")


class Inner(Protocol):
    """A chat question, asked in a response's place."""

    @property
    def worst_case(self) -> tuple[int, int]:
        """See `Question`."""

    def told(self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally) -> Telling:
        """The answer in chat's words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesQuestion:
    """A request for a response."""

    inner: Inner
    stream: bool
    shell: Said = field(repr=False)
    """The response without what was answered."""

    @property
    def worst_case(self) -> tuple[int, int]:
        """The chat request's."""
        return self.inner.worst_case

    def ask(
        self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally
    ) -> AsyncGenerator[Piece, None]:
        """A response, or the events of one."""
        return as_events(self.told(upstreams, target, secret, tally), stream=self.stream)

    async def told(self, upstreams: Upstreams, target: Target, secret: str | None, tally: Tally) -> Telling:
        """The answer in the words of responses."""
        shown = ResponseStream(self.shell)
        async with aclosing(self.inner.told(upstreams, target, secret, tally)) as saying:
            async for said in saying:
                if not self.stream:
                    with _shaped():
                        whole = shown.whole(said)
                    yield whole
                    return
                with _shaped():
                    events = list(shown.chunk(said))
                for event in events:
                    yield event
        with _shaped():
            events = list(shown.end())
        for event in events:
            yield event


@contextmanager
def _shaped() -> Iterator[None]:
    """Reading an answer in chat. Raises UpstreamBroke for one that has not the shape of its own API."""
    try:
        yield
    except MISSHAPEN as error:
        raise UpstreamBroke(why="it has not the shape of an answer in chat") from error


def read_responses(
    asked: Asked,
    service: ServiceView,
    answer: str,
    read_inner: Callable[[Asked, ServiceView, str], Inner],
) -> ResponsesQuestion:
    """Read a request for a response; `read_inner` reads the chat request it becomes.

    Raises NothingActsOn for what would need memory between two requests, or has no counterpart in chat.
    """
    fields = {name: value for name, value in asked.fields.items() if value is not None}
    for name, value in fields.items():
        if name not in _ACTED_ON and value not in _HOLDS.get(name, ()):
            raise _no_memory(name)
    stream = fields.get("stream", False)
    if not isinstance(stream, bool):
        raise unusable("stream", "it is true or false")
    chat = _chat(fields)
    if stream:
        chat["stream_options"] = {"include_usage": True}
    inner = read_inner(replace(asked, path=CHAT, fields=chat), service, answer)
    return ResponsesQuestion(inner=inner, stream=stream, shell=_shell(fields, asked, service, answer))


def _no_memory(name: str) -> NothingActsOn:
    failure = NothingActsOn(
        field=name[:60],
        why="responses are stateless here, and this one is answered in chat",
        hint="send the whole conversation as `input`, and tools as functions",
    )
    failure.param = name[:60]
    return failure


def _chat(fields: Mapping[str, Any]) -> Said:
    chat: Said = {name: fields[name] for name in _SAME if name in fields}
    if "max_output_tokens" in fields:
        chat["max_completion_tokens"] = fields["max_output_tokens"]
    messages = [{"role": "system", "content": fields["instructions"]}] if "instructions" in fields else []
    chat["messages"] = messages + _messages(fields.get("input"))
    if tools := fields.get("tools"):
        if not isinstance(tools, list):
            raise unusable("tools", "it is a list")
        chat["tools"] = [_tool(tool) for tool in tools]
    if (choice := fields.get("tool_choice")) is not None and tools:
        chat["tool_choice"] = _choice(choice)
    if (form := _form(fields.get("text"))) is not None:
        chat["response_format"] = form
    return chat


def _messages(said: Any) -> list[Said]:
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said:
        raise unusable("input", "it is a text or a list of items")
    return [_message(item) for item in said]


def _message(item: Any) -> Said:
    if not isinstance(item, dict):
        raise unusable("input", "an item is an object")
    kind = item.get("type", "message")
    if kind == "function_call":
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind == "function_call_output":
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": _words(item.get("output"))}
    if kind != "message":
        raise unusable("input", "an item is neither a message nor a function's call or output")
    return {"role": item.get("role"), "content": _words(item.get("content"))}


def _words(content: Any) -> Any:
    """Parts of text and images in chat's words."""
    if not isinstance(content, list):
        return content
    return [_part(part) for part in content]


def _part(part: Any) -> Said:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    raise unusable("input", "a part is neither text nor an image with `image_url`")


def _tool(tool: Any) -> Said:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise unusable("tools", "nothing here runs tools; functions are offered for the caller to run")
    known = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {n: tool[n] for n in known if tool.get(n) is not None}}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _form(said: Any) -> Said | None:
    form = said.get("format") if isinstance(said, dict) else None
    if said is not None and (not isinstance(said, dict) or said.keys() - {"format"}):
        raise unusable("text", "it is an object with `format`")
    if form is None or form == {"type": "text"}:
        return None
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {name: value for name, value in form.items() if name != "type"}
        return {"type": "json_schema", "json_schema": schema}
    return dict(form) if isinstance(form, dict) else {"type": form}


def _shell(fields: Mapping[str, Any], asked: Asked, service: ServiceView, answer: str) -> Said:
    return {
        "id": f"resp_{answer.removeprefix('ans_')}",
        "object": "response",
        "created_at": asked.at // 1_000_000,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": fields.get("instructions"),
        "max_output_tokens": fields.get("max_output_tokens"),
        "metadata": {},
        "model": service.name,
        "output": [],
        "parallel_tool_calls": fields.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "store": False,
        "temperature": fields.get("temperature"),
        "text": fields.get("text") or {"format": {"type": "text"}},
        "tool_choice": fields.get("tool_choice", "auto"),
        "tools": fields.get("tools") or [],
        "top_p": fields.get("top_p"),
        "truncation": "disabled",
        "usage": None,
    }
