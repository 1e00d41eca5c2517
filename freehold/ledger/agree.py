"""Do the rows of state and the entries tell the same story? The second half of `freehold verify`.

A row without the entry that began it was put there past us, and so was a state that no entry brought
about. Entries are read once, answers are compared inside the database: they are too many to hold.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.errors import Failure
from freehold.ledger import answered, kept, permits, published, tracked
from freehold.ledger.kinds import KINDS
from freehold.ledger.ruled import Detail, Found, Row, Rule, Said, last, still
from freehold.spec.ids import digest_bytes
from freehold.store import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """Each row of a table has an entry that began it, and each such entry still has its row."""

    table: sa.Table
    key: str
    kinds: tuple[str, ...]
    field: str
    """The field of the entry's detail that names the row."""
    same: tuple[str, ...] = ()
    """Columns that say what the entry's field of the same name says."""


BIRTHS = (
    Birth(table=tables.people, key="id", kinds=("person.added",), field="person"),
    Birth(table=tables.projects, key="name", kinds=("project.added",), field="name"),
    Birth(table=tables.keys, key="id", kinds=("key.created",), field="key", same=("zone", "owner", "limits")),
    Birth(table=tables.datasets, key="id", kinds=("data.added",), field="dataset", same=("basis", "keep")),
    Birth(
        table=tables.data_versions,
        key="id",
        kinds=("data.version",),
        field="version",
        same=("digest", "rows"),
    ),
    Birth(
        table=tables.forgettings,
        key="id",
        kinds=("forgetting.asked",),
        field="forgetting",
        same=("request", "journey"),
    ),
    Birth(
        table=tables.readmissions,
        key="id",
        kinds=("subject.readmitted",),
        field="readmission",
        same=("basis", "request"),
    ),
    Birth(
        table=tables.certificates,
        key="id",
        kinds=("certificate.issued",),
        field="certificate",
        same=("digest",),
    ),
    Birth(table=tables.retention, key="id", kinds=("retention.set",), field="retention", same=("keep",)),
    Birth(table=tables.holds, key="id", kinds=("hold.placed",), field="hold", same=("what", "object")),
    Birth(table=tables.purges, key="id", kinds=("purge.begun",), field="purge", same=("due_at",)),
    Birth(table=tables.journeys, key="id", kinds=("journey.begun",), field="journey", same=("kind",)),
    Birth(table=tables.jobs, key="id", kinds=("job.queued",), field="job", same=("kind",)),
    Birth(table=tables.runs, key="id", kinds=("run.begun",), field="run", same=("kind",)),
    Birth(
        table=tables.models,
        key="id",
        kinds=("model.version",),
        field="model",
        same=("digest", "serving_digest"),
    ),
    Birth(
        table=tables.cards,
        key="id",
        kinds=("card.issued",),
        field="card",
        same=("digest", "model", "serving_digest", "passed"),
    ),
    Birth(table=tables.services, key="name", kinds=("service.declared", "service.attached"), field="service"),
    Birth(
        table=tables.approvals,
        key="id",
        kinds=("approval.requested",),
        field="approval",
        same=("service", "serving_digest", "role"),
    ),
    Birth(
        table=tables.releases,
        key="id",
        kinds=("release.begun",),
        field="release",
        same=("service", "serving_digest"),
    ),
    Birth(
        table=tables.incidents,
        key="id",
        kinds=("incident.opened",),
        field="incident",
        same=("service", "rule", "key", "does", "within"),
    ),
    Birth(table=tables.backups, key="id", kinds=("backup.begun",), field="backup", same=("entries",)),
    Birth(table=tables.snapshots, key="ix", kinds=("snapshot.published",), field="ix", same=("digest",)),
    Birth(
        table=tables.mlflow_experiments,
        key="id",
        kinds=("mlflow.experiment.begun",),
        field="experiment",
    ),
    Birth(
        table=tables.mlflow_runs,
        key="id",
        kinds=("mlflow.run.begun",),
        field="run",
        same=("experiment",),
    ),
    Birth(
        table=tables.mlflow_models,
        key="id",
        kinds=("mlflow.model.begun",),
        field="model",
        same=("experiment", "run"),
    ),
    Birth(table=tables.mlflow_registered, key="id", kinds=("mlflow.registered.begun",), field="registered"),
    Birth(
        table=tables.mlflow_versions,
        key="id",
        kinds=("mlflow.version.begun",),
        field="version",
        same=("registered", "digest", "pickled", "of", "run"),
    ),
)

_OF_STATE = tuple(kind for kind in KINDS if not kind.startswith("answer."))
"""Kinds of entries that rules look at."""
_APPROVAL = {"requested": "waiting", "given": "given", "refused": "refused", "void": "void"}


def disagreements(connection: sa.Connection) -> tuple[int, list[tuple[str, str]]]:
    """How many rows were looked at, and what does not fit: at most one finding a rule, the first."""
    said = _said(connection)
    looked, found = 0, []
    for birth in BIRTHS:
        rows = _rows(connection, (birth.table.c[name] for name in (birth.key, *birth.same)))
        looked += len(rows)
        found += _first(_birth(birth, rows, said))
    for table, rule in STATES:
        found += _first(_safely(rule, table, _rows(connection, table.c), said))
    found += tracked.contents(connection, said)
    found += published.disagreements(connection)
    answers, against = answered.disagreements(connection)
    return looked + answers, found + against


def _said(connection: sa.Connection) -> dict[str, list[Detail]]:
    """The details of entries by kind, in the order they were written; without the answers'.

    They are asked for by their kinds, which an index has: answers' are a thousand times as many, and to read
    past them costs more than all the rest.
    """
    e, places, outbox = tables.entries.c, tables.ledger.c, tables.outbox.c
    query = (
        sa.select(e.kind, e.body)
        .select_from(tables.entries)
        .outerjoin(tables.ledger, places.id == e.id)
        .outerjoin(tables.outbox, outbox.id == e.id)
        .where(e.kind.in_(_OF_STATE))
        .order_by(places.ix.is_(None), places.ix, outbox.turn)
    )
    said: dict[str, list[Detail]] = defaultdict(list)
    for kind, body in connection.execute(query, execution_options={"yield_per": 1000}):
        try:
            said[kind].append(json.loads(body)["detail"])
        except (ValueError, KeyError, TypeError):
            continue  # the walk over the entries names it
    return said


def _rows(connection: sa.Connection, columns: Iterable[sa.Column[Any]]) -> list[Row]:
    return [dict(row) for row in connection.execute(sa.select(*columns)).mappings()]


def _safely(rule: Rule, table: sa.Table, rows: list[Row], said: Said) -> Found:
    """A row that a rule cannot even read is a finding, not a crash."""
    try:
        yield from rule(rows, said)
    except (KeyError, ValueError, TypeError, AttributeError, Failure) as error:
        yield table.name, f"a row cannot be read: {type(error).__name__}: {error}"


def _first(found: Found) -> list[tuple[str, str]]:
    first = next(found, None)
    return [] if first is None else [first]


# -- beginnings -------------------------------------------------------------------------------------


def _birth(birth: Birth, rows: list[Row], said: Said) -> Found:
    entries = {detail.get(birth.field): detail for kind in birth.kinds for detail in said.get(kind, [])}
    for row in rows:
        place = f"{birth.table.name} `{row[birth.key]}`"
        detail = entries.pop(row[birth.key], None)
        if detail is None:
            yield place, f"the row is there, no entry `{birth.kinds[0]}` is"
            continue
        for column in birth.same:
            if row[column] != detail.get(column):
                yield place, f"its `{column}` is not what entry `{birth.kinds[0]}` says"
    for key in entries:
        yield f"{birth.table.name} `{key}`", f"entry `{birth.kinds[0]}` is there, the row is not"


# -- what became of them ----------------------------------------------------------------------------


def _keys(rows: list[Row], said: Said) -> Found:
    revoked = {detail["key"] for detail in said.get("key.revoked", [])}
    for row in rows:
        if (row["revoked_at"] is not None) != (row["id"] in revoked):
            yield f"keys `{row['id']}`", "whether it is revoked is not what the entries say"


def _projects(rows: list[Row], said: Said) -> Found:
    now = {detail["name"]: detail["limits"] for detail in said.get("project.limited", [])}
    for row in rows:
        if (row["limits"] or "") != now.get(row["name"], ""):
            yield f"projects `{row['name']}`", "what it may use is not what the entries say"


def _people(rows: list[Row], said: Said) -> Found:
    """Who was locked, and not unlocked after that, is locked."""
    locked = still(said, "person.locked", "person.unlocked", "person")
    for row in rows:
        if (row["state"] == "locked") != (row["id"] in locked):
            yield f"people `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _models(rows: list[Row], said: Said) -> Found:
    now = {detail["model"]: detail["after"] for detail in said.get("model.state", [])}
    for row in rows:
        if row["state"] != now.get(row["id"], "ready" if row["kind"] == "base" else "trained"):
            yield f"models `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _approvals(rows: list[Row], said: Said) -> Found:
    now: dict[str, str] = {}
    for word, state in _APPROVAL.items():
        for detail in said.get(f"approval.{word}", []):
            now[detail["approval"]] = state  # requested, then decided, then void: never back
    for row in rows:
        if row["state"] != now.get(row["id"]):
            yield f"approvals `{row['id']}`", f"it is {row['state']}, which is not what the entries say"


def _backups(rows: list[Row], said: Said) -> Found:
    made, gone = last(said, "backup.made", "backup"), last(said, "backup.gone", "backup")
    for row in rows:
        now = "gone" if row["id"] in gone else "made" if row["id"] in made else "begun"
        if row["state"] != now or row["digest"] != made.get(row["id"], {}).get("digest"):
            yield f"backups `{row['id']}`", "its state or digest is not what the entries say"


def _releases(rows: list[Row], said: Said) -> Found:
    ended = {detail["release"]: detail["state"] for detail in said.get("release.ended", [])}
    shares = {detail["release"]: detail["weight"] for detail in said.get("release.begun", [])}
    shares |= {detail["release"]: detail["weight"] for detail in said.get("release.weight", [])}
    for row in rows:
        if row["weight"] != shares.get(row["id"]):
            yield f"releases `{row['id']}`", "its share of the traffic is not what the entries say"
        if (row["ended_at"] is not None) != (row["id"] in ended):
            yield f"releases `{row['id']}`", "whether it has ended is not what the entries say"


def _ended(kind: str, field: str, final: frozenset[str]) -> Rule:
    """A rule: what is in one of these states is so because the last entry of that kind says so."""

    def rule(rows: list[Row], said: Said) -> Found:
        now = {detail[field]: detail["state"] for detail in said.get(kind, [])}
        for row in rows:
            if row["state"] in final and row["state"] != now.get(row["id"]):
                yield f"{field}s `{row['id']}`", f"it is {row['state']}, which is not what the entries say"

    return rule


def _content(table: str, column: str, digest: str) -> Rule:
    """A rule: a text is the one its digest, which an entry cites, was made of."""

    def rule(rows: list[Row], _said: Said) -> Found:
        for row in rows:
            if digest_bytes(row[column].encode()) != row[digest]:
                yield f"{table} `{row.get('id', row.get('name'))}`", f"its `{column}` has another digest"

    return rule


def _steps(rows: list[Row], said: Said) -> Found:
    now = {(detail["journey"], detail["step"]): detail["state"] for detail in said.get("journey.step", [])}
    for row in rows:
        if row["state"] != now.get((row["journey"], row["name"]), "todo"):
            yield f"steps of `{row['journey']}`", f"`{row['name']}` is not what the entries say"


def _forgettings(rows: list[Row], said: Said) -> Found:
    """How far a forgetting has come; the person is not named any more once it was looked for them."""
    states = ("asked", "marked", "removed", "destroyed")
    now = {detail["forgetting"]: word for word in states for detail in said.get(f"forgetting.{word}", [])}
    checked = {detail["forgetting"] for detail in said.get("forgetting.checked", [])}
    for row in rows:
        if row["state"] != now.get(row["id"]):
            yield f"forgettings `{row['id']}`", f"it is {row['state']}, which is not what the entries say"
        if (row["subject"] is None) != (row["id"] in checked):
            yield f"forgettings `{row['id']}`", "whether it names a person is not what the entries say"


def _holes(rows: list[Row], said: Said) -> Found:
    """How many rows of a version are gone is what the last entry about it says."""
    now = {detail["version"]: detail["holes"] for detail in said.get("data.forgotten", [])}
    for row in rows:
        if len(json.loads(row["layout"]).get("holes", ())) != now.get(row["id"], 0):
            yield f"data_versions `{row['id']}`", "how many of its rows are gone is not what the entries say"


def _settings(rows: list[Row], said: Said) -> Found:
    """The installation's name is the one it was created under, the one that its ledger is signed with."""
    kinds = ("installation.created", "installation.imported")
    origins = {detail["origin"] for kind in kinds for detail in said.get(kind, [])}
    for row in rows:
        if row["name"] == "origin" and row["value"] not in origins:
            yield "settings `origin`", "no entry says that it is called so"


def _services(rows: list[Row], said: Said) -> Found:
    """The declaration that counts is the last one recorded."""
    kinds = ("service.declared", "service.attached")
    now = {detail["service"]: detail["spec"] for kind in kinds for detail in said.get(kind, [])}
    for row in rows:
        if row["spec_digest"] != now.get(row["name"]):
            yield f"services `{row['name']}`", "its declaration is not the one recorded last"


def _consents(rows: list[Row], said: Said) -> Found:
    """Every word about consent: one entry for what a person said, a count for what came with a file."""
    spoken, counted = Counter[tuple[str, ...]](), Counter[tuple[str, str]]()
    for state in ("given", "withdrawn"):
        for detail in said.get(f"consent.{state}", []):
            spoken[detail["subject"], detail["purpose"], state, detail["source"]] += 1
        for detail in said.get("consent.read", []):
            counted[detail["version"], state] += detail[state]
    files = {source for source, _ in counted}
    for row in rows:
        if row["source"] in files:
            counted[row["source"], row["state"]] -= 1
        else:
            spoken[row["subject"], row["purpose"], row["state"], row["source"]] -= 1
    for (subject, *_rest), difference in spoken.items():
        if difference:
            yield f"consents of `{subject}`", "what the rows say is not what the entries say"
    for (version, state), difference in counted.items():
        if difference:
            yield f"consents of `{version}`", f"the file brought another number of {state} ones"


def _roles(rows: list[Row], said: Said) -> Found:
    """Who holds which role, told once by the entries and once by the rows."""
    held: set[tuple[str, str, str]] = set()
    for detail in said.get("person.added", []):
        held |= {(detail["person"], *role.rsplit("/", 1)) for role in detail["roles"]}
    for detail in said.get("person.roles", []):
        project = detail["project"]
        held |= {(detail["person"], project, role) for role in detail["added"]}
        held -= {(detail["person"], project, role) for role in detail["removed"]}
    rows_say = {(row["person"], row["project"], row["role"]) for row in rows}
    for person, project, role in sorted(rows_say ^ held):
        yield f"memberships `{person}`", f"the role {role} in {project} is not what the entries say"


_OVER = frozenset({"done", "failed", "stopped", "held", "cancelled"})

STATES: tuple[tuple[sa.Table, Rule], ...] = (
    (tables.keys, _keys),
    (tables.projects, _projects),
    (tables.people, _people),
    (tables.models, _models),
    (tables.approvals, _approvals),
    (tables.releases, _releases),
    (tables.backups, _backups),
    (tables.services, _services),
    (tables.services, _content("services", "spec", "spec_digest")),
    (tables.cards, _content("cards", "body", "digest")),
    (tables.forgettings, _forgettings),
    (tables.certificates, _content("certificates", "envelope", "digest")),
    (tables.data_versions, _holes),
    (tables.consents, _consents),
    (tables.memberships, _roles),
    (tables.settings, _settings),
    (tables.steps, _steps),
    (tables.journeys, _ended("journey.ended", "journey", _OVER)),
    (tables.runs, _ended("run.ended", "run", _OVER)),
    (tables.jobs, _ended("job.ended", "job", _OVER)),
    *kept.STATES,
    *permits.STATES,
    *tracked.STATES,
)
