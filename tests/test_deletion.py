"""Tests for L{chat.deletion}, and for accounts that a full disk or a crash cuts short in between."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, FatalError, Refusal
from chat.ledger import Account, AccountState
from chat.store import returns
from tests import test_accounts
from tests.world import PASSWORD, Onlooker, World, open_world


class DeleteTests(test_accounts.AccountsCase):
    """An account goes: its mail, its password, its sessions, its name."""

    def test_wrongPassword(self) -> None:
        """With a wrong password nothing happens."""
        (alice,) = self.world.sign_up("alice")
        deletion = self.accounts.delete(alice, "wrong password", Onlooker(self.world, alice))
        self.assertRefused(Code.WRONG_PASSWORD, self.world.result, deletion)
        self.assertEqual(self.states(), {"alice": AccountState.ACTIVE})

    def test_deleted(self) -> None:
        """Nothing is left but the reserved name."""
        (alice,) = self.world.sign_up("alice")
        self.world.delete(alice)
        self.assertEqual(self.states(), {"alice": AccountState.DELETED})
        self.assertEqual(self.hashes(), [])
        self.assertRefused(Code.WRONG_PASSWORD, self.log_in, "alice")

    def test_otherSessions(self) -> None:
        """The account's other sessions are told; the one that asked, and other people's, are not."""
        alice, bob = self.world.sign_up("alice", "bob")
        here, there, other = (Onlooker(self.world, account).enter() for account in (alice, alice, bob))
        self.world.delete(alice, here)
        self.assertEqual((here.gone, there.gone, other.gone), (False, True, False))

    def test_twice(self) -> None:
        """Of two sessions that delete the account at the same time, one is told that it is gone."""
        (alice,) = self.world.sign_up("alice")
        self.hold = True
        deletions = [
            self.world.start(self.accounts.delete(alice, PASSWORD, Onlooker(self.world, alice)))
            for _ in range(2)
        ]
        self.world.settle()
        self.release()  # the password, which both of them give
        self.successResultOf(deletions[0])
        self.assertEqual(self.failureResultOf(deletions[1], FatalError).value.code, Code.ACCOUNT_GONE)
        self.assertEqual(self.states(), {"alice": AccountState.DELETED})


class NoRoomTests(test_accounts.AccountsCase):
    """A full disk in the middle of it all."""

    def test_signUp(self) -> None:
        """Wherever the room ends, the sign-up is refused; with room again, the name can be had."""
        for commits in range(3):
            name = f"alice{commits}"
            self.world.pool.room = commits
            self.assertRefused(Code.STORAGE_FULL, self.world.result, self.accounts.sign_up(name, PASSWORD))
            self.world.pool.room = None
            self.assertTrue(self.offer(name))
            self.world.sign_up(name)
            self.assertEqual(self.log_in(name).name, name)
        self.assertEqual(set(self.states().values()), {AccountState.ACTIVE})

    def test_delete(self) -> None:
        """Wherever the room ends, what was begun is completed by another try or by the next start."""
        for commits in range(5):
            name = f"alice{commits}"
            account, bob = self.world.sign_up(name, f"bob{commits}")
            self.world.send(bob, name)
            self.world.pool.room = commits
            try:
                self.world.delete(account)
            except Refusal as refusal:
                self.assertEqual(refusal.code, Code.STORAGE_FULL)
            self.world.pool.room = None
            if commits == 0:
                self.log_in(name)
                self.world.delete(account)
            elif commits < 3:
                gone = self.assertRaises(FatalError, self.world.delete, account)
                self.assertEqual(gone.code, Code.ACCOUNT_GONE)
            elif commits == 3:
                self.world.result(self.accounts.finish())
            self.assertEqual(self.states()[name], AccountState.DELETED)
            self.assertNotIn(account.id, self.hashes())
            self.assertEqual([letter.code for letter in self.world.waiting(bob)], ["account-deleted"])


class CutTests(SynchronousTestCase):
    """The process dies after any commit; the next start makes it as if it had not."""

    def cut(self, world: World, commits: int, steps: Any) -> World:
        """The world after a start that follows a crash behind so many commits of C{steps}."""
        world.pool.left = commits
        self.dying = world.start(steps)
        world.settle()
        again = world.crash(self.mktemp())
        self.addCleanup(again.close)
        again.result(again.accounts.finish())
        return again

    def finished(self, world: World) -> list[list[Any]]:
        """Everything in the files that is not a time, a place in a line or a hash."""
        return [
            world.sql(statement)
            for statement in (
                "SELECT id, name, state FROM users.accounts",
                "SELECT account FROM passwords.passwords",
                "SELECT id, sender, recipient, state, options, ref, code, addressee, subject, body"
                " FROM ledger",
                "SELECT * FROM mailboxes WHERE waiting > 0",
                "SELECT * FROM counters",
            )
        ]

    def prepare(self) -> tuple[World, Account]:
        """A world in which alice has mail of every kind."""
        self.patch(returns, "TURNED_AT_ONCE", 2)
        world = open_world(self)
        alice, bob, carol, dave = world.sign_up("alice", "bob", "carol", "dave")
        for number in range(3):
            world.send(bob, "alice", f"from bob {number}", ref=f"b{number}")
        world.send(carol, "alice", "from carol, who leaves before")
        world.confirm(alice, world.send(bob, "alice", "read already").id)
        world.confirm(alice, world.send(dave, "alice", "read already, too").id)
        world.confirm(alice, world.send(dave, "alice", "and this").id)
        world.send(alice, "alice", "to myself")
        world.send(alice, "nobody", "came back")
        world.send(alice, "bob", "on its way")
        world.delete(carol)
        return world, alice

    def test_deletion(self) -> None:
        """A deletion cut behind any of its commits is completed by the next start."""
        uncut, alice = self.prepare()
        uncut.delete(alice)
        expected = self.finished(uncut)
        active = [(id, name, 0) for id, name, _ in expected[0]]
        commits, outcomes = 0, []
        while True:
            world, alice = self.prepare()
            steps = world.accounts.delete(alice, PASSWORD, Onlooker(world, alice))
            again = self.cut(world, commits, steps)
            found = self.finished(again)
            outcomes.append(found == expected)
            if not outcomes[-1]:
                self.assertEqual(found[0][0], active[0])
            again.close()
            commits += 1
            if self.dying.called:
                break
        # Before the account was marked as leaving (fetching the password, twice, marking) it just goes on.
        self.assertEqual(outcomes[:3], [False, False, False])
        self.assertEqual(set(outcomes[3:]), {True})
        self.assertGreater(commits, 8)

    def test_finishCutToo(self) -> None:
        """The start that completes it may be cut as well."""
        uncut, alice = self.prepare()
        uncut.delete(alice)
        expected = self.finished(uncut)
        world, alice = self.prepare()
        world.result(world.store.leave(alice))
        for life in range(20):
            world.pool.left = life
            self.dying = world.start(world.accounts.finish())
            world.settle()
            done = self.dying.called
            world = world.crash(self.mktemp())
            self.addCleanup(world.close)
            if done:
                break
        self.assertTrue(done)
        self.assertEqual(self.finished(world), expected)

    def test_signUp(self) -> None:
        """A sign-up cut behind any of its commits is complete, or leaves nothing but a free name."""
        outcomes = []
        for commits in range(4):
            world = open_world(self)
            again = self.cut(world, commits, world.accounts.sign_up("alice", PASSWORD))
            accounts = again.sql("SELECT name, state FROM users.accounts")
            hashes = again.sql("SELECT account FROM passwords.passwords")
            if accounts:
                self.assertEqual((accounts, len(hashes)), ([("alice", AccountState.ACTIVE)], 1))
            else:
                self.assertEqual(hashes, [])
                again.sign_up("alice")
            self.assertEqual(again.result(again.accounts.log_in("alice", PASSWORD)).account.name, "alice")
            outcomes.append(bool(accounts))
        self.assertEqual(outcomes, [False, False, False, True])
        self.successResultOf(self.dying)

    def test_nothingToFinish(self) -> None:
        """After an orderly stop there is nothing to do."""
        world, _ = self.prepare()
        before = self.finished(world)
        again = world.reopen()
        self.addCleanup(again.close)
        again.result(again.accounts.finish())
        self.assertEqual(self.finished(again), before)
