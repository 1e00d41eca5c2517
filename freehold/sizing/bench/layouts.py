"""How records lie in files: written and read the way the formats' own users do it."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from freehold.sizing.bench.direct import Reused

Record = NDArray[np.uint8]


class Layout(Protocol):
    """A format. `read` returns the bytes of the records that it brought into memory."""

    suffix: str
    one_a_file: bool
    """It holds one record a file, whatever a job says."""

    def takes(self, record: int) -> int:
        """Bytes in a file, for a record of so many, rather too many than too few."""

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        """All records of one file."""

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        """`count` records from number `first` on; `length` is that of a record where they are all alike."""


class Npz:
    """NumPy's archive, one record a file: opened, checked and copied by numpy.load."""

    suffix = ".npz"
    one_a_file = True

    def takes(self, record: int) -> int:
        return record + 2_000  # two members with their heads

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        for record in records:
            side = int(len(record) ** 0.5)
            image = record[: side * (len(record) // side)].reshape(side, -1, 1)
            np.savez(file, x=image, y=np.zeros(1, dtype=np.int64))

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        with np.load(file) as archive:
            return int(archive["x"][..., 0].nbytes)


class Raw:
    """Bytes as they are, one record a file: images that somebody else decodes.

    Read whole into memory that the reader had before, so that what is measured is the disk and its cache: new
    memory for each large record brings 1.3 GB/s of the 14 that the cache has (decision 0066).
    """

    suffix = ".bin"
    one_a_file = True

    def __init__(self) -> None:
        self._memory = Reused()

    def takes(self, record: int) -> int:
        return record

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        for record in records:
            file.write(record.data)

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return int(file.readinto(self._memory.of(size)))  # type: ignore[attr-defined]


class TfRecord:
    """Length, its checksum, data, its checksum. The checksums are left zero and not looked at."""

    suffix = ".tfrecord"
    one_a_file = False
    frame = 16

    def takes(self, record: int) -> int:
        return record + self.frame

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        for record in records:
            file.write(struct.pack("<QI", len(record), 0))
            file.write(record.data)
            file.write(bytes(4))

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        file.seek(first * (length + self.frame))
        total = 0
        for _ in range(count):
            (size, _) = struct.unpack("<QI", file.read(12))
            total += len(file.read(size))
            file.read(4)
        return total


class WebDataset:
    """A tar file with a member for each record."""

    suffix = ".tar"
    one_a_file = False

    def takes(self, record: int) -> int:
        return 512 + -(-record // 512) * 512

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        with tarfile.open(fileobj=file, mode="w|") as archive:
            for number, record in enumerate(records):
                head = tarfile.TarInfo(f"{number:08}.bin")
                head.size = len(record)
                archive.addfile(head, io.BytesIO(record.tobytes()))

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        file.seek(first * (512 + -(-length // 512) * 512))
        total = 0
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for _ in range(count):
                member = archive.next()
                data = archive.extractfile(member) if member else None
                total += len(data.read()) if data else 0
        return total


class Parquet:
    """A column of bytes in row groups; those that hold the records are read."""

    suffix = ".parquet"
    one_a_file = False
    group = 64

    def takes(self, record: int) -> int:
        return record + 16  # its length, and a share of what describes its group

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("x", pa.binary())])
        with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
            for rows in _in_groups(records, self.group):
                writer.write_table(pa.table({"x": rows}, schema=schema))

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        import pyarrow.parquet as pq

        found = pq.ParquetFile(file)
        groups = range(first // self.group, -(-(first + count) // self.group))
        column = found.read_row_groups(list(groups)).column("x")
        return _length(column.slice(first - groups.start * self.group, count))


class HuggingFace:
    """An Arrow stream, as the library `datasets` keeps them, mapped into memory."""

    suffix = ".arrow"
    one_a_file = False
    group = 64

    def takes(self, record: int) -> int:
        return record + 24  # where it begins, and a share of what describes its group

    def write(self, file: BinaryIO, records: Iterable[Record]) -> None:
        import pyarrow as pa

        schema = pa.schema([("x", pa.large_binary())])
        with pa.ipc.new_stream(file, schema) as writer:
            for rows in _in_groups(records, self.group):
                writer.write_table(pa.table({"x": pa.array(rows, pa.large_binary())}))

    def read(self, file: BinaryIO, first: int, count: int, length: int) -> int:
        import pyarrow as pa

        mapped = pa.memory_map(file.name) if isinstance(getattr(file, "name", None), str) else file
        rows = pa.ipc.open_stream(mapped).read_all().column("x").slice(first, count)
        return sum(len(row.as_buffer().to_pybytes()) for row in rows)  # copied, or nothing would be read


def _in_groups(records: Iterable[Record], group: int) -> Iterator[list[bytes]]:
    rows: list[bytes] = []
    for record in records:
        rows.append(record.tobytes())
        if len(rows) == group:
            yield rows
            rows = []
    if rows:
        yield rows


def _length(column: Any) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.binary_length(column)).as_py() or 0)


LAYOUTS: dict[str, Layout] = {
    "npz": Npz(),
    "raw": Raw(),
    "tfrecord": TfRecord(),
    "webdataset": WebDataset(),
    "parquet": Parquet(),
    "huggingface": HuggingFace(),
}
