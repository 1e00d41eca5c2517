"""Reading a model's files back: for engines that serve it, evaluation, and export."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.engines import parity
from freehold.errors import NotFound, Tampered
from freehold.release.bases import OpenBase, open_base
from freehold.release.versions import UNSERVED, place
from freehold.release.views import RUNNING
from freehold.spec.ids import digest_bytes
from freehold.spec.model import FileEntry
from freehold.store.ground import Ground
from freehold.store.sealed import unseal
from freehold.store.signing import sign
from freehold.store.tables import cards, models, releases


class ModelFileChanged(Tampered):
    """the file `{path}` of `{model}` is not what was registered"""


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model version whose files can be read."""

    id: str
    name: str
    version: int
    serving_digest: str
    envelope: Mapping[str, Any]
    """The signed manifest, DSSE as JSON."""
    files: tuple[FileEntry, ...]
    _kept: Mapping[str, Mapping[str, Any]]
    _ground: Ground

    def read(self, path: str) -> bytes:
        """One file, opened and checked against its digest. Raises NotFound, ModelFileChanged."""
        kept = self._kept.get(path)
        if kept is None:
            raise NotFound(kind="model file", name=path[:120])
        if "blob" not in kept:  # a base model: its files lie open
            return self._ground.blobs.get(kept["digest"])
        key = self._ground.keyring.key(f"model/{self.id}")
        content = unseal(key, self._ground.blobs.get(kept["blob"]), place(self.id, path))
        if digest_bytes(content) != kept["digest"]:
            raise ModelFileChanged(path=path, model=f"{self.name}@{self.version}")
        return content

    def read_all(self) -> Iterator[tuple[str, bytes]]:
        """Every file, one after the other."""
        for entry in self.files:
            yield entry.path, self.read(entry.path)


def open_model(ground: Ground, serving_digest: str) -> OpenModel:
    """The model that a running release serves by this digest, for the serving zone.

    What no release names is not handed out: a model that is held or waits stays here. Raises NotFound.
    """
    query = (
        sa.select(models)
        .join(releases, releases.c.model == models.c.id)
        .where(models.c.serving_digest == serving_digest, releases.c.serving_digest == serving_digest)
        .where(releases.c.state.in_(RUNNING), _may_leave(ground.clock()))
        .order_by(releases.c.created_at.desc())
        .limit(1)
    )
    return _open(ground, query, "released model", serving_digest)


def open_base_in_use(ground: Ground, digest: str) -> OpenBase:
    """The base of a model that a running release serves; any other stays here. Raises NotFound."""
    query = (
        sa.select(models.c.about)
        .join(releases, releases.c.model == models.c.id)
        .where(releases.c.state.in_(RUNNING), models.c.task == "generate")
        .where(_may_leave(ground.clock()))
    )
    with ground.db.read() as conn:
        abouts = [json.loads(about) for about in conn.scalars(query)]
    if all(about["features"].get("base") != digest for about in abouts):
        raise NotFound(kind="base model in use", name=digest[:80])
    return open_base(ground, digest)


def _may_leave(at: int) -> sa.ColumnElement[bool]:
    """Not what serves nobody; a forgotten model only while its service keeps it (`on_forget: keep`)."""
    kept = sa.and_(models.c.state == "forgotten", releases.c.until > at)
    return sa.or_(models.c.state.not_in(UNSERVED), kept)


def evidence_of(ground: Ground, serving_digest: str) -> dict[str, Any] | None:
    """How this model answered when it was evaluated, from its newest card that passed, signed.

    None where no card says it: the engine then refuses.
    """
    query = (
        sa.select(cards.c.digest, cards.c.body)
        .where(cards.c.serving_digest == serving_digest, cards.c.passed.is_(True))
        .order_by(cards.c.created_at.desc())
        .limit(1)
    )
    with ground.db.read() as conn:
        row = conn.execute(query).first()
    said = json.loads(row.body).get("parity") if row else None
    if row is None or said is None:
        return None
    payload = parity.payload(serving_digest, row.digest, said)
    return sign(ground.release_key, parity.EVIDENCE_TYPE, payload).as_json()


def open_version(ground: Ground, model: str) -> OpenModel:
    """Any model version by its id, for control's own use. Raises NotFound."""
    return _open(ground, sa.select(models).where(models.c.id == model), "model version", model)


def _open(ground: Ground, query: sa.Select[Any], kind: str, name: str) -> OpenModel:
    with ground.db.read() as conn:
        row = conn.execute(query).mappings().first()
    if row is None:
        raise NotFound(kind=kind, name=name[:80])
    kept = json.loads(row["files"])
    return OpenModel(
        id=row["id"],
        name=row["name"],
        version=row["version"],
        serving_digest=row["serving_digest"],
        envelope=json.loads(row["manifest"]),
        files=tuple(
            FileEntry(path=path, digest=said["digest"], bytes=said["bytes"])
            for path, said in sorted(kept.items())
        ),
        _kept=kept,
        _ground=ground,
    )
