"""Every content key, wrapped by one epoch key that is in no backup.

The keyring is a database of its own. To forget a subject is to drop its keys, re-wrap the rest under
a new epoch key and destroy the old one: a copy of the keyring from before opens nothing.

Where the epoch key lies is a seam (`store.epoch`). A new one is made beside the old one, then all keys
change to it in one transaction, then it takes the old one's place. Whoever opens the keyring after a
crash in between sees by the keys themselves which of the two is theirs, and finishes.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from freehold.errors import Conflict, NotFound, Unavailable
from freehold.store.epoch import EpochKeyMissing as EpochKeyMissing  # raised on opening
from freehold.store.epoch import EpochKeys, FileEpoch
from freehold.store.few import few
from freehold.store.rows import telling
from freehold.store.sealed import SealBroken, seal, unseal
from freehold.store.sealed import derive as derive  # where it was before; the gateway takes it from there

_PAGE = "SELECT name, wrapped FROM keys WHERE name > ? ORDER BY name LIMIT ?"
_REWRAPPED = 10_000
_LAST = "\U0010ffff"  # names hold nothing that comes after it
T = TypeVar("T")


class KeyDestroyed(NotFound):
    """the key `{name}` is not in the keyring: never made, or destroyed"""


class KeyExists(Conflict):
    """a key that was to be new is in the keyring already"""


class EpochKeyWrong(Unavailable):
    """the epoch key `{path}` does not open this keyring"""


class Keyring:
    """Keys of 32 bytes by name. Names hold ids and HMACs, never a person's name.

    Names in use: `subject/{project}/{subject}` (commitments and sealed words of one person),
    `suppression/{project}` (turns that HMAC into the mark by which a forgotten person is known again),
    `dataset/{id}`, `chunk/{id}`, `model/{id}`, `day/{project}/{YYYY-MM-DD}` (words without a subject),
    `lookup/{project}` (turns a subject into its HMAC), `provider/{service}` (a provider's API key).
    """

    def __init__(self, path: Path, epoch: Path | EpochKeys) -> None:
        """`epoch` is where the epoch key lies; a path is a file."""
        self._lock = threading.RLock()
        self._path = path
        self._epochs: EpochKeys = FileEpoch(epoch) if isinstance(epoch, Path) else epoch
        self._open: dict[str, bytes] = {}
        self._seen: int | None = None
        """The state of the file that `_epoch` was read for; none while that is not known to fit."""
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        try:
            with telling():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        # EXTRA: with FULL the journal's name may still be there after a power cut, and take back what was
        # committed: keys that rows rely on already
        for pragma in ("journal_mode=DELETE", "synchronous=EXTRA", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID"
        )
        self._take_epoch()

    def _take_epoch(self) -> None:
        """Read the epoch key anew. Under a wrong one nothing is done: new keys would be lost with it."""
        self._open.clear()
        self._seen = None  # until all of it went well: whoever asks next tries again
        seen = self._version()
        if self._epochs.unsettled():
            self._finish()
        self._epoch = self._epochs.read()
        if not self._opens(self._epoch):
            raise EpochKeyWrong(
                path=self._epochs.path, why="keyring and epoch key are not of one time", hint="restore both"
            )
        self._seen = seen

    def _finish(self) -> None:
        """Go on where a change of the epoch key stopped: it committed, or it never happened.

        Under the database's own lock, which whoever changes it holds from writing the next key on.
        """
        alone = not self._db.in_transaction
        if alone:
            self._db.execute("BEGIN IMMEDIATE")
        try:
            coming = self._epochs.coming()
            if coming is not None and self._opens(coming):
                self._epochs.take_place()
            self._epochs.settle()
        finally:
            if alone:
                self._db.execute("COMMIT")

    def _opens(self, epoch: bytes) -> bool:
        first = self._db.execute("SELECT name, wrapped FROM keys LIMIT 1").fetchone()
        try:
            return first is None or bool(unseal(epoch, first[1], first[0].encode()))
        except SealBroken:
            return False

    def _version(self) -> int:
        """Another number as soon as another process has changed the file."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def _look(self) -> None:
        """Another control may have forgotten somebody: what was open here is out of date then."""
        if self._version() != self._seen:
            self._take_epoch()

    def _read(self, read: Callable[[], T]) -> T:
        """What is read, opened by the epoch key that wraps it: another control may change that between."""
        while True:
            self._look()
            seen = self._seen
            try:
                return read()
            except SealBroken:
                if self._version() == seen:
                    raise

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction, all of it or nothing."""
        with telling(), self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._look()
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @property
    def folder(self) -> Path:
        """Where keyring and epoch key lie."""
        return self._epochs.path.parent

    @property
    def epoch(self) -> str:
        """Which epoch key wraps the keys, as its digest: it tells two of them apart and nothing else."""
        with telling(), self._lock:
            self._look()
        return hashlib.sha256(self._epoch).hexdigest()

    @staticmethod
    def create_epoch_key(path: Path) -> None:
        """Write 32 random bytes, 0600, unless the file is there."""
        FileEpoch(path).create()

    def key(self, name: str) -> bytes:
        """The key called `name`. Raises KeyDestroyed when there is none."""
        with telling(), self._lock:
            return self._read(lambda: self._key(name))

    def _key(self, name: str) -> bytes:
        if (known := self._open.get(name)) is not None:
            return known
        row = self._db.execute("SELECT wrapped FROM keys WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise KeyDestroyed(name=name)
        key = unseal(self._epoch, row[0], name.encode())
        self._open[name] = key
        return key

    def ensure(self, *names: str) -> list[bytes]:
        """The keys called `names`, made where missing, in one durable transaction."""
        with self._lock:
            there = self.known(names)
            if missing := [name for name in dict.fromkeys(names) if name not in there]:
                with self._changing() as db:
                    rows = [(n, seal(self._epoch, os.urandom(32), n.encode())) for n in missing]
                    db.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", rows)
                there |= {name: self.key(name) for name in missing}
            return [there[name] for name in names]

    def put(self, name: str, secret: bytes) -> None:
        """Keep a secret somebody gave us (a provider's API key), replacing an older one."""
        with self._lock:
            with self._changing() as db:
                wrapped = seal(self._epoch, secret, name.encode())
                db.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (name, wrapped))
            self._open.pop(name, None)

    def known(self, names: Sequence[str]) -> dict[str, bytes]:
        """Those of the keys called `names` that there are, by name; the others are left out."""
        with telling(), self._lock:
            return self._read(lambda: self._known(names))

    def _known(self, names: Sequence[str]) -> dict[str, bytes]:
        found = {name: key for name in names if (key := self._open.get(name)) is not None}
        unopened = [name for name in names if name not in found]
        for some in few(unopened):
            marks = ", ".join("?" * len(some))
            rows = self._db.execute(f"SELECT name, wrapped FROM keys WHERE name IN ({marks})", some)  # noqa: S608 - marks only
            found.update((name, unseal(self._epoch, wrapped, name.encode())) for name, wrapped in rows)
        self._open.update(found)
        return found

    def add(self, keys: Mapping[str, bytes]) -> None:
        """Keep keys that were made outside, all of them or none, in one durable transaction.

        For work that may still fail: its keys live in memory until it is nearly done, so that a failure
        leaves none behind. Raises KeyExists when one of the names is taken.
        """
        with self._lock:
            try:
                with self._changing() as db:
                    wrapped = ((n, seal(self._epoch, key, n.encode())) for n, key in keys.items())
                    db.executemany("INSERT INTO keys VALUES (?, ?)", wrapped)
            except sqlite3.IntegrityError as error:
                raise KeyExists(why="something else made it meanwhile", hint="try again") from error
            self._open.update(keys)

    def drop(self, names: Sequence[str]) -> None:
        """Remove keys by name; removing what is not there is fine.

        This undoes an `add`. It is no forgetting: until the epoch key changes, an older copy of the
        keyring's file still opens what they sealed.
        """
        with self._lock:
            with self._changing() as db:
                db.executemany("DELETE FROM keys WHERE name = ?", [(name,) for name in names])
            for name in names:
                self._open.pop(name, None)

    def destroy(self, names: Sequence[str]) -> int:
        """Drop keys for good: the rest changes to a new epoch key, and the old one is no more.

        A copy of the keyring's file from before opens nothing from then on. Doing it twice is fine. How
        many keys are left.
        """
        with telling(), self._lock:
            with self._changing() as db:
                if self._epochs.unsettled():
                    self._take_epoch()
                epoch = self._epochs.prepare()
                db.executemany("DELETE FROM keys WHERE name = ?", [(name,) for name in names])
                left = self._rewrap(db, epoch)
                self._seen = None  # from the commit on nothing may be wrapped by the old one
            self._take_epoch()
            return left

    def rotate(self) -> int:
        """Change to a new epoch key, for its own sake; nothing is dropped. How many keys it wraps."""
        return self.destroy(())

    def _rewrap(self, db: sqlite3.Connection, epoch: bytes) -> int:
        """All keys under another epoch key, some at a time: there may be a million."""
        last, count = "", 0
        while rows := db.execute(_PAGE, (last, _REWRAPPED)).fetchall():
            opened = ((name, unseal(self._epoch, wrapped, name.encode())) for name, wrapped in rows)
            again = [(seal(epoch, key, name.encode()), name) for name, key in opened]
            db.executemany("UPDATE keys SET wrapped = ? WHERE name = ?", again)
            last, count = rows[-1][0], count + len(rows)
        return count

    def names(self, prefix: str) -> list[str]:
        """The names of all keys that begin with `prefix`, sorted."""
        with self._lock:
            rows = self._db.execute(
                "SELECT name FROM keys WHERE name >= ? AND name < ? ORDER BY name", (prefix, prefix + _LAST)
            )
            return [name for (name,) in rows]

    def subject(self, project: str, person: str) -> str:
        """The HMAC-SHA-256 of a person's identifier under the project's lookup key, hex.

        The same person has the same value in one project and another one in the next.
        """
        (lookup,) = self.ensure(f"lookup/{project}")
        return subject_hmac(lookup, person).hex()

    def close(self) -> None:
        """Forget the open keys and close the file."""
        with self._lock:
            self._open.clear()
            self._db.close()


def subject_hmac(lookup: bytes, person: str) -> bytes:
    """What a person is called in rows and entries: HMAC-SHA-256 under the project's lookup key.

    Blanks around the name are no part of it; otherwise it is taken as it is written.
    """
    return hmac.digest(lookup, person.strip().encode(), "sha256")
