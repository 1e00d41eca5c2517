"""An installation that lives for seconds: control, a gateway and a provider, in a folder that goes again.

The same parts as everywhere, put together as everywhere; only the clock of control stands ten days ago,
so that a contract made then has ended since.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from freehold.app import open_parts
from freehold.control.parts import Parts
from freehold.control.server import build
from freehold.data import consent
from freehold.doctor.certifying import Authority
from freehold.doctor.issuing import Issuer
from freehold.engines.upstream_fake import MODEL, FakeUpstream
from freehold.gateway.bounds import Bounds
from freehold.gateway.guards import Detectors, shipped
from freehold.gateway.http import EdgeServer
from freehold.gateway.run import serve
from freehold.gateway.upstream import socket_of
from freehold.identity import first_run, floors, keys, people, projects
from freehold.ledger.record import record
from freehold.release.attach import Attachment, attach
from freehold.release.callers import declare
from freehold.spec.callers import Callers
from freehold.spec.config import Config
from freehold.spec.floor import Floor
from freehold.spec.ids import canonical, digest, now
from freehold.spec.principal import SYSTEM
from freehold.spec.sensitivity import Sensitivity
from freehold.store.ground import Ground
from freehold.store.home import Home, socket_address
from freehold.store.rows import Tx
from freehold.store.tables import services
from freehold.tls import Pair, trusting

PROJECT, PURPOSE, SERVICE, ENDED = "proofs", "proving", "spoken-to", "out-of-contract"
GUARDED_IN, GUARDED_OUT = "guarded-in", "guarded-out"
COSTLY, FRAGILE, FALLS_BACK, FALLS_NOWHERE = "costly", "fragile", "falls-back", "falls-nowhere"
UNSAID, OUTSIDE = "says-nothing-of-guards", "stands-outside"
_NOBODY = "http://127.0.0.1:9/v1"
"""Where nothing listens."""
WITHDREW = "one-who-withdrew"
_DAY = 86_400 * 1_000_000
AGO = 10 * _DAY
"""Microseconds that control's clock is behind."""


class Detecting:
    """The gateway's detectors, with a switch: `alive` is what a proof turns off."""

    def __init__(self) -> None:
        self.alive = True
        self._shipped = shipped()

    def detectors(self) -> Detectors:
        """The shipped ones, each behind the switch; what does not ship is missing here too."""
        rules, injection = self._shipped.rules, self._shipped.injection
        return replace(
            self._shipped,
            rules=self._switched(rules) if rules else None,
            injection=self._switched(injection) if injection else None,
        )

    def _switched(self, detect: Callable[..., Any]) -> Callable[..., Any]:
        def look(*asked: Any) -> Any:
            if not self.alive:
                raise RuntimeError("switched off by its proof")
            return detect(*asked)

        return look


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """What the proofs work on."""

    home: Home
    parts: Parts
    control: str
    gateway: str
    """Their URLs."""
    provider: FakeUpstream
    """What stands behind the services: it keeps every request that reached it."""
    serving_key: str
    expired_key: str
    """Good by control's clock, over by the gateway's."""
    guarded_key: str
    """One whose requests are guarded wherever they go."""
    cleared_key: str
    """One for what is Internal at most."""
    control_key: str
    issuer: Issuer
    """An identity provider whose tokens count."""
    authority: Authority
    """A CA whose client certificates count."""
    secure: Callable[[], AbstractContextManager[str]]
    """One more gateway, which speaks TLS; its URL."""
    engine: Callable[[str, Any], AbstractContextManager[None]]
    """An engine of this serving digest, as the app that answers for it."""
    detecting: Detecting

    @property
    def ground(self) -> Ground:
        """Control's rows, keys and files."""
        return self.parts.ground

    def look(self, key: str) -> int:
        """How control answers somebody who asks who they are."""
        with httpx.Client(trust_env=False, timeout=20) as http:
            asked = http.get(f"{self.control}/api/me", headers={"authorization": f"Bearer {key}"})
        return asked.status_code

    def ask(
        self,
        service: str = SERVICE,
        *,
        key: str | None = None,
        subject: str = "",
        words: str = "is anybody there?",
        stream: bool = False,
        **more: Any,
    ) -> httpx.Response:
        """One question to the gateway, as any client would ask it; `more` fields as they are."""
        headers = {"authorization": f"Bearer {key or self.serving_key}", "x-freehold-purpose": PURPOSE}
        headers |= {"x-freehold-subject": subject} if subject else {}
        body = {"model": service, "messages": [{"role": "user", "content": words}], "stream": stream}
        body |= more
        with httpx.Client(trust_env=False, timeout=20) as http:
            return http.post(f"{self.gateway}/v1/chat/completions", headers=headers, json=body)

    def show(self, url: str, pair: Pair | None) -> int:
        """How a gateway that speaks TLS answers who shows this certificate and no key; 0: it hangs up."""
        context = trusting(str(self.authority.file))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        headers = {"x-freehold-purpose": PURPOSE}
        body = {"model": SERVICE, "messages": [{"role": "user", "content": "is anybody there?"}]}
        try:
            with httpx.Client(verify=context, trust_env=False, timeout=20) as http:
                return http.post(f"{url}/v1/chat/completions", headers=headers, json=body).status_code
        except httpx.TransportError:
            return 0


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """Make one, and remove it."""
    with tempfile.TemporaryDirectory(prefix="freehold-doctor-") as folder, contextlib.ExitStack() as held:
        home = Home(Path(folder).resolve() / "d")
        made = first_run.create(home, Config(), clock=_ago)
        parts = held.enter_context(open_parts(home, Config(), clock=_ago))
        loop = held.enter_context(_loop())
        provider = FakeUpstream()
        url = held.enter_context(_standing(loop, provider))
        issuer, authority = Issuer(), Authority(Path(folder).resolve() / "ca")
        key, expired, guarded, cleared = _populate(parts.ground, url, issuer, authority)
        parts.sequencer.run_once()  # a snapshot is handed out once its entry has its place
        control = held.enter_context(_standing(loop, build(parts), parts.leave))
        detecting = Detecting()
        beginning = partial(_gateway, loop, home, control, detecting)
        made_up = Scratch(
            home=home,
            parts=parts,
            control=control,
            gateway=held.enter_context(beginning()),
            authority=authority,
            secure=partial(beginning, authority.host()),
            engine=partial(_engine, loop, home),
            provider=provider,
            serving_key=key,
            expired_key=expired,
            guarded_key=guarded,
            cleared_key=cleared,
            issuer=issuer,
            control_key=made.administrator_key,
            detecting=detecting,
        )
        _await(made_up)
        yield made_up


def _await(made: Scratch, patience: float = 15.0) -> None:
    """Until the gateway serves by its first snapshot; what a proof finds then is the control's doing."""
    deadline = time.monotonic() + patience
    while made.ask().status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.05)


def _ago() -> int:
    return now() - AGO


def _populate(
    ground: Ground, provider: str, issuer: Issuer, authority: Authority
) -> tuple[str, str, str, str]:
    """A project with attached services, one of which has a contract that ended; keys to ask with."""
    with ground.db.write() as tx:
        projects.add(tx, by=SYSTEM, name=PROJECT)
        owner = people.find(tx.connection, first_run.FIRST_ADMINISTRATOR).id
        for service, said in _SERVICES:
            attach(tx, ground, by=SYSTEM, asked=_attachment(service, provider, owner, said))
        _let_out(tx, OUTSIDE)
        who = ground.keyring.subject(PROJECT, WITHDREW)
        consent.withdraw(tx, by=SYSTEM, project=PROJECT, subject=who, purpose=PURPOSE)
        key = keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project=PROJECT)
        until = _ago() + 3 * _DAY
        expired = keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project=PROJECT, expires_at=until)
        least = ("in.pii=mask",)
        guarded = keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project=PROJECT, guard=least)
        inner = Sensitivity.INTERNAL
        cleared = keys.create(tx, by=SYSTEM, owner=owner, zone="serving", project=PROJECT, sensitivity=inner)
        restricted = Floor(sensitivity=int(Sensitivity.RESTRICTED), guard=least)
        floors.guard(tx, by=SYSTEM, name=PROJECT, floor=restricted)
        callers = Callers(tokens=issuer.tokens(PROJECT), certificates=authority.callers(PROJECT))
        declare(tx, ground, callers=callers, keys=issuer.keys(), ca=authority.file.read_text())
    return key.text, expired.text, guarded.text, cleared.text


def _let_out(tx: Tx, service: str) -> None:
    """Make it Restricted, as an earlier Freehold attached it: a contract could allow that."""
    one = services.c.name == service
    before = tx.execute(sa.select(services).where(one)).mappings().one()
    said = {**json.loads(before["spec"]), "sensitivity": Sensitivity.RESTRICTED.word}
    written = {"spec": canonical(said).decode(), "spec_digest": digest(said)}
    tx.execute(services.update().where(one).values(sensitivity=int(Sensitivity.RESTRICTED), **written))
    detail = {"service": service, "spec": digest(said), "region": None, "contract": None}
    detail |= {"before": before["spec_digest"]}
    record(tx, "service.attached", by=SYSTEM, object=service, project=PROJECT, detail=detail)


_SERVICES: tuple[tuple[str, dict[str, Any]], ...] = (
    (SERVICE, {}),
    (ENDED, {"region": "eu"}),
    (
        GUARDED_IN,
        {"guard": ("in.pii=mask", "in.secrets=refuse", "in.injection=refuse", "in.documents=no-tools")},
    ),
    (GUARDED_OUT, {"guard": ("out.pii=mask", "out.secrets=refuse")}),
    (UNSAID, {"sensitivity": "Restricted"}),
    # of its addresses one is outside, where nobody is: the proof would see words at the other one
    (OUTSIDE, {"model": "fake-5", "also": ("https://outside.invalid/v1",)}),
    # one answer, and then not the 4,096 tokens that the next one could take
    (COSTLY, {"price_out": "100", "spend": "409.7 EUR/day"}),
    (FRAGILE, {"model": "fake-2"}),
    ("stands-in", {"model": "fake-3", "sensitivity": "Confidential"}),
    ("stood-in", {"model": "fake-4", "sensitivity": "Confidential"}),
    (FALLS_BACK, {"sensitivity": "Confidential", "url": _NOBODY, "fallback": ("stands-in",)}),
    (FALLS_NOWHERE, {"sensitivity": "Confidential", "url": _NOBODY, "fallback": ("stood-in",)}),
    # was named while it was allowed Confidential words
    ("stood-in", {"model": "fake-4", "sensitivity": "Internal", "replace": True}),
)
"""Each with what is said of it, one after the other."""


def _attachment(service: str, provider: str, owner: str, said: dict[str, Any]) -> Attachment:
    given = {"url": f"{provider}/v1", "model": MODEL, **said}
    contract = _contract() if service == ENDED else ""
    return Attachment(
        service=service, project=PROJECT, purpose=PURPOSE, owner=owner, contract=contract, **given
    )


def _contract() -> str:
    ended = dt.datetime.fromtimestamp(_ago() / 1_000_000, dt.UTC).date() + dt.timedelta(days=3)
    return (
        f"party: Nobody Ltd\nuntil: {ended}\npurposes: [{PURPOSE}]\nregions: [eu]\nsensitivity: Restricted\n"
    )


# -- processes, in threads ------------------------------------------------------------------------------


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="doctor", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def _standing(
    loop: asyncio.AbstractEventLoop, app: Any, before: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """An ASGI app on a port of this machine; `before` it leaves, whoever waits in it is told."""
    with _listening() as listener, _served(loop, app, listener, before):
        yield _url(listener)


@contextlib.contextmanager
def _engine(loop: asyncio.AbstractEventLoop, home: Home, digest: str, app: Any) -> Iterator[None]:
    """An ASGI app where gateways look for the engine of `digest`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(socket_address(socket_of(home.run, digest)))
        listener.listen(64)
        with _served(loop, app, listener):
            yield


@contextlib.contextmanager
def _served(
    loop: asyncio.AbstractEventLoop,
    app: Any,
    listener: socket.socket,
    before: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    import uvicorn

    config = uvicorn.Config(
        app, lifespan="off", log_config=None, ws="none", http="httptools", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    done = asyncio.run_coroutine_threadsafe(server.serve(sockets=[listener]), loop)
    try:
        yield
    finally:
        before()
        server.should_exit = True
        done.result(10)


@contextlib.contextmanager
def _gateway(
    loop: asyncio.AbstractEventLoop,
    home: Home,
    control: str,
    detecting: Detecting,
    tls: Pair | None = None,
) -> Iterator[str]:
    """The gateway itself, with its spool, its rules and its edge; only its process is shared with ours."""
    bounds = Bounds(linger=0.05, drain=2, ship=0.1, record=3, connect=2)
    ready, edges = threading.Event(), list[EdgeServer]()
    with _listening() as listener:
        serving: Coroutine[Any, Any, None] = serve(
            listener,
            home,
            control,
            ready.set,
            bounds,
            told=edges.append,
            detectors=detecting.detectors,
            tls=tls,
        )
        done = asyncio.run_coroutine_threadsafe(serving, loop)
        done.add_done_callback(lambda _done: ready.set())
        ready.wait(20)
        if done.done():
            done.result()
        try:
            yield _url(listener).replace("http:", "https:" if tls else "http:")
        finally:
            loop.call_soon_threadsafe(edges[0].leave)
            with contextlib.suppress(Exception):  # its spool was made unwritable: that is what was proved
                done.result(20)


def _listening() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
