"""How light things start: help in 150 ms, control and gateway without torch, gateway without a database."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from started import FREEHOLD

HEAVY = ("torch", "transformers", "sklearn", "onnxruntime", "scipy")
DATABASE = ("sqlite3", "_sqlite3", "sqlalchemy", "psycopg", "alembic")


def loaded_after(program: str) -> set[str]:
    """The top-level modules that a fresh Python holds after running the program."""
    show = "import sys, json; print(json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    ran = subprocess.run([sys.executable, "-c", f"{program}\n{show}"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout.splitlines()[-1]))


def busy() -> float:
    """Seconds that processors worked for children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_takes_150_milliseconds_of_a_processor_at_most() -> None:
    command = [str(Path(sys.executable).with_name("freehold")), "--help"]
    quickest = 9.0
    for _ in range(20):  # on a machine that does nothing else it takes as long
        before = busy()
        subprocess.run(command, check=True, capture_output=True)
        quickest = min(quickest, busy() - before)
        if quickest <= 0.15:
            break
    assert quickest <= 0.15


def test_the_gateway_can_be_imported_without_torch_and_without_a_database_driver() -> None:
    held = loaded_after("import freehold.gateway.run, freehold.gateway.app, freehold.app")
    assert not held & {*HEAVY, *DATABASE}


def test_control_can_be_imported_without_torch() -> None:
    program = (
        "from importlib import import_module\n"
        "from freehold.control.server import ROUTES\n"
        "for name in ROUTES: import_module(f'freehold.control.routes.{name}')\n"
    )
    assert not loaded_after(program) & {"torch", "transformers"}


def test_the_command_line_loads_no_library_before_it_is_needed() -> None:
    heavy = {"httpx", "pyarrow", "numpy", "cryptography", "fastapi", "ruamel", *HEAVY, *DATABASE}
    assert not loaded_after("import freehold.cli.main") & heavy


@pytest.fixture
def running(tmp_path: Path) -> Iterator[dict[str, int]]:
    """A whole Freehold whose Python would find a torch that tells on whoever imports it; part -> pid."""
    trap = tmp_path / "trap" / "torch"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').write('torch')\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith("FREEHOLD_")}
    env |= {"PYTHONPATH": str(trap.parent), "XDG_STATE_HOME": str(tmp_path / "state")}
    home, key = tmp_path / "fh", tmp_path / "key"
    command = [*FREEHOLD, "up", "--home", str(home), "--port", "0"]
    command += ["--gateway-port", "0", "--write-key", str(key)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield _processes(home, key, env, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(40)


def _processes(home: Path, key: Path, env: dict[str, str], up: subprocess.Popen[bytes]) -> dict[str, int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and up.poll() is None:
        addresses = home / "control" / "addresses.json"
        if addresses.exists() and key.exists() and key.read_text().strip():
            url = json.loads(addresses.read_text())["control"]
            asked = env | {"FREEHOLD_URL": url, "FREEHOLD_KEY": key.read_text().strip()}
            status = [*FREEHOLD, "status", "--json"]
            ran = subprocess.run(status, env=asked, capture_output=True, text=True)
            told = json.loads(ran.stdout or "{}").get("processes", [])
            if told and all(part["state"] == "running" for part in told) and len(told) >= 3:
                return {part["name"]: part["pid"] for part in told}
        time.sleep(0.1)
    raise AssertionError("freehold up did not come up")


def test_running_parts_hold_no_torch_and_the_gateway_no_database_driver(
    running: dict[str, int], tmp_path: Path
) -> None:
    assert not (tmp_path / "imported").exists()
    if not sys.platform.startswith("linux"):
        pytest.skip("this machine has no procfs to look into a process with")
    mapped = Path(f"/proc/{running['gateway']}/maps").read_text()
    assert "uvloop" in mapped or "httptools" in mapped  # it is the gateway that we look at
    assert not [name for name in (*HEAVY, *DATABASE) if f"/{name}" in mapped]
