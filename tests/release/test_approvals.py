"""Two people, neither owner nor submitter, bound to one digest: and every way that is not so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from freehold.errors import BadInput, NotFound
from freehold.release import approvals, versions, words
from freehold.release.approvals import AlreadyDecided, ApprovalVoid, NothingToApprove, NotYours
from freehold.release.versions import ModelVersion
from freehold.spec.principal import SYSTEM, Principal
from freehold.store.ground import Ground
from freehold.store.tables import models
from tests.conftest import MovingClock
from tests.release.conftest import person

Ask = Callable[..., tuple[str, ...]]
Decide = Callable[..., approvals.Approval]
Make = Callable[..., ModelVersion]

ANN, BOB = person("ann"), person("bob")


@pytest.fixture(autouse=True)
def _service(declared: Callable[..., Any]) -> None:
    declared()


def _standing(ground: Ground, model: ModelVersion) -> approvals.Standing:
    with ground.db.read() as conn:
        return approvals.standing(conn, model.id, model.serving_digest, at=ground.clock())


def _state(ground: Ground, model: ModelVersion) -> str:
    with ground.db.read() as conn:
        return versions.find(conn, model.id).state


def test_two_people_approve_and_then_the_model_is_approved(
    ground: Ground, trained: Make, asked: Ask, decide: Decide
) -> None:
    model = trained()
    risk, protection = asked(model)
    decide(ANN, risk)
    assert (_state(ground, model), _standing(ground, model).complete) == ("evaluated", False)
    decide(BOB, protection)
    assert (_state(ground, model), _standing(ground, model).complete) == ("approved", True)


def test_asking_again_returns_the_same_questions(trained: Make, asked: Ask, decide: Decide) -> None:
    model = trained()
    ids = asked(model)
    decide(ANN, ids[0])
    assert asked(model) == ids


def test_approving_twice_is_refused(trained: Make, asked: Ask, decide: Decide) -> None:
    risk, _ = asked(trained())
    decide(ANN, risk)
    with pytest.raises(AlreadyDecided) as told:
        decide(ANN, risk)
    assert told.value.why == "it was given by per_ann"


def test_nobody_signs_twice_even_with_both_roles(trained: Make, asked: Ask, decide: Decide) -> None:
    both = person("ann", ("claims", "data-protection"))
    risk, protection = asked(trained())
    decide(both, risk)
    with pytest.raises(NotYours, match="not yours") as told:
        decide(both, protection)
    assert "another person" in told.value.why


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (person("tim", ("claims", "model-risk")), "you submitted it"),
        (person("olga", ("claims", "model-risk")), "you own the service"),
        (person("bob"), "it asks for the role model-risk in claims"),
        (person("eve"), "it asks for the role model-risk in claims"),
        (person("tim"), "it asks for the role model-risk in claims"),
        (SYSTEM, "only a person approves"),
    ],
)
def test_who_may_not_decide_hears_why(
    trained: Make, asked: Ask, decide: Decide, who: Principal, why: str
) -> None:
    risk, _ = asked(trained())
    with pytest.raises(NotYours) as told:
        decide(who, risk)
    assert told.value.why == why


def test_an_owner_named_by_address_is_still_the_owner(trained: Make, asked: Ask, decide: Decide) -> None:
    risk, _ = asked(trained(), owner="Ann@Example.org")
    with pytest.raises(NotYours) as told:
        decide(ANN, risk)
    assert told.value.why == "you own the service"


def test_a_role_in_the_whole_installation_counts(trained: Make, asked: Ask, decide: Decide) -> None:
    everywhere = person("eve", ("*", "model-risk"))
    risk, _ = asked(trained())
    assert decide(everywhere, risk).state == "given"


def test_approver_stands_for_any_role_that_approves(trained: Make, asked: Ask, decide: Decide) -> None:
    one, other = asked(trained(), roles=("approver", "approver"))
    assert decide(ANN, one).state == "given"
    assert decide(BOB, other).state == "given"


def test_a_refusal_needs_a_reason_and_holds_the_model(
    ground: Ground, trained: Make, asked: Ask, decide: Decide
) -> None:
    model = trained()
    risk, protection = asked(model)
    with pytest.raises(BadInput, match="a refusal needs a reason"):
        decide(ANN, risk, give=False, because="  ")
    decide(ANN, risk, give=False, because="recall for the old is too low")
    assert _state(ground, model) == "held"
    standing = _standing(ground, model)
    assert [a.id for a in standing.refused] == [risk]
    assert [a.id for a in standing.void] == [protection]


def test_after_a_refusal_nobody_can_approve(trained: Make, asked: Ask, decide: Decide) -> None:
    model = trained()
    risk, protection = asked(model)
    decide(ANN, risk, give=False, because="no")
    with pytest.raises(ApprovalVoid) as told:
        decide(BOB, protection)
    assert told.value.why == "another approver refused"
    with pytest.raises(AlreadyDecided):
        decide(ANN, risk)
    with pytest.raises(NothingToApprove) as asking:
        asked(model)
    assert asking.value.why == "it is held, not evaluated"


def test_a_changed_digest_voids_what_was_asked_and_what_was_given(
    ground: Ground, trained: Make, asked: Ask, decide: Decide
) -> None:
    model = trained()
    risk, protection = asked(model)
    decide(ANN, risk)
    with ground.db.write() as tx:  # as an upgrade of the engine would
        tx.execute(models.update().where(models.c.id == model.id).values(serving_digest="sha256:new"))
        tx.tells_of({"models"})
    with pytest.raises(ApprovalVoid) as told:
        decide(BOB, protection)
    assert told.value.why == "the model's serving digest is another now"
    assert len(_standing(ground, model).void) == 2


def test_a_question_that_nobody_answered_in_time_is_not_answered_late(
    ground: Ground, trained: Make, asked: Ask, decide: Decide, clock: MovingClock
) -> None:
    model = trained()
    risk, protection = asked(model)
    decide(ANN, risk)
    clock.forward(days=15)
    with pytest.raises(ApprovalVoid) as told:
        decide(BOB, protection)
    assert told.value.why == "nobody decided in time"
    anew = asked(model)
    assert set(anew).isdisjoint({risk, protection})
    assert decide(BOB, anew[1]).state == "given"


def test_what_was_given_counts_for_a_year(ground: Ground, approved: Make, clock: MovingClock) -> None:
    model = approved()
    clock.forward(days=364)
    assert _standing(ground, model).complete
    clock.forward(days=2)
    assert not _standing(ground, model).complete


def test_a_newer_candidate_of_the_service_takes_the_place_of_one_that_waits(
    trained: Make, asked: Ask, decide: Decide
) -> None:
    (older, _), (newer, _) = asked(trained("one")), asked(trained("two"))
    with pytest.raises(ApprovalVoid) as told:
        decide(ANN, older)
    assert told.value.why == "another candidate took its place"
    assert decide(ANN, newer).state == "given"


@pytest.mark.parametrize("state", ["trained"])
def test_what_was_not_evaluated_is_not_put_to_anyone(trained: Make, asked: Ask, state: str) -> None:
    with pytest.raises(NothingToApprove):
        asked(trained(state=state))


def test_another_digest_than_the_models_is_not_put_to_anyone(trained: Make, asked: Ask) -> None:
    with pytest.raises(NothingToApprove, match="claims-triage@1"):
        asked(trained(), serving_digest="sha256:other")


def test_a_role_that_does_not_approve_is_refused(trained: Make, asked: Ask) -> None:
    with pytest.raises(BadInput, match="`trainer` is no role that approves"):
        asked(trained(), roles=("trainer",))


def test_an_approval_that_is_not_there_is_not_found(decide: Decide) -> None:
    with pytest.raises(NotFound, match="there is no approval"):
        decide(ANN, "apr_none")


def test_the_words_of_a_reason_stand_sealed_and_the_ledger_has_a_commitment(
    ground: Ground, trained: Make, asked: Ask, decide: Decide, recorded: Callable[[str], list[dict[str, Any]]]
) -> None:
    risk, _ = asked(trained())
    said = decide(ANN, risk, because="Mrs Miller's cases look right")
    (entry,) = recorded("approval.given")
    assert entry["detail"]["because"].startswith("hmac-sha256:")
    assert "Miller" not in said.because
    assert words.open_words(ground, said.place, said.because) == "Mrs Miller's cases look right"


def test_lists_show_what_waits_as_it_stands_now(
    ground: Ground, trained: Make, asked: Ask, decide: Decide, clock: MovingClock
) -> None:
    risk, protection = asked(trained())
    decide(ANN, risk)
    with ground.db.read() as conn:
        assert [a.id for a in approvals.listed(conn, clock(), state="waiting")] == [protection]
        assert [a.id for a in approvals.listed(conn, clock())] == [risk, protection]
        clock.forward(days=20)
        assert approvals.listed(conn, clock(), state="waiting") == ()
        assert [a.state for a in approvals.listed(conn, clock())] == ["given", "expired"]
