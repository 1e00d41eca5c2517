"""An engine that does not answer as in training does not start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hosting import write_signed
from learning import inbox, model_files, service, train

from freehold.engines.host import open_engine, read_envelope, read_public
from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of, read_verified
from freehold.engines.probes import AnswersDiffer, prove
from freehold.engines.protocol import ModelUnreadable
from freehold.spec.service import Example


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    example = Example(ask={"text": "my cellar is wet"}, expect={"class": "water"})
    return model_files(train(tmp_path_factory.mktemp("t") / "job", service(examples=(example,)), inbox()))


def test_the_engine_answers_its_probes_as_training_did(files: dict[str, bytes]) -> None:
    assert prove(OnnxEngine.load(about_of(files), files), files) == 2


def test_a_probe_of_another_class_is_refused_by_its_number(files: dict[str, bytes]) -> None:
    probes = json.loads(files["probes.json"])
    probes[1]["class"] = "travel"
    changed = {**files, "probes.json": json.dumps(probes).encode()}
    with pytest.raises(AnswersDiffer) as refused:
        prove(OnnxEngine.load(about_of(files), files), changed)
    assert refused.value.why == "probe 2 of 2 has another class"


def test_a_properly_signed_model_with_another_vocabulary_does_not_start(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    """Signature and digests hold; the model is still not the one whose answers were evaluated."""
    words = files["words.txt"].decode().split("\n")
    changed = {**files, "words.txt": "\n".join(words[::-1]).encode()}
    signed = write_signed(tmp_path / "m", changed)
    package = read_verified(signed.folder, read_envelope(signed.envelope), read_public(signed.public))
    with pytest.raises(AnswersDiffer):
        open_engine(package)


@pytest.mark.parametrize("damage", ["model.onnx", "words.txt"])
def test_files_that_do_not_fit_together_are_told(files: dict[str, bytes], damage: str) -> None:
    without = {name: data for name, data in files.items() if name != damage}
    with pytest.raises(ModelUnreadable):
        OnnxEngine.load(about_of(files), without)


def test_a_broken_graph_is_told(files: dict[str, bytes]) -> None:
    with pytest.raises(ModelUnreadable):
        OnnxEngine.load(about_of(files), {**files, "model.onnx": files["model.onnx"][:200]})
