"""Before a candidate gets its first request: it is what was evaluated, and this release would serve it so.

The engine asks the card's probes again at every start. What can be seen without running the model is
seen here, so that nothing is published that no engine would load: files that changed where they are
kept, another version of the engine since the evaluation, a manifest that is not the card's.
"""

from __future__ import annotations

import json

import sqlalchemy as sa

from freehold.engines import identity, package, parity
from freehold.engines.parity import Difference
from freehold.errors import Failure
from freehold.release.files import OpenModel, open_version
from freehold.spec.model import MANIFEST_TYPE, Manifest
from freehold.store.ground import Ground
from freehold.store.signing import Envelope, verify
from freehold.store.tables import cards


def refuse_unlike(ground: Ground, model: str) -> None:
    """Raise OtherThanEvaluated, naming each part that is different, or NoEvidence."""
    found = open_version(ground, model)
    envelope = Envelope.from_json(dict(found.envelope))
    manifest = package.read_manifest(verify(ground.release_key.public_key(), envelope, MANIFEST_TYPE))
    evaluated = _evaluated(ground, model)
    name = identity.name_of(manifest)
    here = {
        **parity.parts(manifest),
        "engine": parity.engine_part(identity.engine(name), identity.flags(name)),
    }
    parity.refuse((*parity.compare(evaluated, here), *_changed_files(found, manifest)))


def _evaluated(ground: Ground, model: str) -> dict[str, str]:
    """The parts that the newest card of this version names."""
    query = (
        sa.select(cards.c.body)
        .where(cards.c.model == model, cards.c.passed.is_(True))
        .order_by(cards.c.created_at.desc())
        .limit(1)
    )
    with ground.db.read() as conn:
        body = conn.scalar(query)
    said = json.loads(body).get("parity") if body else None
    if said is None:
        raise parity.NoEvidence(why="its card has no probes", hint="apply again: it is evaluated anew")
    return dict(said["parts"])


def _changed_files(found: OpenModel, manifest: Manifest) -> tuple[Difference, ...]:
    """Files that are not what was signed, each under the part it belongs to."""
    different = []
    for entry in manifest.files:
        try:
            found.read(entry.path)
        except Failure as failure:
            why = f"`{entry.path}` changed where it is kept ({failure.code})"
            different.append(Difference(name=parity.part_of(entry.path), why=why))
    return tuple(different)
