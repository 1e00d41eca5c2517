"""Who was forgotten comes back: they may come in again on a new basis, with what comes from then on.

Nothing of the forgetting is taken back. What was destroyed is no more, old versions keep their holes, and
what is of before stays out: a readmission says for which basis and purposes new rows may be about the
person, and after which forgettings. The next forgetting ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from freehold.data import consent, suppression
from freehold.data.declare import BASES, LEGAL
from freehold.data.suppression import Marked, Readmission, Terms
from freehold.data.versions import declared_from
from freehold.errors import BadInput, Conflict
from freehold.ledger.record import record
from freehold.spec.ids import canonical, new_id
from freehold.spec.principal import Principal
from freehold.store.keyring import Keyring
from freehold.store.rows import Tx
from freehold.store.tables import datasets, forgettings, readmissions

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}")


class NotKeptOut(Conflict):
    """nobody of this name is kept out of `{project}`"""


class StillForgetting(Conflict):
    """this person is being forgotten"""


class NoNewBasis(BadInput):
    """`{given}` is no new basis"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a readmission does; counts, names of data sets and ids, nothing of the person."""

    readmission: str | None
    """None for a plan of one that is not there yet."""
    new: bool
    """False when it was so already."""
    forgotten: tuple[str, ...]
    """For which requests the person was forgotten."""
    comes_into: tuple[str, ...]
    """Data sets into which files may bring the person again."""
    stays_out_of: tuple[str, ...]
    """Data sets of another basis or purpose."""
    withdrawn: tuple[str, ...]
    """Purposes for which a withdrawal of their consent still stands."""


def settle(basis: str, purposes: Iterable[str], request: str) -> Terms:
    """What was asked for, seen to be a new basis. Raises NoNewBasis."""
    wanted = tuple(sorted(set(purposes)))
    if not basis or not wanted:
        raise NoNewBasis(
            given=basis[:40] or "nothing",
            why="what was agreed before ended with the forgetting",
            hint="say --basis and --purpose: on what ground, and what for",
        )
    if basis not in BASES:
        raise NoNewBasis(
            given=basis[:40],
            why=f"it is one of {', '.join(BASES)}",
            hint="say on which of these the person's data may be used now",
        )
    if basis == LEGAL:
        raise NoNewBasis(
            given=basis,
            why="what a law makes you keep is not kept out",
            hint="add it to a data set of that basis; nobody learns from it",
        )
    if not _REFERENCE.fullmatch(request):
        raise NoNewBasis(
            given=request[:80],
            why="its reference is letters, digits and . _ / -, at most 64",
            hint="CONTRACT-2026-7, say",
        )
    return Terms(basis=basis, purposes=wanted, request=request)


def plan(conn: sa.Connection, keyring: Keyring, project: str, subject: str, terms: Terms) -> Told:
    """What letting a person (their HMAC) in again would do. Raises as `readmit` does."""
    known, again = _known(conn, keyring, project, subject)
    for purpose in terms.purposes:
        consent.need_purpose(conn, project, purpose)
    same = next((one for one in again if one.terms == terms), None)
    declared = conn.execute(sa.select(datasets).where(datasets.c.project == project)).mappings().all()
    names = {row["name"]: terms.covers(declared_from(row)) for row in declared if row["basis"] != LEGAL}
    return Told(
        readmission=same.id if same else None,
        new=same is None,
        forgotten=_requests(conn, known),
        comes_into=tuple(sorted(name for name, inside in names.items() if inside)),
        stays_out_of=tuple(sorted(name for name, inside in names.items() if not inside)),
        withdrawn=_withdrawn(conn, project, subject, terms.purposes),
    )


def readmit(tx: Tx, keyring: Keyring, *, by: Principal, project: str, subject: str, terms: Terms) -> str:
    """Let a person (their HMAC) who was forgotten come in again, with what comes from now on; its id.

    Saying it twice changes nothing. Raises NotKeptOut, StillForgetting, UnknownPurpose.
    """
    planned = plan(tx.connection, keyring, project, subject, terms)
    if planned.readmission is not None:
        return planned.readmission
    mark = suppression.mark(keyring, project, subject)
    after = sorted(suppression.marked(tx.connection, project)[mark].forgettings)
    id = new_id("rdm")
    said = {"basis": terms.basis, "request": terms.request}
    lists = {"purposes": list(terms.purposes), "forgettings": after}
    text = {name: canonical(value).decode() for name, value in lists.items()}
    row = {"id": id, "project": project, "mark": mark, "readmitted_by": by.id, "at": tx.at}
    tx.execute(readmissions.insert().values(**row, **said, **text))
    detail = {"readmission": id, **said, **lists}
    record(tx, "subject.readmitted", by=by, object=id, project=project, detail=detail)
    return id


def of_subject(conn: sa.Connection, keyring: Keyring, project: str, subject: str) -> tuple[Readmission, ...]:
    """The readmissions of a person (their HMAC) that count."""
    known = suppression.marked(conn, project)
    if not known:
        return ()
    again = suppression.in_again(conn, project, known)
    return tuple(again.get(suppression.mark(keyring, project, subject), ()))


def _known(
    conn: sa.Connection, keyring: Keyring, project: str, subject: str
) -> tuple[Marked, Sequence[Readmission]]:
    f = forgettings.c
    naming = sa.select(f.request).where(f.project == project, f.subject == subject)
    if (request := conn.scalar(naming)) is not None:
        raise StillForgetting(
            why=f"what `{request}` asked for has not come to its end",
            hint="wait for its certificate; a forgetting that failed goes on with `freehold forget`",
        )
    known = suppression.marked(conn, project)
    mark = suppression.mark(keyring, project, subject)
    if mark not in known:
        raise NotKeptOut(
            project=project,
            why="nobody of this name was forgotten there",
            hint="look at how the name is written; files bring in who was never forgotten",
        )
    return known[mark], suppression.in_again(conn, project, known).get(mark, ())


def _requests(conn: sa.Connection, known: Marked) -> tuple[str, ...]:
    f = forgettings.c
    query = sa.select(f.request).where(f.id.in_(known.forgettings)).order_by(f.asked_at, f.id)
    return tuple(conn.scalars(query))


def _withdrawn(conn: sa.Connection, project: str, subject: str, purposes: Sequence[str]) -> tuple[str, ...]:
    said = consent.of_subject(conn, project, subject)
    return tuple(purpose for purpose in purposes if said.get(purpose) == consent.WITHDRAWN)
