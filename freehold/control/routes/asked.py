"""What routes share: strict bodies, reasons, and spans of time as users write them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from freehold.release import words
from freehold.spec.limits import seconds

Plain = Annotated[str, Field(max_length=254, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""One line of text: databases differ in what they do with control characters, so none gets that far."""
Reason = Annotated[str, Field(max_length=words.MOST, pattern=r"^[^\x00]*$")]
"""Why somebody does something: as much of it as is kept."""

NEVER = "never"


class Asked(BaseModel):
    """A request's body: a field that is not known is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Because(Asked):
    """Why; what is done says whether it has to be said."""

    because: Reason = ""


def expiry(text: str, at: int) -> int | None:
    """`90d` as a time after `at`, microseconds UTC; `never` as None. Raises BadLimit."""
    return None if text == NEVER else at + seconds(text) * 1_000_000
