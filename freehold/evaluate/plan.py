"""What an evaluation has to measure: the gates of a service, checked, as a child's specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.errors import BadInput
from freehold.evaluate.gates import LIVE, OF_TEXT, SMALL_IS_GOOD, WORDS
from freehold.spec.ids import parse_reference
from freehold.spec.plain import plain
from freehold.spec.service import Gate, Service

HELD_OUT = "held-out"
EXAMPLES = "examples"


class GateUnusable(BadInput):
    """the gate `{name}` cannot be judged"""


def plan(
    service: Service, *, run_spec: Mapping[str, Any], live: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The canonical specification of the evaluation that follows the training `run_spec`.

    With `live` (ref, serving_digest, split) the candidate is compared with that model, whose files are
    expected in `inputs/live`. Needs `inputs/golden/<name>@<version>.arrow` for each of its `golden`.
    Raises GateUnusable, or BadInput for an example that expects something else than a class.
    """
    for name, gate in service.gates.items():
        _check(name, gate, run_spec)
    return {
        "kind": "evaluate",
        "format": 1,
        "service": service.service,
        "project": service.project,
        "purpose": service.purpose,
        "train": dict(run_spec),
        "gates": {name: plain(gate) for name, gate in service.gates.items()},
        # as many as the training had: a generator is asked through torch
        **({"threads": run_spec["threads"]} if service.model.task == "generate" else {}),
        "golden": sorted({gate.against for gate in service.gates.values()} - {HELD_OUT}),
        "examples": [
            {"ask": plain(dict(example.ask)), "expect": _expected(example.expect, service)}
            for example in service.examples
        ],
        **({"live": _live(service, live)} if live else {}),
    }


def _live(service: Service, live: Mapping[str, Any]) -> dict[str, Any]:
    """What the live model is compared by: macro-F1 where the gates ask for it and not for accuracy.

    Text by exact match, by loss where the gates ask for nothing else.
    """
    asked = {gate.metric for gate in service.gates.values()}
    if service.model.task == "generate":
        counts = "token_loss" if asked == {"token_loss"} else "exact_match"
    else:
        counts = "macro_f1" if "macro_f1" in asked and "accuracy" not in asked else "accuracy"
    return {name: live[name] for name in ("ref", "serving_digest", "split")} | {"counts": counts}


def _expected(expect: Mapping[str, str], service: Service) -> str:
    word = "text" if service.model.task == "generate" else "class"
    if set(expect) != {word}:
        raise BadInput(
            what=f"an example must expect a {word}",
            why=f"it expects {', '.join(sorted(expect)) or 'nothing'}",
            hint=f"write `expect: {{{word}: …}}`",
        )
    return expect[word]


def _check(name: str, gate: Gate, run_spec: Mapping[str, Any]) -> None:
    if name == EXAMPLES:
        raise _unusable(name, "that name is for the service's examples", "give it another name")
    if name == LIVE:
        raise _unusable(name, "that name is for the comparison with the live model", "give it another name")
    if (run_spec["task"] == "generate") != (gate.metric in OF_TEXT):
        raise _unusable(
            name, f"`task: {run_spec['task']}` is not measured by {WORDS[gate.metric]}", "use another metric"
        )
    _check_against(name, gate, run_spec)
    _check_bounds(name, gate)
    if gate.metric == "recall_gap" and not gate.across:
        raise _unusable(name, "a gap needs columns whose groups are compared", "add `across: [age_band]`")
    if gate.metric != "recall_gap" and (gate.across or gate.of):
        raise _unusable(name, f"{WORDS[gate.metric]} is not compared across groups", "use recall_gap")
    if run_spec["target"] in gate.across:
        raise _unusable(name, f"`{run_spec['target']}` is the target", "compare across another column")


def _check_against(name: str, gate: Gate, run_spec: Mapping[str, Any]) -> None:
    if gate.against == HELD_OUT:
        if float(run_spec["settings"]["held_out"]) == 0:
            raise _unusable(
                name,
                "no rows are held out (`held_out: 0`)",
                "name a golden set: `against: claims-golden@1`",
            )
        return
    parse_reference(gate.against, "golden set")
    if gate.against == run_spec["data"]["ref"]:
        raise _unusable(name, f"the model learns from `{gate.against}` itself", "use held-out")


def _check_bounds(name: str, gate: Gate) -> None:
    word = WORDS[gate.metric]
    given = {
        "value": gate.value,
        "lower_bound": gate.lower_bound,
        "upper_bound": gate.upper_bound,
    }
    if all(limit is None for limit in given.values()):
        raise _unusable(name, f"it names no bound for {word}", "add `lower_bound: 0.86`")
    for bound, limit in given.items():
        if limit is not None and gate.metric != "token_loss" and not 0 <= limit <= 1:
            raise _unusable(name, f"`{bound}` is outside 0 to 1")
    wrong = "lower_bound" if gate.metric in SMALL_IS_GOOD else "upper_bound"
    if given[wrong] is not None:
        better = "small" if gate.metric in SMALL_IS_GOOD else "large"
        raise _unusable(
            name,
            f"a {better} {word} is good, and `{wrong}` would ask for the opposite",
            "use " + ("upper_bound" if wrong == "lower_bound" else "lower_bound"),
        )


def _unusable(name: str, why: str, hint: str = "") -> GateUnusable:
    return GateUnusable(name=name[:63], why=why, hint=hint)
