"""One process at a time on one folder; of several that share one, one leads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from freehold.store.lock import AlreadyRunning, Lead, alone, is_marked, marked

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


LEAD = """
import sys, pathlib
from freehold.store.lock import Lead
lead = Lead(pathlib.Path(sys.argv[1]))
for line in sys.stdin:
    print(lead.held(), flush=True)
"""


class Other:
    """Another process that may lead."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", LEAD, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def leads(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "True\n"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    made = Other(tmp_path)
    yield made
    made.end()


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_who_leads_does_so_until_it_is_killed(tmp_path: Path, other: Other) -> None:
    assert other.leads()
    lead = Lead(tmp_path, patience=5)
    assert not lead.held()
    other.process.kill()
    wait_for(lead.held)
    lead.leave()


def test_who_is_frozen_loses_the_lead_and_notices_it_first_of_all(tmp_path: Path, other: Other) -> None:
    assert other.leads()
    lead, third = Lead(tmp_path, patience=3), Lead(tmp_path, patience=3)
    other.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: lead.held() or third.held())
    assert lead.held() != third.held(), "one of them"
    other.process.send_signal(signal.SIGCONT)
    assert not other.leads()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lead", "lead.next"]
    for one in (lead, third):
        one.leave()
    assert other.leads(), "and may lead again"


def test_who_says_that_it_is_there_keeps_the_lead(tmp_path: Path) -> None:
    lead, second = Lead(tmp_path), Lead(tmp_path, patience=2.5)
    assert lead.held()
    for _ in range(4):
        said = (tmp_path / "lead").read_bytes()
        wait_for(lambda said=said: (tmp_path / "lead").read_bytes() != said)  # type: ignore[misc]
        assert not second.held()
    lead.leave()
    assert second.held()
    second.leave()


def test_a_file_is_marked_as_long_as_who_wrote_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "addresses.json"
    assert not is_marked(path)
    path.write_text("{}")
    assert not is_marked(path)
    with marked(path):
        assert is_marked(path)
    assert not is_marked(path)
