"""Several people are forgotten, one while what another one asked for is under way; and a backup of then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.control.reapply import reapply
from freehold.control.routes import border_serving
from freehold.data import carried
from freehold.data import forget as data
from freehold.errors import BadInput
from freehold.gateway import news
from freehold.gateway.bounds import Bounds
from freehold.jobs.folder import JobFolder
from freehold.jobs.steps import Moment, Outcome
from freehold.journeys import certificate, forget, rebuild
from freehold.ledger.certified import TYPE
from freehold.release import roll, services, silent
from freehold.release.files import open_version
from freehold.release.publish import publish
from freehold.spec.reading import read_service
from freehold.store import tables
from freehold.store.home import Home
from freehold.store.signing import Envelope, verify
from freehold.train import entry
from tests.journeys.test_deliver import SERVICE
from tests.journeys.test_rebuild import NAME, rows_of, run_spec
from tests.journeys.world import World, copy_of

ONE, OTHER = "c-7", "c-8"
ONLY_LATER = "c-100"
"""In the second version of the data only."""


@pytest.fixture(scope="module")
def template(live: Home) -> Home:
    """These begin where a service is live."""
    return live


def live_now(world: World) -> Mapping[str, Any] | None:
    with world.db.read() as conn:
        return roll.live(conn, NAME)


def rebuilds(world: World) -> list[tuple[str, str]]:
    """(id, state), oldest first."""
    j = tables.journeys.c
    with world.db.read() as conn:
        query = sa.select(j.id, j.state).where(j.kind == "rebuild").order_by(j.created_at, j.id)
        return [(row.id, row.state) for row in conn.execute(query)]


def made_by(world: World, journey: str) -> str:
    return str(world.step(journey, "train").result["model"])


def certified(world: World, journey: str) -> dict[str, Any]:
    with world.db.read() as conn:
        issued = certificate.of_journey(conn, journey)
    assert issued is not None
    envelope = Envelope.from_json(json.loads(issued["envelope"]))
    said: dict[str, Any] = json.loads(verify(world.ground.release_key.public_key(), envelope, TYPE))
    return said


def never_saw_either(world: World, folder: Path, model: str) -> bool:
    """Whether it is what the same specification makes of the rows that are left, from the beginning."""
    scratch = JobFolder.create(folder / "job", run_spec(world, model))
    rows_of(world, scratch.inputs)
    (scratch.inputs / "all.arrow").rename(scratch.inputs / "data.arrow")
    entry.main(scratch)
    made = {
        path.relative_to(scratch.outputs / "model").as_posix(): path.read_bytes()
        for path in (scratch.outputs / "model").rglob("*")
        if path.is_file()
    }
    return made == dict(open_version(world.ground, model).read_all())


@pytest.mark.parametrize("moment", ["it is trained", "it waits for people"])
def test_a_rebuild_that_saw_the_next_one_to_be_forgotten_is_begun_again_without_both(
    world: World, tmp_path: Path, moment: str
) -> None:
    if moment == "it is trained":
        first = world.rebuild(ONE)
        one = str(world.state(first).spec["forget"])
        while world.step(one, "destroy").state != "done":
            world.runner.advance(one)
        while world.step(first, "train").state != "done":
            world.runner.advance(first)
            world.work()
    else:
        one = world.forget(ONE)
        assert world.run(one, agree=False) == "done"
        ((first, state),) = rebuilds(world)
        assert state == "waiting"
    learned = made_by(world, first)
    other = world.forget(OTHER)
    assert world.run(other, agree=False) == "done", world.state(other).because
    (_, stopped), (again, waiting) = rebuilds(world)
    assert (stopped, waiting) == ("stopped", "waiting"), "somebody is asked about the later one"
    assert world.ring.known([f"model/{learned}"]) == {}, "it learned from the other person"
    assert live_now(world) is None
    assert world.run(again) == "done", world.state(again).because
    now = live_now(world)
    assert now is not None
    assert now["model"] == made_by(world, again) != learned
    assert never_saw_either(world, tmp_path, now["model"])
    assert world.run(one) == "done"
    assert [one["journey"] for one in certified(world, other)["rebuilt"]] == [again]
    (told,) = certified(world, one)["rebuilt"]
    assert told["journey"] == (again if moment == "it is trained" else first)


def test_what_takes_the_place_of_an_earlier_rebuild_waits_for_that_ones_data_too(
    world: World, tmp_path: Path
) -> None:
    """The first forgetting stands still before its rows are removed; the second goes on."""
    first = world.rebuild(ONE)
    one = str(world.state(first).spec["forget"])
    assert world.step(one, "remove").state != "done"
    other = world.forget(OTHER)
    while world.step(other, "destroy").state != "done":
        world.runner.advance(first)
        world.runner.advance(other)
    (_, stopped), (again, _) = rebuilds(world)
    assert stopped == "stopped"
    for _ in range(3):
        world.runner.advance(again)
    assert world.step(again, "pin").state != "done", "rows of the first are there still"
    while world.step(one, "destroy").state != "done":
        world.runner.advance(one)
    assert world.run(again) == "done", world.state(again).because
    assert never_saw_either(world, tmp_path, made_by(world, again))


def breaking(world: World, monkeypatch: pytest.MonkeyPatch, where: str | None) -> None:
    """From now on forgettings fail at this step; at none."""

    def full(_: Moment) -> Outcome:
        raise BadInput(what="the disk is full")

    told = tuple(replace(step, do=full) if step.name == where else step for step in forget.FORGET.steps)
    monkeypatch.setitem(world.stories, "forget", replace(forget.FORGET, steps=told))
    world.new_runner()


@pytest.mark.parametrize("where", ["remove", "destroy"])
def test_a_rebuild_goes_on_when_what_a_forgetting_that_failed_had_left_is_destroyed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    breaking(world, monkeypatch, where)
    one = world.forget(ONE)
    assert world.run(one, agree=False) == "failed"
    ((first, _),) = rebuilds(world)
    assert one in world.step(first, "pin").because, "it says for whom it waits"
    breaking(world, monkeypatch, None)
    again = world.forget(ONE)
    assert world.run(again, agree=False) == "done", world.state(again).because
    last, _ = rebuilds(world)[-1]
    assert (last == first) == (where == "destroy"), "whose rows are gone is in no model's data any more"
    assert [told["journey"] for told in certified(world, again)["rebuilt"]] == [last]
    assert world.run(last) == "done", world.state(last).because
    now = live_now(world)
    assert now is not None
    assert now["model"] == made_by(world, last)
    assert never_saw_either(world, tmp_path, now["model"])
    other = world.forget(OTHER)
    assert world.run(other) == "done", "who comes after them is certified, too"


def test_a_newer_model_that_is_being_made_anew_is_not_given_up_for_the_one_that_stands_in(
    world: World,
) -> None:
    """The older one never saw the first person, and saw the second."""
    older = live_now(world)
    assert world.run(world.begin(SERVICE.replace("claims@1", "claims@2"))) == "done"
    newer = live_now(world)
    assert world.run(world.forget(ONLY_LATER), agree=False) == "done"
    meanwhile = live_now(world)
    assert older is not None
    assert newer is not None
    assert meanwhile is not None
    assert newer["model"] != older["model"] == meanwhile["model"]
    columns = forget.reach(world.ground, "claims", world.ring.subject("claims", ONE)).columns
    assert [line["of"] for line in columns["rebuilt"]] == [f"{NAME}@2"]
    assert f"{NAME}@1" in [line["of"] for line in columns["retired"]]
    other = world.forget(ONE)
    assert world.run(other, agree=False) == "done", world.state(other).because
    (_, stopped), (again, waiting) = rebuilds(world)
    assert (stopped, waiting) == ("stopped", "waiting")
    assert world.state(again).spec["model"] == newer["model"]
    assert world.run(again) == "done", world.state(again).because
    now = live_now(world)
    assert now is not None
    assert now["model"] == made_by(world, again)


def test_only_the_newest_model_of_a_service_is_made_anew(world: World) -> None:
    older = live_now(world)
    assert older is not None
    assert world.run(world.forget(ONE), agree=False) == "done"
    ((first, _),) = rebuilds(world)
    under_way, newer = world.state(first), made_by(world, first)
    with world.db.read() as conn:
        assert rebuild.kept_up(conn, [under_way], []) == [under_way]
        assert rebuild.kept_up(conn, [under_way], [("another", newer)]) == [under_way]
        assert rebuild.kept_up(conn, [under_way], [(NAME, newer)]) == []
        assert rebuild.kept_up(conn, [under_way], [(NAME, older["model"])]) == [], "it is the same one"


def test_the_plan_says_that_what_is_being_made_anew_is_begun_again(world: World) -> None:
    world.run(world.forget(ONE), agree=False)
    columns = forget.reach(world.ground, "claims", world.ring.subject("claims", OTHER)).columns
    (line,) = columns["rebuilt"]
    assert (line["of"], line["why"].partition(";")[0]) == (
        f"{NAME}@1",
        "being made anew for an earlier request",
    )
    assert [line["of"] for line in columns["retired"]] == [f"{NAME}@2"]


def test_who_learned_in_a_model_that_is_kept_for_somebody_else_is_certified_when_it_is_gone(
    world: World,
) -> None:
    keeps = SERVICE + "serve:\n  on_forget: keep 14d\n  keep_because: nights have no other triage\n"
    assert (
        world.run(world.begin(keeps.replace("task: classify", "task: classify\n  train: {seed: 3}")))
        == "done"
    )
    kept = live_now(world)
    assert kept is not None
    one, other = world.forget(ONE), world.forget(OTHER)
    for journey in (one, other):
        assert world.run(journey, agree=False) == "running"
        assert "kept for a while" in world.step(journey, "check").because
    assert world.ring.known([f"model/{kept['model']}"])
    world.run_all()
    assert [world.state(journey).state for journey in (one, other)] == ["done", "done"]
    assert world.ring.known([f"model/{kept['model']}"]) == {}
    (_, stopped), (again, released) = rebuilds(world)
    assert (stopped, released) == ("stopped", "done")
    for journey in (one, other):
        (told,) = certified(world, journey)["rebuilt"]
        assert told["journey"] == again
        assert told["state"] != "waiting", "people have approved it by then"


def test_it_is_certified_when_every_gateway_has_heard_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.report()
    monkeypatch.setattr(world, "report", lambda: None)
    journey = world.forget(ONE)
    assert world.run(journey, agree=False) == "running"
    assert world.step(journey, "check").because == "1 gateways have not heard of it"
    monkeypatch.undo()
    assert world.run(journey, agree=False) == "done"


def test_a_gateway_that_is_silent_is_waited_for_until_it_answers_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be cut off from control only, and answer by what it kept for as long as `stale_for` says."""
    world.report()
    monkeypatch.setattr(world, "report", lambda: None)
    journey = world.forget(ONE)
    for minutes in (1, 15):
        world.skip(minutes * 60)
        assert world.run(journey, agree=False) == "running"
        assert world.step(journey, "check").because == "1 gateways have not heard of it"
    world.skip(silent.ENDS_WITHIN // 1_000_000)
    assert world.run(journey, agree=False) == "done"


def stale_for(world: World, said: str) -> int:
    """The service's file says so from now on; the snapshot's index."""
    with world.db.write() as tx:
        service = read_service(f"{SERVICE}serve: {{stale_for: {said}}}\n")
        services.change(tx, by=world.person("trainer"), service=service, owner=service.owner)
        return publish(tx, world.ground, by=world.person("trainer"))


def test_a_gateway_that_may_answer_for_days_is_remembered_for_as_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale_for(world, "2d")
    world.report()
    monkeypatch.setattr(world, "report", lambda: None)
    journey = world.forget(ONE)
    world.skip(25 * 3600)
    with world.db.write() as tx:
        silent.forget_gone(tx)  # as when another gateway comes
    assert world.run(journey, agree=False) == "running"
    assert world.step(journey, "check").because == "1 gateways have not heard of it"
    world.skip(24 * 3600)
    with world.db.write() as tx:
        silent.forget_gone(tx)
    with world.db.read() as conn:
        assert conn.execute(sa.select(tables.gateways)).all() == []


@pytest.mark.parametrize("heard", [True, False])
def test_rules_that_a_gateway_may_have_heard_after_its_last_report_count(world: World, heard: bool) -> None:
    """It took those by which it answers for two hours, and was cut off before it said so."""
    world.report()
    world.skip(1 if heard else 2 * silent.HEARD_WITHIN // 1_000_000)
    stale_for(world, "2h")
    ix, at = stale_for(world, "15m"), world.ground.clock()
    with world.db.read() as conn:
        assert silent.behind(conn, ix, at + 3600 * 1_000_000) == heard
        assert silent.behind(conn, ix, at + 3 * 3600 * 1_000_000) == 0


def began(world: World) -> None:
    """A gateway says that it is there, and that it has no rules yet."""
    with world.db.write() as tx:
        tx.execute(tables.gateways.delete())
        tx.execute(tables.gateways.insert().values(id="g", applied=0, engines="{}", seen_at=tx.at))


@pytest.mark.parametrize("replaced", [True, False])
def test_a_gateway_that_never_said_it_had_rules_is_waited_for_by_those_it_may_have_been_given(
    world: World, replaced: bool
) -> None:
    """What newer rules had replaced before it came is handed to nobody, and read by nobody either."""
    stale_for(world, "2d")
    if replaced:
        stale_for(world, "15m")
        world.skip(2 * silent.PLACED_WITHIN // 1_000_000)
    began(world)
    ix, at = stale_for(world, "15m"), world.ground.clock()
    with world.db.read() as conn:
        assert silent.behind(conn, ix, at + 60 * 1_000_000) == 1
        assert silent.behind(conn, ix, at + 24 * 3600 * 1_000_000) == (not replaced)


def test_what_a_gateway_had_begun_ends_within_the_time_that_it_is_waited_for() -> None:
    assert Bounds().answer + border_serving.HOLD + news.REPORT <= silent.ENDS_WITHIN / 1_000_000


def test_a_model_that_is_registered_while_somebody_is_looked_for_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey = world.forget(ONE)
    real, looks = forget.reach, []

    def missed(*asked: Any) -> Any:
        looks.append(1)
        found = real(*asked)
        return found if len(looks) != 2 else replace(found, models=(), learned=frozenset())

    monkeypatch.setattr(forget, "reach", missed)
    assert world.run(journey, agree=False) == "running"
    assert world.step(journey, "revoke").state == "todo"
    world.new_runner()
    assert world.run(journey, agree=False) == "done"
    assert world.step(journey, "revoke").result["models"]


# -- in a backup of then ------------------------------------------------------------------------------


def restored(world: World, before: Home) -> World:
    """A copy of then, with the keys of now, and who was forgotten since."""
    now = world.home.control
    for name in ("epoch.key", "keyring.db"):
        shutil.copy(now / name, before.control / name)
    back = World(before)
    reapply(back.ground, now, carried.read(now, back.ring))
    return back


def found(world: World, person: str) -> data.Found:
    return data.found(world.ground, "claims", world.ring.subject("claims", person))


@pytest.mark.parametrize("tuned", [False, True])
def test_a_backup_made_while_a_delivery_waited_for_people_forgets_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuned: bool
) -> None:
    candidate = world.begin(SERVICE.replace("task: classify", "task: classify\n  train: {seed: 11}"))
    assert world.run(candidate, agree=False) == "waiting"
    before = copy_of(world.home, tmp_path / "backup", living=True)
    assert world.run(world.forget(ONE), agree=False) == "done"
    if tuned:  # then the plan it was tuned by is read, whose key is gone
        monkeypatch.setattr(rebuild.slots, "FILE", "model.onnx")
    back = restored(world, before)
    try:
        assert found(back, ONE).nothing
        assert back.state(candidate).state == "stopped"
        assert live_now(back) is None
    finally:
        back.close()


def test_a_backup_of_a_forgetting_that_had_stopped_half_way_forgets_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(world, monkeypatch, "destroy")
    assert world.run(world.forget(ONE), agree=False) == "failed"
    before = copy_of(world.home, tmp_path / "backup", living=True)
    breaking(world, monkeypatch, None)
    assert world.run(world.forget(ONE), agree=False) == "done"
    back = restored(world, before)
    try:
        assert found(back, ONE).nothing
        with back.db.read() as conn:
            states = set(conn.scalars(sa.select(tables.forgettings.c.state)))
        assert states == {"destroyed"}
    finally:
        back.close()
