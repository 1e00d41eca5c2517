"""How long things are kept, and what is over: judged by rules, changed by the clock alone.

Three classes of content end. *Data sets* end when the time they were declared with (`keep`) is over:
their rows go, their versions stay as digests that everything cites. *Words* (what was asked and answered)
end by rules per project, purpose and sensitivity; the most precise rule counts. *Runs* (what MLflow clients
wrote in words and files) end by a rule per project, counted from a run's end.

The record of an answer is no content: pseudonymised, without a word of anybody, it stays. So a law that
wants logs for six months or more (AI Act articles 19 and 26(6)) and one that wants content gone in time
(GDPR article 5(1)(e)) are both kept: what happened, when, by which model and under which rule stays
provable, what was said does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from freehold.data import chunks, holds, keep, versions
from freehold.data.holds import Held
from freehold.data.versions import READY, DataVersion
from freehold.errors import NotFound
from freehold.ledger.record import record
from freehold.spec.ids import check_name, new_id
from freehold.spec.principal import Principal
from freehold.spec.sensitivity import Sensitivity
from freehold.store.contents import DAY, PREFIX, WITH_PERIOD, Period, tracked_key
from freehold.store.few import few
from freehold.store.ground import Ground
from freehold.store.rows import Tx
from freehold.store.tables import (
    answers,
    contents,
    data_subjects,
    data_versions,
    entries,
    mlflow_experiments,
    mlflow_models,
    mlflow_runs,
    mlflow_versions,
    services,
)
from freehold.store.tables import retention as rules

ANY = "*"
RUNS = "@runs"
"""In the place of a purpose: the rule is about what MLflow clients wrote. No purpose can be called so."""
EXPIRED = "expired"
AT_ONCE = 5000
"""Answers whose words go in one transaction: the writer has others to serve."""
WITH_PERIODS = "0003"
"""The schema from which on words are sealed with the key of their day."""
_FIELDS = ("id", "project", "purpose", "sensitivity", "keep", "set_at")


class NoRule(NotFound):
    """there is no such rule of retention in `{project}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How long words are kept in a project: of one purpose or any, of one sensitivity or any."""

    id: str
    project: str
    purpose: str
    sensitivity: int | None
    keep: str
    """An ISO 8601 duration, counted from the end of the answer's day."""
    set_at: int

    def covers(self, purpose: str, sensitivity: int | None) -> bool:
        """Whether it is about words of this purpose and sensitivity."""
        return self.purpose in (ANY, purpose) and self.sensitivity in (None, sensitivity)

    @property
    def precision(self) -> tuple[bool, bool]:
        """Of two rules the one with the greater counts: purpose before sensitivity."""
        return self.purpose != ANY, self.sensitivity is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is over at a moment, and not held."""

    periods: Mapping[Period, Rule]
    """Those whose words may go; of a person under a hold they stay, and the period's key with them."""
    versions: tuple[DataVersion, ...]
    runs: tuple[str, ...]
    """Runs and logged models of MLflow clients whose words and files may go."""
    held: int
    """Periods and versions that are over and stay, because a hold covers them."""

    def __bool__(self) -> bool:
        return bool(self.periods or self.versions or self.runs)


# -- rules ----------------------------------------------------------------------------------------------


def set_rule(
    tx: Tx, *, by: Principal, project: str, keep_for: str, purpose: str = ANY, sensitivity: str | None = None
) -> Rule:
    """A rule in the place of the one for the same purpose and sensitivity. Raises BadInput."""
    kept = keep.duration(keep_for)
    if purpose not in (ANY, RUNS):
        check_name(purpose, "purpose")
    level = int(Sensitivity.parse(sensitivity)) if sensitivity else None
    end_rule(tx, by=by, project=project, purpose=purpose, sensitivity=sensitivity, missing_ok=True)
    rule = Rule(
        id=new_id("ret"), project=project, purpose=purpose, sensitivity=level, keep=kept, set_at=tx.at
    )
    tx.execute(rules.insert().values(**{name: getattr(rule, name) for name in _FIELDS}))
    detail = {"retention": rule.id, "purpose": purpose, "sensitivity": level, "keep": kept}
    record(tx, "retention.set", by=by, object=rule.id, project=project, detail=detail)
    return rule


def end_rule(
    tx: Tx,
    *,
    by: Principal,
    project: str,
    purpose: str = ANY,
    sensitivity: str | None = None,
    missing_ok: bool = False,
) -> None:
    """A rule counts no more: its words are kept until another one says otherwise. Raises NoRule."""
    level = int(Sensitivity.parse(sensitivity)) if sensitivity else None
    for rule in rules_of(tx.connection, project):
        if (rule.purpose, rule.sensitivity) == (purpose, level):
            tx.execute(rules.update().where(rules.c.id == rule.id).values(ended_at=tx.at))
            record(
                tx,
                "retention.ended",
                by=by,
                object=rule.id,
                project=project,
                detail={"retention": rule.id},
            )
            return
    if not missing_ok:
        raise NoRule(
            project=project, why="no rule is for just this", hint="`freehold retention show` has them"
        )


def rules_of(conn: sa.Connection, project: str) -> tuple[Rule, ...]:
    """The rules that count, the most precise first."""
    query = sa.select(*(rules.c[name] for name in _FIELDS))
    rows = conn.execute(query.where(rules.c.project == project, rules.c.ended_at.is_(None))).mappings()
    found = [Rule(**row) for row in rows]
    return tuple(sorted(found, key=lambda rule: (rule.precision, rule.set_at), reverse=True))


def rule_for(found: Iterable[Rule], purpose: str, sensitivity: int | None) -> Rule | None:
    """The one of these (most precise first) that counts; none: kept without end."""
    return next((rule for rule in found if rule.covers(purpose, sensitivity)), None)


# -- what is over ---------------------------------------------------------------------------------------


def due(ground: Ground, project: str, at: int) -> Due:
    """What is over at `at` in a project, and may go."""
    with ground.db.read() as conn:
        held = holds.standing(conn, project)
        periods = _over(ground, conn, project, at)
        free = {
            period: rule
            for period, rule in periods.items()
            if not held.period(period) and _something(conn, period, held)
        }
        ended = [
            version
            for version in versions.list(conn, project)
            if version.state == READY and version.kept_until <= at
        ]
        going = tuple(version for version in ended if not _is_held(conn, version, held))
        runs = _runs_over(ground, conn, project, at)
    left = sum(held.period(period) for period in periods) + len(ended) - len(going)
    if held.everything:
        return Due(periods=free, versions=going, runs=(), held=left + len(runs))
    return Due(periods=free, versions=going, runs=runs, held=left)


def ends(conn: sa.Connection, project: str) -> list[dict[str, Any]]:
    """Until when each version of a project is kept, those that end first at the top."""
    there = [version for version in versions.list(conn, project) if version.state == READY]
    return [
        {"ref": version.ref, "keep": version.declared.keep, "kept_until": version.kept_until}
        for version in sorted(there, key=lambda version: version.kept_until)
    ]


def _over(ground: Ground, conn: sa.Connection, project: str, at: int) -> dict[Period, Rule]:
    found = rules_of(conn, project)
    if not found:
        return {}
    levels: dict[str, int] = {
        row.name: row.sensitivity
        for row in conn.execute(
            sa.select(services.c.name, services.c.sensitivity).where(services.c.project == project)
        )
    }
    over = {}
    for name in ground.keyring.names(f"{PREFIX}{project}/"):
        period = Period.named(name)
        rule = rule_for(found, period.purpose, levels.get(period.service))
        if rule is not None and keep.end(rule.keep, period.ends) <= at:
            over[period] = rule
    return over


def _runs_over(ground: Ground, conn: sa.Connection, project: str, at: int) -> tuple[str, ...]:
    """Runs that ended, or were deleted, long ago enough, and logged models of such or of no run.

    What a registered version names stays as long as the version does, and so does a run under way.
    """
    rule = next((rule for rule in rules_of(conn, project) if rule.purpose == RUNS), None)
    if rule is None:
        return ()
    v = mlflow_versions.c
    named = {
        id_
        for row in conn.execute(sa.select(v.of, v.run).where(v.deleted_at.is_(None)))
        for id_ in row
        if id_
    }
    over = [id_ for id_, end in _ends_of_runs(conn, project) if keep.end(rule.keep, end) <= at]
    keys = ground.keyring.known([tracked_key(id_) for id_ in over if id_ not in named])
    return tuple(id_ for id_ in over if tracked_key(id_) in keys)


def _ends_of_runs(conn: sa.Connection, project: str) -> Iterator[tuple[str, int]]:
    """(run or logged model, when it ended). What a client says of that counts from its beginning at most."""
    r, m, x = mlflow_runs.c, mlflow_models.c, mlflow_experiments.c
    ended = sa.case((r.ended_at > r.created_at, r.ended_at), (r.ended_at.is_not(None), r.created_at))
    of_run = sa.func.coalesce(r.deleted_at, ended)
    here = sa.select(x.id).where(x.project == project)
    for row in conn.execute(sa.select(r.id, of_run).where(r.experiment.in_(here), of_run.is_not(None))):
        yield row[0], row[1]
    models = sa.select(m.id, sa.func.coalesce(of_run, m.changed_at)).outerjoin(mlflow_runs, r.id == m.run)
    models = models.where(m.experiment.in_(here), r.id.is_(None) | of_run.is_not(None))
    for row in conn.execute(models.where(m.state != "pending")):
        yield row[0], row[1]


def _something(conn: sa.Connection, period: Period, held: Held) -> bool:
    """Whether a purge would change anything: words that may go, or a key that opens nothing any more."""
    if words_of(conn, period, held, 1):
        return True
    return not held.subjects or not _worded(conn, period)


def _is_held(conn: sa.Connection, version: DataVersion, held: Held) -> bool:
    if held.version(version):
        return True
    theirs = data_subjects.c.subject.in_(sorted(held.subjects))
    query = sa.select(data_subjects.c.subject).where(data_subjects.c.version == version.id, theirs)
    return bool(held.subjects) and conn.execute(query.limit(1)).first() is not None


def words_of(conn: sa.Connection, period: Period, held: Held, limit: int) -> list[str]:
    """Answers of a period whose words are here and may go, at most so many."""
    query = _with_words(period)
    if held.subjects:
        free = answers.c.subject.is_(None) | answers.c.subject.not_in(sorted(held.subjects))
        query = query.where(free)
    return list(conn.scalars(query.limit(limit)))


def _worded(conn: sa.Connection, period: Period) -> bool:
    return conn.execute(_with_words(period).limit(1)).first() is not None


def _with_words(period: Period) -> sa.Select[Any]:
    a = answers.c
    return (
        sa.select(a.id)
        .where(a.project == period.project, a.at >= period.begins, a.at < period.ends)
        .where(a.service == period.service, a.purpose == period.purpose)
        .where(sa.exists().where(contents.c.answer == a.id))
    )


def nameless(conn: sa.Connection) -> list[Period]:
    """The days with words that were sealed before there were periods: by schema 0003 and an upgrade to it."""
    e, a = entries.c, answers.c
    upgrades = conn.execute(sa.select(e.at, e.body).where(e.kind == "installation.upgraded")).all()
    moved = [at for at, body in upgrades if json.loads(body)["detail"]["before"] < WITH_PERIODS]
    if not moved:
        return []
    day = a.at // DAY
    old = sa.func.substr(contents.c.sealed, 1, len(WITH_PERIOD), type_=sa.LargeBinary) != WITH_PERIOD
    query = (
        sa.select(a.project, a.service, a.purpose, day.label("day"))
        .join(contents, (contents.c.answer == a.id) & (contents.c.part == "salt"))
        .where(a.at < max(moved), old)
        .distinct()
    )
    return [Period.of(row.project, row.service, row.purpose, row.day * DAY) for row in conn.execute(query)]


# -- taking away ----------------------------------------------------------------------------------------


def remove_words(tx: Tx, ids: list[str]) -> int:
    """The sealed words of these answers go; how many parts. The answers themselves stay."""
    count = 0
    for some in few(ids):
        count += tx.execute(contents.delete().where(contents.c.answer.in_(some))).rowcount
    return count


def unopened(conn: sa.Connection, periods: Iterable[Period]) -> list[str]:
    """The keys of those of these periods of which no words are left."""
    return sorted(period.key for period in periods if not _worded(conn, period))


def keys_of_runs(ids: Iterable[str]) -> list[str]:
    """What opens the words and files of these runs; the sealed bytes stay, for digests are over them."""
    return sorted(map(tracked_key, ids))


def expire(tx: Tx, version: DataVersion, *, by: Principal) -> tuple[list[str], list[str]]:
    """The rows of a version go, with the index over them and their commitments; its digest stays.

    Returns the keys and objects that are to be destroyed; none for what is expired already.
    """
    v = data_versions.c
    layout = chunks.layout_of(tx.connection, version.id)
    gone = {"state": EXPIRED, "layout": replace(layout, chunks=(), commitments="").as_json()}
    changed = tx.execute(data_versions.update().where(v.id == version.id, v.state == READY).values(gone))
    if not changed.rowcount:
        return [], []
    tx.execute(data_subjects.delete().where(data_subjects.c.version == version.id))
    detail = {"version": version.id, "rows": version.rows - len(layout.holes), "keep": version.declared.keep}
    record(tx, "data.expired", by=by, object=version.ref, project=version.project, detail=detail)
    keys = [chunks.key_name(chunk.id) for chunk in layout.chunks]
    return keys, [*(chunk.blob for chunk in layout.chunks), layout.commitments]
