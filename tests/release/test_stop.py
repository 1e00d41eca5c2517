"""Stopping at once, and the second person who lets it answer again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from freehold.errors import BadInput, NotFound
from freehold.release import services, stop, words
from freehold.release.stop import NotRunning, NotStopped, SamePerson
from freehold.spec.principal import SYSTEM
from freehold.store.ground import Ground
from tests.release.conftest import person

OLGA, OTTO = person("olga"), person("otto")
NAME = "claims-triage"


@pytest.fixture
def running(declared: Callable[..., Any], approved: Callable[..., Any], released: Callable[..., Any]) -> None:
    declared()
    released(approved())


def _stop(ground: Ground, because: str = "it insults people") -> int:
    with ground.db.write() as tx:
        return stop.stop(tx, ground, by=OLGA, service=NAME, because=because)


def _resume(ground: Ground, who: Any = OTTO) -> int:
    with ground.db.write() as tx:
        return stop.resume(tx, ground, by=who, service=NAME, because="mended")


@pytest.mark.usefixtures("running")
def test_a_stop_is_in_the_very_next_snapshot_without_the_words(
    ground: Ground, snapshot: Callable[[], dict[str, Any]]
) -> None:
    ix = _stop(ground)
    said = snapshot()
    (service,) = said["services"]
    assert (said["ix"], service["state"]) == (ix, "stopped")
    assert "insults" not in str(said)


@pytest.mark.usefixtures("running")
def test_the_words_of_the_reason_are_sealed_in_the_row_and_committed_in_the_ledger(
    ground: Ground, recorded: Callable[[str], list[dict[str, Any]]]
) -> None:
    _stop(ground)
    with ground.db.read() as conn:
        row = services.find(conn, NAME)
    assert "insults" not in row["because"]
    assert words.open_words(ground, stop.place(NAME), row["because"]) == "it insults people"
    (entry,) = recorded("service.stopped")
    assert entry["detail"]["because"].startswith("hmac-sha256:")


@pytest.mark.usefixtures("running")
def test_stopping_twice_is_told_so(ground: Ground) -> None:
    _stop(ground)
    with pytest.raises(NotRunning) as told:
        _stop(ground)
    assert told.value.why == "it is stopped already"


@pytest.mark.usefixtures("running")
def test_whoever_stopped_it_does_not_resume_it(ground: Ground) -> None:
    _stop(ground)
    with pytest.raises(SamePerson):
        _resume(ground, OLGA)
    with pytest.raises(SamePerson):
        _resume(ground, SYSTEM)


@pytest.mark.usefixtures("running")
def test_another_person_lets_it_answer_again(ground: Ground, snapshot: Callable[[], dict[str, Any]]) -> None:
    _stop(ground)
    _resume(ground)
    (service,) = snapshot()["services"]
    assert service["state"] == "live"
    with pytest.raises(NotStopped):
        _resume(ground)


@pytest.mark.usefixtures("running")
def test_a_stopped_service_stays_stopped_when_it_is_released_anew(
    ground: Ground,
    approved: Callable[..., Any],
    released: Callable[..., Any],
    snapshot: Callable[[], dict[str, Any]],
) -> None:
    _stop(ground)
    released(approved("two"))
    (service,) = snapshot()["services"]
    assert service["state"] == "stopped"


@pytest.mark.usefixtures("running")
def test_a_stop_needs_a_reason_of_reasonable_length(ground: Ground) -> None:
    for because in ("", "x" * 2001):
        with pytest.raises(BadInput):
            _stop(ground, because)


def test_what_has_no_release_or_is_not_there_cannot_be_stopped(
    ground: Ground, declared: Callable[..., Any]
) -> None:
    with pytest.raises(NotFound):
        _stop(ground)
    declared()
    with pytest.raises(NotRunning) as told:
        _stop(ground)
    assert told.value.why == "it has no release yet"
