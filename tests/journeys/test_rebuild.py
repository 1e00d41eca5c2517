"""The journey rebuild: a model is made again without a person, as if they had never been there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from freehold.data import consent, use
from freehold.data import versions as data_versions
from freehold.jobs import steps
from freehold.jobs.folder import JobFolder
from freehold.jobs.steps import Done, Story, leave_as_it_is
from freehold.journeys import rebuild
from freehold.release import forgetting, roll
from freehold.release.files import open_version
from freehold.spec.principal import SYSTEM
from freehold.spec.split import is_held_out
from freehold.store import tables
from freehold.store.home import Home
from freehold.train import entry
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import World

NAME = "claims-triage"


@pytest.fixture(scope="module")
def template(live: Home) -> Home:
    """These begin where a service is live."""
    return live


def forget(world: World, person: str) -> tuple[str, tuple[str, ...]]:
    """What the journey forget does about models; here the data goes by a withdrawal of consent."""

    def destroy(_moment: Any) -> Done:
        return Done(apply=lambda tx: _withdraw(world, tx, person))

    step = steps.Step(name="destroy", does="destroy", do=destroy, undo=leave_as_it_is)
    story = world.stories["forgetting"] = Story(kind="forgetting", steps=(step,))
    world.new_runner()
    data = version(world).id
    with world.db.read() as conn:
        found = forgetting.affected(conn, "claims", [data])
    prepared = rebuild.prepare(world.ground, [one.model for one in found if one.live])
    with world.db.write() as tx:
        journey = steps.begin(tx, story, by=SYSTEM, project="claims", service=None, spec={"request": "DSR-1"})
        asked = {"project": "claims", "journey": journey, "request": "DSR-1", "asked_at": tx.at, "left": "{}"}
        tx.execute(tables.forgettings.insert().values(id="fgt_1", state="marked", **asked))
        tx.tells_of(["forgettings"])
        begun = rebuild.begin(tx, by=SYSTEM, prepared=prepared, project="claims", forget=journey)
        models = [one.model for one in found]
        forgetting.revoke(tx, world.ground, by=SYSTEM, models=models, versions=[data], journey=journey)
    return journey, begun


def _withdraw(world: World, tx: Any, person: str) -> dict[str, Any]:
    subject = subject_of(world, person)
    consent.withdraw(tx, by=SYSTEM, project="claims", subject=subject, purpose="claims-handling")
    tx.execute(tables.forgettings.update().values(state=rebuild.DESTROYED))
    tx.tells_of(["forgettings"])
    return {}


def subject_of(world: World, person: str) -> str:
    return world.ring.subject("claims", person)


def version(world: World) -> data_versions.DataVersion:
    with world.db.read() as conn:
        return data_versions.find(conn, "claims", "claims@1")


def rows_of(world: World, folder: Path) -> pa.Table:
    """The version as a job sees it."""
    use.write_arrow(world.ground, version(world), folder / "all.arrow", purpose="claims-handling")
    with pa.memory_map(str(folder / "all.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def somebody(world: World, folder: Path, *, held_out: bool) -> tuple[str, str]:
    """A customer whose rows are learned from, or are not: their name and the key of their rows."""
    table = rows_of(world, folder)
    for number, key in sorted(zip(table["_row"].to_pylist(), table["_key"].to_pylist(), strict=True)):
        if is_held_out(key, 7, 0.2) == held_out:
            return f"c-{(number - 1) // 2}", key
    raise AssertionError("nobody")


def files_of(world: World, model: str) -> dict[str, bytes]:
    return dict(open_version(world.ground, model).read_all())


def live(world: World) -> Mapping[str, Any] | None:
    with world.db.read() as conn:
        return roll.live(conn, NAME)


def stands(world: World, journey: str) -> rebuild.Rebuild:
    with world.db.read() as conn:
        (one,) = rebuild.stands(conn, [journey])
    return one


def run_spec(world: World, model: str) -> dict[str, Any]:
    with world.db.read() as conn:
        run = sa.select(tables.models.c.run).where(tables.models.c.id == model).scalar_subquery()
        text = conn.scalar(sa.select(tables.runs.c.spec).where(tables.runs.c.id == run))
    return dict(json.loads(str(text)))


def test_the_rebuilt_model_is_byte_for_byte_the_one_that_never_saw_the_person(
    world: World, tmp_path: Path
) -> None:
    person, key = somebody(world, tmp_path, held_out=False)
    table = rows_of(world, tmp_path)
    old = live(world)
    assert old is not None
    spec = run_spec(world, old["model"])
    before = files_of(world, old["model"])

    scratch = JobFolder.create(tmp_path / "job", spec)
    without = table.filter(pc.not_equal(table["_key"], key))
    target = str(scratch.inputs / "data.arrow")
    with pa.OSFile(target, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(without)
    entry.main(scratch)
    from_the_beginning = {
        path.relative_to(scratch.outputs / "model").as_posix(): path.read_bytes()
        for path in (scratch.outputs / "model").rglob("*")
        if path.is_file()
    }

    journey, (begun,) = forget(world, person)
    assert world.run(begun) == "done"
    told = stands(world, journey)
    assert (told.same, told.passed, told.model) == (True, True, old["model"])
    assert told.rebuilt is not None
    assert files_of(world, told.rebuilt) == from_the_beginning != before
    assert run_spec(world, told.rebuilt) == spec
    now = live(world)
    assert now is not None
    assert (now["model"], now["serving_digest"]) == (told.rebuilt, told.serving_digest)
    assert told.serving_digest != old["serving_digest"]


def test_whoever_was_only_measured_on_leaves_a_model_that_comes_out_the_same_and_serves_again(
    world: World, tmp_path: Path
) -> None:
    person, _ = somebody(world, tmp_path, held_out=True)
    old = live(world)
    journey, (begun,) = forget(world, person)
    assert live(world) is None
    assert world.run(begun) == "done"
    now = live(world)
    assert old is not None
    assert now is not None
    assert now["serving_digest"] == old["serving_digest"] == stands(world, journey).serving_digest
    assert now["model"] != old["model"]


def test_nothing_is_trained_before_the_data_is_destroyed(world: World, tmp_path: Path) -> None:
    person, _ = somebody(world, tmp_path, held_out=False)
    journey, (begun,) = forget(world, person)
    world.stories.pop("forgetting")
    with world.db.write() as tx:  # as when its worker is away
        tx.execute(tables.journeys.update().where(tables.journeys.c.id == journey).values(state="held"))
        from freehold.ledger.record import record

        detail = {"journey": journey, "step": "-", "state": "held"}
        record(tx, "journey.step", by=SYSTEM, object=journey, project="claims", detail=detail)
    world.new_runner()
    assert world.run(begun) == "running"
    because = world.step(begun, "pin").because
    assert because == f"waits until the data is destroyed: {journey} ended before, forget that person again"
    assert not stands(world, journey).settled


def test_the_service_stands_still_until_people_have_approved_the_rebuilt_model(
    world: World, tmp_path: Path
) -> None:
    person, _ = somebody(world, tmp_path, held_out=False)
    journey, (begun,) = forget(world, person)
    assert world.run(begun, agree=False) == "waiting"
    assert live(world) is None
    assert stands(world, journey).settled
    assert world.run(begun) == "done"
    assert live(world) is not None


def test_a_model_that_does_not_come_out_the_same_twice_goes_no_further(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.journeys import world as worlds

    computed = worlds._computed

    def unsteady(job: Any, folder: JobFolder) -> tuple[dict[str, Any], dict[str, bytes]]:
        result, files = computed(job, folder)
        if job.step != "replay":
            return result, files
        return result, {**files, "model/model.onnx": files["model/model.onnx"] + b"0"}

    monkeypatch.setattr(worlds, "_computed", unsteady)
    person, _ = somebody(world, tmp_path, held_out=False)
    journey, (begun,) = forget(world, person)
    assert world.run(begun) == "failed"
    told = stands(world, journey)
    assert "did not come out the same twice: `model.onnx` has other bytes" in told.because
    assert (told.same, told.passed, told.settled) == (False, False, True)
    assert live(world) is None


def test_what_learns_from_the_same_data_meanwhile_is_stopped(world: World, tmp_path: Path) -> None:
    other = world.begin(SERVICE.replace("task: classify", "task: classify\n  train: {seed: 11}"))
    assert world.run(other, agree=False) == "waiting"
    person, _ = somebody(world, tmp_path, held_out=False)
    forget(world, person)
    assert world.run(other) == "stopped"
    assert world.state(other).because == forgetting.WHY
    with world.db.read() as conn:
        candidate = sa.select(tables.models.c.state).where(tables.models.c.version == 2)
        assert conn.scalar(candidate) == "forgotten"
        asked = sa.select(tables.approvals.c.state).where(tables.approvals.c.journey == other)
        assert set(conn.scalars(asked)) == {"void"}
