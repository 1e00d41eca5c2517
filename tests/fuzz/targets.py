"""What is fuzzed: every reader of bytes that come from outside, as a function that fails in known ways only.

A target takes any bytes. It returns, or the reader under test said no in the words it promises (a
`Failure`, mostly); whatever else leaves a target is a finding. `run` drives them with atheris, guided by
coverage; `test_fuzz` with changed seeds, in every run of the suite.
"""

from __future__ import annotations

import io
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.data.reading import Faults, open_reader
from freehold.errors import Failure
from freehold.gateway.answering import Answering
from freehold.gateway.asked import Asked, Heads, read_chat, read_infer
from freehold.gateway.dialects.dialect import CHAT, EMBEDDINGS, MODERATIONS, RESPONSES, TEXT, Sent
from freehold.gateway.dialects.known import DIALECTS
from freehold.gateway.guard_out import go_out
from freehold.gateway.guards import CameIn, Tokens, Verdicts, come_in, shipped
from freehold.gateway.questions import read_question
from freehold.gateway.spend import Tally
from freehold.gateway.upstream import Upstreams
from freehold.gateway.wire import Answer
from freehold.ledger.notes import sign_checkpoint, verifier_key
from freehold.ledger.tiles import Tile, TileFolder, unbundle
from freehold.spec import limits
from freehold.spec.ids import check_name, parse_reference
from freehold.spec.keys import KeyText
from freehold.spec.notes import Checkpoint, VerifierKey, open_note, parse_checkpoint, read_checkpoint
from freehold.spec.reading import read_config, read_service
from freehold.spec.receipt import Receipt
from freehold.spec.snapshot import Column, GuardView, Route, ServiceView, Target
from freehold.store import hpke, sealed_pieces
from freehold.store.frames import read_one, salvage, scan
from freehold.store.keyring import Keyring
from freehold.store.sealed import SealBroken, unseal
from freehold.store.signing import Envelope, verify
from freehold.store.spool import Spool
from freehold.store.spooled import unpack
from freehold.train.bundle import Unpacking
from tests.fuzz.wires import edge, wire

KEY = bytes(range(32))
GUARD = GuardView(pii="tokenize", secrets="mask", injection="observe", documents="mark", budget=60_000)
ORIGIN = "fuzz.example/1"


def run(work: Coroutine[Any, Any, Any]) -> None:
    """Drive what waits for nothing outside; a loop of its own would cost more than what is fuzzed."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


# -- requests -----------------------------------------------------------------------------------------------


def heads(binary_from: int | None = None) -> Heads:
    return Heads(
        authorization="Bearer x",
        purpose="claims-handling",
        subject=None,
        idempotency=None,
        request_id=None,
        trace=None,
        binary_from=binary_from,
        length=None,
        encoding=None,
    )


def service(kind: str, api: str = "openai", **fields: Any) -> ServiceView:
    target = Target(
        kind="provider", name="m", serving_digest="sha256:" + "a" * 64, url="http://x/v1", api=api
    )  # type: ignore[arg-type]
    given: dict[str, Any] = {
        "task": "generate",
        "kind": "attached",
        "inputs": (),
        "classes": (),
        "routes": (Route(release="rel_1", weight=10_000, target=target),),
    }
    if kind != "attached":
        given |= {"kind": "own", "task": kind, "classes": ("a", "b"), "inputs": COLUMNS[kind]}
    return ServiceView(
        name=kind,
        project="claims",
        purpose="claims-handling",
        sensitivity=3,
        tier="limited",
        subject="optional",
        state="live",
        **(given | fields),
    )


COLUMNS = {
    "classify": (Column(name="text", datatype="BYTES"),),
    "generate": (Column(name="text", datatype="BYTES"),),
    "tabular": (
        Column(name="age", datatype="FP64"),
        Column(name="claims", datatype="INT64"),
        Column(name="new", datatype="BOOL"),
        Column(name="text", datatype="BYTES"),
    ),
}
PATHS = (CHAT, TEXT, EMBEDDINGS, MODERATIONS, RESPONSES)
SERVICES = tuple(service("attached", api) for api in DIALECTS) + tuple(map(service, COLUMNS))
DETECTORS = shipped()


def requests(data: bytes) -> None:
    """A body at one of OpenAI's paths: read, guarded, understood, and written down for each provider."""
    if not data:
        return
    path, guarded = PATHS[data[0] % len(PATHS)], bool(data[0] & 64)
    try:
        asked = read_chat(heads(), path, data[1:], 1, "only")
    except Failure:
        return
    for one in SERVICES:
        _understood(asked, replace(one, guard_in=GUARD) if guarded else one)


def _understood(asked: Asked, one: ServiceView) -> None:
    try:
        came = come_in(asked, one, DETECTORS, Verdicts())
        question = read_question(came.asked, one, "ans_1")
    except Failure:
        return
    question.worst_case  # noqa: B018 – a property that counts
    for api, body in getattr(question, "asks", {}).items():
        DIALECTS[api].sent(one.routes[0].target, "sk", asked.path, body)


def tensors(data: bytes) -> None:
    """An inference request whose first two bytes say where its binary part begins."""
    cut = int.from_bytes(data[:2])
    try:
        asked = read_infer(heads(cut or None), "/v2/models/x/infer", "x", data[2:], 1)
    except Failure:
        return
    for kind in ("classify", "tabular"):
        for guard in (GuardView(), GUARD):
            _understood(asked, service(kind, guard_in=guard))


# -- answers ------------------------------------------------------------------------------------------------


class Upstream:
    """A provider that says what the fuzzer says, in pieces of the size that it says."""

    def __init__(self, said: bytes, piece: int, kind: str) -> None:
        size = max(1, piece)
        self._pieces = iter([said[at : at + size] for at in range(0, len(said), size)])
        self.kind, self.status, self.headers = kind, 200, {"content-type": kind}

    async def piece(self) -> bytes | None:
        return next(self._pieces, None)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        while (piece := await self.piece()) is not None:
            yield piece

    def provider(self, _sent: Sent, written: Callable[[], None], *, soon: bool, of: str) -> Upstream:
        written()
        return self

    def any_of(
        self, sents: Sequence[Sent], written: Callable[[Sent], None], *, of: str, name: str, soon: bool
    ) -> Upstream:
        written(sents[0])
        return self

    async def __aenter__(self) -> Answering:
        return Answering(cast(Answer, self), 1 << 20)

    async def __aexit__(self, *_error: object) -> None:
        return None


def answers(data: bytes) -> None:
    """A provider's answer, whole or streamed, in each dialect, with and without guards on its way out."""
    if len(data) < 2:
        return
    choice, piece, said = data[0], data[1], data[2:]
    api = tuple(DIALECTS)[choice % len(DIALECTS)]
    path = PATHS[(choice & 63) // len(DIALECTS) % len(PATHS)]
    guarded, stream = bool(choice & 64), bool(choice & 128)
    one = service("attached", api, guard_out=GUARD if guarded else GuardView())
    body = _asking(path, stream=stream)
    try:
        asked = read_chat(heads(), path, body, 1, "only")
        question = read_question(asked, one, "ans_1")
    except Failure:
        return  # not every provider is asked at every path
    upstream = Upstream(said, piece, "text/event-stream" if stream else "application/json")
    asking = question.ask(cast(Upstreams, upstream), one.routes[0].target, "sk", Tally())
    came = CameIn(asked=asked, tokens=Tokens(values={"[iban 1]": "DE44500105175407324931"}))
    run(_carry(go_out(asking, came, one, DETECTORS, Verdicts())))


def _asking(path: str, *, stream: bool) -> bytes:
    said: dict[str, Any] = {"model": "only"}
    match path:
        case "/v1/chat/completions":
            said["messages"] = [{"role": "user", "content": "hello"}]
        case "/v1/completions":
            said["prompt"] = "hello"
        case _:
            said["input"] = "hello"
    if stream and path not in (EMBEDDINGS, MODERATIONS):
        said["stream"] = True
    return msgspec.json.encode(said)


async def _carry(pieces: AsyncGenerator[Any, None]) -> None:
    try:
        async for piece in pieces:
            assert isinstance(piece.data, bytes)
    except Failure:
        pass
    finally:
        await pieces.aclose()


# -- what lies on disk or crosses the border ----------------------------------------------------------


def frames(data: bytes) -> None:
    """A segment of a spool, and the records in it."""
    found = scan(data, sequence=1, head=None)
    assert found.length <= len(data)
    for frame in (*found.frames, *salvage(data)):
        encoded = frame.encode()
        read = read_one(encoded, 0)
        assert read == (frame, len(encoded)), "a frame that was read is written as it was"
        _unpacked(frame.payload)
    _unpacked(data)


def _unpacked(payload: bytes) -> None:
    with suppress(msgspec.ValidationError, msgspec.DecodeError):
        unpack(payload)


def spool(data: bytes) -> None:
    """A spool of one segment that somebody wrote: opened, cut back to what holds, or refused."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        place = Path(folder, "spl_x")
        place.mkdir()
        (place / f"{1:020d}.frames").write_bytes(data)
        try:
            opened = Spool.open(place)
        except Failure:
            return
        opened.close()


LOG_KEY = Ed25519PrivateKey.from_private_bytes(KEY)
VERIFIER = verifier_key(LOG_KEY, ORIGIN)
SIGNED = sign_checkpoint(Checkpoint(origin=ORIGIN, size=3, root=KEY), LOG_KEY)


def notes(data: bytes) -> None:
    """Signed notes, checkpoints, keys, receipts, paths of tiles and bundles of entries."""
    _entries(data)
    text = data.decode(errors="surrogateescape")
    if (tile := Tile.parse(text)) is not None:
        assert tile.path == text
    for read in (_note, _receipt, lambda t: VerifierKey.parse(t), lambda t: parse_checkpoint(t)):
        with suppress(Failure):
            read(text)


def _note(text: str) -> None:
    open_note(text, VERIFIER)
    assert read_checkpoint(text, VERIFIER).size == 3, "nothing else was ever signed"


def _receipt(text: str) -> None:
    receipt = Receipt.parse(text)
    assert receipt.text() == text
    receipt.check(VERIFIER)


def _entries(data: bytes) -> None:
    try:
        bodies = unbundle(data)
    except ValueError:
        return
    assert sum(2 + len(body) for body in bodies) == len(data)


def tiles(data: bytes) -> None:
    """The files of a ledger of some size, each with bytes of the fuzzer's: read, or told to be missing."""
    size = int.from_bytes(data[:1]) + 1
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        there = TileFolder(Path(folder))
        for tile in (Tile(0, 0, min(size, 256)), Tile(-1, 0, min(size, 256)), Tile(1, 0, 1)):
            (there.folder / tile.path).parent.mkdir(parents=True, exist_ok=True)
            (there.folder / tile.path).write_bytes(data[1:])
        for read in (lambda: there.edge(size).root(), lambda: there.nodes(size)(0, size - 1)):
            with suppress(Failure):
                read()


def sealed(data: bytes) -> None:
    """Sealed bytes, sealed pieces, boxes to a public key, and keys that the keyring wraps."""
    for opened in (
        lambda: unseal(KEY, data, b"here"),
        lambda: list(sealed_pieces.opened(KEY, b"here", io.BytesIO(data))),
        lambda: hpke.open_with(KEY, data, b"here"),
    ):
        try:
            opened()
        except SealBroken:
            continue
        raise AssertionError("it opened, and nobody had sealed it")


def keyring(data: bytes) -> None:
    """A keyring in whose file somebody changed a wrapped key: it does not open, and makes nothing new."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path, epoch = Path(folder, "keyring.db"), Path(folder, "epoch.key")
        epoch.write_bytes(KEY)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE keys (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID")
            db.execute("INSERT INTO keys VALUES ('day/claims/2026-11-21', ?)", (data,))
        try:
            Keyring(path, epoch)
        except Failure:
            return
        raise AssertionError("it opened, and nobody had sealed it")


def envelopes(data: bytes) -> None:
    """A signed envelope as it comes over the border."""
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(said, dict):
        with suppress(Failure):
            verify(LOG_KEY.public_key(), Envelope.from_json(said), "application/x")


# -- files of users -----------------------------------------------------------------------------------


def yaml(data: bytes) -> None:
    """A service file or a `freehold.yaml`."""
    text = data.decode(errors="replace")
    for read in (read_service, read_config):
        with suppress(Failure):
            read(text)


def readers(data: bytes) -> None:
    """A data set in one of the formats."""
    if not data:
        return
    format = ("csv", "jsonl", "parquet")[data[0] % 3]
    faults = Faults()
    try:
        reader = open_reader(io.BytesIO(data[1:]), format, frozenset(("NA",)))
        for piece in reader.pieces(faults):
            for cells in piece.cells.values():
                assert len(cells.texts()) == len(piece.lines)
                cells.fits()
    except Failure:
        pass


def bundle(data: bytes) -> None:
    """The files of a base model as one stream."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        unpacking = Unpacking(Path(folder), most=1 << 16)
        try:
            for at in range(0, len(data), 7):
                unpacking.feed(data[at : at + 7])
            unpacking.finish()
        except Failure:
            pass
        finally:
            unpacking.close()
        assert all(Path(folder) in path.parents for path in Path(folder).rglob("*"))


def words(data: bytes) -> None:
    """Names, references and keys as people type them."""
    text = data.decode(errors="replace")
    readers: tuple[Callable[[str], object], ...] = (
        lambda text: check_name(text, "project"),
        parse_reference,
        lambda text: limits.most(text, "EUR"),
        limits.seconds,
        limits.price,
        limits.on_forget,
    )
    for read in readers:
        with suppress(Failure):
            read(text)
    key = KeyText.read(text)
    assert key is None or key.text == text


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        requests,
        tensors,
        answers,
        frames,
        spool,
        notes,
        tiles,
        sealed,
        keyring,
        envelopes,
        yaml,
        readers,
        bundle,
        words,
        edge,
        wire,
    )
}
