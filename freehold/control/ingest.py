"""Taking a gateway's records in: rows, sealed words and entries in one transaction per batch.

A batch is whole frames of one spool. What was taken in before is recognised answer by answer, so a
batch may come twice; a chain that does not go on where it stopped is an alarm in the ledger, and the
records are taken in all the same, for an alarm must not cost what is left. An end whose beginning
is nowhere (its frames were lost, or the database is older than the spool) is an alarm, too: there is
nothing to add it to, so its words are not kept, and the entry is all that stays of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec.structs import asdict, replace

from freehold.control.resealing import Part, Seals, opened, resealed
from freehold.data import suppression
from freehold.errors import BadInput
from freehold.ledger.record import record
from freehold.spec.answer import FORGOTTEN, Again, Close, Intent, Turn, Words, copied
from freehold.spec.asking import NOBODY_ASKED, Asking, asked
from freehold.spec.principal import Principal
from freehold.store.contents import DAY, Period, key_name
from freehold.store.frames import Frame, genesis, head_of, read_one
from freehold.store.ground import Ground
from freehold.store.keyring import Keyring
from freehold.store.rows import Tx
from freehold.store.sealed import SealBroken
from freehold.store.spooled import Began, Ended, Repeated, Spooled, Turned, unpack
from freehold.store.tables import answers, answers_again, contents, forgettings, spools


class FramesUnreadable(BadInput):
    """these are no frames of a spool"""


class RecordUnknown(BadInput):
    """frame {sequence} holds no record this release knows"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenIn:
    """How far a spool is taken in now, and how many records of this batch were new."""

    sequence: int
    records: int
    ended: tuple[str, ...] = field(default=(), compare=False)
    """The answers of which the end was new."""


class _Link(msgspec.Struct, frozen=True):
    """A frame with the chain hash after it, and its record when it holds one."""

    frame: Frame
    after: str
    record: Spooled | None
    answer: str
    """Which answer the record is of; empty without one."""


_Begun = dict[str, dict[str, Any]]
"""The rows of answers that begin in this batch: what else it says of them goes into them before they are
written, for a row that is inserted and then updated goes through the indexes twice."""
_What = Literal["begins", "turns", "ends", "amends", "unbegun", "repeats", "takes back"]


class _New(msgspec.Struct, frozen=True):
    """A record that was not taken in yet, and what it does."""

    link: _Link
    what: _What


class _About(msgspec.Struct, frozen=True):
    """What an answer's words are sealed by, and on which request it was given."""

    project: str
    service: str
    purpose: str
    subject: str | None
    at: int
    asking: Asking


def take_in(ground: Ground, *, by: Principal, spool: str, data: bytes, private: bytes) -> TakenIn:
    """Take in the frames in `data`.

    `private` is control's half of the key that gateways seal to. Raises FramesUnreadable or
    RecordUnknown, and then nothing is taken in.
    """
    links = _links(data)
    while (taken := _taken(ground, by, spool, links, private)) is None:
        continue  # somebody was forgotten meanwhile: who is named is looked at anew
    return taken


def _taken(
    ground: Ground, by: Principal, spool: str, links: Sequence[_Link], private: bytes
) -> TakenIn | None:
    """None, and nothing is taken in, when a forgetting began between looking and writing."""
    abouts = _abouts(ground, links)
    with ground.db.read() as conn:
        marked = _marked(conn, abouts)
        about = _remembered(conn, ground.keyring, abouts)
    words, unreadable = _words(ground.keyring, links, about, private)
    with ground.db.write() as tx:
        if _marked(tx.connection, abouts) != marked:
            return None
        reached, head = _reached(tx, spool)
        if not links:
            return TakenIn(sequence=reached, records=0)
        new = list(_unknown(tx, links, reached))
        if _is_broken(links, {one.link.frame.sequence for one in new}, reached, head):
            _alarm(tx, by, spool, reached, links[0].frame.sequence)
        elif links[-1].frame.sequence <= reached:
            return TakenIn(sequence=reached, records=0)
        begun: _Begun = {}
        for one in new:
            with asked(_asking(one.link, about)):
                _apply(tx, by, spool, one, about, begun)
        for row in begun.values():
            tx.later(_INSERT, row)
        ended = {one.link.answer for one in new if one.what == "ends"}
        _keep(tx, by, spool, ended, words, unreadable)
        _remember(tx, spool, links[-1])
    return TakenIn(sequence=links[-1].frame.sequence, records=len(new), ended=tuple(ended))


# -- load -----------------------------------------------------------------------------------------------


def _links(data: bytes) -> list[_Link]:
    links: list[_Link] = []
    offset = 0
    while offset < len(data):
        read = read_one(data, offset)
        if isinstance(read, str):
            raise FramesUnreadable(why=f"at byte {offset}: {read}")
        frame, end = read
        record = _record(frame)
        links.append(_Link(frame, head_of(data[offset:end]).hex(), record, _answer(record)))
        offset = end
    return links


def _record(frame: Frame) -> Spooled | None:
    if not frame.payload:
        return None
    try:
        return unpack(frame.payload)
    except msgspec.DecodeError as error:
        raise RecordUnknown(
            sequence=frame.sequence,
            why="the gateway may be of a newer release",
            hint="bring control to the same release; the records wait in the gateway's spool",
        ) from error


def _answer(record: Spooled | None) -> str:
    match record:
        case Began(intent):
            return intent.answer
        case Turned(turn):
            return turn.answer
        case Ended(close):
            return close.answer
        case Repeated(again):
            return again.answer
    return ""


def _abouts(ground: Ground, links: Sequence[_Link]) -> dict[str, _About]:
    """Whom each answer is about: said by its beginning, in this batch or taken in before."""
    known = {link.answer: _about(link.record.intent) for link in links if isinstance(link.record, Began)}
    later = [link for link in links if link.answer and link.answer not in known]
    missing = [link.answer for link in later if not isinstance(link.record, Repeated)]
    if missing:
        a = answers.c
        query = sa.select(a.id, a.project, a.service, a.purpose, a.subject, a.at, a.request_id, a.trace)
        with ground.db.read() as conn:
            for row in conn.execute(query.where(a.id.in_(missing))):
                asking = Asking(id=row.request_id, trace=row.trace)
                known[row.id] = _About(row.project, row.service, row.purpose, row.subject, row.at, asking)
    return known


def _about(intent: Intent) -> _About:
    asking = Asking(id=intent.request_id, trace=intent.trace)
    return _About(intent.project, intent.service, intent.purpose, intent.subject, intent.at, asking)


def _marked(conn: sa.Connection, abouts: Mapping[str, _About]) -> int:
    """How many were forgotten, or are being, where these answers name persons; it only grows."""
    f, places = forgettings.c, {about.project for about in abouts.values() if about.subject}
    if not places:
        return 0
    query = sa.select(sa.func.count()).where(f.project.in_(sorted(places)), f.mark.is_not(None))
    return int(conn.scalar(query) or 0)


def _remembered(conn: sa.Connection, keyring: Keyring, abouts: dict[str, _About]) -> dict[str, _About]:
    """Nobody is named who was forgotten while the record was on its way."""
    places = {about.project for about in abouts.values() if about.subject}
    known = {place: suppression.of_project(conn, keyring, place) for place in places}
    return {
        answer: replace(about, subject=FORGOTTEN)
        if about.subject and known[about.project].holds(about.subject, about.at)
        else about
        for answer, about in abouts.items()
    }


# -- process ------------------------------------------------------------------------------------------


def _words(
    keyring: Keyring, links: Sequence[_Link], about: Mapping[str, _About], private: bytes
) -> tuple[list[Part], list[str]]:
    """Every answer's words, sealed anew under the subject's or the day's key; and those that do not open."""
    found: list[tuple[Words, Seals]] = []
    unreadable: list[str] = []
    sealed_by = cache(_sealed_by)  # nearly all answers of a batch are of a few services and of one day
    for link in links:
        if not isinstance(link.record, Ended) or link.record.words is None or link.answer not in about:
            continue
        said = about[link.answer]
        if said.subject == FORGOTTEN:
            continue
        try:
            words = opened(link.answer, link.record.words, private)
        except (SealBroken, msgspec.DecodeError):
            unreadable.append(link.answer)
            continue
        day = said.at - said.at % DAY
        found.append((words, sealed_by(said.project, said.service, said.purpose, said.subject, day)))
    return resealed(keyring, found), unreadable


def _sealed_by(project: str, service: str, purpose: str, subject: str | None, at: int) -> Seals:
    return Seals(key_name(project, subject, at), Period.of(project, service, purpose, at))


# -- apply ----------------------------------------------------------------------------------------------


def _reached(tx: Tx, spool: str) -> tuple[int, str]:
    """How far the spool was taken in; locks it, so that a batch sent twice is applied once."""
    row = tx.execute(
        sa.select(spools.c.sequence, spools.c.head).where(spools.c.id == spool).with_for_update()
    ).first()
    if row is not None:
        return row.sequence, row.head
    first = genesis(spool).hex()
    tx.execute(spools.insert().values(id=spool, sequence=0, head=first, seen_at=tx.at))
    return 0, first


def _unknown(tx: Tx, links: Sequence[_Link], reached: int) -> Iterator[_New]:
    """The records that were not taken in yet, each seen after the ones before it."""
    endings = _endings(tx, links)
    given = _given(tx, links)
    for link in links:
        what = _what(link, endings, given, unseen=link.frame.sequence > reached)
        if what is not None:
            yield _New(link, what)


def _endings(tx: Tx, links: Sequence[_Link]) -> dict[str, str | None]:
    """How the answers in these frames that are known ended so far."""
    ids = {link.answer for link in links if link.answer and not isinstance(link.record, Repeated)}
    query = sa.select(answers.c.id, answers.c.ending).where(answers.c.id.in_(ids))
    return {row.id: row.ending for row in tx.execute(query)}


def _given(tx: Tx, links: Sequence[_Link]) -> dict[str, bool]:
    """What is known of the repetitions in these frames."""
    ids = [link.record.again.id for link in links if isinstance(link.record, Repeated)]
    query = sa.select(answers_again.c.id, answers_again.c.given).where(answers_again.c.id.in_(ids))
    return {row.id: row.given for row in tx.execute(query)} if ids else {}


def _what(
    link: _Link, endings: dict[str, str | None], given: dict[str, bool], *, unseen: bool
) -> _What | None:
    """What a record does, given all before it; None when it was taken in, or says nothing new."""
    match link.record:
        case Began(intent) if intent.answer not in endings:
            endings[intent.answer] = None
            return "begins"
        case Turned(turn) if unseen and turn.answer in endings and endings[turn.answer] is None:
            return "turns"
        case Ended(close) if close.answer not in endings:
            return "unbegun" if unseen else None
        case Ended(close):
            before = endings[close.answer]
            if before is None or (before == "answered" and close.ending != "answered"):
                endings[close.answer] = close.ending
                return "amends" if before else "ends"
        case Repeated(again) if again.id not in given:
            given[again.id] = again.given
            return "repeats"
        case Repeated(again) if given[again.id] and not again.given:
            given[again.id] = False
            return "takes back"
    return None


def _is_broken(links: Sequence[_Link], new: set[int], reached: int, head: str) -> bool:
    """Whether these frames do not follow what was taken in before, or not each other."""
    for link in links:
        sequence = link.frame.sequence
        if sequence <= reached:
            if sequence in new or (sequence == reached and link.after != head):
                return True  # a number that was used before, for something else
            continue
        if sequence != reached + 1 or link.frame.previous.hex() != head:
            return True
        reached, head = sequence, link.after
    return False


def _alarm(tx: Tx, by: Principal, spool: str, reached: int, found: int) -> None:
    detail = {"spool": spool, "expected": reached + 1, "found": found}
    record(tx, "spool.gap", by=by, object=spool, detail=detail)


def _asking(link: _Link, about: Mapping[str, _About]) -> Asking:
    """On whose request: the caller's of then, not the gateway's that ships it now."""
    if isinstance(link.record, Repeated):
        return Asking(id=link.record.again.request_id)
    return about[link.answer].asking if link.answer in about else NOBODY_ASKED


def _apply(tx: Tx, by: Principal, spool: str, new: _New, about: Mapping[str, _About], begun: _Begun) -> None:
    sequence, said = new.link.frame.sequence, about.get(new.link.answer)
    project = said.project if said else None
    match new.link.record:
        case Began(intent):
            begun[intent.answer] = _begin(tx, by, spool, sequence, intent, said.subject if said else None)
        case Turned(turn):
            _turn(tx, by, spool, sequence, turn, project, begun)
        case Ended(close) if new.what == "ends":
            _end(tx, by, spool, sequence, close, project, begun)
        case Ended(close) if new.what == "amends":
            _amend(tx, by, spool, sequence, close, project, begun)
        case Ended(close):
            detail = {"spool": spool, "answer": close.answer, "ending": close.ending, "sequence": sequence}
            record(tx, "spool.unbegun", by=by, object=spool, detail=detail)
        case Repeated(again) if new.what == "repeats":
            _repeat(tx, by, spool, sequence, again)
        case Repeated(again):
            _take_back(tx, by, spool, sequence, again)


def _begin(
    tx: Tx, by: Principal, spool: str, sequence: int, intent: Intent, subject: str | None
) -> dict[str, Any]:
    """The answer's row."""
    row = {name: getattr(intent, name) for name in _INTENT} | {"subject": subject}
    said = row | {"answer": intent.answer, "copy_of": copied(intent.answer)}
    detail = {name: said[name] for name in _INTENT_DETAIL if said[name] is not None}
    record(
        tx,
        "answer.intent",
        by=by,
        object=intent.answer,
        project=intent.project,
        detail={**detail, "spool": spool, "sequence": sequence},
    )
    return {**_EMPTY, **row, "id": intent.answer, "spool": spool, "sequence": sequence}


def _turn(
    tx: Tx, by: Principal, spool: str, sequence: int, turn: Turn, project: str | None, begun: _Begun
) -> None:
    """Another release answers: the one that is behind the answer is this one."""
    if not _into(begun, turn.answer, {"release": turn.release, "serving_digest": turn.serving_digest}):
        tx.later(_TURNS, {"by_release": turn.release, "by_digest": turn.serving_digest, "of": turn.answer})
    names = ("answer", "release", "serving_digest", "instead")
    detail = {name: getattr(turn, name) for name in names} | {"spool": spool, "sequence": sequence}
    record(tx, "answer.turned", by=by, object=turn.answer, project=project, detail=detail)


def _end(
    tx: Tx, by: Principal, spool: str, sequence: int, close: Close, project: str | None, begun: _Begun
) -> None:
    said = {name: getattr(close, name) for name in _CLOSE}
    row = said | {"guards": "; ".join(close.guards) or None, "closed_at": close.at}
    if not _into(begun, close.answer, row):
        tx.later(_UPDATE, {**row, "of": close.answer})
    detail = {name: value for name, value in said.items() if value is not None} | {"answer": close.answer}
    if close.guards:
        detail["guards"] = list(close.guards)
    if close.went:
        detail["went"] = list(close.went)
    record(
        tx,
        "answer.close",
        by=by,
        object=close.answer,
        project=project,
        detail={**detail, "spool": spool, "sequence": sequence},
    )


def _amend(
    tx: Tx, by: Principal, spool: str, sequence: int, close: Close, project: str | None, begun: _Begun
) -> None:
    """It was recorded before the disk had said so, and refused because the disk said nothing."""
    said = {name: getattr(close, name) for name in ("ending", "status", "reason")}
    if not _into(begun, close.answer, said | {"closed_at": close.at}):
        tx.execute(answers.update().where(answers.c.id == close.answer).values(**said, closed_at=close.at))
    detail = {**said, "answer": close.answer, "spool": spool, "sequence": sequence}
    record(tx, "answer.amended", by=by, object=close.answer, project=project, detail=detail)


def _into(begun: _Begun, answer: str, said: Mapping[str, Any]) -> bool:
    """Have the answer's row say that, too, where it is not written yet; whether it is not."""
    row = begun.get(answer)
    if row is not None:
        row.update(said)
    return row is not None


def _repeat(tx: Tx, by: Principal, spool: str, sequence: int, again: Again) -> None:
    said = asdict(again)
    tx.execute(answers_again.insert().values(**said))
    detail = {"answer": again.answer, "again": again.id, "at": again.at, "given": again.given}
    detail["key"] = again.key
    record(
        tx,
        "answer.again",
        by=by,
        object=again.answer,
        project=again.project,
        detail={**detail, "spool": spool, "sequence": sequence},
    )


def _take_back(tx: Tx, by: Principal, spool: str, sequence: int, again: Again) -> None:
    tx.execute(answers_again.update().where(answers_again.c.id == again.id).values(given=False))
    detail = {"answer": again.answer, "again": again.id, "spool": spool, "sequence": sequence}
    record(tx, "answer.amended", by=by, object=again.answer, project=again.project, detail=detail)


def _keep(
    tx: Tx, by: Principal, spool: str, ended: set[str], words: Sequence[Part], unreadable: Sequence[str]
) -> None:
    kept: dict[tuple[str, str], Part] = {}
    for part in words:
        if part.answer in ended:  # one that was taken back in the same batch brings its words twice
            kept.setdefault((part.answer, part.part), part)
    for part in kept.values():
        tx.later(_CONTENTS, asdict(part))
    for answer in ended.intersection(unreadable):
        detail = {"spool": spool, "answer": answer}
        record(tx, "spool.unreadable", by=by, object=answer, detail=detail)


def _remember(tx: Tx, spool: str, last: _Link) -> None:
    tx.execute(
        spools.update()
        .where(spools.c.id == spool)
        .values(sequence=last.frame.sequence, head=last.after, seen_at=tx.at)
    )


_INSERT = answers.insert()
_CONTENTS = contents.insert()
_INTENT = (
    "at", "project", "service", "release", "serving_digest", "key", "purpose", "subject", "sandbox",
    "snapshot", "request_id", "trace", "request",
)  # fmt: skip
_INTENT_DETAIL = (
    "answer", "copy_of", "service", "key", "purpose", "request", "snapshot", "subject", "release",
    "serving_digest", "sandbox",
)  # fmt: skip
_CLOSE = ("ending", "status", "reason", "response", "tokens_in", "tokens_out", "estimated", "micros", "cost")
_EMPTY = dict.fromkeys(("ending", "status", "response", "micros", "guards", "closed_at")) | {
    "reason": "",
    "tokens_in": 0,
    "tokens_out": 0,
    "estimated": False,
    "cost": "0",
}
_UPDATE = answers.update().where(answers.c.id == sa.bindparam("of"))
_TURNS = _UPDATE.values(release=sa.bindparam("by_release"), serving_digest=sa.bindparam("by_digest"))
