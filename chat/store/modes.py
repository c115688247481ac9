"""Nobody but the user of the server gets at its files: whose they are, and what others may do with them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Iterator

from chat.errors import StartError
from chat.store.layout import LOCK, NAMES, path

#: What SQLite keeps beside a file while it is open, or a crash leaves there.
BESIDE = ("-wal", "-shm", "-journal")


def check_owner(file: Path) -> None:
    """Make sure that this belongs to the user that the server runs as: its owner can always get at it.

    @raise StartError: it does not.
    """
    if os.name == "posix":
        owner, user = file.stat().st_uid, os.geteuid()
        if owner != user:
            raise StartError(
                f"{file} belongs to user {owner}, and the server runs as user {user}: run it as user {owner}"
                f" (twistd --uid {owner}), or give it the files: chown -R {user} {file}"
            )


def tighten(directory: Path) -> list[str]:
    """Take from everybody else whatever rights they have to the data directory and to what is ours in it.

    @return: a line for each that others could get at.
    @raise StartError: it cannot be done.
    """
    return [line for file in _ours(directory) for line in _tighten(file)] if os.name == "posix" else []


def _ours(directory: Path) -> Iterator[Path]:
    yield directory
    yield directory / LOCK
    for name in NAMES:
        file = path(directory, name)
        for each in (file, file.with_suffix(".new")):
            yield each
            yield from (Path(f"{each}{suffix}") for suffix in BESIDE)
    yield directory / "admin.log"
    yield from directory.glob("*.pem")
    for folder in directory.glob("backup-schema-*"):
        yield folder
        yield from folder.glob("*")


def _tighten(file: Path) -> Iterator[str]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if not mode & 0o077 or found.st_uid != os.geteuid():
        return
    closed = mode & 0o700
    try:
        file.chmod(closed)
    except OSError as error:
        raise StartError(
            f"{file} is open to others, and the server cannot change that ({error.strerror}):"
            f" chmod {closed:o} {file}"
        ) from None
    if file.stat().st_mode & 0o077:
        yield f"{file} is open to others (mode {mode:04o}), and this file system does not keep modes"
    else:
        yield f"{file} was open to others (mode {mode:04o}): it has mode {closed:04o} now"
