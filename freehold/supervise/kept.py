"""One process that is kept running: started, restarted with growing pauses, ended in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
STEADY_AFTER = 30.0
"""Seconds of life after which earlier failures are forgiven."""
LOG_KEPT = 10_000_000
"""Bytes after which a log is put aside when its process is next started; one older file is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is to run."""

    name: str
    command: tuple[str, ...]
    """Arguments after `python -m freehold.app`."""
    log: Path
    folder: Path
    """Where it works; see `store.home.socket_address`."""
    fds: tuple[int, ...] = ()
    """Descriptors it inherits."""
    drains: float = 15.0
    """Seconds it has to leave in good order."""
    told: Callable[[str, str], None] = lambda _state, _because: None
    """Hears of each change of state."""
    word: Callable[[int], str] = lambda _code: ""
    """What an exit code means, where it means more than having died."""
    accepts: Callable[[], bool] | None = None
    """Sees whether it is ready, where it does not say so itself."""


@dataclass(slots=True)
class Kept:
    """A part and its process. Owned by the supervisor's main thread: the kernel ties a child's life to
    the thread that started it."""

    part: Part
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    state: str = "stopped"
    because: str = ""
    restarts: int = 0
    failures: int = 0
    started_at: float = 0.0
    due: float = 0.0
    wanted: bool = True
    _ready_fd: int = -1
    _told: tuple[str, str] = field(default=("", ""))

    # -- starting -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it now."""
        theirs, ours = -1, -1
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        command = [sys.executable, "-P", "-m", "freehold.app", *self.part.command]
        command[5:5] = ["--parent", str(os.getpid()), "--ready-fd", str(theirs)]
        with _open_log(self.part.log) as log:
            self.process = subprocess.Popen(  # noqa: S603 – our own interpreter with our own words
                command,
                cwd=self.part.folder,
                env=_environment(self.part.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(*self.part.fds, theirs),
                start_new_session=True,  # Ctrl-C is for the supervisor, which then drains in order
            )
        os.close(theirs)
        self._drop_ready_fd()
        self._ready_fd = ours
        self.ready = False
        self.started_at = time.monotonic()
        self._say("starting", "")

    # -- looking ------------------------------------------------------------------------------------

    def look(self, at: float) -> None:
        """See how it is, and start it again when that is due."""
        if self.process is None:
            if self.wanted and at >= self.due:
                self.start()
            return
        self._look_ready()
        if (code := self.process.poll()) is not None:
            self._ended(code, at)
        elif self.ready and at - self.started_at > STEADY_AFTER:
            self.failures = 0

    def _look_ready(self) -> None:
        if self.ready or self._ready_fd < 0:
            return
        if self.part.accepts is not None and self.part.accepts():
            self._is_ready()
            return
        try:
            said = os.read(self._ready_fd, 1)
        except BlockingIOError:
            return
        if said:
            self._is_ready()
        else:
            self._drop_ready_fd()

    def _is_ready(self) -> None:
        self._drop_ready_fd()
        self.ready = True
        self._say("running", "")

    def _ended(self, code: int, at: float) -> None:
        self.process = None
        self.ready = False
        self._drop_ready_fd()
        if not self.wanted:
            self._say("stopped", "")
            return
        self.failures += 1
        self.restarts += 1
        pause = min(FIRST_PAUSE * 2 ** (self.failures - 1), LONGEST_PAUSE)
        self.due = at + pause
        self._say("failed", self.part.word(code) or f"it ended with {_told_code(code)}")

    # -- ending -------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to leave in good order; `look` sees it go."""
        self.wanted = False
        self.signal(signal.SIGTERM)
        if self.process is None:
            self._say("stopped", "")

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    @property
    def gone(self) -> bool:
        """Whether it is not running and is not to be started again."""
        return not self.wanted and self.process is None

    def _say(self, state: str, because: str) -> None:
        self.state, self.because = state, because
        if (state, because) != self._told:
            self._told = (state, because)
            self.part.told(state, because)

    def _drop_ready_fd(self) -> None:
        if self._ready_fd >= 0:
            os.close(self._ready_fd)
            self._ready_fd = -1

    def as_json(self) -> dict[str, Any]:
        """For `freehold status`."""
        return {
            "name": self.part.name,
            "pid": self.process.pid if self.process else None,
            "state": self.state,
            "because": self.because,
            "restarts": self.restarts,
        }


def _told_code(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _open_log(path: Path) -> Any:
    if path.exists() and path.stat().st_size > LOG_KEPT:
        os.replace(path, path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def drain(parts: Sequence[Kept], hurry: Callable[[], bool]) -> None:
    """Ask all of them to leave and wait; who takes too long, or everybody when told to hurry, is killed."""
    for kept in parts:
        kept.stop()
    begun = time.monotonic()
    while any(not kept.gone for kept in parts):
        at = time.monotonic()
        for kept in parts:
            if not kept.gone and (hurry() or at - begun > kept.part.drains):
                kept.signal(signal.SIGKILL)
            kept.look(at)
        time.sleep(0.02)


def _environment(command: Sequence[str]) -> dict[str, str]:
    """What a part is given of ours. What opens the database (libpq's `PG…`) and the object store is for
    control alone."""
    given = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    if command[0] in ("control", "prepare"):
        return given
    return {name: value for name, value in given.items() if not name.startswith(("AWS_", "PG"))}
