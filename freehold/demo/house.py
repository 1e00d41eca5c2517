"""The demo's own Freehold: started in the background, stopped, removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from freehold.errors import Conflict, NotFound, Unavailable
from freehold.store.configured import config_of, read_config
from freehold.store.home import Home

PATIENCE = 60.0


class DidNotStart(Unavailable):
    """the demo's Freehold did not start"""


class NoDemo(NotFound):
    """there is no demo in `{path}`"""


class NotTheDemos(Conflict):
    """`{path}` is no folder of the demo, and stays as it is"""


MARK = ".freehold-demo"
"""What the demo writes into its folder before anything else."""
PROVIDER = "provider.url"
"""Where the chat server listens that the demo attaches."""


def home_of(folder: Path) -> Path:
    """Where its installation is."""
    return folder / "freehold.d"


def clean_env() -> dict[str, str]:
    """Our own environment without what another installation left in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}


def start(folder: Path) -> dict[str, str]:
    """Start it in the background and wait until it answers; return its addresses.

    The first time on free ports, later on the same ones, so that what was noted of them stays true.
    Raises NoDemo, DidNotStart.
    """
    if not folder.exists():
        raise NoDemo(path=folder, hint="`freehold demo` plays it first")
    if process_of(folder) is not None:
        return _addresses(folder)
    (home_of(folder) / "control" / "addresses.json").unlink(missing_ok=True)
    log = folder / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "freehold", "up", "--home", str(home_of(folder)), *_ports(folder)],
            cwd=folder,
            env=clean_env(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (folder / "up.pid").write_text(str(process.pid))
    deadline = time.monotonic() + PATIENCE
    while not _answers(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            raise DidNotStart(why=log.read_text().strip() or "it says nothing", hint=f"see {log}")
        time.sleep(0.1)
    if (folder / PROVIDER).exists():
        start_provider(folder)
    return _addresses(folder)


def start_provider(folder: Path) -> str:
    """A chat server without a model, in the background, to attach; return its URL.

    Like Freehold's own doors it comes back on the port it had. Raises DidNotStart.
    """
    noted = folder / PROVIDER
    port = urlsplit(noted.read_text().strip()).port or 0 if noted.exists() else 0
    command = [sys.executable, "-P", "-m", "freehold.engines.upstream_fake", "--listen", f"127.0.0.1:{port}"]
    with noted.open("w") as out:  # what it says is its URL
        process = subprocess.Popen(
            command,
            env=clean_env(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    (folder / "provider.pid").write_text(str(process.pid))
    deadline = time.monotonic() + PATIENCE
    while not noted.read_text().endswith("\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            noted.write_text(f"http://127.0.0.1:{port}\n")
            raise DidNotStart(why="its chat server does not listen", hint=f"is port {port} taken?")
        time.sleep(0.05)
    return noted.read_text().strip()


def _ports(folder: Path) -> list[str]:
    """The ports of last time; the first time free ones, and a file for the administrator's key."""
    try:
        before = json.loads((folder / "ports.json").read_text())
    except FileNotFoundError:
        return ["--port", "0", "--gateway-port", "0", "--write-key", str(folder / "keys" / "admin.key")]
    return ["--port", str(before["control"]), "--gateway-port", str(before["gateway"])]


def _addresses(folder: Path) -> dict[str, str]:
    told = json.loads((home_of(folder) / "control" / "addresses.json").read_text())
    return {part: told[part] for part in ("control", "gateway")}


def _answers(folder: Path) -> bool:
    """Whether both doors are open; then their ports are noted for the next start."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        addresses = _addresses(folder)
        direct.open(addresses["control"] + "/ledger/key", timeout=2).close()
        direct.open(addresses["gateway"] + "/v2/health/live", timeout=2).close()
    except (OSError, ValueError):
        return False
    ports = {part: urlsplit(url).port for part, url in addresses.items()}
    (folder / "ports.json").write_text(json.dumps(ports))
    return True


def wait_for_service(folder: Path, service: str = "inbox-triage", patience: float = 10.0) -> bool:
    """Whether the service answers before patience ends: its engine comes a moment after the doors open."""
    file = folder / "keys" / "ask-claims.key"
    if not file.exists():  # a demo that was broken off before anybody could ask
        return True
    key = file.read_text().strip()
    url = f"{_addresses(folder)['gateway']}/v2/models/{service}/ready"
    asked = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            direct.open(asked, timeout=2).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def process_of(folder: Path, noted: str = "up.pid") -> int | None:
    """The process that runs there, if one does."""
    try:
        pid = int((folder / noted).read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    try:  # one that ended and whom nobody waited for is still listed, in some containers for ever
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return pid
    return None if state == "Z" else pid


def stop(folder: Path) -> bool:
    """Drain what runs there; say whether anything did. Raises NoDemo."""
    if not folder.exists():
        raise NoDemo(path=folder, hint="`freehold demo` plays it first")
    ran = _end(folder, "up.pid")
    _end(folder, "provider.pid")  # after the gateway, which may be drawing an answer from it
    return ran


def _end(folder: Path, noted: str) -> bool:
    pid = process_of(folder, noted)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while process_of(folder, noted) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    (folder / noted).unlink(missing_ok=True)
    return True


def clean(folder: Path) -> bool:
    """Stop it and remove the folder; say whether there was one. Raises NotTheDemos."""
    if not folder.exists():
        return False
    if not (folder / MARK).exists():  # nobody's own files go because a folder was mistyped
        raise NotTheDemos(
            path=folder.name, why=f"there is no `{MARK}` in it", hint="name the folder the demo was played in"
        )
    stop(folder)
    _clear(Home(home_of(folder)))
    shutil.rmtree(folder, ignore_errors=True)
    return True


def _clear(home: Home) -> None:
    """Take the demo's tables out of the Postgres it was played on, and those of nobody else."""
    if not read_config(config_of(home)).database or not home.installation.exists():
        return
    from contextlib import closing

    from freehold.release.words import setting
    from freehold.store.place import rows_of
    from freehold.store.transfer import empty

    with closing(rows_of(home)) as database:
        with database.read() as conn:
            origin = setting(conn, "origin")
        if origin == json.loads(home.installation.read_bytes())["origin"]:
            empty(database)
