"""Proving the controls, and what was proved last: entries of the ledger, and nothing beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import sqlalchemy as sa

from freehold.errors import Unavailable
from freehold.ledger.record import record
from freehold.spec.controls import CONTROLS
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.ground import Ground
from freehold.store.tables import entries

PATIENCE = 120.0
"""Seconds that all proofs may take together; they take under ten on an idle machine."""


class NotProved(Unavailable):
    """the controls could not be proved"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """How a control did when it was last tried."""

    control: str
    title: str
    """What it is for."""
    passed: bool | None
    """None: it was never tried here."""
    at: int | None
    """Microseconds UTC."""
    because: str
    run: str
    """The run of `freehold doctor` that tried it."""


def latest(conn: sa.Connection) -> tuple[Proved, ...]:
    """Every control there is, as it did when it was last tried."""
    kinds = ("control.proved", "control.failed")
    query = sa.select(entries.c.body).where(entries.c.kind.in_(kinds))
    newest = query.order_by(entries.c.at.desc(), entries.c.id.desc()).limit(20 * len(CONTROLS))
    found: dict[str, Proved] = {}
    for (body,) in conn.execute(newest):
        said = json.loads(body)
        found.setdefault(said["detail"]["control"], _proved(said))
    return tuple(found.get(name) or _never(name) for name in CONTROLS)


def prove(ground: Ground, *, by: Principal) -> tuple[Proved, ...]:
    """Try every control in an installation made for it, and write down how each did. Raises NotProved.

    A process of its own does it: what it provokes on purpose happens to nobody else.
    """
    told = _try_all()
    run = new_id("dct")
    with ground.db.write() as tx:
        for name in CONTROLS:
            one = told.get(name, {"passed": False, "because": "it was not tried"})
            kind = "control.proved" if one["passed"] is True else "control.failed"
            detail = {"control": name, "run": run, "because": str(one["because"])[:300]}
            record(tx, kind, by=by, object=f"control:{name}", detail=detail)
    with ground.db.read() as conn:
        return latest(conn)


def _try_all() -> dict[str, dict[str, object]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "freehold.doctor"],
            env=kept,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        return {one["control"]: one for one in json.loads(done.stdout)}
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError) as error:
        raise NotProved(
            why=f"the proofs did not come to an end ({type(error).__name__})",
            hint="is there room for a temporary folder? `python -m freehold.doctor` shows what stops them",
        ) from error


def _proved(said: dict[str, object]) -> Proved:
    detail = said["detail"]
    assert isinstance(detail, dict)
    return Proved(
        control=detail["control"],
        title=CONTROLS.get(detail["control"], ""),
        passed=said["kind"] == "control.proved",
        at=int(str(said["at"])),
        because=detail["because"],
        run=detail["run"],
    )


def _never(name: str) -> Proved:
    return Proved(control=name, title=CONTROLS[name], passed=None, at=None, because="never tried", run="")
