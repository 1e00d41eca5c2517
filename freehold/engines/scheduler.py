"""Many answers on one base: requests join and leave between two decoding steps.

One thread owns the model. Each turn of its loop lets newcomers in, reads one piece of the oldest
unfinished prompt, and then lets every running answer take one step, `LANES` rows at a time. What an
answer says is told as soon as it is certain.
"""

from __future__ import annotations

import atexit
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

from torch import Tensor

from freehold.engines.chat import ChatText
from freehold.engines.drawing import choose
from freehold.engines.generation import Broke, Ended, Finish, GeneratorBusy, How, Tell, Token
from freehold.engines.identity import CHUNK, LANES
from freehold.engines.pieces import Characters, Pieces, Stops
from freehold.engines.protocol import EngineClosed
from freehold.engines.torch_base import Row, TorchBase
from freehold.errors import Failure, Unavailable

AT_ONCE = 32
"""Answers that are written at the same time."""
WAITING = 256
"""Requests that may wait for a place."""
MEMORY = 2 << 30
"""Bytes for the keys and values of all answers together."""

_log = logging.getLogger("freehold.engine")
_T = TypeVar("_T")


class StepFailed(Unavailable):
    """the generator broke while it wrote this answer"""


@dataclass(slots=True, eq=False)
class Answer:
    """One request under way. After `submit` its fields belong to the scheduler's thread."""

    row: Row
    chat: ChatText
    prompt: Sequence[int]
    how: How
    most: int
    """Tokens it may have."""
    ends: frozenset[int]
    tell: Tell
    random: Random
    pieces: Pieces = field(init=False)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    over: bool = False

    def __post_init__(self) -> None:
        self.pieces = Pieces(Characters(blank_first=self.chat.blank_first), Stops(self.how.stop))

    @property
    def size(self) -> int:
        """The most tokens it will keep."""
        return len(self.prompt) + self.most

    def cancel(self) -> None:
        """See `generation.Writing`; seen before its next step."""
        self.over = True


class Scheduler:
    """The thread that owns a base."""

    def __init__(
        self, base: TorchBase, *, at_once: int = AT_ONCE, waiting: int = WAITING, memory: int = MEMORY
    ) -> None:
        self._base = base
        self._at_once, self._most_waiting = at_once, waiting
        self.room = memory // base.bytes_per_token
        """Tokens that may be kept at the same time, over all answers."""
        self._waiting: deque[Answer] = deque()
        self._reading: deque[Answer] = deque()
        self._writing: list[Answer] = []
        self._errands: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="generator", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # a thread within torch must not see the interpreter go away

    # -- from other threads -------------------------------------------------------------------------

    def submit(self, answer: Answer) -> None:
        """Let it join at the next turn. Raises GeneratorBusy, EngineClosed."""
        with self._changed:
            if not self._open:
                raise EngineClosed(hint="load the model again")
            if len(self._waiting) >= self._most_waiting:
                raise GeneratorBusy(why=f"{self._most_waiting} wait already", hint="ask again in a moment")
            self._waiting.append(answer)
            self._changed.notify()

    def between_steps(self, errand: Callable[[], _T]) -> _T:
        """Run `errand` in the scheduler's thread, alone with the model. Raises what it raises."""
        done: threading.Event = threading.Event()
        out: list[_T] = []
        broke: list[BaseException] = []

        def run() -> None:
            try:
                out.append(errand())
            except BaseException as error:
                broke.append(error)
            finally:
                done.set()

        with self._changed:
            if not self._open:
                raise EngineClosed(hint="load the model again")
            self._errands.append(run)
            self._changed.notify()
        done.wait()
        if broke:
            raise broke[0]
        return out[0]

    @property
    def open(self) -> bool:
        """Whether it still writes."""
        return self._open

    def close(self) -> None:
        """Write no more; what is under way is told that it broke. Closing twice is fine."""
        with self._changed:
            self._open = False
            self._changed.notify()
        atexit.unregister(self.close)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._turn()
        except Exception as error:
            _log.error("the generator broke: %s", _where(error))
        finally:
            with self._changed:
                self._open = False
            for answer in (*self._waiting, *self._reading, *self._writing):
                if not answer.over:
                    _tell(answer, Broke(failure=EngineClosed(hint="ask again: it is being replaced")))
            self._run_errands()

    def _turn(self) -> None:
        self._run_errands()
        self._drop_over()
        self._let_in()
        self._read_some()
        for begin in range(0, len(self._writing), LANES):
            self._step(self._writing[begin : begin + LANES])
        self._writing = [answer for answer in self._writing if not answer.over]

    def _wait_for_work(self) -> bool:
        with self._changed:
            while self._open and not (self._waiting or self._reading or self._writing or self._errands):
                self._changed.wait()
            return self._open

    def _run_errands(self) -> None:
        while self._errands:
            self._errands.popleft()()

    def _drop_over(self) -> None:
        with self._changed:
            self._waiting = deque(answer for answer in self._waiting if not answer.over)
        self._reading = deque(answer for answer in self._reading if not answer.over)
        self._writing = [answer for answer in self._writing if not answer.over]

    def _let_in(self) -> None:
        """In the order they came, while there is a place, and memory for all that each may become."""
        running = [*self._reading, *self._writing]
        left = self.room - sum(answer.size for answer in running)
        with self._changed:
            while self._waiting and len(running) < self._at_once and self._waiting[0].size <= left:
                running.append(self._waiting.popleft())
                self._reading.append(running[-1])
                left -= running[-1].size

    def _read_some(self) -> None:
        """One piece of one prompt: a long one must not hold up the answers that are being written."""
        if not self._reading:
            return
        answer = self._reading[0]
        part = answer.prompt[answer.row.seen : answer.row.seen + CHUNK]
        try:
            logits = self._base.read_prompt(answer.row, part)
        except Exception as error:
            self._reading.popleft()
            _give_up([answer], error)
            return
        if answer.row.seen == len(answer.prompt):
            self._reading.popleft()
            self._take(answer, logits)
            if not answer.over:
                # answers with the same adapter stand together: fewer adapters in one step
                self._writing.append(answer)
                self._writing.sort(key=lambda one: id(one.row.adapter))

    def _step(self, answers: Sequence[Answer]) -> None:
        try:
            logits = self._base.step([a.row for a in answers], [a.ids[-1] for a in answers])
        except Exception as error:
            _give_up(answers, error)
            return
        for answer, scores in zip(answers, logits, strict=True):
            self._take(answer, scores)

    def _take(self, answer: Answer, logits: Tensor) -> None:
        """Choose the next token and tell what is certain now."""
        try:
            _take(answer, logits)
        except Exception as error:
            _give_up([answer], error)


def _take(answer: Answer, logits: Tensor) -> None:
    chat = answer.chat
    chosen = choose(logits, chat.size, answer.how, answer.random)
    answer.ids.append(chosen.id)
    if answer.how.alternatives is not None:
        answer.logprobs.append(chosen.logprob)
    if chosen.id in answer.ends:
        _end(answer, "stop")
        return
    token = Token(
        id=chosen.id,
        raw=chat.bytes_of(chosen.id),
        special=chosen.id in chat.special,
        logprob=chosen.logprob,
        others=tuple((id, chat.bytes_of(id), logprob) for id, logprob in chosen.others),
    )
    written = answer.pieces.add(token)
    if written is not None:
        answer.tell(written)
    if answer.pieces.stopped:
        _end(answer, "stop")
    elif len(answer.ids) >= answer.most:
        _end(answer, "length")


def _end(answer: Answer, finish: Finish) -> None:
    rest = answer.pieces.rest()
    if rest is not None:
        answer.tell(rest)
    if answer.pieces.stopped:
        finish = "stop"  # it came true with the last characters
    ended = Ended(
        finish=finish,
        prompt_tokens=len(answer.prompt),
        tokens=len(answer.ids),
        ids=tuple(answer.ids),
        logprobs=tuple(answer.logprobs),
    )
    _tell(answer, ended)


def _give_up(answers: Sequence[Answer], error: Exception) -> None:
    _log.error("a step broke: %s", _where(error))
    for answer in answers:
        why = error.what if isinstance(error, Failure) else type(error).__name__
        _tell(answer, Broke(failure=StepFailed(why=why, hint="ask again; its log says where")))


def _where(error: BaseException) -> str:
    """The kind of an error and its place, never its message: that may hold a person's words."""
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-3:]]
    return f"{type(error).__name__} at {' > '.join(places)}"


def _tell(answer: Answer, last: Ended | Broke) -> None:
    """The last word; afterwards the answer leaves its place."""
    answer.over = True
    answer.tell(last)
