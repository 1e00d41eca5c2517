"""`freehold up`: begin, watch, drain."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from freehold.spec.config import Config
from freehold.store.configured import read_config
from freehold.store.lock import Place, alone, together
from freehold.supervise.begin import Asked, Only, greet, listen, pairs, prepare
from freehold.supervise.watch import Watch


def up(asked: Asked) -> None:
    """Run until SIGTERM or Ctrl-C, then drain. Raises one clear failure when it cannot begin."""
    config = read_config(asked.config)
    shown = pairs(asked, config)
    asked.home.create()
    with contextlib.ExitStack() as held:
        for folder in _locked(asked):
            if folder != asked.home.control or not config.database:
                held.enter_context(alone(folder))
        place = held.enter_context(_among_controls(asked, config))
        asked = replace(asked, beside=not place.first)
        _log_to(asked.home.log / "supervisor.log")
        sockets = listen(asked, config, held)
        begun = prepare(asked) if asked.runs("control") else None
        place.share()
        watch = Watch(asked, config, sockets, shown)
        greet(asked, begun, watch.urls)
        watch.run()


@contextlib.contextmanager
def _among_controls(asked: Asked, config: Config) -> Iterator[Place]:
    """On Postgres several controls may run on one folder; the first one alone until all is prepared."""
    if not (config.database and asked.runs("control")):
        yield Place(first=True, share=lambda: None)
        return
    with together(asked.home.control) as place:
        if place.first:
            for left in asked.home.written_beside():  # by supervisors that were killed
                left.unlink(missing_ok=True)
        yield place


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
