"""A folder as a stream: whole on the other side, or not at all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.spec.ids import digest_bytes
from freehold.spec.model import FileEntry
from freehold.train.bundle import BundleUnusable, Unpacking, pack

NAMES = st.from_regex(r"[a-z0-9_]{1,8}(/[a-z0-9_]{1,8}[.]json)?", fullmatch=True)


def entries(files: dict[str, bytes]) -> list[FileEntry]:
    return [FileEntry(path=n, digest=digest_bytes(d), bytes=len(d)) for n, d in sorted(files.items())]


def unpack(stream: bytes, folder: Path, size: int = 1 << 20, most: int = 10**9) -> dict[str, bytes]:
    unpacking = Unpacking(folder, most=most)
    try:
        for at in range(0, len(stream), size):
            unpacking.feed(stream[at : at + size])
        unpacking.finish()
    finally:
        unpacking.close()
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def head(*files: tuple[Any, Any]) -> bytes:
    return json.dumps({"files": [{"path": p, "bytes": b} for p, b in files]}).encode() + b"\n"


@given(
    files=st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=6).filter(
        lambda f: not any(a != b and b.startswith(a + "/") for a in f for b in f)
    ),
    size=st.integers(1, 400),
)
@settings(deadline=None, max_examples=60)
def test_what_goes_in_comes_out_whatever_the_pieces(files: dict[str, bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        root, target = Path(place) / "from", Path(place) / "to"
        target.mkdir()
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        stream = b"".join(pack(root, entries(files)))
        assert unpack(stream, target, size) == files


@pytest.mark.parametrize(
    "path", ["../up", "/etc/passwd", "a/../../b", "", ".hidden", "a//b", "a\\b", "ü", "a\n", 7, None]
)
def test_a_path_that_leads_elsewhere_is_refused(path: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable):
        unpack(head((path, 1)) + b"x", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"{}\n",
        b"nonsense\n",
        head(("a", 3)) + b"xx",
        head(("a", 3)) + b"xxxx",
        head(("a", -1)),
        head(("a", True)),
        head(("a", 1), ("a", 1)) + b"xx",
        head(),
        head(("a", 3))[:-1],
        b"x" * 1_100_000,
        b'{"files": [' + b"[" * 200_000,
    ],
)
def test_a_stream_that_is_not_whole_is_refused(stream: bytes, tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable):
        unpack(stream, tmp_path)


def test_more_than_fits_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable, match="cannot be taken") as refused:
        unpack(head(("a", 60), ("b", 60)), tmp_path, most=100)
    assert "free here" in refused.value.why
    assert list(tmp_path.iterdir()) == []


def test_empty_files_are_files(tmp_path: Path) -> None:
    assert unpack(head(("a", 0), ("b", 1), ("c", 0)) + b"x", tmp_path) == {"a": b"", "b": b"x", "c": b""}
