"""Programs that answer each other: how long that may go on without a person.

A program that is told what it answers need not be guessed at: see C{answers} of
L{chat.messages.Message}.  This is for those that do not say it.  Two of them that answer
each other would never end, so the turns of a pair are counted: an automatic message is one
when the automatic message before it went the other way.  Who only tells, and be it thousands
of messages, takes one turn; a person's message between the two makes all of them forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Callable

#: So many turns may follow each other at once; then one more each so many seconds.
TURNS = 20
SECONDS_EACH = 3.0
#: Of so many pairs the last automatic message is remembered.
MOST = 10_000


class Echoes:
    """What programs have said to each other lately.

    @ivar pairs: of each two, in order, who had the last turn, and when so many at once may follow again.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing yet.

        @param clock: a time in seconds that only grows.
        """
        self._clock = clock
        self.pairs: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def person(self, sender: str, recipient: str) -> None:
        """A person writes."""
        self.pairs.pop(_pair(sender, recipient), None)

    def program(self, sender: str, recipient: str) -> int:
        """A program writes; the seconds after which it may, if it may not now."""
        now = self._clock()
        pair = _pair(sender, recipient)
        last, full = self.pairs.get(pair, ("", now))
        if sender != last or sender == recipient:
            full = max(now, full) + SECONDS_EACH
            wait = ceil(full - now - TURNS * SECONDS_EACH)
            if wait > 0:
                return wait
        self.pairs[pair] = (sender, full)
        self.pairs.move_to_end(pair)
        if len(self.pairs) > MOST:
            self.pairs.popitem(last=False)
        return 0


def _pair(sender: str, recipient: str) -> tuple[str, str]:
    return (sender, recipient) if sender < recipient else (recipient, sender)
