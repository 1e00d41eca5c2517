"""What an intake lays down before it is done: objects and keys that are taken away again if it fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy as sa

from freehold.errors import Conflict, Failure, Unavailable
from freehold.spec.ids import new_id
from freehold.store.few import few
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import contents, data_subjects, data_versions, datasets, intakes

T = TypeVar("T")
_SUBJECT = "subject/"


class NotStored(Unavailable):
    """the data could not be stored"""


class AddedMeanwhile(Conflict):
    """the data set was changed by somebody else in the meantime"""


class Laying:
    """One intake's objects and keys. Objects are noted before they are stored, so none is lost sight of;
    keys stay in memory until `finish`, so that until then nothing stored can be opened by anyone."""

    def __init__(self, ground: Ground, project: str, note: str = "") -> None:
        self._ground = ground
        self._project = project
        self._id = note or new_id("itk")
        self._blobs: list[str] = []
        self._finished = False
        self.keys: dict[str, bytes] = {}

    def __enter__(self) -> Laying:
        self._note(
            intakes.insert().values(id=self._id, project=self._project, blobs="[]", keys="[]", seen_at=0)
        )
        return self

    def _note(self, statement: sa.Executable) -> None:
        with self._ground.db.write() as tx:
            tx.execute(statement)
            self._note_now(tx)

    def _note_now(self, tx: Tx) -> None:
        names = [name for name in self.keys if not name.startswith(_SUBJECT)]
        row = {"blobs": json.dumps(self._blobs), "keys": json.dumps(names), "seen_at": tx.at}
        tx.execute(intakes.update().where(intakes.c.id == self._id).values(row))

    def put(self, data: bytes) -> str:
        """Store an object. Raises NotStored."""
        self._blobs.append("sha256:" + hashlib.sha256(data).hexdigest())
        with self._ground.db.write() as tx:
            self._note_now(tx)
        try:
            return self._ground.blobs.put(data)
        except OSError as error:
            raise NotStored(
                why=error.strerror or str(error), hint="make room and add the file again"
            ) from error

    def finish(self, write: Callable[[Tx], T]) -> T:
        """Keep the keys, then let `write` say in one transaction that everything is there.

        In this order: a key too many opens nothing, a version without its key would be lost. Raises
        KeyExists, AddedMeanwhile, and whatever `write` does.
        """
        with self._ground.db.write() as tx:
            self._note_now(tx)
        self._ground.keyring.add(self.keys)
        try:
            with self._ground.db.write() as tx:
                result = write(tx)
                tx.execute(intakes.delete().where(intakes.c.id == self._id))
        except sa.exc.IntegrityError as error:
            raise AddedMeanwhile(hint="look at it with `freehold data list`, then add it again") from error
        self._finished = True
        return result

    def keep(self) -> None:
        """Keep keys and objects, and the note of them too: whoever refers to them takes it away then."""
        with self._ground.db.write() as tx:
            self._note_now(tx)
        self._ground.keyring.add(self.keys)
        self._finished = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            # when this fails too (a full disk), the row in `intakes` stays and `sweep` does the rest later
            with suppress(Failure, OSError, sa.exc.SQLAlchemyError):
                self._take_away()

    def _take_away(self) -> None:
        with self._ground.db.read() as conn:
            noted = conn.execute(sa.select(intakes.c.id).where(intakes.c.id == self._id)).first()
        if noted is None:
            return  # the last transaction went through after all, only the answer to it was lost
        self._drop_keys()
        for blob in self._blobs:
            self._ground.blobs.delete(blob)
        with self._ground.db.write() as tx:
            tx.execute(intakes.delete().where(intakes.c.id == self._id))

    def _drop_keys(self) -> None:
        """Only ours: of a person's key there may be another, or an answer may need ours by now."""
        there = self._ground.keyring.known(list(self.keys))
        ours = [name for name, key in self.keys.items() if there.get(name) == key]
        in_use = _in_use(self._ground, self._project, [name for name in ours if name.startswith(_SUBJECT)])
        self._ground.keyring.drop([name for name in ours if name not in in_use])


def _in_use(ground: Ground, project: str, names: list[str]) -> set[str]:
    """Keys of persons that something stored needs."""
    prefix, found = f"{_SUBJECT}{project}/", set[str]()
    with ground.db.read() as conn:
        for some in few(names):
            found.update(conn.execute(sa.select(contents.c.key).where(contents.c.key.in_(some))).scalars())
            people = _with_rows(project, [name.removeprefix(prefix) for name in some])
            found.update(prefix + str(person) for person in conn.execute(people).scalars())
    return found


def _with_rows(project: str, subjects: Iterable[str]) -> sa.Select[Any]:
    return (
        sa.select(data_subjects.c.subject)
        .join(data_versions, data_versions.c.id == data_subjects.c.version)
        .join(datasets, datasets.c.id == data_versions.c.dataset)
        .where(datasets.c.project == project, data_subjects.c.subject.in_(list(subjects)))
    )


def sweep(ground: Ground, *, idle_seconds: int = 0) -> int:
    """Take away what intakes left that died with their process; how many there were.

    At the start of the only control process every one that is noted is dead. Where several run, pass an
    `idle_seconds` longer than any intake takes between two chunks.
    """
    with ground.db.read() as conn:
        before = ground.clock() - idle_seconds * 1_000_000
        dead = conn.execute(sa.select(intakes).where(intakes.c.seen_at <= before)).mappings().all()
    for row in dead:
        _sweep_one(ground, row)
    return len(dead)


def take_back(ground: Ground, note: str) -> None:
    """Take away what was laid under this note; doing it twice is fine."""
    with ground.db.read() as conn:
        row = conn.execute(sa.select(intakes).where(intakes.c.id == note)).mappings().first()
    if row is not None:
        _sweep_one(ground, row)


def _sweep_one(ground: Ground, row: Any) -> None:
    for blob in json.loads(row["blobs"]):
        ground.blobs.delete(blob)
    ground.keyring.drop(json.loads(row["keys"]))
    with ground.db.write() as tx:
        tx.execute(intakes.delete().where(intakes.c.id == row["id"]))
