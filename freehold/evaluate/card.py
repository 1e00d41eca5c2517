"""The card: what was measured, on what, and whether it passes. Canonical, decimals as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freehold.engines.probes import tolerance
from freehold.evaluate import metrics
from freehold.evaluate.gates import judge
from freehold.evaluate.groups import gap
from freehold.evaluate.intervals import CONFIDENCE
from freehold.evaluate.metrics import Outcome
from freehold.spec.model import Manifest
from freehold.spec.service import Gate

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of asking a model, as the card says it."""

    measured: Mapping[str, Mapping[str, Any]]
    """Against which rows -> what `of_classes` (or `writing.as_card`) makes of the answers."""
    examples: Sequence[Mapping[str, Any]]
    probes: int
    live: Mapping[str, Any] | None
    """What came of asking the live model the same."""
    parity: Mapping[str, Any]
    """The evidence that engines check themselves against."""


def write_card(
    spec: Mapping[str, Any],
    manifest: Manifest,
    found: Found,
    gates: Mapping[str, Gate],
) -> dict[str, Any]:
    """The whole card, judged."""
    card: dict[str, Any] = {
        "card": FORMAT,
        "service": {name: spec[name] for name in ("service", "project", "purpose")},
        "model": _model(manifest),
        "data": _data(spec["train"]),
        "confidence": str(CONFIDENCE),
        "measured": dict(found.measured),
        "examples": list(found.examples),
        "probes": {"asked": found.probes, "tolerance": f"{tolerance(manifest.about):.0e}"},
        "asked_gates": spec["gates"],
    }
    if found.live is not None:
        card["against_live"] = dict(found.live)
    results = judge(card, gates)
    card["gates"] = [result.as_card() for result in results]
    card["passed"] = all(result.passed for result in results)
    card["parity"] = dict(found.parity)
    return card


def _model(manifest: Manifest) -> dict[str, Any]:
    about = manifest.about
    return {
        "digest": manifest.digest,
        "serving_digest": manifest.serving_digest,
        "task": about.task,
        "trainer": about.trainer,
        "inputs": [{"name": c.name, "datatype": c.datatype} for c in about.inputs],
        "classes": list(about.classes),
        "engine": manifest.engine,
        "engine_flags": manifest.engine_flags,
        "bytes": sum(entry.bytes for entry in manifest.files),
    }


def _data(train: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ref": train["data"]["ref"],
        "digest": train["data"]["digest"],
        "target": train["target"],
        "settings": train["settings"],
    }


def of_classes(
    against: str, outcome: Outcome, facts: Mapping[str, Any], gates: Mapping[str, Gate]
) -> dict[str, Any]:
    """What a card says of one set of rows that were classified."""
    area = metrics.auc(outcome)
    return {
        "rows": facts["rows"],
        "unlabelled": facts["unlabelled"],
        "also_in_training": facts["also_in_training"],
        "metrics": {
            "accuracy": metrics.accuracy(outcome).as_card(),
            "macro_f1": metrics.macro_f1(outcome).as_card(),
            "auc": area.as_card() if area else None,
        },
        "gaps": _gaps(against, outcome, facts["groups"], gates),
        "classes": metrics.by_class(outcome),
        "mistakes": metrics.mistakes(outcome),
        "calibration": metrics.calibration(outcome),
    }


def _gaps(
    against: str, outcome: Outcome, groups: Mapping[str, Sequence[str]], gates: Mapping[str, Gate]
) -> list[dict[str, Any]]:
    """One for each different question the gates ask about groups."""
    asked = {
        (gate.across, gate.of)
        for gate in gates.values()
        if gate.metric == "recall_gap" and gate.against == against
    }
    return [gap(outcome, {column: groups[column] for column in across}, of) for across, of in sorted(asked)]
