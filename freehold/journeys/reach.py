"""How far a forgetting reaches: what is destroyed, what is made anew, what a law keeps, what is not ours.

Four columns, of counts and ids. Nothing in them names the person.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.data import forget
from freehold.data.forget import Found
from freehold.journeys import rebuild
from freehold.release import forgetting
from freehold.release.forgetting import Affected
from freehold.store.ground import Ground
from freehold.store.tables import backups, entries, services

LAW = "a law demands that it is kept (GDPR article 17(3)(b))"
PROOF = "proof that what was done was allowed (GDPR articles 5(2), 7(1))"

AGAIN = "being made anew for an earlier request; begun again without this person, too"
BEFORE = "forgotten for an earlier request, not destroyed yet"

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where a person is, and what comes of each place."""

    found: Found
    models: tuple[Affected, ...]
    """That learned from the person, and whose weights are there."""
    columns: Mapping[str, list[Line]]
    """`destroyed`, `rebuilt`, `retired`, `kept`, `out_of_reach`."""
    learned: frozenset[str] = frozenset()
    """The ids of all models that ever learned from the person."""

    @property
    def rebuilt(self) -> tuple[str, ...]:
        """The ids of models that somebody is answered by: made anew, where no newer one of the service is."""
        return tuple(model.model for model in self.models if _anew(model))


def reach(ground: Ground, project: str, subject: str) -> Reach:
    """What forgetting a person (their HMAC) in `project` would reach now."""
    found = forget.found(ground, project, subject)
    with ground.db.read() as conn:
        learned = forgetting.affected(conn, project, [rows.version.id for rows in found.removed])
        models = _there(ground, learned)
        ids = frozenset(model.model for model in learned)
        again = _again(conn, learned)
        anew = [model for model in models if _anew(model) and again.keys().isdisjoint(model.services)]
        columns = {
            "destroyed": _destroyed(found),
            "rebuilt": [*(_model(model) for model in anew), *again.values()],
            "retired": [_model(model) for model in models if model not in anew],
            "kept": _kept(found),
            "out_of_reach": _out_of_reach(conn, project, found),
        }
    return Reach(found=found, models=models, columns=columns, learned=ids)


def _there(ground: Ground, learned: Sequence[Affected]) -> tuple[Affected, ...]:
    """Those whose weights are there: a forgotten one is, until its key is destroyed."""
    keys = ground.keyring.known([model.key for model in learned if model.forgotten])
    return tuple(model for model in learned if not model.forgotten or model.key in keys)


def _anew(model: Affected) -> bool:
    """Whether it is made again; of one that is forgotten, that was begun then."""
    return model.live and not model.forgotten


def _again(conn: sa.Connection, learned: Sequence[Affected]) -> dict[str, Line]:
    """For which services a model is being made anew since an earlier forgetting, of this person's rows too.

    What answers there meanwhile is older, and is not made anew as well.
    """
    by_id = {model.model: model for model in learned}
    anew = [(service, model.model) for model in learned if _anew(model) for service in model.services]
    found = rebuild.kept_up(conn, rebuild.under_way(conn, by_id), anew)
    return {str(one.service): {**_model(by_id[str(one.spec["model"])]), "why": AGAIN} for one in found}


def _destroyed(found: Found) -> list[Line]:
    rows = [
        {"what": "rows", "of": each.version.ref, "digest": each.version.digest, "count": len(each.rows)}
        for each in found.removed
    ]
    words: list[Line] = [{"what": "words of answers", "count": found.words}] if found.words else []
    keys: list[Line] = [] if found.kept or found.nothing else [{"what": "key of the person", "count": 1}]
    return [*rows, *words, *keys]


def _model(model: Affected) -> Line:
    line: Line = {
        "what": "model",
        "of": model.ref,
        "serving_digest": model.serving_digest,
        "services": list(model.services),
    }
    return line | {"why": BEFORE} if model.forgotten else line


def _kept(found: Found) -> list[Line]:
    kept: list[Line] = [
        {
            "what": "rows",
            "of": each.version.ref,
            "count": len(each.rows),
            "why": LAW,
            "until": each.version.kept_until,
        }
        for each in found.kept
    ]
    ends = [each.version.kept_until for each in (*found.removed, *found.kept)]
    until = max(ends, default=None)
    if found.consents:
        kept.append({"what": "words of consent", "count": found.consents, "why": PROOF, "until": until})
    if found.answers:  # the entry says by a keyed code whom it was about; the ledger cannot be changed
        kept.append(
            {"what": "entries of answers, without words", "count": found.answers, "why": PROOF, "until": None}
        )
    return kept


def _out_of_reach(conn: sa.Connection, project: str, found: Found) -> list[Line]:
    return [
        *_providers(conn, found),
        *_exports(conn, found),
        *_backups(conn, found),
        *_server(conn, found),
        *_nameless(conn, project),
    ]


def _providers(conn: sa.Connection, found: Found) -> list[Line]:
    """What was asked of model servers of others stands in their hands."""
    query = sa.select(services.c.name, services.c.provider).where(
        services.c.name.in_(found.services), services.c.kind == "attached"
    )
    return [
        {
            "what": "answers by a provider",
            "of": row.name,
            "region": json.loads(row.provider).get("region"),
            "count": found.services[row.name],
            "do": "notify the provider: it was sent these requests",
        }
        for row in conn.execute(query)
    ]


def _exports(conn: sa.Connection, found: Found) -> list[Line]:
    since = min((each.version.created_at for each in (*found.removed, *found.kept)), default=None)
    if since is None:
        return []
    query = sa.select(entries.c.id, entries.c.actor, entries.c.at).where(
        entries.c.kind == "export.made", entries.c.at >= since
    )
    return [
        {
            "what": "export",
            "of": row.id,
            "by": row.actor,
            "at": row.at,
            "count": 1,
            "do": "notify whoever holds it: it has these rows in clear",
        }
        for row in conn.execute(query.order_by(entries.c.at))
    ]


def _backups(conn: sa.Connection, found: Found) -> list[Line]:
    """They stay as they are, and open with today's keys only; old copies of the epoch key are not ours."""
    count = conn.scalar(sa.select(sa.func.count()).where(backups.c.state != "gone")) or 0
    if found.nothing or not count:
        return []
    todo = "replace every copy of epoch.key that you keep: only one from before opens them with the person"
    return [{"what": "backups, unreadable with the keys of after", "count": count, "do": todo}]


def _server(conn: sa.Connection, found: Found) -> list[Line]:
    """What a database server keeps beside its tables is not ours: `store.postgres.settle`."""
    if found.nothing or conn.dialect.name == "sqlite":
        return []
    todo = "its write-ahead archives, standbys and own backups hold keyed codes and sealed words: end them"
    return [{"what": "database server", "count": 1, "do": todo}]


def _nameless(conn: sa.Connection, project: str) -> list[Line]:
    return [
        {
            "what": "data without a subject",
            "of": ref,
            "count": 1,
            "do": "look yourself: columns in it look personal, and none says whom a row is about",
        }
        for ref in forget.unsearched(conn, project)
    ]
