"""Tests for retention: its rounds, and the server that makes them."""

from __future__ import annotations

import sqlite3
from typing import Any, Awaitable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chat import tap
from chat.admin.audit import audit
from chat.errors import storage_full
from chat.health.rounds import PATIENCE
from chat.ledger import Draft
from chat.service import Settings
from chat.store.files import path
from chat.store.retention import EVERY, FIRST, PAUSE, Retention
from chat.store.returns import Expiry
from chat.tap import Options
from tests.retention_case import DAY, MS, Limited
from tests.test_service import ServiceTestCase
from tests.test_upgrade import first_version
from tests.town import names
from tests.world import Onlooker, World


class _Shelf:
    """A store that notes what is asked of it."""

    def __init__(self, clock: Clock) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[Any] = []
        self._clock = clock

    def expire(self, before: int, after: tuple[int, int]) -> Awaitable[Expiry]:
        """The next answer there is, or that nothing is left."""
        self.asked.append((self._clock.seconds(), "expire", before, after))
        answer: Awaitable[Expiry] = self._answer(Expiry(None, set()))
        return answer

    def fold(self, before: int) -> Awaitable[bool]:
        """The same."""
        self.asked.append((self._clock.seconds(), "fold", before))
        answer: Awaitable[bool] = self._answer(False)
        return answer

    def _answer(self, default: Any) -> Any:
        answer = self.answers.pop(0) if self.answers else default
        if isinstance(answer, Deferred):
            return answer
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)


class RoundsTests(SynchronousTestCase):
    """The rounds come whatever happens in one of them, and end when the server stops."""

    def setUp(self) -> None:
        """A clock and a store."""
        self.clock = Clock()
        self.store = _Shelf(self.clock)
        self.told: list[int] = []

    def rounds(self, expire: int = 0, fold: int = 0) -> Retention:
        """Begin to make rounds."""
        made = Retention(
            self.store,
            self.clock,
            lambda: int(self.clock.seconds() * MS) + 10_000_000,
            self.told.extend,
            expire=expire,
            fold=fold,
        )
        made.start()
        return made

    def test_never(self) -> None:
        """Where neither is asked for there is not even a timer."""
        self.rounds().stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_chunks(self) -> None:
        """A round goes on where the last transaction ended, with pauses, and tells the senders of each."""
        self.store.answers = [
            Expiry((5, 6), {1, 2}),
            Expiry((7, 8), {3}),
            Expiry(None, {4}),
            True,
            True,
            False,
        ]
        self.rounds(expire=1000, fold=2000)
        self.clock.advance(FIRST)
        self.assertEqual(self.store.asked, [(FIRST, "expire", 10_059_000, (0, 0))])
        self.clock.pump([PAUSE] * 10)
        self.assertEqual(
            [each[1:] for each in self.store.asked[1:3]],
            [
                ("expire", 10_059_000, (5, 6)),
                ("expire", 10_059_000, (7, 8)),
            ],
        )
        self.assertEqual(self.told, [1, 2, 3, 4])
        self.assertEqual([each[1] for each in self.store.asked[3:]], ["fold"] * 3)
        self.assertGreater(self.store.asked[2][0], self.store.asked[1][0])
        self.clock.advance(EVERY)
        self.assertEqual(self.store.asked[6][1], "expire")

    def test_onlyOne(self) -> None:
        """Only what is asked for is done."""
        for settings, what in (({"expire": 5}, "expire"), ({"fold": 5}, "fold")):
            self.store.asked.clear()
            made = self.rounds(**settings)
            self.clock.advance(FIRST)
            self.clock.advance(PAUSE)
            self.assertEqual([each[1] for each in self.store.asked], [what])
            made.stop()

    def test_survivesErrors(self) -> None:
        """An error is logged; the rest of the round and the next one come all the same."""
        self.store.answers = [ValueError("broken"), storage_full()]
        self.rounds(expire=1, fold=1)
        self.clock.advance(FIRST)
        self.assertEqual([each[1] for each in self.store.asked], ["expire", "fold"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(EVERY)
        self.clock.advance(PAUSE)
        self.assertEqual([each[1] for each in self.store.asked], ["expire", "fold"] * 2)

    def test_teller(self) -> None:
        """Nor does an error of a session that is told end the rounds."""

        def broken(senders: object) -> None:
            raise ValueError("a broken session")

        Retention(self.store, self.clock, lambda: 0, broken, expire=1).start()
        self.clock.advance(FIRST)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(EVERY)
        self.assertEqual(len(self.store.asked), 2)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopBetween(self) -> None:
        """Stopped between two rounds: no timer is left."""
        made = self.rounds(expire=1)
        made.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(FIRST + EVERY)
        self.assertEqual(self.store.asked, [])

    def test_stopInAPause(self) -> None:
        """Stopped in a pause: no timer is left, nothing more is asked."""
        self.store.answers = [Expiry((1, 1), set())]
        made = self.rounds(expire=1, fold=1)
        self.clock.advance(FIRST)
        made.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.store.asked), 1)

    def test_stopInATransaction(self) -> None:
        """Stopped while the store is at it: it completes that, and nothing more is asked."""
        answer: Deferred[bool] = Deferred()
        self.store.answers = [answer]
        made = self.rounds(fold=1)
        self.clock.advance(FIRST)
        made.stop()
        answer.callback(True)
        self.assertEqual(len(self.store.asked), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_followedThrough(self) -> None:
        """A round that is given up, or stopped, while the store is at it: who got something back is told."""
        for give_up in (lambda _: self.clock.advance(PATIENCE * EVERY), Retention.stop):
            answer: Deferred[Expiry] = Deferred()
            self.store.answers = [answer]
            made = self.rounds(expire=1)
            self.clock.advance(FIRST)
            give_up(made)
            made.stop()
            answer.callback(Expiry((5, 6), {7}))
            self.assertEqual(self.told, [7])
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.told.clear()
        self.assertEqual(len(self.store.asked), 2)

    def test_inTheWorld(self) -> None:
        """All of it together: a world in which the rounds are made."""
        world = Limited(self.mktemp())
        self.addCleanup(world.close)
        alice, bob = world.sign_up("alice", "bob")
        world.send(alice, "bob")
        gone = world.send(alice, "bob").id
        world.result(world.mailroom.remove(bob, [gone]))
        made = Retention(
            world.store,
            world.clock,
            world.now,
            world.mailroom.returned,
            expire=DAY * MS,
            fold=DAY * MS,
        )
        made.start()
        onlooker = Onlooker(world, alice).enter()
        for _ in range(200):
            world.clock.advance(EVERY)
            world.clock.advance(PAUSE)
        self.assertEqual([shown.returned.code for shown in onlooker.shown if shown.returned], ["expired"])
        self.assertEqual(world.sql("SELECT first, last FROM folded"), [(gone, gone)])
        made.stop()
        self.assertEqual(names(audit(world.path)), [])


class ServiceTests(ServiceTestCase):
    """The server does what the operator has set."""

    def settings(self, *arguments: str) -> dict[str, Any]:
        """What these options set."""
        options = Options()
        options.parseOptions(list(arguments))
        return {name.replace("-", "_"): options[name] for name in ("expire", "mailbox-limit", "fold")}

    def test_options(self) -> None:
        """Never, unless the operator says so; bad values are named."""
        self.assertEqual(self.settings(), {"expire": 0, "mailbox_limit": 0, "fold": 0})
        self.assertEqual(
            self.settings("--expire", "30.5", "--mailbox-limit", "1000", "--fold", "90"),
            {"expire": 30.5, "mailbox_limit": 1000, "fold": 90},
        )
        for name in ("expire", "mailbox-limit", "fold"):
            for wrong in ("-1", "soon"):
                error = self.assertRaises(UsageError, self.settings, f"--{name}", wrong)
                self.assertIn(f"--{name} is a number from 0", str(error))
        self.assertRaises(UsageError, self.settings, "--mailbox-limit", "1.5")
        made: list[Settings] = []
        self.patch(tap, "ChatService", lambda reactor, settings, *_: made.append(settings))
        options = Options()
        options.parseOptions(["--expire", "1", "--mailbox-limit", "2", "--fold", "3"])
        tap.makeService(options)
        self.assertEqual((made[0].expire, made[0].mailbox_limit, made[0].fold), (1, 2, 3))

    def waiting(self) -> None:
        """Alice has sent bob two messages, one of which he has removed."""
        world = World(self.data, clock=self.reactor)
        alice, bob = world.sign_up("alice", "bob")
        world.send(alice, "bob")
        world.result(world.mailroom.remove(bob, [world.send(alice, "bob").id]))
        world.close()

    def found(self) -> tuple[list[Any], list[Any]]:
        """The codes in the ledger, and the runs that are folded."""
        connection = sqlite3.connect(path(self.data, "messages"))
        try:
            codes = connection.execute("SELECT id, code FROM ledger").fetchall()
            return codes, connection.execute("SELECT first, last FROM folded").fetchall()
        finally:
            connection.close()

    def test_rounds(self) -> None:
        """With the options, the rounds come; when the server stops, no timer of them is left."""
        self.waiting()
        self.reactor.advance(2 * DAY)
        started = self.start(expire=1, fold=1)
        self.reactor.advance(FIRST)
        self.reactor.pump([PAUSE] * 5)
        self.assertEqual(self.found(), ([(1, "expired")], [(2, 2)]))
        self.stop(started)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(names(audit(self.data)), [])

    def test_never(self) -> None:
        """Without them everything stays."""
        self.waiting()
        self.start()
        self.reactor.advance(2 * DAY)
        self.reactor.advance(2 * DAY)
        self.assertEqual(self.found(), ([(1, None), (2, None)], []))

    def test_limit(self) -> None:
        """The limit reaches the store."""
        self.waiting()
        started = self.start(mailbox_limit=1)
        world = started._data
        outcomes: list[Any] = []
        draft = Draft("bob", "bob", None, "x", None, 0)
        world.accept(1, [draft], outcomes.extend, outcomes.append)
        self.reactor.advance(0)
        self.assertEqual(outcomes[0].code, "mailbox-full")

    def test_upgrade(self) -> None:
        """A server that is started on files of the first version upgrades them and says where the old are."""
        first_version(self.data)
        with capturedLogs() as logged:
            self.stop(self.start())
        (kept,) = self.data.glob("backup-schema-1-*")
        self.assertIn(str(kept), [event.get("kept") for event in logged])
        self.assertEqual(names(audit(self.data)), [])
