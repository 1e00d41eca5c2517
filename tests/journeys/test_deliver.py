"""From a file to a governed answer, with every process running for real."""

from __future__ import annotations

import os
import re
import signal
from functools import partial
from typing import Any

import httpx
import pytest

from tests.installation import Installation, wait_for

SERVICE = """\
service: claims-triage
project: claims
owner: claims-team@example.org
purpose: claims-handling
sensitivity: Confidential
tier: limited
regions: [eu]
model:
  data: claims@1
  task: classify
gates:
  quality: {metric: accuracy, value: 0.80}
approve:
  - role: model-risk
  - role: data-protection
examples:
  - ask: {message: "pipe burst kitchen flooded"}
    expect: {class: water}
"""
ABOUT_PEOPLE = SERVICE.replace("tier: limited", "tier: limited\nsubject: optional")
IBAN = "pay DE02 1203 0000 0000 2020 51"


@pytest.fixture(scope="module")
def claims(installation: Installation) -> Installation:
    installation.add_people()
    installation.add_claims()
    return installation


def deliver(claims: Installation, spec: str = SERVICE) -> str:
    """Apply, have it approved by two people, and see it go live; then a key to ask with."""
    file = claims.write("claims.yaml", spec)
    assert "waits for" in claims.freehold("trainer", "apply", file, code=7)
    for who, role in (("risk", "model-risk"), ("privacy", "data-protection")):
        waiting = {one["role"]: one["id"] for one in claims.json(who, "approve", "list")}
        claims.freehold(who, "approve", "give", waiting[role], "--because", "the card is fine")
    done = claims.freehold("trainer", "apply", file)
    if "serving" not in claims.keys:
        made = claims.json(
            "administrator", "keys", "create", "--project", "claims", "--purpose", "claims-handling"
        )
        claims.keys["serving"] = made["key_text"]
    return done


def ask(claims: Installation, words: str, who: str = "serving", **said: str) -> httpx.Response:
    """A question to the gateway; `purpose` and `subject` as headers."""
    headers = {f"x-freehold-{name}": value for name, value in said.items()}
    return httpx.post(
        claims.addresses["gateway"] + "/v1/chat/completions",
        headers={"authorization": f"Bearer {claims.keys[who]}", **headers},
        json={"model": "claims-triage", "messages": [{"role": "user", "content": words}]},
        trust_env=False,
        timeout=20,
    )


def test_a_file_becomes_a_governed_answer(claims: Installation) -> None:
    planned = claims.freehold("trainer", "plan", claims.write("claims.yaml", ABOUT_PEOPLE))
    assert "a new service" in planned
    assert "model-risk: 1 could" in planned

    # whoever looks after the last approval sees it go live, or that it is
    assert re.search("serve +done: it answers|exactly this is live", deliver(claims, ABOUT_PEOPLE))
    asked = ask(claims, "car bumper scratched")
    assert asked.status_code == 200, asked.text
    assert '"motor"' in asked.json()["choices"][0]["message"]["content"]
    assert asked.headers["x-freehold-answer"].startswith("ans_")


# -- one set of rules -------------------------------------------------------------------------------


def test_one_declaration_decides_what_is_learned_and_what_is_answered(claims: Installation) -> None:
    """Roles, purpose, sensitivity, consent: each is said once, and training and requests both obey it."""
    roles_hold_for_both(claims)
    purpose_holds_for_both(claims)
    sensitivity_holds_for_both(claims)
    consent_holds_for_both(claims)


def roles_hold_for_both(claims: Installation) -> None:
    """Whoever may submit hands out no key, the other way round, and who may neither does neither."""
    key = {"zone": "serving", "project": "claims"}
    may = {"trainer": (201, 403), "administrator": (403, 201), "auditor": (403, 403)}
    for who, (submits, hands_out) in may.items():
        assert send(claims, who, "/api/journeys", spec=ABOUT_PEOPLE).status_code == submits
        assert send(claims, who, "/api/keys", **key).status_code == hands_out
        assert ask(claims, "pipe burst", who).status_code == 401  # nobody's own key opens the gateway


def purpose_holds_for_both(claims: Installation) -> None:
    other = ABOUT_PEOPLE.replace("purpose: claims-handling", "purpose: marketing")
    for path in ("/api/plans", "/api/journeys"):
        assert why_not(send(claims, "trainer", path, spec=other)) == (403, "not-for-purpose")
    assert ask(claims, "pipe burst", purpose="claims-handling").status_code == 200
    assert why_not(ask(claims, "pipe burst", purpose="marketing")) == (403, "purpose_refused")


def sensitivity_holds_for_both(claims: Installation) -> None:
    """A model is as sensitive as its data, and what is asked of it is guarded as that demands."""
    less = ABOUT_PEOPLE.replace("sensitivity: Confidential", "sensitivity: Internal")
    assert why_not(send(claims, "trainer", "/api/journeys", spec=less)) == (403, "less-sensitive")
    assert ask(claims, IBAN).status_code == 200
    floor = {"sensitivity": "Confidential", "guard": ["in.pii=refuse"]}
    assert send(claims, "administrator", "/api/projects/claims/guards", **floor).status_code == 200
    wait_for(lambda: why_not(ask(claims, IBAN)) == (400, "content_filter"), 20, claims.tell)


def consent_holds_for_both(claims: Installation) -> None:
    assert ask(claims, "pipe burst", subject="c-7").status_code == 200
    about = {"project": "claims", "subject": "c-7", "purpose": "claims-handling"}
    assert send(claims, "privacy", "/api/consents", **about, state="withdrawn").status_code == 200
    asked_again = partial(ask, claims, "pipe burst", subject="c-7")
    wait_for(lambda: why_not(asked_again()) == (403, "consent_withdrawn"), 20, claims.tell)
    assert ask(claims, "pipe burst", subject="c-8").status_code == 200
    file = claims.write("without.yaml", SERVICE.replace("claims-triage", "claims-without"))
    claims.freehold("trainer", "apply", file, "--until", "trained")
    run = claims.json("trainer", "runs", "list")[0]["id"]
    seen = claims.json("trainer", "runs", "show", run)["machine"]["inputs"]["data.arrow"]
    assert (seen["rows"], seen["left_out"]) == (238, 2)


def why_not(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def send(claims: Installation, who: str, path: str, **body: Any) -> httpx.Response:
    """What somebody asks of control."""
    key = {"authorization": f"Bearer {claims.keys[who]}"}
    return httpx.post(claims.addresses["control"] + path, headers=key, json=body, trust_env=False, timeout=20)


# -- on its way -------------------------------------------------------------------------------------


def test_apply_can_be_left_and_goes_on(claims: Installation) -> None:
    """Ctrl-C stops watching, not the work."""
    held = SERVICE.replace("claims-triage", "claims-strict").replace("value: 0.80", "lower_bound: 0.999")
    file = claims.write("strict.yaml", held)
    said = claims.interrupted("trainer", "apply", file, after="begins")
    assert "goes on without you" in said
    assert "gate quality: accuracy" in claims.freehold("trainer", "apply", "--wait", "100s", file, code=6)


def test_a_pipeline_ends_where_it_wants_to(claims: Installation) -> None:
    early = claims.write("early.yaml", SERVICE.replace("claims-triage", "claims-early"))
    assert "evaluate  done" in claims.freehold(
        "trainer", "apply", early, "--until", "evaluated", "--wait", "100s"
    )
    assert "approve" not in claims.freehold("trainer", "runs", "show", _newest(claims)).split("evaluate")[0]


def _newest(claims: Installation) -> str:
    return str(claims.json("trainer", "runs", "list")[0]["journey"])


def test_runs_were_within_walls_and_say_so(claims: Installation) -> None:
    run = claims.json("trainer", "runs", "show", "run:1")
    assert "limits" in run["machine"]["walls"]
    assert run["machine"]["threads"] == 1
    assert run["cpu_seconds"] > 0
    assert run["machine"]["inputs"]["data.arrow"]["rows"] == 240


@pytest.mark.parametrize("name", ["worker-1", "control"])
def test_a_delivery_goes_on_after_kill_9(claims: Installation, name: str) -> None:
    """Killed while its job is under way: each step's effect is there once, and it ends as it should."""
    service = f"claims-after-{name}"
    file = claims.write(f"{service}.yaml", SERVICE.replace("claims-triage", service))
    claims.freehold("trainer", "apply", file, "--no-wait", "--until", "evaluated")
    wait_for(lambda: any(claims.home.glob("worker/*/job_*")), 20, claims.tell)
    before = claims.processes()[name]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: claims.processes()[name]["pid"] not in (None, before), 20, claims.tell)
    wait_for(claims.is_reachable, 20, claims.tell)
    assert "evaluate  done" in claims.freehold("trainer", "apply", file, "--until", "evaluated")
    mine = [run for run in claims.json("trainer", "runs", "list") if run["service"] == service]
    assert sorted((run["kind"], run["state"]) for run in mine) == [("evaluate", "done"), ("train", "done")]
    claims.freehold("auditor", "verify")
