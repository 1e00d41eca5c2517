"""A candidate beside the live model: both asked the same rows, neither of which learned from them.

The split goes by each row's own key, which is the same in every version of a data set: what is held out
of one version is held out of all, with the same seed and share. Rows that the live model may have
learned from, under another split, are left out and counted. Where it learned from another data set, that
cannot be told by keys, and the card says that it is not known: the live model may then look better than
it is, never worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from freehold.engines import package
from freehold.engines.onnx import OnnxEngine
from freehold.engines.protocol import Engine, Generator
from freehold.engines.rows import ColumnUnusable, Rows, read_rows
from freehold.evaluate import metrics, paired, writing
from freehold.evaluate.intervals import Measured, decimal
from freehold.evaluate.metrics import Outcome
from freehold.jobs.folder import JobFolder
from freehold.spec.model import About
from freehold.spec.snapshot import Column
from freehold.spec.split import is_held_out

AT_ONCE = 500
METRICS = ("accuracy", "macro_f1")


def against_live(folder: JobFolder, about: About, engine: Engine) -> dict[str, Any] | None:
    """The part of the card on the live model; none when the specification names no live one."""
    live = folder.spec.get("live")
    if not live:
        return None
    files = package.read_folder(folder.inputs / "live")
    other = package.about_of(files)
    told = {name: live[name] for name in ("ref", "serving_digest")}
    told |= {"counts": live["counts"], "overlap": "none" if live["split"] else "not known"}
    try:
        mine, left_out = _rows(folder, about.inputs, live["split"])
        theirs, _ = _rows(folder, other.inputs, live["split"])
    except ColumnUnusable as unreadable:
        why = f"the live model cannot read these rows: {unreadable.what}"
        return {**told, "rows": 0, "left_out": 0, "metrics": {}, "why": why}
    told |= {"rows": len(mine), "left_out": left_out, "why": ""}
    if not len(mine):
        return {**told, "metrics": {}, "why": "no row is left that neither of them learned from"}
    first = _ask(folder, engine, mine)
    second = _ask(folder, OnnxEngine.load(other, files), theirs)
    classes = tuple(dict.fromkeys((*about.classes, *other.classes, *map(str, mine.labels))))
    return {
        **told,
        "metrics": _compared(_outcome(classes, mine.labels, first), _outcome(classes, mine.labels, second)),
    }


def writers(folder: JobFolder, about: About, generator: Generator) -> dict[str, Any] | None:
    """The same for a generator: both write answers to the same rows. Above 0 is better for each figure."""
    live = folder.spec.get("live")
    if not live:
        return None
    files = package.read_folder(folder.inputs / "live")
    other = package.about_of(files)
    told = {name: live[name] for name in ("ref", "serving_digest")}
    told |= {"counts": live["counts"], "overlap": "none" if live["split"] else "not known"}
    if other.task != about.task:
        return {**told, "rows": 0, "left_out": 0, "metrics": {}, "why": "the live model writes no text"}
    mine, left_out = _rows(folder, about.inputs, live["split"])
    told |= {"rows": len(mine), "left_out": left_out, "why": ""}
    if not len(mine):
        return {**told, "metrics": {}, "why": "no row is left that neither of them learned from"}
    try:
        theirs, _ = _rows(folder, other.inputs, live["split"])
    except ColumnUnusable as unreadable:
        return {**told, "metrics": {}, "why": f"the live model cannot read these rows: {unreadable.what}"}
    first = writing.ask(folder, generator, mine, "ask both")
    before = writing.open_generator(other, files, package.read_folder(folder.inputs / "live-base"))
    try:
        second = writing.ask(folder, before, theirs, "compare with the live model")
    finally:
        before.close()
    return {**told, "metrics": _written(first, second)}


def _written(first: writing.Written, second: writing.Written) -> dict[str, Any]:
    figures = {"exact_match": writing.exact_match, "token_loss": writing.token_loss}
    found = {}
    for name, difference in writing.differences(first, second).items():
        mine, theirs = figures[name](first), figures[name](second)
        both = mine is not None and theirs is not None and difference is not None
        found[name] = _line(difference, mine, theirs) if both else None  # type: ignore[arg-type]  # none is None
    return found


def _rows(folder: JobFolder, inputs: Sequence[Column], split: Mapping[str, str]) -> tuple[Rows, int]:
    """Labelled rows that neither learned from, and how many were left out for the live one's sake.

    Held-out rows; where the candidate holds none out, the golden sets of its gates.
    """
    train = folder.spec["train"]
    seed, share = int(train["settings"]["seed"]), float(train["settings"]["held_out"])
    if not share:
        return _golden(folder, inputs), 0
    rows = read_rows(folder.inputs / "data.arrow", inputs, target=train["target"])
    places = [i for i, key in enumerate(rows.keys) if rows.labels[i] is not None]
    places = [i for i in places if is_held_out(rows.keys[i], seed, share)]
    kept = [i for i in places if not split or _unseen(rows.keys[i], split)]
    return rows.take(kept), len(places) - len(kept)


def _unseen(key: str, split: Mapping[str, str]) -> bool:
    return is_held_out(key, int(split["seed"]), float(split["held_out"]))


def _golden(folder: JobFolder, inputs: Sequence[Column]) -> Rows:
    """The rows of all golden sets together."""
    target = folder.spec["train"]["target"]
    parts = [
        read_rows(folder.inputs / "golden" / f"{reference}.arrow", inputs, target=target)
        for reference in folder.spec["golden"]
    ]
    together = Rows(
        numbers=tuple(n for part in parts for n in part.numbers),
        keys=tuple(key for part in parts for key in part.keys),
        columns={c.name: [cell for part in parts for cell in part.columns[c.name]] for c in inputs},
        labels=tuple(label for part in parts for label in part.labels),
        groups={},
    )
    return together.take([i for i, label in enumerate(together.labels) if label is not None])


def _ask(folder: JobFolder, engine: Engine, rows: Rows) -> list[str]:
    given: list[str] = []
    for start in range(0, len(rows), AT_ONCE):
        part = {name: cells[start : start + AT_ONCE] for name, cells in rows.columns.items()}
        given += engine.infer(part).classes
        folder.report(stage="compare with the live model", done=len(given), of=len(rows))
    return given


def _outcome(classes: tuple[str, ...], labels: Sequence[str | None], given: Sequence[str]) -> Outcome:
    """Answers as places in one list of classes, the same for both models; chances are not compared."""
    place = {name: index for index, name in enumerate(classes)}
    return Outcome(
        classes=classes,
        known=len(classes),
        truth=np.array([place[str(label)] for label in labels], dtype=np.int64),
        given=np.array([place[name] for name in given], dtype=np.int64),
        chances=np.zeros((len(given), len(classes))),
    )


def _compared(first: Outcome, second: Outcome) -> dict[str, Any]:
    figures = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
    differences = {
        "accuracy": paired.share(first.right, second.right),
        "macro_f1": paired.macro_f1(first, second),
    }
    return {name: _line(differences[name], figures[name](first), figures[name](second)) for name in METRICS}


def _line(difference: Measured, candidate: Measured, live: Measured) -> dict[str, str]:
    both = {"candidate": decimal(candidate.value), "live": decimal(live.value)}
    return {**difference.as_card(), **both}
