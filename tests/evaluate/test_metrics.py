"""Our figures against scikit-learn's, and their intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from freehold.evaluate import metrics
from freehold.evaluate.entry import outcome_of
from freehold.evaluate.metrics import Outcome


def drawn(seed: int, rows: int, classes: int, skill: float) -> Outcome:
    """Answers of a classifier that is as good as `skill` makes it."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, rows)
    scores = draw.normal(size=(rows, classes))
    scores[np.arange(rows), truth] += skill
    chances = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    names = tuple(str(place) for place in range(classes))
    return Outcome(classes=names, known=classes, truth=truth, given=chances.argmax(axis=1), chances=chances)


@pytest.mark.parametrize(("rows", "classes"), [(60, 2), (200, 5), (400, 12)])
@pytest.mark.parametrize("skill", [0.0, 1.5, 4.0])
def test_figures_equal_scikit_learns(rows: int, classes: int, skill: float) -> None:
    o = drawn(rows + classes, rows, classes, skill)
    assert metrics.accuracy(o).value == pytest.approx(accuracy_score(o.truth, o.given))
    assert metrics.macro_f1(o).value == pytest.approx(
        f1_score(o.truth, o.given, average="macro", zero_division=0)
    )
    theirs = (
        roc_auc_score(o.truth, o.chances[:, 1])
        if classes == 2
        else roc_auc_score(o.truth, o.chances, multi_class="ovr", average="macro")
    )
    found = metrics.auc(o)
    assert found is not None
    assert found.value == pytest.approx(theirs)


def test_the_variance_of_the_area_is_delongs() -> None:
    """Computed here from the definition: the two structural components of each row."""
    o = drawn(5, 80, 2, 1.0)
    scores, own = o.chances[:, 1], o.truth == 1
    wins = (scores[own][:, None] > scores[~own][None, :]) + 0.5 * (scores[own][:, None] == scores[~own])
    by_definition = wins.mean(axis=1).var(ddof=1) / own.sum() + wins.mean(axis=0).var(ddof=1) / (~own).sum()
    _, parts = metrics._components(scores, own)
    assert (parts**2).sum() == pytest.approx(by_definition)


@pytest.mark.parametrize(("rows", "classes", "skill"), [(100, 2, 2.0), (150, 6, 3.0)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(rows: int, classes: int, skill: float) -> None:
    big = drawn(0, 200_000, classes, skill)
    area = metrics.auc(big)
    assert area is not None
    truth = {"f1": metrics.macro_f1(big).value, "auc": area.value, "accuracy": metrics.accuracy(big).value}
    held = dict.fromkeys(truth, 0)
    for seed in range(1, 301):
        o = drawn(seed, rows, classes, skill)
        found = {"f1": metrics.macro_f1(o), "auc": metrics.auc(o), "accuracy": metrics.accuracy(o)}
        for name, one in found.items():
            assert one is not None
            held[name] += one.low <= truth[name] <= one.high
    assert all(count / 300 >= 0.92 for count in held.values()), held


def test_a_perfect_result_on_few_rows_is_not_called_certain() -> None:
    o = drawn(1, 12, 3, 50.0)
    assert metrics.macro_f1(o).value == 1.0
    assert metrics.macro_f1(o).low < 0.8
    area = metrics.auc(o)
    assert area is not None
    assert area.low < 0.8


def test_a_label_the_model_does_not_know_counts_as_wrong() -> None:
    o = outcome_of(("a", "b"), ("a", "c"), ("a", "a"), ((0.9, 0.1), (0.8, 0.2)))
    assert metrics.accuracy(o).value == 0.5
    assert [line["class"] for line in metrics.by_class(o)] == ["a", "c"]
    assert metrics.mistakes(o) == [{"label": "c", "answer": "a", "rows": 1}]


def test_without_rows_of_both_kinds_there_is_no_area() -> None:
    assert metrics.auc(outcome_of(("a", "b"), ("a", "a"), ("a", "a"), ((0.9, 0.1), (0.8, 0.2)))) is None


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    o = outcome_of(("a", "b"), ["a"] * 3 + ["b"], ["a"] * 4, [(0.75, 0.25)] * 4)
    assert metrics.calibration(o)["error"] == "0.000000"


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 5))
def test_every_interval_holds_its_own_figure(seed: int, rows: int, classes: int) -> None:
    o = drawn(seed, rows, classes, 1.0)
    for one in (metrics.accuracy(o), metrics.macro_f1(o), metrics.auc(o)):
        if one is not None:
            assert 0 <= one.low <= one.value + 1e-9
            assert one.value - 1e-9 <= one.high <= 1
