"""The evaluating child: asks the trained model through the engine that will serve it, and writes its card.

The card cites the serving digest of exactly these files on exactly this engine. It holds no row, no text
and no date: the same model on the same rows gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from freehold.engines import identity, package, parity, probes
from freehold.engines.onnx import OnnxEngine
from freehold.engines.protocol import Engine
from freehold.engines.rows import Rows, read_rows
from freehold.errors import BadInput
from freehold.evaluate import live, page, writing
from freehold.evaluate.card import Found, of_classes, write_card
from freehold.evaluate.metrics import Outcome
from freehold.jobs.folder import JobFolder
from freehold.spec.ids import canonical, digest_bytes
from freehold.spec.model import About, Manifest
from freehold.spec.plain import unplain
from freehold.spec.service import Gate
from freehold.spec.split import is_held_out

HELD_OUT = "held-out"
AT_ONCE = 500


class NothingToMeasure(BadInput):
    """`{against}` has no row to measure on"""


def main(folder: JobFolder) -> dict[str, Any]:
    """Evaluate as `folder.spec` says; leave `outputs/card.json` and `outputs/card.html`.

    Raises ColumnUnusable or NothingToMeasure (the rows cannot be used so), AnswersDiffer (the engine
    does not answer as in training).
    """
    spec = folder.spec
    files = package.read_folder(folder.inputs / "model")
    about = package.about_of(files)
    gates = read_gates(spec)
    manifest = _manifest(spec, about, files)
    find = _find_written if about.task == "generate" else _find
    card = write_card(spec, manifest, find(folder, manifest, files, gates), gates)
    body = canonical(card)
    (folder.outputs / "card.json").write_bytes(body)
    (folder.outputs / "card.html").write_text(page.render(card, digest_bytes(body)))
    return {
        "card": digest_bytes(body),
        "passed": card["passed"],
        "serving_digest": card["model"]["serving_digest"],
        "gates": [{"name": g["name"], "passed": g["passed"], "because": g["because"]} for g in card["gates"]],
        "metrics": {against: _values(one["metrics"]) for against, one in card["measured"].items()},
    }


def _find(
    folder: JobFolder, manifest: Manifest, files: Mapping[str, bytes], gates: Mapping[str, Gate]
) -> Found:
    """Ask a classifier."""
    spec, about = folder.spec, manifest.about
    engine = OnnxEngine.load(about, files)
    proved = probes.prove(engine, files)
    measured: dict[str, Any] = {}
    for against, rows, facts in _sets(folder, about, gates):
        outcome = _ask(folder, engine, about, against, rows)
        measured[against] = of_classes(against, outcome, facts, gates)
    return Found(
        measured=measured,
        examples=_examples(engine, spec["examples"]),
        probes=proved,
        live=live.against_live(folder, about, engine),
        parity=parity.evidence(engine, manifest, [unplain(one["ask"]) for one in spec["examples"]]),
    )


def _find_written(
    folder: JobFolder, manifest: Manifest, files: Mapping[str, bytes], gates: Mapping[str, Gate]
) -> Found:
    """Ask a generator."""
    spec, about = folder.spec, manifest.about
    generator = writing.open_generator(about, files, package.read_folder(folder.inputs / "base"))
    try:
        measured: dict[str, Any] = {}
        for against, rows, facts in _sets(folder, about, gates):
            written = writing.ask(folder, generator, rows, "ask", against=against)
            measured[against] = writing.as_card(written, facts)
        asked = [{**one, "ask": unplain(one["ask"])} for one in spec["examples"]]
        return Found(
            measured=measured,
            examples=writing.examples(generator, asked),
            probes=0,
            live=live.writers(folder, about, generator),
            parity=parity.evidence(generator, manifest, [one["ask"] for one in asked]),
        )
    finally:
        generator.close()


def _values(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The figures alone, for lists of runs."""
    return {name: figure["value"] for name, figure in metrics.items() if figure}


def read_gates(spec: Mapping[str, Any]) -> dict[str, Gate]:
    """The gates of an evaluation's specification as records."""
    gates = {}
    for name, said in unplain(spec["gates"]).items():
        gates[name] = Gate(**{**said, "across": tuple(said["across"])})
    return gates


def _manifest(spec: Mapping[str, Any], about: About, files: Mapping[str, bytes]) -> Manifest:
    """For its digests only, which do not depend on ids and names."""
    return Manifest(
        model="",
        name=spec["service"],
        version=0,
        files=package.entries_of(files),
        about=about,
        engine=identity.engine(identity.name_for(about)),
        engine_flags=identity.flags(identity.name_for(about)),
    )


def _sets(
    folder: JobFolder, about: About, gates: Mapping[str, Gate]
) -> Iterator[tuple[str, Rows, dict[str, Any]]]:
    """The labelled rows, and facts, of each set that a gate is against, and of the held-out rows always."""
    spec = folder.spec
    train = spec["train"]
    rows = read_rows(
        folder.inputs / "data.arrow", about.inputs, target=train["target"], groups=_groups(gates, HELD_OUT)
    )
    seed, share = int(train["settings"]["seed"]), float(train["settings"]["held_out"])
    held = [place for place, key in enumerate(rows.keys) if is_held_out(key, seed, share)]
    shown = set(range(len(rows))) - set(held)
    if share:
        yield HELD_OUT, *_labelled(HELD_OUT, rows.take(held), set())
    learned = _contents(rows.take(sorted(shown))) if spec["golden"] else set()
    for reference in spec["golden"]:
        path = _golden(folder, reference)
        golden = read_rows(path, about.inputs, target=train["target"], groups=_groups(gates, reference))
        yield reference, *_labelled(reference, golden, learned)


def _golden(folder: JobFolder, reference: str) -> Path:
    path = folder.inputs / "golden" / f"{reference}.arrow"
    if not path.exists():
        raise NothingToMeasure(against=reference, why="its rows were not handed to the evaluation")
    return path


def _groups(gates: Mapping[str, Gate], against: str) -> tuple[str, ...]:
    return tuple(sorted({c for gate in gates.values() if gate.against == against for c in gate.across}))


def _contents(rows: Rows) -> set[tuple[Any, ...]]:
    return set(zip(*rows.columns.values(), strict=True))


def _labelled(against: str, rows: Rows, learned: set[tuple[Any, ...]]) -> tuple[Rows, dict[str, Any]]:
    labelled = rows.take([place for place, label in enumerate(rows.labels) if label is not None])
    if not len(labelled):
        raise NothingToMeasure(against=against, why="no row of it has a label")
    facts = {
        "rows": len(labelled),
        "unlabelled": len(rows) - len(labelled),
        "also_in_training": sum(
            content in learned for content in zip(*labelled.columns.values(), strict=True)
        ),
        "groups": labelled.groups,
    }
    return labelled, facts


def _ask(folder: JobFolder, engine: Engine, about: About, against: str, rows: Rows) -> Outcome:
    given: list[str] = []
    chances: list[tuple[float, ...]] = []
    for start in range(0, len(rows), AT_ONCE):
        part = {name: cells[start : start + AT_ONCE] for name, cells in rows.columns.items()}
        answers = engine.infer(part)
        given += answers.classes
        chances += answers.probabilities
        folder.report(stage="ask", against=against, done=len(given), of=len(rows))
    return outcome_of(about.classes, rows.labels, given, chances)


def outcome_of(
    known: Sequence[str],
    labels: Sequence[str | None],
    given: Sequence[str],
    chances: Sequence[Sequence[float]],
) -> Outcome:
    """Labels and answers as places; labels the model does not know stand behind its own classes."""
    strange = sorted({label for label in labels if label is not None} - set(known))
    classes = (*known, *strange)
    place = {name: index for index, name in enumerate(classes)}
    return Outcome(
        classes=classes,
        known=len(known),
        truth=np.array([place[label] for label in labels if label is not None], dtype=np.int64),
        given=np.array([place[name] for name in given], dtype=np.int64),
        chances=np.array(chances, dtype=np.float64),
    )


def _examples(engine: Engine, examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told = []
    for example in examples:
        ask = unplain(example["ask"])
        answers = engine.infer({name: [value] for name, value in ask.items()})
        told.append(
            {
                "ask": example["ask"],
                "expect": example["expect"],
                "got": answers.classes[0],
                "confidence": f"{answers.confidence[0]:.6f}",
                "passed": answers.classes[0] == example["expect"],
            }
        )
    return told
