"""Model versions: sealed, signed, numbered; and the states they may go through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.release import versions
from freehold.release.files import ModelFileChanged, open_model, open_version
from freehold.release.versions import ModelVersion, NotAModelFile, VersionTaken, WrongState
from freehold.spec.model import MANIFEST_TYPE, About
from freehold.spec.principal import SYSTEM
from freehold.spec.snapshot import Column
from freehold.store.ground import Ground
from freehold.store.signing import Envelope, verify
from freehold.store.tables import models

Make = Callable[..., ModelVersion]

ABOUT = About(
    task="classify",
    trainer="linear",
    inputs=(Column(name="text", datatype="BYTES"),),
    classes=("a", "b"),
    data="claims@1",
    data_digest="sha256:" + "d" * 64,
    run="run_1",
)


def _prepare(ground: Ground, files: dict[str, bytes], run: str | None = None) -> versions.Prepared:
    return versions.prepare(
        ground,
        project="claims",
        name="claims-triage",
        run=run,
        about=ABOUT,
        files=files,
        engine="onnxruntime 1.0",
        flags={},
        sensitivity=3,
    )


def test_versions_count_up_and_the_files_come_back(ground: Ground, trained: Make) -> None:
    first, second = trained("one"), trained("two")
    assert (first.ref, second.ref) == ("claims-triage@1", "claims-triage@2")
    assert dict(open_version(ground, second.id).read_all()) == {"about.json": b"{}", "model.onnx": b"two"}


def test_the_manifest_is_signed_and_names_every_file(ground: Ground, trained: Make) -> None:
    envelope = Envelope.from_json(dict(open_version(ground, trained().id).envelope))
    said = json.loads(verify(ground.release_key.public_key(), envelope, MANIFEST_TYPE))
    assert [f["path"] for f in said["files"]] == ["about.json", "model.onnx"]
    assert said["version"] == 1


def test_the_same_files_have_the_same_serving_digest_and_another_engine_has_another(trained: Make) -> None:
    assert trained("same").serving_digest == trained("same").serving_digest
    assert trained("same").serving_digest != trained("other").serving_digest


def test_nothing_of_a_model_lies_open(ground: Ground, trained: Make) -> None:
    trained("a weight that was fitted on people")
    blobs = [ground.blobs.get(digest) for digest in ground.blobs.list()]
    assert blobs
    assert not any(b"fitted on people" in blob for blob in blobs)


def test_a_file_that_was_swapped_for_another_models_is_refused(ground: Ground, trained: Make) -> None:
    mine, other = trained("mine"), trained("other")
    swapped = json.loads(_files(ground, mine.id))
    swapped["model.onnx"]["blob"] = json.loads(_files(ground, other.id))["model.onnx"]["blob"]
    _keep_files(ground, mine.id, swapped)
    with pytest.raises(Exception, match="do not open"):
        open_version(ground, mine.id).read("model.onnx")


def test_an_older_file_of_the_same_model_is_refused(ground: Ground, trained: Make) -> None:
    mine = trained("mine")
    changed = json.loads(_files(ground, mine.id))
    changed["model.onnx"]["digest"] = "sha256:" + "0" * 64
    _keep_files(ground, mine.id, changed)
    with pytest.raises(ModelFileChanged):
        open_version(ground, mine.id).read("model.onnx")


def _files(ground: Ground, model: str) -> str:
    with ground.db.read() as conn:
        return str(conn.scalar(sa.select(models.c.files).where(models.c.id == model)))


def _keep_files(ground: Ground, model: str, files: dict[str, Any]) -> None:
    with ground.db.writer_engine.begin() as connection:
        connection.execute(models.update().where(models.c.id == model).values(files=json.dumps(files)))


def test_only_what_a_running_release_names_is_handed_out(
    ground: Ground, declared: Callable[..., Any], approved: Make, released: Callable[..., Any]
) -> None:
    declared()
    model = approved()
    with pytest.raises(NotFound, match="released model"):
        open_model(ground, model.serving_digest)
    released(model)
    assert open_model(ground, model.serving_digest).read("model.onnx") == b"weights"
    with ground.db.write() as tx:
        versions.set_state(tx, by=SYSTEM, model=model.id, state="retired", because="test")
    with pytest.raises(NotFound):
        open_model(ground, model.serving_digest)


def test_a_repeat_for_the_same_run_registers_nothing_new(ground: Ground) -> None:
    _a_run(ground, "run_1")
    for _ in range(2):
        prepared = _prepare(ground, {"model.onnx": b"x"}, run="run_1")
        with ground.db.write() as tx:
            made = versions.register(tx, by=SYSTEM, prepared=prepared)
    assert (made.id, made.version) == ("mod_1", 1)


def _a_run(ground: Ground, run: str) -> None:
    from freehold.ledger.record import record
    from freehold.store.tables import runs

    with ground.db.write() as tx:
        tx.execute(
            runs.insert().values(
                id=run,
                number=1,
                project="claims",
                kind="train",
                state="running",
                spec="{}",
                spec_digest="-",
                metrics="{}",
                machine="{}",
                cpu_seconds=0.0,
                wall_seconds=0.0,
                watt_hours=0.0,
                started_at=tx.at,
            )
        )
        detail = {"run": run, "kind": "train", "spec": "-", "data": "-"}
        record(tx, "run.begun", by=SYSTEM, object=run, project="claims", detail=detail)


def test_two_that_prepared_the_same_number_do_not_both_get_it(ground: Ground) -> None:
    first, second = _prepare(ground, {"model.onnx": b"1"}), _prepare(ground, {"model.onnx": b"2"})
    with ground.db.write() as tx:
        versions.register(tx, by=SYSTEM, prepared=first)
    with pytest.raises(VersionTaken), ground.db.write() as tx:
        versions.register(tx, by=SYSTEM, prepared=second)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("model.pkl", b"x"),
        ("model.bin", b"x"),
        ("model.onnx", b"\x80\x04\x95"),
        ("../model.onnx", b"x"),
        ("/model.onnx", b"x"),
        ("a\\model.onnx", b"x"),
        (".hidden.onnx", b"x"),
        ("a//b.onnx", b"x"),
    ],
)
def test_what_could_run_code_or_leave_the_folder_is_no_model_file(
    ground: Ground, path: str, content: bytes
) -> None:
    with pytest.raises(NotAModelFile):
        _prepare(ground, {path: content})
    assert list(ground.blobs.list()) == []


def test_an_empty_folder_is_no_model(ground: Ground) -> None:
    with pytest.raises(NotAModelFile, match="nothing"):
        _prepare(ground, {})


STATES = ("trained", "evaluated", "approved", "held", "retired")


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("after", STATES)
def test_a_version_moves_only_as_the_drawing_says(
    ground: Ground, trained: Make, before: str, after: str
) -> None:
    model = trained(state=before if before in ("trained", "evaluated", "approved") else "trained")
    allowed = after == before or after in versions.NEXT[before]
    with ground.db.write() as tx:
        if before in ("held", "retired"):
            versions.set_state(tx, by=SYSTEM, model=model.id, state=before)  # type: ignore[arg-type]
        if allowed:
            assert versions.set_state(tx, by=SYSTEM, model=model.id, state=after).state == after  # type: ignore[arg-type]
        else:
            with pytest.raises(WrongState):
                versions.set_state(tx, by=SYSTEM, model=model.id, state=after)  # type: ignore[arg-type]


def test_a_reference_needs_its_version(ground: Ground, trained: Make) -> None:
    model = trained()
    with ground.db.read() as conn:
        assert versions.by_reference(conn, "claims", "claims-triage@1") == model
        with pytest.raises(NotFound):
            versions.by_reference(conn, "marketing", "claims-triage@1")
        with pytest.raises(Exception, match="does not say which version"):
            versions.by_reference(conn, "claims", "claims-triage")
