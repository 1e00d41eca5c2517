"""What gets traffic is what was evaluated: each planted fault is refused before anything is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import writers

from freehold.engines import identity, parity
from freehold.engines.package import about_bytes, about_of
from freehold.engines.parity import NoEvidence, OtherThanEvaluated
from freehold.journeys.parity import refuse_unlike
from freehold.release import versions
from freehold.spec.ids import canonical, digest, new_id
from freehold.spec.principal import SYSTEM
from freehold.store.tables import cards, models, releases, snapshots
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World

SANDBOX = SERVICE[: SERVICE.index("approve:")].replace("tier: limited", "tier: sandbox")
ENGINE, FLAGS = "torch 2.13.0+cpu", {"writing": "1", "lanes": "8"}


@pytest.fixture
def torch_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that evaluated is installed: its name and settings, whatever this machine has."""
    monkeypatch.setattr(identity, "engine", lambda _name: ENGINE)
    monkeypatch.setattr(identity, "flags", lambda _name: dict(FLAGS))


def register(world: World, files: Mapping[str, bytes]) -> str:
    """A generator, as training leaves it; signed, and sealed in its place."""
    prepared = versions.prepare(
        world.ground, project="claims", name="letters", run=None, about=about_of(files), files=files,
        engine=ENGINE, flags=FLAGS, sensitivity=2,
    )  # fmt: skip
    with world.db.write() as tx:
        return versions.register(tx, by=SYSTEM, prepared=prepared).id


def evaluate(world: World, model: str, files: Mapping[str, bytes]) -> None:
    """A card that passed, with the parts of exactly this version."""
    with world.db.read() as conn:
        serving = conn.scalar(sa.select(models.c.serving_digest).where(models.c.id == model))
    parts = parity.parts(writers.manifest_of(files, engine=ENGINE, flags=FLAGS))
    body = {"parity": {"parts": parts, "tolerance": "1e-03", "probes": []}}
    with world.db.writer_engine.begin() as conn:
        conn.execute(
            cards.insert().values(
                id=new_id("crd"), model=model, run=None, serving_digest=serving, digest=digest(body),
                body=canonical(body).decode(), passed=True, created_at=1,
            )
        )  # fmt: skip


def put_in_its_place(world: World, model: str, other: str) -> None:
    """Somebody with the database and the release key swaps what a version is, after its evaluation."""
    with world.db.read() as conn:
        row = conn.execute(sa.select(models).where(models.c.id == other)).mappings().one()
    kept = {path: {**said, "blob": said["blob"]} for path, said in json.loads(row["files"]).items()}
    with world.db.writer_engine.begin() as conn:
        conn.execute(
            models.update()
            .where(models.c.id == model)
            .values(manifest=row["manifest"], files=json.dumps(kept))
        )


def changed(files: Mapping[str, bytes], **features: Any) -> dict[str, bytes]:
    """The same files, described otherwise."""
    about = about_of(files)
    about.features.update(features)
    return {**files, "about.json": about_bytes(about)}


PLANTS: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "template": lambda f: {**f, "chat_template.jinja": f["chat_template.jinja"] + b"!"},
    "tokenizer": lambda f: {**f, "tokenizer.json": f["tokenizer.json"] + b" "},
    "adapter": lambda f: {**f, "adapter/adapter_model.safetensors": b"other" * 20},
    "end token": lambda f: changed(f, end_tokens=[]),
    "weights": lambda f: changed(f, base="sha256:" + "9" * 64),
}


@pytest.mark.usefixtures("torch_here")
@pytest.mark.parametrize("plant", PLANTS)
def test_a_model_that_was_swapped_after_its_evaluation_is_refused_by_the_part(
    world: World, tmp_path: Path, plant: str
) -> None:
    files = writers.model_files(tmp_path, writers.base_files(tmp_path), 1)
    model = register(world, files)
    evaluate(world, model, files)
    refuse_unlike(world.ground, model)
    put_in_its_place(world, model, register(world, PLANTS[plant](files)))
    with pytest.raises(OtherThanEvaluated) as refused:
        refuse_unlike(world.ground, model)
    assert refused.value.why.startswith(f"{plant}: evaluated with")


@pytest.mark.usefixtures("torch_here")
def test_another_version_of_the_engine_since_the_evaluation_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = writers.model_files(tmp_path, writers.base_files(tmp_path), 1)
    model = register(world, files)
    evaluate(world, model, files)
    monkeypatch.setattr(identity, "engine", lambda _name: "torch 2.14.0")
    with pytest.raises(OtherThanEvaluated) as refused:
        refuse_unlike(world.ground, model)
    assert refused.value.why == "engine: evaluated with torch 2.13.0+cpu, here is torch 2.14.0"


@pytest.mark.usefixtures("torch_here")
def test_a_model_without_a_card_that_passed_is_refused(world: World, tmp_path: Path) -> None:
    model = register(world, writers.model_files(tmp_path, writers.base_files(tmp_path), 1))
    with pytest.raises(NoEvidence):
        refuse_unlike(world.ground, model)


@pytest.mark.usefixtures("torch_here")
def test_a_file_that_changed_where_it_is_kept_is_refused_under_its_part(world: World, tmp_path: Path) -> None:
    files = writers.model_files(tmp_path, writers.base_files(tmp_path), 1)
    model = register(world, files)
    evaluate(world, model, files)
    with world.db.read() as conn:
        kept = json.loads(conn.scalar(sa.select(models.c.files).where(models.c.id == model)) or "")
    blob = kept["chat_template.jinja"]["blob"].removeprefix("sha256:")
    path = world.home.blobs / blob[:2] / blob[2:]
    path.chmod(0o600)
    sealed = path.read_bytes()
    path.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(OtherThanEvaluated) as refused:
        refuse_unlike(world.ground, model)
    assert refused.value.why.startswith("template: `chat_template.jinja` changed where it is kept")


def test_a_journey_ends_where_the_engine_is_another_than_evaluated_and_nothing_is_published(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days can pass between card and approval, and somebody upgrades the machine meanwhile."""
    journey = world.begin(SERVICE)
    world.run(journey, agree=False)
    with world.db.read() as conn:
        before = conn.scalar(sa.select(sa.func.max(snapshots.c.ix)))
    monkeypatch.setattr(identity, "FEATURES", "2")
    assert world.run(journey) == "failed"
    assert "does not answer as it was evaluated" in world.state(journey).because
    assert "engine: evaluated with features 1, here is features 2" in world.state(journey).because
    with world.db.read() as conn:
        assert conn.scalar(sa.select(sa.func.max(snapshots.c.ix))) == before
        assert conn.execute(sa.select(releases)).first() is None
        assert set(conn.scalars(sa.select(models.c.state))) == {"held"}


def test_an_engine_that_refuses_the_model_takes_its_release_back_by_the_name_of_the_part(
    world: World,
) -> None:
    journey = world.begin(SANDBOX)
    report = world.report
    world.report = lambda word="": report("refused: answers: probe 3 of 9 has another class")  # type: ignore[method-assign]  # what a gateway says
    assert world.run(journey) == "failed"
    assert "answers: probe 3 of 9 has another class" in world.state(journey).because
    with world.db.read() as conn:
        assert set(conn.scalars(sa.select(releases.c.state))) == {"rolled back"}
