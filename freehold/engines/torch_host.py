"""The engine process of one base: a Unix socket for each model that was tuned from it.

    python -m freehold.engines.torch_host --home DIR --base DIGEST

Which models it serves stands in a small file (`places.wanted_path`), read again whenever it changes: models
come and go while others are being answered, and a restart finds the same. Each has its own socket, so no
name in a request can lead to another adapter. A model that does not verify, or does not answer as it was
evaluated, never gets a socket: beside it lies the reason. A base that does not verify ends the process
with exit code 8.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.engines import parity, places, revoked
from freehold.engines.base_files import read_base
from freehold.engines.host import listen, read_envelope, read_public
from freehold.engines.package import Package, read_verified
from freehold.engines.protocol import ModelUnreadable
from freehold.engines.text_app import TextApp
from freehold.errors import Failure, Tampered
from freehold.store.home import Home

if TYPE_CHECKING:
    from freehold.engines.torch_engine import SharedBase, TorchGenerator

LOOK = 0.2
"""Seconds between two looks at what is wanted."""
AGAIN = 30.0
"""Seconds until a model is tried again that broke while it was loaded."""
DRAINS = 10
"""Seconds that requests under way have when their model is no longer wanted, or the engine leaves."""

_log = logging.getLogger("freehold.engine")


class _Listener(uvicorn.Server):
    """uvicorn for one socket of several: signals are for the process, not for it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class Served:
    """One model that can be asked."""

    generator: TorchGenerator
    listener: _Listener
    task: asyncio.Task[None]


class TorchHost:
    """The models of one base, kept as they are wanted. Owned by its event loop."""

    def __init__(self, home: Home, base: str, shared: SharedBase, public: Ed25519PublicKey) -> None:
        self._home, self._base, self._shared, self._public = home, base, shared, public
        self._served: dict[str, Served] = {}
        self._given_up: dict[str, float] = {}
        """Those that could not be served, each with when it is tried again: what is refused, never."""
        self._leaving: set[asyncio.Task[None]] = set()

    async def run(self, leave: asyncio.Event, ready: Callable[[], None]) -> int:
        """Serve until told to leave; the exit code."""
        ready()
        while not leave.is_set() and self._shared.scheduler.open:
            await self._look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leave.wait(), LOOK)
        for digest in list(self._served):
            self._take_down(digest)
        if self._leaving:
            await asyncio.wait(self._leaving)
        return 0 if leave.is_set() else 1

    async def _look(self) -> None:
        wanted = places.read_wanted(self._home, self._base)
        for digest in self._served.keys() - wanted:
            self._take_down(digest)
            places.forget_state(self._home, digest)
        for digest in self._given_up.keys() - wanted:
            del self._given_up[digest]
            places.forget_state(self._home, digest)
        for digest in sorted(wanted - self._served.keys()):
            if time.monotonic() > self._given_up.get(digest, 0.0):
                await self._put_up(digest)

    async def _put_up(self, digest: str) -> None:
        """Load, prove, serve; or say why not. Others are answered meanwhile."""
        places.write_state(self._home, digest, "starting", "")
        try:
            package, generator = await asyncio.to_thread(self._load, digest)
        except (Tampered, ModelUnreadable) as failure:
            self._give_up(digest, "refused", failure.why or failure.what, math.inf)
            return
        except Exception as error:
            # never the message: it may hold a person's words
            why = f"it broke while loading: {type(error).__name__}"
            self._give_up(digest, "failed", why, time.monotonic() + AGAIN)
            return
        self._served[digest] = self._serve(TextApp(package.manifest, generator), generator, digest)
        places.write_state(self._home, digest, "running", "")
        _log.info("serves %s", digest[:19])

    def _give_up(self, digest: str, state: str, why: str, until: float) -> None:
        self._given_up[digest] = until
        places.write_state(self._home, digest, state, why)
        _log.error("%s %s: %s", state, digest[:19], why)

    def _load(self, digest: str) -> tuple[Package, TorchGenerator]:
        """Everything is checked before anything is answered. Raises Tampered or ModelUnreadable."""
        folder = places.model_folder(self._home, digest)
        package = read_verified(folder, read_envelope(folder.parent / "envelope.json"), self._public)
        manifest = package.manifest
        revoked.refuse(places.rules_path(self._home), self._public, manifest.serving_digest)
        evidence = parity.read(folder.parent / "evidence.json", self._public, manifest)
        if manifest.serving_digest != digest:
            raise parity.OtherThanEvaluated(why="weights: another model lies in its folder")
        parity.refuse(parity.compare({"weights": self._base}, {"weights": parity.parts(manifest)["weights"]}))
        generator = self._shared.open(manifest.about, package.files)
        parity.prove(generator, manifest, evidence)
        return package, generator

    def _serve(self, app: TextApp, generator: TorchGenerator, digest: str) -> Served:
        config = uvicorn.Config(
            app,
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=300,  # only the gateway calls, and it keeps its connections
            timeout_graceful_shutdown=DRAINS,
        )
        listener = _Listener(config)
        opened = listen(places.socket_path(self._home, digest))
        return Served(generator, listener, asyncio.create_task(_until_left(listener, opened)))

    def _take_down(self, digest: str) -> None:
        """No new requests from now on; those under way are finished with the model they were begun with."""
        served = self._served.pop(digest)
        places.socket_path(self._home, digest).unlink(missing_ok=True)
        served.generator.close()
        served.listener.should_exit = True
        self._leaving.add(served.task)
        served.task.add_done_callback(self._leaving.discard)
        _log.info("serves %s no longer", digest[:19])


async def _until_left(listener: _Listener, opened: socket.socket) -> None:
    try:
        await listener.serve(sockets=[opened])
    finally:
        opened.close()


def main(argv: Sequence[str], ready: Callable[[], None] = lambda: None) -> int:
    """Verify and load the base, then serve until SIGTERM. The exit code is that of the failure."""
    options = _parser().parse_args(argv)
    home = Home(Path(options.home))
    _set_libraries()
    try:
        files = read_base(places.base_folder(home, options.base), options.base)
        public = read_public(home.release_pub)
        from freehold.engines.torch_engine import SharedBase

        shared = SharedBase.read(files)
    except Failure as failure:
        sys.stderr.write(f"freehold engine: {failure}\n")
        return failure.exit_code
    del files  # the model has them now
    try:
        return asyncio.run(_run(TorchHost(home, options.base, shared, public), ready))
    finally:
        shared.close()


async def _run(host: TorchHost, ready: Callable[[], None]) -> int:
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    return await host.run(leave, ready)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m freehold.engines.torch_host")
    parser.add_argument("--home", required=True, help="the installation's folder")
    parser.add_argument("--base", required=True, help="the digest of the base")
    return parser


def _set_libraries() -> None:
    """Before they are loaded: they look for nothing outside, and threads that have nothing to do sleep.

    Without the latter they spin, and on a machine that does other work too everybody waits for them:
    23 instead of 1,172 tokens a second were measured beside a training on two cores.
    """
    settings = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    os.environ.update(settings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
