"""The master key is in control's memory and nowhere else: not in environments, logs or core files."""

from __future__ import annotations

import base64
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from looking import files_in

from freehold.store.home import Home
from tests.installation import Installation

LEAVES = "from freehold.jobs.kernel import leave_no_core; leave_no_core(); "
DIES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


def spellings(key: bytes) -> list[bytes]:
    """How a key could stand in a text or a file."""
    coded = base64.b64encode(key), base64.urlsafe_b64encode(key)
    return [key, key.hex().encode(), key.hex().upper().encode(), *(c.rstrip(b"=") for c in coded)]


def died(program: str, folder: Path) -> int:
    """Run it with core files allowed, as big as they get; how it ended."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    limit = "unlimited" if hard < 0 else str(hard // 1024)
    script = f'ulimit -c {limit}; exec "$0" -c "$1"'
    words = ["/bin/sh", "-c", script, sys.executable, program]
    done = subprocess.run(words, cwd=folder, check=False, capture_output=True)
    return done.returncode


def test_a_process_that_holds_keys_leaves_no_core(tmp_path: Path) -> None:
    """Where the kernel writes core files here, the other way round is seen, too."""
    (tmp_path / "private").mkdir()
    (tmp_path / "other").mkdir()
    assert died(LEAVES + DIES, tmp_path / "private") == -signal.SIGSEGV
    assert list((tmp_path / "private").iterdir()) == []
    assert died(DIES, tmp_path / "other") == -signal.SIGSEGV
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if pattern == "core" and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0:
        assert list((tmp_path / "other").iterdir()) != []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc and prctl")
def test_the_kernel_says_that_it_is_not_dumpable() -> None:
    program = LEAVES + (
        "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), "
        "*resource.getrlimit(resource.RLIMIT_CORE))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["0", "0", "0"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the environment of a process that is private")
def test_no_process_no_log_and_no_file_beside_it_holds_the_epoch_key(installation: Installation) -> None:
    """A whole Freehold runs: every environment and command line of it, every log, every file."""
    home = Home(installation.home)
    key = home.epoch_key.read_bytes()
    pids = [installation.pid, *(process["pid"] for process in installation.processes().values())]
    assert len(pids) >= 4
    for pid in pids:
        for name in ("environ", "cmdline"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert text
            assert not any(spelling in text for spelling in spellings(key))
    files = {path: held for path, held in files_in(home.root) if path != home.epoch_key}
    assert any(path.suffix == ".log" for path in files)
    for path, held in files.items():
        assert not any(spelling in held for spelling in spellings(key)), path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_nobody_else_reads_the_memory_of_control(installation: Installation) -> None:
    """Not dumpable: what it has in /proc belongs to root, whoever it runs as."""
    control = installation.processes()["control"]["pid"]
    assert Path(f"/proc/{control}/mem").stat().st_uid == 0
    limits = Path(f"/proc/{control}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]
