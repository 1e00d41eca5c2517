"""One process at a time on one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.store.lock import AlreadyRunning, alone

HOLD = """
import sys, pathlib
from freehold.store.lock import alone
with alone(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_one_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(AlreadyRunning) as refused, alone(tmp_path):
        pass
    assert str(os.getpid()) in refused.value.why
    assert refused.value.hint


def test_the_lock_is_free_after_the_block_even_when_it_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        raise ZeroDivisionError
    with alone(tmp_path):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning), alone(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with alone(tmp_path):
        pass
