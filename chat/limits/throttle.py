"""Guessing gets slower and slower, and it is the guesser who waits.

Wrong passwords are counted for the account I{as it is tried from one place} (an IPv4
address, an IPv6 /64, this machine): after a few of them each next attempt has to wait,
1, 2, 4 seconds and so on.  That alone is what may keep an owner waiting, too, and only
at the very place from which somebody guesses.

Who guesses one password from many places, or many from one, is slowed down by two more
counts: one for each account and one for each place.  They do not concern those who are
known: an account that was entered from a place before.  That of the account does not
concern the first attempt at a place either, so that who comes from a new one is let in
whatever others do elsewhere.  Nor does anything here stop a right token or a right
recovery code, which nobody can guess, so no stranger locks an owner out.

Names are counted whether they have an account or not.  Where it is a secret which have one,
a guess is counted and answered alike for those that are known at a place and those that are
not: while the wider counts make others wait, a known account's right password is taken all
the same, but a wrong one gets the answer that the others get, and theirs is the same work.

Everything is in memory, with a bound: what gives way first is what would let a guesser try
the least.

Beside that, whoever may sign up is answered whether a name is free, and makes accounts, as
often as a person would; that, too, is counted by the place.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import contextmanager
from heapq import nsmallest
from math import ceil
from typing import Callable, Iterator, NamedTuple

from chat.errors import Code, Refusal
from chat.origin import neighbourhood

#: In so many seconds one failure is forgotten, once the wait after the last one is over.
FORGOTTEN = 600.0
#: The most counts that are kept, and the most accounts whose places are.
MOST = 10_000
#: The most places of one account that are known: the last ones from which it was entered.
PLACES = 8
#: The place of a session that is logged in, and is asked for the password again.
INSIDE = "inside"
#: So many accounts may be made at one place at once; then one more each so many seconds.
SIGN_UPS = 20
SECONDS_EACH = 10.0

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
#: For an account as it is tried from a neighbourhood: nobody waits, it only tells whether that is new.
NEAR = Rule(1, 0.0)


class _Count:
    """How often something failed.

    @ivar number: the failures that are not forgotten, as of the last one.
    @ivar last: when that was.
    """

    __slots__ = ("_before", "_rule", "last", "number")

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.number = 0.0
        self.last = 0.0
        self._before = 0.0

    def at(self, now: float) -> float:
        """How many failures are not forgotten now."""
        return max(0.0, self.number - max(0.0, now - max(self.last, self.free_again)) / FORGOTTEN)

    def add(self, now: float) -> None:
        """One more."""
        self.number = min(self.at(now) + 1, self._rule.free + _WORST)
        self._before, self.last = self.last, now

    def take_back(self) -> None:
        """It was none."""
        self.number = max(0.0, self.number - 1)

    def undo(self) -> None:
        """It was none, and nobody is to see that there was anything."""
        self.take_back()
        self.last = self._before

    @property
    def free_again(self) -> float:
        """When the next attempt may be made."""
        # Rounded: what was forgotten between two attempts that came close to each other makes no difference.
        beyond = round(self.number) - self._rule.free
        return 0.0 if beyond < 0 else self.last + min(self._rule.longest, 2.0**beyond)


class _Attempt:
    """One guess that is being checked, however often it was made meanwhile.

    @ivar known: whether the account is known at that place.
    @ivar wait: how many seconds others would have had to wait.
    @ivar together: how often it was made.
    @ivar wrong: whether it was found to be wrong, whatever else one of those who made it met.
    """

    __slots__ = ("_counts", "known", "together", "wait", "wrong")

    def __init__(self, counts: list[_Count], known: bool, wait: int) -> None:
        self._counts = counts
        self.known = known
        self.wait = wait
        self.together = 0
        self.wrong = False

    def undo(self) -> None:
        """It was no failure; to say it again is harmless."""
        for each in self._counts:
            each.undo()
        self._counts = []


class Throttle:
    """What was tried lately, and how long each next attempt has to wait."""

    def __init__(self, clock: Callable[[], float] | None) -> None:
        """Nothing was tried yet.

        @param clock: a time in seconds that only grows; C{None}: nobody ever waits.
        """
        self._clock = clock
        self._counts: dict[tuple[str, str], _Count] = {}
        self._known: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._homes: Counter[str] = Counter()  # of how many accounts each place is known
        # When each place may make so many accounts at once again.
        self._sign_ups: dict[str, float] = {}
        # What is being checked.
        self._attempts: dict[tuple[str, str | None, str], _Attempt] = {}

    @contextmanager
    def attempt(self, name: str, network: str | None, guess: str, *, alike: bool = False) -> Iterator[bool]:
        """Around the check of what can be guessed: before it, for it may cost much.

        The attempt counts as failed from its beginning, so that many at once are no way round; but the
        same guess, made again while it is being checked, is the same attempt: a program that knows its
        password may log in many times at once.
        What it gives tells whether the check is in earnest; if not, it is done for the sake of the work,
        and ends in a refusal whatever was shown.

        @param name: the prepared name, whether there is such an account or not.
        @param network: see L{chat.origin.Origin.network}; or L{INSIDE}.
        @param guess: what is shown; it is forgotten with the attempt.
        @param alike: whether the answer must not tell if the account is known there.
        @raise Refusal: C{slow-down}, with the seconds to wait.
        """
        if self._clock is None:
            yield True
            return
        key = (name, network, guess)
        attempt = self._attempts.get(key)
        if attempt is None:
            known = self._is_known(name, network)
            counts, wait = self._count(name, network, known=known, alike=alike)
            attempt = self._attempts[key] = _Attempt(counts, known, wait)
        attempt.together += 1
        try:
            yield attempt.known or attempt.wait == 0
        except Refusal as refusal:
            attempt.wrong = attempt.wrong or refusal.code in WRONG
            if attempt.wrong and attempt.wait and alike:
                raise _slow_down(attempt.wait) from refusal
            raise
        else:
            attempt.undo()
            self._counts.pop((name, network or _HERE), None)
            self.entered(name, network)
        finally:
            attempt.together -= 1
            if not attempt.together:
                del self._attempts[key]
                if not attempt.wrong:
                    attempt.undo()

    def failed(self, name: str, network: str | None, *, alike: bool = False) -> None:
        """Something that nobody can guess was wrong: a token, a recovery code, an invitation (of no name).

        @raise Refusal: C{slow-down}, there were too many.
        """
        if self._clock is not None:
            known = not alike and self._is_known(name, network)
            self._count(name, network, known=known)

    def naming(self, network: str | None) -> Callable[[], None]:
        """An invited stranger asks whether a name is free. To be called if it is.

        One that is not counts as something wrong, for to know that is worth as much as a guess.

        @raise Refusal: C{slow-down}, whatever the name is.
        """
        counts = [] if self._clock is None else self._count("", network)[0]

        def is_free() -> None:
            for each in counts:
                each.take_back()

        return is_free

    def signs_up(self, network: str | None) -> None:
        """Somebody makes an account.

        @raise Refusal: C{slow-down}, there were too many lately.
        """
        if self._clock is None or network is None:
            return
        now = self._clock()
        full = max(now, self._sign_ups.get(network, now)) + SECONDS_EACH
        wait = ceil(full - now - SIGN_UPS * SECONDS_EACH)
        if wait > 0:
            raise Refusal(
                Code.SLOW_DOWN,
                f"Too many accounts were made from there. Make the next one in {wait} seconds.",
                seconds=wait,
            )
        if len(self._sign_ups) >= MOST:
            for each in nsmallest(MOST // 4, self._sign_ups, key=self._sign_ups.__getitem__):
                del self._sign_ups[each]
        self._sign_ups[network] = full

    def entered(self, name: str, network: str | None) -> None:
        """Somebody was let in: the account is known there from now on."""
        if self._clock is None or network is None or network == INSIDE:
            return
        places = self._known.setdefault(name, OrderedDict())
        self._known.move_to_end(name)
        if network not in places:
            places[network] = None
            self._homes[network] += 1
        places.move_to_end(network)
        if len(places) > PLACES:
            self._no_home(places.popitem(last=False)[0])
        if len(self._known) > MOST:
            for place in self._known.popitem(last=False)[1]:
                self._no_home(place)

    def is_home(self, network: str | None) -> bool:
        """Whether somebody was let in from there, by any name, and it is not long ago."""
        return network in self._homes

    def _no_home(self, network: str) -> None:
        self._homes[network] -= 1
        if not self._homes[network]:
            del self._homes[network]

    def _is_known(self, name: str, network: str | None) -> bool:
        """Whether this account was entered from there before; who has no address is nobody's neighbour."""
        return network is None or network == INSIDE or network in self._known.get(name, ())

    def _count(
        self, name: str, network: str | None, *, known: bool = False, alike: bool = False
    ) -> tuple[list[_Count], int]:
        """Count an attempt as failed; the counts that it is in, and how long others would have to wait.

        @param known: only the count of the account at this place is to keep it waiting.
        @param alike: it does not, either, where the same is done in vain for those that are not known.
        """
        assert self._clock is not None
        now = self._clock()
        rules = self._rules(name, network)
        account = self._counts.get((name, ""))
        if account is not None and account.free_again > now and not self._failed_near(rules, now):
            # It neither waits for what was tried elsewhere, nor makes that wait longer.
            rules.pop((name, ""), None)
        waits = {key: self._counts[key].free_again - now for key in rules if key in self._counts}
        wait = max(0, ceil(max(waits.values(), default=0.0)))
        if wait:
            pair = (name, network or _HERE)
            own = max(0, ceil(waits.get(pair, 0.0)))
            if own or not (known or alike):
                raise _slow_down(own if known and not alike else wait)
            rules = {pair: PAIR}
        if len(self._counts) + len(rules) > MOST:
            self._make_room(now)
        counts = [self._counts.setdefault(key, _Count(rule)) for key, rule in rules.items()]
        for each in counts:
            each.add(now)
        return counts, wait

    def _rules(self, name: str, network: str | None) -> dict[tuple[str, str], Rule]:
        """What an attempt is counted for."""
        if not name:
            return {("", network or _HERE): PLACE}
        pair = {(name, network or _HERE): PAIR}
        if network is None or network == INSIDE:
            return pair
        return {(name, neighbourhood(network)): NEAR, **pair, (name, ""): ACCOUNT, ("", network): PLACE}

    def _failed_near(self, rules: dict[tuple[str, str], Rule], now: float) -> bool:
        """Whether this account was tried there, or in the neighbourhood, in vain lately."""
        first = next(iter(rules))  # the widest that is around the pair
        return first in self._counts and self._counts[first].at(now) > 0

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
