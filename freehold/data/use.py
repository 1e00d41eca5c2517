"""Using a version: for a purpose it was collected for, where it may be, without those who withdrew."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from freehold.data import canonical, chunks, consent, suppression, versions
from freehold.data.cells import ARROW
from freehold.data.naming import hmacs
from freehold.data.suppression import FORGOTTEN, Suppression
from freehold.data.versions import READY, DataVersion
from freehold.errors import Refused
from freehold.store.ground import Ground
from freehold.store.sealed import derive

ROW, KEY = "_row", "_key"


class NotForPurpose(Refused):
    """`{ref}` may not be used for `{purpose}`"""


class NotInRegion(Refused):
    """`{ref}` may not be used in `{region}`"""


class NotUsable(Refused):
    """`{ref}` may not be used any more"""


class NobodyLeft(Refused):
    """no row of `{ref}` may be used for `{purpose}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written for a job."""

    rows: int
    left_out: dict[str, int]
    """Rows of the version that were not, by reason."""


def pin(
    conn: sa.Connection,
    project: str,
    ref: str,
    *,
    purpose: str,
    regions: Sequence[str] = (),
    at: int | None = None,
) -> DataVersion:
    """The version called `ref`, when it may be used for `purpose` in all of `regions`, at the time `at`.

    Raises NoSuchVersion, NotForPurpose, NotInRegion, NotUsable.
    """
    version = versions.find(conn, project, ref)
    _refuse_purpose(version, purpose)
    for region in regions:
        if region not in version.regions:
            raise NotInRegion(ref=ref, region=region, why=f"it may be in: {', '.join(version.regions)}")
    if version.state != READY:
        raise NotUsable(ref=ref, why=f"it is {version.state}")
    if at is not None and at >= version.kept_until:
        raise NotUsable(ref=ref, why=f"it was to be kept for {version.declared.keep}, and that is over")
    return version


def _refuse_purpose(version: DataVersion, purpose: str) -> None:
    if purpose not in version.purposes:
        raise NotForPurpose(
            ref=version.ref,
            purpose=purpose,
            why=f"collected for: {', '.join(version.purposes)}",
            hint=f"ask with purpose {version.purposes[0]}",
        )


def write_arrow(ground: Ground, version: DataVersion, path: Path, *, purpose: str) -> Written:
    """Write the version as an Arrow IPC file for a job that works for `purpose`.

    It holds the columns that name no person and hold no consent; `_row`, the row's number in the
    version; and `_key`, 64 hex digits that are the same for all rows of one person and depend on no
    other row, to split by. Rows of persons who withdrew for the purpose are left out.
    """
    _refuse_purpose(version, purpose)
    with ground.db.read() as conn:
        layout = chunks.layout_of(conn, version.id)
        withdrew = consent.withdrawn(conn, version.project, purpose)
        forgotten = suppression.standing(conn, ground.keyring, version)
    reading = _Reading(ground, version, withdrew, forgotten)
    schema = pa.schema(
        [(column.name, ARROW[column.type]) for column in version.features]
        + [(ROW, pa.int64()), (KEY, pa.string())]
    )
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for table in reading.tables(layout):
            writer.write_table(table.cast(schema))
    if reading.rows == 0:
        path.unlink()
        raise NobodyLeft(ref=version.ref, purpose=purpose, why=f"{consent.CONSENT_WITHDRAWN}, in every row")
    return Written(rows=reading.rows, left_out=dict(reading.left_out))


class _Reading:
    """Reads what a job may see of a version, and counts what it may not."""

    def __init__(
        self, ground: Ground, version: DataVersion, withdrew: frozenset[str], forgotten: Suppression
    ) -> None:
        (self._lookup,) = ground.keyring.ensure(f"lookup/{version.project}")
        self._split = derive(ground.keyring.key(f"dataset/{version.dataset}"), "split")
        self._withdrew = {bytes.fromhex(subject) for subject in withdrew}
        self._forgotten = forgotten
        self._ground = ground
        self._version = version
        self._features = [column.name for column in version.features]
        self._types = [column.type for column in version.features]
        self.rows = 0
        self.left_out: Counter[str] = Counter()

    def tables(self, layout: chunks.Layout) -> Iterator[Any]:
        """What may be seen of each chunk."""
        wanted = [*self._features, *self._version.subject_columns]
        for table in chunks.read(self._ground, layout, wanted):
            people = self._people(table)
            reasons = [self._reason(persons) for persons in people]
            keep = [reason == "" for reason in reasons]
            self.left_out.update(reason for reason in reasons if reason)
            self.rows += keep.count(True)
            seen = table.select([*self._features, ROW]).append_column(
                KEY, pa.array(self._keys(table, people))
            )
            yield seen.filter(pa.array(keep, pa.bool_()))

    def _reason(self, persons: list[bytes]) -> str:
        """Why a row about these persons is not to be seen; nothing when it is."""
        if self._forgotten.of(person.hex() for person in persons):
            return FORGOTTEN
        return "" if self._withdrew.isdisjoint(persons) else consent.CONSENT_WITHDRAWN

    def _people(self, table: Any) -> list[list[bytes]]:
        """Per row, the HMACs of the persons it is about."""
        columns = [hmacs(table[name], self._lookup).to_pylist() for name in self._version.subject_columns]
        return [[p for p in row if p] for row in zip(*columns, strict=True)] or [
            [] for _ in range(len(table))
        ]

    def _keys(self, table: Any, people: list[list[bytes]]) -> list[str]:
        if all(people):
            return [self._key(b"person" + row[0]) for row in people]
        contents = canonical.rows(table.select(self._features), self._types)
        named = zip(people, contents, strict=True)
        return [self._key(b"person" + row[0] if row else b"row" + words) for row, words in named]

    def _key(self, about: bytes) -> str:
        return hmac.digest(self._split, about, "sha256").hex()
