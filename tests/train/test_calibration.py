"""The scale that turns scores into probabilities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freehold.train.calibration import HIGHEST, LOWEST, best_scale
from freehold.train.trained import softmax


def test_it_finds_the_scale_that_made_the_labels() -> None:
    draw = np.random.default_rng(3)
    scores = draw.normal(size=(20_000, 4))
    chances = softmax(2.5 * scores)
    labels = np.array([draw.choice(4, p=row) for row in chances])
    assert abs(best_scale(scores, labels) - 2.5) < 0.1


def test_rows_that_are_all_right_do_not_ask_for_certainty() -> None:
    scores = np.eye(3)[[0, 1, 2] * 20]
    scale = best_scale(scores, np.array([0, 1, 2] * 20))
    assert softmax(scale * scores).max() < 0.999


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_it_stays_within_its_limits_whatever_it_is_given(seed: int, classes: int) -> None:
    draw = np.random.default_rng(seed)
    scale = best_scale(draw.normal(size=(40, classes)), draw.integers(0, classes, 40))
    assert LOWEST <= scale <= HIGHEST
