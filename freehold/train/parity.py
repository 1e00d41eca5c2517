"""Does the exported model answer as the trained one? Asked on every test row; a training ends here if not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from freehold.engines.protocol import Engine, Generator
from freehold.engines.rows import Rows
from freehold.errors import Failure
from freehold.train.trained import Floats, Precision

TOLERANCE = 1e-9
"""How far a probability may be off: rounding in another order of summation, nothing more."""
TIE = 1e-12
"""Two classes closer than this are a tie, which rounding decides; counted apart, never hidden."""
TOLERANCES: dict[Precision, float] = {"double": TOLERANCE, "single": 1e-4}
TIES: dict[Precision, float] = {"double": TIE, "single": 1e-5}
"""The same by the precision a model computes in."""

LOSS_TOLERANCE = 1e-3
"""How far a generator's loss per token may be off: single precision, layer upon layer."""


class NotFaithful(Failure):
    """the exported model does not answer as the trained one"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What was compared, and how far apart it was."""

    rows: int
    other_class: int
    ties: int
    worst: float
    """The largest difference of any probability."""
    tolerance: float

    def as_report(self) -> dict[str, str | int]:
        """With decimals as text."""
        return {
            "rows": self.rows,
            "other_class": self.other_class,
            "ties": self.ties,
            "largest_difference": f"{self.worst:.1e}",
            "tolerance": f"{self.tolerance:.0e}",
        }


def compare(
    engine: Engine,
    classes: tuple[str, ...],
    rows: Rows,
    scores: Callable[[Rows], tuple[Floats, Floats]],
    precision: Precision = "double",
) -> Parity:
    """Ask both about every row. Raises NotFaithful when a class differs or a probability is off."""
    trained, chances = scores(rows)
    answers = engine.infer(rows.columns)
    place = {name: index for index, name in enumerate(classes)}
    given = np.array([place[name] for name in answers.classes])
    best = trained.argmax(axis=1)
    differ = given != best
    tied = differ & (
        trained[np.arange(len(rows)), best] - trained[np.arange(len(rows)), given] < TIES[precision]
    )
    parity = Parity(
        rows=len(rows),
        other_class=int((differ & ~tied).sum()),
        ties=int(tied.sum()),
        worst=float(np.abs(np.array(answers.probabilities) - chances).max()),
        tolerance=TOLERANCES[precision],
    )
    _refuse(parity)
    return parity


def compare_losses(
    generator: Generator, rows: Rows, losses: Callable[[Rows], list[tuple[int, float, int]]]
) -> dict[str, str | int]:
    """Ask both how surprised they are by the right answers. Raises NotFaithful when a token is off."""
    (cells,) = rows.columns.values()
    worst, trained = 0.0, losses(rows)
    for place, loss, tokens in trained:
        pair = ([{"role": "user", "content": str(cells[place] or "")}], str(rows.labels[place]))
        ((here, counted),) = generator.losses([pair])
        if counted != tokens:
            raise NotFaithful(why="the engine reads an answer as other tokens", hint="report this")
        worst = max(worst, abs(here - loss) / tokens)
    if not worst <= LOSS_TOLERANCE:
        raise NotFaithful(
            why=f"the loss of a token is off by {worst:.1e} ({LOSS_TOLERANCE:.0e} is allowed)",
            hint="nothing was registered; report this with the base's family",
        )
    return {"rows": len(trained), "largest_difference": f"{worst:.1e}", "tolerance": f"{LOSS_TOLERANCE:.0e}"}


def _refuse(parity: Parity) -> None:
    if parity.other_class or not parity.worst <= parity.tolerance:
        raise NotFaithful(
            why=f"{parity.other_class} of {parity.rows} rows have another class, a probability is off by "
            f"{parity.worst:.1e} ({parity.tolerance:.0e} is allowed)",
            hint="nothing was registered; report this with the run's report.json",
        )
