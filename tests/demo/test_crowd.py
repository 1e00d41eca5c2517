"""The crowd of the third dare always comes to its end, and says what it found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from freehold.demo import dares
from freehold.demo.scripts import crowd


class Control:
    """Has records of all answers, none of which ever ends."""

    def __init__(self, **_: Any) -> None:
        self.asked: list[str] = []

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def get(self, path: str) -> dict[str, str]:
        return {"ending": ""}


class Streams:
    """A client whose answer looks, while it comes, whether it is said that one is under way."""

    def __init__(self, asking: Path) -> None:
        self.chat = self.completions = self.with_streaming_response = self
        self.headers = {"x-freehold-answer": "ans_1"}
        self.asking, self.said = asking, False

    def create(self, **_: Any) -> Streams:
        return self

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def iter_lines(self) -> list[str]:
        self.said = self.asking.exists()
        return ["data: [DONE]"]


def test_it_says_when_a_long_answer_is_under_way_and_the_dare_waits_for_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asking = tmp_path / "asking"
    monkeypatch.setenv("FREEHOLD_GATEWAY", "http://127.0.0.1:9")
    monkeypatch.setenv("FREEHOLD_SERVING_KEY", "fhs_x")
    monkeypatch.setattr(crowd, "ASKING", asking)
    monkeypatch.setattr(crowd, "seen", {})
    monkeypatch.setattr(crowd, "Freehold", Control)
    monkeypatch.setattr(crowd, "PATIENCE", 0.1)
    short, long = Streams(asking), Streams(asking)
    crowd.ask(short, "inbox-triage", crowd.ASKED)  # type: ignore[arg-type]
    crowd.ask(long, "claims-chat", crowd.SLOWLY)  # type: ignore[arg-type]
    assert (short.said, long.said) == (False, True)
    crowd.main(0.0)
    assert not asking.exists()
    assert any(f"$FREEHOLD_DEMO/{asking.name} " in line and "kill -9" in line for line in dares.kill().lines)


def test_many_answers_without_an_end_are_waited_for_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FREEHOLD_GATEWAY", "http://127.0.0.1:9")
    monkeypatch.setenv("FREEHOLD_SERVING_KEY", "fhs_x")
    monkeypatch.setattr(crowd, "PATIENCE", 0.3)
    monkeypatch.setattr(crowd, "Freehold", Control)
    monkeypatch.setattr(crowd, "seen", {f"ans_{n}": "cut off" for n in range(40)})
    began = time.monotonic()
    assert crowd.main(0.0) == 1
    assert time.monotonic() - began < 8, "not as long for each"
    said = capsys.readouterr().out
    assert "40 cut off  recorded as under way" in said
    assert "40 WITHOUT THE RECORD THEY SHOULD HAVE" in said
