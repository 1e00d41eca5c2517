"""What a step knows of the candidate its journey is about."""

from __future__ import annotations

from freehold.jobs.steps import Moment
from freehold.spec.reading import service_from
from freehold.spec.service import Service

DECLARED = "declared"
"""The field of a journey's specification that holds the service, where it holds more than that."""


def spec_of(moment: Moment) -> Service:
    """The service as it was submitted; in a rebuild as it is in force, with the old model's own part."""
    said = moment.journey.spec
    return service_from(said.get(DECLARED, said))


def model_of(moment: Moment) -> str:
    """The id of the model version that was trained."""
    return str(moment.results["train"]["model"])


def serving_of(moment: Moment) -> str:
    """Its serving digest: what is measured, approved and served."""
    return str(moment.results["train"]["serving_digest"])
