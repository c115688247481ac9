"""Tests for L{chat.store.reception}: who is hashed when, and the moment that others are told."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred, execute
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, Refusal
from chat.ports import Asker
from chat.store import reception
from chat.store.reception import (
    AT_HOME,
    AT_HOME_FROM_ONE_PLACE,
    CROWD,
    LASTS,
    OTHERS,
    OTHERS_FROM_ONE_PLACE,
    PROMISES_TO_ONE_PLACE,
    Reception,
)

#: In how many seconds two threads of these tests compute a hash each.
EACH = 0.5


class ReceptionCase(SynchronousTestCase):
    """A reception before two threads, which compute when the test wants it, at a time that stands still."""

    def setUp(self) -> None:
        """Nobody is here."""
        self.patch(reception, "THREADS", 2)
        self.now = 1000.0
        self.computing: list[tuple[Deferred[Any], Callable[..., Any], tuple[object, ...]]] = []
        self.reception = Reception(self.in_thread, lambda: self.now, EACH)
        self.done: list[str] = []

    def in_thread(self, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
        """A thread begins."""
        result: Deferred[Any] = Deferred()
        self.computing.append((result, function, arguments))
        return result

    def compute(self, times: int = 1) -> None:
        """The hashes begun first are there."""
        for _ in range(times):
            result, function, arguments = self.computing.pop(0)
            execute(function, *arguments).chainDeferred(result)

    def ask(self, asker: Asker) -> int:
        """Ask for a hash; the seconds to wait if it may not be, else 0."""
        asked = Deferred.fromCoroutine(self.reception.hash(asker, self.done.append, asker.name))
        if not asked.called:
            asked.addErrback(lambda failure: failure.trap(ZeroDivisionError))
            return 0
        refusal = self.failureResultOf(asked, Refusal).value
        self.assertIs(refusal.code, Code.SLOW_DOWN)
        self.assertRegex(refusal.reason, rf" in {refusal.seconds} second{'s' * (refusal.seconds != 1)}\.$")
        assert isinstance(refusal, Refusal) and refusal.seconds is not None
        return refusal.seconds

    def stranger(self, number: int) -> Asker:
        """Somebody from a place of his own where nobody was let in before."""
        return Asker(f"203.0.113.{number}", f"name{number}")

    def flood(self) -> None:
        """Strangers from everywhere take all there is for them."""
        for number in range(OTHERS):
            self.assertEqual(self.ask(self.stranger(number)), 0)

    def turn(self, asker: Asker) -> int:
        """How many hashes are computed until this one is."""
        self.assertEqual(self.ask(asker), 0)
        before = len(self.done)
        while asker.name not in self.done[before:]:
            self.compute()
        return self.done.index(asker.name, before) - before


class LineTests(ReceptionCase):
    """Who finds room."""

    def test_result(self) -> None:
        """What was computed, and what went wrong with it, is what the asker gets."""
        two = Deferred.fromCoroutine(self.reception.hash(Asker(), int.__add__, 1, 1))
        wrong = Deferred.fromCoroutine(self.reception.hash(Asker("192.0.2.1"), int.__floordiv__, 1, 0))
        self.assertEqual((self.reception.busy, self.reception.idle), (2, False))
        self.compute(2)
        self.assertEqual(self.successResultOf(two), 2)
        self.failureResultOf(wrong, ZeroDivisionError)
        self.assertEqual((self.reception.busy, self.reception.idle), (0, True))

    def test_noThread(self) -> None:
        """A thread that cannot be had is an error for that one asker."""

        def none(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
            raise ZeroDivisionError

        self.reception = Reception(none, lambda: self.now, EACH)
        for _ in range(OTHERS + 1):
            asked = Deferred.fromCoroutine(self.reception.hash(Asker("192.0.2.1"), len, ""))
            self.failureResultOf(asked, ZeroDivisionError)

    def test_oneEachThread(self) -> None:
        """No more is given to the threads than they can begin; the rest stays in its order."""
        for number in range(5):
            self.ask(self.stranger(number))
        self.assertEqual((len(self.computing), self.reception.busy), (2, 5))
        self.compute(5)
        self.assertEqual(self.done, [f"name{number}" for number in range(5)])

    def test_fromOnePlace(self) -> None:
        """Who fills one place's share keeps nobody out who comes from another."""
        for number in range(OTHERS_FROM_ONE_PLACE):
            self.assertEqual(self.ask(Asker("192.0.2.1", f"name{number}")), 0)
        self.assertEqual(self.ask(Asker("192.0.2.1", "alice")), 1)
        self.assertEqual(self.ask(Asker("198.51.100.2", "alice")), 0)

    def test_afterwards(self) -> None:
        """Who is done leaves room for one more from there; of a place without anybody nothing is kept."""
        for number in range(OTHERS_FROM_ONE_PLACE):
            self.ask(Asker("192.0.2.1", f"name{number}"))
        self.compute()
        self.assertEqual(self.ask(Asker("192.0.2.1", "alice")), 0)
        self.assertGreater(self.ask(Asker("192.0.2.1", "bob")), 0)
        self.compute(OTHERS_FROM_ONE_PLACE)
        self.assertEqual(self.reception._others._from, {})

    def test_noPlace(self) -> None:
        """Programs on this machine have no place, and no share that could be full."""
        for number in range(OTHERS):
            self.assertEqual(self.ask(Asker(None, f"name{number}")), 0)
        self.assertEqual(self.ask(Asker(None, "alice")), 1)

    def test_home(self) -> None:
        """However many strangers ask, who comes from a known place is let in, and is the next."""
        self.flood()
        self.assertEqual(self.ask(self.stranger(999)), 1)
        self.assertEqual(self.turn(Asker("192.0.2.1", "alice", home=True)), 2)

    def test_homeBounded(self) -> None:
        """Of one known place, and of all, only some are: the others stand in the other line."""
        for number in range(AT_HOME_FROM_ONE_PLACE):
            self.ask(Asker("192.0.2.1", f"name{number}", home=True))
        self.assertEqual(self.reception._others._inside, 0)
        self.assertEqual(self.ask(Asker("192.0.2.1", "another", home=True)), 0)
        self.assertEqual(self.reception._others._inside, 1)
        for number in range(AT_HOME):
            self.ask(Asker(f"198.51.100.{number}", f"other{number}", home=True))
        self.assertEqual(self.reception._others._inside, 1 + AT_HOME_FROM_ONE_PLACE)

    def test_bothMove(self) -> None:
        """Those at known places, however many they are, leave the strangers every fourth turn."""
        for number in range(AT_HOME):
            self.ask(Asker(f"198.51.100.{number}", f"home{number}", home=True))
        self.assertEqual(self.turn(self.stranger(1)), 2 + 3)


class PromiseTests(ReceptionCase):
    """Who is sent away knows the moment."""

    def test_exact(self) -> None:
        """A tick before the moment told it is refused still; then it is let in, though the flood goes on."""
        self.flood()
        asker = self.stranger(1000)
        wait = self.ask(asker)
        self.now += wait - 0.001
        self.assertEqual(self.ask(asker), 1)
        self.now += 0.001
        self.assertEqual(self.ask(self.stranger(1001)), 1)
        self.assertEqual(self.ask(asker), 0)
        self.assertGreater(self.ask(asker), 0)

    def test_askedAgain(self) -> None:
        """Asked again at once the answer is the same, at whatever fraction of a second that is."""
        self.flood()
        for number in range(50):
            self.now = 1022 + number / 37  # behind 1024 numbers are coarser
            asker = self.stranger(1000 + number)
            self.assertEqual(self.ask(asker), self.ask(asker))

    def test_oneAfterTheOther(self) -> None:
        """The moments follow each other as fast as hashes are computed; each is kept."""
        self.flood()
        late = [self.stranger(1000 + number) for number in range(20)]
        waits = [self.ask(each) for each in late]
        self.assertEqual(waits, [1 + number // 4 for number in range(20)])
        self.assertEqual([self.ask(each) for each in late], waits)  # and stay as they are
        for each, wait in zip(late, waits):
            self.now = 1000.0 + wait
            self.assertEqual(self.ask(each), 0)

    def test_lasts(self) -> None:
        """It lasts for a minute; then it begins anew."""
        self.flood()
        one, other = self.stranger(1000), self.stranger(1001)
        self.assertEqual([self.ask(one), self.ask(other)], [1, 1])
        self.now += 1 + LASTS
        self.assertEqual(self.ask(one), 0)
        self.now += 0.001
        self.assertEqual(self.ask(other), 1)
        self.assertEqual(len(self.reception._promises._moments), 1)

    def test_homeMeanwhile(self) -> None:
        """Who comes from a place that has become known need not wait for the moment."""
        self.flood()
        self.assertEqual(self.ask(Asker("192.0.2.1", "alice")), 1)
        self.assertEqual(self.ask(Asker("192.0.2.1", "alice", home=True)), 0)

    def test_sameMoment(self) -> None:
        """Whoever asks at the very same time is promised a moment, too, with a place or without."""
        self.flood()
        askers = [self.stranger(1000), Asker(None, "alice"), self.stranger(1001), Asker(None, "bob")]
        self.assertEqual([self.ask(each) for each in askers], [1] * 4)
        self.now += 1
        self.assertEqual([self.ask(each) for each in askers], [0] * 4)

    def test_oneAddress(self) -> None:
        """Of 60 who ask at one address, each is let in at the very moment told, and not a tick earlier."""
        people = [Asker("192.0.2.1", f"name{number}") for number in range(60)]
        waits = {each: self.ask(each) for each in people}
        told = {each: wait for each, wait in waits.items() if wait}
        self.assertEqual(len(told), 60 - OTHERS_FROM_ONE_PLACE)
        # As fast as the two threads compute, 4 each second.
        self.assertEqual(list(told.values()), [1 + number // 4 for number in range(len(told))])
        for each, wait in told.items():
            for tick, left in ((0.001, 1), (0.0, 0)):
                self.now = 1000.0 + wait - tick
                self.assertEqual(self.ask(each), left, each)

    def test_crowded(self) -> None:
        """Whoever has all moments of the common series gets some of its own, and delays nobody by it."""
        self.flood()
        crowd = [Asker("192.0.2.1", f"crowd{number}") for number in range(PROMISES_TO_ONE_PLACE + CROWD)]
        for number, each in enumerate(crowd):
            self.assertEqual(self.ask(each), 1 + number // 4)
        self.assertEqual(self.ask(Asker("198.51.100.2", "alice")), 2)
        self.now += 1 + CROWD // 4
        self.assertEqual(self.ask(Asker("198.51.100.2", "alice")), 0)
        self.assertEqual({self.ask(each) for each in crowd}, {0})
        self.assertEqual(self.reception.busy, OTHERS + 1 + len(crowd))
        # Four of the crowd and alice are in the common line; the others leave it three turns of four.
        self.compute(OTHERS + 5 + (OTHERS + 5) // 3)
        self.assertLess(self.done.index("alice"), 4 * (OTHERS + 5) // 3)
        self.assertGreater(len([name for name in self.done if name.startswith("crowd")]), 4)
        self.compute(self.reception.busy)
        self.assertEqual(len(self.done), OTHERS + 1 + len(crowd))

    def test_crowdedMore(self) -> None:
        """So many of its own; who comes after is told when all of those are over, which is no promise."""
        self.flood()
        for number in range(PROMISES_TO_ONE_PLACE + CROWD):
            self.ask(Asker("192.0.2.1", f"crowd{number}"))
        late = Asker("192.0.2.1", "late")
        wait = self.ask(late)
        self.assertEqual(wait, (PROMISES_TO_ONE_PLACE + CROWD) // 4 + LASTS + 1)
        self.now += wait
        self.assertEqual(self.ask(late), 1)
        self.assertEqual(len(self.reception._crowds._moments), 0)
        self.compute(OTHERS)
        self.now += 1
        self.assertEqual(self.ask(late), 0)
        self.assertEqual(self.reception._promises._to, {})

    def test_crowdBehind(self) -> None:
        """Where the crowd's line has not moved, what is promised there next is so much later."""
        self.flood()
        crowd = [Asker("192.0.2.1", f"crowd{number}") for number in range(PROMISES_TO_ONE_PLACE + 20)]
        for each in crowd:
            self.ask(each)
        self.now += 6
        self.assertEqual({self.ask(each) for each in crowd}, {0})
        for number in range(PROMISES_TO_ONE_PLACE):
            self.ask(Asker("192.0.2.1", f"next{number}"))
        self.assertEqual(self.ask(Asker("192.0.2.1", "last")), 6)  # 20 and this one, 4 each second

    def test_crowdsBounded(self) -> None:
        """So many moments of such series in all; those of others are not fewer for it."""
        self.patch(reception, "CROWDS", 10)
        self.reception = Reception(self.in_thread, lambda: self.now, EACH)
        self.flood()
        for number in range(20):
            for place in ("192.0.2.1", "192.0.2.2"):
                self.assertGreater(self.ask(Asker(place, f"name{number}")), 0)
        self.assertEqual(len(self.reception._crowds._moments), 10)
        self.assertEqual(self.ask(Asker("198.51.100.2", "alice")), 3)
        self.now += 3
        self.assertEqual(self.ask(Asker("198.51.100.2", "alice")), 0)

    def test_bounded(self) -> None:
        """So many moments in all; nothing is kept of who comes after that."""
        self.patch(reception, "PROMISES", 10)
        self.reception = Reception(self.in_thread, lambda: self.now, EACH)
        self.flood()
        for number in range(20):
            self.assertGreater(self.ask(Asker(None, f"late{number}")), 0)
        self.assertEqual(len(self.reception._promises._moments), 10)
        self.now += 4 + LASTS + 1
        self.compute(OTHERS)
        self.assertEqual(self.ask(Asker(None, "late19")), 0)

    def test_slower(self) -> None:
        """When hashing takes longer than at first, because others need the processor, so do promises."""
        self.flood()
        self.assertEqual([self.ask(self.stranger(1000 + number)) for number in range(4)], [1] * 4)
        for _ in range(100):
            self.now += 2.5
            self.compute()
        for number in range(100):
            self.assertEqual(self.ask(self.stranger(2000 + number)), 0)
        waits = [self.ask(self.stranger(3000 + number)) for number in range(4)]
        self.assertEqual(waits, [3, 5, 8, 10])

    def test_neverFaster(self) -> None:
        """What took no time at all, since nobody moved the clock, makes no moment earlier."""
        self.flood()
        self.compute(100)
        self.assertEqual(self.reception._each, EACH)

    def test_late(self) -> None:
        """When the threads are behind what was promised, the next moments are so much later."""
        self.flood()
        late = [self.stranger(1000 + number) for number in range(20)]
        for each in late:
            self.ask(each)
        self.now += 5
        self.assertEqual([self.ask(each) for each in late], [0] * 20)
        self.assertEqual(self.ask(self.stranger(2000)), 6)  # 20 and this one, 4 each second
