"""`/api/attached`: put a model server or provider that exists already under the same rules."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control.applied import wait_applied
from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked, Plain
from freehold.control.signed_in import Gate
from freehold.errors import NotFound
from freehold.identity import people
from freehold.release import attach
from freehold.release.attach import Attachment
from freehold.spec.principal import Principal
from freehold.spec.yaml import MAX_BYTES
from freehold.store.ground import Ground


class AttachAsked(Asked):
    """What to attach; `plan` only says what would happen."""

    service: Plain
    project: Plain
    purpose: Plain
    url: Annotated[str, Field(max_length=1000)]
    also: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=16)] = ()
    """Further addresses where the same model answers; whoever has least under way is asked."""
    ca: Annotated[str, Field(max_length=64 << 10)] = ""
    """The certificates (PEM) that alone vouch for its addresses; empty: whom the gateway's machine trusts."""
    model: Plain
    owner: Plain | None = None
    """A person's address or id, or a team's address; whoever asks, when it is left out."""
    key: Annotated[str | None, Field(max_length=5000, repr=False)] = None
    region: Plain = ""
    contract: Annotated[str, Field(max_length=MAX_BYTES)] = ""
    sensitivity: Plain = "Internal"
    subject: Literal["required", "optional", "none"] = "optional"
    requests: Plain = ""
    spend: Plain = ""
    tokens: Plain = ""
    at_once: Annotated[int, Field(ge=0, le=99_999)] = 0
    each_key: Plain = ""
    each_subject: Plain = ""
    cache: Plain = ""
    price_in: Plain = "0"
    price_out: Plain = "0"
    guard: Annotated[tuple[Plain, ...], Field(max_length=16)] = ()
    """What is looked for in requests and answers: `in.pii=mask`, `out.secrets=refuse`."""
    fallback: Annotated[tuple[Plain, ...], Field(max_length=8)] = ()
    """Services that stand in for it when it cannot answer, in this order."""
    objectives: Annotated[tuple[Plain, ...], Field(max_length=16)] = ()
    """What it has to keep: `99.5% answered`, `95% within 2s over 7d`."""
    api: Literal["openai", "azure", "anthropic", "gemini"] = "openai"
    insecure: bool = False
    replace: bool = False
    plan: bool = False


def add(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    """Add the route to release's."""
    ground = parts.ground

    @routes.post("/api/attached")
    def attach_server(asked: AttachAsked, request: Request) -> dict[str, Any]:
        """Attach it: from the next snapshot on, gateways answer for it."""
        who = gate.signed_in(request)
        gate.may(who, "service:attach", project=asked.project, resource=asked.service)
        attachment = _attachment(ground, who, asked)
        if asked.plan:
            with ground.db.read() as conn:
                return attach.plan(conn, asked=attachment, at=ground.clock())
        with ground.db.write() as tx:
            done = attach.attach(tx, ground, by=who, asked=attachment)
        parts.sequencer.nudge()
        return {
            "service": done.service,
            "release": done.release,
            "serving_digest": done.serving_digest,
            "url": done.url,
            "also": list(done.also),
            "model": asked.model,
            "snapshot": done.snapshot,
            "applied": wait_applied(ground, done.snapshot),
        }


def _attachment(ground: Ground, who: Principal, asked: AttachAsked) -> Attachment:
    said = asked.model_dump(exclude={"plan", "owner"})
    return Attachment(**said, owner=_owner(ground, asked.owner) if asked.owner else who.id)


def _owner(ground: Ground, named: str) -> str:
    """A person's id where the address is known: addresses of people stand in one table only."""
    with ground.db.read() as conn:
        try:
            return people.find(conn, named).id
        except NotFound:
            return named
