"""What is done from time to time, as long as the server runs: whatever goes wrong, the next round comes."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chat.errors import Refusal

#: After so many periods without success the rounds are late; a round that takes so long is given up.
PATIENCE = 3


class Task(Protocol):
    """What is done from time to time, or whenever there is something to be done."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def period(self) -> float:
        """How often it should succeed, in seconds."""

    @property
    def succeeded(self) -> float | None:
        """When it did the last time, in seconds since 1970; C{None}: never yet."""

    @property
    def late(self) -> bool:
        """Whether it should have succeeded, and did not."""

    @property
    def failures(self) -> int:
        """How often it failed."""


class Rounds:
    """Something that is done again and again: a L{Task}.

    @ivar name: what it is called.
    @ivar period: how many seconds are between the end of a round and the beginning of the next.
    @ivar succeeded: when a round was complete the last time, in seconds since 1970; C{None}: never yet.
    @ivar failures: how many rounds failed.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        period: float,
        clock: IReactorTime,
        *steps: Callable[[], Awaitable[object]],
        first: float | None = None,
    ) -> None:
        """Make no rounds yet.

        @param steps: what is done in each; one that fails keeps the others from nothing.
        @param first: after how many seconds the first round comes; by default after a period.
        """
        self.name = name
        self.period = period
        self.succeeded: Optional[float] = None
        self.failures = 0
        self._clock = clock
        self._steps = steps
        self._first = period if first is None else first
        self._due = 0.0  # the first round
        self._next: Optional[IDelayedCall] = None
        self._under_way: Optional[Deferred[None]] = None
        self._limit: Optional[IDelayedCall] = None
        self._running = False

    @property
    def late(self) -> bool:
        """Whether a round should have succeeded, and none did."""
        if not self._running:
            return False
        since = self._due if self.succeeded is None else self.succeeded
        return self._clock.seconds() - since > PATIENCE * self.period

    def start(self) -> None:
        """Make rounds from now on."""
        self._running = True
        self._due = self._clock.seconds() + self._first
        self._next = self._clock.callLater(self._first, self._begin)

    def stop(self) -> None:
        """Make no more; one under way is given up. To say it again, or too early, is harmless."""
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._under_way is not None:
            self._under_way.cancel()

    def _begin(self) -> None:
        self._next = None
        self._under_way = Deferred.fromCoroutine(self._round())
        self._limit = self._clock.callLater(PATIENCE * self.period, self._under_way.cancel)
        self._under_way.addCallback(self._rest)

    def _rest(self, _: None) -> None:
        assert self._limit is not None
        self._under_way = None
        if self._limit.active():
            self._limit.cancel()
        if self._running:
            self._next = self._clock.callLater(self.period, self._begin)

    async def _round(self) -> None:
        good = True
        try:
            for step in self._steps:
                good = await self._succeeds(step) and good
        except CancelledError:
            if not self._running:
                return
            self._log.error("{name} was given up, it took too long; the next round comes", name=self.name)
            good = False
        if good:
            self.succeeded = self._clock.seconds()
        else:
            self.failures += 1

    async def _succeeds(self, step: Callable[[], Awaitable[object]]) -> bool:
        try:
            await step()
        except Refusal as refusal:
            self._log.warn(
                "{name} has to wait for the next round: {reason}", name=self.name, reason=refusal.reason
            )
        except CancelledError:
            raise
        except Exception:
            self._log.failure("{name} has to wait for the next round", name=self.name)
        else:
            return True
        return False
