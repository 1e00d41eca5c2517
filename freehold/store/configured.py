"""The freehold.yaml of an installation: the one in its folder, or the one it was started with.

Loads no database driver: the supervisor reads it, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from freehold.errors import Unavailable
from freehold.spec.config import Config
from freehold.store.home import Home, write_atomically


class NotReadable(Unavailable):
    """`{path}` cannot be read"""


def read_config(path: Path) -> Config:
    """`freehold.yaml`, or every default when there is none. Raises what `spec.reading` raises."""
    from freehold.spec.reading import read_config as read

    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise NotReadable(path=path, why=str(error)) from error
    return read(text)


def remember_config(home: Home, path: Path) -> None:
    """Note which freehold.yaml this installation was started with, where it is not the one in its folder."""
    if path.resolve() == home.config.resolve():
        home.configured.unlink(missing_ok=True)
    elif path.resolve() != config_of(home):
        write_atomically(home.configured, str(path.resolve()).encode())


@contextmanager
def remembering(home: Home, path: Path) -> Iterator[None]:
    """`remember_config`, unless what is done with it fails: then it is as it was before.

    A control that could not begin must not leave its configuration to the ones that run.
    """
    before = home.configured.read_bytes() if home.configured.exists() else None
    remember_config(home, path)
    try:
        yield
    except BaseException:
        if before is None:
            home.configured.unlink(missing_ok=True)
        else:
            write_atomically(home.configured, before)
        raise


def config_of(home: Home) -> Path:
    """The freehold.yaml this installation is started with."""
    try:
        return Path(home.configured.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return home.config
