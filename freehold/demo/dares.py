"""Three dares: lines to paste that try to break the promises. A test pastes them."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.demo.house import home_of
from freehold.demo.stage import Stage

AT = 1000
"""Which byte of the entries is changed: somewhere in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dare:
    """What to try, line by line."""

    title: str
    lines: list[str]


def all_of(stage: Stage) -> list[Dare]:
    """The three."""
    return [flip(stage), swap(stage), kill(stage)]


def flip(stage: Stage) -> Dare:
    """One byte of a ledger entry."""
    ledger = home_of(stage.folder) / "control" / "ledger"
    entries = [file for file in (ledger / "tile" / "entries").rglob("*") if file.is_file()]
    file = max(entries, key=lambda found: found.stat().st_size)
    entry = f"E=$FREEHOLD_HOME/control/ledger/{file.relative_to(ledger)}"
    other = "X" if file.read_bytes()[AT : AT + 1] != b"X" else "Y"
    return Dare(
        title="flip one byte of the ledger, and verify:",
        lines=[
            f"{entry}; cp $E $FREEHOLD_DEMO/kept",
            f"printf {other} | dd of=$E bs=1 seek={AT} conv=notrunc status=none",
            "freehold verify; echo exit code $?",
            "cp $FREEHOLD_DEMO/kept $E; freehold verify",
        ],
    )


def swap(stage: Stage) -> Dare:
    """A byte of the model that answers."""
    model = f"M=$FREEHOLD_HOME/serving/models/{_model_of(stage, 'inbox-triage')}/files/model.onnx"
    ask = "freehold ask inbox-triage 'Our roof is leaking' --subject anna-k"
    return Dare(
        title="change the model that answers, and restart:",
        lines=[
            f"{model}; cp $M $FREEHOLD_DEMO/kept",
            "freehold demo stop; printf X >>$M; freehold demo start",
            f"{ask}; echo exit code $?; freehold status | grep wrong",
            "freehold demo stop; cp $FREEHOLD_DEMO/kept $M; freehold demo start",
            ask,
        ],
    )


def _model_of(stage: Stage, service: str) -> str:
    services = stage.freehold("ada", "status", "--json", quiet=True).json["services"]
    digest: str = next(s["serving_digest"] for s in services if s["name"] == service)
    return digest.removeprefix("sha256:")


def kill(stage: Stage) -> Dare:
    """The gateway, in the middle of streams."""
    return Dare(
        title="kill the gateway while eight callers stream, and compare answers with records:",
        lines=[
            "python $FREEHOLD_DEMO/crowd.py 8 &",
            'sleep 4; kill -9 $(freehold status | awk \'$2 == "running" && $1 == "gateway" {print $3}\')',
            "wait",
        ],
    )
