"""The recording in the README is made by a script, of what a terminal really showed."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from xml.etree import ElementTree

import pytest

from freehold.demo import forgotten
from freehold.demo.stage import Stage
from freehold.journeys.forget import FORGET

ROOT = Path(__file__).parents[2]
PLAYED = """
import sys, time
print("Act 4 \\x1b[1mnot this\\x1b[0m")
print("\\x1b[1mAct 5 · somebody & <nobody>\\x1b[0m")
print("\\x1b[36m$ freehold forget\\x1b[0m")
sys.stdout.write("  … waiting\\r"); sys.stdout.flush(); time.sleep(0.3)
print("  … waited")
for n in range(40): print(f"row {n}")
print("x\\x1b[32m" + "y" * 150 + "\\x1b[0mz")
print()
print("Now you")
"""

spec = spec_from_file_location("make_recording", ROOT / "docs" / "make_recording.py")
assert spec
assert spec.loader
recording = module_from_spec(spec)
sys.modules["make_recording"] = recording
spec.loader.exec_module(recording)


def text_of(svg: str) -> list[str]:
    drawing = ElementTree.fromstring(svg)
    lines = drawing.iterfind(".//{http://www.w3.org/2000/svg}text[@class='l']")
    return ["".join(line.itertext()) for line in lines]


def test_what_a_terminal_showed_of_the_act_is_drawn_in_its_order_and_time() -> None:
    lines = recording.act(recording.recorded([sys.executable, "-c", PLAYED]))
    assert lines[3].at - lines[2].at < 0.2 < lines[2].at - lines[1].at
    svg = recording.drawn(lines)
    assert text_of(svg) == [
        "Act 5 · somebody & <nobody>",
        "$ freehold forget",
        "  … waited",
        *(f"row {n}" for n in range(40)),
        "x" + "y" * 99,
        "y" * 51 + "z",
    ]
    delays = [float(delay) for delay in re.findall(r"animation-delay:([\d.]+)s", svg)]
    assert delays == sorted(delays)
    assert len(delays) == 45
    assert "<script" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_a_command_that_fails_or_never_comes_to_the_act_draws_nothing() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        recording.recorded([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(ValueError, match="Act 5"):
        recording.act([recording.Line(0.0, "Act 4")])


def said_by(source: str) -> list[str]:
    """The words that an act says by itself, in pieces where something is put in."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    said = [
        call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in ("say", "act")
    ]
    texts = [node for call in said for node in ast.walk(call) if isinstance(node, ast.Constant)]
    words = [" ".join(node.value.split()) for node in texts if isinstance(node.value, str)]
    return [piece for piece in words if len(piece) > 10]


def test_the_recording_is_of_the_act_as_it_is_played_today() -> None:
    """Whoever changes what the act says, or does, plays it again: see docs/make_recording.py."""
    lines = text_of((ROOT / "docs" / "pictures" / "forgetting.svg").read_text())
    shown = " ".join(" ".join(lines).split())
    said = said_by(inspect.getsource(forgotten))
    assert len(said) > 6
    assert [piece for piece in said if piece not in shown] == []
    for step in FORGET.steps:
        assert re.search(rf"{step.name} +done", shown), step.name
    options = re.findall(r'"(--[a-z-]+)"', inspect.getsource(Stage.engine))
    assert options
    assert [option for option in options if option not in shown] == []


def test_the_readme_shows_the_whole_act() -> None:
    assert "](docs/pictures/forgetting.svg)" in (ROOT / "README.md").read_text()
    shown = text_of((ROOT / "docs" / "pictures" / "forgetting.svg").read_text())
    assert shown[0].startswith("Act 5")
    assert any("freehold forget anna-k" in line for line in shown)
    end = "".join(shown[-2:])
    assert re.search(r"rows \d+ · models \d+ · rebuilt = retrained without her, byte for byte ✓", end)
    assert max(map(len, shown)) <= recording.COLUMNS
