"""Rows as a generator reads them: a question, its answer, and the token that ends it.

The same tokenizer and the same template as in serving, read by the same code (`engines.chat`): a prompt
that is learned from is to the token the prompt that is asked later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.engines.chat import TEMPLATE, TOKENIZER, TOKENIZER_CONFIG, ChatText
from freehold.engines.protocol import CannotAnswer
from freehold.train.trained import CannotLearn

_ANSWER = "Answer"
"""A word of ours, to see what a template writes after one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A row that can be learned from, as tokens."""

    place: int
    """In the sequence of rows."""
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """The end token included."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Rows, read."""

    pairs: tuple[Pair, ...]
    too_long: int
    """Rows that have more tokens than are read: half an answer would teach it never to end."""
    marked: int
    """Rows that hold one of the marks by which the model tells turns apart."""


def words_of(base: Path) -> dict[str, bytes]:
    """What is pinned of a base's words: tokenizer, its settings, and the chat template as a file of its own.

    Raises CannotLearn when it has none.
    """
    said = _json(base / TOKENIZER_CONFIG)
    inside = said.pop("chat_template", None)
    beside = base / TEMPLATE
    if not beside.exists() and not isinstance(inside, str):
        raise CannotLearn(
            why="the base model has no chat template",
            hint="use a base that was tuned for conversations, or put a `chat_template.jinja` beside it",
        )
    template = beside.read_bytes() if beside.exists() else str(inside).encode()
    return {
        TOKENIZER: (base / TOKENIZER).read_bytes(),
        TOKENIZER_CONFIG: json.dumps(said, ensure_ascii=False, sort_keys=True).encode(),
        TEMPLATE: template,
    }


def end_tokens(chat: ChatText, base: Path) -> list[int]:
    """First the one that is learned: what the template writes after an answer, else the base's own.

    Behind it whatever else ends an answer of the base. Raises CannotLearn when there is none.
    """
    said = _json(base / TOKENIZER_CONFIG).get("eos_token")
    word = said.get("content") if isinstance(said, dict) else said
    own = [id for id, text in chat.special.items() if text == word]
    for name in ("generation_config.json", "config.json"):
        ids: Any = _json(base / name).get("eos_token_id")
        own += ids if isinstance(ids, list) else [ids]
    found = [id for id in (*_after_an_answer(chat), *own) if isinstance(id, int) and chat.bytes_of(id)]
    if not found:
        raise CannotLearn(
            why="neither the template nor the settings of the base name a token that ends an answer",
            hint="its answers would never end: say `eos_token` in its tokenizer_config.json",
        )
    return list(dict.fromkeys(found))


def _after_an_answer(chat: ChatText) -> Iterator[int]:
    """The mark that the template writes first after an answer."""
    told = [{"role": "user", "content": "Question"}, {"role": "assistant", "content": _ANSWER}]
    whole = chat.render(told, prompting=False)
    rest = whole[whole.rfind(_ANSWER) + len(_ANSWER) :] if _ANSWER in whole else ""
    yield from [id for id in chat.encode(rest.lstrip()) if id in chat.special][:1]


def conversation(text: str) -> list[dict[str, str]]:
    """A row's question as it is asked."""
    return [{"role": "user", "content": text}]


def read(chat: ChatText, texts: Sequence[str], answers: Sequence[str], *, end: int, max_length: int) -> Read:
    """Each row alone: whether it can be learned from depends on no other."""
    pairs, too_long, marked = [], 0, 0
    for place, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        try:
            prompt = chat.encode(chat.render(conversation(text)))
            chat.refuse_marks(answer)
        except CannotAnswer:
            marked += 1
            continue
        pair = Pair(place=place, prompt=tuple(prompt), answer=(*chat.encode(answer), end))
        if len(pair) > max_length:
            too_long += 1
        else:
            pairs.append(pair)
    if not pairs:
        raise CannotLearn(
            why=f"of {len(texts)} rows {too_long} have more than {max_length} tokens with their answer, and "
            f"{marked} hold a mark of the template",
            hint="raise `max_length`, as far as the base reads",
        )
    return Read(pairs=tuple(pairs), too_long=too_long, marked=marked)


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    said: Mapping[str, Any] = json.loads(path.read_bytes())
    return dict(said)
