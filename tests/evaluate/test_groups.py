"""For whom it is how good, and when there is too little to say so."""

from __future__ import annotations

from typing import Any

import numpy as np

from freehold.evaluate.groups import FEWEST, gap
from freehold.evaluate.metrics import Outcome


def answered(*groups: tuple[str, int, int]) -> tuple[Outcome, list[str]]:
    """(group, right, rows) each: an outcome with two classes, half of the rows each."""
    truth: list[int] = []
    given: list[int] = []
    names: list[str] = []
    for name, right, rows in groups:
        for place in range(rows):
            label = place % 2
            truth.append(label)
            given.append(label if place < right else 1 - label)
            names.append(name)
    chances = np.full((len(truth), 2), 0.5)
    outcome = Outcome(
        classes=("no", "yes"), known=2, truth=np.array(truth), given=np.array(given), chances=chances
    )
    return outcome, names


def measured(*groups: tuple[str, int, int], of: str = "") -> dict[str, Any]:
    outcome, names = answered(*groups)
    return gap(outcome, {"age_band": names}, of)


def test_the_gap_names_the_worst_and_the_best_group() -> None:
    said = measured(("18-39", 95, 100), ("40-69", 90, 100), ("70+", 80, 100))
    assert said["value"] == "0.150000"
    assert said["worst"] == {"column": "age_band", "group": "70+"}
    assert said["best"] == {"column": "age_band", "group": "18-39"}
    assert float(said["low"]) < 0.15 < float(said["high"])


def test_equal_groups_have_no_gap_and_still_an_upper_end() -> None:
    said = measured(("a", 45, 50), ("b", 45, 50))
    assert said["value"] == "0.000000"
    assert said["low"] == "0.000000"
    assert float(said["high"]) > 0.05


def test_a_group_with_few_rows_is_named_and_has_no_part_in_the_gap() -> None:
    said = measured(("a", 90, 100), ("b", 88, 100), ("c", 0, FEWEST - 1))
    assert said["value"] == "0.020000"
    assert said["insufficient"] == [{"column": "age_band", "group": "c", "rows": FEWEST - 1}]


def test_a_single_group_has_nothing_to_be_compared_with() -> None:
    said = measured(("a", 90, 100))
    assert said["value"] is None
    assert said["insufficient"] == [{"column": "age_band", "group": None, "rows": 100}]


def test_of_a_class_only_its_own_rows_count() -> None:
    said = measured(("a", 50, 50), ("b", 25, 50), of="yes")
    assert {g["group"]: g["rows"] for g in said["groups"]} == {"a": 25, "b": 25}
    assert float(said["value"]) == 13 / 25


def test_of_a_class_that_never_occurs_there_is_nothing_to_say() -> None:
    said = measured(("a", 50, 50), ("b", 50, 50), of="maybe")
    assert said["value"] is None
    assert len(said["insufficient"]) == 2


def test_groups_of_different_columns_are_not_compared() -> None:
    outcome, names = answered(("a", 50, 50), ("b", 30, 50))
    said = gap(outcome, {"age_band": names, "sex": ["f"] * 25 + ["m"] * 50 + ["f"] * 25}, "")
    assert said["worst"]["column"] == said["best"].get("column", said["worst"]["column"])
    assert {"column": said["worst"]["column"], "group": said["worst"]["group"]} == {
        "column": "age_band",
        "group": "b",
    }


def test_more_pairs_ask_for_a_wider_interval() -> None:
    two = measured(("a", 90, 100), ("b", 80, 100))
    four = measured(("a", 90, 100), ("b", 80, 100), ("c", 85, 100), ("d", 85, 100))
    assert two["value"] == four["value"]
    assert float(four["high"]) > float(two["high"])
