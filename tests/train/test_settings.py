"""Hyperparameters: defaults, limits, and names nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.errors import BadInput
from freehold.train import settings
from freehold.train.settings import SettingUnusable

MANUAL = Path(__file__).parents[2] / "docs" / "manual"


def test_what_is_not_given_has_its_default() -> None:
    chosen = settings.complete("classify", "linear", {"strength": 1})
    assert chosen["strength"] == 1.0
    assert chosen["seed"] == 7
    assert chosen["solver"] == "svm"


def test_a_mistyped_setting_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(SettingUnusable) as refused:
        settings.complete("tabular", "boosting", {"learning_rat": 0.1})
    assert refused.value.hint == "did you mean `learning_rate`?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 1.5),
        ("seed", True),
        ("seed", -1),
        ("held_out", 0.9),
        ("held_out", "much"),
        ("balanced", 1),
        ("solver", "forest"),
        ("words", 40),
    ],
)
def test_a_value_out_of_its_limits_is_refused_with_what_would_do(name: str, value: object) -> None:
    with pytest.raises(SettingUnusable) as refused:
        settings.complete("classify", "linear", {name: value})  # type: ignore[dict-item]
    assert refused.value.why


def test_there_is_no_boosting_over_text() -> None:
    with pytest.raises(BadInput) as refused:
        settings.complete("classify", "boosting", {})
    assert "for text use linear" in refused.value.hint


@pytest.mark.parametrize(("task", "trainer"), list(settings.TRAINERS))
def test_settings_survive_being_written_as_text(task: str, trainer: str) -> None:
    chosen = settings.complete(task, trainer, {"held_out": 0.125})
    assert settings.from_text(task, trainer, settings.as_text(chosen)) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize(("task", "trainer"), list(settings.TRAINERS))
def test_the_manual_lists_every_setting_with_its_default(task: str, trainer: str) -> None:
    page = (MANUAL / ("generate.md" if task == "generate" else "train.md")).read_text()
    for setting in settings.of(task, trainer):
        default = str(setting.default).lower() if setting.kind == "truth" else str(setting.default)
        assert f"| `{setting.name}` | {default} |" in page, f"{trainer}: {setting.name}"
