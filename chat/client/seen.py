"""Which messages the application has had."""

from __future__ import annotations

from array import array
from bisect import bisect_left


class Seen:
    """A set of ids in eight bytes each, so that it may grow for a client's whole life.

    Ids come nearly always in ascending order, so adding one is nearly always an append.
    """

    def __init__(self) -> None:
        self._ids = array("q")

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id: int) -> bool:
        ids = self._ids
        at = bisect_left(ids, id)
        return at < len(ids) and ids[at] == id

    def add(self, id: int) -> None:
        """Remember this id."""
        ids = self._ids
        at = bisect_left(ids, id)
        if at == len(ids) or ids[at] != id:
            ids.insert(at, id)
