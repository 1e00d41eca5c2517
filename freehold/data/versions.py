"""Data set versions as records: found by `name@version`, never by "latest"."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.data import keep
from freehold.data.cells import Word
from freehold.data.declare import Declared
from freehold.errors import NotFound
from freehold.screen.columns import Look
from freehold.spec.ids import parse_reference
from freehold.spec.sensitivity import Sensitivity
from freehold.store.tables import data_versions, datasets

READY = "ready"


class NoSuchVersion(NotFound):
    """there is no data set version `{name}` in `{project}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataColumn:
    """One column of a version."""

    name: str
    type: Word
    empty: int
    """How many rows have nothing there."""
    looks: tuple[Look, ...] = ()
    """What about it looks personal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataVersion:
    """A version: immutable; its digest covers schema, row count and every row's commitment."""

    id: str
    dataset: str
    """The data set's id, the same for all its versions."""
    project: str
    name: str
    version: int
    digest: str
    rows: int
    columns: tuple[DataColumn, ...]
    declared: Declared
    left_out: dict[str, int]
    """Rows of the file that are not in it, by reason."""
    bad_rows: int
    state: str
    created_at: int

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def kept_until(self) -> int:
        """Microseconds UTC."""
        return keep.end(self.declared.keep, self.created_at)

    @property
    def purposes(self) -> tuple[str, ...]:
        return self.declared.purposes

    @property
    def basis(self) -> str:
        return self.declared.basis

    @property
    def sensitivity(self) -> Sensitivity:
        return self.declared.sensitivity

    @property
    def regions(self) -> tuple[str, ...]:
        return self.declared.regions

    @property
    def owner(self) -> str:
        return self.declared.owner

    @property
    def target(self) -> str | None:
        return self.declared.target

    @property
    def text(self) -> str | None:
        return self.declared.text

    @property
    def subject_columns(self) -> tuple[str, ...]:
        return self.declared.subject_columns

    @property
    def consent_column(self) -> str | None:
        return self.declared.consent_column

    @property
    def features(self) -> tuple[DataColumn, ...]:
        """What a model may see: every column that names no person and holds no consent."""
        hidden = {*self.subject_columns, self.consent_column}
        return tuple(column for column in self.columns if column.name not in hidden)

    def type_of(self, column: str) -> Word | None:
        """The type of a column, None when there is none of that name."""
        return next((c.type for c in self.columns if c.name == column), None)


def find(conn: sa.Connection, project: str, ref: str) -> DataVersion:
    """The version called `ref` in `project`. Raises NoSuchVersion, BadInput when no version is written."""
    name, number = parse_reference(ref)
    rows = _read(conn, datasets.c.project == project, datasets.c.name == name)
    for version in rows:
        if version.version == number:
            return version
    raise NoSuchVersion(
        name=ref,
        project=project,
        why=f"`{name}` has {_numbers(rows)}" if rows else "there is no data set of that name",
        hint="`freehold data list` shows what there is",
    )


def list(conn: sa.Connection, project: str) -> tuple[DataVersion, ...]:
    """Every version in `project`, by name and number."""
    return _read(conn, datasets.c.project == project)


def by_id(conn: sa.Connection, id: str) -> DataVersion:
    """The version with that id. Raises NotFound."""
    for version in _read(conn, data_versions.c.id == id):
        return version
    raise NotFound(kind="data set version", name=id)


def of_dataset(conn: sa.Connection, dataset: str) -> tuple[DataVersion, ...]:
    """Every version of a data set, oldest first."""
    return _read(conn, datasets.c.id == dataset)


def projects_with(conn: sa.Connection, name: str) -> tuple[str, ...]:
    """Where a data set of that name is."""
    query = sa.select(datasets.c.project).where(datasets.c.name == name).order_by(datasets.c.project)
    return tuple(conn.execute(query).scalars())


def _numbers(versions: Iterable[DataVersion]) -> str:
    numbers = [f"@{version.version}" for version in versions]
    return ", ".join(numbers) if len(numbers) <= 10 else f"{numbers[0]} … {numbers[-1]}"


def _read(conn: sa.Connection, *where: Any) -> tuple[DataVersion, ...]:
    about = [c.label(f"set_{c.name}") for c in datasets.c]
    query = (
        sa.select(data_versions, *about)
        .join(datasets, data_versions.c.dataset == datasets.c.id)
        .where(*where)
        .order_by(datasets.c.name, data_versions.c.version)
    )
    return tuple(_version(row) for row in conn.execute(query).mappings())


def _version(row: Any) -> DataVersion:
    return DataVersion(
        id=row["id"],
        dataset=row["dataset"],
        project=row["set_project"],
        name=row["set_name"],
        version=row["version"],
        digest=row["digest"],
        rows=row["rows"],
        columns=columns_from(row["schema"]),
        declared=declared_from({c.name: row[f"set_{c.name}"] for c in datasets.c}),
        left_out=json.loads(row["left_out"]),
        bad_rows=row["bad_rows"],
        state=row["state"],
        created_at=row["created_at"],
    )


def declared_from(row: Any) -> Declared:
    """What a row of `datasets` says."""
    return Declared(
        purposes=tuple(json.loads(row["purposes"])),
        basis=row["basis"],
        sensitivity=Sensitivity(row["sensitivity"]),
        owner=row["owner"],
        keep=row["keep"],
        regions=tuple(json.loads(row["regions"])),
        subject_columns=tuple(json.loads(row["subject_columns"])),
        consent_column=row["consent_column"],
        target=row["target_column"],
        text=row["text_column"],
    )


def columns_from(schema: str) -> tuple[DataColumn, ...]:
    """What the `schema` of a row of `data_versions` says."""
    return tuple(
        DataColumn(
            name=column["name"],
            type=column["type"],
            empty=column["empty"],
            looks=tuple(Look(**look) for look in column["looks"]),
        )
        for column in json.loads(schema)["columns"]
    )
