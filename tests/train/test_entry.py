"""Training in this process: what it leaves, what it refuses, and what it does not depend on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from learning import inbox, job, keys_of, loans, model_files, planned, service, train

from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of
from freehold.engines.rows import ColumnUnusable
from freehold.spec.domain import read
from freehold.spec.service import Example
from freehold.spec.split import is_held_out
from freehold.train import entry, parity
from freehold.train.parity import NotFaithful
from freehold.train.trained import CannotLearn

KINDS = [
    pytest.param(service(), inbox(), id="text svm"),
    pytest.param(service(train={"solver": "logistic"}), inbox(), id="text logistic"),
    pytest.param(service(task="tabular"), loans(), id="columns linear"),
    pytest.param(service(task="tabular", trainer="boosting"), loans(), id="columns boosting"),
]


@pytest.mark.parametrize(("asked", "table"), KINDS)
def test_the_exported_model_answers_as_the_trained_one_on_every_test_row(asked, table, tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = train(tmp_path / "job", asked, table)
    report = json.loads((folder.outputs / "report.json").read_text())
    assert report["parity"]["rows"] == report["rows"]["held_out"] > 0
    assert report["parity"]["other_class"] == 0
    assert float(report["parity"]["largest_difference"]) <= parity.TOLERANCE


@pytest.mark.parametrize(("asked", "table"), KINDS)
def test_the_order_of_rows_in_the_file_changes_nothing(asked, table, tmp_path: Path):  # type: ignore[no-untyped-def]
    one = train(tmp_path / "one", asked, table)
    two = train(tmp_path / "two", asked, table, shuffled=True)
    assert model_files(one) == model_files(two)


@pytest.mark.parametrize(("asked", "table"), KINDS)
def test_a_held_out_row_has_no_part_in_the_model(asked, table, tmp_path: Path):  # type: ignore[no-untyped-def]
    keys = keys_of(table)
    held = [place for place, key in enumerate(keys) if is_held_out(key, 7, 0.2)]
    with_all = train(tmp_path / "one", asked, table)
    without = train(tmp_path / "two", asked, table, without=held[:3])
    assert model_files(with_all) == model_files(without)


@pytest.mark.parametrize(("asked", "table"), KINDS)
def test_a_training_row_that_is_gone_leaves_no_trace(asked, table, tmp_path: Path):  # type: ignore[no-untyped-def]
    """As if it had never been there: its place in the numbering is the only thing that is left open."""
    keys = keys_of(table)
    gone = next(place for place, key in enumerate(keys) if not is_held_out(key, 7, 0.2))
    other = {name: [*cells] for name, cells in table.items()}
    for cells in other.values():
        cells[gone] = cells[0]  # whatever stood there
    one = train(tmp_path / "one", asked, table, without=[gone])
    two = train(tmp_path / "two", asked, other, without=[gone])
    assert model_files(one) == model_files(two)


def test_the_model_says_what_it_is_and_not_which_run_made_it(tmp_path: Path) -> None:
    files = model_files(train(tmp_path / "job", service(), inbox()))
    about = about_of(files, run="run_1")
    assert about.classes == ("car", "travel", "water")
    assert about.data == "claims@1"
    assert b"run_1" not in files["about.json"]


@pytest.mark.parametrize("trainer", ["linear", "boosting"])
def test_a_tabular_model_says_what_its_training_rows_looked_like(trainer: str, tmp_path: Path) -> None:
    table = loans()
    table["home"][:3] = ["boat", "boat", "boat"]
    about = about_of(model_files(train(tmp_path / "job", service(task="tabular", trainer=trainer), table)))
    domain = {column.name: column for column in read(about.features) or ()}
    assert domain.keys() == {column.name for column in about.inputs}
    assert domain["home"].values == ("", "farm", "flat", "house")  # three boats are somebody's
    assert domain["owner"].values == ("false", "true")
    assert domain["income"].missing
    assert not domain["years"].missing


def test_examples_are_kept_with_the_answers_of_training(tmp_path: Path) -> None:
    example = Example(ask={"text": "my cellar is wet"}, expect={"class": "water"})
    files = model_files(train(tmp_path / "job", service(examples=(example,)), inbox()))
    empty, asked = json.loads(files["probes.json"])
    assert empty["ask"] == {"text": ""}
    assert asked["ask"] == {"text": "my cellar is wet"}
    assert asked["class"] == "water"


def test_rows_without_a_label_are_counted_and_not_learned_from(tmp_path: Path) -> None:
    table = inbox()
    table["kind"][:5] = [None] * 4 + [""]
    folder = train(tmp_path / "job", service(), table)
    assert json.loads((folder.outputs / "report.json").read_text())["rows"]["unlabelled"] == 5


def test_whole_numbers_and_truth_values_are_classes_too(tmp_path: Path) -> None:
    table = loans()
    table["paid"] = [cell == "yes" for cell in table["paid"]]
    files = model_files(train(tmp_path / "job", service(task="tabular"), table))
    assert about_of(files).classes == ("false", "true")


def test_a_target_of_decimals_is_refused(tmp_path: Path) -> None:
    table = loans()
    table["paid"] = [place / 7 for place in range(len(table["paid"]))]
    with pytest.raises(ColumnUnusable) as refused:
        train(tmp_path / "job", service(task="tabular"), table)
    assert "band the numbers" in refused.value.hint


def test_a_single_class_is_nothing_to_learn(tmp_path: Path) -> None:
    table = inbox()
    table["kind"] = ["car"] * len(table["kind"])
    with pytest.raises(CannotLearn) as refused:
        train(tmp_path / "job", service(), table)
    assert "only one value" in refused.value.why


def test_a_class_of_its_own_in_each_row_is_refused(tmp_path: Path) -> None:
    table = inbox(1500)
    table["kind"] = [f"case {place}" for place in range(1500)]
    with pytest.raises(CannotLearn) as refused:
        train(tmp_path / "job", service(), table)
    assert "different values" in refused.value.why


def test_texts_without_a_shared_word_are_nothing_to_learn(tmp_path: Path) -> None:
    table = inbox(40)
    with pytest.raises(CannotLearn) as refused:
        train(tmp_path / "job", service(train={"min_count": 10_000}), table)
    assert "min_count" in refused.value.hint


def test_too_few_rows_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotLearn) as refused:
        train(tmp_path / "job", service(train={"held_out": 0.01}), inbox(6))
    assert "held_out: 0" in refused.value.hint


def test_data_that_lacks_a_planned_column_is_refused_by_its_name(tmp_path: Path) -> None:
    table = inbox()
    spec = planned(service(), table).spec
    del table["text"]
    with pytest.raises(ColumnUnusable, match="`text`"):
        entry.main(job(tmp_path / "job", spec, table))


def test_a_training_whose_export_answers_otherwise_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Contrary(OnnxEngine):
        def infer(self, columns):  # type: ignore[no-untyped-def]
            said = super().infer(columns)
            return type(said)(classes=said.classes[::-1], probabilities=said.probabilities[::-1])

    monkeypatch.setattr(entry, "OnnxEngine", Contrary)
    with pytest.raises(NotFaithful):
        train(tmp_path / "job", service(), inbox())
    assert not (tmp_path / "job" / "outputs" / "model").exists()


def test_a_text_longer_than_is_read_is_counted(tmp_path: Path) -> None:
    table = inbox()
    table["text"] = ["x" * 200 + text if place == 0 else text for place, text in enumerate(table["text"])]
    folder = train(tmp_path / "job", service(train={"max_characters": 150, "held_out": 0}), table)
    assert json.loads((folder.outputs / "report.json").read_text())["notes"]["texts_cut"] == 1


def test_columns_where_nothing_can_be_split_still_make_a_model(tmp_path: Path) -> None:
    table = loans(60)
    table["income"] = [1.0] * 60
    table["years"] = [3] * 60
    asked = service(task="tabular", trainer="boosting", features=("income", "years"))
    files = model_files(train(tmp_path / "job", asked, table))
    engine = OnnxEngine.load(about_of(files), files)
    assert len(set(engine.infer({"income": [1.0, None, 9.9], "years": [3, 0, None]}).classes)) == 1
