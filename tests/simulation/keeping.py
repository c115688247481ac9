"""What the operator has decided: for how long mail is kept, how much of it, and what is forgotten."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Iterable, NamedTuple

from tests.simulation.books import WAITING, Change

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


class Keeping(NamedTuple):
    """The operator's options; 0: there is no such limit.

    @ivar expire: after how many milliseconds what nobody collected turns round.
    @ivar limit: how many messages may wait in a mailbox before new ones come back.
    @ivar fold: after how many milliseconds what was removed or recalled is forgotten.
    """

    expire: int = 0
    limit: int = 0
    fold: int = 0


def drawn(random: Random) -> Keeping:
    """What an operator may decide."""
    return Keeping(
        expire=random.choice([0, 10 * SECOND, 5 * MINUTE, 2 * HOUR]),
        limit=random.choice([0, 0, 1, 2, 3, 5]),
        fold=random.choice([0, 5 * SECOND, 5 * SECOND, 10 * MINUTE, 2 * HOUR]),
    )


class Crowds:
    """How many messages can have waited in each mailbox when a transaction entered the next one.

    In which order it did all that it did is not known: so there are two numbers.
    """

    def __init__(self, before: Counter[int], changes: Iterable[Change]) -> None:
        """C{before}: how many waited in each mailbox before the transaction that made these changes."""
        self._waiting = Counter(before)
        self._left: Counter[int] = Counter()
        self._came: Counter[int] = Counter()
        for _, was, now in changes:
            if was is not None and was.state == WAITING and was[:2] != now[:2]:
                self._left[was.recipient] += 1
                if now.state == WAITING:
                    self._came[now.recipient] += 1

    def least(self, account: int) -> int:
        """At least so many waited for that account."""
        return self._waiting[account] - self._left[account]

    def most(self, account: int) -> int:
        """At most so many waited for that account."""
        return self._waiting[account] + self._came[account]

    def enter(self, account: int) -> None:
        """A message was entered there."""
        self._waiting[account] += 1
