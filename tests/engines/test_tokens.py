"""Text as tokens, in serving: an encoder's graph behind its own tokenizer. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import bases
import pytest
from learning import inbox

from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of
from freehold.engines.probes import SINGLE, TOLERANCE, tolerance
from freehold.engines.protocol import ModelUnreadable
from freehold.engines.tokens import TokenFeatures

TEXTS = inbox(60)["text"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return bases.tuned_classifier(tmp_path_factory.mktemp("base") / "tiny", TEXTS)


def engine(files: dict[str, bytes]) -> OnnxEngine:
    return OnnxEngine.load(about_of(files), files)


def test_a_batch_is_bit_for_bit_its_rows_one_by_one(files: dict[str, bytes]) -> None:
    model = engine(files)
    together = model.infer({"text": TEXTS[:9]}).probabilities
    assert together == tuple(model.infer({"text": [text]}).probabilities[0] for text in TEXTS[:9])


def test_any_text_is_answered(files: dict[str, bytes]) -> None:
    said = engine(files).infer({"text": ["", None, "水 🌊 عربى", "\ud800 lone", "x" * 100_000, "[SEP]"]})
    assert all(abs(sum(row) - 1) < 1e-9 for row in said.probabilities)
    assert said.cut == 1


def test_a_mark_in_a_text_is_a_word_and_no_mark(files: dict[str, bytes]) -> None:
    features = TokenFeatures.of(files["tokenizer.json"], 16)
    plain, marked = features.read("burst pipe"), features.read("burst [SEP] pipe")
    assert list(marked).count(3) == list(plain).count(3) == 1


def test_its_answers_may_differ_as_much_as_single_precision_does(files: dict[str, bytes]) -> None:
    about = about_of(files)
    assert tolerance(about) == SINGLE > TOLERANCE


@pytest.mark.parametrize("change", ["no tokenizer", "half a tokenizer", "another library"])
def test_a_tokenizer_that_is_not_the_one_of_training_is_refused(files: dict[str, bytes], change: str) -> None:
    other = dict(files)
    if change == "no tokenizer":
        del other["tokenizer.json"]
    if change == "half a tokenizer":
        other["tokenizer.json"] = files["tokenizer.json"][:100]
    if change == "another library":
        said = json.loads(files["about.json"])
        said["features"]["tokenizers"] = "0.0.1"
        other["about.json"] = json.dumps(said).encode()
    with pytest.raises(ModelUnreadable):
        engine(other)


def test_a_long_text_is_cut_where_the_model_stops_reading(files: dict[str, bytes], tmp_path: Path) -> None:
    features = TokenFeatures.of(files["tokenizer.json"], 16)
    assert len(features.read("water " * 50)) == 16
    assert features.is_cut("water " * 50)
    assert not features.is_cut("water")
