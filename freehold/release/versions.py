"""Model versions: sealed files under a signed manifest, and the states a version goes through.

::

    trained ──> evaluated ──> approved ──> retired
       └───────────┴────────────┴──> held ──> retired
    ready ──> retired           (base models: release.bases)

Each but a base becomes `forgotten` when somebody it learned from is (release.forgetting): that is the end.

Files are sealed under the version's own key, for weights that were fitted on people's data are
personal data themselves. Sealing is slow, so it happens before the transaction: `prepare`, then
`register`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

import sqlalchemy as sa

from freehold.engines.package import entries_of, manifest_bytes
from freehold.errors import BadInput, Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.domain import Domain
from freehold.spec.domain import read as read_domain
from freehold.spec.ids import canonical, check_name, digest_bytes, new_id, parse_reference
from freehold.spec.model import MANIFEST_TYPE, About, Manifest
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.sealed import seal
from freehold.store.signing import sign
from freehold.store.tables import models, runs

State = Literal["ready", "trained", "evaluated", "approved", "held", "retired", "forgotten"]

NEXT: dict[str, frozenset[str]] = {
    "ready": frozenset({"retired"}),
    "trained": frozenset({"evaluated", "held", "retired", "forgotten"}),
    "evaluated": frozenset({"approved", "held", "retired", "forgotten"}),
    "approved": frozenset({"held", "retired", "forgotten"}),
    "held": frozenset({"retired", "forgotten"}),
    "retired": frozenset({"forgotten"}),
    "forgotten": frozenset(),
}

UNSERVED = ("held", "retired", "forgotten")
"""The states in which a version is served to nobody."""

FORMATS = frozenset({".onnx", ".safetensors", ".gguf", ".json", ".txt", ".jinja"})
"""What a model's folder may hold: formats that are data, never code."""

_PATH = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}$")
_PICKLE = re.compile(rb"^\x80[\x02-\x05]")


class NotAModelFile(BadInput):
    """`{path}` may not be part of a model"""


class WrongState(Conflict):
    """`{model}` is {before} and cannot become {after}"""


class VersionTaken(Conflict):
    """`{name}@{version}` was registered by someone else meanwhile"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A model version as its row says."""

    id: str
    project: str
    name: str
    version: int
    digest: str
    serving_digest: str
    state: State
    run: str | None

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Sealed files and a signed manifest, waiting for their row."""

    values: Mapping[str, Any]
    """The columns of the row, without state and time."""
    data: str


def prepare(
    ground: Ground,
    *,
    project: str,
    name: str,
    run: str | None,
    about: About,
    files: Mapping[str, bytes],
    engine: str,
    flags: Mapping[str, str],
    sensitivity: int,
    kind: str = "trained",
    parent: str | None = None,
) -> Prepared:
    """Seal the files, sign the manifest; outside any transaction. Raises NotAModelFile.

    The id follows from the run, so that a repeat after a crash makes the same version.
    """
    check_name(name, "model")
    for path, content in files.items():
        _check_file(path, content)
    if not files:
        raise NotAModelFile(path="(nothing)", why="the folder is empty")
    model = f"mod_{run.removeprefix('run_')}" if run else new_id("mod")
    manifest = Manifest(
        model=model,
        name=name,
        version=_next_version(ground, project, name, model),
        files=entries_of(files),
        about=about,
        engine=engine,
        engine_flags=dict(flags),
    )
    envelope = sign(ground.release_key, MANIFEST_TYPE, manifest_bytes(manifest))
    values = {
        "id": model,
        "project": project,
        "name": name,
        "version": manifest.version,
        "kind": kind,
        "task": about.task,
        "parent": parent,
        "run": run,
        "digest": manifest.digest,
        "serving_digest": manifest.serving_digest,
        "manifest": canonical(envelope.as_json()).decode(),
        "files": canonical(_keep(ground, model, files)).decode(),
        "about": canonical(asdict(about)).decode(),
        "sensitivity": sensitivity,
    }
    return Prepared(values=values, data=about.data)


def _keep(ground: Ground, model: str, files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    (key,) = ground.keyring.ensure(f"model/{model}")
    return {
        path: {
            "digest": digest_bytes(content),
            "bytes": len(content),
            "blob": ground.blobs.put(seal(key, content, place(model, path))),
        }
        for path, content in files.items()
    }


def place(model: str, path: str) -> bytes:
    """What a sealed model file is bound to."""
    return f"model/{model}/{path}".encode()


def register(tx: Tx, *, by: Principal, prepared: Prepared) -> ModelVersion:
    """Write the version's row and entry; a repeat returns the one that is there. Raises VersionTaken."""
    values = prepared.values
    there = tx.execute(sa.select(models).where(models.c.id == values["id"])).mappings().first()
    if there is not None:
        return _version(there)
    _refuse_taken(tx, values)
    tx.execute(models.insert().values(state="trained", because="", created_at=tx.at, **values))
    record(
        tx,
        "model.version",
        by=by,
        object=f"{values['name']}@{values['version']}",
        project=values["project"],
        detail={
            "model": values["id"],
            "digest": values["digest"],
            "serving_digest": values["serving_digest"],
            "run": values["run"],
            "data": prepared.data,
            "parent": values["parent"],
        },
    )
    if values["run"]:
        tx.execute(runs.update().where(runs.c.id == values["run"]).values(model=values["id"]))
    return find(tx.connection, values["id"])


def _refuse_taken(tx: Tx, values: Mapping[str, Any]) -> None:
    taken = tx.execute(
        sa.select(models.c.id).where(
            models.c.project == values["project"],
            models.c.name == values["name"],
            models.c.version == values["version"],
        )
    ).first()
    if taken:
        raise VersionTaken(name=values["name"], version=values["version"], hint="prepare it again")


def set_state(tx: Tx, *, by: Principal, model: str, state: State, because: str = "") -> ModelVersion:
    """Move a version on. `because` is a fixed phrase, never a person's words. Raises WrongState.

    Setting the state it has already is silent, so that a repeated step does no harm.
    """
    now = find(tx.connection, model)
    if now.state == state:
        return now
    if state not in NEXT[now.state]:
        raise WrongState(model=now.ref, before=now.state, after=state, why=_allowed(now.state))
    tx.execute(models.update().where(models.c.id == model).values(state=state, because=because))
    record(
        tx,
        "model.state",
        by=by,
        object=now.ref,
        project=now.project,
        detail={"model": model, "before": now.state, "after": state, "because": because},
    )
    return find(tx.connection, model)


def _allowed(state: str) -> str:
    after = sorted(NEXT[state])
    return f"from {state} it goes to {' or '.join(after)}" if after else f"{state} is the end"


def find(conn: sa.Connection, model: str) -> ModelVersion:
    """A version by id. Raises NotFound."""
    row = conn.execute(sa.select(models).where(models.c.id == model)).mappings().first()
    if row is None:
        raise NotFound(kind="model version", name=model[:80])
    return _version(row)


def reads(conn: sa.Connection, model: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What a version is for and reads: its task, and its inputs as (name, datatype). Raises NotFound."""
    text = conn.scalar(sa.select(models.c.about).where(models.c.id == model))
    if text is None:
        raise NotFound(kind="model version", name=model[:80])
    about = json.loads(text)
    return about["task"], tuple((column["name"], column["datatype"]) for column in about["inputs"])


def domain_of(conn: sa.Connection, model: str) -> Domain | None:
    """What a tabular version was trained on, as far as it says so; see `spec.domain.read`."""
    text = conn.scalar(sa.select(models.c.about).where(models.c.id == model))
    return read_domain(json.loads(text).get("features", {})) if text else None


def tuned_on(conn: sa.Connection, model: str) -> str | None:
    """The digest of the base that a version needs beside its own files; none where it needs none."""
    text = conn.scalar(sa.select(models.c.about).where(models.c.id == model))
    base = json.loads(text).get("features", {}).get("base") if text else None
    return str(base) if base else None


def by_reference(conn: sa.Connection, project: str, ref: str) -> ModelVersion:
    """A version by `name@version`. Raises NotFound, BadInput."""
    name, version = parse_reference(ref, "model")
    row = (
        conn.execute(
            sa.select(models).where(
                models.c.project == project, models.c.name == name, models.c.version == version
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(kind="model version", name=ref)
    return _version(row)


def _version(row: Mapping[Any, Any]) -> ModelVersion:
    names = ("id", "project", "name", "version", "digest", "serving_digest", "state", "run")
    return ModelVersion(**{name: row[name] for name in names})


def _next_version(ground: Ground, project: str, name: str, model: str) -> int:
    with ground.db.read() as conn:
        mine = conn.scalar(sa.select(models.c.version).where(models.c.id == model))
        if mine is not None:
            return int(mine)
        highest = conn.scalar(
            sa.select(sa.func.max(models.c.version)).where(models.c.project == project, models.c.name == name)
        )
    return int(highest or 0) + 1


def check_path(path: str) -> None:
    """Refuse a path that leads elsewhere, or a format that can run code. Raises NotAModelFile."""
    if not _PATH.fullmatch(path):
        raise NotAModelFile(path=path[:120], why="paths are relative, plain names joined by `/`")
    if PurePosixPath(path).suffix not in FORMATS:
        raise NotAModelFile(
            path=path,
            why=f"only {', '.join(sorted(FORMATS))} are kept: formats that cannot run code when opened",
            hint="export it as ONNX or safetensors",
        )


def _check_file(path: str, content: bytes) -> None:
    check_path(path)
    if _PICKLE.match(content):
        raise NotAModelFile(path=path, why="its content is a Python pickle, whatever its name says")
