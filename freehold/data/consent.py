"""Who consented to what: read from a column, given and withdrawn by people, looked up before use.

A consent cell says `yes`, `true` or `given`; `no`, `false` or nothing; `withdrawn`; or the purposes
consented to, as `claims-handling;marketing` or a JSON list. Upper and lower case are the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from freehold.data import versions
from freehold.data.declare import CONSENT_WORDS
from freehold.data.many import insert_many
from freehold.errors import BadInput
from freehold.ledger.record import record
from freehold.spec.ids import check_name, new_id
from freehold.spec.principal import Principal
from freehold.store.consented import ranked
from freehold.store.rows import Tx
from freehold.store.tables import consents, data_subjects, data_versions, datasets, services

GIVEN, WITHDRAWN = "given", "withdrawn"
CONSENT_WITHDRAWN = "consent withdrawn"
WITHDRAWN_EARLIER = "consent withdrawn earlier"

_YES, _NO = frozenset({"yes", "true", "given"}), frozenset({"", "no", "false"})


class UnknownPurpose(BadInput):
    """nothing in `{project}` is done for `{purpose}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a person's word about consent changed."""

    changed: bool
    """False when it was so already."""
    state: str
    subject: str
    purpose: str
    stands_in: Mapping[str, int]
    """Version → how many of its rows are about the person."""


def left_out_because(cell: str | None, purposes: Sequence[str]) -> str | None:
    """Why a row with this consent cell is left out; `""` when it is not, None when the cell is unclear."""
    words = (cell or "").strip().casefold()
    if words == WITHDRAWN:
        return CONSENT_WITHDRAWN
    if words in _YES:
        return ""
    agreed = frozenset[str]() if words in _NO else _purposes(words)
    if agreed is None:
        return None
    missing = [purpose for purpose in purposes if purpose not in agreed]
    return f"no consent for {', '.join(missing)}" if missing else ""


def _purposes(words: str) -> frozenset[str] | None:
    """The purposes a cell lists, None when they are no names."""
    try:
        listed = json.loads(words) if words.startswith("[") else words.split(";")
        names = [check_name(str(name).strip(), "purpose") for name in listed if str(name).strip()]
    except (ValueError, BadInput):
        return None
    return None if CONSENT_WORDS & set(names) else frozenset(names)


def is_withdrawn(cell: str | None) -> bool:
    """Whether the cell says that consent was withdrawn."""
    return (cell or "").strip().casefold() == WITHDRAWN


def last_words(conn: sa.Connection, project: str, purpose: str) -> dict[str, tuple[str, str]]:
    """Subject → (state, source), as last said for `purpose`."""
    last = ranked(consents.c.project == project, consents.c.purpose == purpose)
    said = conn.execute(sa.select(last).where(last.c.rank == 1))
    return {row.subject: (row.state, row.source) for row in said}


def of_subject(conn: sa.Connection, project: str, subject: str) -> dict[str, str]:
    """Purpose → state, as last said by or about one subject."""
    last = ranked(consents.c.project == project, consents.c.subject == subject)
    return {row.purpose: row.state for row in conn.execute(sa.select(last).where(last.c.rank == 1))}


def withdrawn(conn: sa.Connection, project: str, purpose: str) -> frozenset[str]:
    """The subjects whose last word on `purpose` was to withdraw, whoever wrote it down."""
    last = ranked(consents.c.project == project, consents.c.purpose == purpose)
    query = sa.select(last.c.subject).where(last.c.rank == 1, last.c.state == WITHDRAWN)
    return frozenset(conn.execute(query).scalars())


def withdrawn_by_people(conn: sa.Connection, project: str, purposes: Iterable[str]) -> frozenset[str]:
    """The subjects whose last word on one of `purposes` was a withdrawal that a person recorded.

    Such a withdrawal outlives every file: an export made before it still says yes. One that came with a
    file ends when a later file says otherwise.
    """
    last = ranked(consents.c.project == project, consents.c.purpose.in_(list(purposes)))
    query = sa.select(last.c.subject, last.c.source).where(last.c.rank == 1, last.c.state == WITHDRAWN)
    return frozenset(subject for subject, source in conn.execute(query) if not from_file(source))


VERSION_PREFIX = "dv_"


def from_file(source: str) -> bool:
    """Whether a consent came with a file: then its source is the id of a data version."""
    return source.startswith(VERSION_PREFIX)


def withdraw(tx: Tx, *, by: Principal, project: str, subject: str, purpose: str) -> Changed:
    """Write down that a person withdrew consent for `purpose`; `subject` is their HMAC in the project.

    The caller publishes a snapshot in the same transaction, so that gateways refuse from then on.
    Saying it twice changes nothing. Raises UnknownPurpose for a purpose that nothing here has.
    """
    return _say(tx, by=by, project=project, subject=subject, purpose=purpose, state=WITHDRAWN)


def give(tx: Tx, *, by: Principal, project: str, subject: str, purpose: str) -> Changed:
    """Write down that a person consented to `purpose` (again), outside any file."""
    return _say(tx, by=by, project=project, subject=subject, purpose=purpose, state=GIVEN)


def _say(tx: Tx, *, by: Principal, project: str, subject: str, purpose: str, state: str) -> Changed:
    need_purpose(tx.connection, project, purpose)
    about = {"project": project, "subject": subject, "purpose": purpose}
    last = ranked(*(getattr(consents.c, k) == v for k, v in about.items()))
    known = tx.execute(sa.select(last.c.state, last.c.source).where(last.c.rank == 1)).first()
    # the same word from a file does not count: a person's withdrawal has to outlive the next file
    changed = known is None or known.state != state or from_file(known.source)
    if changed:
        add(tx, project, [(subject, purpose, state)], source=by.id)
        detail = {"subject": subject, "purpose": purpose, "source": by.id}
        record(tx, f"consent.{state}", by=by, object=f"consent/{subject}", project=project, detail=detail)
    return Changed(
        changed=changed,
        state=state,
        subject=subject,
        purpose=purpose,
        stands_in=_rows_about(tx.connection, project, subject),
    )


def add(
    tx: Tx,
    project: str,
    said: Sequence[tuple[str, str, str]],
    *,
    source: str,
    freed: Collection[str] | None = None,
) -> None:
    """Add (subject, purpose, state) rows; the caller writes the entry.

    `freed` is who of those that consent had withdrawn before; without it, any of them may have.
    """
    told = {subject for subject, _, state in said if state == WITHDRAWN or freed is None or subject in freed}
    stem = new_id("con")  # one id and a number each: an id of its own costs as much as the row
    rows = (
        {
            "id": f"{stem}-{number}",
            "project": project,
            "subject": subject,
            "purpose": purpose,
            "state": state,
            "source": source,
            "at": tx.at,
        }
        for number, (subject, purpose, state) in enumerate(said)
    )
    with tx.naming(consents, (f"{project}/{subject}" for subject in told)):
        insert_many(tx, consents, rows)


def _rows_about(conn: sa.Connection, project: str, subject: str) -> dict[str, int]:
    query = (
        sa.select(datasets.c.name, data_versions.c.version, data_subjects.c.rows)
        .join(data_versions, data_versions.c.id == data_subjects.c.version)
        .join(datasets, datasets.c.id == data_versions.c.dataset)
        .where(datasets.c.project == project, data_subjects.c.subject == subject)
        .order_by(datasets.c.name, data_versions.c.version)
    )
    return {f"{name}@{number}": len(json.loads(rows)) for name, number, rows in conn.execute(query)}


def need_purpose(conn: sa.Connection, project: str, purpose: str) -> None:
    """Raise UnknownPurpose unless something in the project is done for it."""
    check_name(purpose, "purpose")
    known = {p for version in versions.list(conn, project) for p in version.purposes}
    known |= set(conn.execute(sa.select(services.c.purpose).where(services.c.project == project)).scalars())
    known |= set(conn.execute(sa.select(consents.c.purpose).where(consents.c.project == project)).scalars())
    if purpose not in known:
        raise UnknownPurpose(
            project=project,
            purpose=purpose,
            why=f"its purposes are: {', '.join(sorted(known)) or 'none'}",
            hint="a word that means nothing would stop nothing: write the purpose as it was declared",
        )
