"""What a shadow would have answered, laid beside what was answered: how often the same, how fast, how long.

A copy's record has an id made of the answer's whose request it is a copy of, so the two find each other.
Whether both said the same the gateway has judged, which had both at hand, and stands in the copy's record:
it stays when their words are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, TypeVar

import sqlalchemy as sa

from freehold.release import roll
from freehold.spec.answer import DIFFERS, SAME, copied
from freehold.store.tables import answers, releases

MOST, LAID = 1_000, 10_000
"""The newest pairs whose time and length are compared; the newest copies whose answers are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A shadow beside the live release, as far as copies were made."""

    copies: int
    endings: Mapping[str, int]
    """ending -> copies; refused by a guard is `denied`."""
    same: int
    differs: int
    """Of the newest answers, as far as they could be laid beside each other."""
    not_copied: int
    """Answers of the live release since the shadow began of which there is no copy: they came before it was
    ready or out of the cache, or the gateway had no room, or left, or died."""
    micros: tuple[int, int] | None
    """The median of the newest pairs: shadow, live."""
    tokens_out: tuple[float, float] | None
    """The mean of them, where they write text."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        of_both = {"micros": self.micros, "tokens_out": self.tokens_out}
        pairs = {name: said and {"shadow": said[0], "live": said[1]} for name, said in of_both.items()}
        counts = ("copies", "same", "differs", "not_copied")
        return {name: getattr(self, name) for name in counts} | {"endings": dict(self.endings)} | pairs


def compared(conn: sa.Connection, *, shadow: str, live: str) -> Compared:
    """A shadow beside the live release, both by their releases."""
    ours = sa.select(answers.c.ending, answers.c.reason).where(answers.c.release == shadow)
    endings = _by(conn, "ending", ours)
    reasons = _by(conn, "reason", ours.order_by(answers.c.at.desc()).limit(LAID))
    copies = sum(endings.values())
    since = conn.scalar(sa.select(releases.c.created_at).where(releases.c.id == shadow)) or 0
    given = sa.select(sa.func.count()).where(
        answers.c.release == live, answers.c.at >= since, answers.c.ending == "answered"
    )
    pairs = _pairs(conn, shadow)
    writes = any(ours["tokens_out"] for ours, _ in pairs)
    return Compared(
        copies=copies,
        endings=endings,
        same=reasons.get(SAME, 0),
        differs=reasons.get(DIFFERS, 0),
        not_copied=max(0, int(conn.scalar(given) or 0) - copies),
        micros=_both(pairs, "micros", lambda said: int(median(said))),
        tokens_out=_both(pairs, "tokens_out", lambda said: round(mean(said), 1)) if writes else None,
    )


def of_service(conn: sa.Connection, service: str) -> Compared | None:
    """A service's shadow beside its live release; None where there is no shadow."""
    ours, live = roll.shadowing(conn, service), roll.live(conn, service)
    return compared(conn, shadow=ours["id"], live=live["id"]) if ours and live else None


def _by(conn: sa.Connection, name: str, copies: sa.Select[Any]) -> dict[str, int]:
    word = copies.subquery().c[name]
    found = conn.execute(sa.select(word, sa.func.count()).group_by(word))
    return {str(said or "under way"): int(number) for said, number in found}


Row = Mapping[Any, Any]
T = TypeVar("T")


def _pairs(conn: sa.Connection, shadow: str) -> list[tuple[Row, Row]]:
    """The newest copies that were answered, with the answers that were given."""
    a = answers.c
    told = sa.select(a.id, a.micros, a.tokens_out)
    newest = told.where(a.release == shadow, a.ending == "answered").order_by(a.at.desc()).limit(MOST)
    ours = {copied(row["id"]): row for row in conn.execute(newest).mappings()}
    theirs = conn.execute(told.where(a.id.in_([id for id in ours if id]))).mappings()
    return [(ours[row["id"]], row) for row in theirs]


def _both(pairs: Sequence[tuple[Row, Row]], name: str, of: Callable[[list[int]], T]) -> tuple[T, T] | None:
    if not pairs:
        return None
    return of([ours[name] for ours, _ in pairs]), of([theirs[name] for _, theirs in pairs])


def shadows_alone(conn: sa.Connection) -> tuple[str, ...]:
    """The releases that are, or were, shadows: what they said nobody was given."""
    return tuple(conn.scalars(sa.select(releases.c.id).where(releases.c.weight == 0)))
