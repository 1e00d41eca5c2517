"""What an A/B test comes to: the figures of both arms beside each other, and whether the candidate goes on.

The rule, in one sentence: it goes on by itself unless a figure that decides is worse by its whole 95 %
interval, fewer than 20 were drawn for either arm, the arms were not drawn as they were to be, or others stood
in for one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from freehold.evaluate import unpaired
from freehold.evaluate.intervals import decimal
from freehold.evaluate.unpaired import Sums
from freehold.release import abtests
from freehold.release.abtests import CANDIDATE, LIVE, Verdict
from freehold.spec.rollout import ALL, Stage
from freehold.store.tables import releases

SHARES = ("failed", "refused", "cut off")
"""Figures that are shares of answers; the others are means."""
DECIDES = ("failed", "refused")
"""What makes a candidate worse. That it takes longer or costs more is shown, and is for people to weigh."""

Arms = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Arm -> figure -> its sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What came of it."""

    verdict: Verdict
    because: str
    figures: Mapping[str, Any]
    """Plain, decimals as text: for the ledger."""


def judged(conn: sa.Connection, test: abtests.AbTest, until: int) -> Judged:
    """The figures of a test up to this time, and the verdict."""
    releases = {LIVE: test.live, CANDIDATE: test.release}
    since = test.begun_at
    sums = {arm: abtests.sums(conn, one, since=since, until=until) for arm, one in releases.items()}
    drawn = {arm: abtests.drawn(conn, one, since=since, until=until) for arm, one in releases.items()}
