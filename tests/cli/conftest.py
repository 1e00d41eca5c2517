"""The command line against a real control on a port of its own."""

from __future__ import annotations

import importlib.util
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn

from freehold.cli.main import main
from freehold.control import server

_spec = importlib.util.spec_from_file_location(
    "freehold_tests_house", Path(__file__).parents[1] / "control" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_house = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _house
_spec.loader.exec_module(_house)
house = _house.house


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


class Freehold(Protocol):
    """Runs a command as the shell would; `key` as FREEHOLD_KEY."""

    def __call__(self, *words: str, key: str | None = None) -> Said: ...


@pytest.fixture
def control(house: Any) -> Iterator[str]:
    """The address of a running control over `house`, with every route there is."""
    names = [name for name in server.ROUTES if find_spec(f"freehold.control.routes.{name}")]
    app = house.client(*names).app
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", access_log=False))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        serving.should_exit = True
        thread.join()


@pytest.fixture
def freehold(
    house: Any, control: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Freehold:
    """`freehold("people", "list")` as the first administrator, or with another `key`."""

    def run(*words: str, key: str | None = None) -> Said:
        monkeypatch.setenv("FREEHOLD_URL", control)
        monkeypatch.setenv("FREEHOLD_KEY", house.administrator_key if key is None else key)
        monkeypatch.setattr(sys, "argv", ["freehold", *words])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run
