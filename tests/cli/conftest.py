"""The command line against a real control on a port of its own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest
import serving as prompt

from freehold.cli.main import main
from freehold.control import server
from freehold.spec.ids import now

_spec = importlib.util.spec_from_file_location(
    "freehold_tests_house", Path(__file__).parents[1] / "control" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_house = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _house
_spec.loader.exec_module(_house)
house = _house.house
house_in = _house.house_in


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
    with serving(house) as url:
        yield url


@contextmanager
def serving(house: Any) -> Iterator[str]:
    """The address of a control over `house`, for as long as the block lasts."""
    names = [name for name in server.ROUTES if find_spec(f"freehold.control.routes.{name}")]
    with prompt.serving(house.client(*names).app) as url:
        yield url


@pytest.fixture
def freehold(
    house: Any, control: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Freehold:
    """`freehold("people", "list")` as the first administrator, or with another `key`."""

    def run(*words: str, key: str | None = None) -> Said:
        monkeypatch.setenv("FREEHOLD_URL", control)
        monkeypatch.setenv("FREEHOLD_KEY", house.administrator_key if key is None else key)
        return said(words, monkeypatch, capsys)

    return run


@pytest.fixture
def serve() -> Any:
    """For tests with further houses: `with serve(house) as url`."""
    return serving


class Shell(Protocol):
    """Runs a command against the control at `url`, with `key`."""

    def __call__(self, *words: str, url: str, key: str) -> Said: ...


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """For modules whose tests share a house: which one is said with each command."""

    def run(*words: str, url: str, key: str) -> Said:
        monkeypatch.setenv("FREEHOLD_URL", url)
        monkeypatch.setenv("FREEHOLD_KEY", key)
        return said(words, monkeypatch, capsys)

    return run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """One house and the address of its control, for a whole module."""
    with house_in(tmp_path_factory.mktemp("house"), now) as built, serving(built) as url:
        yield built, url


def said(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What the command line says to these words, and how it ends."""
    monkeypatch.setattr(sys, "argv", ["freehold", *words])
    capsys.readouterr()
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    out, err = capsys.readouterr()
    return Said(code, out, err)
