"""`freehold up --only …`: one part alone, as systemd or another machine would start it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import postgres_server
import pytest
from postgres_server import embedded
from started import FREEHOLD

from freehold.store.home import Home
from tests.installation import Installation, wait_for


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "fh")


@contextlib.contextmanager
def only(
    part: str, home: Home, *more: str, waits: Callable[[], bool] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    postgres_server.prepare(home.root)
    command = [*FREEHOLD, "up", "--only", part, "--home", str(home.root), *more]
    environment = Installation(home.root.parent).environment()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    up = waits or (lambda: _runs(home, part))
    try:
        wait_for(lambda: up() or process.poll() is not None, 60, lambda: f"{part} is not up")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _runs(home: Home, part: str) -> bool:
    said = _read(home.processes(part))
    return bool(said) and all(one["state"] == "running" for one in said)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def test_parts_started_one_by_one_find_each_other(home: Home) -> None:
    with only("control", home, "--port", "0") as control:
        url = _read(home.addresses("control"))["control"]
        with only("gateway", home, "--gateway-port", "0", "--control-url", url) as gateway:
            with only("worker", home, "--control-url", url) as worker:
                assert {part.poll() for part in (control, gateway, worker)} == {None}
                assert _read(home.addresses("gateway"))["gateway"].startswith("http://127.0.0.1:")
            assert worker.returncode == 0
            assert gateway.poll() is None
        assert gateway.returncode == 0
    assert control.returncode == 0


def test_engines_alone_wait_for_routes_and_leave_the_gateway_to_another(home: Home) -> None:
    with only("control", home, "--port", "0"):
        url = _read(home.addresses("control"))["control"]
        with (
            only(
                "engine", home, "--control-url", url, waits=lambda: home.processes("engine").exists()
            ) as engines,
            only("gateway", home, "--gateway-port", "0", "--control-url", url) as gateway,
        ):
            assert _read(home.processes("engine")) == []  # no route names a model yet
            assert [one["name"] for one in _read(home.processes("gateway"))] == ["gateway"]
            assert {engines.poll(), gateway.poll()} == {None}
        assert (engines.returncode, gateway.returncode) == (0, 0)


@embedded  # on Postgres several controls may run beside each other
def test_a_part_that_runs_already_is_not_started_twice(home: Home) -> None:
    with only("control", home, "--port", "0") as first, only("control", home, "--port", "0") as second:
        assert first.poll() is None
        assert second.wait(30) == 9
