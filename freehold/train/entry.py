"""The training child: reads `data.arrow`, trains, proves the export, writes the model and its report.

Runs isolated, without network, on as many threads as its specification says. The model's bytes follow
from that specification and the rows alone; what differs from run to run (seconds, the machine) is only in
`report.json`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from freehold.engines import package, probes
from freehold.engines.onnx import OnnxEngine
from freehold.engines.protocol import Value
from freehold.engines.rows import Rows, read_rows
from freehold.jobs import machine
from freehold.jobs.folder import JobFolder
from freehold.spec.ids import canonical, digest
from freehold.spec.model import About
from freehold.spec.plain import unplain
from freehold.spec.snapshot import Column
from freehold.spec.split import is_held_out
from freehold.train import parity, settings, slots
from freehold.train.trained import CannotLearn, Lesson, Trained, Work, trainer

MOST_CLASSES = 1000
FEWER_ROWS = 250
"""On which a tuned base model is compared when no row is held out: tens of milliseconds each, twice."""


FEW_ANSWERS = 30
"""On which a tuned generator is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run's specification, read."""

    task: Literal["classify", "tabular", "generate"]
    trainer: str
    target: str
    inputs: tuple[Column, ...]
    settings: Mapping[str, settings.Scalar]
    data: str
    data_digest: str
    probes: tuple[Mapping[str, Value], ...]
    threads: int
    base: str
    """The digest of the base model that is tuned; empty where there is none."""


def read_spec(spec: Mapping[str, Any]) -> Asked:
    """Read what `train.plan.plan` wrote."""
    return Asked(
        task=spec["task"],
        trainer=spec["trainer"],
        target=spec["target"],
        inputs=tuple(Column(**column) for column in spec["inputs"]),
        settings=settings.from_text(spec["task"], spec["trainer"], spec["settings"]),
        data=spec["data"]["ref"],
        data_digest=spec["data"]["digest"],
        probes=tuple(unplain(spec["probes"])),
        threads=int(spec["threads"]),
        base=spec["base"]["digest"] if "base" in spec else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Labelled rows, in two parts."""

    training: Rows
    testing: Rows
    unlabelled: int


def main(folder: JobFolder) -> dict[str, Any]:
    """Train as `folder.spec` says; leave `outputs/model/` and `outputs/report.json`.

    Raises BadInput (the data cannot be used so) or NotFaithful (the export answers otherwise).
    """
    began, busy = time.monotonic(), time.process_time()
    asked = read_spec(folder.spec)
    folder.report(stage="read")
    rows = read_rows(folder.inputs / "data.arrow", asked.inputs, target=asked.target)
    split = _split(rows, asked)
    lesson = _lesson(asked, split.training, _work(folder, asked))
    folder.report(stage="train", rows=len(split.training))
    trained = trainer(asked.task, asked.trainer)(lesson, lambda stage: folder.report(stage=stage))
    about = _about(asked, lesson, trained)
    files = {**trained.files, package.ABOUT: package.about_bytes(about)}
    both = _few(split) if trained.losses is not None else _asked_of_both(split, trained)
    folder.report(stage="compare", rows=len(both))
    proved = _proved(folder, asked, lesson, both, trained, about, files)
    _write(folder.outputs / "model", files)
    report = _report(asked, lesson, split, trained, proved) | {
        "seconds": f"{time.monotonic() - began:.3f}",
        "cpu_seconds": f"{time.process_time() - busy:.3f}",
    }
    (folder.outputs / "report.json").write_bytes(canonical(report))
    metrics = {name: report[name] for name in ("rows", "classes", "parity", "seconds", "cpu_seconds")}
    return metrics | {"curve": trained.curve} | _step(folder, trained, len(rows))


def _step(folder: JobFolder, trained: Trained, rows: int) -> dict[str, Any]:
    """What `freehold bench storage --like` emulates: seconds of a step, and bytes of a row as it was read.

    And what `freehold bench runs` tells plans: tokens a second (of all steps, then of each fifth of them),
    and the operations of one.
    """
    if trained.step_seconds is None:
        return {}
    row = (folder.inputs / "data.arrow").stat().st_size / max(1, rows)
    told: dict[str, Any] = {"step_seconds": f"{trained.step_seconds:.6f}", "row_bytes": f"{row:.0f}"}
    if trained.operations and trained.pace:
        told["tokens_per_second"] = [f"{rate:.4g}" for rate in trained.pace]
        told["operations_per_token"] = f"{trained.operations:.0f}"
    return told


def _split(rows: Rows, asked: Asked) -> Split:
    """By each row's own key and the seed. Raises CannotLearn when a part is empty."""
    seed, share = int(asked.settings["seed"]), float(asked.settings["held_out"])
    labelled = [place for place, label in enumerate(rows.labels) if label is not None]
    held = {place for place in labelled if is_held_out(rows.keys[place], seed, share)}
    split = Split(
        training=rows.take([place for place in labelled if place not in held]),
        testing=rows.take(sorted(held)),
        unlabelled=len(rows) - len(labelled),
    )
    if not len(split.training):
        raise CannotLearn(why=f"no row has a value in the target column `{asked.target}`")
    if share and not len(split.testing):
        raise CannotLearn(
            why=f"of {len(labelled)} rows none is held out at a share of {share:g}",
            hint="bring more rows, or set `held_out: 0` and name a golden set in every gate",
        )
    return split


def _proved(
    folder: JobFolder,
    asked: Asked,
    lesson: Lesson,
    rows: Rows,
    trained: Trained,
    about: About,
    files: dict[str, bytes],
) -> dict[str, str | int]:
    """Ask what will serve it as well as the trained model; a classifier's probes are added to its files.

    Raises NotFaithful.
    """
    if trained.losses is not None:
        from freehold.engines.torch_engine import TorchGenerator

        base = package.read_folder(folder.inputs / "base")
        generator = TorchGenerator.load(about, files, base)
        try:
            return parity.compare_losses(generator, rows, trained.losses)
        finally:
            generator.close()
    assert trained.scores is not None, "a classifier is compared by its scores"
    engine = OnnxEngine.load(about, files)
    proved = parity.compare(engine, lesson.classes, rows, trained.scores, trained.precision)
    files[probes.FILE] = probes.file_of(probes.ask_all(engine, [probes.empty_request(about), *asked.probes]))
    return proved.as_report()


def _few(split: Split) -> Rows:
    """Answers are long: the first of the rows that a classifier would be compared on."""
    rows = split.testing if len(split.testing) else split.training
    return rows.take(range(min(FEW_ANSWERS, len(rows))))


def _work(folder: JobFolder, asked: Asked) -> Work | None:
    """What tuning a base model needs; none where the model learns from the data alone."""
    if not asked.base:
        return None
    given = folder.inputs / slots.FILE
    return Work(
        folder=folder,
        asked=digest(folder.spec),
        tune=asked.trainer,
        base=asked.base,
        threads=asked.threads,
        breaks_every=folder.breaks_every,
        plan=slots.read(given.read_bytes()) if given.exists() else None,
    )


def _asked_of_both(split: Split, trained: Trained) -> Rows:
    """Every test row; where none is held out the training rows, of a slow model the first of them."""
    if len(split.testing):
        return split.testing
    most = FEWER_ROWS if trained.precision == "single" else len(split.training)
    return split.training.take(range(min(most, len(split.training))))


def _lesson(asked: Asked, training: Rows, work: Work | None) -> Lesson:
    """Classes are the labels of the training rows, sorted. Raises CannotLearn when there are not two.

    A plan that is followed names them: a class whose last row went keeps its place. A generator has none.
    """
    if asked.task == "generate":
        return Lesson(rows=training, inputs=asked.inputs, classes=(), settings=asked.settings, work=work)
    classes = tuple(sorted({label for label in training.labels if label is not None}))
    if work and work.plan:
        classes = work.plan.classes
    if len(classes) < 2:
        raise CannotLearn(
            why=f"the target `{asked.target}` has only one value in the {len(training)} training rows"
        )
    if len(classes) > MOST_CLASSES:
        raise CannotLearn(
            why=f"the target `{asked.target}` has {len(classes)} different values, {MOST_CLASSES} at most",
            hint="a target is a class; is it a number or a text of its own in each row?",
        )
    return Lesson(rows=training, inputs=asked.inputs, classes=classes, settings=asked.settings, work=work)


def _about(asked: Asked, lesson: Lesson, trained: Trained) -> About:
    return About(
        task=asked.task,
        trainer=asked.trainer,
        inputs=asked.inputs,
        classes=lesson.classes,
        data=asked.data,
        data_digest=asked.data_digest,
        run="",
        features=trained.features,
    )


def _report(
    asked: Asked, lesson: Lesson, split: Split, trained: Trained, proved: Mapping[str, str | int]
) -> dict[str, Any]:
    labels = split.training.labels if lesson.classes else ()  # a generator's answers are people's words
    return {
        "task": asked.task,
        "trainer": asked.trainer,
        "data": {"ref": asked.data, "digest": asked.data_digest},
        "settings": settings.as_text(asked.settings),
        "rows": {
            "training": len(split.training),
            "held_out": len(split.testing),
            "unlabelled": split.unlabelled,
        },
        "classes": len(lesson.classes),
        "rows_by_class": dict(sorted(Counter(str(label) for label in labels).items())),
        "notes": trained.notes,
        "parity": dict(proved),
        "machine": machine.facts((), asked.threads),
    }


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
