"""Gives every entry its place, extends the tiles, signs the checkpoint: in this order, again and again.

Three steps, each of which may be the last one before a crash:

1. entries in the outbox get the next numbers, in one transaction: a row of `ledger` for each;
2. tiles are written up to the new size, and are on the disk;
3. the checkpoint is replaced.

A start reads where the checkpoint stands and goes on from there: places without tiles get them, tiles
without a checkpoint are removed and written again. It signs only what continues the
checkpoint before: a ledger that does not lead to it is never signed over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from freehold.errors import Failure, Tampered, Unavailable
from freehold.ledger.notes import sign_checkpoint, verifier_key
from freehold.ledger.tiles import Edge, Tile, TileFolder, TileMissing
from freehold.spec.merkle import leaf_hash
from freehold.spec.notes import Checkpoint, NoteWrong, read_checkpoint
from freehold.store import tables
from freehold.store.home import write_atomically
from freehold.store.rows import Database

BATCH = 2048
GATHER = 0.2
"""Seconds for which entries gather while nobody nudges: no checkpoint is older than a second."""
LOOK = 0.05
"""Seconds between looks at how far the ledger is, for somebody who waits."""
UNTOLD, LEADING = 10.0, 1.0
"""Seconds between looks at the outbox when nothing was told, and between tries to lead."""
PAUSE = 1.0
"""Seconds before the next attempt after a failure."""
LONG_PAUSE = 30.0
"""Seconds before the next attempt when a proof does not hold: time does not mend that."""

_log = logging.getLogger(__name__)


class LedgerBroken(Tampered):
    """the ledger does not continue what was signed before"""


class SignedFurther(Unavailable):
    """the ledger was signed further than this control knows"""


class NotSequenced(Unavailable):
    """the entry `{entry}` has no place in the ledger yet"""


class _Placed(NamedTuple):
    """An entry that has its place."""

    ix: int
    body: bytes
    leaf: bytes


class Sequencer:
    """One per control; of several on one Postgres the one that leads works, and the others read its files.

    Should two ever work at once, for one of them was frozen and lost the lead in the middle of a round, the
    key of `ledger` is the fence between them, and nobody signs less than is signed.
    """

    def __init__(
        self,
        db: Database,
        folder: Path,
        key: Ed25519PrivateKey,
        origin: str,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.db = db
        self.tiles = TileFolder(folder)
        self.key = key
        self.origin = origin
        self.public = verifier_key(key, origin)
        self.leads = leads
        """Whether it is this one's turn; asked before each round."""
        self.problem: Failure | None = None
        """Why the ledger does not grow at the moment; none when all is well."""
        self._edge: Edge | None = None
        self._signed = 0
        self._leading = False
        self._turn = threading.Lock()
        self._grown = threading.Condition()
        self._written = threading.Event()
        """There is something to do."""
        self._hurry = threading.Event()
        """Somebody waits for it."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Sequence from now on, in a thread of its own."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sequence what is there, then end the thread."""
        self._stopping.set()
        self.nudge()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def nudge(self) -> None:
        """Look at the outbox now: somebody waits for what is in it."""
        self._hurry.set()
        self._written.set()

    def run_once(self) -> int:
        """Do all three steps for everything that waits; how many entries got their place.

        Where another control leads, only look how far it is. Raises LedgerBroken rather than signing over
        a ledger that was changed.
        """
        with self._turn:
            self._leading = self.leads()
            if not self._leading:
                return self._follow()
            try:
                if self._edge is None:
                    self._edge = self._recover()
                placed = self._go_on(self._edge)
            except BaseException:
                self._edge = None  # the next round begins from the files
                raise
        with self._grown:
            self._grown.notify_all()
        return placed

    def _follow(self) -> int:
        """Read what the one that leads has signed; should it die, the next round begins from the files."""
        self._edge = None
        note = self.newest()
        self._signed = read_checkpoint(note, self.public).size if note else 0
        with self._grown:
            self._grown.notify_all()
        return 0

    def wait_for(self, entry: str, timeout: float = 2.0) -> int:
        """The place of `entry`, once a checkpoint covers it. Raises NotSequenced after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if self._thread is None:
                self.run_once()
            with self._grown:
                ix = self._signed_place(entry)
                if ix is not None:
                    return ix
                self.nudge()
                left = deadline - time.monotonic()
                self._grown.wait(min(LOOK, left))
            if left <= 0:
                break
        problem = self.problem
        raise NotSequenced(
            entry=entry,
            why=problem.what if problem else f"it was not done within {timeout} s",
            hint=problem.hint if problem else "try again; `freehold status` tells what is wrong",
        )

    def newest(self) -> str | None:
        """The newest signed checkpoint, or none when nothing was sequenced yet."""
        try:
            return self.tiles.checkpoint.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    # -- the thread -----------------------------------------------------------------------------------

    def _loop(self) -> None:
        changes = self.db.changes
        with changes.telling({"entries"}, self._written.set), changes.telling({"snapshots"}, self.nudge):
            while not self._stopping.is_set():
                if not self._attempt():
                    self._stopping.wait(LONG_PAUSE if isinstance(self.problem, Tampered) else PAUSE)
                    continue
                self._await_entries()
        self._attempt()

    def _await_entries(self) -> None:
        """Until there are some, and a moment more, so that many get their places together."""
        if self._written.wait(UNTOLD if self._leading else LEADING):
            self._hurry.wait(GATHER)
        self._written.clear()
        self._hurry.clear()

    def _attempt(self) -> bool:
        """One round; a failure is kept for whoever waits."""
        try:
            self.run_once()
        except Exception as error:  # the thread must outlive a full disk; nothing is signed meanwhile
            if self.problem is None:
                _log.error("the ledger does not grow: %s", error)
            self.problem = error if isinstance(error, Failure) else _broke(error)
            return False
        self.problem = None
        return True

    def _go_on(self, edge: Edge) -> int:
        """How many entries got their place."""
        count = 0
        while waiting := self._waiting():
            try:
                placed = self._give_places(waiting)
            except sa.exc.IntegrityError:
                continue  # another sequencer took these numbers; look again
            self._extend(edge, placed)
            count += len(placed)
            if len(placed) < BATCH:
                return count
        self._refuse_loss()
        self._extend(edge, ())
        return count

    # -- step 1: places -------------------------------------------------------------------------------

    def _waiting(self) -> Sequence[sa.Row[str, str]]:
        entries, outbox = tables.entries, tables.outbox
        query = (
            sa.select(entries.c.id, entries.c.body)
            .join(outbox, outbox.c.id == entries.c.id)
            .order_by(outbox.c.turn)
            .limit(BATCH)
        )
        with self.db.read() as connection:
            return connection.execute(query).all()

    def _give_places(self, waiting: Sequence[sa.Row[str, str]]) -> list[_Placed]:
        bodies = [row.body.encode() for row in waiting]
        leaves = [leaf_hash(body) for body in bodies]
        with self.db.write() as tx:
            first = self._whole(tx.connection)
            for ix, (row, leaf) in enumerate(zip(waiting, leaves, strict=True), first):
                tx.later(_PLACE, {"ix": ix, "id": row.id, "leaf": leaf})
                tx.later(_PLACED, {"of": row.id})
        return list(map(_Placed, range(first, first + len(bodies)), bodies, leaves))

    def _refuse_loss(self) -> None:
        """A database that went back may do so at any time, without anything that waits: look each round."""
        with self.db.read() as connection:
            self._whole(connection)

    def _whole(self, connection: sa.Connection) -> int:
        """How many entries have their place. Raises LedgerBroken when there are fewer than were signed."""
        last = connection.execute(sa.select(sa.func.max(tables.ledger.c.ix))).scalar()
        first: int = 0 if last is None else last + 1
        if first < self._signed:
            raise LedgerBroken(
                why=f"{self._signed} entries were signed, and the database lost all but {first} of them",
                hint=_VERIFY,
            )
        return first

    # -- steps 2 and 3: tiles, checkpoint -------------------------------------------------------------

    def _extend(self, edge: Edge, placed: Sequence[_Placed]) -> None:
        """By those that were `placed` just now, after the ones that have a place and no tile yet."""
        first = placed[0].ix if placed else None
        while edge.size != first and (before := self._placed_from(edge.size, first)):
            self._lengthen(edge, before)
        if placed:
            self._lengthen(edge, placed)
        if 0 < self._signed_by_others() < self._signed:  # by one that was frozen before its last step
            self._sign(Checkpoint(origin=self.origin, size=edge.size, root=edge.root()))

    def _lengthen(self, edge: Edge, placed: Sequence[_Placed]) -> None:
        self._append(edge, placed)
        self._write(edge.unfinished())
        self._sign(Checkpoint(origin=self.origin, size=edge.size, root=edge.root()))

    def _placed_from(self, first: int, last: int | None = None) -> list[_Placed]:
        """Raises LedgerBroken for an entry that was changed since."""
        entries, ledger = tables.entries, tables.ledger
        query = (
            sa.select(ledger.c.ix, entries.c.body, ledger.c.leaf)
            .join(entries, entries.c.id == ledger.c.id)
            .where(ledger.c.ix >= first)
            .order_by(ledger.c.ix)
            .limit(BATCH)
        )
        if last is not None:
            query = query.where(ledger.c.ix < last)
        with self.db.read() as connection:
            placed = [_Placed(row.ix, row.body.encode(), row.leaf) for row in connection.execute(query)]
        for one in placed:
            if leaf_hash(one.body) != one.leaf:
                raise _not_the_one(one.ix)
        return placed

    def _append(self, edge: Edge, placed: Sequence[_Placed]) -> None:
        for ix, one in enumerate(placed, edge.size):
            if one.ix != ix:
                raise _not_the_one(ix)
        self._write(edge.extend([one.body for one in placed], [one.leaf for one in placed]))

    def _write(self, tiles: Sequence[tuple[Tile, bytes]]) -> None:
        for tile, data in tiles:
            self.tiles.write(tile, data)

    def _sign(self, checkpoint: Checkpoint) -> None:
        self.tiles.settle()
        if self._signed_by_others() > checkpoint.size:
            raise SignedFurther(why="another control gave places meanwhile", hint="it goes on from there")
        write_atomically(self.tiles.checkpoint, sign_checkpoint(checkpoint, self.key).encode())
        self._signed = checkpoint.size

    def _signed_by_others(self) -> int:
        """How far the checkpoint reaches that lies there; 0 when none that can be read does."""
        try:
            return read_checkpoint(self.newest() or "", self.public).size
        except NoteWrong:
            return 0  # ours, which continues the one that we know, mends it

    def _signed_place(self, entry: str) -> int | None:
        """The place of `entry` when the newest checkpoint covers it."""
        query = sa.select(tables.ledger.c.ix).where(tables.ledger.c.id == entry)
        with self.db.read() as connection:
            ix: int | None = connection.execute(query).scalar()
        return ix if ix is not None and ix < self._signed else None

    # -- after a start --------------------------------------------------------------------------------

    def _recover(self) -> Edge:
        """The tree at the last checkpoint, from the tiles; where these are lost, from the tables."""
        self._refill_outbox()
        note = self.newest()
        if note is None:
            return Edge()  # tiles and checkpoint are written anew from the tables
        signed = read_checkpoint(note, self.public)
        self.tiles.cut_back(signed.size)
        edge = self._edge_in_files(signed)
        if edge is None:
            restored = next(iter(self.tiles.files()), None) is None  # a backup holds none
            _log.log(
                logging.INFO if restored else logging.WARNING,
                "the tiles do not lead to the signed root: made again from the database",
            )
            edge = self._rebuild(signed.size)
        if edge.size != signed.size or edge.root() != signed.root:
            raise LedgerBroken(
                why=f"{signed.size} entries were signed, and the database does not lead to their root",
                hint=_VERIFY,
            )
        self._signed = signed.size
        return edge

    def _edge_in_files(self, signed: Checkpoint) -> Edge | None:
        try:
            edge = self.tiles.edge(signed.size)
        except TileMissing:
            return None
        return edge if edge.root() == signed.root else None

    def _rebuild(self, size: int) -> Edge:
        edge = Edge()
        while edge.size < size and (rows := self._placed_from(edge.size, size)):
            self._append(edge, rows)
        self._write(edge.unfinished())  # of the size that was signed; nobody asks for those in between
        self.tiles.settle()
        return edge

    def _refill_outbox(self) -> None:
        """Whatever has no place waits for one, however it came to miss the outbox."""
        entries, ledger, outbox = tables.entries, tables.ledger, tables.outbox
        lost = (
            sa.select(entries.c.id)
            .outerjoin(ledger, ledger.c.id == entries.c.id)
            .outerjoin(outbox, outbox.c.id == entries.c.id)
            .where(ledger.c.id.is_(None), outbox.c.id.is_(None))
            .order_by(entries.c.at, entries.c.id)
        )
        with self.db.read() as connection:
            missing = [{"id": id_} for (id_,) in connection.execute(lost)] if _some_lost(connection) else []
        if missing:
            with self.db.write() as tx:
                tx.execute(outbox.insert(), missing)


_PLACE = tables.ledger.insert()
_PLACED = tables.outbox.delete().where(tables.outbox.c.id == sa.bindparam("of"))
_VERIFY = "nothing more is signed; `freehold verify` names the place, then restore a backup"


def _not_the_one(ix: int) -> LedgerBroken:
    return LedgerBroken(why=f"the entry at {ix} is not the one that was placed there", hint=_VERIFY)


def _some_lost(connection: sa.Connection) -> bool:
    """Whether there are not as many entries as places and waiting ones.

    Counting takes a fortieth of the time of looking for each, for which a start with ten million entries
    would have to wait.
    """
    every, placed, waiting = (
        connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for table in (tables.entries, tables.ledger, tables.outbox)
    )
    return bool(every != placed + waiting)


def _broke(error: Exception) -> Failure:
    return Unavailable(what="the ledger cannot be extended", why=f"{type(error).__name__}: {error}")
