"""`freehold advise`: from a file, from an example, or asked one by one; with your figures and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from started import FREEHOLD

NEED = """\
task: classify
sensitivity: Restricted
requests_a_day: 10
tokens_in: 50
tokens_out: 1
examples: 900
"""


def advise(*words: str, says: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}
    command = [*FREEHOLD, "advise", *words]
    return subprocess.run(command, input=says, capture_output=True, text=True, env=env, cwd=cwd, timeout=60)


@pytest.mark.parametrize(
    ("house", "first"), [("insurer", "small"), ("hospital", "lora"), ("bank", "rag"), ("ministry", "api")]
)
def test_each_example_has_a_first_way_and_ends_with_what_would_flip_it(house: str, first: str) -> None:
    ran = advise("--example", house)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{first}: ")
    row = next(line for line in ran.stdout.splitlines() if line.startswith(f"{first}  "))
    cost, low, high = (int(n.replace(",", "")) for n in re.findall(r"[\d,]{4,}", row)[:3])
    assert low < cost < high
    others = ran.stdout.partition("what comes with the others, risk and law:")[2]
    for way in {"api", "prompt", "rag", "cag", "small", "lora", "full", "distill", "scratch"} - {first}:
        assert re.search(rf"^  {way} +\w.*; (GDPR|AI Act|the teacher)", others, re.MULTILINE), way
    assert "what would flip this answer:\n  " in ran.stdout


def test_without_a_file_every_answer_is_asked_for_and_a_wrong_one_again() -> None:
    said = ["sort", "classify", "900", "", "", "", "Restricted", "10", "50", "1", "", "", "", "", "", ""]
    ran = advise(says="\n".join(said) + "\n")
    assert ran.returncode == 0, ran.stderr
    assert "it is one of: classify, extract" in ran.stderr
    assert ran.stdout.startswith("small: ")


def test_every_sum_can_be_traced_to_figures_with_source_and_date(tmp_path: Path) -> None:
    (tmp_path / "need.yaml").write_text(NEED)
    (tmp_path / "ours.yaml").write_text(
        "people.year: {value: 98000, label: measured, as_of: 2026-11-01, source: our payroll}\n"
    )
    told = json.loads(advise("need.yaml", "--json", cwd=tmp_path).stdout)
    ours = json.loads(advise("need.yaml", "--facts", "ours.yaml", "--json", cwd=tmp_path).stdout)
    assert told["first"] == ours["first"] == "small"
    assert all(fact["source"] and fact["as_of"] and fact["label"] for fact in told["facts"])
    people = [way["cost"]["people"] for way in (told["ways"][0], ours["ways"][0])]
    assert people[1] == pytest.approx(people[0] * 98_000 / 135_000, abs=1)
    assert next(f for f in ours["facts"] if f["name"] == "people.year")["source"] == "our payroll"
