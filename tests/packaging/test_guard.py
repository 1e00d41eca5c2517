"""The tests' own guard against the network is itself seen to refuse, in a run of pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TRIES = {
    "a connection": "socket.create_connection(('192.0.2.1', 443), timeout=0.2)",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "a message": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b'x'], [], 0, ('192.0.2.1', 53))",
    "a name": "socket.getaddrinfo('telemetry.example.org', 443)",
    "an old look-up": "socket.gethostbyname('telemetry.example.org')",
}

SWALLOWED = """
import contextlib, socket

def test_reaches_out():
    with contextlib.suppress(OSError):
        {}

def test_stays_here():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
"""


@pytest.mark.parametrize("what", TRIES)
def test_what_leaves_this_machine_fails_its_test_even_where_the_code_swallowed_it(
    what: str, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_tries.py").write_text(SWALLOWED.format(TRIES[what]))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}:{ROOT}/tests/support"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "outward connections: ['" in ran.stdout
    assert "2 passed, 1 error" in ran.stdout
