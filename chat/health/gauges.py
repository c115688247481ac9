"""What is counted as it happens, for whoever wants to see how the server does.

Nothing here is ever asked while messages pass: an integer is added to, and whoever is
curious reads it.  What the files can tell (see L{chat.store.fates}) is not counted here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Iterator, NamedTuple, Sequence

#: How often each refusal was told to a client, by its code, and how often each event of an
#: account was logged (see L{chat.journal}); of this process, as its log is.
refusals: Counter[str] = Counter()
events: Counter[str] = Counter()


class Histogram:
    """How many measured values there were up to each of some bounds.

    @ivar total: the sum of all of them.
    """

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count none yet.

        @param bounds: in ascending order; what is above the last one is counted, too.
        """
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def note(self, value: float) -> None:
        """One more was measured."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Each bound, infinity in the end, and how many values were not above it."""
        return zip((*self._bounds, float("inf")), accumulate(self._counts))


class Gauges(NamedTuple):
    """What the store does.

    @ivar queued: how many operations wait for the database.
    @ivar hashing: how many passwords are being hashed, or wait for it.
    @ivar unindexed: about how many messages a search does not find yet without more ado.
    @ivar sizes: how many operations the commits had.
    @ivar seconds: how long they took.
    """

    queued: int
    hashing: int
    unindexed: int
    sizes: Histogram
    seconds: Histogram


class Disk(NamedTuple):
    """The room that there is.

    @ivar free: bytes on the file system of the data directory.
    @ivar reserve: bytes of it that are kept for what is there already.
    @ivar files: the bytes of each file.
    """

    free: int
    reserve: int
    files: dict[str, int]


class Census(NamedTuple):
    """Where every message is that was ever accepted.

    @ivar accepted: how many ids were given out to messages.
    @ivar fates: how many messages met each fate, by its name; they are found by looking at the
        messages, not at the ids.
    @ivar counted: when all messages were last looked at, in milliseconds since 1970-01-01 UTC.
    """

    accepted: int
    fates: dict[str, int]
    counted: int

    @property
    def unaccounted(self) -> int:
        """How many messages are nowhere: always 0."""
        return self.accepted - sum(self.fates.values())
