"""What a step knows of the candidate its journey is about."""

from __future__ import annotations

from freehold.jobs.steps import Moment
from freehold.spec.reading import service_from
from freehold.spec.service import Service


def spec_of(moment: Moment) -> Service:
    """The service as it was submitted."""
    return service_from(moment.journey.spec)


def model_of(moment: Moment) -> str:
    """The id of the model version that was trained."""
    return str(moment.results["train"]["model"])


def serving_of(moment: Moment) -> str:
    """Its serving digest: what is measured, approved and served."""
    return str(moment.results["train"]["serving_digest"])
