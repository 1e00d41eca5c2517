"""Tuning a pre-trained encoder to classify: LoRA beside its matrices, or only a head on top of it.

LoRA: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". The text's representation is
the mean over the tokens of the last layer. AdamW; cross-entropy, each row counting 1 / batch_size, so
that a row that is not there takes away its own part of its step and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.engines import tokens
from freehold.engines.rows import Rows
from freehold.engines.tokens import TokenFeatures
from freehold.spec.ids import digest
from freehold.train import adapter, encoder_graph, slots, tuning
from freehold.train.checkpoints import Checkpoints
from freehold.train.slots import Plan, Slot
from freehold.train.trained import CannotLearn, Floats, Lesson, Say, Trained, Work

HEAD_RATE = 5.0
"""With LoRA: how much faster the head learns, which begins with nothing."""
AT_ONCE = 64
"""Rows that are read together where nothing is learned from them."""
TARGETS = ("dense", "key", "query", "value")
"""Every matrix of the encoder's layers."""


def fit(lesson: Lesson, say: Say) -> Trained:
    """Tune, merge, write the graph. Raises CannotLearn, OtherBase, PlanUnusable or Diverged."""
    assert lesson.work is not None, "a plan for tuning names its base"
    work = lesson.work
    say("base")
    place = tuning.read_base(work.folder, work.base)
    config = json.loads((place / "config.json").read_bytes())
    features = _features(lesson, place, config)
    with tuning.exact(work.threads):
        model = (_Lora if work.tune == "lora" else _Head)(lesson, place, config)
        say("tokens")
        lengths = model.read(features, _texts(lesson.rows))
        plan = work.plan or _plan(lesson, lengths)
        course = _learn(lesson, model, plan, lengths)
        say("export")
        return _trained(lesson, model, features, config, plan, course, place)


def _features(lesson: Lesson, place: Path, config: Mapping[str, Any]) -> TokenFeatures:
    """Raises CannotLearn when the base cannot be written as a graph."""
    try:
        reaches = encoder_graph.longest(config)
    except (KeyError, ValueError, TypeError) as error:
        raise CannotLearn(why=f"the base model's config.json: {error}", hint="use another base") from error
    length = min(int(lesson.settings["max_length"]), reaches)
    return TokenFeatures.of((place / tokens.FILE).read_bytes(), length)


def _texts(rows: Rows) -> list[str]:
    (cells,) = rows.columns.values()
    return [str(cell or "") for cell in cells]


def _plan(lesson: Lesson, lengths: Sequence[int]) -> Plan:
    s = lesson.settings
    plan = slots.make(
        seed=lesson.seed, epochs=int(s["epochs"]), batch_size=int(s["batch_size"]), lengths=lengths
    )
    labels = [str(label) for label in lesson.rows.labels]
    return slots.with_classes(plan, labels, balanced=bool(s["balanced"]))


# -- the two ways -----------------------------------------------------------------------------------


class _Head:
    """A linear layer on what the encoder makes of a text; the encoder stays as it is."""

    def __init__(self, lesson: Lesson, place: Path, config: Mapping[str, Any]) -> None:
        import torch

        self.lesson = lesson
        self.encoder: Any = _encoder(place)
        self.pad = int(config.get("pad_token_id") or 0)
        torch.manual_seed(tuning.draw_for(lesson.seed, "head"))
        self.head = torch.nn.Linear(int(config["hidden_size"]), len(lesson.classes))
        torch.nn.init.normal_(self.head.weight, std=0.02)
        torch.nn.init.zeros_(self.head.bias)
        self.ids: list[Any] = []
        self._seen: Any = None

    def read(self, features: TokenFeatures, texts: Sequence[str]) -> list[int]:
        """Take the training texts in; how many tokens each has."""
        self.ids = [torch_ids(features, text) for text in texts]
        self._seen = self._see()
        return [len(ids) for ids in self.ids]

    def _see(self) -> Any:
        """What the encoder makes of each text, once and for all."""
        import torch

        order = sorted(range(len(self.ids)), key=lambda place: (len(self.ids[place]), place))
        seen = torch.empty(len(self.ids), self.head.in_features)
        for start in range(0, len(order), AT_ONCE):
            places = order[start : start + AT_ONCE]
            with torch.no_grad():
                seen[places] = self.represent([self.ids[place] for place in places])
            if self.lesson.work and start % (20 * AT_ONCE) == 0:
                self.lesson.work.folder.report(stage="read", done=start, of=len(order))
        return seen

    def represent(self, batch: Sequence[Any]) -> Any:
        """The mean over each text's own tokens of the last layer: [rows, hidden]."""
        import torch

        ids = torch.nn.utils.rnn.pad_sequence(list(batch), batch_first=True, padding_value=self.pad)
        sizes = torch.tensor([len(one) for one in batch])
        mask = (torch.arange(ids.shape[1]).unsqueeze(0) < sizes.unsqueeze(1)).long()
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        kept = mask.unsqueeze(-1).to(states.dtype)
        return (states * kept).sum(1) / kept.sum(1)

    def scores(self, places: Sequence[int]) -> Any:
        """Of training rows, to learn from."""
        return self.head(self._seen[list(places)])

    def named(self) -> dict[str, Any]:
        """What is learned, by name."""
        return {f"head.{name}": p for name, p in self.head.named_parameters()}

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """For the optimizer."""
        return [{"params": list(self.head.parameters()), "lr": rate, "highest": rate}]

    def files(self) -> dict[str, bytes]:
        """What was learned, as files."""
        return {"head.safetensors": adapter.tensors(dict(self.head.named_parameters()))}

    def merged(self) -> dict[str, Any]:
        """The encoder's weights as they answer."""
        return dict(self.encoder.state_dict())

    def operations(self) -> float:
        """Of one token in a step; 0: texts are read once, and no step reads them again."""
        return 0.0


class _Lora(_Head):
    """The same with two small matrices beside each matrix of the encoder."""

    def __init__(self, lesson: Lesson, place: Path, config: Mapping[str, Any]) -> None:
        super().__init__(lesson, place, config)
        s = lesson.settings
        self.rank, self.alpha = int(s["rank"]), float(s["alpha"])
        self.encoder = adapter.attach(
            self.encoder, rank=self.rank, alpha=self.alpha, targets=TARGETS, seed=lesson.seed
        )

    def _see(self) -> Any:
        return None  # what the encoder makes of a text changes with each step

    def scores(self, places: Sequence[int]) -> Any:
        return self.head(self.represent([self.ids[place] for place in places]))

    def named(self) -> dict[str, Any]:
        return {**adapter.learned(self.encoder), **super().named()}

    def groups(self, rate: float) -> list[dict[str, Any]]:
        beside = list(adapter.learned(self.encoder).values())
        return [
            {"params": beside, "lr": rate, "highest": rate},
            {
                "params": list(self.head.parameters()),
                "lr": rate * HEAD_RATE,
                "highest": rate * HEAD_RATE,
            },
        ]

    def files(self) -> dict[str, bytes]:
        said = adapter.files(
            self.encoder, rank=self.rank, alpha=self.alpha, targets=TARGETS, task="FEATURE_EXTRACTION"
        )
        return {**said, **super().files()}

    def merged(self) -> dict[str, Any]:
        return adapter.merged(self.encoder)

    def operations(self) -> float:
        return tuning.operations(self.encoder)


def _encoder(place: Path) -> Any:
    """In single precision, without code of its own, and still: nothing in it is drawn."""
    import torch
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(
        place,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        add_pooling_layer=False,
    )
    return encoder.eval().requires_grad_(False)


def torch_ids(features: TokenFeatures, text: str) -> Any:
    """The tokens of a text as torch has them."""
    import torch

    return torch.from_numpy(features.read(text))


# -- learning ---------------------------------------------------------------------------------------


def _learn(lesson: Lesson, model: _Head, plan: Plan, lengths: Sequence[int]) -> tuning.Course:
    """Walk the plan from where an earlier attempt was, or from its beginning."""
    import torch

    work = _work(lesson)
    names = _names(lesson)
    course = tuning.Course(folder=work.folder, steps=plan.steps)
    groups = model.groups(float(lesson.settings["learning_rate"]))
    optimizer = torch.optim.AdamW(groups, weight_decay=tuning.DECAY, foreach=False)
    about = digest({"asked": work.asked, "plan": plan.digest, "rows": names})
    checkpoints = Checkpoints(work.folder, about, work.breaks_every)
    start = 0
    if (kept := checkpoints.read()) is not None:
        tuning.restore(model.named(), optimizer, kept.tensors)
        course.go_on_from(kept.said["course"])
        start = kept.step
    weights = torch.tensor([float(weight) for weight in plan.weights])
    truth = torch.from_numpy(lesson.y)
    for slot in slots.walk(plan, names, lengths, start=start):
        if slot.rows:
            _step(model, optimizer, plan, slot, truth, weights, course)
        if checkpoints.due and slot.step + 1 < plan.steps:
            state = tuning.state_of(model.named(), optimizer)
            checkpoints.write(slot.step + 1, state, {"course": course.as_said()})
    return course


def _work(lesson: Lesson) -> Work:
    assert lesson.work is not None
    return lesson.work


def _names(lesson: Lesson) -> list[str]:
    texts, labels = _texts(lesson.rows), [str(label) for label in lesson.rows.labels]
    return slots.names(lesson.rows.keys, list(zip(texts, labels, strict=True)))


def _step(
    model: _Head, optimizer: Any, plan: Plan, slot: Slot, truth: Any, weights: Any, course: tuning.Course
) -> None:
    import torch

    speed = tuning.rate(slot.step, plan.steps)
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * speed
    torch.manual_seed(tuning.draw_for(plan.seed, f"step {slot.step}"))
    wanted = truth[list(slot.rows)]
    losses = torch.nn.functional.cross_entropy(model.scores(slot.rows), wanted, reduction="none")
    optimizer.zero_grad(set_to_none=True)
    (losses * weights[wanted]).sum().div(plan.batch_size).backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, tuning.CLIP, foreach=False)
    tokens = sum(len(model.ids[place]) for place in slot.rows)
    course.add(slot.step, losses.detach().mean().item(), norm.item(), speed, tokens)
    optimizer.step()


# -- what comes of it -------------------------------------------------------------------------------


def _trained(
    lesson: Lesson,
    model: _Head,
    features: TokenFeatures,
    config: Mapping[str, Any],
    plan: Plan,
    course: tuning.Course,
    place: Path,
) -> Trained:
    weights = {name: _numpy(tensor) for name, tensor in model.merged().items()}
    if sum(array.nbytes for array in weights.values()) > encoder_graph.MOST_BYTES:
        raise CannotLearn(why="the base model is too large for one graph", hint="use a smaller encoder")
    head = _numpy(model.head.weight), _numpy(model.head.bias)
    shape = encoder_graph.Shape.of(config)
    return Trained(
        files={
            "model.onnx": encoder_graph.classifier(shape, weights, *head),
            tokens.FILE: (place / tokens.FILE).read_bytes(),
            slots.FILE: plan.as_file(),
            **model.files(),
        },
        features={**features.as_features(), "tuned_from": _work(lesson).base},
        scores=_scores(model, features, _work(lesson).threads),
        precision="single",
        curve=course.points,
        step_seconds=course.step_seconds,
        pace=course.pace,
        operations=model.operations(),
        notes=_notes(lesson, model, features, plan),
    )


def _numpy(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().numpy()
    return array


def _scores(model: _Head, features: TokenFeatures, threads: int) -> Any:
    """One row at a time, as it will be asked."""
    import torch

    def scores(rows: Rows) -> tuple[Floats, Floats]:
        found = []
        with tuning.exact(threads), torch.no_grad():
            for text in _texts(rows):
                found.append(model.head(model.represent([torch_ids(features, text)]))[0].double())
        raw = torch.stack(found)
        return raw.numpy(), torch.softmax(raw, dim=1).numpy()

    return scores


def _notes(lesson: Lesson, model: _Head, features: TokenFeatures, plan: Plan) -> dict[str, Any]:
    learned = sum(parameter.numel() for parameter in model.named().values())
    return {
        "parameters_learned": learned,
        "steps": plan.steps,
        "plan": plan.digest,
        "tokens": sum(len(ids) for ids in model.ids),
        "texts_cut": sum(features.is_cut(text) for text in _texts(lesson.rows)),
    }
