"""Guessing gets slower and slower, and it is the guesser who waits.

Wrong passwords are counted for the account I{as it is tried from one place} (an IPv4
address, an IPv6 /64, this machine): after a few of them each next attempt has to wait,
1, 2, 4 seconds and so on.  That alone is what may keep an owner waiting, too, and only
at the very place from which somebody guesses.

Who guesses one password from many places, or many from one, is slowed down by two more
counts: one for each account and one for each place.  They do not concern those who are
known: an account that was entered from a place before.  Nor does anything here stop a
right token or a right recovery code, which nobody can guess, so no stranger locks an
owner out.

Names are counted whether they have an account or not.  Everything is in memory, with a
bound: what gives way first is what would let a guesser try the least.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from heapq import nsmallest
from math import ceil
from typing import Callable, Iterator, NamedTuple

from chat.errors import Code, Refusal

#: In so many seconds one failure is forgotten, once the wait after the last one is over.
FORGOTTEN = 600.0
#: The most counts that are kept, and the most accounts whose places are.
MOST = 10_000
#: The most places of one account that are known: the last ones from which it was entered.
PLACES = 8
#: The place of a session that is logged in, and is asked for the password again.
INSIDE = "inside"

#: What makes an attempt a failure; whatever else ends it tells nothing of what was guessed.
WRONG = frozenset({Code.WRONG_PASSWORD, Code.WRONG_TOKEN, Code.WRONG_INVITE, Code.WRONG_RECOVERY})
#: Beyond those that are free, so many failures count; more would only take longer to be forgotten.
_WORST = 10
#: The place of all programs on this machine: their address does not tell who uses them.
_HERE = "here"


class Rule(NamedTuple):
    """How much is let pass.

    @ivar free: so many failures cost nothing.
    @ivar longest: seconds that an attempt has to wait after very many.
    """

    free: int
    longest: float


#: For an account as it is tried from one place; for an account; for a place.
PAIR = Rule(5, 300.0)
ACCOUNT = Rule(20, 60.0)
PLACE = Rule(50, 60.0)


class _Count:
    """How often something failed.

    @ivar number: the failures that are not forgotten, as of the last one.
    @ivar last: when that was.
    """

    __slots__ = ("_rule", "last", "number")

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.number = 0.0
        self.last = 0.0

    def at(self, now: float) -> float:
        """How many failures are not forgotten now."""
        return max(0.0, self.number - max(0.0, now - max(self.last, self.free_again)) / FORGOTTEN)

    def add(self, now: float) -> None:
        """One more."""
        self.number = min(self.at(now) + 1, self._rule.free + _WORST)
        self.last = now

    def take_back(self) -> None:
        """It was none."""
        self.number = max(0.0, self.number - 1)

    @property
    def free_again(self) -> float:
        """When the next attempt may be made."""
        # Rounded: what was forgotten between two attempts that came close to each other makes no difference.
        beyond = round(self.number) - self._rule.free
        return 0.0 if beyond < 0 else self.last + min(self._rule.longest, 2.0**beyond)


class Throttle:
    """What was tried lately, and how long each next attempt has to wait."""

    def __init__(self, clock: Callable[[], float] | None) -> None:
        """Nothing was tried yet.

        @param clock: a time in seconds that only grows; C{None}: nobody ever waits.
        """
        self._clock = clock
        self._counts: dict[tuple[str, str], _Count] = {}
        self._known: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()

    @contextmanager
    def attempt(self, name: str, network: str | None) -> Iterator[None]:
        """Around the check of what can be guessed: before it, for it may cost much.

        The attempt counts as failed from its beginning, so that many at once are no way round.

        @param name: the prepared name, whether there is such an account or not.
        @param network: see L{chat.origin.Origin.network}; or L{INSIDE}.
        @raise Refusal: C{slow-down}, with the seconds to wait.
        """
        if self._clock is None:
            yield
            return
        counts = self._count(name, network)
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, Refusal) and error.code in WRONG):
                for each in counts:
                    each.take_back()
            raise
        for each in counts:
            each.take_back()
        self._counts.pop((name, network or _HERE), None)
        self.entered(name, network)

    def failed(self, name: str, network: str | None) -> None:
        """Something that nobody can guess was wrong: a token, a recovery code, an invitation (of no name).

        @raise Refusal: C{slow-down}, there were too many.
        """
        if self._clock is not None:
            self._count(name, network)

    def entered(self, name: str, network: str | None) -> None:
        """Somebody was let in: the account is known there from now on."""
        if self._clock is None or network is None or network == INSIDE:
            return
        places = self._known.setdefault(name, OrderedDict())
        self._known.move_to_end(name)
        places[network] = None
        places.move_to_end(network)
        if len(places) > PLACES:
            places.popitem(last=False)
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def _count(self, name: str, network: str | None) -> list[_Count]:
        """Count an attempt as failed."""
        assert self._clock is not None
        now = self._clock()
        rules = self._rules(name, network)
        counts = [self._counts[key] for key in rules if key in self._counts]
        wait = max((each.free_again - now for each in counts), default=0.0)
        if wait > 0:
            raise _slow_down(ceil(wait))
        if len(self._counts) + len(rules) > MOST:
            self._make_room(now)
        counts = [self._counts.setdefault(key, _Count(rule)) for key, rule in rules.items()]
        for each in counts:
            each.add(now)
        return counts

    def _rules(self, name: str, network: str | None) -> dict[tuple[str, str], Rule]:
        """What an attempt is counted for."""
        if not name:
            return {("", network or _HERE): PLACE}
        pair = {(name, network or _HERE): PAIR}
        if network is None or network == INSIDE or network in self._known.get(name, ()):
            return pair
        return {**pair, (name, ""): ACCOUNT, ("", network): PLACE}

    def _make_room(self, now: float) -> None:
        """Forget a quarter of the counts: the lowest, and of those the oldest."""
        counts = self._counts
        for key in nsmallest(MOST // 4, counts, key=lambda key: (counts[key].at(now), counts[key].last)):
            del counts[key]


def _slow_down(seconds: int) -> Refusal:
    return Refusal(
        Code.SLOW_DOWN,
        "Too many wrong passwords or codes; a token or a recovery code that is right is taken at once.",
        seconds=seconds,
    )
