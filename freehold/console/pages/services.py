"""Services: what answers under which name, with which limits; stop, resume, roll back; a playground."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from freehold.console.asking import Heard, ask, gateway, trust
from freehold.console.charts import bars
from freehold.console.door import Door, Form, Visit
from freehold.console.named import named
from freehold.console.registry import Tab
from freehold.console.ways import Ways, quoted
from freehold.control import turning
from freehold.control.parts import Parts
from freehold.errors import BadInput, Failure
from freehold.identity import floors
from freehold.policy.decide import Action
from freehold.release import services, versions
from freehold.release.roll import NothingToRollBackTo
from freehold.release.views import guard_view
from freehold.spec import objectives
from freehold.spec.guard import told_guards
from freehold.spec.objectives import Kept
from freehold.store.ground import Ground
from freehold.store.tables import gateways
from freehold.tls import named_in

TAB = Tab(path="/services", word="Services", needs=("service:read",))

SAID = {
    "stopped": "The service is stopped; every gateway that is heard of refuses its requests.",
    "resumed": "The service answers again.",
    "rolled-back": "The traffic is back with the release before.",
    "later": "It is done; a gateway has not confirmed it yet, and takes it up when it is heard of again.",
}
_TURNS = {
    "stop": (turning.stop_service, "stopped"),
    "resume": (turning.resume_service, "resumed"),
    "rollback": (turning.roll_back, "rolled-back"),
}
_NEEDS: dict[str, Action] = {
    "stop": "service:stop",
    "resume": "service:resume",
    "rollback": "release:rollback",
}


def router(parts: Parts) -> APIRouter:
    """`/services`, `/services/{name}` and what may be done to one."""
    routes, door = APIRouter(), Door(parts)
    ground = parts.ground

    @routes.get("/services")
    def every(request: Request) -> Response:
        visit = door.visit(request)
        with ground.db.read() as conn:
            seen = set(visit.projects_or_refuse(conn, "service:read"))
            found = [turning.told(ground, conn, r) for r in services.listed(conn) if r["project"] in seen]
        return visit.page("services.html", title="Services", services=found)

    @routes.get("/services/{name}")
    def one(name: str, request: Request) -> Response:
        return _page(parts, door.visit(request), name)

    @routes.post("/services/{name}/ask")
    def playground(name: str, request: Request, form: Form) -> Response:
        visit = door.posted(request, form)
        return _page(parts, visit, name, form)

    @routes.post("/services/{name}/{turn}")
    def turned(name: str, turn: str, request: Request, form: Form) -> Response:
        visit = door.posted(request, form)
        if turn not in _TURNS:
            raise BadInput(what=f"a service cannot be told to `{turn[:40]}`")
        act, word = _TURNS[turn]
        done = act(parts, door.gate, visit.who, name, form.get("because", ""))
        return visit.go(f"/services/{name}", said=word if done["applied"] else "later")

    return routes


def _page(parts: Parts, visit: Visit, name: str, form: Mapping[str, str] | None = None) -> Response:
    ground = parts.ground
    with ground.db.read() as conn:
        row = turning.visible(visit.door.gate, conn, visit.who, name)
        told = turning.told(ground, conn, row)
        facts = _facts(ground, conn, visit, row, told)
    heard, wrong = _asked(parts, name, facts, form) if form is not None else (None, None)
    return visit.page(
        "service.html",
        title=name,
        said=SAID,
        service=told,
        heard=heard,
        wrong=wrong,
        form=form or {},
        gateway=gateway(parts),
        **facts,
    )


def _asked(
    parts: Parts, name: str, facts: Mapping[str, Any], form: Mapping[str, str]
) -> tuple[Heard | None, Failure | None]:
    """What the gateway answered, or why it was not asked."""
    try:
        key = form.get("key", "")
        said = {"key": key, "task": facts["task"], "inputs": facts["inputs"], "form": form}
        return ask(gateway(parts), name, trust=trust(parts), **said), None
    except Failure as failure:
        return None, failure


def _facts(
    ground: Ground, conn: sa.Connection, visit: Visit, row: services.Row, told: Mapping[str, Any]
) -> dict[str, Any]:
    running = told["running"]
    live = next((r for r in turning.releases_of(conn, row["name"]) if r["state"] == "live"), None)
    task, inputs = versions.reads(conn, live["model"]) if live and live["model"] else ("generate", ())
    spec = services.spec_of(row)
    serve = spec.get("serve") or {}
    may = {turn: visit.may_see(needs, row["project"]) for turn, needs in _NEEDS.items()}
    may["answers"] = visit.may_see("answer:read", row["project"])
    return {
        "declared": spec,
        "kept": [_kept(one) for one in visit.door.parts.objectives.of(conn, row, ground.clock())],
        "guards": told_guards(spec.get("guard", {})),
        "domain": _domain(conn, spec, live["model"]) if live and task == "tabular" else None,
        "at_least": floors.least(conn, row["project"], row["purpose"], row["sensitivity"]),
        "owner": _owner(visit, conn, row["owner"]),
        "vouching": named_in((told["provider"] or {}).get("ca", "")),
        "stopped_by": named(visit, conn, row["stopped_by"]),
        "releases": [turning.told_release(ground, r) for r in turning.releases_of(conn, row["name"])[:50]],
        "engines": _engines(conn, {r["serving_digest"]: r["model"] for r in running if r["model"]}),
        "rollout": serve.get("rollout"),
        "stand_ins": serve.get("fallback"),
        "may": may,
        "rollback": _planned(ground, conn, row) if may["rollback"] else None,
        "ways": {turn: _ways(visit, row["name"], turn) for turn in _TURNS},
        "ask_ways": _ask_ways(gateway(visit.door.parts), row["name"], task, inputs),
        "task": task,
        "inputs": inputs,
    }


def _kept(one: Kept) -> tuple[dict[str, str], Markup | str]:
    """An objective in words, and what is left of its budget as a bar."""
    told = objectives.row(one.as_json())
    left = one.left
    return told, "" if left is None else bars.budget(left, label=f"Budget left: {told['budget left']}")


def _domain(conn: sa.Connection, spec: Mapping[str, Any], model: str) -> dict[str, Any]:
    """What is done about rows unlike those of training, and which columns nothing is known of."""
    domain = versions.domain_of(conn, model)
    open_ = [column.name for column in domain or () if column.kind == "open"]
    return {"action": guard_view(spec, "in", "tabular").domain, "known": domain is not None, "open": open_}


def _owner(visit: Visit, conn: sa.Connection, owner: str) -> str:
    """Who it is, as everywhere: to themselves as you; addresses, of teams too, are for administrators."""
    if "@" not in owner or visit.may_see("person:read"):
        return named(visit, conn, owner)
    return "named by an address, which administrators see"


def _engines(conn: sa.Connection, models: Mapping[str, str]) -> list[dict[str, Any]]:
    """What each gateway last said of the engines of these models, which are by serving digest.

    A provider has none: of it only is said when the gateway was heard.
    """
    found = []
    for row in conn.execute(sa.select(gateways).order_by(gateways.c.seen_at.desc())).mappings():
        said = json.loads(row["engines"])
        words = {model: said.get(digest, "not named yet") for digest, model in models.items()}
        found.append({"gateway": row["id"], "seen_at": row["seen_at"], "engines": words})
    return found[:5]


def _planned(ground: Ground, conn: sa.Connection, row: services.Row) -> dict[str, Any]:
    """What a rollback would do, or why there is none."""
    try:
        return turning.planned_rollback(ground, conn, row["name"]) | {"why": ""}
    except NothingToRollBackTo as failure:
        return {"why": failure.why}


def _ways(visit: Visit, name: str, turn: str) -> Ways:
    cli = quoted("freehold", turn, name, "--because", "your reason")
    return visit.ways(cli, "POST", f"/api/services/{name}/{turn}", {"because": "your reason"})


def _ask_ways(address: str, name: str, task: str, inputs: Sequence[tuple[str, str]]) -> Ways:
    """A question to the gateway, with a serving key from FREEHOLD_SERVING_KEY."""
    body: dict[str, Any]
    if task == "tabular":
        tensors = [{"name": n, "datatype": kind, "shape": [1], "data": ["…"]} for n, kind in inputs]
        path, body = f"/v2/models/{name}/infer", {"inputs": tensors}
        cli = quoted("freehold", "ask", name, *(w for n, _ in inputs for w in ("--input", f"{n}=…")))
    else:
        message = {"role": "user", "content": "your text"}
        path, body = "/v1/chat/completions", {"model": name, "messages": [message]}
        cli = quoted("freehold", "ask", name, "your text")
    curl = (
        'curl -sS -H "Authorization: Bearer $FREEHOLD_SERVING_KEY" \\\n'
        f"  -H 'Content-Type: application/json' -d {quoted(json.dumps(body, ensure_ascii=False))} \\\n"
        f"  {quoted(address + path)}"
    )
    python = (
        "import os\n\nimport httpx\n\n"
        'key = os.environ["FREEHOLD_SERVING_KEY"]\n'
        f"answer = httpx.post({address + path!r}, json={body!r},\n"
        '                    headers={"Authorization": f"Bearer {key}"})\n'
        "print(answer.json())"
    )
    return Ways(cli=cli, curl=curl, python=python)
