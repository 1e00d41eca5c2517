"""A model that is made again without somebody is, byte for byte, the one that never saw them.

For each kind of model of the line: train with everybody; then by the same plan with a hole where rows
were; and from the beginning on data in which those rows never were. The last two are the same files.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import bases
import learning
import pytest
import tuned
import writing

from freehold.spec.service import Service
from freehold.spec.split import is_held_out

DRAWS = 3
INBOX, LOANS = learning.inbox(120), learning.loans(160)
FEW, LETTERS = learning.inbox(48), writing.letters(48)


def somebody(table: learning.Table, draw: int) -> list[int]:
    """Up to four rows of one person: at least one was learned from, whatever they hold."""
    keys = learning.keys_of(table)
    chosen = random.Random(draw)
    learned = [place for place, key in enumerate(keys) if not is_held_out(key, 7, 0.2)]
    more = chosen.sample(range(len(keys)), chosen.randint(0, 3))
    return sorted({chosen.choice(learned), *more})


# -- what learns from the data alone ----------------------------------------------------------------

ALONE = [
    pytest.param(learning.service(), INBOX, id="TF-IDF and a support-vector machine"),
    pytest.param(learning.service(train={"solver": "logistic"}), INBOX, id="TF-IDF and logistic regression"),
    pytest.param(learning.service(task="tabular"), LOANS, id="linear"),
    pytest.param(learning.service(task="tabular", train={"balanced": True}), LOANS, id="linear, balanced"),
    pytest.param(
        learning.service(task="tabular", trainer="boosting", train={"trees": 15}), LOANS, id="boosted"
    ),
]


@pytest.mark.parametrize(("asked", "table"), ALONE)
def test_what_learned_from_the_data_alone(asked: Service, table: learning.Table, tmp_path: Path) -> None:
    assert _same_without(tmp_path, asked, table, range(DRAWS)) == DRAWS, "it did depend on them"


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("asked", "table"), ALONE)
def test_a_thousand_people_of_whom_nobody_is_left(
    asked: Service, table: learning.Table, tmp_path: Path
) -> None:
    """Two hundred of each kind of model."""
    assert _same_without(tmp_path, asked, table, range(DRAWS, DRAWS + 200)) > 0


def _same_without(root: Path, asked: Service, table: learning.Table, draws: range) -> int:
    """How many of those drawn had left a trace; made again without them it is gone."""
    with_everybody = learning.model_files(learning.train(root / "all", asked, table))
    other = 0
    for draw in draws:
        gone = somebody(table, draw)
        rebuilt = learning.train(root / f"{draw}-hole", asked, table, without=gone)
        never = learning.train(root / f"{draw}-never", asked, table, without=gone, never_there=True)
        assert learning.model_files(rebuilt) == learning.model_files(never)
        other += learning.model_files(rebuilt) != with_everybody
    return other


# -- what is tuned in slots -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason=tuned.NEEDS)
    return bases.encoder(tmp_path_factory.mktemp("base") / "tiny", FEW["text"])


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason=tuned.NEEDS)
    return writing.base(tmp_path_factory.mktemp("base") / "tiny", LETTERS)


@pytest.mark.parametrize("way", ["lora", "head"])
def test_a_tuned_classifier(way: str, encoder: Path, tmp_path: Path) -> None:
    _same(tmp_path, tuned.service(way, epochs=1), FEW, encoder, draws=1)


def test_a_tuned_generator(writer: Path, tmp_path: Path) -> None:
    asked = tuned.service("lora", task="generate", epochs=1, learning_rate=0.01, max_new_tokens=4)
    _same(tmp_path, asked, LETTERS, writer, draws=1, target="answer")


def _same(root: Path, asked: Service, table: learning.Table, base: Path, draws: int, **more: Any) -> None:
    with_everybody = tuned.tune(root / "all", asked, table, base, **more)
    plan = with_everybody["plan.json"]
    for draw in range(draws):
        gone = somebody(table, draw)
        hole = tuned.tune(root / f"{draw}-hole", asked, table, base, plan_file=plan, without=gone, **more)
        never = tuned.tune(
            root / f"{draw}-never",
            asked,
            _without(table, gone),
            base,
            plan_file=plan,
            without=gone,
            never_there=True,
            **more,
        )
        assert hole == never
        assert hole["plan.json"] == plan
        assert hole != with_everybody


def _without(table: learning.Table, gone: list[int]) -> learning.Table:
    """The same table with nothing of theirs in it, not even in what is left out."""
    return {
        name: [cells[0] if place in gone else cell for place, cell in enumerate(cells)]
        for name, cells in table.items()
    }
