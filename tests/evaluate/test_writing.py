"""How well text is written: figures with intervals, on a generator without a model and on a tuned one."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import learning
import numpy as np
import pytest
import tuned
import writing as written

from freehold.engines.fake_generator import FakeGenerator
from freehold.engines.rows import Rows
from freehold.evaluate import charts, entry, gates, writing
from freehold.evaluate.plan import GateUnusable, plan
from freehold.evaluate.writing import Written
from freehold.jobs.folder import JobFolder
from freehold.spec.service import Example, Gate
from freehold.train import entry as training
from tests.gateway.conftest import writer


def outcome(exact: list[bool], loss: list[float], tokens: list[float]) -> Written:
    return Written(
        exact=np.array(exact), loss=np.array(loss), tokens=np.array(tokens), ended=len(exact), unreadable=0
    )


def rows(texts: list[str], answers: list[str]) -> Rows:
    size = len(texts)
    return Rows(
        numbers=tuple(range(size)),
        keys=("k",) * size,
        columns={"text": texts},
        labels=tuple(answers),
        groups={},
    )


def test_the_loss_of_a_token_is_over_all_tokens_not_over_rows() -> None:
    figure = writing.token_loss(outcome([True, False], [1.0, 9.0], [1, 9]))
    assert figure is not None
    assert figure.value == 1.0
    assert figure.low == figure.high == 1.0  # both rows say the same


def test_the_interval_of_a_loss_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        tokens = draw.integers(1, 20, 60).astype(float)
        loss = tokens * draw.gamma(4, 0.5, 60)  # 2 a token, whatever the length
        figure = writing.token_loss(outcome([True] * 60, list(loss), list(tokens)))
        assert figure is not None
        held += figure.low <= 2.0 <= figure.high
    assert 0.91 <= held / 400 <= 0.98


def test_of_one_row_nothing_is_known_but_its_value() -> None:
    figure = writing.token_loss(outcome([True], [2.0], [4]))
    assert figure is not None
    assert (figure.value, figure.low) == (0.5, 0.0)
    assert figure.high > 1e5
    assert writing.token_loss(outcome([False], [0.0], [0])) is None


def test_better_is_above_nothing_for_both_figures() -> None:
    good = outcome([True] * 30 + [False] * 10, [1.0] * 40, [2.0] * 40)
    bad = outcome([True] * 10 + [False] * 30, [3.0] * 40, [2.0] * 40)
    found = writing.differences(good, bad)
    for name in ("exact_match", "token_loss"):
        figure, other = found[name], writing.differences(bad, good)[name]
        assert figure is not None
        assert other is not None
        assert figure.low > 0 > other.high
    same = writing.differences(good, good)["token_loss"]
    assert same is not None
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_what_a_generator_cannot_read_counts_as_answered_wrong(tmp_path: Path) -> None:
    generator = FakeGenerator(writer("letters").about)
    folder = JobFolder.create(tmp_path / "job", {})
    asked = rows(["water", "x" * 3000], ["no", "no"])
    found = writing.ask(folder, generator, asked, "ask", against="held-out")
    assert (found.unreadable, found.ended) == (1, 1)
    assert list(found.exact) == [False, False]
    right = generator.complete([[{"role": "user", "content": "water"}]], 64)[0].text
    again = writing.ask(folder, generator, rows(["water"], [f" {right}\n"]), "ask")
    assert list(again.exact) == [True]
    assert again.loss[0] / again.tokens[0] == pytest.approx(-math.log(0.5))


def test_a_loss_gate_counts_the_upper_end_and_says_so() -> None:
    gate = Gate(metric="token_loss", upper_bound=2.0)
    card = {
        "measured": {"held-out": {"metrics": {"token_loss": {"value": "1.9", "low": "1.6", "high": "2.2"}}}},
        "examples": [],
    }
    (result,) = gates.judge(card, {"calm": gate})
    assert not result.passed
    assert result.because == "loss per token 1.90, upper end 2.2 > 2.0" or "2.20 > 2.0" in result.because


def test_a_gate_of_classes_is_no_gate_of_text() -> None:
    asked = tuned.service("lora", task="generate")
    spec = {"task": "generate", "target": "answer", "settings": {"held_out": "0.2"}, "threads": 1}
    for metric in ("accuracy", "recall_gap"):
        from dataclasses import replace

        gated = replace(asked, gates={"g": Gate(metric=metric, value=0.5)})  # type: ignore[arg-type]  # words of tests
        with pytest.raises(GateUnusable) as refused:
            plan(gated, run_spec=spec)
        assert "is not measured by" in refused.value.why


def test_a_chart_of_losses_goes_as_far_as_they_do() -> None:
    drawn = charts.whiskers(
        [{"name": "loss per token", "note": "2.4", "value": "2.4", "low": "2.1", "high": "2.7"}], "loss"
    )
    assert ">2.7<" in drawn or ">2.6<" in drawn


# -- a tuned one ------------------------------------------------------------------------------------

TABLE = written.letters(60)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tuning and its evaluation beside a live model, which is the same one."""
    pytest.importorskip("torch", reason=tuned.NEEDS)
    from dataclasses import replace

    root = tmp_path_factory.mktemp("evaluated")
    base = written.base(root / "tiny", TABLE)
    asked = replace(
        tuned.service("lora", task="generate", epochs=24, learning_rate=0.01, max_new_tokens=8),
        gates={"right": Gate(metric="exact_match", value=0.4), "calm": Gate(metric="token_loss", value=3.0)},
        examples=(Example(ask={"text": TABLE["text"][0]}, expect={"text": "nothing of the kind"}),),
    )
    trained = tuned.job(root / "train", asked, TABLE, base, target="answer")
    training.main(trained)
    live = {
        "ref": "letters@1",
        "serving_digest": "sha256:" + "2" * 64,
        "split": {"seed": "7", "held_out": "0.2"},
    }
    spec = plan(asked, run_spec=trained.spec, live=live)
    folder = learning.job(root / "evaluate", spec, TABLE)
    for name in ("model", "live"):
        shutil.copytree(trained.outputs / "model", folder.inputs / name)
    for name in ("base", "live-base"):
        shutil.copytree(trained.inputs / "base", folder.inputs / name)
    told = entry.main(folder)
    return json.loads((folder.outputs / "card.json").read_text()), told, folder


def test_a_tuned_generator_gets_a_card(evaluated: Any) -> None:
    card, told, folder = evaluated
    measured = card["measured"]["held-out"]
    assert set(measured["metrics"]) == {"exact_match", "token_loss"}
    assert measured["answers"]["ended"] == measured["rows"]
    judged = {gate["name"]: gate["passed"] for gate in card["gates"]}
    assert judged == {"right": True, "calm": True, "live": True, "examples": False}
    assert not told["passed"]
    page = (folder.outputs / "card.html").read_text()
    assert "loss per token" in page
    assert "answers ended by themselves" in page


def test_beside_itself_a_generator_is_neither_better_nor_worse(evaluated: Any) -> None:
    live = evaluated[0]["against_live"]
    assert live["counts"] == "exact_match"
    for figure in live["metrics"].values():
        assert float(figure["value"]) == 0
        assert figure["candidate"] == figure["live"]


def test_the_evidence_has_tokens_chances_and_the_names_of_all_parts(evaluated: Any) -> None:
    evidence = evaluated[0]["parity"]
    assert set(evidence["parts"]) == {"engine", "weights", "adapter", "template", "tokenizer", "end token"}
    assert len(evidence["probes"]) >= 9  # our sentences, and the service's example
    assert all(len(probe["tokens"]) == len(probe["logprobs"]) > 0 for probe in evidence["probes"])


def test_no_row_of_the_data_is_on_the_card(evaluated: Any) -> None:
    kept = json.dumps(
        {name: part for name, part in evaluated[0].items() if name not in ("examples", "parity")}
    )
    assert not any(text in kept for text in TABLE["text"])
