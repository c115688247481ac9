"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays that double from C{first} to C{cap} seconds, each shortened by chance.

    A server that restarts is not met by all of its clients at the same moment,
    because each delay is drawn from the upper half of its range.
    """

    def __init__(
        self,
        first: float = 1.0,
        cap: float = 60.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """
        @param chance: gives a number from 0 to 1; L{random.random} or a test's own.
        """
        self._first = first
        self._cap = cap
        self._chance = chance
        self._next = first

    def next(self) -> float:
        """The seconds to wait now; the following delay is twice as long, up to the cap."""
        delay = self._next
        self._next = min(self._cap, delay * 2)
        return delay * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._next = self._first
