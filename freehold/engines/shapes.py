"""Answers in OpenAI's shapes: whole and as chunks, for conversations and for plain texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freehold.engines.generation import Ended, Token, Written


def usage(ended: Ended) -> dict[str, int]:
    """What it took: every token that was read and produced."""
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.tokens,
        "total_tokens": ended.prompt_tokens + ended.tokens,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one answer is told. `chat`: of a conversation; else of a text that is gone on from."""

    chat: bool
    id: str
    created: int
    model: str
    fingerprint: str
    logprobs: bool

    def first(self) -> dict[str, Any] | None:
        """What a stream begins with."""
        return self._chunk({"role": "assistant", "content": ""}, None, None) if self.chat else None

    def part(self, written: Written) -> dict[str, Any] | None:
        """A chunk; none where nothing is to be told."""
        if not written.text and not (self.logprobs and written.tokens):
            return None
        told = self._told(written.tokens)
        if self.chat:
            return self._chunk({"content": written.text}, told, None)
        return self._chunk(written.text, told, None)

    def last(self, ended: Ended) -> dict[str, Any]:
        """The chunk that says why it ended."""
        return self._chunk({} if self.chat else "", None, ended.finish)

    def used(self, ended: Ended) -> dict[str, Any]:
        """The chunk that says what it took."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return self._object(kind, []) | {"usage": usage(ended)}

    def whole(self, text: str, tokens: Sequence[Token], ended: Ended) -> dict[str, Any]:
        """The answer in one piece."""
        choice: dict[str, Any] = {
            "index": 0,
            "logprobs": self._told(tokens),
            "finish_reason": ended.finish,
        }
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        else:
            choice["text"] = text
        kind = "chat.completion" if self.chat else "text_completion"
        return self._object(kind, [choice]) | {"usage": usage(ended)}

    def _chunk(self, said: Any, told: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
        name = "delta" if self.chat else "text"
        choice = {"index": 0, name: said, "logprobs": told, "finish_reason": finish}
        return self._object("chat.completion.chunk" if self.chat else "text_completion", [choice])

    def _object(self, kind: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def _told(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        return _of_chat(tokens) if self.chat else _of_text(tokens)


def _of_text(tokens: Sequence[Token]) -> dict[str, Any]:
    """The older shape: lists side by side, with where each token begins in the text."""
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [
            {raw.decode("utf-8", "replace"): logprob for _, raw, logprob in token.others} for token in tokens
        ],
        "text_offset": [token.begins for token in tokens],
    }


def _of_chat(tokens: Sequence[Token]) -> dict[str, Any]:
    content = [
        _entry(token.raw, token.logprob)
        | {"top_logprobs": [_entry(raw, logprob) for _, raw, logprob in token.others]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(raw: bytes, logprob: float) -> dict[str, Any]:
    return {"token": raw.decode("utf-8", "replace"), "logprob": logprob, "bytes": list(raw)}
