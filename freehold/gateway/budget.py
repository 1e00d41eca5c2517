"""A guard's time: what takes longer is stopped where it stands, and counts as a no.

In the gateway's process the kernel's timer interrupts even a pattern that backtracks for ever; RE2, which
it cannot, is given a long text in parts (`screen.views.parts`). Beside other threads (a doctor, a test)
nothing can interrupt it, and being late is only seen afterwards.

A process that guards all day takes the alarm for itself (`alarms`): taking it and giving it back for each
guard costs more than many a guard. So do context managers within one another; what has a time is a function.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from freehold.errors import Unavailable

Result = TypeVar("Result")


class GuardUnusable(Unavailable):
    """the guard `{guard}` could not decide"""

    denies = True


class _Late(Exception):
    """The time is over."""


_ours = False
"""Whether nobody else in this process waits for the alarm."""


@contextmanager
def alarms() -> Iterator[None]:
    """Have the process's alarm for guards alone while the block runs. For the main thread."""
    global _ours
    before = signal.signal(signal.SIGALRM, _ring)
    _ours = True
    try:
        yield
    finally:
        _ours = False
        signal.signal(signal.SIGALRM, before)


def within(milliseconds: int, guard: str, work: Callable[[], Result]) -> Result:
    """What `work`, which does not wait, comes to. Raises GuardUnusable when it takes longer."""
    began = time.perf_counter()
    try:
        result = _interrupted(milliseconds / 1000, work)
    except _Late:
        raise _too_slow(milliseconds, guard) from None
    if (time.perf_counter() - began) * 1000 > milliseconds:
        raise _too_slow(milliseconds, guard)
    return result


def _too_slow(milliseconds: int, guard: str) -> GuardUnusable:
    return GuardUnusable(
        guard=guard,
        why=f"it took longer than its {milliseconds} ms, and what was not looked at is not let through",
        hint="send less at once, or ask the service's owner for a larger `budget`",
    )


def _interrupted(seconds: float, work: Callable[[], Result]) -> Result:
    if threading.current_thread() is not threading.main_thread():
        return work()
    if not _ours:
        return _interrupted_beside_others(seconds, work)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupted_beside_others(seconds: float, work: Callable[[], Result]) -> Result:
    before = signal.signal(signal.SIGALRM, _ring)
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, left, again)  # whoever else waits for it


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise _Late
