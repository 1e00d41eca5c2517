"""Puts the parts together: the only module that names concrete parts.

`python -m freehold.app PART …` is how the supervisor starts one; each function imports what its part
needs and nothing else, so that the gateway starts without a database driver.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from freehold.errors import Failure, Unavailable
from freehold.spec.config import Config, Tls
from freehold.spec.ids import Clock, now
from freehold.store.configured import NotReadable, read_config, remembering
from freehold.store.home import Home

if TYPE_CHECKING:
    from freehold.control.anchoring import Anchoring
    from freehold.control.parts import Parts
    from freehold.jobs.worker import Worker
    from freehold.tls import Pair, Trust

ENTRIES = {"train": "freehold.train.entry:main", "evaluate": "freehold.evaluate.entry:main"}
"""Which function answers for which kind of job: fixed here, never taken from a job."""

PARTS = ("prepare", "control", "gateway", "worker", "engine", "generator")

CONTROL_DRAINS = 5
"""Seconds that requests under way have when control leaves."""

LONGEST_UPLOAD = 86_400
"""Seconds after which what lies half-done is nobody's, where several controls work."""

_log = logging.getLogger("freehold")


class WrongDatabase(Unavailable):
    """the database is of another installation, {origin}"""


# -- parts ------------------------------------------------------------------------------------------


def _always() -> bool:
    return True


@contextlib.contextmanager
def open_parts(
    home: Home, config: Config, clock: Clock = now, *, alone: bool = True, leads: Callable[[], bool] = _always
) -> Iterator[Parts]:
    """Everything control works with, closed again when the block ends.

    Needs the installation that `identity.first_run.create` made. `alone`: no other control works on it,
    so what lies about half-done is nobody's. Raises WrongDatabase, and what opening raises.
    """
    from freehold.control import backup
    from freehold.control.parts import Parts
    from freehold.data import carried, intake
    from freehold.ledger.sequencer import Sequencer
    from freehold.policy.decide import Policies
    from freehold.release.publish import publish_first
    from freehold.release.words import setting
    from freehold.store.elsewhere import epoch_of, objects_of
    from freehold.store.ground import Ground
    from freehold.store.keyring import Keyring
    from freehold.store.migrate import open_database
    from freehold.store.signing import load_key_file
    from freehold.track import artifacts

    with contextlib.ExitStack() as open_things:
        db = open_database(home, clock)
        open_things.callback(db.close)
        keyring = Keyring(home.keyring, epoch_of(home, config))
        open_things.callback(keyring.close)
        with db.read() as conn:
            origin = setting(conn, "origin")
        _refuse_other(home, origin)
        ground = Ground(
            db=db,
            keyring=keyring,
            blobs=objects_of(home, config),
            release_key=load_key_file(home.release_key),
            origin=origin,
            clock=clock,
        )
        publish_first(ground)
        idle = 0 if alone else LONGEST_UPLOAD
        intake.sweep(ground, idle_seconds=idle)
        artifacts.sweep(ground, home.control, idle_seconds=idle)
        backup.sweep(home, idle_seconds=idle)
        if alone:
            carried.mend(ground)
        sequencer = Sequencer(db, home.ledger, load_key_file(home.ledger_key), origin, leads)
        yield Parts(home=home, config=config, ground=ground, sequencer=sequencer, policies=Policies.shipped())


def _refuse_other(home: Home, origin: str) -> None:
    """A database of another installation has other keys: nothing in it could be opened."""
    own = json.loads(home.installation.read_bytes())["origin"] if home.installation.exists() else origin
    if own != origin:
        raise WrongDatabase(
            origin=origin,
            why=f"the folder is of {own}",
            hint="let `database:` in freehold.yaml name the one it was made with",
        )


def prepare(home: Home, config: Config, *, alone: bool = True) -> dict[str, Any]:
    """Make the installation, or see that the one there can be opened; says what was made.

    The caller holds the lock. Raises what the first run and opening raise.
    """
    from freehold.identity import first_run

    made = None
    if first_run.needed(home):
        created = first_run.create(home, config)
        made = {
            "origin": created.origin,
            "administrator": created.administrator,
            "key": created.administrator_key,
        }
    with open_parts(home, config, alone=alone) as parts:
        origin = parts.ground.origin
    return {"made": made, "origin": origin}


# -- processes --------------------------------------------------------------------------------------


def run_control(
    home: Home, config: Config, listen: socket.socket, ready: Callable[[], None], tls: Pair | None = None
) -> None:
    """Serve until SIGTERM; then finish what is under way, place every entry, close."""
    import uvicorn

    from freehold.console.site import mount
    from freehold.control.server import build
    from freehold.control.watching import declare as watch
    from freehold.jobs.kernel import leave_no_core
    from freehold.jobs.runner import Runner
    from freehold.journeys.stories import STORIES
    from freehold.store.lock import Lead

    signals = _remembered_signals()
    leave_no_core()
    host, port = listen.getsockname()[:2]
    config = replace(config, control=f"{host}:{port}", tls=_shown(config, tls))
    lead = Lead(home.ledger)
    with (
        open_parts(home, config, alone=not config.database, leads=lead.held) as parts,
        contextlib.ExitStack() as running,
    ):
        watch(parts)
        running.callback(lead.leave)  # last: what works under it has ended by then
        runner = Runner(parts.ground, config, STORIES, lead.held)
        parts = replace(parts, wake=runner.nudge)
        for part in tuple(_every(parts, config, runner, lead.held)):
            part.start()
            running.callback(part.stop)
        served_app = build(parts)
        mount(served_app, parts)
        served = uvicorn.Config(
            served_app,
            log_config=None,
            access_log=False,  # a path may name somebody
            server_header=False,
            timeout_graceful_shutdown=CONTROL_DRAINS,
            ssl_context_factory=_secured(tls),
        )
        _server(served, parts.leave, ready, signals).run(sockets=[listen])


def _shown(config: Config, tls: Pair | None) -> Tls:
    """What control says of itself: an option of `freehold up` counts before the file."""
    if tls is None:
        return config.tls if config.tls.listeners == "gateway" else Tls()
    return replace(config.tls, certificate=str(tls.certificate), key=str(tls.key))


def _secured(tls: Pair | None) -> Callable[[Any, Any], ssl.SSLContext] | None:
    """For uvicorn: how connections are encrypted, if they are."""
    if tls is None:
        return None
    from freehold.tls import serving

    context = serving(tls)
    return lambda _config, _default: context


class Runs(Protocol):
    """Something with a thread of its own."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def _every(parts: Parts, config: Config, runner: Runs, leads: Callable[[], bool]) -> Iterator[Runs]:
    """Everything of control's that has a thread of its own, in the order in which it starts."""
    from freehold.control.checking import Checker
    from freehold.control.keeping import Keeper
    from freehold.control.trusting import Trusting
    from freehold.release.courier import Courier

    ground = parts.ground
    if others := ground.db.others():
        yield others
    if config.anchor:
        yield _anchoring(parts)
    yield parts.sequencer
    yield runner
    yield Courier(ground, mail=config.mail, base_url=config.console_url or config.control_url, leads=leads)
    yield Checker(home=parts.home, clock=ground.clock, checked=parts.checked)
    yield Keeper(parts=parts, leads=leads)
    yield Trusting(ground=ground, callers=config.callers, trusted=parts.trusted, leads=leads)


def _anchoring(parts: Parts) -> Anchoring:
    from freehold.control.anchoring import Anchoring
    from freehold.ledger.anchor import anchor_of

    return Anchoring(
        sequencer=parts.sequencer,
        anchor=anchor_of(parts.config.anchor),
        clock=parts.ground.clock,
        anchored=parts.anchored,
    )


def run_gateway(
    home: Home,
    listen: socket.socket,
    control: str,
    ready: Callable[[], None],
    tls: Pair | None = None,
    trust: Trust | None = None,
) -> None:
    """Answer until SIGTERM; confined to the serving zone from before the first request."""
    from freehold.gateway.elapsed import BOOT_ID
    from freehold.gateway.run import run
    from freehold.jobs.walls import confine

    trusted = trust.context() if trust and control.startswith("https://") else None
    read = [BOOT_ID, *(tls.folders() if tls else ()), *(trust.folders() if trust else ())]
    confine(read=read, write=[home.serving], network=True)
    run(listen=listen, serving=home.serving, control=control, ready=ready, tls=tls, trust=trusted)


def run_worker(home: Home, control: str, number: int, ready: Callable[[], None], trust: Trust) -> None:
    """Work until SIGTERM."""
    from freehold.client import Freehold
    from freehold.jobs import walls
    from freehold.jobs.worker import Worker

    scratch = home.worker / f"scratch-{number}"
    scratch.mkdir(mode=0o700, exist_ok=True)
    with Freehold(
        control,
        _read_key(home.worker_border),
        ca=trust.context() if control.startswith("https://") else None,
        timeout=300,
    ) as border:  # inputs are made when asked
        worker = Worker(border, scratch, ENTRIES, walls.offered())
        for stopping in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stopping, lambda *_: _leave(worker))
        ready()
        worker.run()


def _leave(worker: Worker) -> None:
    """A question for work may hang while control is away: an idle worker does not wait for its answer."""
    worker.stop()
    if not worker.busy:
        raise SystemExit(0)


def run_engine(home: Home, argv: Sequence[str]) -> int:
    """One engine host, confined to reading the serving zone and writing its socket; without a network."""
    from freehold.engines.host import main as host
    from freehold.jobs.walls import confine

    confine(read=[home.serving], write=[home.run], network=False)
    return host(argv)


def run_generator(home: Home, argv: Sequence[str], ready: Callable[[], None]) -> int:
    """The engine of one base, within the same walls; beyond them only the accelerator, where there is one."""
    from freehold.engines.torch_host import main as host
    from freehold.jobs.walls import confine

    devices = sorted(Path("/dev").glob("nvidia*"))
    confine(read=[home.serving, *devices], write=[home.run, *devices], network=False)
    return host(["--home", str(home.root), *argv], ready)


def _read_key(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise NotReadable(
            path=path, why=error.strerror or "", hint="copy it from the installation's folder"
        ) from error


def _server(config: Any, leave: Callable[[], None], ready: Callable[[], None], signals: Sequence[int]) -> Any:
    """uvicorn's server, which says when it accepts and is told to leave; `signals` told it before."""
    from freehold.gateway.http import Told

    class Server(Told):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.should_exit = self.should_exit or bool(signals)
            ready()

        def handle_exit(self, sig: int, frame: Any) -> None:
            leave()
            super().handle_exit(sig, frame)
            self.leave()

    return Server(config)


def _remembered_signals() -> Sequence[int]:
    """What tells us to leave before uvicorn listens to it, or after: it drains, then raises it again."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _frame: told.append(n))
    return told


# -- `python -m freehold.app` -----------------------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Run one part. A failure is told on stderr in three lines; the exit code is its own."""
    from freehold.jobs.kernel import die_with_parent

    asked, rest = _arguments(argv)
    die_with_parent(asked.parent, signal.SIGKILL if asked.part == "control" else signal.SIGTERM)
    _log_quietly()
    home = Home(Path(asked.home))
    try:
        return _run(asked, home, rest)
    except Failure as failure:
        if asked.part == "prepare":
            print(json.dumps({"error": failure.told(), "status": failure.status}))
        else:
            _log.error("%s", failure)
        return failure.exit_code
    except Exception as error:
        _broken(error)
        return 1


def _run(asked: argparse.Namespace, home: Home, rest: Sequence[str]) -> int:
    match asked.part:
        case "prepare":
            config = read_config(Path(asked.config))
            with remembering(home, Path(asked.config)):
                print(json.dumps(prepare(home, config, alone=not asked.beside)))
        case "control":
            config = read_config(Path(asked.config))
            run_control(home, config, _inherited(asked.fd), _ready(asked), _pair(asked))
        case "gateway":
            listen = _inherited(asked.fd)
            run_gateway(home, listen, asked.control, _ready(asked), _pair(asked), _trust(asked))
        case "worker":
            run_worker(home, asked.control, asked.number, _ready(asked), _trust(asked))
        case "engine":
            return run_engine(home, rest)
        case "generator":
            return run_generator(home, rest, _ready(asked))
    return 0


def _arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, Sequence[str]]:
    argv = list(argv)
    rest = argv[argv.index("--") + 1 :] if "--" in argv else []
    parser = argparse.ArgumentParser(prog="python -m freehold.app")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--home", required=True)
    parser.add_argument("--parent", type=int, default=os.getppid())
    parser.add_argument("--config", default="")
    parser.add_argument("--control", default="")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--number", type=int, default=1)
    for name in ("--tls-certificate", "--tls-key", "--control-ca", "--control-pin"):
        parser.add_argument(name, default="")
    parser.add_argument("--fd", type=int, default=-1)
    parser.add_argument("--ready-fd", type=int, default=-1)
    return parser.parse_args(argv[: len(argv) - len(rest) - bool(rest)]), rest


def _pair(asked: argparse.Namespace) -> Pair | None:
    """The certificate this part shows, if any."""
    from freehold.tls import Pair

    given = bool(asked.tls_certificate)
    return Pair(certificate=Path(asked.tls_certificate), key=Path(asked.tls_key)) if given else None


def _trust(asked: argparse.Namespace) -> Trust:
    """How this part knows control."""
    from freehold.tls import Trust

    return Trust(ca=asked.control_ca, pin=asked.control_pin)


def _inherited(fd: int) -> socket.socket:
    """The listening socket the supervisor opened."""
    return socket.socket(fileno=fd)


def _ready(asked: argparse.Namespace) -> Callable[[], None]:
    """Tells the supervisor, once; a no-op when nobody asked."""

    def tell() -> None:
        if asked.ready_fd >= 0:
            with contextlib.suppress(OSError):
                os.write(asked.ready_fd, b"1")
                os.close(asked.ready_fd)

    return tell


class _Quiet(logging.Formatter):
    """Says what broke and where, never an error's message: it may quote what somebody sent."""

    def formatException(self, ei: Any) -> str:
        from freehold.jobs.child import whereabouts

        return f"  {whereabouts(ei[1])}" if ei and ei[1] else ""


def _log_quietly() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Quiet("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    threading.excepthook = lambda broken: _broken(broken.exc_value)
    for noisy in ("httpx", "httpcore", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _broken(error: BaseException | None) -> None:
    from freehold.jobs.child import whereabouts

    if error is not None:
        _log.error("broken: %s", whereabouts(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
