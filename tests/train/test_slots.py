"""The order of training: each row has its own slot, and a row that goes leaves it empty."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.train import slots
from freehold.train.slots import Plan, PlanUnusable

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=120)


def plan_for(lengths: list[int], **more: int) -> Plan:
    return slots.make(**{"seed": 7, "epochs": 3, "batch_size": 8, **more}, lengths=lengths)


def named(lengths: list[int]) -> list[str]:
    return [f"row {place}" for place in range(len(lengths))]


def by_name(plan: Plan, names: list[str], lengths: list[int]) -> list[list[str]]:
    return [[names[place] for place in slot.rows] for slot in slots.walk(plan, names, lengths)]


@given(lengths=LENGTHS)
@settings(deadline=None)
def test_every_row_is_learned_from_once_an_epoch(lengths: list[int]) -> None:
    plan = plan_for(lengths)
    walked = list(slots.walk(plan, named(lengths), lengths))
    assert [slot.step for slot in walked] == list(range(plan.steps))
    for epoch in range(3):
        rows = Counter(place for slot in walked if slot.epoch == epoch for place in slot.rows)
        assert rows == Counter(range(len(lengths)))


@given(lengths=LENGTHS, gone=st.sets(st.integers(0, 119)), seed=st.integers(0, 9))
@settings(deadline=None)
def test_rows_that_go_leave_holes_and_move_nobody(lengths: list[int], gone: set[int], seed: int) -> None:
    plan, names = plan_for(lengths, seed=seed), named(lengths)
    left = [place for place in range(len(lengths)) if place not in gone]
    with_holes = by_name(plan, [names[p] for p in left], [lengths[p] for p in left])
    names_left = {names[p] for p in left}
    expected = [[name for name in rows if name in names_left] for rows in by_name(plan, names, lengths)]
    assert with_holes == expected


@given(lengths=LENGTHS)
@settings(deadline=None)
def test_the_order_of_rows_in_the_file_changes_nothing(lengths: list[int]) -> None:
    plan, names = plan_for(lengths), named(lengths)
    order = list(range(len(lengths)))
    random.Random(3).shuffle(order)
    assert plan == plan_for([lengths[p] for p in order])
    other = by_name(plan, [names[p] for p in order], [lengths[p] for p in order])
    assert other == by_name(plan, names, lengths)


@given(lengths=LENGTHS, start=st.integers(0, 60))
@settings(deadline=None)
def test_a_training_goes_on_where_it_was(lengths: list[int], start: int) -> None:
    plan, names = plan_for(lengths), named(lengths)
    whole = list(slots.walk(plan, names, lengths))
    assert list(slots.walk(plan, names, lengths, start=start)) == whole[start:]


@given(lengths=LENGTHS)
@settings(deadline=None)
def test_a_plan_is_read_back_as_it_was(lengths: list[int]) -> None:
    plan = slots.with_classes(plan_for(lengths), ["a", "b", "b"], balanced=True)
    assert slots.read(plan.as_file()) == plan
    assert plan.digest != plan_for(lengths).digest


def test_rows_of_similar_length_share_their_batches() -> None:
    lengths = [5] * 100 + [60] * 50 + [130] * 3
    plan = plan_for(lengths)
    assert [(band.longest, band.batches) for band in plan.bands] == [(8, 12), (192, 6)]
    for slot in slots.walk(plan, named(lengths), lengths):
        assert len({lengths[place] <= 8 for place in slot.rows}) <= 1


def test_epochs_and_seeds_deal_differently() -> None:
    lengths = [5] * 64
    first, second, *_ = by_name(plan_for(lengths), named(lengths), lengths)
    assert first != second
    assert by_name(plan_for(lengths), named(lengths), lengths) != by_name(
        plan_for(lengths, seed=8), named(lengths), lengths
    )


def test_batches_are_about_as_large_as_asked() -> None:
    lengths = [5] * 3200
    plan = plan_for(lengths, batch_size=32, epochs=1)
    sizes = [len(slot.rows) for slot in slots.walk(plan, named(lengths), lengths)]
    assert plan.steps == 100
    assert max(sizes) < 64
    assert sum(sizes) == 3200


def test_equal_rows_have_names_of_their_own_and_it_does_not_matter_which_goes() -> None:
    content = [("a", "x"), ("b", "y"), ("a", "x"), ("a", "x")]
    found = slots.names(["k"] * 4, content)
    assert len(set(found)) == 4
    assert set(slots.names(["k"] * 3, [content[0], content[1], content[2]])) == {*found[:3]}
    assert slots.names(["k"], [("a", "x")]) != slots.names(["l"], [("a", "x")])
    assert slots.names(["k"], [("a", "bx")]) != slots.names(["k"], [("ab", "x")])


def test_balanced_weights_make_classes_count_the_same() -> None:
    plan = slots.with_classes(plan_for([5] * 4), ["b", "a", "a", "a"], balanced=True)
    assert plan.classes == ("a", "b")
    assert [float(w) for w in plan.weights] == pytest.approx([4 / 6, 2.0])
    assert set(slots.with_classes(plan, ["b", "a"], balanced=False).weights) == {"1"}


def test_a_row_longer_than_the_plan_knows_is_refused() -> None:
    with pytest.raises(PlanUnusable, match="does not fit"):
        list(slots.walk(plan_for([5] * 9), ["a"], [200]))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"bands": 3}', b'{"bands": [{"longest": 3}]}'])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(PlanUnusable):
        slots.read(data)
