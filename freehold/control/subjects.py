"""What is held about one person: in numbers for a plan, in full for the person themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from freehold.data import carried, chunks, consent, holds, readmission, suppression
from freehold.data.forget import FoundRows
from freehold.data.suppression import Terms
from freehold.errors import BadInput, NotFound
from freehold.journeys import certificate
from freehold.journeys.reach import Reach, reach
from freehold.ledger.certified import certificate_file
from freehold.ledger.proof import receipt
from freehold.ledger.record import record
from freehold.ledger.sequencer import Sequencer
from freehold.spec.principal import Principal
from freehold.store.contents import open_words
from freehold.store.ground import Ground
from freehold.store.keyring import KeyDestroyed
from freehold.store.tables import answers, contents, incidents

PATIENCE = 5.0
"""Seconds to wait for the places of a certificate's entries."""


class NotCertified(NotFound):
    """journey `{journey}` has no certificate"""


def named(ground: Ground, project: str, person: str) -> str:
    """The HMAC by which a person is known in a project."""
    if not person.strip():
        raise BadInput(
            what="nobody is named", why="the name is empty", hint="name the person as the data does"
        )
    return ground.keyring.subject(project, person)


def show(ground: Ground, project: str, subject: str) -> dict[str, Any]:
    """Where a person is, and what forgetting them would reach; counts and ids only."""
    far = reach(ground, project, subject)
    found = far.found
    with ground.db.read() as conn:
        agreed = consent.of_subject(conn, project, subject)
        forgotten = suppression.of_project(conn, ground.keyring, project).holds(subject)
        again = readmission.of_subject(conn, ground.keyring, project, subject)
        stand = holds.touching(conn, project, subject)
    return {
        "project": project,
        "rows": [_rows(each) for each in (*found.removed, *found.kept)],
        "answers": dict(found.services),
        "words": found.words,
        "consents": agreed,
        "incidents": found.incidents,
        "models": [model.ref for model in far.models],
        "forgotten": forgotten,
        "readmitted": [{"readmission": one.id, **asdict(one.terms), "at": one.at} for one in again],
        "plan": {name: list(lines) for name, lines in far.columns.items()},
        "holds": list(stand),
    }


def _rows(found: FoundRows) -> dict[str, Any]:
    version = found.version
    return {
        "of": version.ref,
        "count": len(found.rows),
        "basis": version.basis,
        "purposes": list(version.purposes),
        "until": version.kept_until,
    }


# -- in again -----------------------------------------------------------------------------------------


def planned(ground: Ground, project: str, subject: str, terms: Terms) -> dict[str, Any]:
    """What letting a person in again would do."""
    with ground.db.read() as conn:
        return asdict(readmission.plan(conn, ground.keyring, project, subject, terms))


def readmit(ground: Ground, project: str, subject: str, terms: Terms, *, by: Principal) -> dict[str, Any]:
    """Let a person who was forgotten in again. Raises NotKeptOut, StillForgetting, UnknownPurpose.

    What lies beside the keys says so, too, for whoever restores a backup that lacks it. If we crash before
    that, saying it again does it.
    """
    with ground.db.write() as tx:
        told = asdict(readmission.plan(tx.connection, ground.keyring, project, subject, terms))
        told["readmission"] = readmission.readmit(
            tx, ground.keyring, by=by, project=project, subject=subject, terms=terms
        )
    carried.keep(ground)
    return told


# -- in full ----------------------------------------------------------------------------------------


def export(ground: Ground, project: str, subject: str, *, by: Principal) -> dict[str, Any]:
    """Everything held about a person, in clear, for them (GDPR articles 15 and 20); it is recorded."""
    far: Reach = reach(ground, project, subject)
    found = (*far.found.removed, *far.found.kept)
    rows = {each.version.ref: _in_clear(ground, each) for each in found}
    with ground.db.read() as conn:
        agreed = consent.of_subject(conn, project, subject)
        asked = list(_answers(ground, conn, project, subject))
        seen = list(_incidents(conn, project, subject))
    counts = {"rows": sum(len(each) for each in rows.values()), "answers": len(asked)}
    with ground.db.write() as tx:
        record(tx, "subject.exported", by=by, object="subject", project=project, detail=counts)
    return {
        "project": project,
        "columns": {each.version.ref: _columns(each) for each in found},
        "rows": rows,
        "answers": asked,
        "consents": agreed,
        "incidents": seen,
        "models": [model.ref for model in far.models],
    }


def _in_clear(ground: Ground, found: FoundRows) -> list[dict[str, Any]]:
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, found.version.id)
    numbers = pa.array(found.rows, pa.int64())
    rows: list[dict[str, Any]] = []
    for table in chunks.read(ground, layout):
        rows += table.filter(pc.is_in(table[chunks.ROW], value_set=numbers)).to_pylist()
    return rows


def _columns(found: FoundRows) -> list[dict[str, str]]:
    return [{"name": column.name, "type": column.type} for column in found.version.columns]


def _answers(ground: Ground, conn: sa.Connection, project: str, subject: str) -> Iterator[dict[str, Any]]:
    query = sa.select(answers).where(answers.c.project == project, answers.c.subject == subject)
    for row in conn.execute(query.order_by(answers.c.at)).mappings():
        about = {name: row[name] for name in ("id", "service", "purpose", "ending", "at")}
        yield about | _words(ground, conn, row["id"])


def _incidents(conn: sa.Connection, project: str, subject: str) -> Iterator[dict[str, Any]]:
    query = sa.select(incidents).where(incidents.c.project == project, incidents.c.subject == subject)
    for row in conn.execute(query.order_by(incidents.c.at)).mappings():
        yield {name: row[name] for name in ("id", "service", "rule", "does", "state", "at")}


def _words(ground: Ground, conn: sa.Connection, answer: str) -> dict[str, str]:
    parts = sa.select(contents).where(contents.c.answer == answer, contents.c.part != "salt")
    try:
        return {
            row["part"]: open_words(ground.keyring, row["key"], answer, row["part"], row["sealed"]).decode(
                errors="replace"
            )
            for row in conn.execute(parts).mappings()
        }
    except KeyDestroyed:
        return {}


# -- what is handed out afterwards ------------------------------------------------------------------


def certified(ground: Ground, sequencer: Sequencer, journey: str) -> dict[str, Any]:
    """The certificate of a journey as a file: envelope, the key that signed it, receipts.

    Raises NotCertified, NotSequenced.
    """
    with ground.db.read() as conn:
        row = certificate.of_journey(conn, journey)
        about = certificate.entries_of(conn, row) if row else {}
    if row is None:
        raise NotCertified(journey=journey, why="it is no forgetting, or has not come to its end")
    deadline = time.monotonic() + PATIENCE
    receipts = {
        kind: receipt(sequencer, entry, max(0.0, deadline - time.monotonic())).text()
        for kind, entry in about.items()
    }
    return certificate_file(row["envelope"], ground.release_key.public_key(), receipts)
