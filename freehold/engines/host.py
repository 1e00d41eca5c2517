"""The engine process: one verified model behind a Unix socket, speaking the Open Inference Protocol.

    python -m freehold.engines.host --model DIR --envelope FILE --evidence FILE --release-pub FILE \
        --rules FILE --socket PATH

The socket appears when the model answers as it was evaluated, not before: whoever can connect can ask.
Loading what does not verify, or is revoked, ends the process with exit code 8 and the reason on stderr.
(Generators on torch share their base, and have a process of their own kind: engines.torch_host.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.engines import identity, oip, parity, probes, revoked
from freehold.engines.fake import FakeEngine
from freehold.engines.fake_generator import FakeGenerator
from freehold.engines.package import Package, read_verified
from freehold.engines.protocol import CannotAnswer, Engine
from freehold.engines.text_app import Served, TextApp
from freehold.errors import Failure, NotFound, OverLimit, Tampered, Unavailable
from freehold.spec.model import Manifest
from freehold.store.home import socket_address
from freehold.store.signing import Envelope

MAX_BODY = 16 * 1024 * 1024
INLINE_ROWS, INLINE_BYTES = 8, 16 * 1024
"""Up to here an answer is quicker than handing it to a thread."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class TooLarge(OverLimit):
    """the request has more than {limit} bytes"""

    status = 413


class NoSuchPath(NotFound):
    """there is no `{name}` here"""


class CannotVerify(Tampered):
    """the model cannot be verified"""


class EngineBroke(Failure):
    """the engine broke at this request"""


class SocketUnusable(Unavailable):
    """the socket `{path}` cannot be used"""


def open_engine(package: Package) -> Engine:
    """The engine the manifest names, loaded and proved by its probes.

    Raises OtherEngine, ModelUnreadable or AnswersDiffer.
    """
    identity.refuse_other(package.manifest)
    engine: Engine
    if identity.name_of(package.manifest) == "fake":
        engine = FakeEngine.load(package.manifest.about, package.files)
    else:
        from freehold.engines.onnx import OnnxEngine

        engine = OnnxEngine.load(package.manifest.about, package.files)
        engine.infer({name: [value] for name, value in probes.empty_request(engine.metadata()).items()})
        probes.prove(engine, package.files)
    return engine


def open_app(package: Package, evidence: Mapping[str, Any] | None) -> tuple[Host | TextApp, Engine | Served]:
    """The app over a verified model that answers as its evidence says, and what to close in the end.

    Raises as `open_engine` does, and NoEvidence or OtherThanEvaluated.
    """
    manifest = package.manifest
    if manifest.about.task == "generate":
        identity.refuse_other(manifest)
        generator = FakeGenerator.load(manifest.about, package.files)
        return TextApp(manifest, generator), generator
    if evidence is not None:
        parity.refuse(parity.compare(evidence["parts"], parity.parts(manifest)))
    engine = open_engine(package)
    if evidence is not None:
        parity.prove(engine, manifest, evidence)
    return Host(package, engine), engine


class Host:
    """The ASGI app over one engine. It does not know who asks."""

    def __init__(self, package: Package, engine: Engine) -> None:
        self._manifest = package.manifest
        self._engine = engine
        # two services whose training gave the same bytes share one engine: the digest is what both know
        self._names = frozenset((package.manifest.name, package.manifest.serving_digest))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; every failure leaves in the protocol's own shape."""
        try:
            status, said = await self._answer(scope["method"], scope["path"], receive)
        except Failure as failure:
            status, said = failure.status, oip.error(failure)
        except Exception as error:
            # never its message: it may hold a value; whoever asked still gets the protocol's shape
            sys.stderr.write(f"freehold engine: a request broke: {type(error).__name__}\n")
            status, said = EngineBroke.status, oip.error(EngineBroke(why=type(error).__name__))
        body = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, method: str, path: str, receive: Receive) -> tuple[int, dict[str, Any]]:
        match method, self._place(path):
            case "GET", ["v2"]:
                return 200, oip.server()
            case "GET", ["v2", "health", "live" | "ready"]:
                return 200, {}
            case "GET", ["v2", "models", _, "ready"]:
                return 200, {}
            case "GET", ["v2", "models", _]:
                return 200, self._metadata()
            case "POST", ["v2", "models", _, "infer"]:
                return 200, await self._infer(await _body(receive))
        raise NoSuchPath(kind="path", name=f"{method} {path[:80]}")

    def _place(self, path: str) -> list[str]:
        """The path's parts without the version; raises NoSuchPath for another model than ours."""
        parts = path.strip("/").split("/")
        manifest = self._manifest
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            if parts[2] not in self._names:
                raise NoSuchPath(kind="model", name=parts[2][:80])
            if parts[3:4] == ["versions"]:
                if parts[4:5] != [str(manifest.version)]:
                    raise NoSuchPath(kind="version", name="/".join(parts[2:5])[:80])
                del parts[3:5]
        return parts

    def _metadata(self) -> dict[str, Any]:
        m = self._manifest
        return oip.metadata(m.about, m.name, m.version, m.engine, m.serving_digest)

    async def _infer(self, body: bytes) -> dict[str, Any]:
        if len(body) <= INLINE_BYTES:
            asked = oip.read_request(body, self._manifest.about)
            rows = max(len(values) for values in asked.columns.values())
            if rows <= INLINE_ROWS:
                return self._respond(asked)
            return await asyncio.to_thread(self._respond, asked)
        return await asyncio.to_thread(self._read_and_respond, body)

    def _read_and_respond(self, body: bytes) -> dict[str, Any]:
        return self._respond(oip.read_request(body, self._manifest.about))

    def _respond(self, asked: oip.Asked) -> dict[str, Any]:
        manifest = self._manifest
        answers = self._engine.infer(asked.columns)
        return oip.response(manifest.about, manifest.name, manifest.version, asked, answers)


async def _body(receive: Receive) -> bytes:
    """The whole body; stops reading at the limit, whatever length was announced."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CannotAnswer(why="the caller hung up")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise TooLarge(limit=MAX_BODY, hint="send fewer rows at a time")
        if not message.get("more_body"):
            return b"".join(parts)


def main(argv: Sequence[str]) -> int:
    """Verify, load, prove, serve until SIGTERM. The exit code is that of the failure, 0 when drained."""
    options = _parser().parse_args(argv)
    try:
        package = _verified(options)
        app, engine = open_app(package, _evidence(options, package.manifest))
        try:
            _serve(app, Path(options.socket))
        finally:
            engine.close()
    except Failure as failure:
        sys.stderr.write(f"freehold engine: {failure}\n")
        return failure.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m freehold.engines.host")
    parser.add_argument("--model", required=True, help="the model's folder")
    parser.add_argument("--envelope", required=True, help="its signed manifest, DSSE JSON")
    parser.add_argument("--evidence", default="", help="how it answered when it was evaluated, DSSE JSON")
    parser.add_argument("--release-pub", required=True, help="32 raw bytes of the pinned Ed25519 key")
    parser.add_argument("--rules", required=True, help="the newest snapshot, DSSE JSON: what it revokes")
    parser.add_argument("--socket", required=True, help="where to listen")
    return parser


def _verified(options: argparse.Namespace) -> Package:
    public = read_public(Path(options.release_pub))
    package = read_verified(Path(options.model), read_envelope(Path(options.envelope)), public)
    revoked.refuse(Path(options.rules), public, package.manifest.serving_digest)
    return package


def _evidence(options: argparse.Namespace, manifest: Manifest) -> Mapping[str, Any] | None:
    """None for the fake alone: it has no answers that could be evaluated."""
    if identity.name_of(manifest) == "fake":
        return None
    return parity.read(Path(options.evidence), read_public(Path(options.release_pub)), manifest)


def read_envelope(path: Path) -> Envelope:
    """A signed manifest from its file. Raises CannotVerify or SignatureWrong."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CannotVerify(why=f"its signed manifest `{path.name}` cannot be read") from error
    return Envelope.from_json(said)


def read_public(path: Path) -> Ed25519PublicKey:
    """The pinned public key from its file. Raises CannotVerify."""
    try:
        return Ed25519PublicKey.from_public_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CannotVerify(
            why=f"the release key `{path.name}` cannot be read",
            hint="it is 32 bytes, written when this installation was made",
        ) from error


def _serve(app: Host | TextApp, path: Path) -> None:
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=300,  # only the gateway calls, and it keeps its connections
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)
    # remembered from before anybody can connect until after uvicorn, which raises it again in the end. An
    # exception raised here instead would be lost wherever the interpreter ignores some, as in an import
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    listener = listen(path)
    try:
        server.run(sockets=[listener])
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def listen(path: Path) -> socket.socket:
    """Listen under another name and rename: the socket is never there without somebody behind it."""
    waiting = path.with_name(f".{path.name}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        waiting.unlink(missing_ok=True)
        listener.bind(socket_address(waiting))
        os.chmod(waiting, 0o600)
        listener.listen(2048)
        os.replace(waiting, path)
    except OSError as error:
        listener.close()
        raise SocketUnusable(
            path=path,
            why=error.strerror or str(error),
            hint="a socket's path has 107 bytes at most: work in its folder, or choose a shorter one"
            if len(socket_address(waiting)) > 107
            else "",
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
