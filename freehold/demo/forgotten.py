"""Act 5: a customer asks to be forgotten, and nothing that learned from her answers any more."""

from __future__ import annotations

import re
import shutil

from freehold.demo.house import home_of, wait_for_service
from freehold.demo.stage import Stage

WHO, SERVICE, CERTIFICATE = "anna-k", "inbox-triage", "certificate.json"
KEPT = "kept-copy"


def act_5(stage: Stage) -> None:
    """The plan, the forgetting, the rebuilt model approved, the old one refused, the certificate."""
    tell = stage.tell
    tell.act("Act 5 · A customer is forgotten")
    asked = ("forget", WHO, "--project", "claims", "--request", "DSR-2026-118")
    tell.say(f"""{WHO} asks to be forgotten. Paul, who answers for data protection, looks first at how far
        that reaches. Somebody kept a copy of the model that answers now; we shall come to that.""")
    _keep_a_copy(stage)
    stage.freehold("paul", *asked)
    tell.say("""Then he does it. Her rows leave every version, her key is destroyed, and each model that
        answers and learned from her is trained again without her: twice, to compare every byte.""")
    with tell.waiting("freehold forget, until everything is measured and certified"):
        done = stage.freehold("paul", *asked, "--yes", "--certificate", CERTIFICATE).output
    tell.say(f"""Until two people approve the rebuilt model, {SERVICE} does not answer: there is no earlier
        one that never saw her. They look at its card, and sign.""")
    _approve(stage)
    tell.say("Whoever starts the kept copy by hand finds an engine that refuses it, signed as it is:")
    stage.engine(KEPT, expect=8)
    shutil.rmtree(stage.folder / KEPT)
    tell.say("What was done is certified, without her name, for whoever has the installation's public key:")
    stage.freehold("ada", "verify", "--certificate", CERTIFICATE)
    stage.freehold("ada", "verify")
    _say_all(stage, done)


def _keep_a_copy(stage: Stage) -> None:
    """As a careless operator would."""
    services = stage.freehold("ada", "status", "--json", quiet=True).json["services"]
    digest: str = next(s["serving_digest"] for s in services if s["name"] == SERVICE)
    models = home_of(stage.folder) / "serving" / "models"
    shutil.copytree(models / digest.removeprefix("sha256:"), stage.folder / KEPT)


def _approve(stage: Stage) -> None:
    for who in ("mara", "paul"):
        waiting = stage.freehold(who, "approve", "list", "--json", quiet=True).json
        for mine in [a["id"] for a in waiting if not a["not_you"]][:1]:
            stage.freehold(who, "approve", "give", mine, "--because", "gates hold without her")
    with stage.tell.waiting(f"{SERVICE} answers again"):
        wait_for_service(stage.folder, SERVICE, patience=60.0)


def _say_all(stage: Stage, done: str) -> None:
    """One line of what was checked just now; an engine that loads the copy had ended the act."""
    rows, models = re.findall(r"^rows (\d+) .* models (\d+)$", done, re.M)[0]
    rebuilt = re.findall(r"^rebuilt \S+: .*$", done, re.M)
    same = "✓" if rebuilt and all("the same bytes twice" in line for line in rebuilt) else "✗"
    stage.tell.good(
        f"rows {rows} · models {models} · rebuilt = retrained without her, byte for byte {same} · "
        f"old digest refused ✓ · {CERTIFICATE}"
    )
