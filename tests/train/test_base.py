"""What may become a base model, and what is refused, each with what to do about it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import bases
import numpy as np
import pytest
from learning import inbox

from freehold.train.base import BaseUnusable, LicenceNotAllowed, LicenceUnknown, check

TEXTS = inbox()["text"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bases.encoder(tmp_path / "tiny", TEXTS)


def refusal(folder: Path, **words: Any) -> str:
    with pytest.raises(BaseUnusable) as refused:
        check(folder, **words)
    return f"{refused.value}"


def test_a_folder_is_known_by_its_weights_config_and_tokenizer(folder: Path) -> None:
    checked = check(folder)
    assert [entry.path for entry in checked.files] == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip
    assert checked.left_out == ()
    assert checked.card
    assert checked.card.path == "README.md"
    assert (checked.facts.role, checked.facts.model_type) == ("encoder", "bert")
    assert (checked.facts.hidden, checked.facts.layers, checked.facts.longest) == (32, 2, 64)
    assert checked.facts.parameters > 10_000
    assert (checked.facts.licence, checked.facts.licence_from) == ("apache-2.0", "card")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_another_byte_in_any_part_is_another_digest(folder: Path, name: str) -> None:
    before = check(folder).digest
    data = (folder / name).read_bytes()
    changed = data[:-1] + bytes([data[-1] ^ 1]) if name.endswith("tensors") else data + b"\n"
    (folder / name).write_bytes(changed)
    assert check(folder).digest != before


def test_its_name_and_its_card_do_not_change_its_digest(folder: Path) -> None:
    before = check(folder).digest
    other = folder.rename(folder.with_name("other"))
    (other / "README.md").write_text(bases.CARD + "more words")
    assert check(other).digest == before


def test_a_template_is_part_of_what_it_is(tmp_path: Path) -> None:
    with_template = check(bases.causal(tmp_path / "one", TEXTS))
    without = check(bases.causal(tmp_path / "two", TEXTS, template=None))
    assert with_template.facts.role == "causal"
    assert with_template.facts.template
    assert without.facts.template is None
    assert with_template.digest != without.digest


# -- formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch_model.bin", "extra.pkl", "sub/old.pt", "training_args.bin"])
def test_a_pickle_is_refused_by_its_name(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"anything")
    assert "runs code when it is opened" in refusal(folder)


@pytest.mark.parametrize("begins", [pickle.dumps({"a": 1}), b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl"])
def test_a_pickle_is_refused_by_its_content_whatever_it_is_called(folder: Path, begins: bytes) -> None:
    (folder / "vocab.txt").write_bytes(begins)
    assert "`vocab.txt` is a Python pickle" in refusal(folder)


def test_weights_that_are_no_safetensors_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights as safetensors" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data[:-4], "longer or shorter"),
        (lambda data: data + b"\0\0\0\0", "longer or shorter"),
        (lambda data: data[:3], "does not fit"),
        (lambda data: (2**60).to_bytes(8, "little") + data[8:], "does not fit"),
        (lambda data: data[:8] + b"[" + data[9:], "no JSON"),
        (lambda data: data.replace(b'"F32"', b'"F99"', 1), "not described"),
        (lambda data: data.replace(b'"F32"', b'"F16"', 1), "another size"),
    ],
)
def test_a_damaged_safetensors_file_is_told_as_such(folder: Path, change: Any, why: str) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    assert why in refusal(folder)


def test_bytes_hidden_between_tensors_are_found(folder: Path) -> None:
    head = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 8)
    assert "gap" in refusal(folder)


# -- links and code ---------------------------------------------------------------------------------


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    (folder / "generation_config.json").symlink_to(tmp_path / "secret")
    assert "leads out of the folder" in refusal(folder)


def test_a_link_within_the_folder_is_the_file_it_names(folder: Path) -> None:
    before = check(folder).digest
    (folder / "weights").mkdir()
    (folder / "model.safetensors").rename(folder / "weights" / "w.safetensors")
    (folder / "model.safetensors").symlink_to("weights/w.safetensors")
    assert check(folder).digest == before


def test_a_linked_folder_and_a_dangling_link_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "1_Pooling").symlink_to(tmp_path)
    assert "leads out" in refusal(folder)
    (folder / "1_Pooling").unlink()
    (folder / "merges.txt").symlink_to("nowhere")
    assert "leads out" in refusal(folder)


def test_what_is_no_plain_file_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "vocab.txt")
    assert "no plain file" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_never_run(folder: Path, name: str) -> None:
    said = json.loads((folder / name).read_text())
    said["nested"] = [{"auto_map": {"AutoModel": "modeling.Evil"}}]
    bases.write_json(folder / name, said)
    assert f"`{name}` names code of its own" in refusal(folder)


# -- config -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_config_that_cannot_be_read_is_told(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "`config.json` cannot be read" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"no `{name}`" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "whisper", "architectures": ["WhisperModel"]}, "nothing can be tuned"),
        ({"quantization_config": {"bits": 4}}, "quantized already"),
        ({"hidden_size": "wide"}, "`hidden_size`"),
        ({"model_type": 7}, "`model_type`"),
    ],
)
def test_a_config_nothing_can_be_made_of_is_refused(folder: Path, change: dict[str, Any], why: str) -> None:
    said = json.loads((folder / "config.json").read_text())
    bases.write_json(folder / "config.json", {**said, **change})
    assert why in refusal(folder)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")


# -- shards -----------------------------------------------------------------------------------------


@pytest.fixture
def sharded(folder: Path) -> Path:
    """The same weights in two files and an index."""
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    weights = bases.bert_weights(size, 32, 2, seed=3)
    (folder / "model.safetensors").unlink()
    names = list(weights)
    places: dict[str, str] = {}
    for number, part in enumerate((names[:10], names[10:]), start=1):
        shard = f"model-{number:05}-of-00002.safetensors"
        bases.write_safetensors(folder / shard, {name: weights[name] for name in part})
        places |= dict.fromkeys(part, shard)
    bases.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    return folder


def _index(folder: Path, **places: str | None) -> None:
    path = folder / "model.safetensors.index.json"
    said = json.loads(path.read_text())["weight_map"]
    said = {name: shard for name, shard in {**said, **places}.items() if shard is not None}
    bases.write_json(path, {"weight_map": said})


def test_shards_count_as_one_model(sharded: Path, tmp_path: Path) -> None:
    whole = check(bases.encoder(tmp_path / "whole", TEXTS))
    assert check(sharded).facts.parameters == whole.facts.parameters


@pytest.mark.parametrize(
    ("places", "why"),
    [
        ({"embeddings.LayerNorm.bias": "model-00002-of-00002.safetensors"}, "and it is not"),
        ({"not.there": "model-00001-of-00002.safetensors"}, "and it is not"),
        ({"embeddings.LayerNorm.bias": "../../outside.safetensors"}, "and it is not"),
        ({"embeddings.LayerNorm.bias": None}, "does not name"),
    ],
)
def test_an_index_that_is_wrong_is_refused(sharded: Path, places: dict[str, str | None], why: str) -> None:
    _index(sharded, **places)
    assert why in refusal(sharded)


def test_a_missing_shard_and_a_second_set_of_weights_are_refused(sharded: Path) -> None:
    shutil.copy(sharded / "model-00001-of-00002.safetensors", sharded / "model.safetensors")
    assert "there twice" in refusal(sharded)
    (sharded / "model.safetensors").unlink()
    (sharded / "model-00002-of-00002.safetensors").unlink()
    assert "and it is not" in refusal(sharded)


def test_shards_without_an_index_are_refused(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    assert "index is missing" in refusal(sharded)


# -- licence ----------------------------------------------------------------------------------------


def test_without_a_licence_there_is_no_base(folder: Path) -> None:
    (folder / "README.md").unlink()
    with pytest.raises(LicenceUnknown) as refused:
        check(folder)
    assert "--license" in refused.value.hint
    said = check(folder, licence="MIT").facts
    assert (said.licence, said.licence_from) == ("mit", "given")


def test_a_licence_that_is_not_allowed_is_refused_until_the_house_allows_it(folder: Path) -> None:
    (folder / "README.md").write_text("---\ntags: [a]\nlicense: llama3\n---\n")
    with pytest.raises(LicenceNotAllowed, match="llama3"):
        check(folder)
    assert check(folder, allowed=("llama3",)).facts.licence == "llama3"
    assert check(folder, allowed=None).facts.licence == "llama3"


def test_nobody_talks_a_card_into_another_licence(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: llama3\n---\n")
    with pytest.raises(LicenceUnknown, match="tiny") as refused:
        check(folder, licence="mit")
    assert "its card says `llama3`" in refused.value.why


@pytest.mark.parametrize("line", ["license: mit", "license: [mit]", 'license: "MIT"', "license:\n- mit"])
def test_cards_write_their_licence_in_more_than_one_way(folder: Path, line: str) -> None:
    (folder / "README.md").write_text(f"---\n{line}\n---\n# words\nlicense: apache-2.0\n")
    if "\n" in line:  # a list over several lines is not read: then the person has to say it
        with pytest.raises(LicenceUnknown):
            check(folder)
    else:
        assert check(folder).facts.licence == "mit"


def test_weights_of_other_types_are_counted_and_named(folder: Path) -> None:
    head = {"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}
    text = json.dumps(head).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
    facts = check(folder).facts
    assert (facts.parameters, facts.precision) == (6, "BF16")
    bases.write_safetensors(folder / "model.safetensors", {"a": np.zeros((2, 2), np.float32)})
    assert check(folder).facts.precision == "F32"
