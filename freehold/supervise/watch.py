"""The watch: everything that runs, kept running, told about, and drained in order."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from freehold.engines.places import model_folder, rules_path, socket_path, write_state
from freehold.spec.config import Config
from freehold.store.home import write_atomically
from freehold.store.lock import marked
from freehold.supervise.begin import Asked
from freehold.supervise.engines import Wanted
from freehold.supervise.generators import Generators, last_words
from freehold.supervise.kept import Kept, Part, drain
from freehold.tls import Pair, Trust

GATEWAY_DRAINS = 30.0
READY_WITHIN = 60.0
"""Seconds a new gateway has before a rolling restart is given up and the old one stays."""
BUSY, STEADY = 0.1, 1.0
"""Seconds between two looks while something starts or leaves, and while everything runs: what ends, or is
to begin, is told at once."""
TAMPERED = 8
"""The exit code of an engine whose model is not what was signed."""


class Watch:
    """The main loop. Everything in it happens in the main thread."""

    def __init__(
        self,
        asked: Asked,
        config: Config,
        sockets: Mapping[str, socket.socket],
        pairs: Mapping[str, Pair] | None = None,
    ) -> None:
        self.asked = asked
        self.home = asked.home
        self.sockets = sockets
        self.pairs = pairs or {}
        """The certificates that listeners here show."""
        self.urls = {name: url_of(opened, tls=name in self.pairs) for name, opened in sockets.items()}
        self.control = self.urls.get("control") or asked.control_url or config.control_url
        self.trust = self._trust()
        """How parts here know control."""
        self.parts: dict[str, Kept] = {}
        self.engines: dict[str, Kept] = {}
        self.generators = Generators(self.home, asked.say)
        self.leaving: list[Kept] = []
        """Gateways of before a rolling restart, draining."""
        self.to_roll: list[str] = []
        """Gateways whose turn in a rolling restart comes."""
        self.coming: Kept | None = None
        self.wanted = self._wanted() if asked.runs("engine") else None
        self.signals: list[int] = []
        self._written = ""
        self._waker = -1
        """What is written there ends the pause between two looks."""
        self._add_parts(config)

    def _trust(self) -> Trust:
        """The control beside us by its very certificate, one elsewhere by who signed it."""
        if "control" in self.pairs:
            return Trust(pin=str(self.pairs["control"].certificate))
        return Trust(ca=self.asked.control_ca)

    def _wanted(self) -> Wanted:
        secure = self.control.startswith("https://")
        return Wanted(self.home, self.control, self.trust.context() if secure else None)

    def _add_parts(self, config: Config) -> None:
        if self.asked.runs("control"):
            fd = self.sockets["control"].fileno()
            arguments = ["--config", str(self.asked.config), "--fd", str(fd), *self._shown("control")]
            self._add("control", arguments, fds=(fd,))
        if self.asked.runs("gateway"):
            others = [f"gateway-{number}" for number in range(2, config.gateways + 1)]
            self.parts |= {name: self._gateway(name) for name in ("gateway", *others)}
        if self.asked.runs("worker"):
            for number in range(1, config.workers + 1):
                arguments = ["--control", self.control, "--number", str(number)]
                self._add(f"worker-{number}", [*arguments, *self.trust.arguments()])

    def _shown(self, part: str) -> list[str]:
        """The certificate a part shows, as `freehold.app` takes it."""
        pair = self.pairs.get(part)
        return ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)] if pair else []

    def _add(self, name: str, arguments: list[str], fds: tuple[int, ...] = ()) -> None:
        part = name.partition("-")[0]
        self.parts[name] = Kept(
            Part(
                name=name,
                command=(part, "--home", str(self.home.root), *arguments),
                log=self.home.log / f"{name}.log",
                folder=self.home.log,
                fds=fds,
                told=self._teller(name),
            )
        )

    def _gateway(self, name: str) -> Kept:
        """One of the gateways, which share the socket: when one dies, the others go on accepting."""
        fd = self.sockets["gateway"].fileno()
        return Kept(
            Part(
                name=name,
                command=(
                    "gateway",
                    "--home",
                    str(self.home.root),
                    "--control",
                    self.control,
                    "--fd",
                    str(fd),
                    *self.trust.arguments(),
                    *self._shown("gateway"),
                ),
                log=self.home.log / f"{name}.log",
                folder=self.home.run,
                fds=(fd,),
                drains=GATEWAY_DRAINS,
                told=self._teller(name),
            )
        )

    def _teller(self, name: str) -> Callable[[str, str], None]:
        def tell(state: str, because: str) -> None:
            if state == "failed":
                self.asked.say(f"  {_time()}  {name} died: {because}; it is started again")
            elif state == "running":
                self.asked.say(f"  {_time()}  {name} is up")

        return tell

    def run(self) -> None:
        """Start, watch, and drain when told."""
        with self._listening_for_signals() as woken, contextlib.ExitStack() as held:
            self.home.processes(self.asked.name).unlink(missing_ok=True)  # of a supervisor that was killed
            self._write_addresses()
            held.enter_context(marked(self.home.addresses(self.asked.name)))
            if self.wanted:
                self.wanted.start(lambda: _wake(self._waker))
            while not self._told_to_stop():
                self._look()
                select.select([woken], [], [], STEADY if self._is_steady() else BUSY)
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 1024)
            self._drain()

    def _is_steady(self) -> bool:
        """Whether everything runs that is to run, and nothing else."""
        every = (*self.parts.values(), *self._engines())
        return not self.leaving and self.coming is None and all(kept.ready and kept.wanted for kept in every)

    @contextlib.contextmanager
    def _listening_for_signals(self) -> Iterator[int]:
        ours, theirs = os.pipe()
        for fd in (ours, theirs):
            os.set_blocking(fd, False)
        self._waker = theirs
        before = {
            number: signal.signal(number, lambda n, _frame: self.signals.append(n))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        }
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        try:
            yield ours
        finally:
            signal.set_wakeup_fd(-1)
            self._waker = -1
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(ours)
            os.close(theirs)

    def _told_to_stop(self) -> bool:
        if signal.SIGHUP in self.signals:
            self.signals = [n for n in self.signals if n != signal.SIGHUP]
            self._begin_rolling()
        return signal.SIGTERM in self.signals or signal.SIGINT in self.signals

    def _look(self) -> None:
        at = time.monotonic()
        for kept in (*self.parts.values(), *self._engines(), *self.leaving):
            kept.look(at)
        self.leaving = [kept for kept in self.leaving if not kept.gone]
        self._go_on_rolling(at)
        if self.wanted:
            self._keep_engines(self.wanted)
        self._write_processes()

    # -- engines ----------------------------------------------------------------------------------

    def _engines(self) -> list[Kept]:
        return [*self.engines.values(), *self.generators.kept.values()]

    def _keep_engines(self, wanted: Wanted) -> None:
        now, on_bases = wanted.now(), wanted.on_bases()
        for digest in self.generators.keep(on_bases):
            wanted.forget(digest)
        for digest in now - self.engines.keys():
            self.engines[digest] = self._engine(digest)
        for digest in self.engines.keys() - now:
            kept = self.engines[digest]
            if kept.gone:
                del self.engines[digest]
                for left in (
                    socket_path(self.home, digest),
                    socket_path(self.home, digest).with_suffix(".json"),
                ):
                    left.unlink(missing_ok=True)
                wanted.forget(digest)
            elif kept.wanted:
                kept.stop()
        for digest, (state, problem) in wanted.problems().items():
            write_state(self.home, digest, state, problem)

    def _engine(self, digest: str) -> Kept:
        folder = model_folder(self.home, digest)
        listens = socket_path(self.home, digest)
        host = ["--model", str(folder), "--envelope", str(folder.parent / "envelope.json")]
        host += ["--evidence", str(folder.parent / "evidence.json")]
        host += ["--release-pub", str(self.home.release_pub), "--rules", str(rules_path(self.home))]
        host += ["--socket", str(listens)]
        name = f"engine {digest.removeprefix('sha256:')[:8]}"
        log = self.home.log / f"engine-{digest.removeprefix('sha256:')[:16]}.log"

        def told(state: str, because: str) -> None:
            refused = state == "failed" and because.startswith("refused")
            if state != "running":
                listens.unlink(missing_ok=True)  # a dead engine's socket must not look like a live one
            write_state(self.home, digest, "refused" if refused else state, because)
            if state == "failed":
                self.asked.say(f"  {_time()}  {name} {because if refused else 'died: ' + because}")

        return Kept(
            Part(
                name=name,
                command=("engine", "--home", str(self.home.root), "--", *host),
                log=log,
                folder=self.home.run,
                drains=12.0,
                told=told,
                accepts=listens.exists,
                word=lambda code: _engine_word(code, log),
            )
        )

    # -- rolling restart of the gateways ----------------------------------------------------------

    def _begin_rolling(self) -> None:
        """Each gateway in its turn; told again while that goes on, it begins anew."""
        self.to_roll = [name for name in self.parts if name.startswith("gateway")]

    def _go_on_rolling(self, at: float) -> None:
        """A new gateway on the same socket; the old one leaves when it is ready."""
        if self.coming is None:
            if self.to_roll:
                self.coming = self._gateway(self.to_roll.pop(0))
                self.coming.start()
            return
        self.coming.look(at)
        if self.coming.ready:
            name = self.coming.part.name
            old, self.parts[name], self.coming = self.parts[name], self.coming, None
            old.stop()
            self.leaving.append(old)
        elif at - self.coming.started_at > READY_WITHIN or self.coming.failures:
            self.coming.stop()
            self.leaving.append(self.coming)
            self.coming, self.to_roll = None, []
            self.asked.say(f"  {_time()}  the new gateway did not come up; the old ones go on")

    # -- ending -----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Outside in: no new work, then what was under way, then those it needed, control last."""
        self.asked.say(f"  {_time()}  draining; Ctrl-C again kills")
        begun = len(self.signals)

        def hurry() -> bool:
            return any(n in (signal.SIGTERM, signal.SIGINT) for n in self.signals[begun:])

        outer = [kept for name, kept in self.parts.items() if name != "control"]
        drain([*outer, *self.leaving, *([self.coming] if self.coming else [])], hurry)
        if self.wanted:
            self.wanted.stop()
        drain(self._engines(), hurry)
        drain([kept for name, kept in self.parts.items() if name == "control"], hurry)
        for path in (self.home.addresses(self.asked.name), self.home.processes(self.asked.name)):
            path.unlink(missing_ok=True)
        self.asked.say(f"  {_time()}  stopped")

    # -- what others read -------------------------------------------------------------------------

    def _write_addresses(self) -> None:
        said = {**self.urls, "supervisor": os.getpid()}
        write_atomically(self.home.addresses(self.asked.name), json.dumps(said).encode())

    def _write_processes(self) -> None:
        kept = [*self.parts.values(), *self._engines(), *self.leaving]
        said = json.dumps([one.as_json() for one in kept])
        if said != self._written:
            self._written = said
            write_atomically(self.home.processes(self.asked.name), said.encode())


def url_of(opened: socket.socket, *, tls: bool = False) -> str:
    scheme = "https" if tls else "http"
    host, port = opened.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _wake(waker: int) -> None:
    """A pipe that is full, or closed by now, wakes nobody: there is a look under way, or none any more."""
    with contextlib.suppress(OSError):
        os.write(waker, b"\0")


def _time() -> str:
    return time.strftime("%H:%M:%S")


def _engine_word(code: int, log: Path) -> str:
    """Why an engine ended: refused for good, or what its last failure said."""
    if code == TAMPERED:
        return f"refused: {last_words(log)}"
    return f"exit code {code}: {last_words(log)}" if code > 0 else ""
