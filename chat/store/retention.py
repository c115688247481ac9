"""From time to time: what nobody collects turns round, and what was settled long ago is folded.

Both go in small transactions with pauses between them, so that everything else
goes on meanwhile; and nothing that goes wrong here keeps the next round from
coming.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Iterable, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chat.health.rounds import Rounds
from chat.store.returns import Expiry

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
    """The rounds.

    @ivar rounds: those that are made, if there is anything to do in them.
    """

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
        steps = [step for step, wanted in ((self._expire, expire), (self._fold, fold)) if wanted]
        self.rounds = [Rounds("retention", EVERY, reactor, *steps, first=FIRST)] if steps else []

    def start(self) -> None:
        """Make rounds from now on, if there is anything to do in them."""
        for rounds in self.rounds:
            rounds.start()

    def stop(self) -> None:
        """Make no more; what was begun in the store it completes."""
        for rounds in self.rounds:
            rounds.stop()

    async def _expire(self) -> None:
        before = self._now() - self._expire_after
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            # The store completes what it was asked for even where the round is given up meanwhile.
            turned: Deferred[tuple[int, int] | None] = Deferred()
            Deferred.fromCoroutine(self._turn_round(before, after)).chainDeferred(turned)
            after = await turned
            await self._pause()

    async def _turn_round(self, before: int, after: tuple[int, int]) -> tuple[int, int] | None:
        """Let some of them turn round, and tell; where to go on."""
        expiry = await self._store.expire(before, after)
        self._returned(expiry.senders)
        return expiry.after

    async def _fold(self) -> None:
        before = self._now() - self._fold_after
        while await self._store.fold(before):
            await self._pause()

    async def _pause(self) -> None:
        await deferLater(self._reactor, PAUSE)
