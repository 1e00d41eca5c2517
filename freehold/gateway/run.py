"""One gateway process: put together, served on a socket it was handed, and left in good order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.errors import Unavailable
from freehold.gateway.app import Gateway, where
from freehold.gateway.border import Border
from freehold.gateway.bounds import Bounds, fitting
from freehold.gateway.breaker import Breaker
from freehold.gateway.budget import alarms
from freehold.gateway.cache import Cache
from freehold.gateway.copies import AT_ONCE, Copies
from freehold.gateway.counted import Counted
from freehold.gateway.counts import Counts
from freehold.gateway.elapsed import Elapsed, elapsed
from freehold.gateway.guards import Detectors, shipped
from freehold.gateway.health import Health
from freehold.gateway.http import EdgeServer
from freehold.gateway.limits import Limits
from freehold.gateway.news import News, log_kept
from freehold.gateway.records import Recorder
from freehold.gateway.replays import Replays, ReplaysUnusable
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.shipping import BALLAST, Shipping, take_spools
from freehold.gateway.upstream import Upstreams
from freehold.spec.ids import Clock, now
from freehold.store.ballast import Ballast, Room, room_on
from freehold.store.group_commit import GroupCommit
from freehold.store.home import Home
from freehold.store.spool import Spool
from freehold.tls import Pair
from freehold.tls import serving as secured

_log = logging.getLogger("freehold.gateway")
_HOUR = 3600
AGAIN = 1.0
"""Seconds before a loop that broke begins again."""
Loop = Callable[[], Awaitable[None]]


class NotEnrolled(Unavailable):
    """this gateway is not enrolled in `{folder}`"""


class FolderUnwritable(Unavailable):
    """the gateway cannot work in `{folder}`"""


def run(
    *,
    listen: socket.socket,
    serving: Path,
    control: str,
    ready: Callable[[], None],
    bounds: Bounds | None = None,
    clock: Clock = now,
    tls: Pair | None = None,
    trust: ssl.SSLContext | None = None,
) -> None:
    """Serve on `listen` until SIGTERM, then drain, ship and return.

    `serving` is the serving zone's folder, `control` the URL of control, `ready` is called once
    connections are accepted; `tls` is the certificate to show, `trust` how an https control is known.
    Raises NotEnrolled, FolderUnwritable, CertificateUnusable, PrivateKeyUnusable.
    """
    import uvloop

    _quiet()
    _collect_seldom()
    home = Home(serving.parent)
    fits = fitting(bounds or Bounds())
    with alarms():
        uvloop.run(serve(listen, home, control, ready, fits, clock, tls=tls, trust=trust))


async def serve(
    listen: socket.socket,
    home: Home,
    control: str,
    ready: Callable[[], None],
    bounds: Bounds,
    clock: Clock = now,
    told: Callable[[EdgeServer], None] = lambda _edge: None,
    elapsed: Elapsed = elapsed,
    detectors: Callable[[], Detectors] = shipped,
    room: Callable[[Path], Room] = room_on,
    tls: Pair | None = None,
    trust: ssl.SSLContext | None = None,
) -> None:
    """The life of a gateway process, top to bottom. `told` gets the server, for whoever has no signals."""
    async with _parts(home, control, bounds, clock, elapsed, room, detectors(), trust) as parts:
        log_kept(parts.gateway.rulebook.load())
        await parts.news.look_once()
        secure = secured(tls, lambda: parts.gateway.rulebook.client_ca) if tls else None
        edge = EdgeServer(parts.gateway, bounds, ready, secure)
        told(edge)
        async with _running(
            parts.news.listen,
            parts.news.look_at_engines,
            parts.news.report,
            parts.shipping.run,
            partial(_keep_house, parts.gateway, parts.news),
            *[parts.gateway.copies.run] * AT_ONCE,
        ):
            await edge.serve(sockets=[listen])  # until it is told to leave and what ran is finished
            await _finished(edge.server_state.tasks)
            await parts.gateway.copies.drain(bounds.copies_leave)
        await asyncio.to_thread(parts.commits.close)
        if not await parts.shipping.drain(bounds.ship):
            _log.warning("control has not taken everything in; the next gateway ships the rest")
        await parts.shipping.leave()


@dataclass(frozen=True, slots=True)
class _Parts:
    gateway: Gateway
    news: News
    shipping: Shipping
    commits: GroupCommit


@contextlib.asynccontextmanager
async def _parts(
    home: Home,
    control: str,
    bounds: Bounds,
    clock: Clock,
    elapsed: Elapsed,
    room: Callable[[Path], Room],
    detectors: Detectors,
    trust: ssl.SSLContext | None,
) -> AsyncIterator[_Parts]:
    """Everything a gateway is made of, closed in the end whatever happened."""
    public, private, key = _enrolment(home)
    spool, dead = _spools(home, clock)
    counts = Counts(home.spend)
    commits = GroupCommit(spool, ballast=Ballast(spool.folder / BALLAST))
    border = Border(control, key, elapsed, trust)
    shipping = Shipping(commits, dead, border, home.spool, clock, elapsed)
    rulebook = Rulebook(home.snapshot, public, private, elapsed=elapsed)
    replays = Replays(home.replays, rulebook.forgotten_at)
    health = Health(border, commits, shipping, replays, rulebook, lambda: room(home.spool), clock, elapsed)
    upstreams = Upstreams(home.run, bounds, elapsed)
    counted = Counted(home.run, spool.id, before=home.spend)
    recorder = Recorder(commits, bounds, clock)
    gateway = Gateway(
        rulebook=rulebook,
        recorder=recorder,
        upstreams=upstreams,
        replays=replays,
        limits=Limits(counts, elapsed, bounds.record),
        breaker=Breaker(elapsed),
        cache=Cache(elapsed),
        health=health,
        counted=counted,
        copies=Copies(rulebook, recorder, upstreams, detectors, bounds, Breaker(elapsed)),
        bounds=bounds,
        clock=clock,
        detectors=detectors,
    )
    let_go = partial(_let_go, gateway)
    news = News(spool.id, rulebook, upstreams, border, home.run, let_go, health.troubles)
    try:
        yield _Parts(gateway, news, shipping, commits)
    finally:
        commits.close()
        counted.leave()
        counts.close()
        shipping.close()
        await upstreams.close()
        await border.close()


@contextlib.asynccontextmanager
async def _running(*loops: Loop) -> AsyncIterator[None]:
    """Loops beside the block, cancelled with it."""
    tasks = [asyncio.create_task(_lives_on(loop)) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _lives_on(loop: Loop) -> None:
    """A loop that breaks begins again: what it does for the gateway, nobody else does.

    It knows the failures that are to be expected; this is for the others, which nobody would notice.
    """
    while True:
        try:
            await loop()
        except Exception as error:
            _log.error("a loop broke and begins again: %s at %s", type(error).__name__, where(error))
        await asyncio.sleep(AGAIN)


async def _keep_house(gateway: Gateway, news: News) -> None:
    """What has to be done now and then, and by nobody's request."""
    swept = -math.inf
    while True:
        gateway.recorder.retry_late()
        gateway.limits.settle()
        gateway.cache.follow(gateway.rulebook.ix)
        if gateway.rulebook.ix:
            rules = gateway.rulebook.rules()
            gateway.breaker.forget(rules.targets())
            gateway.upstreams.replicas.forget(rules.targets())
            gateway.upstreams.forget_providers(rules.providers())
            gateway.copies.follow(rules)
        if gateway.health.tell():
            news.report_soon()
        await asyncio.to_thread(gateway.counted.keep, gateway.samples())
        due = time.monotonic() > swept + _HOUR
        if due or gateway.replays.trouble:
            with contextlib.suppress(ReplaysUnusable):  # `health` tells it
                await _let_go(gateway)
        if due:
            swept = time.monotonic()
            await gateway.limits.sweep(time.time())
        await asyncio.sleep(1)


async def _let_go(gateway: Gateway) -> None:
    """What was kept of answers goes where the rules in force say so, or its time is over.

    Raises ReplaysUnusable.
    """
    gateway.cache.follow(gateway.rulebook.ix)
    if gateway.rulebook.ix:
        gateway.copies.follow(gateway.rulebook.rules())
    forgotten_at = gateway.rulebook.forgotten_at()
    await asyncio.to_thread(gateway.replays.sweep, gateway.clock(), forgotten_at)


async def _finished(tasks: set[asyncio.Task[None]]) -> None:
    """Requests that were cut off by the end of the drain still write their records."""
    if tasks:
        await asyncio.wait(tasks, timeout=5)


def _enrolment(home: Home) -> tuple[Ed25519PublicKey, bytes, str]:
    """The pinned release key, the gateway's private key, and its key for the border."""
    try:
        public = Ed25519PublicKey.from_public_bytes(home.release_pub.read_bytes())
        private = home.gateway_key.read_bytes()
        key = home.gateway_border.read_text().strip()
    except (OSError, ValueError) as error:
        raise NotEnrolled(
            folder=home.serving, why=f"its keys cannot be read: {error}", hint="`freehold up` enrols it"
        ) from error
    return public, private, key


def _spools(home: Home, clock: Clock) -> tuple[Spool, list[Spool]]:
    try:
        for folder in (home.spool, home.snapshot, home.replays, home.spend, home.run):
            folder.mkdir(mode=0o700, exist_ok=True)
        return take_spools(home.spool, clock)
    except OSError as error:
        raise FolderUnwritable(
            folder=home.serving,
            why=error.strerror or str(error),
            hint="it needs space and the owner's rights",
        ) from error


def _collect_seldom() -> None:
    """A request leaves hardly a cycle behind, but makes hundreds of objects, at which the collector looks."""
    gc.collect()
    gc.freeze()  # what is loaded stays
    gc.set_threshold(10_000, 10, 10)


def _quiet() -> None:
    """uvicorn and aiohttp say what a peer did wrong by repeating it: only our own words are logged."""
    for name in ("uvicorn", "uvicorn.error", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
