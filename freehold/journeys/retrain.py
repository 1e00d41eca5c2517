"""New data, the same declaration: a candidate that has to hold its own against the live model.

::

    pin ─> train ─> evaluate, also against the live model ─> approve ─> roll out

The steps are those of `journeys.deliver`; that `pin` fixes the live model too is the whole difference.
Whatever asks for a retraining, people approve before anything of it answers (sandbox: nobody does).
"""

from __future__ import annotations

from freehold.jobs.steps import Done, Moment, Outcome, Step, Story, leave_as_it_is
from freehold.journeys import deliver, rules
from freehold.journeys.candidate import spec_of


def pin(moment: Moment) -> Outcome:
    """Fix the data, and the live model that the candidate is compared with."""
    service = spec_of(moment)
    with moment.ground.db.read() as conn:
        data, _ = rules.pinned(conn, service, moment.config, moment.ground.clock())
        live = rules.live_model(conn, service, data)
    pinned = deliver.pin(moment)
    if not isinstance(pinned, Done):
        return pinned
    return Done(apply=lambda tx: {**pinned.apply(tx), "live": live})


_PIN = Step(name="pin", does="fix the data and the live model", do=pin, undo=leave_as_it_is)

RETRAIN = Story(
    kind="retrain",
    steps=(_PIN, *(step for step in deliver.DELIVER.steps if step.name not in ("declare", "pin"))),
)
