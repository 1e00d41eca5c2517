"""`freehold up`: begin, watch, drain."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from freehold.app import read_config
from freehold.store.lock import alone
from freehold.supervise.begin import Asked, Only, greet, listen, prepare
from freehold.supervise.watch import Watch


def up(asked: Asked) -> None:
    """Run until SIGTERM or Ctrl-C, then drain. Raises one clear failure when it cannot begin."""
    config = read_config(asked.config)
    asked.home.create()
    with contextlib.ExitStack() as held:
        for folder in _locked(asked):
            held.enter_context(alone(folder))
        _log_to(asked.home.log / "supervisor.log")
        sockets = listen(asked, config, held)
        begun = prepare(asked) if asked.runs("control") else None
        watch = Watch(asked, config, sockets)
        greet(asked, begun, watch.urls)
        watch.run()


def _log_to(path: Path) -> None:
    """What the supervisor itself has to say of its work; people on the screen see only what matters."""
    handler = logging.FileHandler(path, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("freehold")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _locked(asked: Asked) -> list[Path]:
    folders: dict[Only, Path] = {
        "control": asked.home.control,
        "gateway": asked.home.serving,
        "worker": asked.home.worker,
        "engine": asked.home.models,
    }
    return [folder for part, folder in folders.items() if asked.runs(part)]
