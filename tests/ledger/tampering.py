"""Ways to change a ledger behind its back: bits flipped, things deleted, swapped, cut short, rolled back.

A log is built once; each tampering is done to a copy, looked at, and taken back.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.ledger.tiles import needed
from freehold.ledger.verify import verify
from freehold.spec.notes import VerifierKey
from freehold.spec.principal import SYSTEM
from freehold.store.home import Home
from freehold.store.migrate import open_database
from freehold.store.rows import Database

ORIGIN = "freehold.local/0a1b2c3d"
EARLIER, WHOLE = 300, 700


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A ledger of 700 entries, what it was at 300, and what a client remembers of both."""

    home: Home
    earlier: Home
    key: VerifierKey
    signing: Ed25519PrivateKey
    seen: str
    """The newest checkpoint, as a client kept it."""


def built(folder: Path) -> Log:
    """Make one. The checkpoint that a client kept comes from here, not from what is tampered with."""
    signing = Ed25519PrivateKey.generate()
    home, earlier = Home(folder / "whole"), Home(folder / "earlier")
    home.create()
    database = open_database(home)
    try:
        one = Sequencer(database, home.ledger, signing, ORIGIN)
        _fill(database, EARLIER)
        one.run_once()
        database.settle()
        shutil.copytree(home.root, earlier.root)
        _fill(database, WHOLE - EARLIER)
        one.run_once()
        return Log(home=home, earlier=earlier, key=one.public, signing=signing, seen=one.newest() or "")
    finally:
        database.close()


def _fill(database: Database, count: int) -> None:
    for start in range(0, count, 50):
        with database.write() as tx:
            for number in range(start, min(count, start + 50)):
                detail = {"name": "tariff", "digest": f"sha256:{number:064x}"}
                record(tx, "setting.changed", by=SYSTEM, object=f"tariff-{number % 7}", detail=detail)


class Bench:
    """A copy of the log that is tampered with and mended again."""

    def __init__(self, log: Log, folder: Path, seed: int) -> None:
        self.log, self.home = log, Home(folder / "fh")
        self.chance = random.Random(seed)
        shutil.copytree(log.home.root, self.home.root)
        # a partial tile of an earlier size may lie there still: nobody needs it, so nobody misses it
        self.files = [Path(tile.path) for tile in needed(WHOLE)]

    def tamper(self, kind: str) -> str:
        """Do one thing of this kind; what it was."""
        return self.chance.choice(KINDS[kind])(self)

    def is_found(self) -> bool:
        """Whether a look at the whole log, by who kept its key and its last checkpoint, finds it."""
        return bool(verify(self.home, seen=self.log.seen, key=self.log.key).broken)

    def mend(self) -> None:
        """As it was."""
        shutil.rmtree(self.home.ledger)
        shutil.copytree(self.log.home.ledger, self.home.ledger)
        for rest in ("-wal", "-shm"):
            self.home.database.with_name(self.home.database.name + rest).unlink(missing_ok=True)
        shutil.copyfile(self.log.home.database, self.home.database)

    # -- files ----------------------------------------------------------------------------------------

    def file(self) -> Path:
        """Any file of the ledger; the checkpoint as often as all tiles of one kind."""
        if self.chance.random() < 0.1:
            return self.home.ledger / "checkpoint"
        return self.home.ledger / self.chance.choice(self.files)

    def flip_file(self) -> str:
        path = self.file()
        data = bytearray(path.read_bytes())
        bit = self.chance.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        return f"bit {bit} of {path.name}"

    def delete_file(self) -> str:
        path = self.file()
        path.unlink()
        return f"{path.name} deleted"

    def cut_file(self) -> str:
        path = self.file()
        size = self.chance.randrange(path.stat().st_size)
        with path.open("r+b") as file:
            file.truncate(size)
        return f"{path.name} cut at {size}"

    def swap_files(self) -> str:
        """Two bundles, or two tiles of leaves, change places."""
        level = self.chance.choice(["entries", "0"])
        there = [path for path in self.files if path.parts[1] == level]
        one, other = (self.home.ledger / path for path in self.chance.sample(there, 2))
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
        return f"{one.name} and {other.name} swapped"

    # -- rows -----------------------------------------------------------------------------------------

    def sql(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        with closing(sqlite3.connect(self.home.database, isolation_level=None)) as raw:
            raw.execute("PRAGMA synchronous=OFF")
            for statement, given in statements:
                raw.execute(statement, given)

    def place(self) -> int:
        return self.chance.randrange(WHOLE)

    def flip_body(self) -> str:
        """One letter of an entry becomes its neighbour."""
        ix = self.place()
        with closing(sqlite3.connect(self.home.database)) as raw:
            query = "SELECT entries.id, body FROM entries JOIN ledger USING (id) WHERE ix = ?"
            ((id_, body),) = raw.execute(query, (ix,)).fetchall()
        at = self.chance.randrange(len(body))
        changed = body[:at] + chr(ord(body[at]) ^ 1) + body[at + 1 :]
        self.sql(("UPDATE entries SET body = ? WHERE id = ?", (changed, id_)))
        return f"letter {at} of entry {ix}"

    def flip_leaf(self) -> str:
        ix, byte = self.place(), self.chance.randrange(32)
        with closing(sqlite3.connect(self.home.database)) as raw:
            ((leaf,),) = raw.execute("SELECT leaf FROM ledger WHERE ix = ?", (ix,)).fetchall()
        changed = leaf[:byte] + bytes([leaf[byte] ^ 1]) + leaf[byte + 1 :]
        self.sql(("UPDATE ledger SET leaf = ? WHERE ix = ?", (changed, ix)))
        return f"leaf {ix}"

    def change_column(self) -> str:
        column = self.chance.choice(["at", "kind", "actor", "object", "project"])
        ix, value = self.place(), 7 if column == "at" else "other"
        which = "id = (SELECT id FROM ledger WHERE ix = ?)"
        self.sql((f"UPDATE entries SET {column} = ? WHERE {which}", (value, ix)))
        return f"{column} of entry {ix}"

    def delete_entry(self) -> str:
        ix = self.place()
        self.sql(("DELETE FROM entries WHERE id = (SELECT id FROM ledger WHERE ix = ?)", (ix,)))
        return f"entry {ix} deleted"

    def delete_place(self) -> str:
        ix = self.place()
        self.sql(("DELETE FROM ledger WHERE ix = ?", (ix,)))
        return f"place {ix} deleted"

    def swap_places(self) -> str:
        one, other = self.chance.sample(range(WHOLE), 2)
        self.sql(
            ("UPDATE ledger SET ix = -1 WHERE ix = ?", (one,)),
            ("UPDATE ledger SET ix = ? WHERE ix = ?", (one, other)),
            ("UPDATE ledger SET ix = ? WHERE ix = -1", (other,)),
        )
        return f"entries {one} and {other} swapped"

    def cut_rows(self) -> str:
        """The end is missing, with its entries."""
        size = self.chance.randrange(1, WHOLE)
        self.sql(
            ("DELETE FROM entries WHERE id IN (SELECT id FROM ledger WHERE ix >= ?)", (size,)),
            ("DELETE FROM ledger WHERE ix >= ?", (size,)),
        )
        return f"cut at {size}"

    # -- whoever holds the keys -------------------------------------------------------------------------

    def roll_back(self) -> str:
        """Everything as it was once: each file and each signature of it is true."""
        shutil.rmtree(self.home.ledger)
        shutil.copytree(self.log.earlier.ledger, self.home.ledger)
        shutil.copyfile(self.log.earlier.database, self.home.database)
        return f"rolled back to {EARLIER}"

    def rewrite(self) -> str:
        """An entry is left out or changed, and everything after it made and signed anew with the true key."""
        did = self.chance.choice([self.delete_both, self.swap_places, self.cut_rows])()
        shutil.rmtree(self.home.ledger)
        self.home.ledger.mkdir()
        database = Database.at(self.home.database)
        try:
            Sequencer(database, self.home.ledger, self.log.signing, ORIGIN).run_once()
        finally:
            database.close()
        return f"{did}, signed anew"

    def delete_both(self) -> str:
        ix = self.place()
        self.sql(
            ("DELETE FROM entries WHERE id = (SELECT id FROM ledger WHERE ix = ?)", (ix,)),
            ("DELETE FROM ledger WHERE ix = ?", (ix,)),
            ("UPDATE ledger SET ix = -ix WHERE ix > ?", (ix,)),
            ("UPDATE ledger SET ix = -ix - 1 WHERE ix < 0", ()),
        )
        return f"entry {ix} taken out"


KINDS: dict[str, tuple[Callable[[Bench], str], ...]] = {
    "flipped": (Bench.flip_file, Bench.flip_body, Bench.flip_leaf, Bench.change_column),
    "deleted": (Bench.delete_file, Bench.delete_entry, Bench.delete_place, Bench.delete_both),
    "reordered": (Bench.swap_files, Bench.swap_places),
    "cut short": (Bench.cut_file, Bench.cut_rows),
    "rolled back or rewritten": (Bench.roll_back, Bench.rewrite),
}
FILES = (Bench.flip_file, Bench.delete_file, Bench.cut_file, Bench.swap_files)
"""What somebody sees who has the files alone, as a foreign verifier does."""
