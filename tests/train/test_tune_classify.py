"""Tuning a pre-trained encoder: it learns, exactly, resumably, and answers as it was trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import bases
import learning
import numpy as np
import pytest
import tuned

from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of
from freehold.jobs import isolated, walls
from freehold.jobs.folder import SUPPOSED, JobFolder
from freehold.spec.cadence import checkpoint_every
from freehold.spec.split import is_held_out
from freehold.train import checkpoints, entry, slots, tuning
from freehold.train.checkpoints import Checkpoints
from freehold.train.trained import CannotLearn
from freehold.train.tuning import Diverged, OtherBase

pytest.importorskip("torch", reason=tuned.NEEDS)

TABLE = learning.inbox(120)
WAYS = ["lora", "head"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bases.encoder(tmp_path_factory.mktemp("base") / "tiny", TABLE["text"])


@pytest.fixture(scope="module")
def learned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One good training of each kind, shared: files and job folder."""
    found = {}
    for way in WAYS:
        scratch = tuned.job(
            tmp_path_factory.mktemp(way) / "job",
            tuned.service(way, epochs=12, learning_rate={"lora": 0.01, "head": 0.1}[way]),
            TABLE,
            base,
        )
        result = entry.main(scratch)
        found[way] = (learning.model_files(scratch), scratch, result)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_it_learns_and_the_graph_answers_as_the_tuned_model(learned: dict[str, Any], way: str) -> None:
    files, scratch, result = learned[way]
    report = json.loads((scratch.outputs / "report.json").read_text())
    assert report["parity"]["rows"] == report["rows"]["held_out"] > 10
    assert report["parity"]["other_class"] == 0
    assert float(report["parity"]["largest_difference"]) <= 1e-4
    losses = [float(point[1]) for point in result["curve"]]
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:5])
    assert ("tokens_per_second" in result) is (way == "lora"), "of a head no step reads tokens"
    engine = OnnxEngine.load(about_of(files), files)
    held = [p for p, key in enumerate(learning.keys_of(TABLE)) if is_held_out(key, 7, 0.2)]
    answers = engine.infer({"text": [TABLE["text"][p] for p in held]})
    right = sum(a == TABLE["kind"][p] for a, p in zip(answers.classes, held, strict=True))
    assert right / len(held) > {"lora": 0.8, "head": 0.5}[way]  # a third by chance, on random weights


def test_what_is_left_is_safetensors_json_and_one_graph(learned: dict[str, Any]) -> None:
    files, *_ = learned["lora"]
    assert set(files) == {
        "about.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "head.safetensors",
        "model.onnx", "plan.json", "probes.json", "tokenizer.json",
    }  # fmt: skip
    assert set(learned["head"][0]) == set(files) - {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
    }
    about = about_of(files)
    assert (about.task, about.trainer, about.classes) == ("classify", "lora", ("car", "travel", "water"))
    assert about.features["kind"] == "tokens"


def test_peft_reads_the_adapter_and_says_the_same(
    learned: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from safetensors.torch import load
    from transformers import AutoModel

    from freehold.engines.tokens import TokenFeatures

    files, *_ = learned["lora"]
    (tmp_path / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / "adapter" / name).write_bytes(files[f"adapter/{name}"])
    with pytest.warns(FutureWarning):
        model = PeftModel.from_pretrained(
            AutoModel.from_pretrained(base, add_pooling_layer=False), tmp_path / "adapter"
        )
    head = load(files["head.safetensors"])
    ids = torch.from_numpy(TokenFeatures.of(files["tokenizer.json"], 32).read(TABLE["text"][0])).unsqueeze(0)
    with torch.no_grad():
        state = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(1)
    said = torch.softmax((state @ head["weight"].T + head["bias"]).double(), -1)[0]
    answer = OnnxEngine.load(about_of(files), files).infer({"text": [TABLE["text"][0]]})
    assert np.abs(said.numpy() - np.array(answer.probabilities[0])).max() < 1e-4


# -- exactly ----------------------------------------------------------------------------------------


def test_two_children_within_walls_leave_the_same_bytes(base: Path, tmp_path: Path) -> None:
    left = []
    for name in ("one", "two"):
        asked = tuned.service("lora", epochs=1)
        scratch = tuned.job(tmp_path / name, asked, TABLE, base, spec={"threads": 2})
        ended = isolated.run(
            scratch,
            "freehold.train.entry:main",
            walls=walls.offered(),
            limits=walls.JobLimits(memory=6_000_000_000, seconds=100, threads=2),
        )
        assert ended.failure is None
        left.append(learning.model_files(scratch))
    assert left[0] == left[1]


def test_the_order_of_rows_and_held_out_rows_change_nothing(base: Path, tmp_path: Path) -> None:
    asked = tuned.service(epochs=1)
    held = [p for p, key in enumerate(learning.keys_of(TABLE)) if is_held_out(key, 7, 0.2)]
    plain = tuned.tune(tmp_path / "one", asked, TABLE, base)
    assert tuned.tune(tmp_path / "two", asked, TABLE, base, shuffled=True) == plain
    assert tuned.tune(tmp_path / "three", asked, TABLE, base, without=held[:3]) == plain


@pytest.mark.parametrize("way", WAYS)
def test_a_row_that_is_gone_leaves_a_hole_in_the_same_plan(way: str, base: Path, tmp_path: Path) -> None:
    """Whatever the row was: only the plan of before and the rows that stay count."""
    asked = tuned.service(way, epochs=2)
    keys = learning.keys_of(TABLE)
    gone = [p for p, key in enumerate(keys) if not is_held_out(key, 7, 0.2)][:2]
    whole = tuned.tune(tmp_path / "whole", asked, TABLE, base)
    other = {name: [*cells] for name, cells in TABLE.items()}
    for place in gone:
        other["text"][place] = "something else entirely"
    hole = tuned.tune(tmp_path / "1", asked, TABLE, base, plan_file=whole["plan.json"], without=gone)
    again = tuned.tune(tmp_path / "2", asked, other, base, plan_file=whole["plan.json"], without=gone)
    assert hole == again
    assert hole["plan.json"] == whole["plan.json"]
    assert hole["model.onnx"] != whole["model.onnx"]


def test_a_class_whose_last_row_is_gone_keeps_its_place(base: Path, tmp_path: Path) -> None:
    asked = tuned.service("head", epochs=1, balanced=True)
    whole = tuned.tune(tmp_path / "whole", asked, TABLE, base)
    gone = [p for p, kind in enumerate(TABLE["kind"]) if kind == "car"]
    hole = tuned.tune(tmp_path / "hole", asked, TABLE, base, plan_file=whole["plan.json"], without=gone)
    assert about_of(hole).classes == ("car", "travel", "water")
    assert slots.read(hole["plan.json"]).weights[0] != "1"


# -- resumably --------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize("way", WAYS)
def test_a_training_that_was_cut_off_ends_in_the_same_bytes(
    way: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tuned.service(way, epochs=2)
    often: dict[str, Any] = {"breaks_every": 0.0}
    undisturbed = tuned.tune(tmp_path / "one", asked, TABLE, base, **often)
    write = Checkpoints.write

    def cut_off(self: Checkpoints, step: int, *more: Any) -> None:
        write(self, step, *more)
        if step == 13:
            raise Stopped

    scratch = tuned.job(tmp_path / "two", asked, TABLE, base, **often)
    monkeypatch.setattr(Checkpoints, "write", cut_off)
    with pytest.raises(Stopped):
        entry.main(scratch)
    monkeypatch.undo()
    kept = (scratch.checkpoints / "state.safetensors").read_bytes()
    seen: list[int] = []
    walk = slots.walk
    monkeypatch.setattr(
        slots, "walk", lambda *a, start, **k: (seen.append(start), walk(*a, start=start, **k))[1]
    )
    assert tuned.tune(tmp_path / "three", asked, TABLE, base, checkpoint=kept, **often) == undisturbed
    assert seen == [13]


@pytest.mark.parametrize("change", ["other rows", "other settings", "half a file"])
def test_a_checkpoint_of_other_work_is_not_gone_on_from(change: str, base: Path, tmp_path: Path) -> None:
    asked = tuned.service("head", epochs=2)
    often: dict[str, Any] = {"breaks_every": 0.0}
    scratch = tuned.job(tmp_path / "one", asked, TABLE, base, **often)
    entry.main(scratch)
    kept = (scratch.checkpoints / "state.safetensors").read_bytes()
    more: dict[str, Any] = dict(often)
    if change == "other rows":
        keys = learning.keys_of(TABLE)
        more["without"] = [next(p for p, key in enumerate(keys) if not is_held_out(key, 7, 0.2))]
    if change == "other settings":
        asked = tuned.service("head", epochs=2, learning_rate=0.02)
    if change == "half a file":
        kept = kept[: len(kept) // 2]
    anew = tuned.tune(tmp_path / "two", asked, TABLE, base, **more)
    assert tuned.tune(tmp_path / "three", asked, TABLE, base, checkpoint=kept, **more) == anew


def paced(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch, *, takes: float, breaks_every: float
) -> list[float]:
    """Seconds between two checkpoints in a training of an hour, where each takes so long to write."""
    now = [0.0]

    def write(*_: Any) -> None:
        now[0] += takes

    monkeypatch.setattr(checkpoints, "_write", write)
    kept = Checkpoints(folder, "x", breaks_every, clock=lambda: now[0])
    pauses, since = [], 0.0
    while now[0] < 3600:
        if kept.due:
            pauses.append(now[0] - since)
            kept.write(1, {}, {})
            since = now[0]
        now[0] += 0.25
    return pauses


def test_the_first_checkpoint_comes_early_the_others_ever_later_up_to_young_and_dalys_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder.create(tmp_path / "job", {})
    assert folder.breaks_every == SUPPOSED == 86_400
    pauses = paced(folder, monkeypatch, takes=0.015625, breaks_every=folder.breaks_every)
    assert pauses[:7] == pytest.approx([0.5, 1, 2, 4, 8, 16, 32], abs=0.25)
    assert pauses[7:] == pytest.approx([checkpoint_every(0.015625, 86_400)] * (len(pauses) - 7), abs=0.25)


def test_where_more_breaks_off_checkpoints_come_more_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder.create(tmp_path / "job", {})
    for breaks_every in (86_400, 3_600, 300):
        last = paced(folder, monkeypatch, takes=1.0, breaks_every=breaks_every)[-1]
        assert last == pytest.approx(checkpoint_every(1.0, breaks_every), abs=0.25)


def test_a_checkpoint_that_takes_long_does_not_come_early_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = JobFolder.create(tmp_path / "job", {})
    first, second, *_ = paced(folder, monkeypatch, takes=2.0, breaks_every=86_400)
    assert (first, second) == (0.5, 2.0 / checkpoints.SHARE)


# -- in alarm ---------------------------------------------------------------------------------------


def test_a_training_whose_loss_is_no_number_is_stopped(tmp_path: Path) -> None:
    folder = bases.encoder(tmp_path / "tiny", TABLE["text"])
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    weights = bases.bert_weights(size, 32, 2, seed=3)
    weights["embeddings.LayerNorm.weight"][0] = math.nan
    bases.write_safetensors(folder / "model.safetensors", weights)
    with pytest.raises(Diverged) as stopped:
        tuned.tune(tmp_path / "job", tuned.service(), TABLE, folder)
    assert "step 1 of" in stopped.value.why
    assert "learning_rate" in stopped.value.hint
    assert not (tmp_path / "job" / "outputs" / "model").exists()


def test_a_loss_that_only_grows_is_stopped(tmp_path: Path) -> None:
    from freehold.jobs.folder import JobFolder

    course = tuning.Course(folder=JobFolder.create(tmp_path / "job", {}), steps=1000)

    def grow() -> None:
        for step in range(1000):
            course.add(step, 1.0 + step * 0.1, 0.5, 1.0)

    with pytest.raises(Diverged, match="diverged") as stopped:
        grow()
    assert "rose from 1" in stopped.value.why


def test_a_pace_is_that_of_all_steps_and_of_each_fifth(tmp_path: Path) -> None:
    from freehold.jobs.folder import JobFolder

    now = [0.0]
    folder = JobFolder.create(tmp_path / "job", {})
    course = tuning.Course(folder=folder, steps=11, clock=lambda: now[0])
    assert course.pace == ()
    for step in range(11):
        course.add(step, 1.0, 0.5, 1.0, tokens=100 if step < 3 else 50)
        now[0] += 2
    assert course.pace == (30, 50, 25, 25, 25, 25)


def test_a_weight_that_is_learned_takes_six_operations_and_a_frozen_one_four() -> None:
    import torch

    frozen, learned = torch.nn.Linear(10, 20), torch.nn.Linear(20, 3)
    frozen.requires_grad_(False)
    words = torch.nn.Embedding(1000, 10)
    assert tuning.operations(torch.nn.Sequential(words, frozen, learned)) == 4 * 200 + 6 * 60


def test_a_curve_keeps_two_thousand_points_with_its_ends(tmp_path: Path) -> None:
    from freehold.jobs.folder import JobFolder

    course = tuning.Course(folder=JobFolder.create(tmp_path / "job", {}), steps=70_001)
    for step in range(70_001):
        course.add(step, 1.0, 0.5, 1.0)
    assert 1000 < len(course.points) <= 2000
    assert (course.points[0][0], course.points[-1][0]) == ("0", "70000")


def test_another_base_than_planned_is_refused(base: Path, tmp_path: Path) -> None:
    scratch = tuned.job(tmp_path / "job", tuned.service(), TABLE, base)
    path = scratch.inputs / "base" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(OtherBase):
        entry.main(scratch)


def test_a_base_whose_graph_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = bases.encoder(tmp_path / "tiny", TABLE["text"])
    config = json.loads((folder / "config.json").read_text())
    bases.write_json(folder / "config.json", {**config, "hidden_act": "swish"})
    with pytest.raises(CannotLearn) as refused:
        tuned.tune(tmp_path / "job", tuned.service(), TABLE, folder)
    assert "`swish`" in refused.value.why


def test_texts_longer_than_is_read_are_counted_and_marks_in_them_are_words(
    base: Path, tmp_path: Path
) -> None:
    table = {name: [*cells] for name, cells in TABLE.items()}
    table["text"][0] = "water " * 100
    scratch = tuned.job(tmp_path / "job", tuned.service("head", epochs=1, held_out=0.0), table, base)
    entry.main(scratch)
    assert json.loads((scratch.outputs / "report.json").read_text())["notes"]["texts_cut"] == 1
    files = learning.model_files(scratch)
    engine = OnnxEngine.load(about_of(files), files)
    answers = engine.infer({"text": ["water " * 100, "", "a [SEP] b [PAD] \ud800"]})
    assert answers.cut == 1
