"""From an exact export to an installation of its own: the same rows, objects and answers, under new keys.

It is another installation, with a name and signing keys of its own, that goes on where the exported one
was: its ledger begins with the entries of the other, in the same order, so its root at that size is the
root that the other one signed; what it adds is signed by itself. Nobody's key signs in any more, for no
export holds one: the administrator gets a new one. Made beside the home and renamed at the end, as a
restoration is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from freehold.control import exact
from freehold.control.restore import finish, place_objects, place_rows, refuse_filled, refuse_taken, said_in
from freehold.errors import BadInput, Tampered
from freehold.identity import first_run, keys
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.verify import verify as verify_ledger
from freehold.release import notices
from freehold.release.publish import publish_anew
from freehold.spec.config import Config
from freehold.spec.ids import Clock, canonical, check_name, digest_bytes, now
from freehold.spec.merkle import root_of
from freehold.spec.model import MANIFEST_TYPE
from freehold.spec.notes import Checkpoint, VerifierKey, read_checkpoint
from freehold.spec.principal import SYSTEM
from freehold.store import hpke, tables
from freehold.store.blobs import FileBlobs, digest_of, place_of
from freehold.store.elsewhere import epoch_of
from freehold.store.ground import Ground
from freehold.store.home import Home, write_atomically
from freehold.store.keyring import Keyring
from freehold.store.migrate import open_database, revisions
from freehold.store.rows import Database, Tx, telling
from freehold.store.signing import Envelope, load_key_file, sign, verify

AT_ONCE = 10_000
"""Keys that are kept in one transaction."""
_NO_SECRET = b'{"secret": "", "url": ""}'


class NotExact(BadInput):
    """`{folder}` cannot be imported"""


class ExportChanged(Tampered):
    """the export in `{folder}` is not what was written"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A new installation, and what its owner has to know, once."""

    home: str
    origin: str
    before: str
    """The installation that was exported."""
    entries: int
    """Entries of its ledger, signed there, that this one begins with."""
    root: str
    """Their root, hex: the same here and there."""
    signer: str
    """The verifier key that signed them, as the export says; compare it with what you know."""
    entry: str
    administrator: str
    administrator_key: str = field(repr=False)
    missing: tuple[str, ...]
    """Services and channels whose secrets have to be given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Export:
    """An exact export that is whole."""

    folder: Path
    origin: str
    digest: str
    key: VerifierKey
    signed: Checkpoint
    release: Ed25519PublicKey


def import_(folder: Path, home: Home, config: Path | None = None, clock: Clock = now) -> Imported:
    """Make an installation of the exact export in `folder`, in `home`, which must be empty or not there.

    `config` becomes its freehold.yaml. Raises HomeTaken, NotExact, ExportChanged, NoteWrong, NotEmpty,
    LedgerChanged, ObjectsAway.
    """
    refuse_taken(home.root)
    said = said_in(config) if config else None
    if said and said.rows:
        refuse_filled(said.rows)
    export = _read(folder)
    staging = Home(home.root.with_name(f".{home.root.name}.importing"))
    shutil.rmtree(staging.root, ignore_errors=True)
    home.root.parent.mkdir(parents=True, exist_ok=True)
    try:
        staging.create()
        made = _make(staging, export, said.config if said else Config(), clock)
        verify_ledger(staging).raise_if_broken()
        place_objects(staging, said)
        place_rows(staging, said)
        finish(staging, home, made.origin)
    except BaseException:
        shutil.rmtree(staging.root, ignore_errors=True)
        raise
    return Imported(home=str(home.root), **{name: getattr(made, name) for name in _Made.__slots__})


# -- the export ---------------------------------------------------------------------------------------


def _read(folder: Path) -> _Export:
    """See that it is whole, exact and of this release's shape."""
    try:
        manifest = (folder / "MANIFEST.json").read_bytes()
        said: dict[str, Any] = json.loads(manifest)
        listed = {path: about["sha256"] for path, about in said["files"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotExact(folder=folder, why="it has no manifest of an export", hint=_HINT) from error
    if not said.get("exact"):
        raise NotExact(folder=folder, why="it was not asked to be exact", hint=_HINT)
    if said.get("schema") != revisions()[-1]:
        raise NotExact(
            folder=folder,
            why=f"its rows have the shape of {said.get('version')}",
            hint="import it with that release, then `freehold upgrade`",
        )
    _check(folder, listed)
    key = VerifierKey.parse((folder / "ledger" / "key").read_text())
    return _Export(
        folder=folder,
        origin=said["origin"],
        digest=digest_bytes(manifest),
        key=key,
        signed=read_checkpoint((folder / "ledger" / "checkpoint").read_text(), key),
        release=Ed25519PublicKey.from_public_bytes(base64.b64decode((folder / exact.SIGNER).read_text())),
    )


_HINT = "freehold export --all --exact FOLDER"


def _check(folder: Path, listed: dict[str, str]) -> None:
    """Every file that the manifest lists, and no other."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if odd := sorted((there - {"MANIFEST.json"}) ^ set(listed)):
        raise ExportChanged(folder=folder, why=f"`{odd[0]}` is there or listed, not both", hint="export anew")
    for path, expected in listed.items():
        with (folder / path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ExportChanged(folder=folder, why=f"`{path}` has another digest", hint="export anew")


def _lines(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.jsonl")):
        with file.open(encoding="utf-8") as opened:
            yield from opened


# -- making it ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    origin: str
    before: str
    entries: int
    root: str
    signer: str
    entry: str
    administrator: str
    administrator_key: str = field(repr=False)
    missing: tuple[str, ...]


def _make(staging: Home, export: _Export, config: Config, clock: Clock) -> _Made:
    first_run.write_keys(staging, config)
    origin = f"freehold.{check_name(config.site, 'site')}/{secrets.token_hex(4)}"
    database = open_database(staging, clock)
    keyring = Keyring(staging.keyring, epoch_of(staging, config))
    ground = Ground(
        db=database,
        keyring=keyring,
        blobs=FileBlobs(staging.blobs),
        release_key=load_key_file(staging.release_key),
        origin=origin,
        clock=clock,
    )
    try:
        _fill(database, export.folder)
        _refuse_other_ledger(database, export)
        _keep(ground, export.folder)
        missing = _without_secrets(ground)
        with database.write() as tx:
            entry, person, key, borders = _take_over(tx, ground, staging, export)
        Sequencer(database, staging.ledger, load_key_file(staging.ledger_key), origin).run_once()
    finally:
        keyring.close()
        database.close()
    for path, text in borders:
        write_atomically(path, text.encode())
    return _Made(
        origin=origin,
        before=export.origin,
        entries=export.signed.size,
        root=export.signed.root.hex(),
        signer=str(export.key),
        entry=entry,
        administrator=person,
        administrator_key=key,
        missing=missing,
    )


def _fill(database: Database, folder: Path) -> None:
    """Every row as it was, in one transaction past the ledger: their entries are among them."""
    with telling(), database.writer_engine.connect() as connection:
        database.begin_writing(connection)
        for table in tables.metadata.sorted_tables:
            held: list[dict[str, Any]] = []
            for line in _lines(folder / exact.TABLES / table.name):
                held.append(exact.row_of(table, line))
                if len(held) == 1000:
                    connection.execute(table.insert(), held)
                    held = []
            if held:
                connection.execute(table.insert(), held)
        connection.commit()


def _refuse_other_ledger(database: Database, export: _Export) -> None:
    """The entries, in their order, are the ones that the other installation signed."""
    query = sa.select(tables.ledger.c.leaf).order_by(tables.ledger.c.ix).limit(export.signed.size)
    with database.read() as conn:
        leaves = list(conn.scalars(query))
    if len(leaves) != export.signed.size or root_of(leaves) != export.signed.root:
        raise ExportChanged(
            folder=export.folder, why="its entries are not the ones its checkpoint signs", hint="export anew"
        )


def _keep(ground: Ground, folder: Path) -> None:
    """Keys of contents, and sealed objects under their digests."""
    some: dict[str, bytes] = {}
    for line in _lines(folder / exact.KEYS):
        said = json.loads(line)
        some[said["name"]] = bytes.fromhex(said["key"])
        if len(some) == AT_ONCE:
            ground.keyring.add(some)
            some = {}
    ground.keyring.add(some)
    for path in sorted((folder / exact.OBJECTS).glob("??/*")):
        found = digest_of(path)
        if place_of(found) != path.relative_to(folder / exact.OBJECTS).as_posix():
            raise ExportChanged(folder=folder, why=f"`{path.name}` is not what its name says")
        ground.blobs.put_file(path)


def _without_secrets(ground: Ground) -> tuple[str, ...]:
    """What stands in for secrets that no export holds, and fits nothing; which they are."""
    services = tables.services.c
    attached = sa.select(services.name, services.provider).where(services.kind == "attached")
    with ground.db.read() as conn:
        with_key = [row.name for row in conn.execute(attached) if json.loads(row.provider)["has_key"]]
        webhooks = [channel.id for channel in notices.channels(conn) if channel.kind == "webhook"]
    for name in with_key:
        ground.keyring.put(f"provider/{name}", b"not-imported")
    for id in webhooks:
        ground.keyring.put(notices.secret_name(id), _NO_SECRET)
    return (*with_key, *webhooks)


def _take_over(
    tx: Tx, ground: Ground, home: Home, export: _Export
) -> tuple[str, str, str, list[tuple[Path, str]]]:
    """In one transaction: another name, other keys, nobody signed in, manifests signed anew, a snapshot."""
    signed = {"entries": export.signed.size, "root": export.signed.root.hex()}
    detail = {"origin": ground.origin, "before": export.origin, "export": export.digest, **signed}
    entry = record(tx, "installation.imported", by=SYSTEM, object=ground.origin, detail=detail)
    _rename(tx, ground, home)
    for key in tx.execute(sa.select(tables.keys.c.id).where(tables.keys.c.revoked_at.is_(None))).scalars():
        keys.revoke(tx, by=SYSTEM, key=key)
    made = first_run.reissue(tx, first_run.administrator_of(tx, None))
    gateway = keys.create(tx, by=SYSTEM, owner="gateway", zone="border", label="gateway")
    worker = keys.create(tx, by=SYSTEM, owner="worker", zone="border", label="worker")
    _sign_anew(tx, ground, export.release)
    publish_anew(tx, ground, by=SYSTEM)
    borders = [(home.gateway_border, gateway.text), (home.worker_border, worker.text)]
    return entry, made.administrator, made.administrator_key, borders


def _rename(tx: Tx, ground: Ground, home: Home) -> None:
    said = {
        "origin": ground.origin,
        "spool_key": base64.b64encode(hpke.public_of(home.spool_key.read_bytes())).decode(),
        "gateway_key": base64.b64encode(home.gateway_pub.read_bytes()).decode(),
    }
    for name, value in said.items():
        tx.execute(tables.settings.update().where(tables.settings.c.name == name).values(value=value))


def _sign_anew(tx: Tx, ground: Ground, signer: Ed25519PublicKey) -> None:
    """Gateways trust one key, and it is ours now: what the other one signed, we sign, once it holds."""
    m = tables.models.c
    for row in tx.execute(sa.select(m.id, m.digest, m.project, m.manifest)).all():
        payload = verify(signer, Envelope.from_json(json.loads(row.manifest)), MANIFEST_TYPE)
        envelope = sign(ground.release_key, MANIFEST_TYPE, payload)
        text = canonical(envelope.as_json()).decode()
        tx.execute(tables.models.update().where(m.id == row.id).values(manifest=text))
        detail = {"model": row.id, "digest": row.digest}
        record(tx, "model.signed", by=SYSTEM, object=row.id, project=row.project, detail=detail)
