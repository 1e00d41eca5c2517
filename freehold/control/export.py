"""Everything an installation holds, as one tar of open formats: how a customer leaves on any day.

The tar is made while it is sent: nothing in clear is written to disk, and memory holds one part at a
time. All tables are read in one consistent state. `MANIFEST.json` comes last and names every file with its
digest, so that an export that broke off in the middle is told from a whole one. Keys and secrets stay.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import pyarrow.parquet as pq
import sqlalchemy as sa

from freehold import __version__
from freehold.control import exact as exact_files
from freehold.control.lines import Files, lines, rows
from freehold.control.parts import Parts
from freehold.data import chunks, versions
from freehold.errors import Failure
from freehold.ledger.record import record
from freehold.ledger.tiles import needed as tiles_needed
from freehold.release import files, words
from freehold.spec.ids import canonical, digest
from freehold.spec.notes import read_checkpoint
from freehold.spec.principal import Principal
from freehold.store import contents, tables
from freehold.store.keyring import KeyDestroyed
from freehold.store.migrate import revisions
from freehold.track import artifacts
from freehold.track import words as track_words

FORMAT = 1
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "keys": ("secret_digest",),
    "data_versions": ("layout",),
    "models": ("files",),
    "mlflow_artifacts": ("path", "blob"),
}
"""Columns that serve this installation only: digests of secrets, and where things lie in its store.

Snapshots and their pages stay whole, with the digests of serving keys that gateways were told: see `exact`.
"""

_ELSEWHERE = frozenset(
    {
        *("contents", "mlflow_uploads", "mlflow_words", "outbox", "job_beats", "notices", "sessions"),
        "unpublished",
    }
)
"""Tables not written as such: words are in `answers/` and `mlflow/words/`, the others are work under way."""

_REASONS: dict[str, Callable[[sa.RowMapping], str]] = {
    "approvals": lambda row: f"approval/{row['id']}",
    "services": lambda row: f"service/{row['name']}",
    "releases": lambda row: f"release/{row['id']}",
    "holds": lambda row: f"hold/{row['project']}",
    "incidents": lambda row: f"incident/{row['id']}",
}
"""Tables whose `because` is sealed, and what it is bound to."""


@dataclass(slots=True)
class _Archive:
    """Frames files as a tar and remembers what it framed."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def framed(self, path: str, data: bytes | artifacts.Leaving, at: int) -> Iterator[bytes]:
        """One member: header, data, padding."""
        if isinstance(data, bytes):
            data = artifacts.Leaving(pieces=iter([data]), bytes=len(data))
        info = tarfile.TarInfo(f"freehold-export/{path}")
        info.size, info.mode, info.mtime = data.bytes, 0o600, at // 1_000_000
        yield info.tobuf(tarfile.PAX_FORMAT)
        so_far = hashlib.sha256()
        for piece in data.pieces:
            so_far.update(piece)
            yield piece
        yield bytes(-data.bytes % 512)
        self.files[path] = {"sha256": so_far.hexdigest(), "bytes": data.bytes}

    def manifest(self, about: Mapping[str, Any]) -> bytes:
        """What stands at the end: every file, and what could not be exported."""
        said = {"format": FORMAT, **about, "left_out": self.left_out, "files": self.files}
        return json.dumps(said, indent=2, sort_keys=True).encode() + b"\n"


def begin(parts: Parts, by: Principal) -> str:
    """Record that everything is about to leave; returns the entry. Comes before the first byte."""
    with parts.ground.db.read() as conn:
        counts = {table.name: _count(conn, table) for table in tables.metadata.sorted_tables}
    said = digest({"checkpoint": parts.sequencer.newest() or "", "rows": counts})
    with parts.ground.db.write() as tx:
        detail = {"digest": said, "rows": sum(counts.values())}
        return record(tx, "export.made", by=by, object=parts.ground.origin, detail=detail)


def archive(parts: Parts, entry: str, *, exact: bool = False) -> Iterator[bytes]:
    """The tar, piece by piece. `entry` is what `begin` returned; the manifest cites it.

    `exact`: with what `freehold import` needs to make all of it again.
    """
    made, at = _Archive(), parts.ground.clock()
    note = parts.sequencer.newest()  # before the rows, which then cover it
    with parts.ground.db.read() as conn:
        for path, data in _everything(parts, conn, note, made.left_out):
            yield from made.framed(path, data, at)
        if exact:
            for path, data in exact_files.files(parts, conn, made.left_out):
                yield from made.framed(path, data, at)
    about = {"origin": parts.ground.origin, "at": at, "entry": entry, "exact": exact}
    about |= {"version": __version__, "schema": revisions()[-1]}
    yield from made.framed("MANIFEST.json", made.manifest(about), at)
    yield bytes(2 * 512)


def _everything(
    parts: Parts, conn: sa.Connection, note: str | None, left_out: list[dict[str, str]]
) -> Iterator[Files]:
    yield "README.md", _README.encode()
    for table in tables.metadata.sorted_tables:
        if table.name not in _ELSEWHERE:
            yield from _table(parts, conn, table)
    yield from _answers(parts, conn)
    yield from _data(parts, conn, left_out)
    yield from _models(parts, conn, left_out)
    yield from _tracked(parts, conn, left_out)
    yield from _ledger(parts, note)


# -- rows -------------------------------------------------------------------------------------------


def _table(parts: Parts, conn: sa.Connection, table: sa.Table) -> Iterator[Files]:
    yield from lines(f"tables/{table.name}", (_row(parts, table, row) for row in rows(conn, table)))


def _row(parts: Parts, table: sa.Table, row: sa.RowMapping) -> dict[str, Any]:
    plain = {name: value for name, value in row.items() if name not in LEFT_OUT.get(table.name, ())}
    bound = _REASONS.get(table.name)
    if bound is not None:
        plain["because"] = words.open_words(parts.ground, bound(row), row["because"])
    return plain


def _count(conn: sa.Connection, table: sa.Table) -> int:
    return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


# -- words of answers ---------------------------------------------------------------------------------


def _answers(parts: Parts, conn: sa.Connection) -> Iterator[Files]:
    yield from lines("answers", (_words(parts, row) for row in rows(conn, tables.contents)))


def _words(parts: Parts, row: sa.RowMapping) -> dict[str, Any]:
    """One part of one answer in clear: text where it is UTF-8, else base64."""
    said = {"answer": row["answer"], "part": row["part"]}
    try:
        opened = contents.open_words(
            parts.ground.keyring, row["key"], row["answer"], row["part"], row["sealed"]
        )
    except KeyDestroyed:
        return {**said, "forgotten": True}
    try:
        return {**said, "text": opened.decode()}
    except UnicodeDecodeError:
        return {**said, "base64": base64.b64encode(opened).decode()}


# -- data sets and models -----------------------------------------------------------------------------


def _data(parts: Parts, conn: sa.Connection, left_out: list[dict[str, str]]) -> Iterator[Files]:
    ids = conn.execute(sa.select(tables.data_versions.c.id).order_by(tables.data_versions.c.id)).scalars()
    for id_ in ids.all():
        version = versions.by_id(conn, id_)
        folder = f"data/{version.project}/{version.ref}"
        about = json.dumps(asdict(version), indent=2, ensure_ascii=False, default=str).encode() + b"\n"
        yield f"{folder}/about.json", about
        layout = chunks.layout_of(conn, version.id)
        for number, chunk in enumerate(layout.chunks, 1):
            path = f"{folder}/part-{number:05d}.parquet"
            if (data := _kept(left_out, path, partial(_chunk, parts, chunk))) is not None:
                yield path, data


def _chunk(parts: Parts, chunk: chunks.Chunk) -> bytes:
    """One chunk as plain Parquet."""
    key = parts.ground.keyring.key(chunks.key_name(chunk.id))
    table = chunks.opened(parts.ground.blobs.get(chunk.blob), chunk.id, key)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _models(parts: Parts, conn: sa.Connection, left_out: list[dict[str, str]]) -> Iterator[Files]:
    columns = tables.models.c
    query = sa.select(columns.id, columns.project, columns.name, columns.version).order_by(columns.id)
    for id_, project, name, version in conn.execute(query).all():
        folder = f"models/{project}/{name}@{version}"
        model = files.open_version(parts.ground, id_)
        yield f"{folder}/manifest.dsse.json", canonical(dict(model.envelope)) + b"\n"
        for entry in model.files:
            path = f"{folder}/{entry.path}"
            if (data := _kept(left_out, path, partial(model.read, entry.path))) is not None:
                yield path, data


def _tracked(parts: Parts, conn: sa.Connection, left_out: list[dict[str, str]]) -> Iterator[Files]:
    """What MLflow clients wrote: words in clear, and their files as they came."""
    yield from lines("mlflow/words", (_opened(parts, row) for row in rows(conn, tables.mlflow_words)))
    for row in rows(conn, tables.mlflow_artifacts):
        file, folder = artifacts.stored(row), f"mlflow/files/{row['of']}"
        try:
            path = f"{folder}/{file.path(parts.ground.keyring)}"
            leaving = file.leaving(parts.ground, parts.home.control)
        except Failure as failure:
            left_out.append(_lost(f"{folder}/{file.called}", failure))
            continue
        yield path, leaving


def _opened(parts: Parts, row: sa.RowMapping) -> dict[str, Any]:
    said = {"of": row["of"], "part": row["part"]}
    return {**said, "words": track_words.opened(parts.ground.keyring, row["of"], row["part"], row["sealed"])}


def _kept(left_out: list[dict[str, str]], path: str, read: Callable[[], bytes]) -> bytes | None:
    """The bytes, or none with the reason noted: one unreadable part does not keep the rest here."""
    try:
        return read()
    except Failure as failure:
        left_out.append(_lost(path, failure))
        return None


def _lost(path: str, failure: Failure) -> dict[str, str]:
    return {"path": path, "code": failure.code, "why": failure.why or failure.what}


# -- the ledger -----------------------------------------------------------------------------------------


def _ledger(parts: Parts, note: str | None) -> Iterator[Files]:
    """Checkpoint, key and tiles as C2SP tlog-tiles lays them out: any verifier reads the folder."""
    yield "ledger/key", f"{parts.sequencer.public}\n".encode()
    if note is None:
        return
    yield "ledger/checkpoint", note.encode()
    size = read_checkpoint(note, parts.sequencer.public).size
    for tile in tiles_needed(size):
        yield f"ledger/{tile.path}", parts.sequencer.tiles.read(tile)


_README = """# Everything this installation held

- `MANIFEST.json`: every file with its SHA-256 and size, and what could not be exported and why.
- `tables/NAME/*.jsonl`: the rows, JSON Lines in UTF-8. Times are microseconds since
  1970-01-01 UTC. Digests of keys are left out, but for those that the gateways were told, in `snapshots`
  and `snapshot_pages`: they are of 256 random bits and open nothing. Reasons people gave are in clear.
- `answers/*.jsonl`: what was asked and answered, in clear, by the answer's id.
- `data/PROJECT/NAME@VERSION/`: the rows as plain Parquet, one file after another; `_row` is the row's
  number; `about.json` says what was declared and what the digest is.
- `models/PROJECT/NAME@VERSION/`: the model's files and the signed manifest over them (DSSE).
- `mlflow/words/*.jsonl`: names, parameters, tags and inputs that MLflow clients wrote, by the id of the
  experiment, run, model or version in `tables/mlflow_*`; `mlflow/files/ID/`: their files as they came.
- `ledger/`: C2SP tlog-tiles: `checkpoint` (signed note), `key` (verifier key), `tile/` with 256 hashes
  or entries to a file. The entries in `tile/entries` are canonical JSON.

- `exact/`, where it was asked for: what `freehold import` makes an installation of again: all rows as they
  are, sealed objects under their digests, and the keys of contents, in clear.

There is personal data in here. It is yours to keep, move and delete now.
"""
