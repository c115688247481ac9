"""What a crash leaves beside a database file: whether it counts, and how to read the file with it.

The next start has SQLite recover the file: what was committed to the C{-wal} file counts, what the
C{-journal} undoes does not, and then both are removed.  Whoever only reads shall see the same, and
leave everything where it is.  What is in a C{-shm} file counts for nothing when nobody has it open.
"""

from __future__ import annotations

import sqlite3
import sys
from array import array
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import BinaryIO, Iterator

from chat.admin.command import Unusable
from chat.store.opener import Opener

#: The bytes before the first frame of a log, and before the page in each.
_BEGINNING, _FRAME = 32, 24
#: How a log begins; the last bit says which way round its checksums take the bytes of a number.
_MAGIC = 0x377F0682
_WORD = 2**32 - 1

_Sums = tuple[int, int]


def committed(log: Path) -> bool:
    """Whether this C{-wal} file holds a whole transaction; if not, the file beside it is all there is.

    A log without one is nothing to SQLite: it removes it as soon as it has looked, however it was opened.

    @raise OSError: it cannot be read.
    """
    try:
        with open(log, "rb") as stream:
            return _committed(stream)
    except FileNotFoundError:
        return False


def _committed(stream: BinaryIO) -> bool:
    """See SQLite, "Database File Format", section 4, "The Write-Ahead Log"."""
    beginning = stream.read(_BEGINNING)
    magic, page = _number(beginning, 0), _number(beginning, 8)
    if (
        len(beginning) < _BEGINNING
        or magic | 1 != _MAGIC | 1
        or not 512 <= page <= 65536
        or page & (page - 1)
    ):
        return False
    order = "big" if magic & 1 else "little"
    sums = _checksum(beginning[:24], (0, 0), order)
    if sums != _sums(beginning):
        return False
    while len(frame := stream.read(_FRAME + page)) == _FRAME + page:
        head = frame[:_FRAME]
        sums = _checksum(head[:8] + frame[_FRAME:], sums, order)
        if head[8:16] != beginning[16:24] or not _number(head, 0) or sums != _sums(head):
            return False
        if _number(head, 4):  # the size of the file after this commit
            return True
    return False


def _number(content: bytes, place: int) -> int:
    return int.from_bytes(content[place : place + 4], "big")


def _sums(head: bytes) -> _Sums:
    return _number(head, len(head) - 8), _number(head, len(head) - 4)


def _checksum(content: bytes, sums: _Sums, order: str) -> _Sums:
    numbers = array("I", content)
    if order != sys.byteorder:
        numbers.byteswap()
    first, second = sums
    each = iter(numbers)
    for one, other in zip(each, each):
        first = (first + one + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second


@contextmanager
def mended(file: Path, opener: Opener) -> Iterator[Path]:
    """For a time, a copy of this file in which SQLite has undone what the C{-journal} says.

    There is no other way to see it: SQLite reads such a file only when it has written to both.

    @raise Unusable: there is no room for the copy, or the file cannot be read.
    @raise sqlite3.DatabaseError: it is beyond mending.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix="chat-"))
            copy = _mend(file, Path(folder), opener)
        except (OSError, sqlite3.OperationalError) as error:
            raise Unusable(
                f"{file} has to be copied to be read, as a crash has left it ({error}): run this as the user"
                " that the server runs as, and make room or name another place in TMPDIR."
            ) from None
        yield copy


def _mend(file: Path, folder: Path, opener: Opener) -> Path:
    copy = folder / file.name
    for suffix in ("", "-wal", "-journal"):
        with suppress(FileNotFoundError):
            copyfile(f"{file}{suffix}", f"{copy}{suffix}")
    with closing(opener.connect(copy)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return copy
