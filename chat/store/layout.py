"""What a data directory holds: how its files are called, of which versions they are, and what they say."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

#: The files, and the versions of their schemas; the one that decides comes last: they are made in this order.
VERSIONS = {"passwords": 3, "users": 2, "messages": 6}
NAMES = tuple(VERSIONS)
#: How each file is called in SQL: C{messages.db} is the main one.
ALIASES = {"messages": "main", "users": "users", "passwords": "passwords"}
#: C{PRAGMA application_id}: "chat".
APPLICATION = 0x63686174
LOCK = "lock"


class Header(NamedTuple):
    """What the first hundred bytes of a database file say."""

    application: int
    version: int


def schema(name: str, version: int) -> str:
    """The SQL that makes this file in this version."""
    return (files("chat.store") / "schema" / f"{name}-{version}.sql").read_text("utf-8")


def schemas() -> dict[str, str]:
    """The SQL of the three files. Read this before a chroot."""
    return {name: schema(name, version) for name, version in VERSIONS.items()}


def path(directory: Path, name: str) -> Path:
    """Where a file of the data directory is."""
    return directory / f"{name}.db"


def header(file: Path) -> Header | None:
    """What the file says it is, or C{None} if it is no SQLite file. Changes nothing.

    SQLite, "Database File Format", section 1.3.
    """
    with open(file, "rb") as stream:
        first = stream.read(100)
    if len(first) < 100 or not first.startswith(b"SQLite format 3\0"):
        return None
    return Header(int.from_bytes(first[68:72], "big"), int.from_bytes(first[60:64], "big"))


def sync(directory: Path) -> None:
    """The names in this directory survive a power cut; on Windows that is for the system to see to."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
