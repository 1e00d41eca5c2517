"""The proof about rows that are unlike those a tabular model was trained on."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

from freehold.doctor.candidate import about_nothing, approve, candidate, release
from freehold.doctor.effect import need
from freehold.doctor.scratch import PROJECT, Scratch
from freehold.engines.fake import FakeEngine
from freehold.engines.host import Host
from freehold.engines.package import Package, read_manifest
from freehold.engines.protocol import Answers, Columns
from freehold.release.files import open_version
from freehold.screen.domain import learn
from freehold.spec.domain import told
from freehold.spec.guard import Guard
from freehold.spec.model import MANIFEST_TYPE, About, Manifest
from freehold.spec.snapshot import Column
from freehold.store.signing import Envelope, verify

SERVICE = "reads-rows"
_INPUTS = (Column(name="age", datatype="INT64"), Column(name="region", datatype="BYTES"))
_ROWS: dict[str, list[Any]] = {"age": list(range(20, 60)), "region": ["north", "south"] * 20}
_LIKE, _OLDER, _ELSEWHERE = (
    {"age": 31, "region": "north"}, {"age": 310, "region": "north"}, {"age": 31, "region": "moon"}
)  # fmt: skip

_PATIENCE = 15.0
"""Seconds."""
_NOT_YET = (404, 503)
"""The gateway has not heard of the service, or its engine is not looked at yet."""


class _Listening(FakeEngine):
    """Counts how often it is asked."""

    heard = 0

    def infer(self, columns: Columns) -> Answers:
        self.heard += 1
        return super().infer(columns)


def outside_domain(at: Scratch) -> str:
    """A row unlike those a model was trained on does not reach it where the service refuses such rows."""
    about = _about()
    guard = Guard(domain="refuse")
    model = candidate(at.ground, PROJECT, b"rows", SERVICE, guard, about)
    approve(at.ground, PROJECT, model, SERVICE)
    release(at.ground, model, SERVICE)
    at.parts.sequencer.run_once()  # a snapshot is handed out once its entry has its place
    engine = _Listening(about)
    host = Host(Package(manifest=_signed(at, model.id), files={}), engine)
    with at.engine(model.serving_digest, host):
        need(_status(at, _LIKE) == 200, "the model does not answer about a row like those it was trained on")
        heard = engine.heard
        for row, column in ((_OLDER, "age"), (_ELSEWHERE, "region")):
            answer = at.ask(SERVICE, words=json.dumps(row))
            need(answer.status_code != 200, f"the gateway answered about an unlike `{column}`")
            refused_for_it = answer.status_code == 400 and f"`{column}`" in answer.text
            need(refused_for_it, f"it was refused, but not for `{column}`: {answer.status_code}")
        need(engine.heard == heard, "the row went to the model before it was refused")
    return "400 for a number and a category beyond what it was trained on, and the model heard nothing"


def _status(at: Scratch, row: dict[str, object]) -> int:
    """How the gateway answers, once it knows the service and its engine; what it says last counts."""
    deadline = time.monotonic() + _PATIENCE
    while (status := at.ask(SERVICE, words=json.dumps(row)).status_code) in _NOT_YET:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return status


def _signed(at: Scratch, model: str) -> Manifest:
    envelope = Envelope.from_json(dict(open_version(at.ground, model).envelope))
    return read_manifest(verify(at.ground.release_key.public_key(), envelope, MANIFEST_TYPE))


def _about() -> About:
    """What a model says of itself that was trained on these rows."""
    domain = told(learn(_INPUTS, _ROWS))
    features = {"kind": "columns", "domain": domain}
    return replace(about_nothing(), task="tabular", inputs=_INPUTS, features=features)
