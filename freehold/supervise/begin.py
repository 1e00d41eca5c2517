"""The beginning of `freehold up`: sockets, the first look at the folder, the greeting."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from freehold import __version__
from freehold.errors import BadInput, Failure, Told, Unavailable
from freehold.spec.checks import address
from freehold.spec.config import Config, Tls
from freehold.store.home import Home
from freehold.tls import CertificateUnusable, Pair, serving

Only = Literal["control", "gateway", "worker", "engine"]


class PortTaken(Unavailable):
    """port {port} of {host} is taken"""


class KeyPlaceUnusable(BadInput):
    """the file `{path}` cannot take a new key"""


class AddressUnusable(Unavailable):
    """the address {host}:{port} cannot be used"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How `freehold up` was called."""

    home: Home
    config: Path
    only: Only | None = None
    port: int | None = None
    gateway_port: int | None = None
    control_url: str = ""
    """For a part alone on another machine: where control is."""
    control_ca: str = ""
    """And who signed its certificate: a file; empty: a CA this machine trusts."""
    tls: Tls = field(default_factory=Tls)
    """The certificate to show, before what the configuration says."""
    write_key: Path | None = None
    """Where the first administrator's key goes instead of the screen."""
    beside: bool = False
    """Whether another control works on this folder already."""
    say: Callable[[str], None] = print

    @property
    def name(self) -> str | None:
        """What its files are called by: controls beside another one by their process."""
        return f"{self.only or 'all'}-{os.getpid()}" if self.beside else self.only

    def runs(self, part: Only) -> bool:
        """Whether this part is to run here."""
        return self.only in (None, part)


def pairs(asked: Asked, config: Config) -> dict[str, Pair]:
    """The certificate of each listener here that has one, looked at before anything starts.

    Raises CertificateUnusable, PrivateKeyUnusable.
    """
    said = config.tls
    if asked.tls.certificate:
        said = replace(said, certificate=asked.tls.certificate, key=asked.tls.key)
    if not said.certificate:
        return {}
    pair = Pair(certificate=Path(said.certificate).absolute(), key=Path(said.key).absolute())
    serving(pair)
    parts: list[Only] = ["control", "gateway"]
    shown: dict[str, Pair] = {
        part: pair for part in parts if asked.runs(part) and said.listeners in ("both", part)
    }
    if "gateway" in shown:
        _check_folders(pair, asked.home)
    return shown


def _check_folders(pair: Pair, home: Home) -> None:
    """The gateway reads their folders again at each renewal: nothing else of ours may lie there."""
    for folder in pair.folders():
        if home.control.is_relative_to(folder):
            raise CertificateUnusable(
                path=pair.certificate,
                why=f"`{folder}` also holds the control zone, which the gateway may not read",
                hint="put both files into a folder of their own",
            )


def listen(asked: Asked, config: Config, held: contextlib.ExitStack) -> dict[str, socket.socket]:
    """Open the listening sockets here: parts come and go behind them, and no caller is turned away."""
    wanted: dict[Only, tuple[str, int | None]] = {
        "control": (config.control, asked.port),
        "gateway": (config.gateway, asked.gateway_port),
    }
    sockets: dict[str, socket.socket] = {}
    for part, (where, port) in wanted.items():
        if asked.runs(part):
            host, default = address(where)
            sockets[part] = held.enter_context(_open(part, host, default if port is None else port))
    return sockets


def _open(part: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(2048)
    except OSError as error:
        opened.close()
        raise _cannot_listen(part, host, port, error) from error
    return opened


def _cannot_listen(part: str, host: str, port: int, error: OSError) -> Unavailable:
    option = "--port" if part == "control" else "--gateway-port"
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            port=port,
            host=host,
            why="another program listens there, perhaps another Freehold",
            hint=f"stop it, or choose another with `{option}` or `{part}:` in freehold.yaml",
        )
    return AddressUnusable(
        host=host, port=port, why=error.strerror or str(error), hint=f"set `{part}:` in freehold.yaml"
    )


def prepare(asked: Asked) -> dict[str, Any]:
    """Make the installation, or see that it can be opened; the first key goes where it was asked for."""
    with place_for_key(asked.write_key) as keep:
        begun = _first_look(asked)
        if begun["made"]:
            keep(begun["made"]["key"])
    return begun


def _first_look(asked: Asked) -> dict[str, Any]:
    """The first run, or a look whether what is there can be opened; in a process of its own.

    So this one, which stays, never holds the database's libraries.
    """
    command = [sys.executable, "-P", "-m", "freehold.app", "prepare", "--home", str(asked.home.root)]
    command += ["--config", str(asked.config), "--parent", str(os.getpid())]
    command += ["--beside"] if asked.beside else []
    log = asked.home.log / "prepare.log"
    with log.open("ab") as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, check=False)  # noqa: S603 – ours
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise Failure(
            why=f"the first look at the folder ended with {done.returncode}", hint=f"see {log}"
        ) from None
    if "error" in said:
        raise Told(said["error"], int(said["status"]))
    return said


def greet(asked: Asked, begun: Mapping[str, Any] | None, urls: Mapping[str, str]) -> None:
    """Where everything is; and, once, the key that opens it."""
    say, home = asked.say, asked.home
    say(f"Freehold {__version__}" + (f"   {begun['origin']}" if begun else ""))
    say("")
    say(f"  folder   {home.root}")
    if begun and begun["made"]:
        say("           control/  database, keys, data: only control reads here")
        say("           serving/  released models, records: gateway and engines are confined to here")
        say("           worker/   scratch of jobs    log/  one file a part, no personal data")
    for name, url in urls.items():
        say(f"  {name:<8} {url}" + ("/v1   and /v2" if name == "gateway" else ""))
    if begun and begun["made"]:
        _hand_over(asked, begun["made"])
    say("")
    say("  Ctrl-C drains and stops.")


def _hand_over(asked: Asked, made: Mapping[str, str]) -> None:
    asked.say("")
    if asked.write_key is not None:
        asked.say(f"  the first administrator's key is in {asked.write_key}")
        return
    asked.say("  The first administrator's key, shown this once:")
    asked.say("")
    asked.say(f"    export FREEHOLD_KEY={made['key']}")


@contextlib.contextmanager
def place_for_key(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Where the first key will go; opened before there is one, for it is told only once."""
    if path is None:
        yield lambda _key: None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeyPlaceUnusable(path=path, why=error.strerror or str(error), hint="name a new file") from error
    with os.fdopen(descriptor, "w") as file:
        kept: list[str] = []
        try:
            yield kept.append
            file.writelines(f"{key}\n" for key in kept)
        finally:
            if not kept:
                path.unlink()
