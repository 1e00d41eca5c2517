"""Over every kind of journey there is: whatever happens at whichever step, each effect happens once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freehold.journeys.stories import STORIES
from freehold.store.home import Home
from freehold.store.tables import services
from tests.journeys.test_deliver import SERVICE
from tests.journeys.world import Fault, PowerCut, World, copy_of

FAULTS = (
    "it did not happen",
    "it is asked twice",
    "the power fails before the commit",
    "the power fails after the commit",
)
AGAIN = (
    SERVICE.replace("claims@1", "claims@2")
    + "serve: {rollout: [shadow 1h, canary 5% 1h, canary 50% 1h, ab 50% 1h, 100%]}\n"
)
SUBMIT = {
    "deliver": lambda world: world.begin(SERVICE),
    "retrain": lambda world: world.retrain(AGAIN),
    "forget": lambda world: world.forget("c-1"),
    "rebuild": lambda world: world.rebuild("c-1"),
    "purge": lambda world: world.purge_of_everything(),
}
"""How a journey of each kind is begun in the world; a new kind needs a line here."""

SHARES = ("shadow", "compare", "canary", "watch", "ab", "judge")
"""Steps with nothing to do where the file names no share before all of it; that of `retrain` names each."""
STEPS = [
    (kind, step.name)
    for kind, story in STORIES.items()
    for step in story.steps
    if kind == "retrain" or step.name not in SHARES
]


@pytest.fixture(scope="module")
def templates(template: Home, live: Home) -> dict[str, Home]:
    """Where each kind of journey begins: a deliver with nothing, the others with a live service."""
    return {kind: template if kind == "deliver" else live for kind in STORIES}


@pytest.fixture(scope="module")
def undisturbed(
    templates: dict[str, Home], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """What each kind of journey comes to when nothing happens."""
    sums = {}
    for kind in STORIES:
        world = World(copy_of(templates[kind], tmp_path_factory.mktemp(kind)))
        assert world.run(SUBMIT[kind](world)) == "done"
        world.run_all()
        sums[kind] = world.sum()
        world.close()
    return sums


@pytest.fixture
def world(templates: dict[str, Home], kind: str, tmp_path: Path) -> Iterator[World]:
    made = World(copy_of(templates[kind], tmp_path))
    yield made
    made.close()


def test_every_kind_of_journey_is_covered() -> None:
    assert set(SUBMIT) == set(STORIES)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_each_effect_happens_once(
    world: World, undisturbed: dict[str, dict[str, Any]], kind: str, step: str, fault: str
) -> None:
    trouble = Fault(step=step, kind=fault)
    trouble.put_into(world, kind)
    journey = SUBMIT[kind](world)
    for _ in range(5):
        try:
            state = world.run(journey)
        except PowerCut:
            state = "cut"
        if state == "done":
            break
        world.new_runner()  # as after a restart, or after the pause that a retry makes
    assert trouble.struck
    assert state == "done"
    world.run_all()
    assert world.sum() == undisturbed[kind]


@pytest.mark.parametrize(("kind", "step"), STEPS)
def test_a_step_that_can_never_be_done_takes_back_what_was_done_before(
    world: World, kind: str, step: str
) -> None:
    from dataclasses import replace

    from freehold.errors import BadInput
    from freehold.jobs.steps import Moment, Outcome

    def refuse(_moment: Moment) -> Outcome:
        raise BadInput(what="it cannot be done")

    journey = SUBMIT[kind](world) if kind == "rebuild" else ""
    before = world.sum()
    with world.db.read() as conn:
        declared = conn.scalars(sa.select(services.c.spec)).all()
    story = world.stories[kind]
    changed = tuple(replace(s, do=refuse) if s.name == step else s for s in story.steps)
    world.stories[kind] = replace(story, steps=changed)
    world.new_runner()
    journey = journey or SUBMIT[kind](world)
    assert world.run(journey) == "failed"
    states = {s.name: world.step(journey, s.name).state for s in story.steps}
    place = [s.name for s in story.steps].index(step)
    assert [states[s.name] for s in story.steps[:place]] == ["undone"] * place
    assert states[step] == "failed"
    counted = world.sum()
    if kind in ("forget", "purge"):
        return  # what is gone stays gone: tests/journeys/test_forget_story.py, test_purge_story.py
    assert counted["releases"].get("live", 0) == before["releases"].get("live", 0)
    assert not {"shadow", "canary", "ab"} & counted["releases"].keys()
    assert counted["models"].get("approved") == before["models"].get("approved")
    assert counted["models"].keys() <= {"held", "approved", "forgotten"}
    with world.db.read() as conn:
        assert conn.scalars(sa.select(services.c.spec)).all() == declared or kind == "deliver"
    assert "waiting" not in counted["approvals"]
    assert "running" not in counted["runs"]
