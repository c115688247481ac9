"""From time to time: what nobody collects turns round, and what was settled long ago is folded.

Both go in small transactions with pauses between them, so that everything else
goes on meanwhile; and nothing that goes wrong here keeps the next round from
coming.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Iterable, Optional, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chat.errors import Refusal
from chat.store.messages import Expiry

#: When the first round comes, and the next one after the end of each, in seconds.
FIRST = 60.0
EVERY = 600.0
#: How long other work has the database to itself between two transactions, in seconds.
PAUSE = 0.05


class Shelf(Protocol):
    """What is asked of the store."""

    def expire(self, before: int, after: tuple[int, int]) -> Awaitable[Expiry]:
        """See L{chat.store.store.Store.expire}."""

    def fold(self, before: int) -> Awaitable[bool]:
        """See L{chat.store.store.Store.fold}."""


class Retention:
    """The rounds."""

    _log = Logger()

    def __init__(
        self,
        store: Shelf,
        reactor: IReactorTime,
        now: Callable[[], int],
        returned: Callable[[Iterable[int]], None],
        *,
        expire: int = 0,
        fold: int = 0,
    ) -> None:
        """Make no rounds yet.

        @param now: the time in milliseconds since 1970-01-01 UTC.
        @param returned: called with the accounts to whose mailboxes messages came back.
        @param expire: after how many milliseconds a message that nobody collected turns round; 0: never.
        @param fold: after how many milliseconds a settled message is folded; 0: never.
        """
        self._store = store
        self._reactor = reactor
        self._now = now
        self._returned = returned
        self._expire_after = expire
        self._fold_after = fold
        self._next: Optional[IDelayedCall] = None
        self._waiting: Optional[Deferred[None]] = None
        self._stopped = False

    def start(self) -> None:
        """Make rounds from now on, if there is anything to do in them."""
        if self._expire_after or self._fold_after:
            self._next = self._reactor.callLater(FIRST, self._begin)

    def stop(self) -> None:
        """Make no more; what was begun in the store it completes."""
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._waiting is not None:
            self._waiting.cancel()

    def _begin(self) -> None:
        self._next = None
        Deferred.fromCoroutine(self._round()).addCallback(self._rest)

    def _rest(self, _: None) -> None:
        if not self._stopped:
            self._next = self._reactor.callLater(EVERY, self._begin)

    async def _round(self) -> None:
        for work in (self._expire, self._fold):
            try:
                await work()
            except Exception as error:
                if self._stopped:
                    return
                if isinstance(error, Refusal):
                    self._log.warn(
                        "Old messages have to wait for the next round: {reason}", reason=error.reason
                    )
                else:
                    self._log.failure("Old messages have to wait for the next round")

    async def _expire(self) -> None:
        if not self._expire_after:
            return
        before = self._now() - self._expire_after
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after, senders = await self._store.expire(before, after)
            self._returned(senders)
            await self._pause()

    async def _fold(self) -> None:
        if not self._fold_after:
            return
        before = self._now() - self._fold_after
        while await self._store.fold(before):
            await self._pause()

    async def _pause(self) -> None:
        if self._stopped:
            raise CancelledError
        self._waiting = deferLater(self._reactor, PAUSE)
        try:
            await self._waiting
        finally:
            self._waiting = None
