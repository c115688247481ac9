"""Tests for chatctl audit: what is sound is found sound."""

from __future__ import annotations

import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chat.admin import snapshot
from chat.admin.audit import Report, audit
from chat.ledger import LAWFUL, Account, State
from chat.store.files import DataDirectory, schemas
from tests.town import BOB, LAST, called, inhabit, listing, names, town
from tests.world import PASSWORD, Onlooker, World, open_world


class CleanTests(SynchronousTestCase):
    """Where all is well nothing is found, whatever moment it is looked at."""

    def assertClean(self, directory: Path) -> Report:
        """Nothing is found there, and nothing was changed by looking."""
        before = listing(directory)
        report = audit(directory, deep=True)
        self.assertEqual(names(report), [])
        self.assertEqual(report.number, 0)
        self.assertEqual(listing(directory), before)
        return report

    def test_everyState(self) -> None:
        """Messages in every lawful state, stopped in order: clean, and the sums are right."""
        totals = self.assertClean(town()).totals
        assert totals is not None
        self.assertEqual(set(totals.states), LAWFUL)
        self.assertEqual(
            totals.states,
            {
                (State.WAITING, False): 3,
                (State.WAITING, True): 2,
                (State.DELIVERED, False): 1,
                (State.DELIVERED, True): 1,
                (State.REMOVED, False): 1,
                (State.REMOVED, True): 1,
                (State.RECALLED, False): 1,
                (State.DEAD, True): 1,
            },
        )

    def test_sums(self) -> None:
        """A clean audit shows how many messages and accounts there are, and exits with 0."""
        status, out, err = called("audit", "--data", str(town()))
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(
            [line.split() for line in out.splitlines()],
            [
                ["11", "messages", "accepted"],
                ["waiting", "5,", "2", "of", "them", "returned"],
                ["delivered", "2,", "1", "of", "them", "returned"],
                ["removed", "2,", "1", "of", "them", "returned"],
                ["recalled", "1"],
                ["dead", "1"],
                ["4", "accounts", "ever", "made"],
                ["active", "2"],
                ["leaving", "0"],
                ["deleted", "2"],
                ["joining", "0"],
                ["nothing", "unaccounted", "for"],
            ],
        )

    def test_nothingYet(self) -> None:
        """A server that nobody has used."""
        world = open_world(self)
        world.close()
        self.assertClean(world.path)

    def test_running(self) -> None:
        """A server that runs, much of what it accepted still in the -wal files."""
        world = open_world(self)
        inhabit(world)
        self.assertTrue(snapshot.in_use(world.path))
        self.assertClean(world.path)

    def test_runningIdle(self) -> None:
        """A server that has the lock, but has not opened its files yet."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        data = DataDirectory(copy, schemas())
        data.open()
        self.addCleanup(data.close)
        self.assertTrue(snapshot.is_running(copy))
        self.assertClean(copy)

    def test_killed(self) -> None:
        """A server that was killed: what the -wal files hold counts, and they stay."""
        world = open_world(self)
        inhabit(world)
        copy = Path(self.mktemp())
        world.kill(copy)
        self.assertTrue((copy / "messages.db-wal").stat().st_size)
        totals = self.assertClean(copy).totals
        assert totals is not None
        self.assertEqual(totals.number, LAST)

    def test_killedInPlace(self) -> None:
        """The same, with the -shm files that it left: they stay, too."""
        world = open_world(self)
        inhabit(world)
        copy = Path(self.mktemp())
        shutil.copytree(world.path, copy)
        self.assertTrue((copy / "messages.db-shm").stat().st_size)
        before = (copy / "messages.db-shm").read_bytes()
        totals = self.assertClean(copy).totals
        assert totals is not None
        self.assertEqual(totals.number, LAST)
        self.assertEqual((copy / "messages.db-shm").read_bytes(), before)

    def test_emptyLog(self) -> None:
        """An empty -wal file is neither removed nor missed."""
        copy = Path(self.mktemp())
        shutil.copytree(town(), copy)
        (copy / "messages.db-wal").touch()
        self.assertClean(copy)

    def test_deletionCutShort(self) -> None:
        """A deletion that is cut short after any of its commits leaves nothing unlawful."""
        for left in range(20):
            world = World(self.mktemp())
            self.addCleanup(world.close)
            inhabit(world)
            world.sign_up("erin")
            world.send(Account(BOB, "bob"), "erin")
            world.pool.left = left
            bob = Account(BOB, "bob")
            done = world.start(world.accounts.delete(bob, PASSWORD, Onlooker(world, bob)))
            world.settle()
            copy = Path(self.mktemp())
            world.kill(copy)
            self.assertClean(copy)
            if done.called:
                break
        self.assertGreater(left, 3)
        self.assertTrue(done.called)

    def test_signUpCutShort(self) -> None:
        """A sign-up that is cut short after any of its commits leaves nothing unlawful."""
        for left in range(20):
            world = World(self.mktemp())
            self.addCleanup(world.close)
            world.pool.left = left
            done = world.start(world.accounts.sign_up("alice", PASSWORD))
            world.settle()
            copy = Path(self.mktemp())
            world.kill(copy)
            self.assertClean(copy)
            if done.called:
                break
        self.assertGreater(left, 2)
        self.assertTrue(done.called)

    def test_nameTakenAgain(self) -> None:
        """A name that was deleted, and given to somebody else when the reservation was over."""
        world = open_world(self, reserved=1000)
        (alice,) = world.sign_up("alice")
        world.delete(alice)
        world.clock.advance(2)
        world.sign_up("alice")
        world.close()
        self.assertClean(world.path)
