"""Random bytes are given out once, to one thread and process; ids and canonical records keep their form."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.spec import drawn
from freehold.spec.drawn import BLOCK, Drawn
from freehold.spec.ids import canonical, new_id


def test_no_byte_is_given_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's bytes are numbered here: every number comes once, in order, whole."""
    given_out = iter(range(1, 100))
    monkeypatch.setattr(os, "urandom", lambda size: bytes([next(given_out)]) * size)
    one = Drawn()
    first = [one(BLOCK // 4) for _ in range(4)]
    assert b"".join(first) == b"\x01" * BLOCK
    assert one(12) == b"\x02" * 12
    assert one(BLOCK) == b"\x03" * BLOCK, "what does not fit is not patched together from two blocks"
    assert one(2 * BLOCK) == b"\x04" * 2 * BLOCK


def test_threads_share_no_byte() -> None:
    one = Drawn()
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(lambda _: one(16), range(20_000)))
    assert len(set(many)) == len(many)


def test_a_child_of_a_fork_draws_anew() -> None:
    drawn.draw(1)
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(theirs, drawn.draw(32))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(ours, 32) != drawn.draw(32)
    os.close(ours)
    os.close(theirs)


def test_ids_sort_as_they_were_made_and_no_two_are_alike() -> None:
    ids = [new_id("ans") for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"ans_[0-9a-hjkmnp-tv-z]{26}", one) for one in ids)
    assert ids[0][4:12] <= ids[-1][4:12]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@given(PLAIN)
def test_a_record_has_one_form(value: Any) -> None:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    assert canonical(value) == text.encode()


@pytest.mark.parametrize("value", [0.5, [0.5], {"a": {"b": (1, 0.5)}}, {1: "a"}, {"a": [{2: 1}]}])
def test_floats_and_keys_that_are_no_text_are_refused_however_deep(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)
