"""Which messages the application has had."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from zlib import crc32


class Seen:
    """A set of messages in twelve bytes each, so that it may grow for a client's whole life.

    To an id belongs the time of its message: where the files of a server are put back as they once
    were, another message may get the id of one that was seen, and must not be taken for it.

    Ids come nearly always in ascending order, so adding one is nearly always an append.
    """

    def __init__(self) -> None:
        self._ids = array("q")
        self._marks = array("I")

    def __len__(self) -> int:
        return len(self._ids)

    def holds(self, id: int, time: str) -> bool:
        """Whether the message with this id and time is among them."""
        at = bisect_left(self._ids, id)
        return at < len(self._ids) and self._ids[at] == id and self._marks[at] == crc32(time.encode())

    def add(self, id: int, time: str) -> None:
        """Remember this message; of those with one id, the last."""
        at = bisect_left(self._ids, id)
        if at == len(self._ids) or self._ids[at] != id:
            self._ids.insert(at, id)
            self._marks.insert(at, 0)
        self._marks[at] = crc32(time.encode())
