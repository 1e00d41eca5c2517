"""Every content key, wrapped by one epoch key that is in no backup.

The keyring is a database of its own. To forget a subject is to drop its keys, re-wrap the rest under
a new epoch key and destroy the old one: a copy of the keyring from before opens nothing.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from freehold.errors import Conflict, NotFound, Unavailable
from freehold.store.home import write_atomically
from freehold.store.rows import telling
from freehold.store.sealed import SealBroken, seal, unseal
from freehold.store.sealed import derive as derive  # where it was before; the gateway takes it from there

_AT_ONCE = 500  # names in one query: SQLite's oldest limit is 999 parameters


class KeyDestroyed(NotFound):
    """the key `{name}` is not in the keyring: never made, or destroyed"""


class KeyExists(Conflict):
    """a key that was to be new is in the keyring already"""


class EpochKeyMissing(Unavailable):
    """the epoch key `{path}` cannot be read"""


class EpochKeyWrong(Unavailable):
    """the epoch key `{path}` does not open this keyring"""


class Keyring:
    """Keys of 32 bytes by name. Names hold ids and HMACs, never a person's name.

    Names in use: `subject/{project}/{subject}` (commitments and sealed words of one person),
    `dataset/{id}`, `chunk/{id}`, `model/{id}`, `day/{project}/{YYYY-MM-DD}` (words without a subject),
    `lookup/{project}` (turns a subject into its HMAC), `provider/{service}` (a provider's API key).
    """

    def __init__(self, path: Path, epoch_path: Path) -> None:
        self._lock = threading.RLock()
        self._epoch_path = epoch_path
        self._epoch = _read_epoch(epoch_path)
        self._open: dict[str, bytes] = {}
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        try:
            with telling():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID"
        )
        first = self._db.execute("SELECT name, wrapped FROM keys LIMIT 1").fetchone()
        try:
            if first is not None:
                unseal(self._epoch, first[1], first[0].encode())
        except SealBroken as error:  # new keys under a wrong epoch key would be lost with it
            raise EpochKeyWrong(
                path=self._epoch_path, why="keyring and epoch key are not of one time", hint="restore both"
            ) from error

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction, all of it or nothing."""
        with telling(), self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @staticmethod
    def create_epoch_key(path: Path) -> None:
        """Write 32 random bytes, 0600, unless the file is there."""
        if not path.exists():
            write_atomically(path, os.urandom(32), 0o600)

    def key(self, name: str) -> bytes:
        """The key called `name`. Raises KeyDestroyed when there is none."""
        with telling(), self._lock:
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
            missing = [n for n in dict.fromkeys(names) if n not in self._open and not self._has(n)]
            if missing:
                rows = [(n, seal(self._epoch, os.urandom(32), n.encode())) for n in missing]
                with self._changing() as db:
                    db.executemany("INSERT INTO keys VALUES (?, ?)", rows)
            return [self.key(name) for name in names]

    def _has(self, name: str) -> bool:
        return self._db.execute("SELECT 1 FROM keys WHERE name = ?", (name,)).fetchone() is not None

    def put(self, name: str, secret: bytes) -> None:
        """Keep a secret somebody gave us (a provider's API key), replacing an older one."""
        with self._lock:
            wrapped = seal(self._epoch, secret, name.encode())
            with self._changing() as db:
                db.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (name, wrapped))
            self._open.pop(name, None)

    def known(self, names: Sequence[str]) -> dict[str, bytes]:
        """Those of the keys called `names` that there are, by name; the others are left out."""
        with telling(), self._lock:
            found = {name: key for name in names if (key := self._open.get(name)) is not None}
            unopened = [name for name in names if name not in found]
            for start in range(0, len(unopened), _AT_ONCE):
                some = unopened[start : start + _AT_ONCE]
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
            wrapped = ((n, seal(self._epoch, key, n.encode())) for n, key in keys.items())
            try:
                with self._changing() as db:
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

    def names(self, prefix: str) -> list[str]:
        """The names of all keys that begin with `prefix`, sorted."""
        with self._lock:
            rows = self._db.execute(
                "SELECT name FROM keys WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
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


def _read_epoch(path: Path) -> bytes:
    try:
        epoch = path.read_bytes()
    except OSError as error:
        raise EpochKeyMissing(
            path=path,
            why=error.strerror or str(error),
            hint="without it nothing sealed can be opened: restore it from where you keep it",
        ) from error
    if len(epoch) != 32:
        raise EpochKeyMissing(path=path, why=f"it has {len(epoch)} bytes instead of 32")
    return epoch
