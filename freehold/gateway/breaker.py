"""A target that does not answer is left alone for a while, from the first target on.

One slow failure opens it (the next caller would wait as long), or several quick ones in a row. While it
is open, callers are told at once. Then one of them tries; the others go on being told at once until that
one has an answer. Each failed try doubles the pause. Every gateway process learns for itself: what one
cannot reach, another may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from freehold.errors import Failure, Unavailable

SLOW = 1.0
"""Seconds: a failure that took longer has made somebody wait."""
QUICK_FAILURES = 5
"""In a row, before a target counts as down that at least says so at once."""
PAUSE, LONGEST = 10.0, 40.0
"""Seconds it is left alone, the first time and at most."""


class LeftAlone(Unavailable):
    """`{name}` does not answer, and is left alone for a moment"""

    retry_after = 1


@dataclass(slots=True)
class _State:
    failures: int = 0
    pause: float = 0.0
    until: float = 0.0
    trying: bool = False


class Breaker:
    """The targets of one gateway process, by serving digest. Owned by its event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, _State] = {}

    @contextmanager
    def asking(self, target: str, name: str) -> Iterator[None]:
        """Ask in this block; what it raises tells how the target is. Raises LeftAlone at once while open."""
        state = self._states.setdefault(target, _State())
        began = self._clock()
        self._refuse_while_open(state, began, name)
        state.trying = True
        try:
            yield
        except Failure as failure:
            if says_it_is_down(failure):
                self._failed(state, self._clock() - began)
            else:
                self._answered(state)
            raise
        except BaseException:
            state.trying = False  # the caller left, or we broke: that says nothing of the target
            raise
        self._answered(state)

    def open(self) -> int:
        """How many targets are left alone at this moment."""
        now = self._clock()
        return sum(1 for state in self._states.values() if state.until > now)

    def forget(self, still: frozenset[str]) -> None:
        """Drop what is known of targets that no route names any more."""
        for target in self._states.keys() - still:
            del self._states[target]

    def _refuse_while_open(self, state: _State, now: float, name: str) -> None:
        if not state.until or (now >= state.until and not state.trying):
            return
        late = LeftAlone(
            name=name, why="it failed just now, and whoever asked would only wait", hint="ask again later"
        )
        late.retry_after = max(1, math.ceil(state.until - now))
        raise late

    def _failed(self, state: _State, took: float) -> None:
        state.trying = False
        state.failures += 1
        if took < SLOW and state.failures < QUICK_FAILURES and not state.until:
            return
        state.pause = min(LONGEST, state.pause * 2 or PAUSE)
        state.until = self._clock() + state.pause

    def _answered(self, state: _State) -> None:
        state.failures, state.pause, state.until, state.trying = 0, 0.0, 0.0, False


def says_it_is_down(failure: Failure) -> bool:
    """Whether a failure speaks of the target's health; a request it cannot use, or its limits, do not.

    Nor does an engine of ours that is not there: its supervisor starts it again, and nobody waits for it.
    """
    return bool(getattr(failure, "of_target", False))
