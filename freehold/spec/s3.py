"""Where objects lie in S3, as one line says it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from freehold.errors import BadInput

SCHEME = "s3://"
_OPTIONS = ("endpoint", "region")
_SHAPE = "s3://BUCKET/PREFIX?endpoint=https://s3.example.org; credentials are never part of it"


class NotAnAddress(BadInput):
    """`{text}` is no place in S3"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bucket, and the prefix in it that is ours."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def folder(self) -> Place:
        """What stands before the last `/`."""
        return replace(self, prefix=self.prefix.rpartition("/")[0])

    @property
    def name(self) -> str:
        """What stands behind the last `/`."""
        return self.prefix.rpartition("/")[2]


def place(text: str) -> Place:
    """`s3://BUCKET/PREFIX?endpoint=URL&region=NAME`, read. Raises NotAnAddress."""
    try:
        parts = urlsplit(text)
    except ValueError as error:  # brackets without an address in them, letters that stand for others
        raise NotAnAddress(
            text="s3://…" if "@" in text else text.split("?")[0][:120],
            why="its bucket cannot be read",
            hint=_SHAPE,
        ) from error
    try:
        asked = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        asked = {"?": ""}
    wrong = sorted(set(asked).difference(_OPTIONS))
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or wrong:
        raise NotAnAddress(
            text=text.split("?")[0][:120] if "@" not in parts.netloc else "s3://…",
            why=f"`{wrong[0][:20]}` is not known there" if wrong else "it has no bucket, or holds a secret",
            hint=_SHAPE,
        )
    return Place(bucket=parts.netloc, prefix=parts.path.strip("/"), **asked)
