"""Base models: what a folder must be before anything is tuned from it.

Weights in safetensors alone, never in a format that runs code when opened; no code of their own beside
them; a licence that is allowed. Looked at twice: where the command runs, so that nothing is sent in
vain, and again in control, which believes nobody.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal

from freehold.errors import BadInput
from freehold.spec.base import BaseFacts, base_digest
from freehold.spec.model import FileEntry
from freehold.train.safetensors import Tensor, check_index, read_head

LICENCES = (
    "0bsd", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc0-1.0", "cdla-permissive-2.0",
    "isc", "mit", "unlicense", "zlib",
)  # fmt: skip
"""Permissive ones, as SPDX writes them in lower case. `base_licences` in freehold.yaml adds more."""

ENCODERS = ("bert", "roberta", "xlm-roberta")
"""Families a classifier can be tuned from: those whose graph is written here (train.encoder_graph)."""

INDEX = "model.safetensors.index.json"
CARD = "README.md"

_KEPT = re.compile(
    r"^(model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json"
    r"|added_tokens\.json|vocab\.(txt|json)|merges\.txt|chat_template\.jinja"
    r"|modules\.json|sentence_bert_config\.json|1_Pooling/config\.json)$"
)
_PICKLES = re.compile(r"(\.(pt|pth|pkl|pickle|ckpt|joblib)|(^|/)(pytorch_model.*|training_args)\.bin)$", re.I)
_MAGIC = re.compile(rb"^(\x80[\x02-\x05]|PK\x03\x04.{0,200}data\.pkl)", re.DOTALL)
_MAX_JSON = 100_000_000
_FEWEST_HINT = "save it with `save_pretrained(FOLDER)`: that writes safetensors and tokenizer.json"


class BaseUnusable(BadInput):
    """`{folder}` cannot be a base model"""


class LicenceUnknown(BadInput):
    """the licence of `{folder}` is not known"""


class LicenceNotAllowed(BadInput):
    """`{folder}` may not be used under the licence `{licence}`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A folder that can be a base."""

    folder: Path
    files: tuple[FileEntry, ...]
    """What is kept, by path."""
    facts: BaseFacts
    card: FileEntry | None
    """Its README.md, which may name the licence; not part of what it is."""
    left_out: tuple[str, ...]
    """Files that are not needed and not kept."""

    @property
    def digest(self) -> str:
        """Of everything that is kept."""
        return base_digest(self.files)


def check(folder: Path, *, licence: str = "", allowed: Iterable[str] | None = ()) -> Checked:
    """Look at a local folder in the layout of Hugging Face.

    `licence` is what the person says; its own card may say it instead. `allowed` adds to LICENCES; None
    leaves the judgement to somebody who knows more. Raises BaseUnusable, LicenceUnknown or LicenceNotAllowed.
    """
    found = dict(sorted(_walk(folder)))
    _refuse_pickles(folder, found)
    kept = {name: path for name, path in found.items() if _KEPT.fullmatch(name)}
    config = _config(folder, kept)
    _refuse_code(folder, kept)
    tensors = _tensors(folder, kept)
    word, whence = _licence(folder, found, licence, None if allowed is None else {*LICENCES, *allowed})
    files = tuple(_entry(name, path) for name, path in kept.items())
    digests = {entry.path: entry.digest for entry in files}
    return Checked(
        folder=folder,
        files=files,
        facts=_facts(folder, config, tensors, word, whence, digests, _template(kept, digests)),
        card=_entry(CARD, found[CARD]) if CARD in found else None,
        left_out=tuple(name for name in found if name not in kept and name != CARD),
    )


def _unusable(folder: Path, why: str, hint: str = "") -> BaseUnusable:
    return BaseUnusable(folder=folder.name, why=why, hint=hint)


# -- files ------------------------------------------------------------------------------------------


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Plain files by their relative names; hidden ones are no part of a model."""
    if not folder.is_dir():
        raise _unusable(folder, "there is no such folder", "name the folder that holds config.json")
    root = folder.resolve()
    for place, folders, names in os.walk(root, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (*folders, *names):
            path = Path(place) / name
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                _refuse_link(folder, root, path, relative)
            if name in names and not name.startswith("."):
                if not stat.S_ISREG(path.stat().st_mode):
                    raise _unusable(folder, f"`{relative}` is no plain file")
                yield relative, path


def _refuse_link(folder: Path, root: Path, path: Path, relative: str) -> None:
    """A link to another file of the same folder is that file; any other could be anything."""
    target = path.resolve()
    if not target.is_relative_to(root) or not target.is_file():
        raise _unusable(
            folder,
            f"`{relative}` is a link that leads out of the folder",
            "copy the folder with `cp --recursive --dereference`, or fetch it with --hub",
        )


def _refuse_pickles(folder: Path, found: Mapping[str, Path]) -> None:
    """By name and by content: a pickle runs whatever it likes when it is opened."""
    for name, path in found.items():
        with path.open("rb") as file:
            begins = file.read(300)
        if _PICKLES.search(name) or _MAGIC.match(begins):
            raise _unusable(
                folder,
                f"`{name}` is a Python pickle, which runs code when it is opened",
                "remove it if the weights are there as safetensors too; else convert them first",
            )


def _entry(name: str, path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    return FileEntry(path=name, digest=f"sha256:{digest}", bytes=path.stat().st_size)


# -- contents ---------------------------------------------------------------------------------------


def _json(folder: Path, kept: Mapping[str, Path], name: str) -> dict[str, Any]:
    path = kept[name]
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ValueError("it is too large")
        said = json.loads(path.read_bytes())
        if not isinstance(said, dict):
            raise ValueError("it holds no object")
    except (ValueError, RecursionError) as error:
        raise _unusable(folder, f"`{name}` cannot be read: it is no JSON object of the usual size") from error
    return said


def _config(folder: Path, kept: Mapping[str, Path]) -> dict[str, Any]:
    for name in ("config.json", "tokenizer.json"):
        if name not in kept:
            raise _unusable(folder, f"it has no `{name}`", _FEWEST_HINT)
    config = _json(folder, kept, "config.json")
    if not isinstance(config.get("model_type"), str):
        raise _unusable(folder, "its config.json does not say its `model_type`")
    if "quantization_config" in config:
        raise _unusable(folder, "its weights are quantized already", "add the version it was made from")
    return config


def _refuse_code(folder: Path, kept: Mapping[str, Path]) -> None:
    """`auto_map` names Python files that a loader would run."""
    for name in kept:
        if name.endswith(".json") and name not in ("tokenizer.json", "vocab.json", INDEX):
            said = _json(folder, kept, name) if name != "modules.json" else {}
            if _names_code(said):
                raise _unusable(
                    folder,
                    f"its `{name}` names code of its own (`auto_map`), which is never run here",
                    "use a model whose architecture transformers has itself",
                )


def _names_code(said: Any) -> bool:
    if isinstance(said, dict):
        return "auto_map" in said or any(_names_code(inner) for inner in said.values())
    return isinstance(said, list) and any(_names_code(inner) for inner in said)


def _tensors(folder: Path, kept: Mapping[str, Path]) -> dict[str, Tensor]:
    """Every tensor, from one file or from the shards that an index names."""
    shards = [name for name in kept if name.endswith(".safetensors")]
    if not shards:
        raise _unusable(folder, "it has no weights as safetensors", _FEWEST_HINT)
    if (INDEX in kept) == ("model.safetensors" in shards) or (INDEX not in kept and len(shards) > 1):
        raise _unusable(
            folder,
            "its weights are there twice, or their index is missing",
            f"keep model.safetensors alone, or {INDEX} with the files it names",
        )
    heads = {name: _head(folder, name, kept[name]) for name in shards}
    if INDEX in kept:
        try:
            check_index(_json(folder, kept, INDEX), heads)
        except ValueError as error:
            raise _unusable(folder, f"its `{INDEX}` is wrong: {error}", "fetch it again") from error
    return {name: tensor for tensors in heads.values() for name, tensor in tensors.items()}


def _head(folder: Path, name: str, path: Path) -> dict[str, Tensor]:
    try:
        return read_head(path)
    except ValueError as error:
        raise _unusable(folder, f"`{name}` is no safetensors file: {error}", "fetch it again") from error


def _template(kept: Mapping[str, Path], digests: Mapping[str, str]) -> str | None:
    """The digest of where its chat template stands."""
    if "chat_template.jinja" in kept:
        return digests["chat_template.jinja"]
    if "tokenizer_config.json" in kept:
        said = json.loads(kept["tokenizer_config.json"].read_bytes())
        if said.get("chat_template"):
            return digests["tokenizer_config.json"]
    return None


def _facts(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    licence: str,
    whence: Literal["card", "given"],
    digests: Mapping[str, str],
    template: str | None,
) -> BaseFacts:
    kinds = {tensor.dtype for tensor in tensors.values() if "F" in tensor.dtype}
    return BaseFacts(
        role=_role(folder, config),
        model_type=config["model_type"],
        parameters=sum(tensor.elements for tensor in tensors.values()),
        hidden=_number(folder, config, "hidden_size", "n_embd", "dim"),
        layers=_number(folder, config, "num_hidden_layers", "n_layer", "n_layers"),
        vocabulary=_number(folder, config, "vocab_size"),
        longest=_number(folder, config, "max_position_embeddings", "n_positions", missing=0),
        precision=kinds.pop() if len(kinds) == 1 else "mixed",
        licence=licence,
        licence_from=whence,
        tokenizer=digests["tokenizer.json"],
        template=template,
    )


def _role(folder: Path, config: Mapping[str, Any]) -> Literal["encoder", "causal"]:
    """By what its architecture is called."""
    names = config.get("architectures") or []
    if any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "causal"
    if config["model_type"] in ENCODERS:
        return "encoder"
    raise _unusable(
        folder,
        f"nothing can be tuned from the family `{str(config['model_type'])[:40]}`",
        f"encoders are {', '.join(ENCODERS)}; generators are architectures that end in ForCausalLM",
    )


def _number(folder: Path, config: Mapping[str, Any], *names: str, missing: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40:
            return value
    if missing is None:
        raise _unusable(folder, f"its config.json does not say its `{names[0]}`")
    return missing


# -- licence ----------------------------------------------------------------------------------------


def _licence(
    folder: Path, found: Mapping[str, Path], given: str, allowed: set[str] | None
) -> tuple[str, Literal["card", "given"]]:
    """What its card says, else what the person says; where both speak they must agree."""
    own = _card_says(found[CARD]) if CARD in found else ""
    given = given.strip().lower()
    if own and given and own != given:
        raise LicenceUnknown(
            folder=folder.name,
            why=f"its card says `{own}`, you say `{given}`",
            hint="leave out --license: the card counts",
        )
    word = own or given
    if not word:
        raise LicenceUnknown(
            folder=folder.name,
            why="it has no README.md that names one, and you did not either",
            hint="find out, then say it: --license apache-2.0",
        )
    if allowed is not None and word not in allowed:
        raise LicenceNotAllowed(
            folder=folder.name,
            licence=word[:60],
            why=f"allowed are {', '.join(sorted(allowed))}",
            hint="if your house has decided to use it, add it to `base_licences` in freehold.yaml",
        )
    return word, "card" if own else "given"


def _card_says(card: Path) -> str:
    """`license:` in the front matter of a model card."""
    with card.open("rb") as file:
        text = file.read(100_000).decode("utf-8", "replace")
    front = re.match(r"^\s*---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    said = re.search(r"^license:\s*[\[\"']?\s*([A-Za-z0-9][\w.+-]*)", front[1], re.M) if front else None
    return said[1].lower() if said else ""
