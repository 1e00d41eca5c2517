"""Writing an entry: the only way into the ledger, always inside the change's own transaction."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from freehold.errors import Failure
from freehold.ledger.covers import tables_of
from freehold.ledger.kinds import KINDS, VERSION
from freehold.spec.asking import current
from freehold.spec.commitment import commitment as commitment
from freehold.spec.ids import canonical, new_id
from freehold.spec.principal import Principal
from freehold.store import tables
from freehold.store.rows import Tx

BODY_LIMIT = 65_535
"""Bytes: an entry bundle of C2SP tlog-tiles writes the length of an entry in 16 bits."""


class EntryTooLong(Failure):
    """an entry of `{kind}` has {bytes} bytes"""


class UnknownKind(Failure):
    """`{kind}` is no kind of ledger entry with this detail"""


def record(
    tx: Tx,
    kind: str,
    *,
    by: Principal,
    object: str,
    project: str | None = None,
    detail: Mapping[str, Any],
    entry: str | None = None,
) -> str:
    """Add one entry to the outbox and return its id; the sequencer gives it its place.

    `object` names what changed (`claims@7`, `key_…`, `ans_…`). `entry` is an id made beforehand, for
    what cites its own entry (a snapshot). The request that asked for the change, its trace and
    what allowed it are those of the call (`spec.asking`). Raises UnknownKind when `kind` is not in the
    taxonomy, or `detail` lacks a field or brings one that the kind does not list; EntryTooLong above
    BODY_LIMIT.
    """
    _check(kind, tuple(detail))
    entry, asking = entry or new_id("ent"), current()
    said = {
        "v": VERSION,
        "id": entry,
        "at": tx.at,
        "kind": kind,
        "actor": by.id,
        "key": by.key,
        "project": project,
        "object": object,
        "request": asking.id,
        "trace": asking.trace,
        "detail": dict(detail),
    }
    if asking.allowed and kind != "refusal":  # what was allowed before a no says nothing about it
        said["allowed"] = sorted(asking.allowed)
    row = {
        "id": entry,
        "at": tx.at,
        "kind": kind,
        "actor": by.id,
        "project": project,
        "object": object,
        "body": _body(kind, said),
    }
    tx.later(_ENTRY, row)
    tx.later(_WAITING, {"id": entry})
    tx.tells_of(tables_of(kind))
    return entry


_ENTRY = tables.entries.insert()  # made once: building a statement costs more than running it
_WAITING = tables.outbox.insert().inline()


def _body(kind: str, said: dict[str, Any]) -> str:
    raw = canonical(said)
    if len(raw) > BODY_LIMIT:
        raise EntryTooLong(
            kind=kind, bytes=len(raw), why=f"{BODY_LIMIT} is the most", hint="record the digest of a list"
        )
    return raw.decode()


@lru_cache(maxsize=1024)  # the same few fields every time; what is refused is looked at again
def _check(kind: str, detail: tuple[str, ...]) -> None:
    known = KINDS.get(kind)
    given = set(detail)
    if known is None:
        raise UnknownKind(kind=kind, why="the taxonomy in `ledger/kinds.py` does not list it")
    if missing := known.must - given:
        raise UnknownKind(kind=kind, why=f"its detail lacks {', '.join(sorted(missing))}")
    if extra := given - known.must - known.may:
        raise UnknownKind(kind=kind, why=f"its detail brings {', '.join(sorted(extra))}, which is not listed")
