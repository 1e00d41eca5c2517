"""A gateway process in a thread, over real sockets, with a control that keeps what it is sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.engines.fake import FakeEngine
from freehold.engines.fake_generator import FakeGenerator
from freehold.engines.host import Host
from freehold.engines.package import Package
from freehold.engines.text_app import TextApp
from freehold.engines.upstream_fake import FakeUpstream
from freehold.gateway.app import Gateway
from freehold.gateway.bounds import Bounds
from freehold.gateway.elapsed import Elapsed, elapsed
from freehold.gateway.guards import Detectors, shipped
from freehold.gateway.http import EdgeServer
from freehold.gateway.rulebook import Rulebook
from freehold.gateway.rules import Rules
from freehold.gateway.run import serve
from freehold.gateway.upstream import socket_of
from freehold.spec.answer import Words
from freehold.spec.ids import canonical, digest_bytes, new_id, now
from freehold.spec.keys import KeyText
from freehold.spec.model import About, Manifest
from freehold.spec.snapshot import (
    NO_GUARD,
    PAYLOAD_TYPE,
    Column,
    KeyView,
    Most,
    Pages,
    Route,
    ServiceView,
    Snapshot,
    Target,
    Withdrawal,
    page_of,
)
from freehold.store import hpke
from freehold.store.ballast import Room
from freehold.store.frames import read_one
from freehold.store.home import Home
from freehold.store.sealed import unseal
from freehold.store.signing import sign
from freehold.store.spooled import WORDS_KEY, Began, Ended, Spooled, unpack
from freehold.tls import Pair
from tests.support.serving import Prompt

TEXT = (Column(name="text", datatype="BYTES"),)
COLUMNS = (
    Column(name="age", datatype="FP64"),
    Column(name="claims", datatype="INT64"),
    Column(name="member", datatype="BOOL"),
)
CLASSES = ("fire", "property", "water")
LOOKUP = b"L" * 32
NO_LIMIT = Most()
PATHS = {"openai": "/v1", "azure": "/openai/v1", "anthropic": "/v1", "gemini": "/v1beta"}
QUICK = Bounds(linger=0.05, drain=5, ship=2, record=3, connect=2, silence=2)


def hmac_of(person: str) -> str:
    """Who a person is to gateways and control."""
    return hmac.new(LOOKUP, person.encode(), hashlib.sha256).hexdigest()


def read(book: Rulebook, envelope: bytes) -> Rules | None:
    """The rules it makes with what is here of its pages; None for one that is not newer."""
    arriving = book.begin(envelope)
    return book.finish(arriving) if arriving is not None else None


class Loop:
    """An event loop in a thread: for servers that stand beside a test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def begin(self, work: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Standing:
    """An ASGI app served on a socket by a loop."""

    def __init__(self, loop: Loop, app: Any, listener: socket.socket, shown: Pair | None = None) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            ws="none",
            http="httptools",
            ssl_certfile=shown and shown.certificate,
            ssl_keyfile=shown and shown.key,
        )
        self._server = Prompt(config, patience=0.2)  # who asked has left before
        self._server.capture_signals = _no_signals  # type: ignore[method-assign]
        self._done = loop.begin(self._server.serve(sockets=[listener]))

    def leave(self) -> None:
        """Begin to go."""
        self._server.leave()

    def stop(self) -> None:
        self.leave()
        self._done.result(10)


def _no_signals() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def listening() -> tuple[socket.socket, str]:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


class FakeControl:
    """The border as a gateway sees it: hands out one snapshot, keeps frames, can be away."""

    def __init__(self) -> None:
        self.envelope: tuple[int, bytes] | None = None
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        """The digests of pages that were asked for."""
        self.away = False
        self.taken: dict[str, int] = {}
        self.records: list[Spooled] = []
        self.reports: list[dict[str, Any]] = []
        self.applied: dict[str, int] = {}
        """Gateway -> what it serves by."""
        self.left: list[str] = []
        self.polls_refused = 0
        self.changed = threading.Condition()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        path = scope["path"]
        if self.away:
            with self.changed:
                self.polls_refused += path == "/border/snapshot"
                self.changed.notify_all()
            await self._reply(send, 503, b"{}")
        elif path == "/border/snapshot":
            await self._news(int(scope["query_string"].decode().partition("=")[2]), send)
        elif path == "/border/pages":
            with self.changed:
                wanted = parse_qs(scope["query_string"].decode())["digest"]
                self.asked += wanted
                self.changed.notify_all()
            await self._reply(send, 200, b"\n".join(self.pages.get(digest, b"") for digest in wanted))
        elif path.startswith("/border/spool/"):
            taken = self._take(path.removeprefix("/border/spool/"), body)
            await self._reply(send, 200, json.dumps({"sequence": taken}).encode())
        else:
            with self.changed:
                if scope["method"] == "POST":
                    assert (b"content-type", b"application/json") in scope["headers"]
                    self.reports.append(json.loads(body))
                    self.applied[path.removeprefix("/border/gateways/")] = self.reports[-1]["applied"]
                else:
                    self.left.append(path.removeprefix("/border/gateways/"))
                self.changed.notify_all()
            await self._reply(send, 200, b"null")

    async def _news(self, after: int, send: Any) -> None:
        for _ in range(200):
            if self.away:
                return await self._reply(send, 503, b"{}")
            if self.envelope and self.envelope[0] > after:
                return await self._reply(send, 200, self.envelope[1])
            await asyncio.sleep(0.01)
        return await self._reply(send, 204, b"")

    def _take(self, spool: str, data: bytes) -> int:
        offset = 0
        with self.changed:
            while offset < len(data):
                read = read_one(data, offset)
                assert not isinstance(read, str)
                frame, offset = read
                if frame.sequence > self.taken.get(spool, 0):
                    self.taken[spool] = frame.sequence
                    if frame.payload:
                        self.records.append(unpack(frame.payload))
            self.changed.notify_all()
        return self.taken.get(spool, 0)

    async def _reply(self, send: Any, status: int, body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def wait(self, condition: Callable[[], Any], seconds: float = 10) -> Any:
        """Until `condition` holds, looked at whenever something arrived."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), "control waited in vain"
            return condition()


class Site:
    """A serving zone: its keys, its rules as tests write them, its gateway and upstreams."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "fh")
        self.home.create()
        self.release_key = Ed25519PrivateKey.generate()
        self.home.release_pub.write_bytes(self.release_key.public_key().public_bytes_raw())
        self.gateway_public = hpke.new_key_file(self.home.gateway_key)
        self.spool_public = hpke.new_key_file(self.home.spool_key)
        self.home.gateway_border.write_text(KeyText.new("border", new_id("key")).text)
        self.room = Room(used=0.1, free=1 << 40)
        self.loop = Loop()
        self.control = FakeControl()
        listener, self.control_url = listening()
        self._standing = [Standing(self.loop, self.control, listener)]
        self.keys: list[KeyView] = []
        self.services: dict[str, ServiceView] = {}
        self.withdrawals: list[Withdrawal] = []
        self.revoked: list[str] = []
        self.callers: dict[str, Any] = {}
        """Who may ask beside the holders of keys, as fields of the snapshot."""
        self.tls: Pair | None = None
        self.ix = 0
        self.elapsed: Elapsed = elapsed
        self.detectors: Callable[[], Detectors] = shipped
        self._held: list[socket.socket] = []
        self.listener, self.url = listening()
        self._gateways: list[tuple[Future[Any], EdgeServer]] = []

    # -- rules ----------------------------------------------------------------------------------------

    def key(self, project: str = "claims", **fields: Any) -> str:
        text = KeyText.new("serving", new_id("key"))
        view = KeyView(
            id=text.id,
            secret_digest=text.digest,
            owner="per_1",
            project=project,
            services=tuple(fields.get("services", ())),
            purpose=fields.get("purpose"),
            expires_at=fields.get("expires_at"),
            most=fields.get("most", NO_LIMIT),
            guard_in=fields.get("guard_in", NO_GUARD),
            guard_out=fields.get("guard_out", NO_GUARD),
            sensitivity=fields.get("sensitivity"),
        )
        self.keys.append(view)
        return text.text

    def own(self, name: str = "triage", columns: tuple[Column, ...] = TEXT, **fields: Any) -> ServiceView:
        """A service answered by the fake engine, standing already."""
        task = "classify" if columns is TEXT else "tabular"
        target = self.engine(f"{name}-model", columns, task)
        return self._service(name, target, task=task, kind="own", inputs=columns, classes=CLASSES, **fields)

    def engine(
        self,
        name: str,
        columns: tuple[Column, ...] = TEXT,
        task: str = "classify",
        classes: tuple[str, ...] = CLASSES,
        app: Any = None,
    ) -> Target:
        """A fake engine on its socket, or `app` in its place."""
        about = About(
            task=task,  # type: ignore[arg-type]
            trainer="linear",
            inputs=columns,
            classes=classes,
            data=f"{name}@1",
            data_digest="sha256:" + "0" * 64,
            run="run_1",
        )
        manifest = Manifest(
            model="mdl_1", name=name, version=1, files=(), about=about, engine="fake 1", engine_flags={}
        )
        target = Target(kind="engine", name=name, serving_digest=manifest.serving_digest)
        path = socket_of(self.home.run, target.serving_digest)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1024)
        host = app or Host(Package(manifest=manifest, files={}), FakeEngine.load(about, {}))
        self._standing.append(Standing(self.loop, host, listener))
        return target

    def writes(self, name: str = "letters", app: Any = None, **fields: Any) -> ServiceView:
        """A service that writes text, answered by the fake generator, or by `app` in its place."""
        manifest = writer(name)
        target = Target(kind="engine", name=name, serving_digest=manifest.serving_digest)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(socket_of(self.home.run, target.serving_digest)))
        listener.listen(1024)
        served = app or TextApp(manifest, FakeGenerator(manifest.about))
        self._standing.append(Standing(self.loop, served, listener))
        return self._service(name, target, task="generate", kind="own", inputs=TEXT, **fields)

    def attached(
        self, upstream: str, name: str = "chat", secret: str | None = None, **fields: Any
    ) -> ServiceView:
        """A service answered by a provider at `upstream`."""
        of_target = (
            "contract_until",
            "price_in",
            "price_out",
            "api",
            "region",
            "inside",
            "serving_digest",
            "also",
            "ca",
        )
        given = {k: fields.pop(k) for k in of_target if k in fields}
        given.setdefault("serving_digest", "sha256:" + "a" * 64)
        sealed = ""
        if secret:
            sealed = base64.b64encode(
                hpke.seal_to(self.gateway_public, secret.encode(), f"provider/{name}".encode())
            ).decode()
        target = Target(
            kind="provider",
            name="fake-1",
            url=upstream + PATHS[given.get("api", "openai")],
            secret=sealed,
            **given,
        )
        return self._service(name, target, task="generate", kind="attached", **fields)

    def _service(self, name: str, target: Target, **fields: Any) -> ServiceView:
        given = {
            "project": "claims",
            "purpose": "claims-handling",
            "sensitivity": 3,
            "tier": "limited",
            "subject": "optional",
            "state": "live",
            "routes": (Route(release=new_id("rel"), weight=10_000, target=target),),
            **fields,
        }
        self.services[name] = ServiceView(name=name, **given)
        return self.services[name]

    def shadowed(self, name: str, target: Target) -> str:
        """Have a service's requests copied to a target; the shadow's release."""
        release = new_id("rel")
        self.change(name, shadow=Route(release=release, weight=0, target=target))
        return release

    def change(self, name: str, **fields: Any) -> None:
        self.services[name] = replace(self.services[name], **fields)

    def envelope(self, **fields: Any) -> bytes:
        """The next snapshot, signed."""
        self.ix += 1
        projects = {s.project for s in self.services.values()} | {"claims"}
        lookup = {
            p: base64.b64encode(hpke.seal_to(self.gateway_public, LOOKUP, f"lookup/{p}".encode())).decode()
            for p in projects
        }
        said = {
            "ix": self.ix,
            "entry": new_id("ent"),
            "issued_at": now(),
            "origin": "freehold.test/1",
            "spool_key": base64.b64encode(self.spool_public).decode(),
            "lookup": lookup,
            "keys": tuple(self.keys),
            "services": tuple(self.services.values()),
            "withdrawals": tuple(self.withdrawals),
            "revoked": tuple(self.revoked),
            **self.callers,
            **fields,
        }
        payload = canonical(Snapshot(**said).as_json())
        return canonical(sign(self.release_key, PAYLOAD_TYPE, payload).as_json())

    def spread(self) -> bytes:
        """As `envelope`, with keys and withdrawals on pages; control has those from now on."""
        said: dict[str, Any] = {"keys": (), "withdrawals": ()}
        for field, records in (("key_pages", self.keys), ("withdrawal_pages", self.withdrawals)):
            by_page: dict[str, list[Any]] = {}
            for record in records:
                by_page.setdefault(page_of(record.id), []).append(asdict(record))
            texts = {name: canonical(some) for name, some in by_page.items()}
            self.control.pages |= {digest_bytes(text): text for text in texts.values()}
            digests = {name: digest_bytes(text) for name, text in texts.items()}
            said[field] = Pages(form="test" if digests else "", digests=digests)
        return self.envelope(**said)

    def publish(self, envelope: bytes | None = None) -> None:
        """Hand the rules to control, and wait until every gateway decides by them."""
        envelope = envelope or self.envelope()
        self.control.envelope = (self.ix, envelope)
        if self._gateways:
            self.applied(self.ix)

    def applied(self, ix: int) -> None:
        """Until a gateway says that it serves by this snapshot, engines that stand included."""
        standing = [
            r.target.serving_digest
            for s in self.services.values()
            for r in (*s.routes, *([s.shadow] if s.shadow else []))
            if r.target.serving_digest not in self.revoked
            and socket_of(self.home.run, r.target.serving_digest).exists()
        ]
        self.control.wait(
            lambda: any(
                report["applied"] >= ix and all(report["engines"].get(d) == "ready" for d in standing)
                for report in self.control.reports
            )
        )

    # -- processes ------------------------------------------------------------------------------------

    def up(self, bounds: Bounds = QUICK) -> str:
        """Start a gateway on the site's socket, as a process would; returns its URL."""
        ready = threading.Event()
        edges: list[EdgeServer] = []
        listener = socket.socket(fileno=os.dup(self.listener.fileno()))
        done = self.loop.begin(
            serve(
                listener,
                self.home,
                self.control_url,
                ready.set,
                bounds,
                told=edges.append,
                elapsed=self.elapsed,
                detectors=self.detectors,
                room=lambda _folder: self.room,
                tls=self.tls,
            )
        )
        done.add_done_callback(lambda _done: ready.set())
        assert ready.wait(10)
        if done.done():
            done.result()
        self._gateways.append((done, edges[0]))
        if self.control.envelope:
            self.applied(self.ix)
        return self.url

    @property
    def gateway(self) -> Gateway:
        """The one that runs, or the oldest of them."""
        app: Gateway = self._gateways[0][1].config.app  # type: ignore[assignment]  # as uvicorn takes any
        return app

    def down(self) -> None:
        """Tell the oldest gateway to leave, and wait until it has."""
        done, edge = self._gateways.pop(0)
        self.loop.loop.call_soon_threadsafe(edge.leave)
        done.result(20)

    def upstream(self, key: str | None = None) -> tuple[FakeUpstream, str]:
        """A fake provider standing at a URL."""
        fake = FakeUpstream(key)
        return fake, self.stands(fake)

    def stands(self, app: Any, shown: Pair | None = None) -> str:
        """Serve an app, by TLS where a certificate is shown; its URL."""
        listener, url = listening()
        self._standing.append(Standing(self.loop, app, listener, shown))
        return url.replace("http:", "https:") if shown else url

    def nobody(self) -> str:
        """A URL where nobody listens, nor will: one that was let go may be somebody's a moment later."""
        held = socket.socket()
        held.bind(("127.0.0.1", 0))
        self._held.append(held)
        return f"http://127.0.0.1:{held.getsockname()[1]}"

    def close(self) -> None:
        while self._gateways:
            self.down()
        self.control.away = True
        for standing in self._standing:
            standing.leave()
        for standing in self._standing:
            standing.stop()
        self.loop.close()
        self.listener.close()
        for held in self._held:
            held.close()

    def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Until `condition` holds; looked at now and then, where nothing tells."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.01)

    # -- what was recorded ----------------------------------------------------------------------------

    def closed(self, answer: str) -> Ended:
        """The end of an answer, once control has it."""
        found: Ended = self.control.wait(lambda: self._ended(answer))
        return found

    def begun(self, answer: str) -> Began:
        self.closed(answer)
        return next(r for r in self.control.records if isinstance(r, Began) and r.intent.answer == answer)

    def _ended(self, answer: str) -> Ended | None:
        ends = [r for r in self.control.records if isinstance(r, Ended) and r.close.answer == answer]
        return ends[-1] if ends else None

    def words(self, ended: Ended) -> Words:
        assert ended.words is not None
        key = hpke.open_with(self.home.spool_key.read_bytes(), ended.words.key, WORDS_KEY)
        plain = unseal(key, ended.words.sealed, ended.close.answer.encode())
        return msgspec.msgpack.decode(plain, type=Words)


def writer(name: str) -> Manifest:
    """A model that writes text, as signed for the fake engine."""
    about = About(
        task="generate",
        trainer="lora",
        inputs=TEXT,
        classes=(),
        data=f"{name}@1",
        data_digest="sha256:" + "0" * 64,
        run="run_1",
        features={"kind": "chat", "max_new_tokens": 64, "max_length": 512},
    )
    return Manifest(
        model="mdl_1", name=name, version=1, files=(), about=about, engine="fake 1", engine_flags={}
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, trust_env=False) as client:
        yield client
