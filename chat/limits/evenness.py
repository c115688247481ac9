"""Refusals at even moments: how long the work before one took is not for others to know.

A name that has an account costs a database some microseconds more than one that has none.
Whoever can ask often enough would see that, however much noise there is.  So a refusal waits
for the next of the moments that follow each other in even steps from the beginning of the
attempt; nearly always that is the same one for both.
"""

from __future__ import annotations

from typing import Awaitable, Callable

#: How far apart these moments are, in seconds: far more than the noise of what is to be hidden.
STEP = 0.1


class Evenness:
    """When a refusal may be said."""

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        wait: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        """Begin.

        @param clock: a time in seconds that only grows; C{None}: there is nothing to be hidden.
        @param wait: waits for so many seconds.
        """
        self._clock = clock
        self._wait = wait

    def now(self) -> float:
        """The moment at which an attempt begins."""
        return 0.0 if self._clock is None else self._clock()

    async def reached(self, begun: float) -> None:
        """Wait for the next even moment of an attempt that began then."""
        if self._clock is not None and self._wait is not None:
            await self._wait(STEP - (self._clock() - begun) % STEP)
