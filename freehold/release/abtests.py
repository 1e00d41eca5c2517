"""A/B tests: two releases of a service share its traffic for a time, to be compared at its end.

What is known of one stands in the ledger and nowhere else: `abtest.begun` says which two, from when on and
for how long, `abtest.ended` what came of it. Its figures are counted from the answers of that time, by who
was drawn: a person, or a request that named none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from freehold.ledger.record import record
from freehold.release.arms import COUNTED
from freehold.spec.answer import DIED, FORGOTTEN
from freehold.spec.ids import new_id
from freehold.spec.principal import Principal
from freehold.store.rows import Tx
from freehold.store.tables import answers, entries, releases

Verdict = Literal["not worse", "worse", "not to be judged", "ended early"]
"""Words from a fixed list, as the ledger has them."""
CACHED = "cached"
"""The reason in the record of what came out of the cache: it says nothing of the model."""
LIVE, CANDIDATE = "A", "B"
"""What the two are called, as everywhere: A is what was there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbTest:
    """One of them, as the ledger tells it."""

    id: str
    project: str
    service: str
    release: str
    """The candidate's."""
    live: str
    weight: int
    """The candidate's share, of 10,000."""
    seconds: int
    """How long it was to take, without the time in which the service was stopped."""
    begun_at: int
    ended_at: int | None = None
    verdict: Verdict | None = None
    """None while it is under way."""
    figures: Mapping[str, Any] | None = None
    """None where it was ended before its time, too."""
    because: str = ""

    def arm(self, release: str) -> str:
        """What an answer of this release belongs to; empty where it is neither."""
        return {self.live: LIVE, self.release: CANDIDATE}.get(release, "")

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


# -- writing ----------------------------------------------------------------------------------------


def begin(
    tx: Tx,
    *,
    by: Principal,
    project: str,
    service: str,
    release: str,
    live: str,
    weight: int,
    seconds: int,
) -> str:
    """Write down that it begins now; its id."""
    id = new_id("abt")
    detail: dict[str, Any] = {"abtest": id, "service": service, "release": release, "live": live}
    detail |= {"weight": weight, "seconds": seconds}
    record(tx, "abtest.begun", by=by, object=id, project=project, detail=detail)
    return id


def end(
    tx: Tx,
    *,
    by: Principal,
    test: AbTest,
    verdict: Verdict,
    figures: Mapping[str, Any] | None = None,
    because: str = "",
) -> None:
    """Write down what came of it; `because` is a fixed phrase with counts. Once: silent after that."""
    if find(tx.connection, test.id).ended_at is not None:
        return
    detail: dict[str, Any] = {"abtest": test.id, "service": test.service, "verdict": verdict}
    detail |= {"figures": dict(figures)} if figures else {}
    detail |= {"because": because} if because else {}
    record(tx, "abtest.ended", by=by, object=test.id, project=test.project, detail=detail)


# -- reading ----------------------------------------------------------------------------------------


def find(conn: sa.Connection, id: str) -> AbTest:
    """A test by its id, of which it is known that it began."""
    query = sa.select(entries).where(
        entries.c.object == id, entries.c.kind.in_(("abtest.begun", "abtest.ended"))
    )
    rows = {row["kind"]: row for row in conn.execute(query).mappings()}
    return _told(rows["abtest.begun"], rows.get("abtest.ended"))


def newest(conn: sa.Connection, project: str, service: str) -> AbTest | None:
    """The last one that began; mostly none."""
    return next(_begun(conn, project, service), None)


def arm_of(conn: sa.Connection, answer: Mapping[str, Any]) -> tuple[AbTest, str] | None:
    """Which test an answer was part of, and of which arm; mostly none."""
    for test in _begun(conn, answer["project"], answer["service"]):
        if test.begun_at <= answer["at"] < (test.ended_at or answer["at"] + 1) and (
            arm := test.arm(answer["release"] or "")
        ):
            return test, arm
    return None


def _begun(conn: sa.Connection, project: str, service: str) -> Iterator[AbTest]:
    """Those of a service, the newest first, one by one: a project has few of them, ever."""
    query = (
        sa.select(entries.c.object, entries.c.body)
        .where(entries.c.kind == "abtest.begun", entries.c.project == project)
        .order_by(entries.c.at.desc(), entries.c.id.desc())
    )
    for id, body in conn.execute(query).all():
        if json.loads(body)["detail"]["service"] == service:
            yield find(conn, id)


def _told(begun: Mapping[Any, Any], ended: Mapping[Any, Any] | None) -> AbTest:
    detail = json.loads(begun["body"])["detail"]
    end = json.loads(ended["body"])["detail"] if ended else {}
    return AbTest(
        id=begun["object"],
        project=begun["project"],
        begun_at=begun["at"],
        ended_at=ended["at"] if ended else None,
        verdict=end.get("verdict"),
        figures=end.get("figures"),
        because=end.get("because", ""),
        **{name: detail[name] for name in ("service", "release", "live", "weight", "seconds")},
    )


# -- counting ---------------------------------------------------------------------------------------

OVER: Mapping[str, tuple[str, str]] = {
    # figure: what is added up, over what
    "failed": ("failed", "ended"),
    "refused": ("refused", "reached"),
    "cut off": ("cut_off", "ended"),
    "seconds": ("seconds", "answered"),
    "cost": ("cost", "answered"),
    "tokens written": ("tokens", "answered"),
}
"""What is compared: each as a ratio of two counts over all who were drawn."""


_REFUSED = ("out % refuse%", "%; out % refuse%", "in domain refuse%", "%; in domain refuse%")
"""What a record's guards say where a request was refused by what a release answered, or had learned from."""


def stood_in(conn: sa.Connection, test: AbTest, until: int) -> int:
    """How many requests of a test's service another service answered, or tried to.

    Whoever was drawn for them could not, and their record names who stood in.
    """
    a, others = answers.c, sa.select(releases.c.id).where(releases.c.service != test.service)
    query = sa.select(sa.func.count()).where(
        a.project == test.project,
        a.service == test.service,
        a.at >= test.begun_at,
        a.at < until,
        a.release.in_(others),
    )
    return int(conn.scalar(query) or 0)


def drawn(conn: sa.Connection, release: str, *, since: int, until: int) -> int:
    """How many came to this release: persons, and requests that named none; however they ended."""
    a = answers.c
    unit = sa.func.coalesce(a.subject, a.id)
    query = sa.select(sa.func.count(sa.distinct(unit))).where(*_of(release, since, until))
    return int(conn.scalar(query) or 0)


def sums(
    conn: sa.Connection, release: str, *, since: int, until: int, named: bool | None = None
) -> dict[str, dict[str, float]]:
    """Figure -> what it follows from: units, n, y, nn, ny, yy; of answers that ended, begun in this time.

    Of persons alone where `named`, without them where not, of both where None.

    Added up by the database, in one pass: a test has as many answers as there are in two weeks.
    """
    whose = {None: sa.true(), True: answers.c.subject.is_not(None), False: answers.c.subject.is_(None)}
    each = _each(release, since, until).where(whose[named]).subquery().c
    columns: list[sa.ColumnElement[Any]] = []
    for figure, (top, bottom) in OVER.items():
        y, n = (sa.cast(each[name], sa.Float) for name in (top, bottom))
        products = {"n": n, "y": y, "nn": n * n, "ny": n * y, "yy": y * y}
        columns.append(_sum(sa.case((n > 0, 1), else_=0)).label(f"{figure}/units"))
        columns += [_sum(of).label(f"{figure}/{name}") for name, of in products.items()]
    row = conn.execute(sa.select(*columns)).mappings().one()
    names = ("units", "n", "y", "nn", "ny", "yy")
    return {figure: {name: row[f"{figure}/{name}"] for name in names} for figure in OVER}


def _each(release: str, since: int, until: int) -> sa.Select[Any]:
    """What each of those who were drawn brought."""
    a = answers.c
    of_model = sa.and_(a.ending.in_(COUNTED), sa.or_(a.ending != "failed", a.reason != DIED))
    answered, failed, cut = (sa.and_(of_model, a.ending == word) for word in COUNTED)
    # what the guard of answers refused: the model did answer, and nobody got it; or its own rows' guard did
    refused = sa.and_(a.ending == "denied", sa.or_(*(a.guards.like(said) for said in _REFUSED)))
    counted = {
        "ended": (of_model, sa.literal(1)),
        "answered": (answered, sa.literal(1)),
        "failed": (failed, sa.literal(1)),
        "cut_off": (cut, sa.literal(1)),
        "refused": (refused, sa.literal(1)),
        "reached": (sa.or_(of_model, refused), sa.literal(1)),
        "seconds": (answered, sa.cast(sa.func.coalesce(a.micros, 0), sa.Float) / 1e6),
        "cost": (answered, sa.cast(a.cost, sa.Float)),
        "tokens": (answered, a.tokens_out),
    }
    return (
        sa.select(*(_sum(sa.case((where, of), else_=0)).label(n) for n, (where, of) in counted.items()))
        .where(*_of(release, since, until))
        .where(a.ending.is_not(None), a.reason != CACHED)
        .group_by(sa.func.coalesce(a.subject, a.id))
    )


def _of(release: str, since: int, until: int) -> tuple[sa.ColumnElement[bool], ...]:
    """Answers of this release and time, without those of who was forgotten: it is not known any more which of
    them are of one person, and as one they would outweigh everybody."""
    a = answers.c
    known = sa.or_(a.subject.is_(None), a.subject != FORGOTTEN)
    return a.release == release, a.at >= since, a.at < until, known


def _sum(of: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.func.sum(of), 0)
