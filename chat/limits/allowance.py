"""How much each account may send: so many messages and bytes at once, and so many a second.

Two token buckets for each account, one of messages and one of bytes, kept as the
time at which each would be full again (the "virtual scheduling" form of the generic
cell rate algorithm, ITU-T I.371, 4.4).  Who has spent a bucket is made to wait a
little with what follows; only what would have to wait for too long is refused, with
the seconds after which it would not be.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import Callable, NamedTuple, Sequence

#: For how many seconds a sender is made to wait before anything is refused.
PATIENCE = 10.0
#: What an account may send at once is what it may send in so many seconds.
BURST_SECONDS = 60.0
#: How many accounts are remembered before those whose buckets are full are forgotten.
REMEMBERED = 10_000


class Rate(NamedTuple):
    """What one bucket lets through.

    @ivar each: how many a second, in the long run; 0: any number.
    @ivar burst: how many at once.
    """

    each: float
    burst: float

    @classmethod
    def per_second(cls, each: float) -> Rate:
        """So many a second, and at once those of L{BURST_SECONDS}."""
        return cls(each, each * BURST_SECONDS)


#: As much as anybody wants.
UNLIMITED = Rate(0, 0)


class Grant(NamedTuple):
    """What became of a batch.

    @ivar admitted: how many of its messages, from the front, may be sent now.
    @ivar wait: for how many seconds the sender is not to be heard; never above L{PATIENCE}.
    @ivar seconds: after how many the first of the others can be tried again.
    """

    admitted: int
    wait: float = 0.0
    seconds: int = 0


#: A batch that goes at once, as nearly all do.
_granted = lru_cache(maxsize=1024)(Grant)


class Allowance:
    """The buckets of every account that has sent something a short while ago."""

    def __init__(self, clock: Callable[[], float], messages: Rate, size: Rate) -> None:
        """All buckets are full.

        @param clock: a time in seconds that only grows.
        @param size: the same as C{messages} for the bytes of the bodies.
        """
        self._clock = clock
        self._message, self._messages = _times(messages)
        self._byte, self._bytes = _times(size)
        self._full: dict[int, tuple[float, float]] = {}  # account -> when each bucket is full again

    def take(self, account: int, sizes: Sequence[int]) -> Grant:
        """Take a batch of messages of so many bytes each out of the account's buckets."""
        now = self._clock()
        before = self._full.get(account, (now, now))
        after, wait = self._spend(now, before, len(sizes), sum(sizes))
        if wait > PATIENCE:
            return self._take_some(account, now, before, sizes)
        self._remember(account, now, after)
        return Grant(len(sizes), wait) if wait > 0 else _granted(len(sizes))

    def _take_some(self, account: int, now: float, full: tuple[float, float], sizes: Sequence[int]) -> Grant:
        """Take from the front until the wait is too long.

        The last one may make it longer than that: so the largest message gets through the smallest bucket.
        """
        admitted = 0
        full, wait = self._spend(now, full, 0, 0)
        for size in sizes:
            if wait > PATIENCE:
                break
            admitted += 1
            full, wait = self._spend(now, full, 1, size)
        self._remember(account, now, full)
        return Grant(admitted, min(PATIENCE, wait), max(1, ceil(wait - PATIENCE)))

    def _spend(
        self, now: float, full: tuple[float, float], messages: int, size: int
    ) -> tuple[tuple[float, float], float]:
        """When the buckets will be full again once this is taken out of them.

        And how long the sender has to wait until no bucket is short of anything; not above 0: not at all.
        """
        # Without max(): for a batch of one message it would take as long as all the rest.
        first, second = full
        first = (first if first > now else now) + messages * self._message
        second = (second if second > now else now) + size * self._byte
        short, other = first - now - self._messages, second - now - self._bytes
        return (first, second), short if short > other else other

    def _remember(self, account: int, now: float, full: tuple[float, float]) -> None:
        if len(self._full) >= REMEMBERED and account not in self._full:
            self._full = {each: when for each, when in self._full.items() if max(when) > now}
        self._full[account] = full


def _times(rate: Rate) -> tuple[float, float]:
    """In how many seconds one comes back, and a whole bucket."""
    return (1 / rate.each, rate.burst / rate.each) if rate.each else (0.0, 0.0)
