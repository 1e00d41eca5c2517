"""Words about writing text: what is asked of a generator, and what comes back, piece by piece.

No torch here: gateways read and check requests with these too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Literal, Protocol

from freehold.engines.protocol import Completed
from freehold.errors import Failure, OverLimit

Message = Mapping[str, str]
"""`role` (system, user, assistant) and `content`."""

Finish = Literal["stop", "length"]
"""`stop`: an end token or a stop sequence; `length`: as many tokens as were asked for, or fit."""


class GeneratorBusy(OverLimit):
    """the generator has too many requests waiting"""

    retry_after = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How an answer is to be written. Saying nothing is greedy: as the model was evaluated."""

    most_tokens: int | None = None
    """None: as many as the model's own settings say."""
    temperature: float = 0.0
    """0 takes the likeliest token; above, tokens are drawn."""
    top_p: float = 1.0
    """Tokens are drawn from the likeliest that together have this probability."""
    seed: int | None = None
    """The same seed, prompt and settings give the same tokens, whoever else is being answered."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""
    alternatives: int | None = None
    """None: no log-probabilities; else how many other likely tokens are told beside each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token of an answer."""

    id: int
    raw: bytes
    """Its bytes; one character may take several tokens."""
    special: bool = False
    """Whether it is a mark and no part of the text."""
    logprob: float = 0.0
    """Natural logarithm of its probability under the model itself, before temperature and top_p."""
    others: tuple[tuple[int, bytes, float], ...] = ()
    """The likeliest tokens at this place: id, bytes, logprob; the chosen one may be among them."""
    begins: int = 0
    """Characters of the answer before it."""

    @property
    def text(self) -> str:
        """For people: what of its bytes is text."""
        return self.raw.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A part of an answer: whole characters, and the tokens whose text it completes."""

    text: str
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last thing told of an answer."""

    finish: Finish
    prompt_tokens: int
    tokens: int
    """How many were produced, the end token included."""
    ids: tuple[int, ...] = ()
    """These tokens."""
    logprobs: tuple[float, ...] = ()
    """Of each of them, when log-probabilities were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke:
    """The last thing told of an answer that could not be finished."""

    failure: Failure


Told = Written | Ended | Broke
Tell = Callable[[Told], None]
"""Called from the generator's own thread: hand over and return at once."""


class Writing(Protocol):
    """An answer that is being written."""

    def cancel(self) -> None:
        """Nobody waits for it any more; cancelling twice, or after its end, changes nothing."""


class Writes(Protocol):
    """A generator that can be listened to while it writes, many answers at a time."""

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Writing:
        """Begin an answer to a conversation, or go on from a text as it stands.

        `tell` hears `Written`s and in the end exactly one `Ended` or `Broke`. Raises CannotAnswer (the
        request is wrong), GeneratorBusy or EngineClosed, and then tells nothing.
        """


def begin_all(
    generator: Writes, prompts: Sequence[str | Sequence[Message]], how: How
) -> tuple[Completed, ...]:
    """Begin all of them, then wait for all. Raises what `begin` raises, and the failure of one that broke."""
    heard: list[SimpleQueue[Told]] = []
    writing: list[Writing] = []
    try:
        for prompt in prompts:
            heard.append(SimpleQueue())
            writing.append(generator.begin(prompt, how, heard[-1].put))
        return tuple(_completed(one) for one in heard)
    finally:
        for one in writing:
            one.cancel()


def _completed(heard: SimpleQueue[Told]) -> Completed:
    text = ""
    while True:
        match heard.get():
            case Written() as written:
                text += written.text
            case Broke(failure=failure):
                raise failure
            case Ended() as ended:
                return Completed(
                    text=text, tokens=ended.ids, logprobs=ended.logprobs, ended=ended.finish == "stop"
                )
