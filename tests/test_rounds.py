"""Tests for L{chat.health.rounds}: the next round comes, whatever happens in one."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import storage_full
from chat.health.rounds import PATIENCE, Rounds


class RoundsTests(SynchronousTestCase):
    """Rounds of ten seconds, in two steps."""

    def setUp(self) -> None:
        """A clock, and a list of what is done at which moment."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.done: list[tuple[float, str]] = []
        self.answers: list[Any] = []
        self.rounds = Rounds("sweeping", 10, self.clock, self.first, self.second, first=1)

    async def first(self) -> object:
        """Do as the next answer says: wait for it, raise it, or nothing."""
        self.done.append((self.clock.seconds() - 1000, "first"))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return await (answer or succeed(None))

    async def second(self) -> None:
        """Only note it."""
        self.done.append((self.clock.seconds() - 1000, "second"))

    def test_again(self) -> None:
        """The first one comes when it is to, the others a period after the end of the one before."""
        slow: Deferred[None] = Deferred()
        self.answers = [slow]
        self.rounds.start()
        self.clock.advance(1)
        self.clock.advance(3)
        self.assertEqual(self.done, [(1, "first")])
        self.assertIsNone(self.rounds.succeeded)
        slow.callback(None)
        self.assertEqual(self.rounds.succeeded, 1004)
        self.clock.advance(9)
        self.assertEqual(len(self.done), 2)
        self.clock.advance(1)
        self.assertEqual(self.done, [(1, "first"), (4, "second"), (14, "first"), (14, "second")])
        self.rounds.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_usually(self) -> None:
        """Without a word the first one comes after a period."""
        rounds = Rounds("sweeping", 10, self.clock, self.second)
        rounds.start()
        self.clock.advance(9.9)
        self.assertEqual(self.done, [])
        self.clock.advance(0.1)
        self.assertEqual(len(self.done), 1)

    def test_fails(self) -> None:
        """A step that fails is logged and counted; the next step comes, and the next round."""
        self.answers = [ZeroDivisionError()]
        self.rounds.start()
        self.clock.advance(1)
        self.assertEqual([step for _, step in self.done], ["first", "second"])
        self.assertEqual((self.rounds.failures, self.rounds.succeeded), (1, None))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(10)
        self.assertEqual((self.rounds.failures, self.rounds.succeeded), (1, 1011))

    def test_refused(self) -> None:
        """For what is nobody's fault a line is enough."""
        self.answers = [storage_full()]
        with capturedLogs() as events:
            self.rounds.start()
            self.clock.advance(1)
        (event,) = events
        self.assertEqual(event["log_level"], LogLevel.warn)
        self.assertIn("sweeping has to wait for the next round: The server has no room", formatEvent(event))
        self.assertEqual(self.rounds.failures, 1)

    def test_hangs(self) -> None:
        """A round that never ends is given up, whatever it waits for, and the next one comes."""
        self.answers = [Deferred()]
        self.rounds.start()
        self.clock.advance(1)
        with capturedLogs() as events:
            self.clock.advance(PATIENCE * 10)
        self.assertIn("sweeping was given up", formatEvent(events[0]))
        self.assertEqual(self.rounds.failures, 1)
        self.clock.advance(9.9)
        self.assertTrue(self.rounds.late)
        self.clock.advance(0.1)
        self.assertEqual([step for _, step in self.done], ["first", "first", "second"])
        self.assertFalse(self.rounds.late)

    def test_late(self) -> None:
        """It is late when there was no success for three periods, also since the start."""
        self.assertFalse(self.rounds.late)  # nothing was to be done yet
        self.answers = [ValueError() for _ in range(4)]
        self.rounds.start()
        self.clock.pump([1, 10, 10, 10])
        self.assertFalse(self.rounds.late)
        self.clock.advance(0.1)
        self.assertTrue(self.rounds.late)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 4)
        self.clock.advance(10)
        self.assertFalse(self.rounds.late)
        self.answers = [ValueError() for _ in range(4)]
        self.clock.pump([10] * 3)
        self.assertFalse(self.rounds.late)
        self.clock.advance(0.1)
        self.assertTrue(self.rounds.late)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)
        self.rounds.stop()
        self.assertFalse(self.rounds.late)

    def test_stopped(self) -> None:
        """Stopped in the middle: what it waits for is given up without a word, and nothing comes after."""
        self.answers = [Deferred()]
        self.rounds.start()
        self.clock.advance(1)
        with capturedLogs() as events:
            self.rounds.stop()
            self.rounds.stop()
        self.assertEqual((list(events), self.clock.getDelayedCalls()), ([], []))
        self.assertEqual((self.rounds.failures, len(self.done)), (0, 1))

    def test_neverStarted(self) -> None:
        """What was never begun can be stopped."""
        self.rounds.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
