"""A target that does not answer is left alone for a while, from the first target on.

One slow failure opens it (the next caller would wait as long), or several quick ones in a row. While it
is open, callers are told at once. Then one of them tries; the others go on being told at once until that
one has an answer, or the beginning of one. Each failed try doubles the pause; failures of requests that
were under way beside it do not. Every gateway process learns for itself: what one cannot reach, another
may.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from freehold.errors import Unavailable

SLOW = 1.0
"""Seconds: a failure that took longer has made somebody wait."""
QUICK_FAILURES = 5
"""In a row, before a target counts as down that at least says so at once."""
PAUSE, LONGEST = 10.0, 40.0
"""Seconds it is left alone, the first time and at most."""


class LeftAlone(Unavailable):
    """`{name}` does not answer, and is left alone for a moment"""

    retry_after = 1
    elsewhere = True


@dataclass(slots=True)
class _State:
    failures: int = 0
    pause: float = 0.0
    until: float = 0.0
    """0 while it is not left alone."""
    since: float = -math.inf
    """When that began or ended last: what was asked before belongs to the time before."""
    tries: int = 0
    """Which request tries, while it is left alone; 0: none."""


class Breaker:
    """The targets of one gateway process, by serving digest. Owned by its event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}
        self._numbers = itertools.count(1)

    @contextmanager
    def asking(self, target: str, name: str) -> Iterator[Callable[[], None]]:
        """Ask in this block; what it raises tells how the target is. Raises LeftAlone at once while open.

        What the block gets is to be called when an answer begins: nobody waits for its end to ask, too.
        """
        state = self._states.setdefault(target, _State())
        began, number = self._clock(), next(self._numbers)
        self._refuse_while_open(state, began, name)
        if state.until:
            state.tries = number
        try:
            yield lambda: self._answered(state)
        except BaseException as error:
            is_down = says_it_is_down(error)
            if is_down:
                self._failed(state, number, began)
            elif is_down is not None:
                self._answered(state)
            raise
        else:
            self._answered(state)
        finally:
            if state.tries == number:
                state.tries = 0  # the caller left, a limit refused, the disk is full: the next one tries

    def open(self) -> int:
        """How many targets are left alone at this moment."""
        now = self._clock()
        return sum(1 for state in self._states.values() if state.until > now)

    def forget(self, still: frozenset[str]) -> None:
        """Drop what is known of targets that no route names any more."""
        for target in self._states.keys() - still:
            del self._states[target]

    def _refuse_while_open(self, state: _State, now: float, name: str) -> None:
        if state.until and (now < state.until or state.tries):
            raise _left_alone(name, state.until - now)

    def _failed(self, state: _State, number: int, began: float) -> None:
        """One failure; several of one outage are one: only who tried says that it goes on."""
        now = self._clock()
        if state.until and state.tries != number:
            return
        if began < state.since:
            return  # asked before it came back
        state.failures += 1
        if now - began < SLOW and state.failures < QUICK_FAILURES and not state.until:
            return
        state.pause = min(LONGEST, state.pause * 2 or PAUSE)
        state.until, state.since = now + state.pause, now

    def _answered(self, state: _State) -> None:
        if state.until:
            state.since = self._clock()
        state.failures, state.pause, state.until, state.tries = 0, 0.0, 0.0, 0


def _left_alone(name: str, seconds: float) -> LeftAlone:
    late = LeftAlone(
        name=name, why="it failed just now, and whoever asked would only wait", hint="ask again later"
    )
    late.retry_after = max(1, math.ceil(seconds))
    return late


def says_it_is_down(error: BaseException) -> bool | None:
    """Whether a failure speaks of the target's health; None where it says nothing of it.

    A request it cannot use, its own limits, a key it refuses: it answered. What broke before it was asked,
    or on our side, says nothing; nor does an engine of ours that is not there: its supervisor starts it
    again, and nobody waits for it.
    """
    return getattr(error, "of_target", None)
