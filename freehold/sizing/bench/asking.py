"""One request to a service, timed: over the same HTTP that any client uses."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.sizing.bench.arrivals import Due

if TYPE_CHECKING:
    import aiohttp

WORDS = ("the", "customer", "writes", "that", "water", "came", "through", "the", "ceiling", "again", "and")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, of whom."""

    service: str
    texts: tuple[str, ...]
    subject: str
    purpose: str
    tokens: int
    """At most so many are wanted; 0: nothing is said about it."""
    fresh: bool = False
    """Each begins with a number of its own: no engine has read it before, and keeps it in a cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of a request; times in seconds since the load began."""

    due: float
    """When it came: what a caller waits is counted from here, even if we were late to send it."""
    first: float
    """When the first word was there."""
    ended: float
    tokens: int
    """As the service counted them, without those that it thought and did not say; else as they came."""
    prompt: int = 0
    """Tokens of what was asked, as the service counted them; 0 where it does not tell."""
    failed: str
    """Empty, or why: a status, `cut off`, `no connection`, `late`, `not readable`."""

    @property
    def waited(self) -> float:
        """To the last word."""
        return self.ended - self.due

    @property
    def first_token(self) -> float:
        return self.first - self.due

    @property
    def token(self) -> float | None:
        """Seconds a token after the first; None where there is one alone."""
        return (self.ended - self.first) / (self.tokens - 1) if self.tokens > 1 else None


def body(question: Question, number: int, due: Due) -> dict[str, Any]:
    """Request `number`."""
    text = question.texts[number % len(question.texts)]
    if due.tokens_in:
        text = " ".join(WORDS[n % len(WORDS)] for n in range(due.tokens_in))
    if question.fresh:
        text = f"{number}: {text}"
    said: dict[str, Any] = {
        "model": question.service,
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if wanted := due.tokens_out or question.tokens:
        said["max_tokens"] = wanted
    return said


async def ask(
    http: aiohttp.ClientSession, question: Question, number: int, due: Due, began: float
) -> Answered:
    """Send it and read it to its end; failures are told, never raised."""
    import aiohttp

    headers = {
        name: value
        for name, value in (
            ("x-freehold-subject", question.subject),
            ("x-freehold-purpose", question.purpose),
        )
        if value
    }
    first = 0.0
    tokens = prompt = 0
    failed = "cut off"
    try:
        sent = http.post("v1/chat/completions", json=body(question, number, due), headers=headers)
        async with sent as response:
            if response.status != 200:
                await response.read()
                failed = str(response.status)
            else:
                async for line in response.content:
                    if line.startswith(b"data: [DONE]"):
                        failed = ""
                    elif _holds_words(line):
                        tokens += 1
                        first = first or time.perf_counter() - began
                    elif counted := _usage(line):
                        prompt, tokens = counted[0], max(tokens, counted[1])
    except TimeoutError:
        failed = "late"
    except aiohttp.ClientError:
        failed = failed if tokens else "no connection"
    except ValueError:  # a line longer than anybody reads
        failed = "not readable"
    ended = time.perf_counter() - began
    return Answered(
        due=due.at, first=first or ended, ended=ended, tokens=tokens, prompt=prompt, failed=failed
    )


def _holds_words(line: bytes) -> bool:
    """A chunk that carries text, not only a role or an ending."""
    return any(choice.get("delta", {}).get("content") for choice in _chunk(line).get("choices") or ())


def _usage(line: bytes) -> tuple[int, int] | None:
    """(tokens asked, tokens said) of the chunk that counts them."""
    counted = _chunk(line).get("usage")
    if not isinstance(counted, dict):
        return None
    thought = (counted.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    try:
        said = int(counted.get("completion_tokens") or 0) - int(thought)
        return int(counted.get("prompt_tokens") or 0), said
    except (TypeError, ValueError):
        return None


def _chunk(line: bytes) -> dict[str, Any]:
    """Empty where it is none."""
    try:
        said = json.loads(line[6:]) if line.startswith(b"data: ") else {}
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
