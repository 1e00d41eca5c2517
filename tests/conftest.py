"""What every test stands on: a home of its own, the embedded database, and no way to the network."""

from __future__ import annotations

import gc
import ipaddress
import os
import re
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fresh
import postgres_server
import pytest
import sharing
from hypothesis import settings

from freehold.store import migrate
from freehold.store.blobs import FileBlobs
from freehold.store.home import Home
from freehold.store.keyring import Keyring
from freehold.store.place import rows_of
from freehold.store.rows import Database

_OUTWARD: list[str] = []


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse and count every connection, datagram and name that leaves this machine."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]  # none: of a datagram socket that is connected; a text: a Unix socket
        outward = isinstance(address, tuple) and not _local(str(address[0]))
        whither = f"{address[0]}:{address[1]}" if outward else ""
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        whither = _word(arguments[0])
        outward = not (whither in ("", socket.gethostname()) or _number(whither) or _local(whither))
    else:
        return
    if outward:
        _OUTWARD.append(whither)
        raise ConnectionRefusedError(f"tests may not reach {whither}")


def _word(host: str | bytes | None) -> str:
    return host.decode(errors="replace") if isinstance(host, bytes) else host or ""


def _local(host: str) -> bool:
    """Whether a host is this machine; `.invalid` is nobody's name, for tests that need one."""
    if _number(host):
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    return host == "localhost" or host.endswith(".invalid")


def _number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs beside it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children inherit it: some are sent Ctrl-C
sys.addaudithook(_guard)
# as hypothesis does by itself where a variable says CI: the same draws each time, and no limit to the time of
# one; what is found depends on the change, not on the day. `--hypothesis-profile=default` draws anew
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _no_outward_connection() -> Iterator[None]:
    """Fail the test that tried to leave this machine, even where the code swallowed the refusal."""
    _OUTWARD.clear()
    yield
    assert not _OUTWARD, f"outward connections: {_OUTWARD}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` is."""
    return sharing.processes(os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the suite, nobody is left alone with a long file at its end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items[:] = sharing.in_order(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was collected stays to the end, and is not looked through for garbage any more.

    That took up to a second, at any moment, in which no loop of this process moved: gateways, providers and
    engines that stand beside a test were late then.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip whose reason names a part in FREEHOLD_REQUIRE is a failure: CI may not pass by skipping.

    Tests of real parts are skipped where the part is missing, and name it: "this machine has no curl".
    """
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        required = os.environ.get("FREEHOLD_REQUIRE", "").replace(",", " ").split()
        if missing := [part for part in required if re.search(rf"\b{re.escape(part)}\b", reason)]:
            report.outcome = "failed"
            report.longrepr = f"FREEHOLD_REQUIRE names {', '.join(missing)}, but: {reason}"
    return report


@pytest.fixture(autouse=True)
def _own_memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients remember the ledgers they saw: in the tests' own folder, not in the user's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture(scope="session", autouse=True)
def _own_postgres() -> Iterator[None]:
    """Where the whole suite stands on Postgres, every home that is made has a database of its own."""
    with postgres_server.everywhere() if postgres_server.EVERYWHERE else nullcontext():
        yield
    postgres_server.end()


@pytest.fixture(scope="session", autouse=True)
def _told_again() -> Iterator[None]:
    """New databases are told what the first was told; the steps themselves: tests/store/test_migrate.py."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrate, "run_steps", fresh.run_steps)
        yield


@pytest.fixture(autouse=True)
def _no_databases_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The databases of a test's own folder go with the test, those of a shared one with the session."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if folder is not None:
        postgres_server.drop_below(folder)


class MovingClock:
    """A clock that moves when told, and one microsecond at every look."""

    def __init__(self, at: int = 1_800_000_000_000_000) -> None:
        self.at = at

    def __call__(self) -> int:
        self.at += 1
        return self.at

    def forward(self, *, seconds: float = 0, days: float = 0) -> None:
        self.at += int((seconds + days * 86_400) * 1_000_000)


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "fh")
    home.create()
    return home


@pytest.fixture
def db(home: Home, clock: MovingClock) -> Iterator[Database]:
    database = rows_of(home, clock)
    fresh.create_tables(database)
    yield database
    database.close()


@pytest.fixture
def keyring(home: Home) -> Iterator[Keyring]:
    Keyring.create_epoch_key(home.control / "epoch.key")
    ring = Keyring(home.keyring, home.control / "epoch.key")
    yield ring
    ring.close()


@pytest.fixture
def blobs(home: Home) -> FileBlobs:
    return FileBlobs(home.blobs)
