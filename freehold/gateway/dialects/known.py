"""The dialects there are, by the name that `freehold attach --api` takes."""

from __future__ import annotations

from collections.abc import Mapping

from freehold.gateway.dialects.anthropic import Anthropic
from freehold.gateway.dialects.dialect import Dialect
from freehold.gateway.dialects.gemini import Gemini
from freehold.gateway.dialects.openai import Azure, OpenAI
from freehold.spec.snapshot import Target

DIALECTS: Mapping[str, Dialect] = {
    "openai": OpenAI(),
    "azure": Azure(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
}


def dialect_of(target: Target) -> Dialect:
    """How a target is spoken to."""
    return DIALECTS[target.api]
