"""Text to tokens and back: one reading of tokenizer and chat template, in training and in serving.

The template is Jinja in a sandbox, set up as transformers sets it up, but for the clock: a template
that writes the date would make another prompt tomorrow than the one that was evaluated today.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from tokenizers import Tokenizer

from freehold.engines.generation import Message
from freehold.engines.protocol import CannotAnswer, ModelUnreadable
from freehold.spec.ids import digest_bytes

TOKENIZER, TOKENIZER_CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
ROLES = ("system", "user", "assistant")


class ChatText:
    """The tokenizer and the chat template of one model. Several threads may use it."""

    def __init__(
        self, tokenizer: Tokenizer, words: Mapping[str, str], template: str, digests: Digests
    ) -> None:
        self._tokenizer = tokenizer
        self._words = words
        self._template = _compiled(template)
        self.digests = digests
        added = tokenizer.get_added_tokens_decoder()
        self.special = {id: token.content for id, token in added.items() if token.special}
        self.size: int = max(tokenizer.get_vocab().values(), default=-1) + 1
        """Ids stand below this."""
        self._byte_level, self.blank_first = _decoding(tokenizer)

    @classmethod
    def open(cls, files: Mapping[str, bytes]) -> Self:
        """From the files of a model. Raises ModelUnreadable."""
        try:
            tokenizer = Tokenizer.from_str(files[TOKENIZER].decode())
            config = json.loads(files.get(TOKENIZER_CONFIG, b"{}"))
            template = files[TEMPLATE].decode()
        except KeyError as missing:
            raise ModelUnreadable(why=f"`{missing.args[0]}` is missing") from None
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelUnreadable(why="its tokenizer cannot be read") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        digests = Digests(digest_bytes(files[TOKENIZER]), digest_bytes(files[TEMPLATE]))
        return cls(tokenizer, _special_words(config), template, digests)

    def render(self, messages: Sequence[Message], *, prompting: bool = True) -> str:
        """A conversation as the model reads it; `prompting` ends it where the answer begins.

        Raises CannotAnswer when the template refuses it, or when a message holds one of the words by
        which the template marks turns: its writer could speak in another role.
        """
        from jinja2 import TemplateError

        for message in messages:
            self.refuse_marks(message["content"])
        try:
            told = [dict(message) for message in messages]
            return str(self._template.render(messages=told, add_generation_prompt=prompting, **self._words))
        except TemplateError as error:
            raise CannotAnswer(why=f"the model's template refuses it: {str(error)[:200]}") from error
        except Exception as error:  # a template may fail in any way that Python can
            raise CannotAnswer(why="the model's template cannot write it") from error

    def refuse_marks(self, text: str) -> None:
        """Raise CannotAnswer for a text that holds a special token."""
        for mark in self.special.values():
            if mark and mark in text:
                raise CannotAnswer(
                    why=f"a message holds `{mark}`, by which the model tells turns apart",
                    hint="write it differently: no message may pretend to be another one's",
                )

    def encode(self, text: str, *, raw: bool = False) -> list[int]:
        """Tokens of a rendered conversation; `raw` text gets the marks its tokenizer puts around it."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=raw).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special ones; bytes that are no character become U+FFFD."""
        text = b"".join(self.bytes_of(id) for id in ids if id not in self.special).decode("utf-8", "replace")
        return text.removeprefix(" ") if self.blank_first else text

    def bytes_of(self, id: int) -> bytes:
        """The bytes of one token, which may be a part of a character only; none for one it does not know."""
        if id in self.special:
            return self.special[id].encode()
        word = self._tokenizer.id_to_token(id)
        if word is None:
            return b""
        if self._byte_level:
            return bytes(_BYTES[c] for c in word) if all(c in _BYTES for c in word) else word.encode()
        if len(word) == 6 and word.startswith("<0x") and word.endswith(">"):
            return bytes([int(word[3:5], 16)])
        return word.replace("▁", " ").encode()


@dataclass(frozen=True, slots=True)
class Digests:
    """What the tokens of a prompt follow from, besides the words in it."""

    tokenizer: str
    template: str


def _decoding(tokenizer: Tokenizer) -> tuple[bool, bool]:
    """Whether words are written in byte letters, and whether a text begins with a blank that is none.

    Raises ModelUnreadable for a way of decoding that needs more than one token at a time.
    """
    decoder = json.loads(tokenizer.to_str()).get("decoder") or {}
    steps = {step.get("type"): step for step in decoder.get("decoders", [decoder])}
    if strange := sorted(str(kind) for kind in steps if kind not in _DECODERS):
        raise ModelUnreadable(why=f"its tokenizer decodes by `{strange[0]}`, which this engine does not know")
    metaspace = steps.get("Metaspace", {}).get("prepend_scheme", "never") != "never"
    return "ByteLevel" in steps, metaspace or bool(steps.get("Strip", {}).get("start"))


_DECODERS = frozenset(("ByteLevel", "Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"))


def _special_words(config: Mapping[str, Any]) -> dict[str, str]:
    """`bos_token` and its like, which templates write out."""
    words: dict[str, str] = {}
    for name, said in config.items():
        if name.endswith("_token"):
            text = said.get("content") if isinstance(said, dict) else said
            if isinstance(text, str):
                words[name] = text
    return words


def _compiled(template: str) -> Any:
    """Raises ModelUnreadable."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    world = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"], autoescape=False
    )
    world.filters["tojson"] = _to_json
    world.globals["raise_exception"] = _refuse
    try:
        return world.from_string(template)
    except TemplateError as error:
        raise ModelUnreadable(why=f"its chat template cannot be read: {str(error)[:200]}") from error


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """Unlike Jinja's own, which escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(str(message))


def _letters() -> dict[str, int]:
    """How byte-level vocabularies write the 256 bytes as letters (Radford et al. 2019, GPT-2)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


_BYTES = _letters()
