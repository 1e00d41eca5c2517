"""What a step knows of the candidate its journey is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.jobs.steps import Moment
from freehold.spec.reading import service_from
from freehold.spec.service import Service

DECLARED = "declared"
"""The field of a journey's specification that holds the service, where it holds more than that."""


def declared(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The service in a journey's specification, plain; all of it where the journey is about no service."""
    found: Mapping[str, Any] = spec.get(DECLARED, spec)
    return found


def spec_of(moment: Moment) -> Service:
    """The service as it was submitted; in a rebuild as it is in force, with the old model's own part."""
    return service_from(declared(moment.journey.spec))


def model_of(moment: Moment) -> str:
    """The id of the model version that was trained."""
    return str(moment.results["train"]["model"])


def serving_of(moment: Moment) -> str:
    """Its serving digest: what is measured, approved and served."""
    return str(moment.results["train"]["serving_digest"])
