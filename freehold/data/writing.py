"""The one transaction that makes a version exist: rows, index of persons, consents, entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from freehold.data import consent, versions
from freehold.data.chunks import Layout
from freehold.data.declare import Declared
from freehold.data.laying import AddedMeanwhile
from freehold.data.many import insert_many
from freehold.data.promise import Persons, rows_by_person
from freehold.data.versions import READY, DataColumn, DataVersion
from freehold.ledger.record import commitment, record
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.sealed import derive
from freehold.store.tables import data_subjects, data_versions, datasets

Also = Callable[[Tx], object]
"""What else belongs into the transaction when withdrawals changed: publishing them to gateways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The data set a file goes to, as it stood when the intake began."""

    project: str
    name: str
    dataset: str
    is_new: bool
    declared: Declared
    versions: tuple[DataVersion, ...]

    @property
    def next_number(self) -> int:
        return self.versions[-1].version + 1 if self.versions else 1

    @property
    def next_ref(self) -> str:
        return f"{self.name}@{self.next_number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version as it will be, but for what follows from its keys."""

    found: Found
    id: str
    columns: tuple[DataColumn, ...]
    rows: int
    left_out: Mapping[str, int]
    bad_rows: int
    format: str
    source_digest: bytes
    source_bytes: int
    persons: Persons
    withdrew: tuple[str, ...]
    """Persons whom the file calls withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What follows from its keys."""

    digest: str
    layout: Layout
    dataset_key: bytes


Said = tuple[str, str, str]
"""(subject, purpose, state)"""


def write_version(tx: Tx, draft: Draft, sealed: Sealed, *, by: Principal, also: Also | None) -> DataVersion:
    """Write everything about a new version. Raises AddedMeanwhile."""
    found = draft.found
    if found.is_new:
        _write_dataset(tx, found, by)
    elif versions.of_dataset(tx.connection, found.dataset)[-1].version != found.next_number - 1:
        raise AddedMeanwhile(hint="look at it with `freehold data list`, then add it again")
    _write_version_row(tx, draft, sealed, by)
    about = rows_by_person(draft.persons)
    index = ({"version": draft.id, "subject": who, "rows": json.dumps(rows)} for who, rows in about)
    insert_many(tx, data_subjects, index)
    write_consents(tx, draft, draft.id, found.next_ref, by=by, also=also)
    return versions.by_id(tx.connection, draft.id)


def _write_dataset(tx: Tx, found: Found, by: Principal) -> None:
    said = found.declared
    tx.execute(
        datasets.insert().values(
            id=found.dataset,
            project=found.project,
            name=found.name,
            owner=said.owner,
            purposes=json.dumps(said.purposes),
            basis=said.basis,
            sensitivity=int(said.sensitivity),
            regions=json.dumps(said.regions),
            keep=said.keep,
            subject_columns=json.dumps(said.subject_columns),
            consent_column=said.consent_column,
            target_column=said.target,
            text_column=said.text,
            state=READY,
            created_at=tx.at,
        )
    )
    detail = {
        "dataset": found.dataset,
        "basis": said.basis,
        "sensitivity": said.sensitivity.word,
        "purposes": list(said.purposes),
        "regions": list(said.regions),
        "keep": said.keep,
    }
    record(tx, "data.added", by=by, object=found.name, project=found.project, detail=detail)


def _write_version_row(tx: Tx, draft: Draft, sealed: Sealed, by: Principal) -> None:
    found = draft.found
    tx.execute(
        data_versions.insert().values(
            id=draft.id,
            dataset=found.dataset,
            version=found.next_number,
            digest=sealed.digest,
            rows=draft.rows,
            left_out=json.dumps(draft.left_out),
            bad_rows=draft.bad_rows,
            schema=json.dumps({"columns": [_column(column) for column in draft.columns]}),
            layout=sealed.layout.as_json(),
            source=json.dumps(_source(draft, sealed.dataset_key)),
            state=READY,
            created_at=tx.at,
        )
    )
    detail = {
        "version": draft.id,
        "digest": sealed.digest,
        "rows": draft.rows,
        "left_out": dict(draft.left_out),
        "bad_rows": draft.bad_rows,
    }
    record(tx, "data.version", by=by, object=found.next_ref, project=found.project, detail=detail)


def _column(column: DataColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "empty": column.empty,
        "looks": [asdict(look) for look in column.looks],
    }


def _source(draft: Draft, dataset_key: bytes) -> dict[str, Any]:
    """Which file it was, as a commitment: the plain digest of a short file could be guessed."""
    made = commitment(derive(dataset_key, "source"), draft.source_digest)
    return {"digest": made, "format": draft.format, "bytes": draft.source_bytes}


def repeat_consents(
    ground: Ground, draft: Draft, version: DataVersion, *, by: Principal, also: Also | None
) -> None:
    """The rows are a version already; what the file says about consents may be news all the same."""
    with ground.db.read() as conn:
        news = _news(conn, draft)
    if news:
        with ground.db.write() as tx:
            write_consents(tx, draft, version.id, version.ref, by=by, also=also)


def write_consents(tx: Tx, draft: Draft, version: str, ref: str, *, by: Principal, also: Also | None) -> None:
    """Write down what the file says about consents, where it differs from what was known."""
    news = _news(tx.connection, draft)
    if not news:
        return
    said = [said for said, _ in news]
    freed = {subject for (subject, _, _), before in news if before == consent.WITHDRAWN}
    consent.add(tx, draft.found.project, said, source=version, freed=freed)
    count = {state: sum(s[2] == state for s in said) for state in (consent.GIVEN, consent.WITHDRAWN)}
    record(
        tx,
        "consent.read",
        by=by,
        object=ref,
        project=draft.found.project,
        detail={"version": version, **count},
    )
    if also and any(consent.WITHDRAWN in (state, before) for (_, _, state), before in news):
        also(tx)


def _news(conn: Any, draft: Draft) -> list[tuple[Said, str]]:
    """What is to be written, each with the state before."""
    declared, news = draft.found.declared, list[tuple[Said, str]]()
    if not declared.consent_column:
        return news
    said = dict.fromkeys(draft.persons.hmacs, consent.GIVEN) | dict.fromkeys(
        draft.withdrew, consent.WITHDRAWN
    )
    for purpose in declared.purposes:
        last = consent.last_words(conn, draft.found.project, purpose)
        for subject, state in said.items():
            before, source = last.get(subject, ("", ""))
            if before == state or (before == consent.WITHDRAWN and not consent.from_file(source)):
                continue  # known, or a withdrawal that somebody recorded: no file takes it back
            news.append(((subject, purpose, state), before))
    return news
