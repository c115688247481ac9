"""Tests of L{chat.store.indexing}: when messages enter the index."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, Refusal, storage_full
from chat.store.indexing import BATCHES, FEW, LAGGING, LATER, PATIENT, PAUSE, REST, SOON, STALE, Indexing
from chat.store.volumes import Left


class PaceTests(SynchronousTestCase):
    """L{chat.store.indexing}: what enters when."""

    def setUp(self) -> None:
        """An index that is as far as a test wants.

        C{self.left}: what the next batch reports; C{self.took}: how long it takes; C{self.stale}: since
        when a volume is stale; C{self.error}: what goes wrong.
        """
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.left = Left(1, 5, 5)
        self.took = 0.0
        self.stale: int | None = None
        self.error: Exception | None = None
        self.batches: list[bool] = []
        self.renewed: list[int] = []
        self.indexing = Indexing(
            self.clock, self.extend, self.renew, lambda: int(self.clock.seconds() * 1000)
        )

    async def extend(self, older: bool) -> Left:
        """A batch."""
        self.batches.append(older)
        if self.took:
            await deferLater(self.clock, self.took)
        if self.error is not None:
            raise self.error
        return self.left

    async def renew(self, before: int) -> int | None:
        """A part of a volume."""
        self.renewed.append(before)
        return self.stale

    def pause(self) -> float | None:
        """How long until the next step."""
        calls = self.clock.getDelayedCalls()
        return calls[0].getTime() - self.clock.seconds() if calls else None

    def test_idle(self) -> None:
        """Without anything to do there is no timer; what is accepted is indexed soon, all at once."""
        self.assertIsNone(self.pause())
        self.indexing.wake()
        self.indexing.wake()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(self.pause(), SOON)
        self.clock.advance(SOON)
        self.assertEqual((self.batches, self.renewed), ([True], [1000_500 - STALE]))
        self.assertIsNone(self.pause())

    def test_quietMoment(self) -> None:
        """While many messages keep coming it waits, unless too many are not indexed."""
        self.indexing.wake(FEW + 1)
        for _ in range(5):
            self.clock.advance(SOON / 2)
            self.indexing.wake(FEW + 1)
            self.clock.advance(SOON / 2)
            self.assertEqual(self.batches, [])
        self.indexing.wake(PATIENT)
        self.assertEqual(self.indexing.lag, PATIENT + 6 * (FEW + 1))
        self.clock.advance(SOON)
        self.assertEqual((len(self.batches), self.indexing.lag), (1, 0))
        self.indexing.wake(1)
        self.clock.advance(SOON)
        self.assertEqual((len(self.batches), self.pause()), (2, None))

    def test_few(self) -> None:
        """Those that keep coming a few at a time are indexed as they come: no search waits for them."""
        for count in range(1, 6):
            self.indexing.wake(FEW // 2)
            self.clock.advance(SOON / 2)
            self.indexing.wake(FEW // 2)
            self.clock.advance(SOON / 2)
            self.assertEqual(len(self.batches), count)

    def test_pauses(self) -> None:
        """Between batches it rests longer than they take, unless it lags far behind."""
        self.indexing.wake()
        for newest, took, pause in ((9, 0.0, PAUSE), (9, 0.1, 0.1 * REST), (10 + LAGGING, 0.1, 0.1)):
            self.left = Left(1, 5 + len(self.batches), newest)
            self.took = took
            self.clock.advance(self.pause() or 0)
            self.clock.advance(took)
            self.assertAlmostEqual(self.pause() or 0, pause, 5)

    def test_late(self) -> None:
        """It is late when something should be done and nothing succeeds; with nothing to be done, never."""
        self.clock.advance(10**6)
        self.assertEqual((self.indexing.late, self.indexing.succeeded), (False, self.clock.seconds()))
        self.error = RuntimeError("broken")
        began = self.clock.seconds()
        self.indexing.wake()
        patience = 3 * self.indexing.period
        while self.clock.seconds() <= began + patience:
            self.assertEqual((self.indexing.late, self.indexing.succeeded), (False, began))
            self.clock.advance(self.pause() or 0)
        self.assertTrue(self.indexing.late)
        self.assertEqual(self.indexing.failures, len(self.flushLoggedErrors(RuntimeError)))
        self.error = None
        self.clock.advance(LATER)
        self.assertEqual((self.indexing.late, self.indexing.succeeded), (False, self.clock.seconds()))
        self.indexing.wake()
        self.indexing.stop()
        self.clock.advance(2 * patience)
        self.assertFalse(self.indexing.late)

    def test_busy(self) -> None:
        """While it has good reason to wait it is not late, nor while there is no room."""
        self.indexing.wake(FEW + 1)
        for _ in range(25):
            self.clock.advance(SOON / 2)
            self.indexing.wake(FEW + 1)
            self.clock.advance(SOON / 2)
            self.assertFalse(self.indexing.late)
        self.assertEqual(self.batches, [])
        self.left = Left(1, 3, 5)
        for _ in range(50):
            self.clock.advance(LATER)
            self.assertFalse(self.indexing.late)

    def test_older(self) -> None:
        """What was there before goes on until it is done."""
        self.left = Left(7, 9, 9)
        self.indexing.wake()
        self.clock.advance(SOON)
        self.assertEqual(self.indexing.lag, 6)
        self.left = Left(1, 9, 9)
        self.clock.advance(PAUSE)
        self.assertEqual((len(self.batches), self.pause()), (2, None))

    def test_noRoom(self) -> None:
        """While there is no room for more, it is tried again later."""
        self.left = Left(1, 3, 5)
        self.indexing.wake()
        self.clock.advance(SOON)
        self.clock.advance(PAUSE)
        self.assertEqual((len(self.batches), self.pause()), (2, LATER))
        self.left = Left(1, 5, 5)
        self.indexing.wake()
        self.assertEqual(self.pause(), SOON)
        self.clock.advance(SOON)
        self.assertIsNone(self.pause())

    def test_meanwhile(self) -> None:
        """What is accepted while a batch is under way is not forgotten."""
        self.took = 1.0
        self.indexing.wake()
        self.clock.advance(SOON)
        self.indexing.wake()
        self.assertEqual(self.pause(), 1.0)
        self.clock.advance(1.0)
        self.assertEqual(self.pause(), SOON)
        self.clock.advance(SOON)
        self.clock.advance(1.0)
        self.assertEqual((len(self.batches), self.pause()), (2, None))

    def test_stale(self) -> None:
        """A volume is written anew when it is time, bit by bit; what is new comes first."""
        now = int(self.clock.seconds() * 1000)
        self.stale = now
        self.indexing.wake()
        self.clock.advance(SOON)
        self.assertAlmostEqual(self.pause() or 0, STALE / 1000 - SOON, 3)
        self.indexing.wake()
        self.assertEqual(self.pause(), SOON)
        self.clock.advance(SOON)
        self.clock.advance(STALE / 1000)
        self.assertAlmostEqual(self.pause() or 0, PAUSE, 5)
        self.stale = None
        self.clock.advance(PAUSE)
        self.assertIsNone(self.pause())

    def test_clockSet(self) -> None:
        """A clock that is set back or ahead makes no pause long."""
        for jump in (-86_400.0, 86_400.0):

            async def extend(older: bool, jump: float = jump) -> Left:
                self.clock.rightNow += jump
                return self.left

            self.left = Left(1, 5, 99)
            self.indexing = Indexing(self.clock, extend, self.renew, self.now)
            self.indexing.wake()
            self.clock.advance(SOON)
            self.assertLessEqual(self.pause() or 0, LATER)
            self.indexing.stop()
        self.left = Left(1, 5, 5)
        self.stale = self.now() + 86_400_000
        self.indexing = Indexing(self.clock, self.extend, self.renew, self.now)
        self.indexing.wake()
        self.clock.advance(SOON)
        self.assertLessEqual(self.pause() or 0, LATER)

    def now(self) -> int:
        """The time in milliseconds."""
        return int(self.clock.seconds() * 1000)

    def test_failure(self) -> None:
        """Whatever goes wrong is tried again later; a lack of room is no news."""
        self.error = storage_full()
        self.indexing.wake()
        self.clock.advance(SOON)
        self.assertEqual(self.pause(), LATER)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.error = RuntimeError("broken")
        self.clock.advance(LATER)
        self.assertEqual(self.pause(), LATER)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.error = None
        self.clock.advance(LATER)
        self.assertIsNone(self.pause())

    def test_stop(self) -> None:
        """After the end nothing begins any more."""
        self.indexing.wake()
        self.indexing.stop()
        self.assertIsNone(self.pause())
        self.indexing.wake()
        self.assertIsNone(self.pause())

    def test_stopMeanwhile(self) -> None:
        """Not even when a batch was under way, however that ends."""
        for error in (None, RuntimeError("closed")):
            self.setUp()
            self.took = 1.0
            self.left = Left(1, 3, 5)
            self.indexing.wake()
            self.clock.advance(SOON)
            self.indexing.stop()
            self.error = error
            self.clock.advance(1.0)
            self.assertIsNone(self.pause())

    async def new(self) -> Left:
        """A batch of what is new, for a search."""
        return await self.indexing._extend(False)

    def caught_up(self) -> bool:
        """Whether a search finds everything indexed."""
        results: list[bool] = []
        Deferred.fromCoroutine(self.indexing.catch_up(self.new)).addCallback(results.append)
        (result,) = results
        return result

    def test_catchUp(self) -> None:
        """For a search all that is there enters, not what was there before, nor what comes meanwhile."""
        self.assertTrue(self.caught_up())
        self.assertEqual(self.batches, [False])
        lefts = [Left(7, 8, 10), Left(7, 9, 12), Left(7, 10, 14)]

        async def extend(older: bool) -> Left:
            return lefts.pop(0)

        self.indexing = Indexing(self.clock, extend, self.renew, lambda: 0)
        self.assertTrue(self.caught_up())
        self.assertEqual(lefts, [])

    def test_catchUpNot(self) -> None:
        """If that would take too long, or there is no room, a search is told."""
        self.left = Left(1, 3, 5)
        self.assertFalse(self.caught_up())
        self.assertEqual(len(self.batches), 2)
        self.error = storage_full()
        self.assertFalse(self.caught_up())
        lefts = [Left(1, last, 10**6) for last in range(1, BATCHES + 6)]

        async def extend(older: bool) -> Left:
            return lefts.pop(0)

        self.indexing = Indexing(self.clock, extend, self.renew, lambda: 0)
        self.assertFalse(self.caught_up())
        self.assertEqual(len(lefts), 5)

    def test_catchUpFails(self) -> None:
        """Other failures are told."""
        for error in (RuntimeError("broken"), Refusal(Code.SHUTTING_DOWN, "no more")):
            self.error = error
            failures: list[Any] = []
            Deferred.fromCoroutine(self.indexing.catch_up(self.new)).addErrback(failures.append)
            self.assertIs(failures[0].value, error)
