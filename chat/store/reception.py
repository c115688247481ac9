"""Whose password is hashed when: few at a time, in two lines, and whoever is sent away knows the moment.

Hashing is slow on purpose, so strangers who ask without end could have all of it.  Those who
come from a place where somebody was let in before, or have shown what no stranger has, stand
in a line of their own; that line goes first, but not always, so that the other moves, too.

Who finds the line full is promised a moment, and whoever asks again then, or within a minute
of it, is let in whatever the line is like.  The moments follow each other as fast as the
hashing goes ("virtual scheduling", as in L{chat.limits.allowance}), so that what is promised can be
kept.

No place gets more than a few moments of that series, or strangers at few places would put the
others off for hours.  Many people at one place (a school behind one address) are promised moments of
a series of their own; these let them into a third line, which is the last, so nobody else waits for it.
"""

from __future__ import annotations

from collections import Counter, deque
from heapq import heappop, heappush
from itertools import count
from math import ceil
from typing import Any, Callable, NamedTuple, Optional

from twisted.internet.defer import Deferred, maybeDeferred

from chat.errors import Code, Refusal
from chat.ports import Asker
from chat.store.hashing import THREADS

#: How many may stand in the line of those whose place is known, and of these how many from one place.
AT_HOME = 50
AT_HOME_FROM_ONE_PLACE = 4
#: The same of the line of all others.
OTHERS = 150
OTHERS_FROM_ONE_PLACE = 16
#: Of so many hashes that are wanted from a line and those behind it, one is from those behind it.
EVERY = 4
#: For how many seconds a promised moment lasts.
LASTS = 60.0
#: How many moments of the common series can be promised, and how many of them to one place.
PROMISES = 10_000
PROMISES_TO_ONE_PLACE = 4
#: The same of the series that places have of their own.
CROWDS = 10_000
CROWD = 100

#: Runs a function in a thread of the password pool.
InThread = Callable[..., "Deferred[Any]"]

#: Somebody who asks: the place and the name.
_Who = tuple[Optional[str], str]


class _Work(NamedTuple):
    """One hash to be computed."""

    done: Deferred[Any]
    function: Callable[..., Any]
    arguments: tuple[object, ...]


class _Line:
    """Those who were let in, and whose hash is not there yet.

    @ivar waiting: the hashes that no thread has begun.
    """

    def __init__(self, most: int, most_from_one_place: int) -> None:
        self._most = most
        self._most_from_one_place = most_from_one_place
        self._inside = 0
        self._from: Counter[str] = Counter()
        self._turn = 0
        self.waiting: deque[_Work] = deque()

    @property
    def beyond(self) -> int:
        """How many more than it is for are in it, by promise."""
        return max(0, self._inside - self._most)

    def goes_first(self) -> bool:
        """Whether it is its turn, where some wait behind it, too."""
        self._turn = (self._turn + 1) % EVERY
        return self._turn != 0

    def has_room(self, place: str | None) -> bool:
        """Whether somebody from there finds room without a promise."""
        here = place is None or self._from[place] < self._most_from_one_place
        return here and self._inside < self._most

    def enter(self, place: str | None) -> None:
        """Somebody from there gets in."""
        self._inside += 1
        if place is not None:
            self._from[place] += 1

    def leave(self, place: str | None) -> None:
        """And is done."""
        self._inside -= 1
        if place is not None:
            self._from[place] -= 1
            if not self._from[place]:
                del self._from[place]


class _Promises:
    """The moments of one series, or of those that places have of their own, and into which line they let."""

    def __init__(self, line: _Line, most: int, most_to_one_place: int) -> None:
        self.line = line
        self._most = most
        self._most_to_one_place = most_to_one_place
        self._moments: dict[_Who, float] = {}
        self._to: Counter[str] = Counter()
        # The last moment of each place, before it was rounded up: who asks is told whole seconds.
        self._last_to: dict[str, float] = {}
        # All that were promised, with some that were used since.
        self._order: list[tuple[float, int, _Who]] = []
        self._numbers = count()  # of equal moments, too, one comes first

    def get(self, who: _Who) -> float | None:
        """What was promised them."""
        return self._moments.get(who)

    def has_room(self, place: str | None) -> bool:
        """Whether one more can be promised to somebody there."""
        here = place is None or self._to[place] < self._most_to_one_place
        return here and len(self._moments) < self._most

    def last_to(self, place: str | None) -> float:
        """The last moment that was promised there, if any is left."""
        return 0.0 if place is None else self._last_to.get(place, 0.0)

    def promise(self, who: _Who, now: float, moment: float) -> float:
        """Promise this moment, but a whole number of seconds from now; how many."""
        wait = ceil(moment - now)
        self._moments[who] = now + wait
        heappush(self._order, (now + wait, next(self._numbers), who))
        place, _ = who
        if place is not None:
            self._to[place] += 1
            self._last_to[place] = moment
        return wait

    def forget(self, who: _Who) -> None:
        """It was used."""
        del self._moments[who]
        place, _ = who
        if place is not None:
            self._to[place] -= 1
            if not self._to[place]:
                del self._to[place], self._last_to[place]

    def expire(self, now: float) -> None:
        """Forget those that have lasted long enough."""
        while self._order and self._order[0][0] + LASTS < now:
            moment, _, who = heappop(self._order)
            if self._moments.get(who) == moment:
                self.forget(who)


class Reception:
    """Lets hashes be computed, one for each thread at a time."""

    def __init__(self, in_thread: InThread, clock: Callable[[], float], each: float) -> None:
        """Nobody is here.

        @param in_thread: C{in_thread(function, *arguments)} calls it in the pool of hashing threads.
        @param clock: a time in seconds that only grows.
        @param each: in how many seconds a thread computes one hash when it has the processor.
        """
        self._in_thread = in_thread
        self._clock = clock
        self._least = self._each = each
        self._at_home = _Line(AT_HOME, AT_HOME_FROM_ONE_PLACE)
        self._others = _Line(OTHERS, OTHERS_FROM_ONE_PLACE)
        self._crowd = _Line(0, 0)
        self._lines = (self._at_home, self._others, self._crowd)
        self._computing = 0
        self._promises = _Promises(self._others, PROMISES, PROMISES_TO_ONE_PLACE)
        self._crowds = _Promises(self._crowd, CROWDS, CROWD)
        self._last = 0.0  # of the common series

    @property
    def busy(self) -> int:
        """How many hashes are being computed, or wait for it."""
        return self._computing + sum(len(line.waiting) for line in self._lines)

    @property
    def idle(self) -> bool:
        """Whether a thread has nothing to do."""
        return self._computing < THREADS

    async def hash(self, asker: Asker, function: Callable[..., Any], *arguments: object) -> Any:
        """Call this in a thread when it is the asker's turn.

        @raise Refusal: C{slow-down}, with the seconds after which the asker is let in.
        """
        line = self._line(asker)
        line.enter(asker.place)
        try:
            work = _Work(Deferred(), function, arguments)
            line.waiting.append(work)
            self._compute()
            return await work.done
        finally:
            line.leave(asker.place)

    def _line(self, asker: Asker) -> _Line:
        """In which line there is room for the asker; or no room yet."""
        if asker.home and self._at_home.has_room(asker.place):
            return self._at_home
        now = self._clock()
        who = (asker.place, asker.name)
        for series in (self._promises, self._crowds):
            series.expire(now)
            promised = series.get(who)
            if promised is not None:
                wait = round(promised - now, 6)  # else 1.0000000001 were two seconds
                if wait > 0:
                    raise _come_back(wait)
                series.forget(who)
                return series.line
        if not self._others.has_room(asker.place):
            raise _come_back(self._promise(who, now))
        return self._others

    def _promise(self, who: _Who, now: float) -> float:
        """In how many seconds they are let in."""
        place, _ = who
        each = self._each / THREADS
        if self._promises.has_room(place):
            self._last = max(self._last, now + self._others.beyond * each) + each
            return self._promises.promise(who, now, self._last)
        last = max(self._promises.last_to(place), self._crowds.last_to(place))
        if place is not None and self._crowds.has_room(place):
            return self._crowds.promise(who, now, max(last, now + self._crowd.beyond * each) + each)
        # No promise: by then there is nothing left of what was promised there so far, or to all.
        return max(last or self._last, now) + LASTS + 1 - now

    def _compute(self) -> None:
        """Give work to the threads that have none."""
        while self._computing < THREADS and (work := self._next()):
            self._computing += 1
            begun = self._clock()
            maybeDeferred(self._in_thread, work.function, *work.arguments).addBoth(
                self._computed, work.done, begun
            )

    def _next(self) -> _Work | None:
        lines = [line for line in self._lines if line.waiting]
        while len(lines) > 1 and not lines[0].goes_first():
            del lines[0]
        return lines[0].waiting.popleft() if lines else None

    def _computed(self, result: object, done: Deferred[Any], begun: float) -> None:
        self._computing -= 1
        # What was measured when nothing else was to be done is the least; others may need the processor.
        self._each = max(self._least, self._each + (self._clock() - begun - self._each) / 8)
        self._compute()
        done.callback(result)


def _come_back(wait: float) -> Refusal:
    seconds = max(1, ceil(wait))
    return Refusal(
        Code.SLOW_DOWN,
        f"Too many log in at once. Try again in {seconds} second{'s' * (seconds != 1)}.",
        seconds=seconds,
    )
