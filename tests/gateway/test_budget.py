"""A guard that hangs is interrupted, even inside a pattern that backtracks for ever."""

from __future__ import annotations

import re
import signal
import threading

import pytest

from freehold.gateway.budget import GuardUnusable, alarms, within


def backtracks() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def test_a_pattern_that_backtracks_is_interrupted() -> None:
    with pytest.raises(GuardUnusable, match="could not decide") as late:
        within(50, "pii", backtracks)
    assert "longer than its 50 ms" in late.value.why


def test_an_endless_loop_is_interrupted() -> None:
    def for_ever() -> None:
        while True:
            pass

    with pytest.raises(GuardUnusable):
        within(20, "injection", for_ever)


def test_what_is_in_time_is_left_alone_and_leaves_no_timer() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert within(10_000, "pii", lambda: 7) == 7
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_timer_that_somebody_else_waits_for_goes_on() -> None:
    before = signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        within(1000, "pii", lambda: None)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def test_beside_other_threads_being_late_is_seen_afterwards() -> None:
    seen: list[str] = []

    def work() -> None:
        try:
            within(1, "pii", lambda: sum(range(2_000_000)))
        except GuardUnusable as late:
            seen.append(late.code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["guard-unusable"]


def test_a_process_that_has_the_alarm_for_itself_interrupts_too_and_gives_it_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    waits = signal.setitimer(signal.ITIMER_REAL, 0)  # of whoever runs this test
    try:
        with alarms():
            for _ in range(2):
                with pytest.raises(GuardUnusable):
                    within(20, "pii", backtracks)
                assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
            assert within(10_000, "pii", lambda: 7) == 7
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
            with pytest.raises(ZeroDivisionError):
                within(10_000, "pii", lambda: 1 // 0)
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, *waits)
    assert signal.getsignal(signal.SIGALRM) is before
