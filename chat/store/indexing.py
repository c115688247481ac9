"""When messages enter the index: in quiet moments, or else in small transactions with pauses between them.

That is later than they are accepted, the busier the server is, the later.  Nobody notices,
for what was accepted before somebody searches is indexed first.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chat.errors import Code, Refusal
from chat.store.volumes import Left

#: How long after a message was accepted the first batch enters, in seconds.
SOON = 0.5
#: The pause after a batch, at least; and how many times as long as the batch took.
PAUSE = 0.01
REST = 3.0
#: As long as messages keep coming, they are not indexed, unless there are more than this.
PATIENT = 5000
#: With more than this, the pause is only as long as the batch took.
LAGGING = 50_000
#: How long to wait after something went wrong.
LATER = 10.0
#: For one search so many batches enter; if there is more to be indexed, it is told to be incomplete.
BATCHES = 40
#: A volume is written anew when it has been stale for so many milliseconds.
STALE = 10 * 60 * 1000


class Indexing:
    """The pace at which the index follows the ledger."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        extend: Callable[[bool], Awaitable[Left]],
        renew: Callable[[int], Awaitable[Optional[int]]],
        now: Callable[[], int],
    ) -> None:
        """Index nothing yet.

        @param extend: see L{chat.store.volumes.Volumes.extend}.
        @param renew: see L{chat.store.volumes.Volumes.renew}.
        @param now: the time in milliseconds since 1970-01-01 UTC.
        """
        self._reactor = reactor
        self._extend = extend
        self._renew = renew
        self._now = now
        self._next: Optional[IDelayedCall] = None
        self._idle = True
        self._woken = False  # since the next step was planned
        self._behind = 0  # about how many messages are not indexed
        self._stopped = False
        self._reached: Optional[tuple[int, int]] = None  # the first and the last one indexed

    @property
    def lag(self) -> int:
        """About how many messages are not indexed yet, as far as is known."""
        return self._behind

    def wake(self, messages: int = 0) -> None:
        """There is something to be done, or there may be.

        @param messages: how many were accepted.
        """
        self._behind += messages
        self._woken = True
        if self._idle:
            self._idle = self._woken = False
            self._later(SOON)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    async def catch_up(self) -> bool:
        """Let what there is enter before somebody searches; whether all of it has."""
        wanted = reached = 0
        for _ in range(BATCHES):
            try:
                left = await self._extend(False)
            except Refusal as refusal:
                if refusal.code is not Code.STORAGE_FULL:
                    raise
                return False
            wanted = wanted or left.newest
            if left.last >= wanted:
                return True
            if left.last == reached:  # there is no room for more
                return False
            reached = left.last
        return False

    def _later(self, seconds: float) -> None:
        """Do the next step so long from now."""
        if self._next is not None:
            self._next.cancel()
        if not self._stopped:
            self._next = self._reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._next = None
        busy, self._woken = self._woken, False
        if busy and self._behind < PATIENT:
            self._later(SOON)  # there may be a quieter moment
            return
        Deferred.fromCoroutine(self._step()).addCallbacks(self._rest, self._failed)

    async def _step(self) -> Optional[float]:
        """Do something of what is to be done, if there is anything.

        @return: how long to pause then; C{None}: there is nothing more to be done.
        """
        began = self._reactor.seconds()
        left = await self._extend(True)
        self._behind = left.newest - left.last
        if left.last < left.newest or left.first > 1:
            before, self._reached = self._reached, (left.first, left.last)
            if self._reached == before:  # there is no room for more
                return LATER
        else:
            since = await self._renew(self._now() - STALE)
            if since is None:
                return None
            if since >= self._now() - STALE:
                return max(PAUSE, (since + STALE - self._now()) / 1000)
        lagging = self._behind > LAGGING
        return max(PAUSE, (self._reactor.seconds() - began) * (1 if lagging else REST))

    def _rest(self, pause: Optional[float]) -> None:
        """Go on after a pause, sooner if there is something new."""
        self._idle = pause is None or pause > SOON
        if pause is not None:
            self._later(pause)
        if self._woken:
            self.wake()

    def _failed(self, failure: Failure) -> None:
        """Whatever it was, the messages are safe; it is tried again."""
        if not self._stopped:
            if failure.check(Refusal) is None:
                self._log.failure("Messages could not be indexed; that is tried again later", failure)
            self._later(LATER)
