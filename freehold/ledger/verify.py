"""Recompute the whole ledger and compare: entries, their order, tiles, checkpoint; name the first place.

Works on a stopped installation and beside a running one, and only reads. What it trusts is the public
key alone: the log's own, or one that the caller kept.

The order of looking matters beside a running control: first the names of the tile files, then the
checkpoint, then one consistent state of the database. Rows are always older than the tiles made of
them, and these older than the checkpoint, so nothing honest is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import sqlalchemy as sa

from freehold.client import RESTORED
from freehold.errors import NotFound, Tampered
from freehold.ledger import answered
from freehold.ledger.agree import disagreements
from freehold.ledger.artefacts import wrong_artefacts
from freehold.ledger.compare import TileComparison
from freehold.ledger.notes import verifier_key
from freehold.ledger.placed import Placed, placed, says_the_same, wrong_with
from freehold.ledger.tiles import Edge, TileMissing
from freehold.spec.merkle import leaf_hash
from freehold.spec.notes import (
    Checkpoint,
    NoteWrong,
    VerifierKey,
    open_note,
    parse_checkpoint,
    read_checkpoint,
)
from freehold.store import tables
from freehold.store.blobs import Blobs
from freehold.store.home import Home
from freehold.store.migrate import check_pages
from freehold.store.place import postgres_of, rows_of
from freehold.store.signing import load_key_file

KEPT = "the checkpoint you kept"
SEEN = "the checkpoint you saw last"
START = "the checkpoint to start from"


class LedgerChanged(Tampered):
    """the ledger does not verify at {place}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Something that does not hold."""

    place: str
    """An entry with its number, a tile's path, `checkpoint`, or a row of a table."""
    why: str
    hint: str = "keep this state for whoever looks into it, and restore the newest backup that verifies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was looked at, and what does not hold; nothing broken means verified."""

    origin: str
    key: str
    """The verifier key it was checked with, as other tools take it."""
    entries: int
    """Placed entries that were hashed again."""
    since: int = 0
    """How many before them were taken as looked at."""
    seconds: float = 0.0
    """How long hashing them took."""
    signed: int
    """How many of them the checkpoint covers."""
    root: str
    """Of the signed ones, hex; empty when the walk did not get there."""
    tiles: int
    rows: int
    """Rows of state whose entries were looked for."""
    waiting: int
    """Entries that have no place yet: fewer than a second's worth while Freehold runs."""
    objects: int = 0
    """Objects that rows cite whose bytes were hashed again: with `deep` alone."""
    broken: tuple[Broken, ...]

    def raise_if_broken(self) -> None:
        """Raise LedgerChanged naming the first place."""
        if self.broken:
            first, *others = self.broken
            more = "".join(f"; also {other.place}: {other.why}" for other in others)
            raise LedgerChanged(place=first.place, why=first.why + more, hint=first.hint)


def own_key(home: Home) -> VerifierKey:
    """The public key of the installation's own ledger. Raises NotFound where there is none."""
    _refuse_empty(home)
    database = rows_of(home, read_only=True)
    try:
        with database.read() as connection:
            return _own_key(home, connection)
    finally:
        database.close()


def newest(home: Home) -> str | None:
    """The newest signed checkpoint of the installation, as it lies there."""
    return _read(home.ledger / "checkpoint")


def verify(
    home: Home,
    since: str | None = None,
    key: VerifierKey | None = None,
    *,
    seen: str | None = None,
    anchored: Mapping[str, str] | None = None,
    start: str | None = None,
    deep: Blobs | None = None,
) -> Verdict:
    """Look at everything. `since` is a checkpoint kept from earlier, which must be the beginning of this one;
    `seen` is the one this user's client saw last, and must be so as well, and so must each of `anchored`
    (place -> checkpoint). What came before the checkpoint `start` is taken as looked at: its tiles must
    lead to its root, and hashing begins behind it. With `deep`, where objects lie, each that rows cite is
    hashed again, and each answer's row is compared with what its entries say.

    Raises NotFound when there is no installation here, NoteWrong for a `start` that is not this ledger's;
    what does not hold is told in the verdict.
    """
    _refuse_empty(home)
    comparison = TileComparison(home.ledger)
    note = _read(home.ledger / "checkpoint")
    database = rows_of(home, read_only=True)
    try:
        with database.read() as connection:
            check_pages(connection)
            known = key or _own_key(home, connection)
            look = _Look(connection, known, comparison, start)
            verdict = look.at(note, {KEPT: since, SEEN: seen, **(anchored or {})})
            return deeper(verdict, connection, deep) if deep else verdict
    finally:
        database.close()


def _refuse_empty(home: Home) -> None:
    if postgres_of(home) is None and not home.database.exists():
        raise NotFound(
            kind="database", name=str(home.database), hint="name the installation's folder with FREEHOLD_HOME"
        )


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""  # no signed note is empty, so this is told as a broken one


def _own_key(home: Home, connection: sa.Connection) -> VerifierKey:
    settings = tables.settings
    query = sa.select(settings.c.value).where(settings.c.name == "origin")
    origin = connection.execute(query).scalar()
    if origin is None:
        raise NotFound(kind="setting", name="origin", why="this database never became an installation")
    return verifier_key(load_key_file(home.ledger_key), origin)


def deeper(verdict: Verdict, connection: sa.Connection, blobs: Blobs) -> Verdict:
    """The verdict with what was found out about every object that rows cite, and what rows say of answers."""
    objects, wrong = wrong_artefacts(connection, blobs)
    wrong += answered.changed(connection)
    broken = tuple(Broken(place=place, why=why) for place, why in wrong)
    return replace(verdict, objects=objects, broken=verdict.broken + broken)


class _Look:
    """One look at one state: walks the entries once, and remembers what it needs to compare roots."""

    def __init__(
        self, connection: sa.Connection, key: VerifierKey, tiles: TileComparison, start: str | None
    ) -> None:
        self._connection = connection
        self._key = key
        self._tiles = tiles
        self._broken: list[Broken] = []
        self._edge = Edge()
        self._roots: dict[int, bytes] = {}
        self._start = self._kept(start)

    def at(self, note: str | None, notes: Mapping[str, str | None]) -> Verdict:
        signed = self._checkpoint(note)
        earlier = {name: self._earlier(name, text) for name, text in notes.items()}
        known = {name: checkpoint for name, checkpoint in earlier.items() if checkpoint is not None}
        began = time.monotonic()
        wanted = {signed.size, *(checkpoint.size for checkpoint in known.values())}
        if self._begin():
            self._roots_before(wanted)
            self._walk(wanted)
        walked = time.monotonic() - began
        if not self._broken:
            self._compare_roots(signed)
            self._compare_earlier(known)
        unplaced, waiting = self._unplaced()
        rows, against = disagreements(self._connection)
        self._broken += unplaced + [Broken(place=place, why=why) for place, why in against]
        root = self._roots.get(signed.size, b"")
        return Verdict(
            origin=self._key.name,
            key=str(self._key),
            entries=self._edge.size - self._first,
            since=self._first,
            seconds=round(walked, 3),
            signed=signed.size,
            root=root.hex(),
            tiles=self._tiles.seen,
            rows=rows,
            waiting=waiting,
            broken=tuple(self._broken),
        )

    def _checkpoint(self, note: str | None) -> Checkpoint:
        """What was signed; where the signature does not hold, say so and look at the rest all the same."""
        nothing = Checkpoint(origin=self._key.name, size=0, root=Edge().root())
        placed = self._connection.execute(sa.select(sa.func.count()).select_from(tables.ledger)).scalar_one()
        if note is None:
            if placed:
                self._break("checkpoint", f"it is not there, but {placed} entries have their places")
            return nothing
        try:
            return read_checkpoint(note, self._key)
        except NoteWrong as error:
            self._break("checkpoint", error.why)
            return nothing

    def _kept(self, since: str | None) -> Checkpoint | None:
        if since is None:
            return None
        return parse_checkpoint(open_note(since, self._key), self._key.name)

    def _earlier(self, name: str, text: str | None) -> Checkpoint | None:
        """A checkpoint from earlier. What the caller gave must be one; what lies at a place may be broken."""
        try:
            return self._kept(text)
        except NoteWrong as error:
            if name in (KEPT, SEEN):
                raise
            self._break(name, f"what is kept there is no checkpoint of this ledger: {error.why}")
            return None

    # -- entries, one after the other -------------------------------------------------------------

    @property
    def _first(self) -> int:
        """The first entry that is hashed."""
        return self._start.size if self._start else 0

    def _begin(self) -> bool:
        """Stand at the start; False where the tiles do not lead there."""
        if self._start is None:
            return True
        try:
            self._edge = self._tiles.edge(self._start.size)
        except TileMissing as error:
            self._break(error.what, error.why)
            return False
        if self._edge.root() != self._start.root:
            self._break(START, f"the tiles of its {self._start.size} entries lead to another root")
            return False
        return True

    def _roots_before(self, wanted: set[int]) -> None:
        """The roots of checkpoints from before the start: from the tiles, for the entries are not read."""
        try:
            for size in wanted:
                if size < self._first:
                    self._roots[size] = self._tiles.root(size)
        except TileMissing as error:
            self._break(error.what, error.why)

    def _walk(self, wanted: set[int]) -> None:
        edge = self._edge
        self._keep_root(wanted)
        for rows in placed(self._connection, edge.size):
            bodies = [(row[3] or "").encode() for row in rows]
            leaves = [leaf_hash(body) for body in bodies]
            whole = self._whole(rows, bodies, leaves)
            self._take(bodies[:whole], leaves[:whole], wanted)
            if whole < len(rows):
                self._break(*wrong_with(rows[whole], edge.size, leaves[whole]))
                return
        for tile, data in edge.unfinished():
            self._tiles.compare(tile, data)

    def _whole(self, rows: Sequence[Placed], bodies: list[bytes], leaves: list[bytes]) -> int:
        """How many of these entries, which come next, are what was placed, up to the first that is not."""
        for at, row in enumerate(rows):
            right = leaves[at] == row[2] and row[0] == self._edge.size + at
            if not (right and says_the_same(row, bodies[at])):
                return at
        return len(rows)

    def _take(self, bodies: list[bytes], leaves: list[bytes], wanted: set[int]) -> None:
        """Let the tree grow by these, with a stop at each size whose root is wanted."""
        first = self._edge.size
        stops = (size - first for size in sorted(wanted) if first < size < first + len(bodies))
        for begin, end in pairwise((0, *stops, len(bodies))):
            for tile, data in self._edge.extend(bodies[begin:end], leaves[begin:end]):
                self._tiles.compare(tile, data)
            self._keep_root(wanted)

    def _keep_root(self, wanted: set[int]) -> None:
        if self._edge.size in wanted:
            self._roots[self._edge.size] = self._edge.root()

    # -- roots and files --------------------------------------------------------------------------

    def _compare_roots(self, signed: Checkpoint) -> None:
        if self._edge.size < signed.size:
            self._break(
                f"entry {self._edge.size}", f"the ledger ends here, but {signed.size} entries were signed"
            )
            return
        wrong = self._tiles.first_wrong(signed.size)
        if self._roots[signed.size] != signed.root:
            self._blame(signed)
        elif wrong is not None:
            self._break(wrong.path, wrong.why)

    def _compare_earlier(self, known: Mapping[str, Checkpoint]) -> None:
        for name, earlier in known.items():
            if self._edge.size < earlier.size:
                why = f"the ledger went backwards: {earlier.size} entries then, {self._edge.size} now"
            elif self._roots[earlier.size] != earlier.root:
                why = f"its {earlier.size} entries are not the beginning of this ledger"
            else:
                continue
            self._broken.append(self._restored(name, earlier) or Broken(place=name, why=why))

    def _restored(self, name: str, earlier: Checkpoint) -> Broken | None:
        """What the ledger itself says of going back, when it does: still to be accepted by who saw more."""
        e, placed = tables.entries.c, tables.ledger.c
        query = (
            sa.select(placed.ix, e.id)
            .join_from(tables.ledger, tables.entries, e.id == placed.id)
            .where(e.kind == RESTORED, placed.ix < earlier.size)
            .order_by(placed.ix.desc())
        )
        row = self._connection.execute(query).first()
        if row is None:
            return None
        return Broken(
            place=name,
            why=f"a backup was restored: after the first {row.ix} of its {earlier.size} entries others came",
            hint=f"when you know of it: `freehold verify --accept-restored {row.id}`",
        )

    def _blame(self, signed: Checkpoint) -> None:
        """The database leads elsewhere than what was signed: the tiles tell where it left the path."""
        ix = self._tiles.first_other_leaf
        if ix is None:
            self._break("checkpoint", f"its {signed.size} entries lead to another root than the one signed")
            return
        self._break(self._name(ix), "it is not the entry that was signed at this place")

    def _name(self, ix: int) -> str:
        query = sa.select(tables.ledger.c.id).where(tables.ledger.c.ix == ix)
        return f"entry {ix} ({self._connection.execute(query).scalar()})"

    # -- what has no place --------------------------------------------------------------------------

    def _unplaced(self) -> tuple[list[Broken], int]:
        entries, ledger, outbox = tables.entries, tables.ledger, tables.outbox
        query = (
            sa.select(entries.c.id, outbox.c.id)
            .outerjoin(ledger, ledger.c.id == entries.c.id)
            .outerjoin(outbox, outbox.c.id == entries.c.id)
            .where(ledger.c.id.is_(None))
        )
        rows = self._connection.execute(query).all()
        lost = [id_ for id_, waits in rows if waits is None]
        why = "it has no place in the ledger and waits for none"
        return [Broken(place=f"entry {id_}", why=why) for id_ in lost[:1]], len(rows) - len(lost)

    def _break(self, place: str, why: str) -> None:
        self._broken.append(Broken(place=place, why=why))
