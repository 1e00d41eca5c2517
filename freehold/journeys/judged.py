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
from freehold.spec.figures import in_words
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
    return verdict(sums, drawn, test.weight, abtests.stood_in(conn, test, until))


def verdict(sums: Arms, drawn: Mapping[str, int], weight: int, stood_in: int = 0) -> Judged:
    """The same from what was counted; `weight` of 10,000 were to be drawn for the candidate.

    What others stood in for is what one of the two could not answer, and in neither arm.
    """
    compared = [one for figure in abtests.OVER if (one := _compared(figure, sums)) is not None]
    split = _split(drawn, weight)
    figures = {"drawn": dict(drawn), "split": split, "compared": compared}
    deciding = [one for one in compared if one["decides"]]
    said = f"A/B test, {drawn[CANDIDATE]} drawn for the candidate, {drawn[LIVE]} for the live model"
    told = said + "".join(f"; {sentence(one)}" for one in deciding)
    word: Verdict = "not worse"
    if any(one["says"] == "too few" for one in deciding) or not deciding:
        word, told = "not to be judged", f"{said}: too few to say more"
    elif split["mismatch"]:
        word, told = "not to be judged", f"{said}: {mismatch(split)}"
    elif any(one["says"] == "worse" for one in deciding):
        word = "worse"
    elif stood_in:
        word, told = "not to be judged", f"{told}; {stood_in} answered by a stand-in are in neither arm"
    return Judged(verdict=word, because=told, figures=figures)


WEEK, HOUR = 7 * 86_400_000_000, 3_600_000_000
"""Microseconds."""


def foreseen(conn: sa.Connection, live: str, test: Stage, at: int) -> dict[str, Any] | None:
    """What a test would see, were the traffic that of the live release in its last week; a guess.

    Whoever was named in that week comes again in a longer test, and nobody else does: of the same people more
    answers tell little more. Whoever was not is somebody new each time.

    None while it has been live for less than an hour: that is no traffic to guess by.
    """
    begun = int(conn.scalar(sa.select(releases.c.created_at).where(releases.c.id == live)) or at)
    if (span := min(WEEK, at - begun)) < HOUR:
        return None
    named, nobody = (
        _sums(abtests.sums(conn, live, since=at - span, until=at, named=word)["failed"])
        for word in (True, False)
    )
    share, longer = test.weight / ALL, test.seconds * 1_000_000 / span
    people = named.again(longer) if longer > 1 else named.times(longer)
    ours, theirs = ((people + nobody.times(longer)).times(part) for part in (share, 1 - share))
    apart = unpaired.apart(ours, theirs, share=True)
    return {"answers": round(ours.n), "smallest": decimal(apart.smallest) if apart else None}


def _sums(told: Mapping[str, float]) -> Sums:
    counts = {name: float(value) for name, value in told.items() if name != "units"}
    return Sums(units=int(told["units"]), **counts)


def _split(drawn: Mapping[str, int], weight: int) -> dict[str, Any]:
    """Whether as many came to the candidate as were to: where not, something decided besides the draw."""
    of, share = sum(drawn.values()), weight / ALL
    chance = unpaired.chance_of_split(drawn[CANDIDATE], of, share)
    return {
        "asked": decimal(share),
        "drawn": decimal(drawn[CANDIDATE] / of) if of else None,
        "chance": decimal(chance),
        "mismatch": chance < unpaired.MISMATCH,
    }


def _compared(figure: str, sums: Arms) -> dict[str, Any] | None:
    """One figure of both; none where there is nothing to compare, such as the cost of what costs nothing."""
    ours, theirs = (_sums(sums[arm][figure]) for arm in (CANDIDATE, LIVE))
    share, decides = figure in SHARES, figure in DECIDES
    if not decides and not (ours.y or theirs.y):
        return None
    told: dict[str, Any] = {"figure": figure, "share": share, "decides": decides}
    told |= {arm: _arm(one) for arm, one in ((LIVE, theirs), (CANDIDATE, ours))}
    apart = unpaired.apart(ours, theirs, share=share)
    if apart is None:
        return told | {"says": "too few"}
    names = {"difference": apart.value, "low": apart.low, "high": apart.high, "smallest": apart.smallest}
    return told | {name: decimal(value) for name, value in names.items()} | {"says": apart.says}


def _arm(sums: Sums) -> dict[str, Any]:
    return {
        "value": decimal(sums.rate) if sums.n else None,
        "answers": round(sums.n),
        "drawn": sums.units,
    }


# -- in words ---------------------------------------------------------------------------------------


def sentence(one: Mapping[str, Any]) -> str:
    """`failed 0.50 %, live 0.40 %: no difference shown (-0.30 to 0.50 points)`."""
    if one["says"] == "too few":
        return f"{one['figure']}: too few to say more"
    values = (one[CANDIDATE]["value"], one[LIVE]["value"], one["low"], one["high"])
    ours, theirs, low, high = (in_words(value, share=one["share"]) for value in values)
    apart = f"{low.removesuffix(' %')} to {high.replace(' %', ' points')}"
    return f"{one['figure']} {ours}, live {theirs}: {one['says']} ({apart})"


def mismatch(split: Mapping[str, Any]) -> str:
    """That the arms were not drawn as they were to be."""
    drawn, asked = (float(split[name]) * 100 for name in ("drawn", "asked"))
    return (
        f"{drawn:.1f} % came to the candidate and {asked:g} % were to, which chance does in fewer than "
        f"1 of 1,000 tests: something besides the draw decided, and the figures compare different people"
    )
