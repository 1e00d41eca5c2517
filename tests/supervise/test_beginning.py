"""`freehold up`: each reason why it cannot begin is one clear error with its own exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from postgres_server import embedded
from started import FREEHOLD

from freehold import app
from freehold.app import _server, prepare
from freehold.errors import Failure, Told
from freehold.identity.first_run import NotABeginning
from freehold.spec.config import Config
from freehold.store import migrate
from freehold.store.configured import config_of
from freehold.store.home import FolderUnusable, Home, socket_address
from freehold.store.lock import AlreadyRunning, alone
from freehold.store.migrate import SchemaOlder
from freehold.supervise import begin
from freehold.supervise.begin import Asked, KeyPlaceUnusable, PortTaken
from freehold.supervise.kept import _environment
from freehold.supervise.up import _among_controls, up


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "fh")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def _asked(home: Home, **more: object) -> Asked:
    return Asked(home=home, config=home.config, **{"port": 0, "gateway_port": 0, **more})  # type: ignore[arg-type]


def _refused(home: Home, **more: object) -> Failure:
    with pytest.raises(Failure) as raised:
        up(_asked(home, **more))
    return raised.value


def test_no_part_but_control_is_given_what_opens_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "a-password-nobody-reads")
    assert _environment(["control"])["PGPASSWORD"]
    for part in ("gateway", "worker", "engine", "generator"):
        assert "PGPASSWORD" not in _environment([part])


def test_a_configuration_it_cannot_begin_with_is_not_remembered(home: Home, tmp_path: Path) -> None:
    prepare(home, Config())
    before = config_of(home)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("database: postgresql://nobody@127.0.0.1:1/nothing\n")
    asked, rest = app._arguments(["prepare", "--home", str(home.root), "--config", str(wrong)])
    with pytest.raises(Failure):
        app._run(asked, home, rest)
    assert config_of(home) == before


def test_what_controls_beside_it_wrote_that_were_killed_goes_when_the_next_first_one_begins(
    home: Home,
) -> None:
    home.create()
    left, others = home.processes("control-4711"), home.processes("gateway")
    for path in (left, home.addresses("control-4711"), others):
        path.write_text("[]")
    with _among_controls(_asked(home), Config(database="postgresql://freehold@/freehold")) as place:
        assert place.first
        assert not left.exists()
        assert not home.addresses("control-4711").exists()
        assert others.exists()


def test_a_taken_port_is_told_before_anything_is_made(home: Home, taken: int) -> None:
    refused = _refused(home, port=taken)
    assert isinstance(refused, PortTaken)
    assert str(taken) in refused.what
    assert "--port" in refused.hint
    assert refused.exit_code == 9
    assert not home.database.exists()


def test_the_gateways_port_has_its_own_option(home: Home, taken: int) -> None:
    assert "--gateway-port" in _refused(home, gateway_port=taken).hint


def test_a_second_instance_on_the_same_folder_is_refused(home: Home) -> None:
    home.create()
    with alone(home.control):
        refused = _refused(home)
    assert isinstance(refused, AlreadyRunning)
    assert str(os.getpid()) in refused.why


def test_a_folder_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused = _refused(Home(tmp_path / "file" / "fh"))
    assert isinstance(refused, FolderUnusable)
    assert "FREEHOLD_HOME" in refused.hint


def test_a_mistake_in_freehold_yaml_stops_the_beginning(home: Home) -> None:
    home.create()
    home.config.write_text("wokers: 2\n")
    assert "did you mean `workers`?" in str(_refused(home))


@embedded
def test_a_folder_with_a_foreign_database_is_left_alone(home: Home) -> None:
    home.create()
    home.database.write_bytes(b"not ours")
    with pytest.raises(NotABeginning):
        prepare(home, Config())
    assert home.database.read_bytes() == b"not ours"


def test_an_older_schema_is_refused_with_the_way_forward(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(home, Config())
    monkeypatch.setattr(migrate, "revisions", lambda: (*_REVISIONS, "9999"))
    with pytest.raises(SchemaOlder) as raised:
        prepare(home, Config())
    assert "freehold upgrade" in raised.value.hint


@embedded
def test_an_old_sqlite_is_refused_with_the_way_forward(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "SQLITE_MINIMUM", (99, 0, 0))
    with pytest.raises(migrate.SqliteTooOld) as raised:
        prepare(home, Config())
    assert raised.value.exit_code == 9
    assert raised.value.hint


_REVISIONS = migrate.revisions()


@embedded
def test_what_the_first_look_finds_reaches_the_screen_as_it_was_told(home: Home) -> None:
    """The look happens in another process: its failure crosses as data, exit code and all."""
    home.create()
    home.database.write_bytes(b"not ours")
    with pytest.raises(Told) as raised:
        begin.prepare(_asked(home))
    assert raised.value.code == "not-a-beginning"
    assert raised.value.exit_code == 5


def test_the_first_key_is_not_made_when_there_is_no_place_for_it(home: Home, tmp_path: Path) -> None:
    home.create()
    place = tmp_path / "key"
    place.write_text("something of mine")
    with pytest.raises(KeyPlaceUnusable):
        begin.prepare(_asked(home, write_key=place))
    assert place.read_text() == "something of mine"
    assert not home.database.exists()


def test_the_first_key_is_readable_by_its_owner_alone(home: Home, tmp_path: Path) -> None:
    home.create()
    place = tmp_path / "key"
    begun = begin.prepare(_asked(home, write_key=place))
    assert place.read_text().strip() == begun["made"]["key"]
    assert place.stat().st_mode & 0o077 == 0
    again = tmp_path / "again"
    assert begin.prepare(_asked(home, write_key=again))["made"] is None
    assert not again.exists()


def test_a_full_disk_is_told_as_such(home: Home, tmp_path: Path) -> None:
    """A small file system of its own, where the machine lets us have one."""
    full = tmp_path / "full"
    full.mkdir()
    script = (
        f"mount -t tmpfs -o size=2m none {full} && "
        f"exec {sys.executable} -P -m freehold up --home {full}/fh --port 0 --gateway-port 0"
    )
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this machine gives no file system of one's own: {done.stderr.strip()}")
    assert done.returncode == 9
    assert "disk" in done.stderr
    assert "hint" in done.stderr


def test_the_command_line_tells_it_in_three_lines(home: Home, taken: int) -> None:
    done = subprocess.run(
        [*FREEHOLD, "up", "--home", str(home.root), "--port", str(taken)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 9
    assert done.stderr.splitlines()[0] == f"freehold: port {taken} of 127.0.0.1 is taken"
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()[1:]] == ["why", "hint"]


def test_recovery_needs_a_stopped_installation(home: Home) -> None:
    prepare_in_lock(home)
    with alone(home.control):
        done = _recover(home)
    assert done.returncode == 9
    assert "already" in done.stderr


def test_recovery_gives_a_new_key_once(home: Home) -> None:
    first = prepare_in_lock(home)
    done = _recover(home, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["key"].startswith("fhc_")
    assert told["key"] != first
    assert len(told["voided"]) == 1


def prepare_in_lock(home: Home) -> str:
    return str(prepare(home, Config())["made"]["key"])


def _recover(home: Home, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*FREEHOLD, "recover", "--home", str(home.root), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nothing_stays_running_when_it_could_not_begin(home: Home, taken: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    _refused(home, gateway_port=taken)
    assert signal.getsignal(signal.SIGTERM) is before
    with alone(home.control):
        pass  # the lock was given back


def test_a_home_may_lie_as_deep_as_it_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 bytes at most; from its own folder the name is enough."""
    deep = tmp_path / "a-folder-with-a-long-name" / "and-another-one-below-it" / "and-one-more" / "fh"
    home = Home(deep)
    home.create()
    path = home.run / "e-0123456789abcdef.sock"
    assert len(str(path)) > 107
    monkeypatch.chdir(home.run)
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as calling:
        listening.bind(socket_address(path))
        listening.listen()
        calling.connect(socket_address(path))


def test_a_configuration_named_from_here_is_found_by_parts_that_work_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from freehold.cli.running import up as typed
    from freehold.supervise import up as supervising

    asked: list[Asked] = []
    (tmp_path / "mine.yaml").write_text("site: mine\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(supervising, "up", asked.append)
    typed.main(["--home", "fh", "--config", "mine.yaml"], standalone_mode=False)
    assert asked[0].config == tmp_path / "mine.yaml"


def test_a_signal_that_came_before_control_listened_to_it_is_not_lost() -> None:
    said: list[str] = []
    config = uvicorn.Config(lambda *_: None, lifespan="off", log_config=None)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _server(config, threading.Event(), lambda: said.append("ready"), [signal.SIGTERM])
        running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        running.start()
        running.join(10)
        left = not running.is_alive()
        server.should_exit = True
        running.join()
    assert said == ["ready"]
    assert left
