"""Fair turns on the way into the ledger: who sends very much keeps nobody waiting who sends little.

All that goes to disk together is on disk together, so a message waits for whatever else is
written with it, and for what is being written when it comes.  As long as everybody sends
much, or nobody does, that is best for all.  When some do and others do not, those who send
much go in small pieces, an account after the other, and only few of their messages are on the
way at a time; what the others send is never held back.  Nor is anything while the disk is full:
then receipts are on the way until there is room, and what is sent is refused.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Callable

#: An account that has more messages than so many on the way at once sends much.
FEW = 8
#: For so many seconds after that.
LASTS = 1.0
#: For so many seconds after somebody has sent something, it is for him that others go in turns.
HEARD = 60.0
#: How many messages a piece has, and how many are on the way before the next piece goes.
PIECE = 8
TOGETHER = 32
#: For so many seconds it is not looked anew whether there is anybody who sends little.
LOOK_EVERY = 0.01
#: For so long it must be so: when all begin to send much, some are the first.
SETTLES = 0.05


class Turns:
    """Whose messages go when."""

    def __init__(self, clock: Callable[[], float], full: Callable[[], bool] = lambda: False) -> None:
        """Nobody has sent anything.

        @param clock: a time in seconds that only grows.
        @param full: whether something on the way waits for room on the disk.
        """
        self._clock = clock
        self._full = full
        self._heard: OrderedDict[int, float] = OrderedDict()  # who has sent something, the last one last
        self._much: dict[int, float] = {}  # until when an account counts as one that sends much
        self._on_the_way: dict[int, int] = {}
        self._together = 0  # the sum of these
        self._waiting: OrderedDict[int, deque[tuple[int, Callable[[], object]]]] = OrderedDict()
        self._crowded = False  # somebody sends little, while others send much
        self._since = float("inf")
        self._looked = float("-inf")
        self._going = False

    def piece(self, account: int, count: int, *, heard: bool = True) -> int:
        """So many messages of the account come: how many of them may go together.

        @param heard: whether it is for this account that others are to go in turns.
        """
        now = self._clock()
        if heard:
            self._heard[account] = now
            self._heard.move_to_end(account)
        if self._on_the_way.get(account, 0) + count > FEW:
            self._much[account] = now + LASTS
            if self._is_crowded(now):
                return PIECE
        return count

    def waits(self, account: int) -> bool:
        """Whether something of the account has not had its turn."""
        return account in self._waiting

    def enter(self, account: int, count: int, go: Callable[[], object]) -> None:
        """So many messages, no more than a L{piece}, are to go: C{go} is called at once, or in their turn."""
        now = self._clock()
        in_turn = self._much.get(account, now) > now and self._together and self._is_crowded(now)
        if account in self._waiting:
            self._waiting[account].append((count, go))
            if not (self._going or self._is_crowded(now)):
                self._next()
        elif in_turn and self._together + count > TOGETHER:
            self._waiting[account] = deque([(count, go)])
        else:
            self._go(account, count, go)

    def leave(self, account: int, count: int) -> None:
        """So many that went have arrived, or failed."""
        left = self._on_the_way[account] - count
        if left:
            self._on_the_way[account] = left
        else:
            del self._on_the_way[account]
        self._together -= count
        if self._waiting and not self._going:
            self._next()

    def _go(self, account: int, count: int, go: Callable[[], object]) -> None:
        self._on_the_way[account] = self._on_the_way.get(account, 0) + count
        self._together += count
        go()

    def _next(self) -> None:
        """Let go whose turn it is."""
        self._going = True  # what fails at once leaves at once
        try:
            while self._waiting:
                account, pieces = next(iter(self._waiting.items()))
                count, go = pieces[0]
                if self._together and self._together + count > TOGETHER and self._is_crowded(self._clock()):
                    return
                pieces.popleft()
                if pieces:
                    self._waiting.move_to_end(account)
                else:
                    del self._waiting[account]
                self._go(account, count, go)
        finally:
            self._going = False

    def _is_crowded(self, now: float) -> bool:
        """Whether there is anybody for whose sake others are to go in turns."""
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            while self._heard and next(iter(self._heard.values())) < now - HEARD:
                self._heard.popitem(last=False)
            if len(self._much) > len(self._heard):
                self._much = {each: until for each, until in self._much.items() if until > now}
            little = any(
                self._much.get(each, now) <= now and each not in self._waiting
                for each in reversed(self._heard)
            )
            self._since = min(self._since, now) if little else float("inf")
            self._crowded = now - self._since >= SETTLES and not self._full()
        return self._crowded
