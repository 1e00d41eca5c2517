"""Stopping a service at once, and letting another person start it again."""

from __future__ import annotations

from freehold.errors import Conflict, Refused
from freehold.ledger.record import record
from freehold.release import services, words
from freehold.release.publish import publish
from freehold.release.services import Row
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import services as table


class NotRunning(Conflict):
    """`{service}` is not running"""


class NotStopped(Conflict):
    """`{service}` is not stopped"""


class SamePerson(Refused):
    """`{service}` is resumed by another person than the one who stopped it"""


def stop(tx: Tx, ground: Ground, *, by: Principal, service: str, because: str) -> int:
    """Refuse every request from now on; returns the snapshot that says so.

    The reason's words stay in the row, sealed; callers hear only that the service is stopped. Raises
    NotFound, NotRunning, BadInput without a reason.
    """
    row = services.hold(tx, service)
    if row["state"] != "live":
        why = "it is stopped already" if row["state"] == "stopped" else "it has no release yet"
        raise NotRunning(service=service, why=why, hint="`freehold status` shows how each service stands")
    reason = words.checked_reason(because, needed_for="a stop")
    return _turn(tx, ground, by, row, "stopped", reason)


def resume(tx: Tx, ground: Ground, *, by: Principal, service: str, because: str = "") -> int:
    """Let a stopped service answer again; returns the snapshot that says so.

    A second person looks before it does. Raises NotFound, NotStopped, SamePerson.
    """
    row = services.hold(tx, service)
    if row["state"] != "stopped":
        raise NotStopped(
            service=service,
            why=f"it is {row['state']}",
            hint="`freehold status` shows which services are stopped",
        )
    if by.kind != "person" or by.id == row["stopped_by"]:
        raise SamePerson(service=service, why="a second pair of eyes looks first", hint="ask a colleague")
    return _turn(tx, ground, by, row, "live", words.checked_reason(because))


def place(service: str) -> str:
    """What the sealed reason of a service's state is bound to."""
    return f"service/{service}"


def _turn(tx: Tx, ground: Ground, by: Principal, row: Row, state: str, reason: str) -> int:
    name, project = row["name"], row["project"]
    sealed = words.seal_words(ground, project, tx.at, place(name), reason)
    committed = words.commit_words(ground, project, tx.at, place(name), reason) if reason else "-"
    tx.execute(
        table.update()
        .where(table.c.name == name)
        .values(
            state=state,
            stopped_by=by.id if state == "stopped" else None,
            because=sealed,
            changed_at=tx.at,
        )
    )
    kind = "service.stopped" if state == "stopped" else "service.resumed"
    detail = {"service": name, "because": committed}
    record(tx, kind, by=by, object=name, project=project, detail=detail)
    return publish(tx, ground, by=by)
