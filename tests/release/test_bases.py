"""Base models: stored open, signed, known by the digest of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.ledger.agree import disagreements
from freehold.release import bases, files, versions
from freehold.release.bases import BaseChanged
from freehold.release.versions import NotAModelFile, WrongState
from freehold.spec.base import BASE_TYPE, BaseFacts, base_digest
from freehold.spec.ids import digest_bytes
from freehold.spec.model import FileEntry
from freehold.spec.principal import SYSTEM
from freehold.store import tables
from freehold.store.ground import Ground
from freehold.store.signing import Envelope, verify

FACTS = BaseFacts(
    role="encoder", model_type="bert", parameters=1000, hidden=32, layers=2, vocabulary=100, longest=64,
    precision="F32", licence="apache-2.0", licence_from="card", tokenizer="sha256:" + "1" * 64, template=None,
)  # fmt: skip


def entries(folder: Path, **contents: bytes) -> tuple[FileEntry, ...]:
    made = []
    folder.mkdir(exist_ok=True)
    for name, data in sorted(contents.items()):
        path = name.replace("_json", ".json").replace("_safetensors", ".safetensors")
        (folder / path).write_bytes(data)
        made.append(FileEntry(path=path, digest=digest_bytes(data), bytes=len(data)))
    return tuple(made)


def add(ground: Ground, folder: Path, name: str = "tiny", **contents: bytes) -> tuple[bases.BaseModel, bool]:
    found = entries(folder, **(contents or {"config_json": b"{}", "model_safetensors": b"weights"}))
    prepared = bases.prepare(
        ground, project="claims", name=name, folder=folder, files=found, facts=FACTS, source="folder"
    )
    with ground.db.write() as tx:
        return bases.register(tx, by=SYSTEM, prepared=prepared)


def test_a_base_is_found_by_its_reference_and_by_its_digest(ground: Ground, tmp_path: Path) -> None:
    base, new = add(ground, tmp_path / "f")
    assert new
    assert base.ref == "tiny@1"
    assert base.digest == base_digest(base.files)
    with ground.db.read() as conn:
        assert bases.find(conn, "claims", "tiny@1") == base
        assert bases.listed(conn) == [base]
        assert bases.listed(conn, "marketing") == []
    opened = bases.open_base(ground, base.digest)
    opened.copy("model.safetensors", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"weights"
    with pytest.raises(NotFound):
        opened.copy("../../epoch.key", tmp_path / "out2")


def test_the_same_files_again_are_the_version_that_is_there(ground: Ground, tmp_path: Path) -> None:
    first, _ = add(ground, tmp_path / "f")
    again, new = add(ground, tmp_path / "f")
    assert (again, new) == (first, False)
    other, new = add(ground, tmp_path / "f", model_safetensors=b"others")
    assert (other.version, new) == (2, True)
    elsewhere, new = add(ground, tmp_path / "f", "small", model_safetensors=b"others")
    assert (elsewhere.digest, elsewhere.ref, new) == (other.digest, "small@1", True)


def test_what_a_base_is_stands_under_the_release_keys_signature(ground: Ground, tmp_path: Path) -> None:
    base, _ = add(ground, tmp_path / "f")
    with ground.db.read() as conn:
        row: Any = conn.execute(sa.select(tables.models)).mappings().one()
    envelope = Envelope.from_json(json.loads(row["manifest"]))
    said = json.loads(verify(ground.release_key.public_key(), envelope, BASE_TYPE))
    assert said["digest"] == base.digest
    assert said["facts"]["licence"] == "apache-2.0"


def test_its_entry_tells_its_licence_and_agrees_with_its_row(ground: Ground, tmp_path: Path) -> None:
    base, _ = add(ground, tmp_path / "f")
    with ground.db.read() as conn:
        body = conn.scalar(sa.select(tables.entries.c.body).where(tables.entries.c.kind == "model.version"))
        _, found = disagreements(conn)
    assert json.loads(str(body))["detail"]["licence"] == "apache-2.0"
    assert [place for place, _ in found if "models" in place] == []
    assert base.state == "ready"


def test_a_base_is_no_model_that_can_be_approved(ground: Ground, tmp_path: Path) -> None:
    base, _ = add(ground, tmp_path / "f")
    with ground.db.write() as tx, pytest.raises(WrongState):
        versions.set_state(tx, by=SYSTEM, model=base.id, state="approved")


def test_a_file_that_changes_meanwhile_stops_it(ground: Ground, tmp_path: Path) -> None:
    found = entries(tmp_path / "f", config_json=b"{}", model_safetensors=b"weights")
    (tmp_path / "f" / "model.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(BaseChanged, match=r"model\.safetensors"):
        bases.prepare(
            ground, project="claims", name="tiny", folder=tmp_path / "f", files=found, facts=FACTS, source=""
        )


@pytest.mark.parametrize("path", ["model.bin", "../up.json", "a\n.json", "code.py"])
def test_only_formats_that_are_data_are_kept(ground: Ground, tmp_path: Path, path: str) -> None:
    entry = FileEntry(path=path, digest=digest_bytes(b""), bytes=0)
    with pytest.raises(NotAModelFile):
        bases.prepare(
            ground, project="claims", name="tiny", folder=tmp_path, files=(entry,), facts=FACTS, source=""
        )


def test_an_export_reads_a_base_as_any_version(ground: Ground, tmp_path: Path) -> None:
    base, _ = add(ground, tmp_path / "f")
    read = dict(files.open_version(ground, base.id).read_all())
    assert read == {"config.json": b"{}", "model.safetensors": b"weights"}


def test_a_base_that_is_not_there_is_told(ground: Ground) -> None:
    with ground.db.read() as conn, pytest.raises(NotFound, match="tiny@1"):
        bases.find(conn, "claims", "tiny@1")
    with pytest.raises(NotFound):
        bases.open_base(ground, "sha256:" + "0" * 64)
