"""Who may ask without an API key: what freehold.yaml declares, as rows and as gateways see it.

The keys and the CA travel with the grants in the signed snapshot: a gateway needs neither the provider's
address nor a file of its own, and decides by one index of the rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from freehold.ledger.record import record
from freehold.release import settings
from freehold.release.publish import publish
from freehold.release.views import CALLERS, currencies, declared, grant_view
from freehold.spec.callers import Callers
from freehold.spec.ids import canonical, digest
from freehold.spec.principal import SYSTEM
from freehold.spec.snapshot import TokenKey
from freehold.store.ground import Ground
from freehold.store.rows import Tx


def declare(
    tx: Tx, ground: Ground, *, callers: Callers, keys: Mapping[str, Sequence[TokenKey]], ca: str
) -> bool:
    """Let gateways serve by this from now on; whether anything changed.

    `keys` are those of each issuer, `ca` the text of the certificates' CA.
    """
    said = _said(callers, keys, ca)
    before = declared(tx.connection)
    if said == before:
        return False
    settings.keep(tx, CALLERS, said)
    counts = {"issuers": len(said["tokens"]), "certificates": len(said["certificates"])}
    detail = {"digest": digest(said), "before": digest(before), **counts}
    record(tx, "callers.declared", by=SYSTEM, object=CALLERS, detail=detail)
    publish(tx, ground, by=SYSTEM)
    return True


def _said(callers: Callers, keys: Mapping[str, Sequence[TokenKey]], ca: str) -> dict[str, Any]:
    tokens = []
    for issuer in callers.tokens:
        one = asdict(issuer)
        for place in ("keys", "ca", "algorithms"):
            del one[place]  # where its keys were found: the keys themselves follow
        tokens.append({**one, "keys": [asdict(key) for key in keys.get(issuer.issuer, ())]})
    grants = [asdict(grant) for grant in callers.certificates.grants]
    said: dict[str, Any] = {"tokens": tokens, "ca": ca, "certificates": grants if ca else []}
    plain: dict[str, Any] = json.loads(canonical(said))
    return plain


def known_keys(conn: sa.Connection, issuer: str) -> tuple[TokenKey, ...]:
    """The keys an issuer had when they could be read last."""
    for one in declared(conn)["tokens"]:
        if one["issuer"] == issuer:
            return tuple(TokenKey(**{**key, "algorithms": tuple(key["algorithms"])}) for key in one["keys"])
    return ()


def unusable(conn: sa.Connection) -> Iterator[str]:
    """The projects whose grants give nobody anything: unknown here, or counting money otherwise."""
    said = declared(conn)
    grants = [grant for one in said["tokens"] for grant in one["grants"]] + said["certificates"]
    known = currencies(conn)
    yield from sorted({one["project"] for one in grants if grant_view(one, known) is None})
