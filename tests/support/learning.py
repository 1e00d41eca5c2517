"""Small data sets and runs for tests of training, evaluation and engines."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from freehold.engines.package import read_folder
from freehold.evaluate import entry as evaluating
from freehold.evaluate.plan import plan as plan_evaluation
from freehold.jobs.folder import JobFolder
from freehold.spec.config import Config
from freehold.spec.service import Example, Gate, Model, Service
from freehold.train import entry as training
from freehold.train.plan import DataFacts, TrainPlan, plan

Table = dict[str, list[Any]]

_WORDS = {
    "water": ["burst pipe", "flooded kitchen", "water damage", "leaking roof", "wet cellar"],
    "car": ["dented door", "rear collision", "broken windscreen", "scratched bumper", "car accident"],
    "travel": ["lost suitcase", "cancelled flight", "missed connection", "stolen passport", "hotel refund"],
}
_FRAMES = (
    "hello, I want to report a {}",
    "there was a {} yesterday, what do I do?",
    "my {} is still open, when will you pay",
    "question about the {} from last week",
    "please help: {}!",
)


def inbox(rows: int = 150, seed: int = 1) -> Table:
    """Messages of three kinds, told apart by their nouns."""
    draw = random.Random(seed)
    kinds = sorted(_WORDS)
    labels = [draw.choice(kinds) for _ in range(rows)]
    texts = [draw.choice(_FRAMES).format(draw.choice(_WORDS[kind])) for kind in labels]
    bands = [draw.choice(["18-39", "40-69", "70+"]) for _ in range(rows)]
    return {"text": texts, "kind": labels, "age_band": bands}


def loans(rows: int = 200, seed: int = 2) -> Table:
    """Columns of every type, with gaps; whether a loan was paid follows from two of them."""
    draw = random.Random(seed)
    table: Table = {"income": [], "years": [], "home": [], "owner": [], "sex": [], "paid": []}
    for _ in range(rows):
        income = None if draw.random() < 0.1 else round(draw.gauss(40, 12), 2)
        home = draw.choice(["flat", "house", "farm", None])
        score = (income or 40) / 10 + (2 if home == "house" else 0) + draw.gauss(0, 1)
        table["income"].append(income)
        table["years"].append(draw.randint(0, 30))
        table["home"].append(home)
        table["owner"].append(draw.random() < 0.5)
        table["sex"].append(draw.choice(["f", "m"]))
        table["paid"].append("yes" if score > 5 else "no")
    return table


def keys_of(table: Table) -> list[str]:
    """A stable key per row, as intake gives them: from the row's place here."""
    size = len(next(iter(table.values())))
    return [hashlib.sha256(f"row {place}".encode()).hexdigest() for place in range(size)]


def write_rows(
    path: Path,
    table: Table,
    without: Sequence[int] = (),
    shuffled: bool = False,
    never_there: bool = False,
) -> Path:
    """The Arrow file a job gets; `without` leaves places out, the others keep number and key.

    With `never_there` they are numbered on, as if those that are left out had never been added.
    """
    size = len(next(iter(table.values())))
    keep = [place for place in range(size) if place not in set(without)]
    if shuffled:
        random.Random(5).shuffle(keep)
    keys = keys_of(table)
    columns: dict[str, Any] = {name: [cells[i] for i in keep] for name, cells in table.items()}
    numbers = range(1, len(keep) + 1) if never_there else [place + 1 for place in keep]
    columns["_row"] = pa.array(numbers, pa.int64())
    columns["_key"] = [keys[place] for place in keep]
    arrow = pa.table(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, arrow.schema) as writer:
        writer.write_table(arrow)
    return path


def facts(table: Table, *, target: str | None, text: str | None = None) -> DataFacts:
    """What a plan is told about a table."""
    words = {str: "text", bool: "boolean", int: "integer", float: "number"}
    kinds = {
        name: words[type(next(cell for cell in cells if cell is not None))] for name, cells in table.items()
    }
    size = len(next(iter(table.values())))
    return DataFacts(
        ref="claims@1", digest="sha256:" + "1" * 64, rows=size, columns=kinds, target=target, text=text
    )


def service(
    *,
    task: str = "classify",
    trainer: str = "linear",
    train: Mapping[str, Any] | None = None,
    features: tuple[str, ...] = (),
    gates: Mapping[str, Gate] | None = None,
    examples: tuple[Example, ...] = (),
) -> Service:
    """A service over `claims@1`."""
    return Service(
        service="triage",
        project="claims",
        owner="team@example.org",
        purpose="claims-handling",
        sensitivity="Internal",
        model=Model(
            data="claims@1",
            task=task,  # type: ignore[arg-type]  # tests pass wrong ones too
            trainer=trainer,  # type: ignore[arg-type]
            features=features,
            train=dict(train or {}),
        ),
        gates=dict(gates or {}),
        examples=examples,
    )


def planned(asked: Service, table: Table) -> TrainPlan:
    """The plan for the inbox or the loans, whichever the task wants."""
    if asked.model.task == "classify":
        data = facts(table, target="kind", text="text")
    else:
        data = facts(table, target="paid")
    return plan(asked, data=data, config=Config())


def job(root: Path, spec: Mapping[str, Any], table: Table, **rows: Any) -> JobFolder:
    """A job's folder with its data, not yet run."""
    folder = JobFolder.create(root, spec)
    write_rows(folder.inputs / "data.arrow", table, **rows)
    return folder


def train(root: Path, asked: Service, table: Table, **rows: Any) -> JobFolder:
    """Train in this process."""
    folder = job(root, planned(asked, table).spec, table, **rows)
    training.main(folder)
    return folder


def model_files(trained: JobFolder) -> dict[str, bytes]:
    """The model a training left."""
    return read_folder(trained.outputs / "model")


def evaluation(
    root: Path, asked: Service, table: Table, trained: JobFolder, golden: Mapping[str, Table] | None = None
) -> JobFolder:
    """An evaluation's folder, not yet run."""
    spec = plan_evaluation(asked, run_spec=planned(asked, table).spec)
    folder = job(root, spec, table)
    shutil.copytree(trained.outputs / "model", folder.inputs / "model")
    for reference, rows in (golden or {}).items():
        write_rows(folder.inputs / "golden" / f"{reference}.arrow", rows)
    return folder


def evaluate(
    root: Path, asked: Service, table: Table, trained: JobFolder, golden: Mapping[str, Table] | None = None
) -> JobFolder:
    """Evaluate in this process."""
    folder = evaluation(root, asked, table, trained, golden)
    evaluating.main(folder)
    return folder
