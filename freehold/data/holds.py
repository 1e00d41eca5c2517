"""A legal hold: what it covers stays, whatever a rule of retention or a person's request says.

A hold names everything of a project, a service, a purpose, a data set or a person. While it stands, a
purge leaves what it covers, and a forgetting that would touch it is refused (GDPR article 17(3)(e): data
that is needed for legal claims). What was due meanwhile goes with the first purge after its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from freehold.data import lineage
from freehold.data.versions import DataVersion
from freehold.errors import Conflict, NotFound
from freehold.ledger.record import record
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.contents import Period
from freehold.store.rows import Tx
from freehold.store.tables import answers, contents, datasets, holds, services

What = Literal["everything", "service", "purpose", "data", "subject"]
EVERYTHING = "*"
_SHOWN = ("id", "project", "what", "object", "because", "placed_by", "placed_at", "ended_at")


class OnHold(Conflict):
    """a legal hold covers what is to be forgotten"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold as its row says; `because` is sealed."""

    id: str
    project: str
    what: str
    object: str
    because: str
    placed_by: str
    placed_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """The holds that stand in a project, for asking about many things."""

    holds: tuple[Hold, ...]

    def period(self, period: Period) -> bool:
        """Whether all words of a period stay."""
        names = {("everything", EVERYTHING), ("service", period.service), ("purpose", period.purpose)}
        return any((hold.what, hold.object) in names for hold in self.holds)

    def version(self, version: DataVersion) -> bool:
        """Whether the rows of a version stay."""
        names = {("everything", EVERYTHING), ("data", version.name)}
        names |= {("purpose", purpose) for purpose in version.purposes}
        return any((hold.what, hold.object) in names for hold in self.holds)

    @property
    def everything(self) -> bool:
        """Whether all of the project stays."""
        return any(hold.what == "everything" for hold in self.holds)

    @property
    def subjects(self) -> frozenset[str]:
        """Persons (HMAC) whose words and rows stay."""
        return frozenset(hold.object for hold in self.holds if hold.what == "subject")


def refuse_unknown(conn: sa.Connection, project: str, what: What, name: str) -> None:
    """A mistyped name would hold nothing, and nobody would notice. Raises NotFound.

    Of a person only a keyed hash is known, so every name of theirs is taken.
    """
    if what not in ("service", "purpose", "data") or _is_known(conn, project, what, name):
        return
    raise NotFound(
        kind="data set" if what == "data" else what,
        name=name[:80],
        why=f"nothing in `{project}` is called so, and a hold on it would keep nothing",
    )


def _is_known(conn: sa.Connection, project: str, what: What, name: str) -> bool:
    """Whether there is, or was, anything that such a hold would cover."""
    if what == "data":
        found = sa.select(datasets.c.id).where(datasets.c.project == project, datasets.c.name == name)
        return conn.execute(found).first() is not None
    column = "name" if what == "service" else "purpose"
    served = sa.select(services.c.name).where(services.c.project == project, services.c[column] == name)
    asked = sa.select(answers.c.id).where(answers.c.project == project, answers.c[what] == name)
    collected = sa.select(datasets.c.purposes).where(datasets.c.project == project)
    return (
        conn.execute(served.limit(1)).first() is not None
        or (what == "purpose" and any(name in json.loads(each) for each in conn.scalars(collected)))
        or conn.execute(asked.limit(1)).first() is not None
    )


def place(
    tx: Tx, *, by: Principal, project: str, what: What, object: str, because: str, commitment: str
) -> str:
    """Begin a hold; its id. `because` is sealed words, `commitment` what the ledger holds of them."""
    id = new_id("hld")
    row = {"id": id, "project": project, "what": what, "object": object, "because": because}
    tx.execute(holds.insert().values(**row, placed_by=by.id, placed_at=tx.at))
    detail = {"hold": id, "what": what, "object": object, "because": commitment}
    record(tx, "hold.placed", by=by, object=id, project=project, detail=detail)
    return id


def end(tx: Tx, *, by: Principal, hold: Hold, commitment: str) -> None:
    """End a hold. Raises Conflict when it has ended."""
    where = (holds.c.id == hold.id) & holds.c.ended_at.is_(None)
    if not tx.execute(holds.update().where(where).values(ended_at=tx.at)).rowcount:
        raise Conflict(what=f"`{hold.id}` has ended already", why="its end is recorded once")
    detail = {"hold": hold.id, "because": commitment}
    record(tx, "hold.ended", by=by, object=hold.id, project=hold.project, detail=detail)


def find(conn: sa.Connection, id: str) -> Hold:
    """The hold with that id. Raises NotFound."""
    for hold in _read(conn, holds.c.id == id):
        return hold
    raise NotFound(kind="hold", name=id[:80], hint="`freehold hold list` shows them")


def listed(conn: sa.Connection, project: str) -> tuple[Hold, ...]:
    """Every hold there was in a project, the newest first."""
    return tuple(_read(conn, holds.c.project == project))


def standing(conn: sa.Connection, project: str) -> Held:
    """The holds that stand."""
    return Held(tuple(_read(conn, (holds.c.project == project) & holds.c.ended_at.is_(None))))


def _read(conn: sa.Connection, where: sa.ColumnElement[bool]) -> Iterable[Hold]:
    query = sa.select(*(holds.c[name] for name in _SHOWN)).where(where)
    rows = conn.execute(query.order_by(holds.c.placed_at.desc(), holds.c.id)).mappings()
    return [Hold(**row) for row in rows]


def refuse_held(conn: sa.Connection, project: str, subject: str) -> None:
    """Raise OnHold when forgetting this person (HMAC) would touch what a hold covers."""
    if ids := touching(conn, project, subject):
        raise OnHold(
            why=f"{', '.join(ids)}: what it covers is kept for legal claims (GDPR article 17(3)(e))",
            hint="tell the person so; when the hold is over, `freehold hold end`, and ask again",
        )


def touching(conn: sa.Connection, project: str, subject: str) -> tuple[str, ...]:
    """The holds that cover something of this person."""
    held = standing(conn, project)
    return tuple(hold.id for hold in held.holds if _touches(conn, hold, subject))


def _touches(conn: sa.Connection, hold: Hold, subject: str) -> bool:
    if hold.what == "subject":
        return hold.object == subject
    alone = Held((hold,))
    if any(alone.version(version) for version, _ in lineage.versions_of(conn, hold.project, subject)):
        return True
    a = answers.c
    theirs = sa.select(a.service, a.purpose).distinct().join(contents, contents.c.answer == a.id)
    rows = conn.execute(theirs.where(a.project == hold.project, a.subject == subject))
    return any(alone.period(Period(hold.project, "", row.service, row.purpose)) for row in rows)
