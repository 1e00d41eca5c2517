"""The card: what was measured, on what, and whether it passes. Canonical, decimals as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

Measured = Mapping[str, tuple[Outcome, Mapping[str, Any]]]


def write_card(
    spec: Mapping[str, Any],
    manifest: Manifest,
    *,
    measured: Measured,
    examples: Sequence[Mapping[str, Any]],
    probes: int,
    gates: Mapping[str, Gate],
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole card, judged; `live` is what came of asking the live model the same."""
    card: dict[str, Any] = {
        "card": FORMAT,
        "service": {name: spec[name] for name in ("service", "project", "purpose")},
        "model": _model(manifest),
        "data": _data(spec["train"]),
        "confidence": str(CONFIDENCE),
        "measured": {
            against: _set(against, outcome, facts, gates) for against, (outcome, facts) in measured.items()
        },
        "examples": list(examples),
        "probes": {"asked": probes, "tolerance": f"{tolerance(manifest.about):.0e}"},
        "asked_gates": spec["gates"],
    }
    if live is not None:
        card["against_live"] = dict(live)
    results = judge(card, gates)
    card["gates"] = [result.as_card() for result in results]
    card["passed"] = all(result.passed for result in results)
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


def _set(
    against: str, outcome: Outcome, facts: Mapping[str, Any], gates: Mapping[str, Gate]
) -> dict[str, Any]:
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
