"""What this installation's models took so far: training beside answering, as its records tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from freehold.sizing.figure import Figure, Row, Section, Table, rounded

SAID = "said: 80 to 90 % of cost or power, 65 % of one model's carbon (Meta)"
"""Of answering, by others: cost or power, never metered energy."""
MOST = 24
"""Models that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One version of one; watt-hours."""

    name: str
    """Empty: runs that left no model, and answers that none gave."""
    runs: int
    trained: float
    answers: int
    served: float

    @property
    def share(self) -> float:
        """Of its energy that went into answers."""
        both = self.trained + self.served
        return self.served / both if both else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """All of them."""

    models: tuple[Model, ...]
    method: str
    grams: float
    """CO2e of a kWh."""

    @property
    def whole(self) -> Model:
        """Of all models together."""
        return Model(
            name="all of them",
            runs=sum(one.runs for one in self.models),
            trained=sum(one.trained for one in self.models),
            answers=sum(one.answers for one in self.models),
            served=sum(one.served for one in self.models),
        )

    def section(self) -> Section:
        """Split by model; estimates, as the method says."""
        rows = tuple(_row(one) for one in (*self.models[:MOST], self.whole))
        return Section(
            name="taken",
            title="what it took so far",
            figures=tuple(self._figures()),
            tables=(Table(title="by model", columns=tuple(rows[0]), rows=rows),),
            notes=(self.method, *self._crossed()),
        )

    def _figures(self) -> Iterator[Figure]:
        whole = self.whole
        kwh = (whole.trained + whole.served) / 1000
        told = [
            ("training took", whole.trained / 1000, "kWh", f"{whole.runs:,} runs, evaluations too"),
            ("answering took", whole.served / 1000, "kWh", f"{whole.answers:,} answers"),
            ("both took", kwh, "kWh", "training and answering"),
            ("share of answering", 100 * whole.share, "% of the energy", f"answering over both; {SAID}"),
            ("emitted", kwh * self.grams, "g CO2e", f"kWh x {self.grams:g} g of the installation's grid"),
        ]
        if whole.runs:
            told.append(("a run took", whole.trained / whole.runs, "Wh", "mean of all runs"))
        if whole.answers:
            each = whole.served / whole.answers
            told.append(("an answer took", each, "Wh", "mean of all answers"))
            told.append(("an answer emitted", each * self.grams / 1000, "g CO2e", "Wh x g of a kWh"))
        for name, value, unit, formula in told:
            yield Figure(name=name, value=value, unit=unit, formula=formula, label="estimated")

    def _crossed(self) -> Iterator[str]:
        whole = self.whole
        if not (whole.trained and whole.served):
            return
        times = whole.served / whole.trained
        if times >= 1:
            yield f"answering took {rounded(times)} times what training did"
        else:
            more = whole.answers * (1 / times - 1)
            yield f"after {more:,.0f} more answers like these, answering will have taken as much as training"


def of_control(told: Mapping[str, Any]) -> Taken:
    """From what `/api/energy` answers."""
    return Taken(
        models=tuple(
            Model(
                name=str(one["model"]),
                runs=int(one["runs"]),
                trained=float(one["trained"]),
                answers=int(one["answers"]),
                served=float(one["served"]),
            )
            for one in told["models"]
        ),
        method=str(told["method"]),
        grams=float(told["grams_per_kwh"]),
    )


def _row(one: Model) -> Row:
    each = one.served / one.answers if one.answers else 0.0
    return {
        "model": one.name or "none",
        "runs": one.runs,
        "training, Wh": rounded(one.trained),
        "answers": f"{one.answers:,}",
        "answering, Wh": rounded(one.served),
        "an answer, Wh": rounded(each),
        "share of answering": f"{one.share:.0%}",
    }
