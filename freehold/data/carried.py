"""What a backup from before a forgetting lacks, kept beside the keyring: without it no such backup opens.

A backup names chunks whose keys a later forgetting destroyed. So beside the keyring there is a folder
`forgotten`: who was forgotten, by mark (it names nobody), which chunks took the place of the old ones,
and these chunks; and by its reference who was let in again, which is told and not repeated. It is sealed
by the keyring and says which epoch key it belongs to. Together with `epoch.key` and `keyring.db` it is what
a restoration needs to be as good as the forgettings were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from freehold.data import chunks, retention, suppression, versions
from freehold.data.suppression import mark
from freehold.errors import Tampered
from freehold.ledger.record import record
from freehold.spec.ids import canonical
from freehold.spec.principal import SYSTEM
from freehold.store.backed_up import SEALED_BY
from freehold.store.blobs import FileBlobs
from freehold.store.ground import Ground
from freehold.store.home import write_atomically
from freehold.store.keyring import KeyDestroyed, Keyring
from freehold.store.lock import turn
from freehold.store.rows import Tx
from freehold.store.sealed import SealBroken, seal, unseal
from freehold.store.tables import (
    answers,
    consents,
    data_subjects,
    data_versions,
    datasets,
    forgettings,
    incidents,
    readmissions,
)

FOLDER = "forgotten"
_LIST = "forgotten.sealed"
_TURN = "forgotten.lock"
_ABOUT = b"forgotten"
_ONE_MOMENT = f"take epoch.key, keyring.db and the folder `{FOLDER}` from the same moment"


class CarriedMissing(Tampered):
    """what was forgotten since is not known in `{path}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """One forgetting, as a restored installation takes it over; it names nobody."""

    id: str
    project: str
    journey: str
    request: str
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readmitted:
    """One person who was let in again; it names nobody."""

    id: str
    project: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Everything that was forgotten so far, and where rows lie since."""

    epoch: str
    """The digest of the epoch key it belongs to."""
    forgettings: tuple[Forgotten, ...]
    layouts: dict[str, str]
    """Version -> its layout, of versions with holes."""
    expired: tuple[str, ...] = ()
    """Versions whose time is over: their keys are gone."""
    readmitted: tuple[Readmitted, ...] = ()
    """Readmissions that count. None is repeated: what is restored lacks what they were said of."""


# -- keeping ------------------------------------------------------------------------------------------


def keep(ground: Ground) -> None:
    """Write it anew from the rows, chunks first; doing it twice is fine.

    One after the other: a journey and somebody who changes the epoch key would else leave the older of two,
    which opens with no copy of the keys.
    """
    with turn(ground.keyring.folder / _TURN):
        _keep(ground)


def _keep(ground: Ground) -> None:
    with ground.db.read() as conn:
        said = _of(conn, ground.keyring.epoch)
    folder = ground.keyring.folder / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    kept = FileBlobs(folder)
    wanted = set(_blobs(said))
    for blob in sorted(wanted.difference(kept.list())):
        kept.put(ground.blobs.get(blob))
    (key,) = ground.keyring.ensure(SEALED_BY)
    write_atomically(folder / _LIST, seal(key, canonical(asdict(said)), _ABOUT))
    for blob in set(kept.list()) - wanted:  # replaced by a later forgetting
        kept.delete(blob)


def mend(ground: Ground) -> None:
    """Write it anew where it is of another epoch key: a crash came between changing that and writing this."""
    folder = ground.keyring.folder
    if not (folder / FOLDER).exists():
        return
    try:
        read(folder, ground.keyring)
    except CarriedMissing:
        keep(ground)


def _of(conn: sa.Connection, epoch: str) -> Carried:
    f = forgettings.c
    gone = sa.select(f.id, f.project, f.journey, f.request, f.mark)
    gone = gone.where(f.state.in_(("removed", "destroyed"))).order_by(f.asked_at, f.id)
    v = data_versions.c
    rows = conn.execute(sa.select(v.id, v.layout, v.state).order_by(v.id)).all()
    return Carried(
        epoch=epoch,
        forgettings=tuple(Forgotten(**row) for row in conn.execute(gone).mappings()),
        layouts={row.id: row.layout for row in rows if _has_holes(row)},
        expired=tuple(row.id for row in rows if row.state == retention.EXPIRED),
        readmitted=tuple(_readmitted(conn)),
    )


def _readmitted(conn: sa.Connection) -> Iterator[Readmitted]:
    places = sa.select(forgettings.c.project).distinct().order_by(forgettings.c.project)
    for project in conn.scalars(places).all():
        for again in suppression.in_again(conn, project, suppression.marked(conn, project)).values():
            yield from (Readmitted(id=one.id, project=project, request=one.terms.request) for one in again)


def _has_holes(row: Any) -> bool:
    return bool(row.state != retention.EXPIRED and chunks.layout_from(row.layout).holes)


def _blobs(said: Carried) -> Iterator[str]:
    for text in said.layouts.values():
        yield from (chunk.blob for chunk in chunks.layout_from(text).chunks)


# -- taking over --------------------------------------------------------------------------------------


def read(folder: Path, keyring: Keyring) -> Carried:
    """What lies in `folder`, which is the one beside the current keyring. Raises CarriedMissing."""
    try:
        sealed = (folder / FOLDER / _LIST).read_bytes()
        said = json.loads(unseal(keyring.key(SEALED_BY), sealed, _ABOUT))
    except (OSError, SealBroken, KeyDestroyed) as error:
        raise CarriedMissing(
            path=folder,
            why=f"`{FOLDER}` is not there whole, and it says who was forgotten after this backup",
            hint=_ONE_MOMENT,
        ) from error
    if said["epoch"] != keyring.epoch:
        raise CarriedMissing(
            path=folder,
            why=f"epoch.key and `{FOLDER}` are not of one time",
            hint=_ONE_MOMENT,
        )
    gone = tuple(Forgotten(**each) for each in said["forgettings"])
    over = tuple(said.get("expired", ()))
    again = tuple(Readmitted(**each) for each in said.get("readmitted", ()))
    layouts = said["layouts"]
    return Carried(epoch=said["epoch"], forgettings=gone, layouts=layouts, expired=over, readmitted=again)


def kept_out(conn: sa.Connection, folder: Path, keyring: Keyring) -> tuple[str, ...] | None:
    """The references of readmissions that these rows lack: whom they were for is kept out here.

    None when nobody can tell, for somebody was forgotten here and who came back is not said in `folder`.
    Raises CarriedMissing where it is of another time than the epoch key: somebody may have been forgotten
    since, although that key opens these rows.
    """
    try:
        said = read(folder, keyring)
    except CarriedMissing as missing:
        if not isinstance(missing.__cause__, FileNotFoundError):
            raise
        somebody = conn.execute(sa.select(forgettings.c.id).where(forgettings.c.mark.is_not(None))).first()
        return None if somebody else ()
    there = set(conn.scalars(sa.select(readmissions.c.id)))
    return tuple(one.request for one in said.readmitted if one.id not in there)


def expire(tx: Tx, carried: Carried) -> list[str]:
    """What was over since is over here: first of all, for nothing of it opens. The objects to be deleted."""
    gone: list[str] = []
    for id in carried.expired:
        if tx.execute(sa.select(data_versions.c.id).where(data_versions.c.id == id)).first() is not None:
            gone += retention.expire(tx, versions.by_id(tx.connection, id), by=SYSTEM)[1]
    return gone


def relay(tx: Tx, carried: Carried) -> int:
    """Put the chunks of today in the place of those whose keys are gone; how many versions had such.

    The objects are stored before: call `store` first.
    """
    count = 0
    for version, text in carried.layouts.items():
        where = data_versions.c.id == version
        row = tx.execute(
            sa.select(data_versions.c.layout, datasets.c.project)
            .join(datasets, datasets.c.id == data_versions.c.dataset)
            .where(where)
        ).first()
        if row is None or chunks.layout_from(row.layout) == chunks.layout_from(text):
            continue  # a version of after the backup, or one that was the same then
        before, after = chunks.layout_from(row.layout), chunks.layout_from(text)
        tx.execute(data_versions.update().where(where).values(layout=text))
        gone = len(after.holes) - len(before.holes)
        detail = {"version": version, "rows": gone, "holes": len(after.holes)}
        record(tx, "data.forgotten", by=SYSTEM, object=version, project=row.project, detail=detail)
        count += 1
    return count


def unlist(tx: Tx, carried: Carried) -> None:
    """Take rows that are gone out of the index; after it nobody is found by them any more."""
    s = data_subjects.c
    for version, text in carried.layouts.items():
        holes = set(chunks.layout_from(text).holes)
        listed = tx.execute(sa.select(s.subject, s.rows).where(s.version == version)).mappings().all()
        for row in listed:
            where = (s.version == version) & (s.subject == row["subject"])
            before = json.loads(row["rows"])
            left = [number for number in before if number not in holes]
            if not left:
                tx.execute(data_subjects.delete().where(where))
            elif len(left) < len(before):
                tx.execute(data_subjects.update().where(where).values(rows=json.dumps(left)))


def store(ground: Ground, folder: Path, carried: Carried) -> None:
    """Take over the chunks that rows lie in since. Raises NotFound, BlobChanged."""
    kept = FileBlobs(folder / FOLDER)
    for blob in sorted(set(_blobs(carried)).difference(ground.blobs.list())):
        ground.blobs.put(kept.get(blob))


def whom(conn: sa.Connection, keyring: Keyring, forgotten: Forgotten) -> str | None:
    """The person of a mark, as these rows still name them (an HMAC); None when they do not."""
    for subject in sorted(_subjects(conn, forgotten.project)):
        if mark(keyring, forgotten.project, subject) == forgotten.mark:
            return subject
    return None


def _subjects(conn: sa.Connection, project: str) -> set[str]:
    s, v = data_subjects.c, data_versions.c
    in_data = (
        sa.select(s.subject)
        .distinct()
        .join(data_versions, v.id == s.version)
        .join(datasets, datasets.c.id == v.dataset)
        .where(datasets.c.project == project)
    )
    looks = (
        in_data,
        sa.select(answers.c.subject).distinct().where(answers.c.project == project),
        sa.select(consents.c.subject).distinct().where(consents.c.project == project),
        sa.select(incidents.c.subject).distinct().where(incidents.c.project == project),
    )
    return {str(subject) for look in looks for subject in conn.scalars(look) if subject}
