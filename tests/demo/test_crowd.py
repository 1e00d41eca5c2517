"""The crowd of the third dare always comes to its end, and says what it found."""

from __future__ import annotations

import time
from typing import Any

import pytest

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
