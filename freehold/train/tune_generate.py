"""Tuning a causal language model to answer: LoRA (PEFT), its steps walked by TRL's SFT trainer.

What is ours is which rows are in which step (`train.slots`), what a token counts, and where it can be
gone on from. A token of an answer counts 1 / the plan's scale, a token of a prompt nothing: so a row
that is not there takes away its own part of its step, and nothing else. The first end token stands
behind every answer that is learned.

TRL's trainer (https://huggingface.co/docs/trl) is not told of any service to report to, and its own
checkpoints, which hold pickles, are not written.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.engines.chat import TEMPLATE, TOKENIZER, ChatText
from freehold.engines.protocol import ModelUnreadable
from freehold.engines.rows import Rows
from freehold.spec.ids import digest, digest_bytes
from freehold.train import adapter, conversations, slots, tuning
from freehold.train.checkpoints import Checkpoints, Kept
from freehold.train.conversations import Pair
from freehold.train.slots import Plan
from freehold.train.trained import CannotLearn, Lesson, Say, Trained, Work

IGNORED = -100
"""The label of a token that is not learned (torch's cross-entropy)."""

_NOTHING = {"input_ids": [0], "labels": [IGNORED]}
"""For a step whose rows are all gone."""


def fit(lesson: Lesson, say: Say) -> Trained:
    """Tune; leave the adapter and the words. Raises CannotLearn, OtherBase, PlanUnusable or Diverged."""
    assert lesson.work is not None, "a plan for tuning names its base"
    work = lesson.work
    say("base")
    place = tuning.read_base(work.folder, work.base)
    words = conversations.words_of(place)
    chat = _chat(words)
    ends = conversations.end_tokens(chat, place)
    say("tokens")
    texts, answers = _columns(lesson.rows)
    longest = _longest(lesson, place)
    read = conversations.read(chat, texts, answers, end=ends[0], max_length=longest)
    plan = work.plan or _plan(lesson, read.pairs)
    with tuning.exact(work.threads):
        model, targets = _model(lesson, place)
        course = _learn(lesson, model, plan, read.pairs)
        say("export")
        files = adapter.files(
            model,
            rank=int(lesson.settings["rank"]),
            alpha=float(lesson.settings["alpha"]),
            targets=targets,
            task="CAUSAL_LM",
        )
    return Trained(
        files={**words, **files, slots.FILE: plan.as_file()},
        features={
            "kind": "chat",
            "base": work.base,
            "max_length": longest,
            "max_new_tokens": int(lesson.settings["max_new_tokens"]),
            "end_tokens": ends,
            "template": digest_bytes(words[TEMPLATE]),
            "tokenizer": digest_bytes(words[TOKENIZER]),
            "precision": "single",
        },
        losses=_losses(model, chat, ends[0], longest, work.threads),
        precision="single",
        curve=course.points,
        step_seconds=course.step_seconds,
        pace=course.pace,
        operations=tuning.operations(model),
        notes={
            "parameters_learned": sum(p.numel() for p in adapter.learned(model).values()),
            "steps": plan.steps,
            "plan": plan.digest,
            "tokens": sum(len(pair) for pair in read.pairs),
            "tokens_learned": sum(len(pair.answer) for pair in read.pairs),
            "rows_too_long": read.too_long,
            "rows_with_marks": read.marked,
        },
    )


def _chat(words: dict[str, bytes]) -> ChatText:
    """Raises CannotLearn when the reference engine could not read them."""
    try:
        return ChatText.open(words)
    except ModelUnreadable as unreadable:
        raise CannotLearn(why=f"the base model's words: {unreadable.why}", hint="use another base") from None


def _columns(rows: Rows) -> tuple[list[str], list[str]]:
    (cells,) = rows.columns.values()
    return [str(cell or "") for cell in cells], [str(label) for label in rows.labels]


def _longest(lesson: Lesson, place: Path) -> int:
    reaches = json.loads((place / "config.json").read_bytes()).get("max_position_embeddings")
    asked = int(lesson.settings["max_length"])
    return min(asked, reaches) if isinstance(reaches, int) else asked


def _plan(lesson: Lesson, pairs: Sequence[Pair]) -> Plan:
    s = lesson.settings
    plan = slots.make(
        seed=lesson.seed,
        epochs=int(s["epochs"]),
        batch_size=int(s["batch_size"]),
        lengths=[len(pair) for pair in pairs],
    )
    return slots.with_scale(plan, [len(pair.answer) for pair in pairs])


def _model(lesson: Lesson, place: Path) -> tuple[Any, list[str]]:
    """The base in single precision with an adapter beside every matrix but that of the words."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    model = AutoModelForCausalLM.from_pretrained(
        place, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    out = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    targets = sorted(
        {n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, kinds) and m is not out}
    )
    s = lesson.settings
    tuned = adapter.attach(
        model, rank=int(s["rank"]), alpha=float(s["alpha"]), targets=targets, seed=lesson.seed
    )
    return tuned, targets


# -- learning ---------------------------------------------------------------------------------------


def _learn(lesson: Lesson, model: Any, plan: Plan, pairs: Sequence[Pair]) -> tuning.Course:
    """Walk the plan from where an earlier attempt was, or from its beginning."""
    import torch

    work = _work(lesson)
    names = _names(lesson, pairs)
    course = tuning.Course(folder=work.folder, steps=plan.steps)
    rate = float(lesson.settings["learning_rate"])
    learned = adapter.learned(model)
    optimizer = torch.optim.AdamW(learned.values(), lr=rate, weight_decay=tuning.DECAY, foreach=False)
    about = digest({"asked": work.asked, "plan": plan.digest, "rows": names})
    checkpoints = Checkpoints(work.folder, about, work.breaks_every)
    kept = checkpoints.read()
    start = _go_on(kept, learned, optimizer, course)
    walk = slots.walk(plan, names, [len(pair) for pair in pairs], start=start)
    steps = [list(slot.rows) for slot in walk]
    if steps:

        def done(step: int) -> None:
            if checkpoints.due and step < plan.steps:
                state = tuning.state_of(learned, optimizer)
                checkpoints.write(step, state, {"course": course.as_said()})

        _train(lesson, model, optimizer, Stretch(plan, pairs, steps, start, course, done))
    return course


def _go_on(kept: Kept | None, learned: Any, optimizer: Any, course: tuning.Course) -> int:
    if kept is None:
        return 0
    tuning.restore(learned, optimizer, kept.tensors)
    course.go_on_from(kept.said["course"])
    return kept.step


def _work(lesson: Lesson) -> Work:
    assert lesson.work is not None
    return lesson.work


def _names(lesson: Lesson, pairs: Sequence[Pair]) -> list[str]:
    texts, answers = _columns(lesson.rows)
    keys = [lesson.rows.keys[pair.place] for pair in pairs]
    return slots.names(keys, [(texts[pair.place], answers[pair.place]) for pair in pairs])


@dataclass(frozen=True, slots=True)
class Stretch:
    """The steps that one attempt takes, and who hears of each."""

    plan: Plan
    pairs: Sequence[Pair]
    steps: list[list[int]]
    """The places of the pairs of each step."""
    start: int
    """How many steps earlier attempts took."""
    course: tuning.Course
    done: Callable[[int], None]
    """Told how many steps are taken, after each."""

    def learned(self, taken: int, loss: float, grad_norm: float) -> None:
        """A step is over; `taken` counts those of this attempt. One without rows says nothing."""
        places = self.steps[taken - 1]
        if not places:
            return
        step = self.start + taken - 1
        counted = sum(len(self.pairs[place].answer) for place in places)
        at = tuning.rate(step, self.plan.steps)
        read = sum(len(self.pairs[place]) for place in places)
        self.course.add(step, loss * self.plan.scale / counted, grad_norm, at, read)
        self.done(step + 1)


def _train(lesson: Lesson, model: Any, optimizer: Any, stretch: Stretch) -> None:
    """Let TRL's trainer take these steps, each over its own rows."""
    import torch

    _keep_to_oneself()
    start, last = stretch.start, stretch.plan.steps
    speed = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda taken: tuning.rate(min(start + taken, last), last)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about each other
        from datasets import Dataset

        _trainer(stretch)(
            model=model,
            args=_arguments(lesson, stretch),
            train_dataset=Dataset.from_list([_NOTHING]),
            processing_class=_tokenizer(_work(lesson).folder.inputs / "base"),
            data_collator=_together,
            optimizers=(optimizer, speed),
            callbacks=[],
        ).train()


def _trainer(stretch: Stretch) -> Any:
    """TRL's trainer with its batches from the plan."""
    import torch
    from trl import SFTTrainer

    rows = [*(_row(pair) for pair in stretch.pairs), _NOTHING]
    empty = len(rows) - 1

    class Walk(SFTTrainer):  # type: ignore[misc]  # trl has no types
        def get_train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(
                rows,
                batch_sampler=[places or [empty] for places in stretch.steps],
                collate_fn=_together,
            )

        def _get_num_items_in_batch(self, batch_samples: Any, device: Any) -> Any:
            return torch.tensor(stretch.plan.scale, device=device)

        def training_step(self, *given: Any, **named: Any) -> Any:
            step = stretch.start + self.state.global_step
            torch.manual_seed(tuning.draw_for(stretch.plan.seed, f"step {step}"))
            return super().training_step(*given, **named)

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            self._metrics["train"].clear()
            if "grad_norm" in logs:
                stretch.learned(self.state.global_step, logs["loss"], float(logs["grad_norm"]))

    return Walk


def _arguments(lesson: Lesson, stretch: Stretch) -> Any:
    from trl import SFTConfig

    return SFTConfig(
        output_dir=str(_work(lesson).folder.tmp / "trainer"),
        max_steps=len(stretch.steps),
        per_device_train_batch_size=stretch.plan.batch_size,
        max_grad_norm=tuning.CLIP,
        seed=lesson.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        push_to_hub=False,
        disable_tqdm=True,
        remove_unused_columns=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def _row(pair: Pair) -> dict[str, list[int]]:
    return {
        "input_ids": [*pair.prompt, *pair.answer],
        "labels": [*([IGNORED] * len(pair.prompt)), *pair.answer],
    }


def _together(rows: Sequence[dict[str, list[int]]]) -> dict[str, Any]:
    """Rows of a step, filled up to the longest; what is filled in is neither seen nor learned."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def filled(cells: Sequence[Sequence[int]], value: int) -> Any:
        return pad_sequence([torch.tensor(one) for one in cells], batch_first=True, padding_value=value)

    ids = [row["input_ids"] for row in rows]
    return {
        "input_ids": filled(ids, 0),
        "attention_mask": filled([[1] * len(one) for one in ids], 0),
        "labels": filled([row["labels"] for row in rows], IGNORED),
    }


def _tokenizer(base: Path) -> Any:
    """For the trainer's own bookkeeping: rows come to it as tokens already."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)


def _keep_to_oneself() -> None:
    """Nothing is fetched and nobody is told, whatever libraries do by themselves."""
    os.environ.update(HF_DATASETS_OFFLINE="1", DO_NOT_TRACK="1", ACCELERATE_USE_CPU="true")


# -- what comes of it -------------------------------------------------------------------------------


def _losses(
    model: Any, chat: ChatText, end: int, longest: int, threads: int
) -> Callable[[Rows], list[tuple[int, float, int]]]:
    """The tuned model itself, one row at a time: (place, sum of -log p of the answer, its tokens)."""
    import torch

    def losses(rows: Rows) -> list[tuple[int, float, int]]:
        texts, answers = _columns(rows)
        try:
            read = conversations.read(chat, texts, answers, end=end, max_length=longest)
        except CannotLearn:
            return []
        found = []
        model.eval()
        with tuning.exact(threads), torch.no_grad():
            for pair in read.pairs:
                ids = torch.tensor([[*pair.prompt, *pair.answer]])
                chances = model(input_ids=ids).logits[0, len(pair.prompt) - 1 : -1].double().log_softmax(-1)
                wanted = torch.tensor(pair.answer)[:, None]
                found.append((pair.place, -float(chances.gather(1, wanted).sum()), len(pair.answer)))
        return found

    return losses
