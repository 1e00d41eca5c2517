"""Files that commands read, and write where they are told to: told in words when it fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

from freehold.errors import BadInput
from freehold.store.home import DiskFull


class NotWritable(BadInput):
    """`{file}` cannot be written"""


class NotText(BadInput):
    """`{file}` is no text"""


def text_in(file: IO[str]) -> str:
    """All of it. Raises NotText."""
    try:
        return file.read()
    except UnicodeDecodeError as error:
        why, hint = "it holds bytes that are not UTF-8", "is it another file? else save it as UTF-8"
        raise NotText(file=getattr(file, "name", "-"), why=why, hint=hint) from error


def refuse_unwritable(*files: str | Path | None) -> None:
    """Now, not after minutes of work or what nobody takes back. Raises NotWritable."""
    for file in files:
        if not file:
            continue
        folder = Path(file).absolute().parent
        if not folder.is_dir():
            raise NotWritable(file=file, why="its folder is not there", hint="make the folder first")
        if not os.access(file if Path(file).exists() else folder, os.W_OK):
            raise NotWritable(
                file=file, why="it is not yours to write", hint="name a file in a folder of yours"
            )


def write(file: str | Path, text: str) -> None:
    """Write a file, or over it. Raises NotWritable, DiskFull."""
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(why=f"`{file}` was not written whole", hint="free some space") from error
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise NotWritable(file=file, why=why, hint="name a file in a folder of yours") from error
