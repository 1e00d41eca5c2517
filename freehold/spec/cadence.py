"""How often to write down where one is: the same formula plans large trainings and paces small ones."""

from __future__ import annotations

import math


def checkpoint_every(write_seconds: float, mean_seconds_between_failures: float) -> float:
    """Young and Daly: seconds between two checkpoints; holds where writing is short beside failures.

    sqrt(2·C·M), at which writing and what is done again after a failure cost the same (Young 1974, "A first
    order approximation to the optimum checkpoint interval"; Daly 2006).
    """
    return math.sqrt(2 * write_seconds * mean_seconds_between_failures)
