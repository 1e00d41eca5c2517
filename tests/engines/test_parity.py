"""An engine is held against the evidence of the card; what is different is named."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosting import Signed, host_arguments, write_evidence, write_signed
from learning import inbox, loans, model_files, service, train

from freehold.engines import parity, probes
from freehold.engines.fake_generator import FakeGenerator
from freehold.engines.host import main, read_public
from freehold.engines.onnx import OnnxEngine
from freehold.engines.package import about_of
from freehold.engines.parity import Difference, NoEvidence, OtherThanEvaluated
from freehold.errors import Tampered
from freehold.spec.ids import canonical
from freehold.spec.model import About, Manifest
from freehold.spec.snapshot import Column
from freehold.store.signing import SignatureWrong, sign

Evidence = dict[str, Any]


@pytest.fixture(scope="module", params=["text", "columns"])
def signed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Signed:
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "text":
        return write_signed(root / "m", model_files(train(root / "job", service(), inbox())))
    asked = service(task="tabular", trainer="boosting", features=("income", "years", "home", "owner"))
    return write_signed(root / "m", model_files(train(root / "job", asked, loans())))


def files_of(signed: Signed) -> dict[str, bytes]:
    return {
        p.relative_to(signed.folder).as_posix(): p.read_bytes()
        for p in signed.folder.rglob("*")
        if p.is_file()
    }


def engine_of(signed: Signed) -> OnnxEngine:
    files = files_of(signed)
    return OnnxEngine.load(about_of(files), files)


@pytest.fixture
def evidence(signed: Signed) -> Evidence:
    return parity.evidence(engine_of(signed), signed.manifest)


def test_the_engine_that_was_evaluated_passes(signed: Signed, evidence: Evidence) -> None:
    assert parity.check(engine_of(signed), signed.manifest, evidence) == ()
    assert parity.prove(engine_of(signed), signed.manifest, evidence) == len(evidence["probes"]) >= 8


def test_evidence_is_canonical_and_the_same_every_time(signed: Signed, evidence: Evidence) -> None:
    again = parity.evidence(engine_of(signed), signed.manifest)
    assert canonical(json.loads(json.dumps(evidence))) == canonical(again)


def test_probes_are_sentences_of_ours_and_examples_and_no_row(signed: Signed, evidence: Evidence) -> None:
    about = signed.manifest.about
    example = probes.neutral(about)[1]
    with_example = parity.evidence(engine_of(signed), signed.manifest, [example])
    assert len(with_example["probes"]) == len(evidence["probes"]) + 1
    texts = {c for probe in evidence["probes"] for c in probe["ask"].values() if isinstance(c, str)}
    assert texts <= {"", *probes.TEXTS}


@pytest.mark.parametrize("off", [2e-6, -0.3])
def test_an_answer_beyond_the_tolerance_is_refused_by_its_number(
    signed: Signed, evidence: Evidence, off: float
) -> None:
    probe = evidence["probes"][2]
    probe["probabilities"][0] = repr(float(probe["probabilities"][0]) + off)
    (found,) = parity.check(engine_of(signed), signed.manifest, evidence)
    assert found.name == "answers"
    assert found.why.startswith("probe 3 of 9 is off by")


def test_another_class_is_refused(signed: Signed, evidence: Evidence) -> None:
    others = [name for name in signed.manifest.about.classes if name != evidence["probes"][0]["class"]]
    evidence["probes"][0]["class"] = others[0]
    with pytest.raises(OtherThanEvaluated) as refused:
        parity.prove(engine_of(signed), signed.manifest, evidence)
    assert refused.value.why == "answers: probe 1 of 9 has another class"


def test_numbers_that_are_none_are_no_match(signed: Signed, evidence: Evidence) -> None:
    evidence["probes"][0]["probabilities"][-1] = "nan"
    assert parity.check(engine_of(signed), signed.manifest, evidence)


def test_evidence_without_a_probe_proves_nothing(signed: Signed, evidence: Evidence) -> None:
    evidence["probes"] = []
    assert parity.check(engine_of(signed), signed.manifest, evidence)[0].why == "the evidence holds no probe"


def test_each_part_that_differs_is_named(signed: Signed, evidence: Evidence) -> None:
    flags = {**signed.manifest.engine_flags, "features": "9"}
    other = replace(signed.manifest, engine="onnxruntime 9.9", engine_flags=flags)
    (found,) = parity.check(engine_of(signed), other, evidence)
    assert found.name == "engine"
    assert "here is onnxruntime 9.9, features 9" in found.why
    shuffled = replace(signed.manifest.about, classes=tuple(reversed(signed.manifest.about.classes)))
    (found,) = parity.check(engine_of(signed), replace(signed.manifest, about=shuffled), evidence)
    assert found.name == "weights"


# -- a generator's ----------------------------------------------------------------------------------


def writer(**features: Any) -> tuple[FakeGenerator, Manifest]:
    about = About(
        task="generate", trainer="lora", inputs=(Column(name="text", datatype="BYTES"),), classes=(),
        data="d@1", data_digest="sha256:" + "0" * 64, run="", features={"end_tokens": [0], **features},
    )  # fmt: skip
    manifest = Manifest(
        model="m", name="letters", version=1, files=(), about=about, engine="fake 1", engine_flags={}
    )
    return FakeGenerator(about), manifest


def shifted(evidence: Evidence, place: int, by: float, token: int | None = None) -> Evidence:
    """The evidence with another log-probability, and perhaps token, at one place of the second probe."""
    changed = copy.deepcopy(evidence)
    probe = changed["probes"][1]
    probe["logprobs"][place] = repr(float(probe["logprobs"][place]) + by)
    if token is not None:
        probe["tokens"][place] = token
    return changed


def test_a_generator_is_held_against_its_tokens_and_their_probabilities() -> None:
    generator, manifest = writer()
    evidence = parity.evidence(generator, manifest)
    assert len(evidence["probes"]) >= 8
    assert parity.check(generator, manifest, evidence) == ()
    assert parity.check(generator, manifest, shifted(evidence, 2, 0.0009)) == ()
    (found,) = parity.check(generator, manifest, shifted(evidence, 2, 0.01))
    assert found == Difference(
        name="answers", why="probe 2 of 8 is off by 1.0e-02 at token 3, 1e-03 is allowed"
    )


def test_a_tie_may_go_either_way_and_ends_the_comparison() -> None:
    """Two tokens as likely as the tolerance can tell: another processor may take the other one."""
    generator, manifest = writer()
    evidence = shifted(parity.evidence(generator, manifest), 2, 0.0005, token=7)
    evidence["probes"][1]["tokens"][3:] = [1, 1]
    assert parity.check(generator, manifest, evidence) == ()


def test_another_token_that_is_no_tie_is_refused() -> None:
    generator, manifest = writer()
    assert parity.check(generator, manifest, shifted(parity.evidence(generator, manifest), 0, -0.5, token=7))


def test_an_answer_of_another_length_is_refused() -> None:
    generator, manifest = writer()
    evidence = parity.evidence(generator, manifest)
    for name in ("tokens", "logprobs"):
        evidence["probes"][4][name] = evidence["probes"][4][name][:3]
    (found,) = parity.check(generator, manifest, evidence)
    assert found.why == "probe 5 of 8 has another length"


def test_other_end_tokens_or_another_base_are_named() -> None:
    generator, manifest = writer(base="sha256:" + "1" * 64)
    evidence = parity.evidence(generator, manifest)
    _, without = writer(base="sha256:" + "1" * 64, end_tokens=[])
    _, elsewhere = writer(base="sha256:" + "2" * 64)
    assert str(parity.check(generator, without, evidence)[0]) == "end token: evaluated with 0, here is none"
    assert parity.check(generator, elsewhere, evidence)[0].name == "weights"


# -- the engine process -------------------------------------------------------------------------------


def _remove(path: Path, _key: Ed25519PrivateKey) -> None:
    path.unlink()


def _say_null(path: Path, _key: Ed25519PrivateKey) -> None:
    path.write_text("null")


def _sign_by_another(path: Path, _key: Ed25519PrivateKey) -> None:
    said = json.loads(path.read_text())
    other = Ed25519PrivateKey.generate()
    payload = base64.b64decode(said["payload"])
    path.write_text(json.dumps(sign(other, parity.EVIDENCE_TYPE, payload).as_json()))


def _said(path: Path) -> Any:
    return json.loads(base64.b64decode(json.loads(path.read_text())["payload"]))


def _of_another_answer(path: Path, key: Ed25519PrivateKey) -> None:
    said = _said(path)
    said["parity"]["probes"][4]["probabilities"][0] = "0.9"
    path.write_text(json.dumps(sign(key, parity.EVIDENCE_TYPE, canonical(said)).as_json()))


def _of_other_weights(path: Path, key: Ed25519PrivateKey) -> None:
    said = _said(path)
    said["parity"]["parts"]["weights"] = "sha256:" + "3" * 64
    path.write_text(json.dumps(sign(key, parity.EVIDENCE_TYPE, canonical(said)).as_json()))


def _of_another_digest(path: Path, key: Ed25519PrivateKey) -> None:
    said = _said(path)
    said["serving_digest"] = "sha256:" + "4" * 64
    path.write_text(json.dumps(sign(key, parity.EVIDENCE_TYPE, canonical(said)).as_json()))


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (_remove, "its signed evidence is missing"),
        (_say_null, "its signed evidence is missing"),
        (_sign_by_another, "signed by another key, or changed"),
        (_of_another_answer, "answers: probe 5 of 9"),
        (_of_other_weights, "weights: evaluated with sha256:33333"),
        (_of_another_digest, "about another model"),
    ],
)
def test_the_process_starts_only_on_evidence_that_holds(
    plant: Callable[[Path, Ed25519PrivateKey], None],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    models: dict[str, bytes],
) -> None:
    key = Ed25519PrivateKey.generate()
    signed = write_signed(tmp_path / "m", models, key=key)
    plant(signed.evidence, key)
    assert main(host_arguments(signed, tmp_path / "e.sock")) == Tampered.exit_code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "e.sock").exists()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return model_files(train(tmp_path_factory.mktemp("t") / "job", service(), inbox()))


def test_evidence_is_read_as_what_it_was_signed_for(tmp_path: Path, models: dict[str, bytes]) -> None:
    key = Ed25519PrivateKey.generate()
    signed = write_signed(tmp_path / "m", models, key=key)
    found = parity.read(signed.evidence, read_public(signed.public), signed.manifest)
    assert found["parts"] == parity.parts(signed.manifest)
    with pytest.raises(SignatureWrong):
        parity.read(signed.envelope, read_public(signed.public), signed.manifest)
    with pytest.raises(NoEvidence):
        parity.read(tmp_path / "nothing", read_public(signed.public), signed.manifest)
    write_evidence(signed.evidence, signed.manifest, models, key)
