"""Whose search looks when: in short looks, so that neither other searches nor anything else waits long.

All that the database is asked goes through one thread, where each commit waits for whatever is
under way.  So a search looks for a short while at a time, and what else has been asked meanwhile
is on disk before anybody looks again.  Between the looks of one account come those of the others,
however many searches it has under way; and these are few.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from contextlib import contextmanager
from typing import Awaitable, Callable, Iterator, TypeVar

from twisted.internet.defer import Deferred

from chat.errors import Code, Refusal

R = TypeVar("R")

#: How many searches an account may have under way; others are refused.
MOST = 8
#: After how many seconds it may try again.
AGAIN = 5
#: How many seconds a look takes: while nothing else is asked, and otherwise.
LONG, SHORT = 0.02, 0.005
#: After something else was asked, so many looks are short.
LASTS = 200


class Searches:
    """The looks that all searches take, one at a time."""

    def __init__(self, others: Callable[[], bool], serve: Callable[[], Deferred[None]]) -> None:
        """Nobody searches.

        @param others: whether the database has been asked anything else.
        @param serve: fires when that is done, or cannot be.
        """
        self._others = others
        self._serve = serve
        self._under_way: Counter[int] = Counter()
        self._waiting: OrderedDict[int, deque[Deferred[None]]] = OrderedDict()
        self._looking = False
        self._short = 0  # so many looks more are to be short

    @contextmanager
    def one(self, account: int) -> Iterator[None]:
        """A search of this account is under way meanwhile.

        @raise chat.errors.Refusal: C{slow-down}, it has too many.
        """
        if self._under_way[account] >= MOST:
            reason = f"{MOST} searches of yours are under way: wait for what they find, then search again."
            raise Refusal(Code.SLOW_DOWN, reason, seconds=AGAIN)
        self._under_way[account] += 1
        try:
            yield
        finally:
            self._under_way[account] -= 1
            if not self._under_way[account]:
                del self._under_way[account]

    @property
    def seconds(self) -> float:
        """For how long to look."""
        return SHORT if self._short else LONG

    async def look(self, account: int, look: Callable[[], Awaitable[R]]) -> R:
        """Take a look when it is this account's turn."""
        if self._looking:
            turn: Deferred[None] = Deferred()
            self._waiting.setdefault(account, deque()).append(turn)
            await turn
        self._looking = True
        try:
            return await look()
        finally:
            if account in self._waiting:
                self._waiting.move_to_end(account)
            if self._others():
                self._short = LASTS
                self._serve().addBoth(self._next)
            else:
                self._short = max(0, self._short - 1)
                self._next(None)

    def _next(self, _: object) -> None:
        """Let the next account look, if there is one."""
        self._looking = bool(self._waiting)
        if self._looking:
            account, turns = next(iter(self._waiting.items()))
            turn = turns.popleft()
            if not turns:
                del self._waiting[account]
            turn.callback(None)
