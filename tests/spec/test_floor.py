"""What is guarded at least: nothing that is laid together gets weaker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from freehold.spec.fallback import covers
from freehold.spec.floor import Floor, stricter
from freehold.spec.guard import ACTIONS
from freehold.spec.snapshot import NO_GUARD, GuardView

GUARDS = st.builds(GuardView, **{name: st.sampled_from(actions) for name, actions in ACTIONS.items()})


@given(GUARDS, st.lists(GUARDS, max_size=3))
def test_laid_together_they_do_at_least_what_each_does(guard: GuardView, others: list[GuardView]) -> None:
    together = stricter(guard, *others)
    assert all(covers(together, one) for one in (guard, *others))
    assert stricter(together, *others) == together
    assert stricter(guard, NO_GUARD) == guard


@given(GUARDS, GUARDS)
def test_of_two_that_cover_each_other_both_do_the_same(one: GuardView, other: GuardView) -> None:
    assert (covers(one, other) and covers(other, one)) == (one == other)


def test_a_rule_speaks_of_its_purpose_and_from_its_sensitivity_on() -> None:
    floor = Floor(purpose="claims-handling", sensitivity=3, guard=("in.pii=mask",))
    assert floor.holds_for("claims-handling", 4)
    assert not floor.holds_for("claims-handling", 2)
    assert not floor.holds_for("marketing", 4)
    assert Floor(guard=("in.pii=mask",)).holds_for("marketing", 1)
