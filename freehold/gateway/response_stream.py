"""A chat answer shown as a response: whole, or as the events of one that grows (OpenAI, "Responses")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Said = dict[str, Any]

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class _Item:
    """One item of the output that is being told."""

    place: int
    said: Said
    text: list[str] = field(default_factory=list)


class ResponseStream:
    """Owned by one request. `whole` for an answer at once; `chunk` and `end` for a stream."""

    def __init__(self, shell: Said) -> None:
        self._shell = shell
        self._key = str(shell["id"]).removeprefix("resp_")
        self._number = -1
        self._output: list[Said] = []
        self._open: _Item | None = None
        self._finish = "stop"
        self._usage: Said | None = None

    def whole(self, said: Said) -> Said:
        """The response to a whole chat completion."""
        choice = said["choices"][0]
        message, self._finish = choice["message"], choice["finish_reason"]
        if message.get("content"):
            self._output.append(self._message(0, message["content"], "completed"))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            place = len(self._output)
            self._output.append(self._call(place, call["id"], function["name"], function["arguments"]))
        self._usage = said.get("usage")
        return self._ended()

    def chunk(self, said: Said) -> Iterator[Said]:
        """The events of one chunk."""
        if self._number < 0:
            for kind in ("created", "in_progress"):
                yield self._event(f"response.{kind}", response={**self._shell})
        self._usage = said.get("usage") or self._usage
        for choice in said.get("choices") or ():
            self._finish = choice.get("finish_reason") or self._finish
            delta = choice.get("delta") or {}
            if delta.get("content"):
                yield from self._says(delta["content"])
            for call in delta.get("tool_calls") or ():
                yield from self._calls(call)

    def end(self) -> Iterator[Said]:
        """What is told when the answer is over."""
        yield from self._close()
        kind = "incomplete" if self._finish in _INCOMPLETE else "completed"
        yield self._event(f"response.{kind}", response=self._ended())

    # -- items ------------------------------------------------------------------------------------------

    def _says(self, text: str) -> Iterator[Said]:
        if self._open is None or self._open.said["type"] != "message":
            yield from self._close()
            yield from self._begin(self._message(len(self._output), "", "in_progress"))
            part = {"type": "output_text", "text": "", "annotations": []}
            yield self._of_item("response.content_part.added", content_index=0, part=part)
        assert self._open is not None
        self._open.text.append(text)
        yield self._of_item("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def _calls(self, call: Said) -> Iterator[Said]:
        function = call.get("function") or {}
        if call.get("id"):
            yield from self._close()
            place = len(self._output)
            yield from self._begin(self._call(place, call["id"], function.get("name", ""), "", "in_progress"))
        if self._open is not None and (more := function.get("arguments")):
            self._open.text.append(more)
            yield self._of_item("response.function_call_arguments.delta", delta=more)

    def _begin(self, item: Said) -> Iterator[Said]:
        self._open = _Item(len(self._output), item)
        # its text grows later: what is shown now is the item as it begins
        shown = {**item, "content": []} if item["type"] == "message" else item
        yield self._event("response.output_item.added", output_index=self._open.place, item=shown)

    def _close(self) -> Iterator[Said]:
        if self._open is None:
            return
        text = "".join(self._open.text)
        if self._open.said["type"] == "message":
            item = self._message(self._open.place, text, "completed")
            part = item["content"][0]
            yield self._of_item("response.output_text.done", content_index=0, text=text, logprobs=[])
            yield self._of_item("response.content_part.done", content_index=0, part=part)
        else:
            said = self._open.said
            item = {**said, "arguments": text, "status": "completed"}
            yield self._of_item("response.function_call_arguments.done", arguments=text, name=said["name"])
        yield self._event("response.output_item.done", output_index=self._open.place, item=item)
        self._output.append(item)
        self._open = None

    def _message(self, place: int, text: str, status: str) -> Said:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        id = f"msg_{self._key}_{place}"
        return {"id": id, "type": "message", "role": "assistant", "status": status, "content": content}

    def _call(self, place: int, call: str, name: str, arguments: str, status: str = "completed") -> Said:
        said = {"call_id": call, "name": name, "arguments": arguments, "status": status}
        return {"id": f"fc_{self._key}_{place}", "type": "function_call", **said}

    # -- the whole --------------------------------------------------------------------------------------

    def _of_item(self, kind: str, **said: Any) -> Said:
        assert self._open is not None
        return self._event(kind, item_id=self._open.said["id"], output_index=self._open.place, **said)

    def _event(self, kind: str, **said: Any) -> Said:
        self._number += 1
        return {"type": kind, "sequence_number": self._number, **said}

    def _ended(self) -> Said:
        reason = _INCOMPLETE.get(self._finish)
        return {
            **self._shell,
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self._output,
            "usage": _usage(self._usage),
        }


def _usage(said: Said | None) -> Said | None:
    if said is None:
        return None
    cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        "input_tokens": said["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": said["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said["total_tokens"],
    }
