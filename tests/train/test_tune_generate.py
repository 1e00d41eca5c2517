"""Tuning a causal model to answer: it learns to, and to end; exactly, resumably, with a hole for who went."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bases
import learning
import numpy as np
import pytest
import tuned
import writing

from freehold.engines.package import about_of, read_folder
from freehold.jobs import isolated, walls
from freehold.spec.split import is_held_out
from freehold.train import conversations, entry, slots
from freehold.train.checkpoints import Checkpoints
from freehold.train.plan import BaseUnfit
from freehold.train.trained import CannotLearn
from freehold.train.tuning import Diverged

pytest.importorskip("torch", reason=tuned.NEEDS)

from freehold.engines.chat import ChatText
from freehold.engines.torch_engine import TorchGenerator

TABLE = writing.letters(60)
QUICK = {"epochs": 1, "learning_rate": 0.01, "max_new_tokens": 8}


def service(**train: Any) -> Any:
    return tuned.service("lora", task="generate", **QUICK | train)


def job(root: Path, base: Path, *, table: learning.Table = TABLE, asked: Any = None, **more: Any) -> Any:
    return tuned.job(root, asked or service(), table, base, target="answer", **more)


def tune(root: Path, base: Path, **more: Any) -> dict[str, bytes]:
    scratch = job(root, base, **more)
    entry.main(scratch)
    return learning.model_files(scratch)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writing.base(tmp_path_factory.mktemp("base") / "tiny", TABLE)


@pytest.fixture(scope="module")
def learned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One good training, shared."""
    scratch = job(tmp_path_factory.mktemp("job") / "job", base, asked=service(epochs=24))
    result = entry.main(scratch)
    return learning.model_files(scratch), scratch, result


def test_it_learns_the_answers_and_where_they_end(learned: Any, base: Path) -> None:
    files, scratch, result = learned
    losses = [float(point[1]) for point in result["curve"]]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])
    assert float(result["tokens_per_second"][0]) > 0
    assert float(result["operations_per_token"]) > 0
    generator = TorchGenerator.load(about_of(files), files, read_folder(scratch.inputs / "base"))
    held = [p for p, key in enumerate(learning.keys_of(TABLE)) if is_held_out(key, 7, 0.2)]
    said = generator.complete([conversations.conversation(TABLE["text"][p]) for p in held], 8)
    generator.close()
    assert all(one.ended for one in said)  # by itself: the end token was learned
    right = sum(one.text == TABLE["answer"][p] for one, p in zip(said, held, strict=True))
    assert right / len(held) > 0.8


def test_the_served_model_is_as_surprised_as_the_tuned_one(learned: Any) -> None:
    report = json.loads((learned[1].outputs / "report.json").read_text())
    assert report["parity"]["rows"] == report["rows"]["held_out"] > 5
    assert float(report["parity"]["largest_difference"]) < 1e-4
    assert report["rows_by_class"] == {}  # answers are people's words


def test_what_is_left_is_an_adapter_and_the_pinned_words(learned: Any, base: Path) -> None:
    files, *_ = learned
    assert set(files) == {
        "about.json", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
        "chat_template.jinja", "plan.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    about = about_of(files)
    assert files["chat_template.jinja"] == (base / "chat_template.jinja").read_bytes()
    assert (about.task, about.trainer, about.classes) == ("generate", "lora", ())
    assert about.features["end_tokens"] == [1]
    said = json.loads(files["adapter/adapter_config.json"])
    assert (said["peft_type"], said["task_type"]) == ("LORA", "CAUSAL_LM")
    assert "lm_head" not in said["target_modules"]


def test_peft_reads_the_adapter_and_says_the_same(learned: Any, base: Path, tmp_path: Path) -> None:
    import writers

    files, scratch, _ = learned
    reference = writers.Reference(tmp_path, read_folder(scratch.inputs / "base"), files)
    asked = conversations.conversation(TABLE["text"][0])
    tokens, logprobs = reference.answer(asked, 8)
    generator = TorchGenerator.load(about_of(files), files, read_folder(scratch.inputs / "base"))
    (said,) = generator.complete([asked], 8)
    generator.close()
    assert list(said.tokens) == tokens
    assert np.abs(np.array(said.logprobs) - np.array(logprobs)).max() < 1e-4


def test_a_prompt_is_masked_and_an_answer_ends_with_the_end_token(base: Path) -> None:
    from freehold.train.tune_generate import IGNORED, _row

    words = conversations.words_of(base)
    chat = ChatText.open(words)
    ends = conversations.end_tokens(chat, base)
    read = conversations.read(chat, ["kitchen"], ["water desk"], end=ends[0], max_length=64)
    row = _row(read.pairs[0])
    shown = [id for id in row["labels"] if id != IGNORED]
    assert chat.decode(shown) == "water desk"
    assert shown[-1] == ends[0] == 1
    assert row["labels"][: len(read.pairs[0].prompt)] == [IGNORED] * len(read.pairs[0].prompt)
    assert chat.bytes_of(row["input_ids"][0]) == b"<|user|>"


def test_rows_that_are_too_long_or_pretend_to_be_turns_are_left_out_and_counted(
    base: Path, tmp_path: Path
) -> None:
    table = {name: [*cells] for name, cells in TABLE.items()}
    table["text"][0] = "kitchen " * 100
    table["text"][1] = "<|assistant|>I am the desk"
    table["answer"][2] = "water <|end|> desk"
    scratch = job(tmp_path / "job", base, table=table, asked=service(held_out=0.0))
    entry.main(scratch)
    notes = json.loads((scratch.outputs / "report.json").read_text())["notes"]
    assert (notes["rows_too_long"], notes["rows_with_marks"]) == (1, 2)


# -- exactly ----------------------------------------------------------------------------------------


def test_a_child_within_walls_leaves_the_same_bytes_and_reaches_nobody(base: Path, tmp_path: Path) -> None:
    plain = tune(tmp_path / "one", base)
    scratch = job(tmp_path / "two", base)
    ended = isolated.run(
        scratch,
        "freehold.train.entry:main",
        walls=walls.offered(),
        limits=walls.JobLimits(memory=8_000_000_000, seconds=200, threads=1),
    )
    assert ended.failure is None
    assert learning.model_files(scratch) == plain
    assert not list(scratch.tmp.glob("**/*.bin"))


def test_the_order_of_rows_and_held_out_rows_change_nothing(base: Path, tmp_path: Path) -> None:
    held = [p for p, key in enumerate(learning.keys_of(TABLE)) if is_held_out(key, 7, 0.2)]
    plain = tune(tmp_path / "one", base)
    assert tune(tmp_path / "two", base, shuffled=True, without=held[:3]) == plain


def test_a_row_that_is_gone_leaves_a_hole_in_the_same_plan(base: Path, tmp_path: Path) -> None:
    """Whatever the row was: only the plan of before and the rows that stay count."""
    keys = learning.keys_of(TABLE)
    gone = [p for p, key in enumerate(keys) if not is_held_out(key, 7, 0.2)][:2]
    whole = tune(tmp_path / "whole", base)
    other = {name: [*cells] for name, cells in TABLE.items()}
    for place in gone:
        other["text"][place], other["answer"][place] = "something else", "entirely"
    hole = tune(tmp_path / "1", base, plan_file=whole["plan.json"], without=gone)
    again = tune(tmp_path / "2", base, table=other, plan_file=whole["plan.json"], without=gone)
    assert hole == again
    assert hole["plan.json"] == whole["plan.json"]
    assert hole["adapter/adapter_model.safetensors"] != whole["adapter/adapter_model.safetensors"]


def test_a_slot_whose_rows_are_all_gone_is_walked_all_the_same(base: Path, tmp_path: Path) -> None:
    whole = tune(tmp_path / "whole", base)
    keys = learning.keys_of(TABLE)
    shown = [p for p, key in enumerate(keys) if not is_held_out(key, 7, 0.2)]
    hole = tune(tmp_path / "hole", base, plan_file=whole["plan.json"], without=shown[2:])
    assert slots.read(hole["plan.json"]) == slots.read(whole["plan.json"])


# -- resumably --------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def test_a_training_that_was_cut_off_ends_in_the_same_bytes(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = {"breaks_every": 0.0, "asked": service(epochs=2)}
    undisturbed = tune(tmp_path / "one", base, **often)
    write = Checkpoints.write

    def cut_off(self: Checkpoints, step: int, *more: Any) -> None:
        write(self, step, *more)
        if step == 5:
            raise Stopped

    scratch = job(tmp_path / "two", base, **often)
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
    assert tune(tmp_path / "three", base, checkpoint=kept, **often) == undisturbed
    assert seen == [5]


def test_a_child_that_is_killed_is_gone_on_from_where_it_was(base: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of it; its folder is given to another process."""
    often = {"breaks_every": 0.0, "asked": service(epochs=4)}
    scratch = job(tmp_path / "one", base, **often)
    command = (
        "import sys; from pathlib import Path; from freehold.jobs.folder import JobFolder; "
        "from freehold.train import entry; entry.main(JobFolder(Path(sys.argv[1])))"
    )
    child = subprocess.Popen([sys.executable, "-c", command, str(scratch.root)])
    state = scratch.checkpoints / "state.safetensors"
    end = time.monotonic() + 60
    while not state.exists() and child.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    entry.main(scratch)
    assert learning.model_files(scratch) == tune(tmp_path / "two", base, **often)


# -- in alarm ---------------------------------------------------------------------------------------


def test_a_training_whose_loss_is_no_number_is_stopped(tmp_path: Path) -> None:
    folder = writing.base(tmp_path / "tiny", TABLE)
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    weights = bases.llama_weights(size, 32, 2, seed=3)
    weights["model.norm.weight"][0] = math.nan
    bases.write_safetensors(folder / "model.safetensors", weights)
    with pytest.raises(Diverged) as stopped:
        tune(tmp_path / "job", folder)
    assert "step 1 of" in stopped.value.why
    assert not (tmp_path / "job" / "outputs" / "model").exists()


def test_a_base_without_template_or_end_or_engine_is_refused_at_plan_time(tmp_path: Path) -> None:
    bare = bases.causal(tmp_path / "bare", TABLE["text"], template=None)
    with pytest.raises(BaseUnfit) as refused:
        tuned.planned(service(), TABLE, bare, "answer")
    assert "no chat template" in refused.value.why
    config = json.loads((bare / "config.json").read_text())
    (bare / "chat_template.jinja").write_text(bases.TEMPLATE)
    bases.write_json(bare / "config.json", {**config, "model_type": "mamba"})
    with pytest.raises(BaseUnfit) as refused:
        tuned.planned(service(), TABLE, bare, "answer")
    assert "mamba" in refused.value.why
    encoder = bases.encoder(tmp_path / "encoder", TABLE["text"])
    with pytest.raises(BaseUnfit) as refused:
        tuned.planned(service(), TABLE, encoder, "answer")
    assert "continues text" in refused.value.hint


def test_a_base_that_names_no_end_is_refused(tmp_path: Path) -> None:
    folder = bases.causal(tmp_path / "tiny", TABLE["text"], template="{{ messages[0]['content'] }}")
    for name in ("config.json", "tokenizer_config.json"):
        said = json.loads((folder / name).read_text())
        said.pop("eos_token_id", None), said.pop("eos_token", None)
        bases.write_json(folder / name, said)
    chat = ChatText.open(conversations.words_of(folder))
    with pytest.raises(CannotLearn) as refused:
        conversations.end_tokens(chat, folder)
    assert "never end" in refused.value.hint


def test_a_template_inside_the_settings_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    folder = bases.causal(tmp_path / "tiny", TABLE["text"], template=None)
    said = json.loads((folder / "tokenizer_config.json").read_text())
    bases.write_json(folder / "tokenizer_config.json", {**said, "chat_template": bases.TEMPLATE})
    words = conversations.words_of(folder)
    assert words["chat_template.jinja"].decode() == bases.TEMPLATE
    assert "chat_template" not in json.loads(words["tokenizer_config.json"])
