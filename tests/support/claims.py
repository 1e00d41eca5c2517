"""The data set `claims`: invented messages of customers, as a trainer adds them."""

from __future__ import annotations

import io

from freehold.data import intake
from freehold.data.declare import Intake
from freehold.spec.principal import SYSTEM
from freehold.store.ground import Ground
from tests.installation import messages


def add_claims(ground: Ground, rows: int = 180, seed: int = 7) -> None:
    """The next version of it."""
    asked = Intake(
        name="claims",
        purposes=("claims-handling",),
        basis="contract",
        sensitivity="Confidential",
        owner="claims-team",
        keep="P3Y",
        regions=("eu",),
        subject=("customer",),
        target="class",
        text="message",
    )
    source = io.BytesIO(messages(rows, seed).encode())
    intake.add(ground, by=SYSTEM, project="claims", request=asked, source=source, format="csv")
