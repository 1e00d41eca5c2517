"""How busy an accelerator is kept: the formula, by hand and by its laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.sizing.bench.utilization import Spread, Step, percentile, records_a_second, utilization


def test_the_first_step_is_in_neither_the_time_computed_nor_the_time_taken() -> None:
    steps = [Step(load=9, compute=1), Step(load=0.5, compute=1), Step(load=0.5, compute=1)]
    assert utilization(steps, whole=10 + 3) == pytest.approx(2 / 3)
    assert records_a_second(steps, whole=10 + 3, batch=6) == pytest.approx(4)


def test_time_between_steps_counts_as_taken() -> None:
    steps = [Step(load=1, compute=1), Step(load=0, compute=1)]
    assert utilization(steps, whole=2 + 1 + 1) == pytest.approx(0.5)


@pytest.mark.parametrize("steps", [[], [Step(load=1, compute=1)]])
def test_without_a_second_step_nothing_is_known(steps: list[Step]) -> None:
    assert utilization(steps, whole=2) == 0
    assert records_a_second(steps, whole=2, batch=4) == 0


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(1e-3, 10)), min_size=2, max_size=30), st.floats(0, 5))
def test_it_is_a_share_and_more_waiting_never_raises_it(
    times: list[tuple[float, float]], more: float
) -> None:
    steps = [Step(load=load, compute=compute) for load, compute in times]
    whole = sum(step.load + step.compute for step in steps)
    now, slower = utilization(steps, whole), utilization(steps, whole + more)
    assert 0 <= slower <= now <= 1 + 1e-9


@given(st.lists(st.floats(1e-3, 10), min_size=2, max_size=30))
def test_data_that_is_always_there_keeps_it_wholly_busy(computes: list[float]) -> None:
    steps = [Step(load=0, compute=compute) for compute in computes]
    assert utilization(steps, sum(computes)) == pytest.approx(1)


def test_a_spread_tells_its_ends_and_a_single_value_none() -> None:
    assert Spread(values=(1.0, 2.0, 3.0)).text("GB/s") == "2 GB/s, 1 to 3 in 3 runs"
    assert Spread(values=(0.5,)).text("%", 100) == "50 %"
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1.0], 0.99) == 1.0
