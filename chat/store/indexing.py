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
from chat.health.rounds import PATIENCE
from chat.store.volumes import Left

#: How long after a message was accepted the first batch enters, in seconds.
SOON = 0.5
#: That is a quiet moment if no more messages than this have come meanwhile.
FEW = 500
#: The pause after a batch, at least; and how many times as long as the batch took.
PAUSE = 0.01
REST = 3.0
#: As long as many messages keep coming, they are not indexed, unless there are more than this.
PATIENT = 15_000
#: With more than this, the pause is only as long as the batch took.
LAGGING = 50_000
#: How long to wait after something went wrong.
LATER = 10.0
#: For one search so many batches enter; if there is more to be indexed, it is told to be incomplete.
BATCHES = 40
#: A volume is written anew when it has been stale for so many milliseconds.
STALE = 10 * 60 * 1000


class Indexing:
    """The pace at which the index follows the ledger: a L{chat.health.rounds.Task}.

    @ivar failures: how many steps failed.
    """

    name = "index"
    period = 60.0  # of its steps, each takes much less

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
        self._come = 0  # so many messages came since then
        self._behind = 0  # about how many new messages are not indexed
        self._older = 0  # the same of those that were there before
        self._good = reactor.seconds()  # when a step succeeded
        self.failures = 0
        self._stopped = False
        self._reached: Optional[tuple[int, int]] = None  # the first and the last one indexed

    @property
    def lag(self) -> int:
        """About how many messages are not indexed yet, as far as is known."""
        return self._behind + self._older

    @property
    def succeeded(self) -> float:
        """When it was last as it should be: now, if there is nothing to be done."""
        return self._reactor.seconds() if self._idle else self._good

    @property
    def late(self) -> bool:
        """Whether something should have been done, and nothing was."""
        return not self._stopped and self._reactor.seconds() - self.succeeded > PATIENCE * self.period

    def wake(self, messages: int = 0) -> None:
        """There is something to be done, or there may be.

        @param messages: how many were accepted.
        """
        self._behind += messages
        self._come += messages
        self._woken = True
        if self._idle:
            self._idle = self._woken = False
            self._come = 0
            self._good = self._reactor.seconds()
            self._later(SOON)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None

    @staticmethod
    async def catch_up(extend: Callable[[], Awaitable[Left]]) -> bool:
        """Let what there is enter before somebody searches; whether all of it has.

        @param extend: lets some new messages enter.
        """
        wanted = reached = 0
        for _ in range(BATCHES):
            try:
                left = await extend()
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
        self._woken = False
        busy, self._come = self._come > FEW, 0
        if busy and self._behind < PATIENT:
            self._good = self._reactor.seconds()
            self._later(SOON)  # there may be a quieter moment
            return
        Deferred.fromCoroutine(self._step()).addCallbacks(self._rest, self._failed)

    async def _step(self) -> Optional[float]:
        """Do something of what is to be done, if there is anything.

        @return: how long to pause then; C{None}: there is nothing more to be done.
        """
        began = self._reactor.seconds()
        left = await self._extend(True)
        self._behind, self._older = left.newest - left.last, left.first - 1
        if left.last < left.newest or left.first > 1:
            before, self._reached = self._reached, (left.first, left.last)
            if self._reached == before:  # there is no room for more
                return LATER
        else:
            since = await self._renew(self._now() - STALE)
            if since is None:
                return None
            now = self._now()
            if now - STALE <= since <= now:
                return max(PAUSE, (since + STALE - now) / 1000)
        took = (self._reactor.seconds() - began) * (1 if self._behind > LAGGING else REST)
        return min(max(PAUSE, took), LATER)  # whatever the clock was set to meanwhile

    def _rest(self, pause: Optional[float]) -> None:
        """Go on after a pause, sooner if there is something new."""
        self._good = self._reactor.seconds()
        self._idle = pause is None or pause > SOON
        if pause is not None:
            self._later(pause)
        if self._woken:
            self.wake()

    def _failed(self, failure: Failure) -> None:
        """Whatever it was, the messages are safe; it is tried again."""
        self.failures += 1
        if not self._stopped:
            if failure.check(Refusal) is None:
                self._log.failure("Messages could not be indexed; that is tried again later", failure)
            self._later(LATER)
