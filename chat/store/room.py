"""Room on the disk: new messages stop before there is none for the rest.

What is in the mailboxes must go on being delivered, confirmed and removed on a
full disk, and that takes a little room, too: it is kept in reserve.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from chat.health.gauges import Disk
from chat.store.layout import NAMES, path

MIB = 1024 * 1024


def default_reserve(directory: Path) -> int:
    """How many bytes to keep free: a twentieth of the file system, 8 MiB at least and 256 at most."""
    return min(max(shutil.disk_usage(directory).total // 20, 8 * MIB), 256 * MIB)


class Room:
    """Whether new messages and accounts may be taken in."""

    def __init__(self, directory: Path, reserve: int | None = None) -> None:
        """Watch the file system of C{directory}; keep C{reserve} bytes of it free."""
        self._directory = directory
        self.reserve = default_reserve(directory) if reserve is None else reserve

    def __call__(self, inside: int = 0) -> bool:
        """Whether more than the reserve is free now, C{inside} the files or outside them."""
        return shutil.disk_usage(self._directory).free + inside > self.reserve

    def disk(self) -> Disk:
        """How much there is, in numbers."""
        files = {}
        for name in NAMES:
            for file in (path(self._directory, name), path(self._directory, name).with_suffix(".db-wal")):
                with suppress(FileNotFoundError):  # SQLite removes a journal that it has no use for
                    files[file.name] = file.stat().st_size
        return Disk(shutil.disk_usage(self._directory).free, self.reserve, files)
