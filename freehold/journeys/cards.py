"""Cards: the evidence of an evaluation, written once, cited by its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from freehold.errors import NotFound
from freehold.evaluate.gates import GateResult
from freehold.jobs.steps import Moment
from freehold.journeys import runs
from freehold.ledger.record import record
from freehold.spec.ids import canonical, digest, new_id
from freehold.store.rows import Tx
from freehold.store.tables import cards


def issue(
    tx: Tx,
    moment: Moment,
    *,
    run: str,
    card: Mapping[str, Any],
    judged: Sequence[GateResult],
) -> dict[str, Any]:
    """Write the card and close its run; issuing twice is issuing once."""
    end = (moment.job.end if moment.job else None) or runs.NO_END
    model, serving = (str(moment.results["train"][name]) for name in ("model", "serving_digest"))
    said = runs.end(tx, moment, run=run, state="done", job=end, metrics=end.result, model=model)
    there = tx.execute(sa.select(cards).where(cards.c.run == run)).mappings().first()
    results = [result.as_card() for result in judged]
    card_digest = digest(card)
    passed = all(result.passed for result in judged)
    told = {**said, "card_digest": card_digest, "gates": results, "passed": passed}
    if there is not None:
        return {**told, "card": there["id"]}
    id = new_id("crd")
    tx.execute(
        cards.insert().values(
            id=id,
            model=model,
            run=run,
            serving_digest=serving,
            digest=card_digest,
            body=canonical(card).decode(),
            passed=passed,
            created_at=tx.at,
        )
    )
    detail = {
        "card": id,
        "digest": card_digest,
        "model": model,
        "serving_digest": serving,
        "passed": passed,
    }
    record(tx, "card.issued", by=moment.by, object=id, project=moment.journey.project, detail=detail)
    return {**told, "card": id}


def find(conn: sa.Connection, card: str) -> Mapping[str, Any]:
    """A card's row. Raises NotFound."""
    row = conn.execute(sa.select(cards).where(cards.c.id == card)).mappings().first()
    if row is None:
        raise NotFound(kind="card", name=card[:80])
    return dict(row)


def of_model(conn: sa.Connection, model: str | None) -> str | None:
    """The newest card about a model version; none when it was not measured."""
    newest = sa.select(cards.c.id).where(cards.c.model == model).order_by(cards.c.created_at.desc()).limit(1)
    return conn.scalar(newest) if model else None
