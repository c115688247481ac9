"""Tests for L{chat.store.fates}: the numbers are those of the file, and show what is lost from it."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from chat.health.gauges import Census
from chat.messages import Message
from chat.store import fates, folding, returns
from chat.store.fates import Count
from tests.world import World, at_once, open_world

DAY = 24 * 60 * 60


class FatesCase(SynchronousTestCase):
    """A world with three people in it, whose messages were counted when there were none."""

    def setUp(self) -> None:
        """Alice, bob and carol."""
        self.world = open_world(self)
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")
        self.count()

    def count(self, in_thread: Any = at_once) -> None:
        """Look at every message."""
        self.world.result(self.world.store.recount(Count(self.world.path), in_thread))

    def census(self) -> Census:
        """What is said without looking at them."""
        census = self.world.result(self.world.store.census())
        assert census is not None
        return census

    def assertFates(self, **expected: int) -> None:
        """So many messages met these fates, and none any other; a count finds the same."""
        for _ in range(2):
            census = self.census()
            self.assertEqual({fate: n for fate, n in census.fates.items() if n}, expected)
            self.assertEqual(census.accepted, sum(expected.values()))
            self.assertEqual(census.unaccounted, 0)
            self.count()


class CensusTests(FatesCase):
    """Each step of a message changes the numbers by what it is."""

    def test_none(self) -> None:
        """Before the first count nothing is said rather than something wrong."""
        world = self.world.reopen()
        self.addCleanup(world.close)
        self.assertIsNone(world.result(world.store.census()))

    def test_delivered(self) -> None:
        """Waiting, delivered, removed."""
        first = self.world.send(self.alice, "bob", receipt=True).id
        self.world.send(self.alice, "bob")
        self.assertFates(waiting=2)
        self.world.confirm(self.bob, first)
        self.world.confirm(self.bob, first)
        self.assertFates(waiting=1, delivered=1)
        self.world.result(self.world.mailroom.remove(self.bob, [first]))
        self.assertFates(waiting=1, removed=1)

    def test_removedUnread(self) -> None:
        """Removed while it waits."""
        id = self.world.send(self.alice, "bob").id
        self.world.result(self.world.mailroom.remove(self.bob, [id]))
        self.assertFates(removed=1)

    def test_returned(self) -> None:
        """What came back is returned, whatever its sender does with it then."""
        ids = [self.world.send(self.alice, "nobody", receipt=True).id for _ in range(2)]
        other = self.world.send(self.bob, "alice").id
        self.assertFates(returned=2, waiting=1)
        self.world.confirm(self.alice, ids[0], other)
        self.assertFates(returned=2, delivered=1)
        self.world.result(self.world.mailroom.remove(self.alice, ids))
        self.assertFates(returned=2, delivered=1)

    def test_recalled(self) -> None:
        """Taken back."""
        id = self.world.send(self.alice, "bob").id
        self.world.result(self.world.mailroom.remove(self.alice, [id]))
        self.assertFates(recalled=1)

    def test_deleted(self) -> None:
        """With an account, what waits turns round or is dead, and what it had is removed."""
        read = self.world.send(self.alice, "bob").id
        self.world.confirm(self.bob, read)
        self.world.send(self.alice, "bob")  # will come back
        came = self.world.send(self.bob, "nobody").id
        self.world.confirm(self.bob, came)
        self.world.send(self.bob, "nobody")  # nobody is left whom it could come back to
        self.world.send(self.bob, "bob")  # nor of this one
        self.assertFates(delivered=1, waiting=2, returned=2)
        self.world.delete(self.bob)
        self.assertFates(removed=1, returned=2, dead=2)

    def test_folded(self) -> None:
        """Folding changes nothing."""
        ids = [self.world.send(self.alice, name).id for name in ("bob", "nobody", "carol")]
        self.world.result(self.world.mailroom.remove(self.bob, ids[:1]))
        self.world.result(self.world.mailroom.remove(self.alice, ids[1:]))
        self.world.clock.advance(DAY)
        self.world.result(self.world.store.fold(self.world.now()))
        self.assertEqual(self.world.sql("SELECT count(*) FROM ledger"), [(0,)])
        self.assertFates(removed=1, returned=1, recalled=1)

    def test_repeated(self) -> None:
        """A repeated message is no other one, alone or among new ones."""
        self.world.send(self.alice, "bob", ref="r")
        self.world.send(self.alice, "bob", ref="r")
        both = [
            Message(recipient="bob", body="hello", ref="r"),
            Message(recipient="bob", body="new", ref="s"),
        ]
        self.world.accept(self.alice, *both)
        self.assertFates(waiting=2)

    def test_rolledBack(self) -> None:
        """What did not happen is not counted."""
        id = self.world.send(self.alice, "bob").id
        self.world.pool.room = 0
        self.world.accept(self.alice, Message(recipient="bob", body="hello"))
        self.world.confirm(self.bob, id)
        self.assertFates(waiting=1)
        self.world.pool.room = None
        self.world.clock.advance(2)
        self.world.settle()
        self.assertFates(delivered=1)

    def test_skipped(self) -> None:
        """Ids that an import left out never were messages here."""
        self.world.send(self.alice, "bob")
        self.world.sql("UPDATE ledger SET id = 10")
        self.world.sql("INSERT INTO folded VALUES (1, 9, 0, 0, 0, 9)")
        world = self.world.reopen()
        self.addCleanup(world.close)
        self.world = world
        world.sql("UPDATE counters SET id = 10")
        self.count()
        self.assertFates(waiting=1)

    def test_time(self) -> None:
        """It is known how old a count is."""
        then = self.world.now()
        self.world.clock.advance(100)
        self.assertEqual(self.census().counted, then)


class LostTests(FatesCase):
    """What is lost from the file is seen with the next count."""

    def assertUnaccounted(self, statement: str, number: int) -> None:
        """After somebody does this to the file of a running server, so many are missing."""
        self.world.sql(statement)
        self.assertEqual(self.census().unaccounted, 0)
        self.count()
        self.assertEqual(self.census().unaccounted, number)

    def test_rows(self) -> None:
        """Rows that are gone, though others come."""
        for _ in range(5):
            self.world.send(self.alice, "bob")
        self.assertUnaccounted("DELETE FROM ledger WHERE id IN (2, 4)", 2)
        self.world.send(self.alice, "bob")
        self.assertEqual(self.census().unaccounted, 2)

    def test_states(self) -> None:
        """Rows in a state that is none, or in one in which they cannot have come back."""
        ids = [self.world.send(self.alice, "bob").id for _ in range(4)]
        self.assertEqual(ids, [1, 2, 3, 4])
        self.assertUnaccounted(
            "UPDATE ledger SET state = CASE id WHEN 1 THEN 7 WHEN 2 THEN 4 WHEN 3 THEN 3 ELSE -1 END,"
            " code = CASE id WHEN 3 THEN 'expired' END",
            4,
        )

    def test_folded(self) -> None:
        """A folded run that is gone."""
        ids = [self.world.send(self.alice, "bob").id for _ in range(3)]
        self.world.result(self.world.mailroom.remove(self.bob, ids))
        self.world.clock.advance(DAY)
        self.world.result(self.world.store.fold(self.world.now()))
        self.assertUnaccounted("DELETE FROM folded", 3)

    def test_strangers(self) -> None:
        """A row that was never accepted does not stand in for one that is missing."""
        for _ in range(3):
            self.world.send(self.alice, "bob")
        self.assertUnaccounted("UPDATE ledger SET id = id + 100 WHERE id = 2", 1)

    def test_ids(self) -> None:
        """Ids that were given out, though nothing was ever entered."""
        self.world.send(self.alice, "bob")
        self.assertUnaccounted("UPDATE counters SET id = id", 0)
        self.world.close()
        self.world.sql("UPDATE counters SET id = 3")
        self.world = self.world.reopen()
        self.addCleanup(self.world.close)
        self.count()
        self.assertEqual(self.census().unaccounted, 2)


class CountTests(FatesCase):
    """A count sees one moment, and ends when it is to."""

    def test_meanwhile(self) -> None:
        """What happens while it looks is neither missed nor counted twice; before it is complete, too."""
        ids = [self.world.send(self.alice, "bob").id for _ in range(4)]
        self.count()
        self.world.confirm(self.bob, ids[0])

        begun: list[Any] = []
        thread: Deferred[Any] = Deferred()

        def slowly(perform: Any) -> Deferred[Any]:
            begun.append(perform)
            return thread

        done = self.world.start(self.world.store.recount(Count(self.world.path), slowly))
        self.world.settle()
        self.world.confirm(self.bob, ids[1])
        counted = begun[0]()
        self.world.send(self.alice, "nobody")
        self.world.confirm(self.bob, ids[2])
        self.assertEqual(self.census().fates["delivered"], 3)
        thread.callback(counted)
        self.world.settle()
        self.successResultOf(done)
        self.assertFates(waiting=1, delivered=3, returned=1)

    def test_sameTransaction(self) -> None:
        """What is committed together with its beginning is not part of it, and added."""
        self.world.mailroom.accept(
            self.alice, [Message(recipient="bob", body="x")], lambda _: None, self.fail
        )
        done = self.world.start(self.world.store.recount(Count(self.world.path), at_once))
        self.world.mailroom.accept(
            self.alice, [Message(recipient="bob", body="y")], lambda _: None, self.fail
        )
        self.world.settle()
        self.successResultOf(done)
        self.assertFates(waiting=2)

    def test_again(self) -> None:
        """Where its transaction is rolled back, it begins again."""
        self.world.send(self.alice, "bob")
        self.world.pool.room = 0
        self.world.mailroom.accept(
            self.alice, [Message(recipient="bob", body="x")], lambda _: None, self.fail
        )
        done = self.world.start(self.world.store.recount(Count(self.world.path), at_once))
        self.world.settle()
        self.successResultOf(done)
        self.world.pool.room = None
        self.assertFates(waiting=1)

    def test_givenUp(self) -> None:
        """Given up while it looks, it ends soon, and the numbers stay."""
        self.patch(fates, "STEPS", 1)
        self.world.send(self.alice, "bob")
        count = Count(self.world.path)
        count.begin(0)
        assert count._connection is not None
        count._connection.create_function("halt", 0, count.give_up)
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
        self.patch(fates, "_COUNT", f"{endless} SELECT max(iif(i = 9, halt(), 0)) FROM n")
        error = self.assertRaises(sqlite3.OperationalError, count.perform)
        self.assertEqual(str(error), "interrupted")
        self.assertIsNone(count._connection)

    def test_neverBegun(self) -> None:
        """Given up before it looks, nothing is opened, or what was opened is closed at once."""
        begun: list[Any] = []

        def never(perform: Any) -> Deferred[Any]:
            begun.append(perform)
            return Deferred()

        for reached in (0, 1):
            count = Count(self.world.path)
            done = self.world.start(self.world.store.recount(count, never))
            if reached:
                self.world.settle()
                self.assertIsNotNone(count._connection)
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.world.settle()
            self.assertIsNone(count._connection)
            self.assertEqual(len(begun), reached)
        self.assertRaises(sqlite3.OperationalError, begun[0])
        self.assertFates()

    def test_everything(self) -> None:
        """Whatever three people do, in whatever order: the numbers are those of a count, and all is there."""
        chance = random.Random(11)
        self.patch(returns, "TURNED_AT_ONCE", 3)
        self.patch(folding, "FOLDED_AT_ONCE", 3)
        people = [self.alice, self.bob, self.carol]
        for step in range(150):
            actor = chance.choice(people)
            ids = [chance.randrange(1, step + 2) for _ in range(3)]
            act = chance.randrange(8)
            if act < 4:
                name = chance.choice(["alice", "bob", "carol", "nobody"])
                self.world.send(actor, name, receipt=chance.random() < 0.5)
            elif act == 4:
                self.world.confirm(actor, *ids)
            elif act == 5:
                self.world.result(self.world.mailroom.remove(actor, ids))
            elif act == 6:
                self.world.clock.advance(DAY / 4)
                self.world.result(self.world.store.expire(self.world.now() - DAY * 1000, (0, 0)))
            else:
                self.world.result(self.world.store.fold(self.world.now() - DAY * 1000))
            before = self.census()
            if step % 10 == 0:
                self.count()
                self.assertEqual(self.census()[:2], before[:2])
            self.assertEqual(before.unaccounted, 0)
        self.world.delete(self.carol)
        before = self.census()
        self.count()
        self.assertEqual(self.census()[:2], before[:2])
        self.assertGreater(min(before.fates.values()), 0, before)


class FileTests(SynchronousTestCase):
    """What a count reads."""

    def test_readsOnly(self) -> None:
        """It cannot write."""
        world = open_world(self)
        count = Count(world.path)
        count.begin(0)
        assert count._connection is not None
        with self.assertRaises(sqlite3.OperationalError):
            count._connection.execute("DELETE FROM ledger")
        count.perform()

    def test_letsGo(self) -> None:
        """When it is complete nothing of the file is held: a checkpoint gets through."""
        world = World(Path(self.mktemp()))
        self.addCleanup(world.close)
        (alice,) = world.sign_up("alice")
        world.result(world.store.recount(Count(world.path), at_once))
        world.send(alice, "alice")
        self.assertEqual(world.sql("PRAGMA wal_checkpoint(TRUNCATE)")[0][0], 0)
