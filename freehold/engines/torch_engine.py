"""The reference engine for text: several adapters on one base, each a generator of its own.

What it is for is being right: its answers are what they would be one at a time, whatever else it writes
(docs/decisions/0006-reference-engine.md). Large models and many callers are the work of other engines.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Self

import torch

from freehold.engines import parity
from freehold.engines.chat import ChatText
from freehold.engines.generation import How, Message, Tell, Writing, begin_all
from freehold.engines.lora import Adapter, check_fits
from freehold.engines.protocol import CannotAnswer, Completed, EngineClosed, ModelUnreadable
from freehold.engines.scheduler import Answer, Scheduler
from freehold.engines.torch_base import Row, TorchBase
from freehold.spec.model import About


class SharedBase:
    """A base and the thread that runs it; generators are opened on it and closed while it runs."""

    def __init__(self, base: TorchBase, **bounds: int) -> None:
        self.base = base
        self.scheduler = Scheduler(base, **bounds)

    @classmethod
    def read(cls, files: Mapping[str, bytes], **bounds: int) -> Self:
        """From a base's files. Raises ModelUnreadable."""
        return cls(TorchBase.read(files), **bounds)

    def open(self, about: About, files: Mapping[str, bytes]) -> TorchGenerator:
        """The generator of one model version, from its verified files.

        Raises ModelUnreadable, or OtherThanEvaluated when template or tokenizer are not those that its
        description names.
        """
        adapter = Adapter.read(files, self.base.device)
        check_fits(adapter, self.base.shapes)
        chat = ChatText.open(files)
        parity.refuse(parity.same_meaning(about, chat.digests.template, chat.digests.tokenizer))
        if chat.size > self.base.vocabulary:
            raise ModelUnreadable(why="its tokenizer has more words than the base")
        return TorchGenerator(about, self, adapter, chat)

    def close(self) -> None:
        """End the thread; what is under way is told so."""
        self.scheduler.close()


class TorchGenerator:
    """One model version: an adapter, its tokenizer and template, on a shared base."""

    def __init__(self, about: About, shared: SharedBase, adapter: Adapter, chat: ChatText) -> None:
        self._about, self._shared = about, shared
        self._adapter, self.chat = adapter, chat
        self.ends = _end_tokens(about, chat)
        """The first is the one it learned to end with."""
        self._most = _most_tokens(about)
        self._longest = min(shared.base.longest, shared.scheduler.room)
        self._open = True
        self._owned: SharedBase | None = None

    @classmethod
    def load(cls, about: About, files: Mapping[str, bytes], base: Mapping[str, bytes]) -> TorchGenerator:
        """A generator with a base of its own, for training and evaluation. Raises ModelUnreadable."""
        shared = SharedBase.read(base)
        try:
            made = shared.open(about, files)
        except BaseException:
            shared.close()
            raise
        made._owned = shared
        return made

    def metadata(self) -> About:
        """What it is."""
        return self._about

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return self._open and self._shared.scheduler.open

    def begin(self, prompt: str | Sequence[Message], how: How, tell: Tell) -> Writing:
        """See `generation.Writes`."""
        if not self._open:
            raise EngineClosed(hint="ask for the version that took its place")
        ids = self._read(prompt)
        answer = Answer(
            row=Row(self._adapter),
            chat=self.chat,
            prompt=ids,
            how=how,
            most=self._may_write(len(ids), how.most_tokens),
            ends=frozenset(self.ends),
            tell=tell,
            random=Random(int.from_bytes(os.urandom(8)) if how.seed is None else how.seed),  # noqa: S311 – draws words, guards nothing
        )
        self._shared.scheduler.submit(answer)
        return answer

    def _read(self, prompt: str | Sequence[Message]) -> list[int]:
        if isinstance(prompt, str):
            ids = self.chat.encode(prompt, raw=True)
        else:
            ids = self.chat.encode(self.chat.render(prompt))
        if not ids:
            raise CannotAnswer(why="the prompt is empty")
        return ids

    def _may_write(self, prompt: int, asked: int | None) -> int:
        """Tokens the answer may have. Raises CannotAnswer where prompt and answer do not fit together."""
        left = self._longest - prompt
        if left < (asked or 1):
            raise CannotAnswer(
                why=f"the prompt has {prompt} tokens and the answer may have {asked or 1}, "
                f"the model reads {self._longest} together",
                hint="shorten the prompt, or lower `max_tokens`",
            )
        return asked or min(self._most, left)

    def complete(self, prompts: Sequence[Sequence[Message]], max_tokens: int) -> tuple[Completed, ...]:
        """See `protocol.Generator`; all of them at once."""
        return begin_all(self, prompts, How(most_tokens=max_tokens, alternatives=0))

    def losses(self, pairs: Sequence[tuple[Sequence[Message], str]]) -> tuple[tuple[float, int], ...]:
        """See `protocol.Generator`: how surprised the model is by each answer, its end token included."""
        errand = self._shared.scheduler.between_steps
        return tuple(errand(partial(self._loss, prompt, answer)) for prompt, answer in pairs)

    def _loss(self, prompt: Sequence[Message], answer: str) -> tuple[float, int]:
        before = self._read(prompt)
        ids = [*before, *self.chat.encode(answer), self.ends[0]][: self._longest]
        wanted = torch.tensor(ids[len(before) :])
        if not len(wanted):
            return 0.0, 0
        logits = self._shared.base.logits(self._adapter, ids[:-1])[len(before) - 1 :]
        chances = logits.double().log_softmax(-1)
        return -float(chances.gather(1, wanted[:, None]).sum()), len(wanted)

    def close(self) -> None:
        """Take no more requests. Those under way go on with the adapter they began with, unless the base
        is its own and ends with it."""
        self._open = False
        if self._owned is not None:
            self._owned.close()


def _end_tokens(about: About, chat: ChatText) -> tuple[int, ...]:
    """Raises ModelUnreadable: a model without an end token would write until it is cut off."""
    ends = about.features.get("end_tokens")
    if not isinstance(ends, list) or not ends or not all(isinstance(id, int) for id in ends):
        raise ModelUnreadable(
            why="end token: it names none", hint="its answers would never end: train it again"
        )
    for id in ends:
        if not chat.bytes_of(id):
            raise ModelUnreadable(why=f"end token: {id} is no word of its tokenizer")
    return tuple(ends)


def _most_tokens(about: About) -> int:
    most = about.features.get("max_new_tokens")
    return most if isinstance(most, int) and most > 0 else 256
