"""What changed between versions, told by columns and row numbers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.data import diff
from freehold.data.diff import _numbered
from freehold.errors import BadInput, NotFound
from freehold.store.ground import Ground

ROWS = "id,text,age\nann,water,34\nbob,car,51\ncleo,fire,70\n"


def _compare(ground: Ground, a: str = "inbox@1", b: str = "inbox@2") -> diff.Diff:
    return diff.compare(ground, "claims", a, b)


def test_a_version_does_not_differ_from_itself(add: Any, ground: Ground) -> None:
    add(ROWS)
    assert _compare(ground, "inbox@1", "inbox@1").same


def test_a_changed_row_is_paired_by_person_and_tells_its_columns(add: Any, ground: Ground) -> None:
    add(ROWS, subject=("id",))
    add("id,text,age\ndan,ice,20\nann,water,35\ncleo,fire,70\n", subject=("id",))
    found = _compare(ground)
    assert (found.changed, found.added, found.removed, found.only_order) == (1, 1, 1, False)
    (changed,) = found.first_changed
    assert (changed.before, changed.after, changed.columns) == (1, 2, ("age",))
    assert (found.first_added, found.first_removed) == ((1,), (2,))


def test_without_persons_rows_are_paired_by_place(add: Any, ground: Ground) -> None:
    add(ROWS)
    add(ROWS.replace("51", "52") + "dan,ice,20\n")
    found = _compare(ground)
    assert (found.changed, found.added, found.removed) == (1, 1, 0)
    assert found.first_changed[0].columns == ("age",)
    assert found.first_added == (4,)


def test_another_order_is_told_as_such(add: Any, ground: Ground) -> None:
    add(ROWS)
    head, one, two, three = ROWS.splitlines()
    add("\n".join([head, three, one, two]))
    found = _compare(ground)
    assert found.only_order
    assert not found.same
    assert (found.changed, found.added, found.removed) == (0, 0, 0)


def test_columns_that_come_go_or_change_their_type_are_told(add: Any, ground: Ground) -> None:
    add(ROWS)
    add("id,text,sex\nann,water,f\nbob,car,m\ncleo,fire,f\n")
    found = _compare(ground)
    assert [(c.name, c.before, c.after) for c in found.columns] == [
        ("age", "integer", None),
        ("sex", None, "text"),
    ]
    assert (found.changed, found.added, found.removed) == (0, 0, 0)
    add(ROWS, types={"age": "text"})
    assert [c.name for c in _compare(ground, "inbox@1", "inbox@3").columns] == ["age"]


def test_how_often_a_row_is_there_counts(add: Any, ground: Ground) -> None:
    add("a\nx\nx\ny\n")
    add("a\nx\nx\ny\nx\n")
    found = _compare(ground)
    assert (found.added, found.first_added, found.removed) == (1, (4,), 0)


def test_only_the_first_are_told_and_all_are_counted(add: Any, ground: Ground) -> None:
    add("a\n" + "x\n" * 50)
    add("a\n" + "x\n" * 50 + "".join(f"{n}y\n" for n in range(50)))
    found = _compare(ground)
    assert (found.added, len(found.first_added)) == (50, diff.SHOWN)


def test_versions_without_a_common_column_cannot_be_compared(add: Any, ground: Ground) -> None:
    add("a\n1\n")
    add("b\n1\n", name="outbox")
    with pytest.raises(BadInput):
        _compare(ground, "inbox@1", "outbox@1")
    with pytest.raises(NotFound):
        _compare(ground, "inbox@1", "inbox@2")


@given(st.lists(st.integers(-3, 3), max_size=12), st.lists(st.integers(-3, 3), max_size=12))
def test_rows_are_matched_one_by_one(left: list[int], right: list[int]) -> None:
    import numpy as np

    a, b = (_numbered(np.array(each, np.int64)) for each in (left, right))
    unmatched = int((~np.isin(a, b)).sum())
    from collections import Counter

    assert unmatched == (Counter(left) - Counter(right)).total()
