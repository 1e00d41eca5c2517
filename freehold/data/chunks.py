"""Where rows lie: Parquet files under Parquet's own encryption, a key of its own for each.

Which chunk holds which rows is the *layout* of a version: nobody cites it, and it can be replaced
(by a forgetting, say) without changing what the version is. A chunk has one column more than the data,
`_row`: the row's number in the version, which it keeps when others go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import sqlalchemy as sa

from freehold.errors import NotFound, Tampered
from freehold.spec.ids import new_id
from freehold.store.blobs import Blobs
from freehold.store.ground import Ground
from freehold.store.tables import data_versions

ROWS = 131_072
BYTES = 64 * 2**20
"""A chunk ends with whichever comes first."""
ROW = "_row"
_HEAD = 16


class ChunkBroken(Tampered):
    """a part of the data set cannot be opened"""


class RowsOver(NotFound):
    """the rows are gone: the time they were to be kept is over"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One stored file."""

    id: str
    """Its key in the keyring is `chunk/{id}`."""
    blob: str
    first: int
    """The number of its first row."""
    rows: int
    """How many it was made with: it covers that many numbers, also when some of its rows are gone."""
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the rows of a version lie, and the commitments to all rows it ever had."""

    chunks: tuple[Chunk, ...]
    commitments: str
    """A blob: 16 random bytes, then 32 bytes per row. It says nothing without the keys."""
    holes: tuple[int, ...] = ()
    """The numbers of rows that are gone, because the persons they were about are forgotten."""

    @property
    def over(self) -> bool:
        """Whether nothing is left of it, because its time is over (`data.retention`)."""
        return not self.commitments

    def as_json(self) -> str:
        """For the column `layout`."""
        return json.dumps(asdict(self), sort_keys=True)


def layout_of(conn: sa.Connection, version: str) -> Layout:
    """The layout of the version with that id."""
    text = conn.execute(sa.select(data_versions.c.layout).where(data_versions.c.id == version)).scalar_one()
    return layout_from(text)


def layout_from(text: str) -> Layout:
    """What the column `layout` says."""
    said = json.loads(text)
    chunks = tuple(Chunk(**chunk) for chunk in said["chunks"])
    return Layout(chunks=chunks, commitments=said["commitments"], holes=tuple(said.get("holes", ())))


def key_name(chunk: str) -> str:
    """The name of a chunk's key."""
    return f"chunk/{chunk}"


def gather(tables: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Small tables put together to the size of a chunk, each with the number of its first row, from 1."""
    waiting: list[Any] = []
    rows, first = 0, 1
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows >= ROWS or sum(t.nbytes for t in waiting) >= BYTES:
            yield first, pa.concat_tables(waiting).combine_chunks()
            waiting, first, rows = [], first + rows, 0
    if rows:
        yield first, pa.concat_tables(waiting).combine_chunks()


def sealed(table: Any, first: int, chunk: str, key: bytes) -> bytes:
    """The bytes of a chunk. `chunk` is authenticated: under another id they do not open."""
    numbers = pa.array(range(first, first + len(table)), pa.int64())
    return seal_rows(table.append_column(ROW, numbers), chunk, key)


def seal_rows(table: Any, chunk: str, key: bytes) -> bytes:
    """The bytes of a chunk whose rows have their numbers already."""
    encryption = pe.create_encryption_properties(key, aad_prefix=chunk.encode(), store_aad_prefix=False)
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", encryption_properties=encryption, row_group_size=len(table) or 1
    )
    return bytes(memoryview(sink.getvalue()))


def opened(data: bytes, chunk: str, key: bytes, columns: Sequence[str] | None = None) -> Any:
    """The table in a chunk's bytes, `_row` always with it. Raises ChunkBroken."""
    decryption = pe.create_decryption_properties(key, aad_prefix=chunk.encode())
    wanted = None if columns is None else [*columns, ROW]
    try:
        file = pq.ParquetFile(pa.BufferReader(data), decryption_properties=decryption, pre_buffer=False)
        return file.read(columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ChunkBroken(why="wrong key, wrong place, or changed bytes") from error


def new_chunk_id() -> str:
    """An id for a chunk."""
    return new_id("chk")


def read(ground: Ground, layout: Layout, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """Every chunk's table, in the order of rows. Raises RowsOver, KeyDestroyed, BlobChanged, ChunkBroken."""
    _refuse_over(layout)
    for chunk in layout.chunks:
        key = ground.keyring.key(key_name(chunk.id))
        yield opened(ground.blobs.get(chunk.blob), chunk.id, key, columns)


def read_row(ground: Ground, layout: Layout, number: int) -> Any | None:
    """A table of the one row with that number, None when it is not there (any more)."""
    for chunk in layout.chunks:
        if chunk.first <= number < chunk.first + chunk.rows:
            key = ground.keyring.key(key_name(chunk.id))
            table = opened(ground.blobs.get(chunk.blob), chunk.id, key)
            found = table.filter(pa.compute.equal(table[ROW], number))
            return found if len(found) else None
    return None


def head(packed: bytes, salt: bytes) -> bytes:
    """Packed commitments as stored. The random head makes the object one version's alone, so that
    removing one version never takes away what another needs."""
    return salt[:_HEAD].ljust(_HEAD, b"\0") + packed


def commitments(blobs: Blobs, layout: Layout) -> bytes:
    """The packed commitments of a version. Raises RowsOver."""
    _refuse_over(layout)
    return blobs.get(layout.commitments)[_HEAD:]


def _refuse_over(layout: Layout) -> None:
    if layout.over:
        raise RowsOver(why="they were purged", hint="`freehold data list` says until when data is kept")
