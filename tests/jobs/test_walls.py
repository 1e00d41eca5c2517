"""The walls around a job: what it may not do, what it may, and that a fault is told without its data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from textwrap import dedent

import pytest

from freehold.jobs import isolated, landlock, namespaces, proof, seccomp, walls
from freehold.jobs.folder import JobFolder

LIMITS = walls.JobLimits(memory=1_000_000_000, seconds=30)
OFFERED = walls.offered()
needs_walls = pytest.mark.skipif(not OFFERED.closed, reason="this machine has no landlock and seccomp")


@needs_walls
def test_every_way_out_of_a_job_is_closed() -> None:
    tried = proof.prove(OFFERED)
    assert {p.attempt for p in tried} >= {
        "open a network socket",
        "read a foreign file",
        "write outside its folder",
        "change its inputs",
        "start a program",
        "use more memory than it may",
    }
    assert [p for p in tried if not p.held] == []


def test_the_proof_notices_when_a_wall_is_not_there() -> None:
    without = walls.Walls(landlock=0, seccomp=False, namespaces=False)
    open_ways = {p.attempt for p in proof.prove(without) if not p.held}
    assert {"open a network socket", "read a foreign file", "start a program"} <= open_ways


def test_a_machine_without_walls_says_what_that_means() -> None:
    bare = walls.Walls(landlock=0, seccomp=False, namespaces=False)
    assert bare.words() == ("limits",)
    assert not bare.closed
    assert len(bare.missing()) == 3


@pytest.mark.parametrize("sockets", ["none", "unix", "all"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_jumps_only_forwards_and_always_ends(machine: str, sockets: seccomp.Sockets) -> None:
    steps = seccomp.program(machine, sockets)
    for at, (code, yes, no, _) in enumerate(steps):
        if code == 0x06:
            continue
        assert at + 1 + max(yes, no) < len(steps)
    assert steps[-1][0] == 0x06


def test_a_job_can_compute_read_its_inputs_and_write_its_outputs(tmp_path: Path) -> None:
    ended = _run(
        tmp_path,
        """
        import os, numpy, pyarrow, sklearn.linear_model
        folder.report(done=1, of=2)
        (folder.outputs / "sum").write_text(str(numpy.arange(4).sum()))
        read = (folder.inputs / "data").read_text()
        return {"read": read, "threads": os.environ["OMP_NUM_THREADS"]}
        """,
    )
    assert ended.failure is None
    assert ended.result == {"read": "rows", "threads": "1"}
    assert (tmp_path / "job" / "outputs" / "sum").read_text() == "6"
    assert JobFolder(tmp_path / "job").progress == {"done": 1, "of": 2}
    assert ended.cpu_seconds > 0
    assert ended.peak_bytes > 1_000_000


def test_a_job_that_breaks_says_where_but_not_with_which_value(tmp_path: Path) -> None:
    ended = _run(tmp_path, 'raise ValueError("anna-k has a broken leg")')
    assert ended.failure is not None
    assert "ValueError" in ended.failure["why"]
    assert "anna-k" not in str(ended.failure)


def test_a_job_that_needs_more_memory_is_told_so(tmp_path: Path) -> None:
    ended = _run(tmp_path, "bytearray(2_000_000_000)")
    assert ended.failure is not None
    assert ended.failure["code"] == "out-of-memory"
    assert "memory" in ended.failure["hint"]


def test_a_job_that_runs_too_long_is_stopped(tmp_path: Path) -> None:
    ended = _run(tmp_path, "while True: pass", walls.JobLimits(memory=LIMITS.memory, seconds=0))
    assert ended.failure is not None
    assert ended.failure["code"] == "took-too-long"


def test_a_job_can_be_stopped_from_outside(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    ended = _run(tmp_path, "while True: pass", stop=stop)
    assert ended.stopped
    assert ended.failure is not None


@needs_walls
def test_a_job_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "folder.report(up=True)\nwhile True: pass")
    script = (
        "import sys; from pathlib import Path; from freehold.jobs import isolated, walls;"
        "from freehold.jobs.folder import JobFolder; root = Path(sys.argv[1]);"
        "isolated.run(JobFolder(root), 'entry:main', walls=walls.offered(), code=root.parent / 'code',"
        "limits=walls.JobLimits(memory=10**9, seconds=60), started=lambda pid: print(pid, flush=True))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(folder.root)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    job = int(parent.stdout.readline())
    while not folder.progress and parent.poll() is None:
        time.sleep(0.01)
    insides = [int(p) for p in Path(f"/proc/{job}/task/{job}/children").read_text().split()]
    assert insides, "the job runs in namespaces of its own, one process further down"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for pid in (job, *insides):
        _gone(pid)


@needs_walls
@pytest.mark.parametrize("network", [True, False])
def test_a_long_lived_part_stays_in_its_folder(tmp_path: Path, network: bool) -> None:
    """The gateway may use the network, an engine may not; neither reads or writes elsewhere."""
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "epoch.key").write_text("x")
    (tmp_path / "serving").mkdir()
    tried = _confined(tmp_path, network)
    assert tried == {
        "own": "ok",
        "foreign": "PermissionError",
        "outside": "PermissionError",
        "internet": "ok" if network else "PermissionError",
        "unix": "ok",
        "program": "PermissionError",
    }


def _confined(place: Path, network: bool) -> dict[str, str]:
    script = dedent("""
        import json, socket, subprocess, sys
        from pathlib import Path
        from freehold.jobs.walls import confine
        place = Path(sys.argv[1])
        confine(write=[place / "serving"], network=sys.argv[2] == "True")
        ways = {
            "own": lambda: (place / "serving" / "x").write_text("x"),
            "foreign": lambda: (place / "control" / "epoch.key").read_text(),
            "outside": lambda: (place / "new").write_text("x"),
            "internet": lambda: socket.socket(socket.AF_INET).close(),
            "unix": lambda: socket.socket(socket.AF_UNIX).bind(str(place / "serving" / "s")),
            "program": lambda: subprocess.run(["/bin/true"]),
        }
        def tried(way):
            try:
                way()
            except OSError as error:
                return type(error).__name__
            return "ok"
        print(json.dumps({name: tried(way) for name, way in ways.items()}))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(place), str(network)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_reading_the_interface_versions_changes_nothing() -> None:
    before = os.listdir("/")
    landlock.abi(), seccomp.offered(), namespaces.offered()
    assert os.listdir("/") == before


def _run(
    place: Path, body: str, limits: walls.JobLimits = LIMITS, stop: threading.Event | None = None
) -> isolated.Ended:
    folder = _folder(place, body)
    code = place / "code"
    return isolated.run(folder, "entry:main", walls=OFFERED, limits=limits, code=code, stop=stop)


def _folder(place: Path, body: str) -> JobFolder:
    """A job's folder with one input, and beside it the code that the test brings."""
    (place / "code").mkdir()
    (place / "code" / "entry.py").write_text(
        "def main(folder):\n    " + dedent(body).strip().replace("\n", "\n    ")
    )
    folder = JobFolder.create(place / "job", {})
    (folder.inputs / "data").write_text("rows")
    return folder


def _gone(pid: int) -> None:
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline, "the job outlived its parent"
        time.sleep(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
