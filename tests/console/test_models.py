"""Models in the browser: the tree, and one version with its card."""

from __future__ import annotations

from typing import Any

from tests.console.conftest import words_of
from tests.support.line import Line


def test_without_models_the_page_says_which_commands_bring_some(at: Any) -> None:
    assert "freehold apply service.yaml" in at("aud").get("/models").text


def test_a_version_shows_its_card_who_approved_and_where_it_serves(line: Line, at: Any) -> None:
    line.live()
    assert "claims-triage@1 approved · serves now" in words_of(at("aud").get("/models").text)
    page = words_of(at("aud").get("/models/claims/claims-triage@1").text)
    assert "claims-triage live 100 %" in page
    assert f"model-risk given {line.ids['ann']}" in page
    assert "accuracy 0.911 (0.880 to 0.930)" in page
    assert "model.onnx" in page


def test_another_project_s_model_is_not_there(line: Line, at: Any) -> None:
    line.model()
    assert at("eve").get("/models/claims/claims-triage@1").status_code == 404
    assert "claims-triage" not in at("eve").get("/models").text
    assert at("aud").get("/models/claims/claims-triage@9").status_code == 404
