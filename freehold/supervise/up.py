"""`freehold up`: begin, watch, drain."""

from __future__ import annotations

import contextlib
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
        sockets = listen(asked, config, held)
        begun = prepare(asked) if asked.runs("control") else None
        watch = Watch(asked, config, sockets)
        greet(asked, begun, watch.urls)
        watch.run()


def _locked(asked: Asked) -> list[Path]:
    folders: dict[Only, Path] = {
        "control": asked.home.control,
        "gateway": asked.home.serving,
        "worker": asked.home.worker,
    }
    return [folder for part, folder in folders.items() if asked.runs(part)]
