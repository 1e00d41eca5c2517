"""From a trained model to its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from learning import evaluate, evaluation, inbox, loans, service, train

from freehold.engines.package import about_of, manifest_of, read_folder
from freehold.engines.probes import AnswersDiffer
from freehold.engines.rows import ColumnUnusable
from freehold.evaluate import entry
from freehold.evaluate.entry import NothingToMeasure
from freehold.evaluate.gates import judge
from freehold.jobs.folder import JobFolder
from freehold.spec.ids import canonical
from freehold.spec.service import Example, Gate

GATES = {
    "bias": Gate(metric="recall_gap", across=("age_band",), against="golden@1", value=0.05),
    "quality": Gate(metric="macro_f1", lower_bound=0.8),
    "golden": Gate(metric="accuracy", against="golden@1", value=0.9),
}
EXAMPLES = (Example(ask={"text": "my cellar is wet"}, expect={"class": "water"}),)


def card_of(folder: JobFolder) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder.outputs / "card.json").read_text())
    return card


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, JobFolder]:
    root = tmp_path_factory.mktemp("e")
    asked = service(gates=GATES, examples=EXAMPLES)
    trained = train(root / "train", asked, inbox(300))
    return trained, evaluate(root / "one", asked, inbox(300), trained, {"golden@1": inbox(200, seed=9)})


def test_the_card_is_canonical_and_passes_what_it_should(evaluated: tuple[JobFolder, JobFolder]) -> None:
    card = card_of(evaluated[1])
    assert canonical(card) == (evaluated[1].outputs / "card.json").read_bytes()
    assert card["passed"], card["gates"]
    assert [g["name"] for g in card["gates"]] == ["bias", "golden", "quality", "examples"]
    assert [g.as_card() for g in judge(card, GATES)] == card["gates"]


def test_the_card_cites_the_digest_that_would_be_served(evaluated: tuple[JobFolder, JobFolder]) -> None:
    folder = evaluated[0].outputs / "model"
    about = about_of(read_folder(folder), run="run_8")
    manifest = manifest_of(folder, model="mdl_2", name="triage", version=4, about=about)
    assert card_of(evaluated[1])["model"]["serving_digest"] == manifest.serving_digest


def test_evaluating_twice_gives_the_same_bytes(
    evaluated: tuple[JobFolder, JobFolder], tmp_path: Path
) -> None:
    asked = service(gates=GATES, examples=EXAMPLES)
    again = evaluate(tmp_path / "two", asked, inbox(300), evaluated[0], {"golden@1": inbox(200, seed=9)})
    for name in ("card.json", "card.html"):
        assert (again.outputs / name).read_bytes() == (evaluated[1].outputs / name).read_bytes()


def test_held_out_rows_are_those_training_did_not_see(evaluated: tuple[JobFolder, JobFolder]) -> None:
    trained, measured = evaluated
    report = json.loads((trained.outputs / "report.json").read_text())
    assert card_of(measured)["measured"]["held-out"]["rows"] == report["rows"]["held_out"]


def test_golden_rows_that_were_also_learned_from_are_counted(
    evaluated: tuple[JobFolder, JobFolder], tmp_path: Path
) -> None:
    asked = service(gates=GATES, examples=EXAMPLES)
    same = evaluate(tmp_path / "same", asked, inbox(300), evaluated[0], {"golden@1": inbox(300)})
    assert card_of(same)["measured"]["golden@1"]["also_in_training"] > 200
    other = inbox(60)
    other["text"] = [f"{text} {place}" for place, text in enumerate(other["text"])]
    new = evaluate(tmp_path / "new", asked, inbox(300), evaluated[0], {"golden@1": other})
    assert card_of(new)["measured"]["golden@1"]["also_in_training"] == 0


def test_a_candidate_that_is_worse_for_one_group_is_held_by_name(tmp_path: Path) -> None:
    table = inbox(400)
    golden = inbox(300, seed=9)
    for place, band in enumerate(golden["age_band"]):
        if band == "70+" and place % 3 == 0:
            golden["text"][place] = "please call me back"
    asked = service(gates={"bias": GATES["bias"]})
    trained = train(tmp_path / "train", asked, table)
    card = card_of(evaluate(tmp_path / "eval", asked, table, trained, {"golden@1": golden}))
    assert not card["passed"]
    assert card["gates"][0]["because"].startswith("recall gap 0.")
    assert card["gates"][0]["because"].endswith("> 0.05 for age_band 70+")


def test_a_wrong_example_holds_the_candidate(tmp_path: Path) -> None:
    asked = service(examples=(Example(ask={"text": "burst pipe"}, expect={"class": "car"}),))
    trained = train(tmp_path / "train", asked, inbox())
    card = card_of(evaluate(tmp_path / "eval", asked, inbox(), trained))
    assert not card["passed"]
    assert card["examples"][0]["got"] == "water"


@pytest.mark.parametrize("trainer", ["linear", "boosting"])
def test_columns_are_measured_too(tmp_path: Path, trainer: str) -> None:
    gates = {
        "auc": Gate(metric="auc", value=0.6),
        "sex": Gate(metric="recall_gap", across=("sex",), value=0.4),
    }
    asked = service(task="tabular", trainer=trainer, gates=gates, train={"held_out": 0.4})
    trained = train(tmp_path / "train", asked, loans(400))
    card = card_of(evaluate(tmp_path / "eval", asked, loans(400), trained))
    assert card["passed"], card["gates"]
    assert {c["name"] for c in card["model"]["inputs"]} == {"income", "years", "home", "owner"}


def test_the_card_names_no_row_and_no_text(evaluated: tuple[JobFolder, JobFolder]) -> None:
    said = (evaluated[1].outputs / "card.json").read_text() + (evaluated[1].outputs / "card.html").read_text()
    assert not any(text in said for text in inbox(300)["text"])


def test_a_model_that_does_not_answer_as_in_training_gets_no_card(
    evaluated: tuple[JobFolder, JobFolder], tmp_path: Path
) -> None:
    asked = service(gates=GATES, examples=EXAMPLES)
    folder = evaluation(tmp_path / "e", asked, inbox(300), evaluated[0], {"golden@1": inbox(50)})
    probes = json.loads((folder.inputs / "model" / "probes.json").read_text())
    probes[0]["class"] = "nothing"
    (folder.inputs / "model" / "probes.json").write_text(json.dumps(probes))
    with pytest.raises(AnswersDiffer):
        entry.main(folder)
    assert list(folder.outputs.iterdir()) == []


def test_a_golden_set_that_was_not_brought_is_told(
    evaluated: tuple[JobFolder, JobFolder], tmp_path: Path
) -> None:
    folder = evaluation(tmp_path / "e", service(gates=GATES, examples=EXAMPLES), inbox(300), evaluated[0])
    with pytest.raises(NothingToMeasure, match="golden@1"):
        entry.main(folder)


def test_a_golden_set_without_the_group_column_is_told(
    evaluated: tuple[JobFolder, JobFolder], tmp_path: Path
) -> None:
    golden = inbox(50)
    del golden["age_band"]
    asked = service(gates=GATES, examples=EXAMPLES)
    with pytest.raises(ColumnUnusable, match="age_band"):
        evaluate(tmp_path / "e", asked, inbox(300), evaluated[0], {"golden@1": golden})
