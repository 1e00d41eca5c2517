"""`/api/notices`: where notices go, and whether they arrived."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Request
from pydantic import Field

from freehold.control.parts import Parts
from freehold.control.routes.asked import Asked
from freehold.control.signed_in import Gate
from freehold.errors import BadInput
from freehold.release import notices
from freehold.store import tables


class NoMailHost(BadInput):
    """no mail can be sent"""


class ChannelAsked(Asked):
    """A place notices shall go to."""

    kind: Literal["webhook", "mail"]
    url: Annotated[str, Field(max_length=1000)] = ""
    secret: Annotated[str | None, Field(max_length=1000, repr=False)] = None


def add(routes: APIRouter, gate: Gate, parts: Parts) -> None:
    """Add the routes to release's."""
    ground = parts.ground

    @routes.get("/api/notices")
    def list_channels(request: Request) -> dict[str, Any]:
        """The channels, what is under way, and the key that verifies signatures."""
        gate.may(gate.signed_in(request), "notice:configure")
        public = ground.release_key.public_key().public_bytes_raw()
        with ground.db.read() as conn:
            return {
                "channels": [_told(channel) for channel in notices.channels(conn)],
                "verify_with": "whpk_" + base64.b64encode(public).decode(),
                "outbox": _outbox(conn),
            }

    @routes.post("/api/notices", status_code=201)
    def add_channel(asked: ChannelAsked, request: Request) -> dict[str, Any]:
        """Send notices there from now on."""
        who = gate.signed_in(request)
        gate.may(who, "notice:configure")
        if asked.kind == "mail" and not parts.config.mail.host:
            raise NoMailHost(
                why="freehold.yaml names no mail host", hint="add `mail: {host: …, sender: …}` and restart"
            )
        with ground.db.write() as tx:
            if asked.kind == "mail":
                return _told(notices.add_mail(tx, by=who))
            return _told(notices.add_webhook(tx, ground, by=who, url=asked.url, secret=asked.secret))

    @routes.delete("/api/notices/{channel}")
    def remove_channel(channel: str, request: Request) -> dict[str, Any]:
        """Send no more notices there."""
        who = gate.signed_in(request)
        gate.may(who, "notice:configure")
        with ground.db.write() as tx:
            notices.remove(tx, by=who, channel=channel)
        notices.destroy_secrets(ground)
        return {"removed": channel}


def _told(channel: notices.Channel) -> dict[str, str]:
    return {"id": channel.id, "kind": channel.kind, "to": channel.to, "signed": channel.signed}


def _outbox(conn: sa.Connection) -> list[dict[str, Any]]:
    """How many notices are in which state, with the last reason of those that did not arrive."""
    table = tables.notices
    rows = conn.execute(
        sa.select(table.c.state, table.c.because, sa.func.count().label("count"))
        .group_by(table.c.state, table.c.because)
        .order_by(table.c.state, table.c.because)
    )
    return [dict(row) for row in rows.mappings()]
