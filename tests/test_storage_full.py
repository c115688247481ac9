"""A full disk: what is sent, read and confirmed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chat.errors import Code, Refusal
from chat.ledger import Acceptance, Draft, State
from chat.messages import Accepted, Failed, Message
from chat.store import commit
from chat.store.commit import RETRY_SECONDS
from chat.store.room import MIB, Room, default_reserve
from chat.store.store import RECEIPT_WEIGHT
from tests.full_case import FullCase
from tests.world import PASSWORD, Onlooker

GIB = 1024 * MIB


class Usage(NamedTuple):
    """What L{shutil.disk_usage} tells."""

    total: int
    used: int
    free: int


class RoomTests(SynchronousTestCase):
    """How much is kept free, and when there is room."""

    def disk(self, total: int, free: int) -> None:
        """Every file system is like this one from now on."""
        self.asked: list[Path] = []

        def usage(path: Path) -> Usage:
            self.asked.append(path)
            return Usage(total, total - free, free)

        self.patch(shutil, "disk_usage", usage)

    def test_default(self) -> None:
        """A twentieth of the file system that the data are on, 8 MiB at least and 256 at most."""
        for total, reserve in (
            (24 * MIB, 8 * MIB),
            (160 * MIB, 8 * MIB),
            (GIB, GIB // 20),
            (5 * GIB, 256 * MIB),
            (500 * GIB, 256 * MIB),
        ):
            self.disk(total, 0)
            self.assertEqual(default_reserve(Path("there")), reserve)
            self.assertEqual(Room(Path("there")).reserve, reserve)
            self.assertEqual(set(self.asked), {Path("there")})

    def test_chosen(self) -> None:
        """The operator's word counts, none at all included."""
        self.disk(GIB, 1)
        self.assertEqual(Room(Path("there"), 17).reserve, 17)
        self.assertEqual(Room(Path("there"), 0).reserve, 0)
        self.assertTrue(Room(Path("there"), 0)())
        self.disk(GIB, 0)
        self.assertFalse(Room(Path("there"), 0)())

    def test_room(self) -> None:
        """There is room as long as more than the reserve is free, on the disk or inside the files."""
        for free, inside, expected in (
            (1001, 0, True),
            (1000, 0, False),
            (0, 0, False),
            (0, 1001, True),
            (0, 1000, False),
            (600, 401, True),
            (600, 400, False),
        ):
            self.disk(GIB, free)
            self.assertEqual(Room(Path("there"), 1000)(inside), expected, (free, inside))

    def test_now(self) -> None:
        """It is looked at each time it is asked."""
        room = Room(Path("there"), 1000)
        self.disk(GIB, 0)
        self.assertFalse(room())
        self.disk(GIB, GIB)
        self.assertTrue(room())


class SendTests(FullCase):
    """New messages are refused, and what was accepted is known."""

    def test_refused(self) -> None:
        """Every new message is refused with its ref, takes no id and leaves no trace; then all is well."""
        self.free = False
        sends = [Message(recipient=who, body="hi", ref=ref) for who, ref in (("bob", "a"), ("nobody", "b"))]
        sends.append(Message(recipient="alice", body="hi"))
        answers = self.world.accept(self.alice, *sends)
        for answer, ref in zip(answers, ("a", "b", None)):
            self.assertRefused(answer, ref)
        self.assertEqual(self.world.sql("SELECT count(*) FROM ledger"), [(0,)])
        self.free = True
        again = self.world.accept(self.alice, *sends)
        self.assertEqual([answer.id for answer in again if isinstance(answer, Accepted)], [1, 2, 3])

    def test_repeated(self) -> None:
        """A repeated ref is answered as ever: its message is here; so is one that was used for another."""
        first = self.world.send(self.alice, "bob", "hi", ref="a")
        self.free = False
        again, changed, new = self.world.accept(
            self.alice,
            Message(recipient="bob", body="hi", ref="a"),
            Message(recipient="bob", body="ho", ref="a"),
            Message(recipient="bob", body="hi", ref="b"),
        )
        self.assertEqual(again, first)
        assert isinstance(changed, Failed)
        self.assertEqual((changed.code, changed.ref), ("ref-reused", "a"))
        self.assertRefused(new, "b")
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).waiting, 1)

    def test_gone(self) -> None:
        """A sender whose account is gone is told so, and not that there is no room."""
        self.world.delete(self.alice)
        self.free = False
        (answer,) = self.world.accept(self.alice, Message(recipient="bob", body="hi", ref="a"))
        self.assertEqual(getattr(answer, "code", None), "account-gone")

    def test_inside(self) -> None:
        """What was removed left room inside the file: it is used before the disk is called full."""
        ids = [self.world.send(self.alice, "bob", "x" * 60_000).id for _ in range(10)]
        self.assertEqual(set(self.inside), {0})
        self.free = False
        self.needed = 300_000
        self.assertRefused(self.world.accept(self.alice, Message(recipient="bob", body="hi"))[0])
        self.world.result(self.store.remove(self.bob.id, ids))
        del self.inside[:]
        self.world.send(self.alice, "bob")
        asked, inside = self.inside
        self.assertEqual(asked, 0)
        ((size,),) = self.world.sql("PRAGMA page_size")
        ((pages,),) = self.world.sql("PRAGMA freelist_count")
        self.assertEqual(inside % size, 0)
        self.assertTrue(pages * size <= inside <= 700_000)
        self.assertTrue(inside > 550_000)


class RestTests(FullCase):
    """Everything but new messages and accounts goes on."""

    def test_everythingElse(self) -> None:
        """Delivery, receipts, reading, removing, recalling, a new password, and the end of an account."""
        ids = [self.world.send(self.alice, "bob", receipt=True).id for _ in range(4)]
        self.free = False
        looker = Onlooker(self.world, self.bob).enter()
        self.assertEqual(looker.ids, ids)
        self.world.confirm(self.bob, ids[0])
        self.assertEqual(self.world.result(self.world.mailroom.remove(self.bob, ids[:2])).ids, ids[:2])
        self.assertEqual(self.world.result(self.world.mailroom.remove(self.alice, [ids[2]])).ids, [ids[2]])
        self.assertEqual(len(self.world.result(self.world.mailroom.read(self.bob, ids)).messages), 1)
        self.world.result(self.world.accounts.change_password(self.alice, PASSWORD, "another password"))
        self.world.result(self.world.accounts.log_in("alice", "another password"))
        self.world.delete(self.bob)
        self.assertEqual([letter.code for letter in self.world.waiting(self.alice)], ["account-deleted"])

    def test_signUp(self) -> None:
        """Nobody new is taken in, and nothing of the attempt is left; those who are here log in."""
        self.free = False
        for name in ("carol", "alice"):
            refusal = self.assertRaises(Refusal, self.world.sign_up, name)
            self.assertEqual(refusal.code, Code.STORAGE_FULL)
        self.assertEqual(self.world.sql("SELECT name FROM users.accounts"), [("alice",), ("bob",)])
        self.assertEqual(self.world.result(self.world.accounts.log_in("bob", PASSWORD)).account, self.bob)
        self.free = True
        (carol,) = self.world.sign_up("carol")
        self.assertEqual(carol.id, 3)


class ReceiptTests(FullCase):
    """A receipt for which there is no room at all is not given up."""

    def setUp(self) -> None:
        """Something waits for Bob."""
        super().setUp()
        self.message = self.world.send(self.alice, "bob", receipt=True).id
        self.told: list[Any] = []

    def confirm(self) -> None:
        """Bob confirms it."""
        self.store.confirm(self.bob.id, [self.message], self.told.append, self.told.append)
        self.world.settle()

    def state(self) -> int:
        """The state of the message on disk."""
        ((state,),) = self.world.sql("SELECT state FROM ledger WHERE id = ?", self.message)
        return int(state)

    def test_triedAgain(self) -> None:
        """It is tried again until there is room; then it counts, once."""
        self.world.pool.room = 0
        self.confirm()
        for _ in range(3):
            self.world.clock.advance(RETRY_SECONDS)
            self.world.settle()
            self.assertEqual((self.told, self.state()), ([], State.WAITING))
        self.world.pool.room = None
        self.world.clock.advance(RETRY_SECONDS * 0.9)
        self.world.settle()
        self.assertEqual(self.told, [])
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        self.assertEqual(self.state(), State.DELIVERED)
        self.assertEqual(self.told, [[(self.message, self.alice.id)]])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertEqual(self.world.result(self.store.mailbox(self.bob.id)).waiting, 0)

    def test_oneTimer(self) -> None:
        """However many wait for room, one timer waits for them; one finds it, then the rest go together."""
        ids = [self.message, *[self.world.send(self.alice, "bob").id for _ in range(4)]]
        told: list[Any] = []
        self.world.pool.room = 0
        for id in ids:
            self.store.confirm(self.bob.id, [id], told.append, told.append)
            self.world.settle()
            self.world.clock.advance(RETRY_SECONDS / 10)
        due = [call.getTime() for call in self.world.clock.getDelayedCalls()]
        self.assertEqual(len(due), 1)
        self.assertAlmostEqual(due[0] - self.world.clock.seconds(), RETRY_SECONDS / 2, 3)
        self.world.clock.advance(RETRY_SECONDS * 0.6)
        self.world.settle()
        self.assertEqual((told, len(self.world.clock.getDelayedCalls())), ([], 1))
        self.world.pool.room = 2
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        self.assertEqual(len(told), len(ids))
        self.assertEqual(self.world.sql("SELECT DISTINCT state FROM ledger"), [(State.DELIVERED,)])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def tries(self) -> int:
        """How many transactions there are until the next time that one is tried again, this included."""
        self.world.pool.left = 1000
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        return 1000 - self.world.pool.left

    def test_oneFindsOut(self) -> None:
        """However many wait, and however long, each time it costs one attempt, and not always the same."""
        ids = [self.message, *[self.world.send(self.alice, "bob").id for _ in range(6)]]
        told: list[Any] = []
        self.world.pool.room = 0
        self.world.pool.left = 1000
        for id in ids:
            self.store.confirm(self.bob.id, [id], told.append, told.append)
        self.world.settle()
        self.assertEqual(1000 - self.world.pool.left, 2)  # all of them, and one of them alone
        self.assertEqual([self.tries() for _ in range(20)], [1] * 20)
        self.assertEqual((told, self.store.gauges.queued), ([], len(ids)))
        self.world.pool.room = 2
        self.assertEqual(self.tries(), 2)
        self.assertEqual((len(told), self.world.clock.getDelayedCalls()), (len(ids), []))

    def test_littleRoom(self) -> None:
        """Where there is room for some, some are done, and the others go on waiting for more."""
        ids = [self.message, *[self.world.send(self.alice, "bob").id for _ in range(3)]]
        told: list[Any] = []
        self.world.pool.room = 0
        for id in ids:
            self.store.confirm(self.bob.id, [id], told.append, told.append)
        self.world.settle()
        for done in (1, 2, 3, 4):
            self.world.pool.room = 1
            self.tries()
            self.assertEqual(len(told), done)
        self.assertEqual(self.world.sql("SELECT DISTINCT state FROM ledger"), [(State.DELIVERED,)])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_meanwhile(self) -> None:
        """What comes while one finds out waits for the same; what does not insist is told at once."""
        told: list[Any] = []
        self.world.pool.room = 0
        self.confirm()
        for size in (10, 1):
            self.patch(commit, "LARGEST_GROUP", size)
            self.world.clock.advance(RETRY_SECONDS)
            self.store.confirm(self.bob.id, [self.message], told.append, told.append)
            removal = self.world.start(self.store.remove(self.bob.id, [self.message]))
            self.world.settle()
            self.assertEqual(self.failureResultOf(removal, Refusal).value.code, Code.STORAGE_FULL)
            self.assertEqual(len(self.world.clock.getDelayedCalls()), 1)
        self.world.pool.room = None
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        self.assertEqual(sorted(self.told + told), [[], [], [(self.message, self.alice.id)]])

    def test_fails(self) -> None:
        """One that fails for another reason while it finds out leaves the others to find out."""
        other = self.world.send(self.alice, "bob").id
        self.world.pool.room = 0
        told: list[Any] = []
        self.confirm()
        self.store.confirm(self.bob.id, [other], told.append, told.append)
        self.world.settle()
        self.assertEqual(self.store.gauges.queued, 2)
        self.world.pool.room = None
        error = RuntimeError("the disk is gone")
        run = self.world.pool.runInteraction
        broken = iter([_failed(error)])
        self.patch(self.world.pool, "runInteraction", lambda *each: next(broken, None) or run(*each))
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        self.assertEqual(([type(each) for each in self.told + told]), [RuntimeError, list])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_reading(self) -> None:
        """However often somebody reads, one note of it waits for room, the last."""
        self.world.pool.room = 0
        for _ in range(20):
            self.assertEqual(len(self.world.waiting(self.bob)), 1)
        self.assertEqual(self.store.gauges.queued, 1)
        self.world.pool.room = None
        later = self.world.send(self.alice, "bob").id
        self.world.pool.room = 0
        self.assertEqual(self.world.waiting(self.bob)[-1].id, later)
        self.world.pool.room = None
        self.tries()
        self.assertEqual(self.world.sql("SELECT offered FROM mailboxes WHERE waiting = 2"), [(2,)])
        self.assertEqual(self.store.gauges.queued, 0)
        self.world.pool.room = 0
        self.world.waiting(self.bob)
        self.assertEqual(self.store.gauges.queued, 1)

    def test_stopped(self) -> None:
        """A server that stops meanwhile leaves it waiting: it comes again."""
        self.world.pool.room = 0
        self.confirm()
        self.world.pool.room = None
        self.world.close()
        self.world.clock.advance(RETRY_SECONDS)
        (refusal,) = self.told
        self.assertEqual(refusal.code, Code.SHUTTING_DOWN)
        self.assertEqual(self.state(), State.WAITING)

    def test_otherErrors(self) -> None:
        """What is not a lack of room is told at once."""
        error = RuntimeError("the disk is gone")

        self.patch(self.world.pool, "runInteraction", lambda *arguments: _failed(error))
        self.confirm()
        self.assertEqual(self.told, [error])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(RuntimeError)[0].value, error)


def _failed(error: Exception) -> Deferred[None]:
    failed: Deferred[None] = Deferred()
    failed.errback(error)
    return failed


class WeightTests(FullCase):
    """A transaction brings a bounded number of bytes, so that the reserve is not taken at one stroke."""

    def accept(self, *sizes: int) -> list[Any]:
        """What becomes of sends of bodies of these sizes, under way together, each by itself."""
        told: list[Any] = []
        for size in sizes:
            sent = Draft(recipient="bob", addressee="bob", subject=None, body="x" * size, ref=None, options=0)
            self.store.accept(self.alice.id, [sent], told.append, told.append)
        self.world.settle()
        return told

    def test_bounded(self) -> None:
        """Sends that are too heavy together go to disk one after the other, in their order."""
        self.patch(commit, "HEAVIEST_GROUP", 100)
        commits = self.commits()
        told = self.accept(50, 50, 1, 90, 20, 30)
        self.assertEqual([outcome.id for (outcome,) in told], [1, 2, 3, 4, 5, 6])
        self.assertEqual(len(commits), 3)  # 50 + 50, 1 + 90, 20 + 30

    def test_alphabets(self) -> None:
        """What weighs is bytes, whatever alphabet they are written in; for others than ours at most."""
        self.patch(commit, "HEAVIEST_GROUP", 100)
        commits = self.commits()
        told: list[Any] = []
        for _ in range(4):
            sent = Draft("bob", "bob", None, "\U0001f600" * 12, None, 0)
            self.store.accept(self.alice.id, [sent], told.append, told.append)
        self.world.settle()
        self.assertEqual([outcome.id for (outcome,) in told], [1, 2, 3, 4])
        self.assertEqual(len(commits), 2)

    def test_largerThanThat(self) -> None:
        """What is too heavy by itself goes alone."""
        self.patch(commit, "HEAVIEST_GROUP", 100)
        commits = self.commits()
        told = self.accept(500, 1, 500)
        self.assertEqual([type(each[0]) for each in told], [Acceptance] * 3)
        self.assertEqual(len(commits), 3)

    def test_receipts(self) -> None:
        """Receipts weigh by the ids they name: a flood of them lets others have their turn."""
        self.patch(commit, "HEAVIEST_GROUP", 3 * RECEIPT_WEIGHT)
        ids = [each[0].id for each in self.accept(10, 10, 10, 10)]
        commits = self.commits()
        for id in ids:
            self.store.confirm(self.bob.id, [id], lambda _: None, self.fail)
        self.world.settle()
        self.assertEqual(len(commits), 2)

    def test_others(self) -> None:
        """What brings no contents and few ids weighs nothing."""
        self.patch(commit, "HEAVIEST_GROUP", 0)
        ids = [each[0].id for each in self.accept(10, 10, 10)]
        commits = self.commits()
        for id in ids:
            self.world.start(self.store.remove(self.bob.id, [id]))
        self.world.settle()
        self.assertEqual(len(commits), 1)
