"""The linear text model on real questions: 77 classes, most of them close to each other."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from learning import job, model_files, service

from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of
from freehold.spec.config import Config
from freehold.train import entry
from freehold.train.plan import DataFacts, plan

DATA = Path(os.environ.get("FREEHOLD_TEST_DATA", "")) / "1_intents"


def read(name: str) -> dict[str, list[str]]:
    with (DATA / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {"text": [row["text"] for row in rows], "category": [row["category"] for row in rows]}


@pytest.mark.skipif(
    "FREEHOLD_TEST_DATA" not in os.environ, reason="FREEHOLD_TEST_DATA names no folder with BANKING77"
)
def test_banking77_is_answered_at_least_as_well_as_promised(tmp_path: Path) -> None:
    table = read("banking77_train.csv")
    data = DataFacts(
        ref="banking@1",
        digest="sha256:" + "0" * 64,
        rows=len(table["text"]),
        columns={"text": "text", "category": "text"},
        target="category",
        text="text",
    )
    spec = plan(service(train={"held_out": 0}), data=data, config=Config()).spec
    folder = job(tmp_path / "job", spec, table)
    entry.main(folder)
    files = model_files(folder)
    asked = read("banking77_test.dev.csv")
    answers = OnnxEngine.load(about_of(files), files).infer({"text": asked["text"]})
    right = sum(a == b for a, b in zip(answers.classes, asked["category"], strict=True))
    assert right / len(asked["text"]) >= 0.908
