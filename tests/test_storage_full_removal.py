"""A full disk: what is removed, deleted and turned round."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from chat import mailroom, tap
from chat.accounts import Accounts, Registration
from chat.errors import Code, Refusal
from chat.ledger import Account, AccountState
from chat.service import Settings
from chat.store import returns
from chat.store.room import MIB
from tests.full_case import FullCase
from tests.world import PASSWORD, Onlooker


class RemovalTests(FullCase):
    """Removing much is done in portions: overwriting takes room, too."""

    def setUp(self) -> None:
        """Seven messages for Bob."""
        super().setUp()
        self.patch(mailroom, "REMOVED_AT_ONCE", 3)
        self.ids = [self.world.send(self.alice, "bob", receipt=True).id for _ in range(7)]
        self.watcher = Onlooker(self.world, self.alice).enter()

    def test_portions(self) -> None:
        """All are removed, in three commits, and the answer is one; each sender hears of each delivery."""
        commits = self.commits()
        asked = [99, *self.ids, self.ids[0], 98]
        deleted = self.world.result(self.world.mailroom.remove(self.bob, asked))
        self.assertEqual((deleted.ids, deleted.missing), (self.ids, [99, 98]))
        self.assertEqual(len(commits), 3)
        self.assertEqual([id for notice in self.watcher.notices for id in notice.ids], self.ids)

    def test_none(self) -> None:
        """Removing nothing is nothing."""
        deleted = self.world.result(self.world.mailroom.remove(self.bob, []))
        self.assertEqual((deleted.ids, deleted.missing), ([], []))

    def test_noRoom(self) -> None:
        """When the room ends half way, it is said; what was removed is removed, and the rest can be."""
        self.world.pool.room = 1
        remove = self.world.mailroom.remove(self.bob, self.ids)
        self.assertEqual(self.assertRaises(Refusal, self.world.result, remove).code, Code.STORAGE_FULL)
        self.world.pool.room = None
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).waiting, 4)
        deleted = self.world.result(self.world.mailroom.remove(self.bob, self.ids))
        self.assertEqual((deleted.ids, deleted.missing), (self.ids[3:], self.ids[:3]))


class DeletionTests(FullCase):
    """The deletion of an account, once begun, is completed when there is room."""

    def setUp(self) -> None:
        """The service's accounts: they wait for room."""
        super().setUp()
        self.pauses: list[Deferred[None]] = []
        world = self.world
        self.accounts = Accounts(
            self.store,
            self.store.passwords,
            world.mailroom,
            world.directory,
            Registration.OPEN,
            self.pause,
        )

    def pause(self) -> Deferred[None]:
        """Wait until the test goes on."""
        pause: Deferred[None] = Deferred()
        self.pauses.append(pause)
        return pause

    def go_on(self) -> None:
        """A while has passed."""
        self.pauses.pop().callback(None)
        self.world.settle()

    def begin(self, account: Account) -> Deferred[None]:
        """This account is being deleted."""
        deleting = self.world.start(self.accounts.delete(account, PASSWORD, Onlooker(self.world, account)))
        self.world.settle()
        return deleting

    def test_waits(self) -> None:
        """Wherever the room ends after the first step, it waits, tries again, and completes."""
        for commits in range(1, 4):
            name = f"carol{commits}"
            (carol,) = self.world.sign_up(name)
            self.world.send(self.alice, name)
            self.world.pool.room = commits
            deleting = self.begin(carol)
            self.go_on()
            self.assertNoResult(deleting)
            self.world.pool.room = None
            self.go_on()
            self.successResultOf(deleting)
            self.assertEqual(self.pauses, [])
            ((state,),) = self.world.sql("SELECT state FROM users.accounts WHERE id = ?", carol.id)
            self.assertEqual(state, AccountState.DELETED)
            self.assertEqual(len(self.world.waiting(self.alice)), commits)

    def test_firstStep(self) -> None:
        """Without room for the first step it is refused, and the account is as it was."""
        self.world.pool.room = 0
        deleting = self.begin(self.bob)
        self.assertEqual(self.failureResultOf(deleting, Refusal).value.code, Code.STORAGE_FULL)
        self.world.pool.room = None
        self.assertEqual(self.world.result(self.accounts.log_in("bob", PASSWORD)).account, self.bob)

    def test_otherErrors(self) -> None:
        """It does not wait when it is not room that is lacking, such as when the server stops."""
        self.world.send(self.alice, "bob")
        self.world.pool.room = 1
        deleting = self.begin(self.bob)
        self.world.pool.room = None
        self.world.close()
        self.go_on()
        self.assertEqual(self.failureResultOf(deleting, Refusal).value.code, Code.SHUTTING_DOWN)
        self.assertEqual(self.pauses, [])

    def test_start(self) -> None:
        """A start, which cannot wait, says that there is no room."""
        self.world.pool.room = 1
        self.begin(self.bob)
        starting = self.world.accounts.finish()
        self.assertEqual(self.assertRaises(Refusal, self.world.result, starting).code, Code.STORAGE_FULL)


class TurningTests(FullCase):
    """A large mailbox turns round, and is erased, in portions that the reserve has room for."""

    def setUp(self) -> None:
        """Portions of two messages of the size that is sent here."""
        super().setUp()
        self.patch(returns, "TURNED_BYTES", 2000)

    def portions(self, waiting: bool, body: str = "x" * 1000) -> list[int]:
        """How many messages are still to be done after each step of turning Bob's seven round."""
        ids = [self.world.send(self.alice, self.bob.name, body).id for _ in range(7)]
        if not waiting:
            self.world.confirm(self.bob, *ids)
        self.world.result(self.store.leave(self.bob))
        left: list[int] = []
        more = True
        while more:
            more, _ = self.world.result(self.store.turn_round(self.bob))
            ((count,),) = self.world.sql(
                "SELECT count(*) FROM ledger WHERE recipient = ? AND state < 2", self.bob.id
            )
            left.append(count)
        return left

    def test_waiting(self) -> None:
        """What waits goes back portion by portion, whole, and in its order."""
        self.assertEqual(self.portions(waiting=True), [5, 3, 1, 0, 0])
        returned = self.world.waiting(self.alice)
        self.assertEqual([letter.id for letter in returned], list(range(1, 8)))
        self.assertEqual({letter.body for letter in returned}, {"x" * 1000})

    def test_delivered(self) -> None:
        """What was delivered is erased portion by portion."""
        self.assertEqual(self.portions(waiting=False), [5, 3, 1, 0, 0])

    def test_alphabets(self) -> None:
        """A portion is measured in bytes, and whole, though for SQLite a text may end at a NUL."""
        names = iter(("carol", "dave", "erin", "frank"))
        for body in ("\0" + "x" * 999, "\u20ac" * 333 + "x"):
            for waiting in (True, False):
                (self.bob,) = self.world.sign_up(next(names))
                self.assertEqual(self.portions(waiting, body), [5, 3, 1, 0, 0])

    def test_oneIsTooLarge(self) -> None:
        """A message larger than a portion goes by itself."""
        self.patch(returns, "TURNED_BYTES", 10)
        self.assertEqual(self.portions(waiting=True), [6, 5, 4, 3, 2, 1, 0, 0])


class OptionTests(SynchronousTestCase):
    """C{--reserve-space}."""

    def reserve(self, *arguments: str) -> int | None:
        """What the server is told to keep free."""
        made: list[Settings] = []
        self.patch(tap, "ChatService", lambda reactor, settings, *_: made.append(settings))
        options = tap.Options()
        options.parseOptions(list(arguments))
        tap.makeService(options)
        return made[0].reserve_space

    def test_values(self) -> None:
        """MiB, fractions allowed; without it the server decides by the size of the disk."""
        self.assertIsNone(self.reserve())
        self.assertEqual(self.reserve("--reserve-space", "100"), 100 * MIB)
        self.assertEqual(self.reserve("--reserve-space", "0.5"), MIB // 2)
        self.assertEqual(self.reserve("--reserve-space", "0"), 0)

    def test_refused(self) -> None:
        """Anything else is an error that names the option."""
        for value in ("-1", "much", "nan", "1e30"):
            error = self.assertRaises(UsageError, tap.Options().parseOptions, ["--reserve-space", value])
            self.assertIn("--reserve-space", str(error))
