"""Every kind of journey there is: the runner moves these, and the two generic tests run over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from freehold.jobs.steps import Story
from freehold.journeys import told
from freehold.journeys.deliver import DELIVER
from freehold.journeys.forget import FORGET
from freehold.journeys.purge import PURGE
from freehold.journeys.rebuild import REBUILD
from freehold.journeys.retrain import RETRAIN

STORIES: Mapping[str, Story] = {
    story.kind: replace(story, tells=told.ended) for story in (DELIVER, RETRAIN, REBUILD, FORGET, PURGE)
}
