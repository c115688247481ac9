"""Tests for L{chat.store.users} and for the accounts' side of L{chat.store.store}."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, Refusal
from chat.ledger import Account
from chat.store import users
from chat.store.files import path
from tests.world import RESERVED, World, open_world


class UsersCase(SynchronousTestCase):
    """The accounts of a small world."""

    def setUp(self) -> None:
        """Nobody is there yet."""
        self.world = open_world(self)
        self.store = self.world.store

    def join(self, name: str) -> Account:
        """An account that exists."""
        account = self.world.result(self.store.join(name))
        self.world.result(self.store.activate(account))
        return account

    def leave(self, account: Account) -> None:
        """The account is deleted, and its name reserved."""
        self.assertTrue(self.world.result(self.store.leave(account)))
        self.world.result(self.store.free(account))

    def find(self, name: str) -> Account | None:
        """The account of this name."""
        return self.world.result(self.store.find(name))

    def reserved(self, name: str) -> bool:
        """Whether the name is kept back."""
        return self.world.result(self.store.reserved(name))

    def assertJoinRefused(self, name: str, code: Code) -> None:
        """Nobody can join under this name."""
        refusal = self.assertRaises(Refusal, self.world.result, self.store.join(name))
        self.assertEqual(refusal.code, code)
        self.assertIn(name, refusal.reason)

    def elsewhere(self, statement: str) -> None:
        """Another program changes users.db."""
        connection = sqlite3.connect(path(self.world.path, "users"), isolation_level=None)
        connection.execute(statement)
        connection.close()


class LifeTests(UsersCase):
    """Joining, active, leaving, deleted; and the name after that."""

    def test_unknown(self) -> None:
        """A name that nobody ever had is neither found nor reserved."""
        self.assertIs(self.find("alice"), None)
        self.assertFalse(self.reserved("alice"))

    def test_joining(self) -> None:
        """A joining account is seen by nobody, but has its name already."""
        self.world.result(self.store.join("alice"))
        self.assertIs(self.find("alice"), None)
        self.assertFalse(self.reserved("alice"))
        self.assertJoinRefused("alice", Code.NAME_TAKEN)

    def test_active(self) -> None:
        """An account that exists is found by its name, and nobody else can have that."""
        alice = self.join("alice")
        self.assertEqual(alice.name, "alice")
        self.assertEqual(self.find("alice"), alice)
        self.assertIs(self.find("bob"), None)
        self.assertFalse(self.reserved("alice"))
        self.assertJoinRefused("alice", Code.NAME_TAKEN)

    def test_abandoned(self) -> None:
        """A sign-up that came to nothing leaves the name as free as before."""
        alice = self.world.result(self.store.join("alice"))
        self.world.result(self.store.abandon(alice))
        self.assertFalse(self.reserved("alice"))
        again = self.join("alice")
        self.assertNotEqual(again.id, alice.id)

    def test_onlyWhoIsJoining(self) -> None:
        """An account that exists is neither abandoned nor activated again once it is leaving."""
        alice = self.join("alice")
        self.world.result(self.store.abandon(alice))
        self.assertEqual(self.find("alice"), alice)
        self.world.result(self.store.leave(alice))
        self.world.result(self.store.activate(alice))
        self.assertIs(self.find("alice"), None)

    def test_leaving(self) -> None:
        """A leaving account exists for nobody; its name is reserved from here on, however long it takes."""
        alice = self.join("alice")
        self.assertTrue(self.world.result(self.store.leave(alice)))
        self.assertIs(self.find("alice"), None)
        self.world.clock.advance(10 * RESERVED / 1000)
        self.assertTrue(self.reserved("alice"))
        self.assertJoinRefused("alice", Code.NAME_RESERVED)

    def test_leavesOnce(self) -> None:
        """Only the first one to delete an account does so."""
        alice = self.join("alice")
        self.assertTrue(self.world.result(self.store.leave(alice)))
        self.assertFalse(self.world.result(self.store.leave(alice)))
        self.world.result(self.store.free(alice))
        self.assertFalse(self.world.result(self.store.leave(alice)))

    def test_reservation(self) -> None:
        """A deleted account's name is free again when the reservation ends, to the millisecond."""
        alice = self.join("alice")
        self.leave(alice)
        self.world.clock.advance((RESERVED - 1) / 1000)
        self.assertTrue(self.reserved("alice"))
        self.assertJoinRefused("alice", Code.NAME_RESERVED)
        self.world.clock.advance(0.001)
        self.assertFalse(self.reserved("alice"))
        again = self.join("alice")
        self.assertNotEqual(again.id, alice.id)
        self.assertEqual(self.find("alice"), again)

    def test_reservedFromItsEnd(self) -> None:
        """Completing a deletion twice does not begin the reservation anew."""
        alice = self.join("alice")
        self.leave(alice)
        self.world.clock.advance(RESERVED / 2000)
        self.world.result(self.store.free(alice))
        self.world.clock.advance(RESERVED / 2000)
        self.assertFalse(self.reserved("alice"))

    def test_manyHadIt(self) -> None:
        """Of all who had a name, the last one counts."""
        for _ in range(3):
            self.leave(self.join("alice"))
            self.assertTrue(self.reserved("alice"))
            self.world.clock.advance(RESERVED / 1000)
            self.assertFalse(self.reserved("alice"))

    def test_idsAreNeverGivenTwice(self) -> None:
        """Not even the highest one, when its account was abandoned and the server started again."""
        first = self.world.result(self.store.join("alice"))
        self.world.result(self.store.abandon(first))
        world = self.world.reopen()
        self.addCleanup(world.close)
        second = world.result(world.store.join("bob"))
        self.assertGreater(second.id, first.id)

    def test_unfinished(self) -> None:
        """Who was leaving and who was joining is found again, and nobody else."""
        accounts = [self.join(name) for name in ("alice", "bob", "carol", "dave")]
        self.world.result(self.store.leave(accounts[2]))
        self.world.result(self.store.leave(accounts[1]))
        self.leave(accounts[3])
        erin = self.world.result(self.store.join("erin"))
        leaving, joining = self.world.result(self.store.unfinished())
        self.assertEqual((leaving, joining), (accounts[1:3], [erin]))

    def test_noRoom(self) -> None:
        """What could not be written did not happen, and is not remembered either."""
        alice = self.join("alice")
        self.find("bob")
        self.world.pool.room = 0
        for change in (self.store.join("bob"), self.store.leave(alice)):
            refusal = self.assertRaises(Refusal, self.world.result, change)
            self.assertEqual(refusal.code, Code.STORAGE_FULL)
        self.assertEqual(self.find("alice"), alice)
        self.assertIs(self.find("bob"), None)
        self.world.pool.room = None
        self.join("bob")
        self.leave(alice)


class MemoryTests(UsersCase):
    """What is remembered of the file is what is in the file."""

    def test_remembered(self) -> None:
        """A name or an account that was looked up is not looked up again."""
        alice = self.join("alice")
        self.world.send(alice, "alice")
        self.world.send(alice, "nobody")
        statements: list[str] = []
        connection = next(iter(self.world.pool.connections.values()))
        connection.set_trace_callback(statements.append)
        self.world.send(alice, "alice")
        self.world.send(alice, "nobody")
        connection.set_trace_callback(None)
        self.assertEqual([each for each in statements if "users.accounts" in each], [])
        self.assertNotEqual(statements, [])

    def test_changedElsewhere(self) -> None:
        """Another program's change of users.db is noticed at once."""
        alice, bob = self.join("alice"), self.join("bob")
        self.assertEqual(self.world.send(alice, "bob").state, "waiting")
        self.elsewhere("UPDATE accounts SET state = 1 WHERE name = 'bob'")
        self.assertEqual(self.world.send(alice, "bob").state, "returned")
        self.assertIs(self.find("bob"), None)
        self.elsewhere("UPDATE accounts SET state = 0 WHERE name = 'bob'")
        self.assertEqual(self.find("bob"), bob)
        self.elsewhere("UPDATE accounts SET state = 1 WHERE name = 'alice'")
        self.assertRaises(AssertionError, self.world.send, alice, "bob")

    def test_boundedMemory(self) -> None:
        """Any number of names can be asked for: only so many are remembered, and all are answered."""
        self.patch(users, "NAMES", 2)
        self.patch(users, "IDS", 2)
        known = users.Users()
        names = ["alice", "bob", "carol", "dave"]
        accounts = {name: self.join(name) for name in names}
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("ATTACH ? AS users", (str(path(self.world.path, "users")),))
        cursor = connection.cursor()
        known.begin(cursor)
        for name in [*names, "nobody", *names]:
            entry = known.named(cursor, name)
            self.assertEqual(entry and entry.id, accounts[name].id if name in accounts else None)
            self.assertLessEqual(len(known._by_name), 2)
        for name in [*names, *names]:
            self.assertEqual(known.name(cursor, accounts[name].id), name)
            self.assertTrue(known.active(cursor, accounts[name].id))
            self.assertLessEqual(len(known._by_id), 2)

    def test_noSuchAccount(self) -> None:
        """An id that no account ever had is nobody's, without a name."""
        known = users.Users()
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("ATTACH ? AS users", (str(path(self.world.path, "users")),))
        cursor = connection.cursor()
        self.assertIs(known.numbered(cursor, 17), None)
        self.assertEqual(known.name(cursor, 17), "")
        self.assertFalse(known.active(cursor, 17))

    def test_acrossRestarts(self) -> None:
        """Everything is as it was after a restart and after a crash."""
        alice, bob = self.join("alice"), self.join("bob")
        self.leave(bob)
        for world in (self.world.crash(Path(self.mktemp())), None):
            again: World = world or self.world.reopen()
            self.addCleanup(again.close)
            self.world, self.store = again, again.store
            self.assertEqual(self.find("alice"), alice)
            self.assertTrue(self.reserved("bob"))
