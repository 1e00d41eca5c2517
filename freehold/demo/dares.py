"""Three dares: lines to paste that try to break the promises. A test pastes them."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.demo.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Dare:
    """What to try, line by line."""

    title: str
    lines: list[str]


def all_of(stage: Stage) -> list[Dare]:
    """The three."""
    return [flip(), swap(stage), kill()]


def flip() -> Dare:
    """One byte of a ledger entry; 0xff stands in no text."""
    return Dare(
        title="flip one byte of the ledger, and verify:",
        lines=[
            "E=$(find $FREEHOLD_HOME/control/ledger/tile/entries -type f | head -1)",
            "cp $E $FREEHOLD_DEMO/kept; printf '\\377' | dd of=$E bs=1 seek=1000 conv=notrunc status=none",
            "freehold verify; echo exit code $?",
            "cp $FREEHOLD_DEMO/kept $E; freehold verify",
        ],
    )


def swap(stage: Stage) -> Dare:
    """A byte of the model that answers."""
    model = f"M=$FREEHOLD_HOME/serving/models/{_model_of(stage, 'inbox-triage')}/files/model.onnx"
    ask = "freehold ask inbox-triage 'Our roof is leaking' --subject ben-c"
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


def kill() -> Dare:
    """The gateway, in the middle of streams."""
    return Dare(
        title="kill the gateway while eight callers stream, and compare answers with records:",
        lines=[
            'G=$(freehold status | awk \'$2 == "running" && $1 == "gateway" {print $3}\')',
            "python $FREEHOLD_DEMO/crowd.py 10 &",
            "until [ -e $FREEHOLD_DEMO/asking ] || ! kill -0 $!; do sleep 0.1; done; sleep 3; kill -9 $G",
            "wait",
        ],
    )
