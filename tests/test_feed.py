"""Tests for L{chat.feed}: every waiting message once, in order, and no faster than it is read."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from chat.ledger import Account
from chat.messages import Frame
from chat.store import mailboxes
from tests.world import Onlooker, World, open_world


class FullOnlooker(Onlooker):
    """A session whose connection is full after each time that it is sent something."""

    def send(self, frames: Sequence[Frame]) -> None:
        """Remember, and stop reading."""
        super().send(frames)
        self.paused = True


def up_to_date(session: Onlooker) -> bool:
    """Whether it has been shown everything, and is shown what is committed now from memory."""
    return session.feed is not None and session.feed.live


class FeedCase(SynchronousTestCase):
    """Alice writes to Bob."""

    def setUp(self) -> None:
        """Nobody looks yet."""
        self.world: World = open_world(self)
        self.alice, self.bob = self.world.sign_up("alice", "bob")

    def send(self, count: int, recipient: str = "bob", **fields: Any) -> list[int]:
        """The ids of so many new messages."""
        return [self.world.send(self.alice, recipient, f"{n}", **fields).id for n in range(count)]

    def onlooker(self, account: Account | None = None, kind: type[Onlooker] = Onlooker) -> Onlooker:
        """A session of Bob's, looking on."""
        session = kind(self.world, account or self.bob)
        session.enter()
        return session


class OrderTests(FeedCase):
    """What waits, then what comes."""

    def test_waitingThenNew(self) -> None:
        """What waits is shown at once, oldest first; what comes later when it comes."""
        old = self.send(3)
        bob = self.onlooker()
        self.assertEqual(bob.ids, old)
        self.assertTrue(up_to_date(bob))
        new = self.send(2)
        self.assertEqual(bob.ids, old + new)
        self.assertEqual(bob.errors, [])

    def test_nothingWaits(self) -> None:
        """With nothing waiting the session is up to date at once."""
        bob = self.onlooker()
        self.assertEqual((bob.ids, up_to_date(bob)), ([], True))

    def test_pages(self) -> None:
        """A long row of waiting messages is shown whole, page by page."""
        self.patch(mailboxes, "PAGE_MESSAGES", 3)
        old = self.send(10)
        self.assertEqual(self.onlooker().ids, old)

    def test_everySession(self) -> None:
        """Each session of an account is shown every message, once."""
        first = self.onlooker()
        one = self.send(1)
        second = self.onlooker()
        two = self.send(1)
        self.assertEqual((first.ids, second.ids), (one + two, one + two))

    def test_confirmedIsNotShownAgain(self) -> None:
        """What was confirmed does not come to later sessions; what was not does, with the same id."""
        first, second, third = self.send(3)
        self.world.confirm(self.bob, second)
        self.assertEqual(self.onlooker().ids, [first, third])

    def test_arrivesWhileReading(self) -> None:
        """What is committed while the waiting ones are being read comes after them, once."""
        old = self.send(2)
        bob = Onlooker(self.world, self.bob)
        bob.arrive().drained()
        late = self.send(1)  # in one group with the reading
        self.assertEqual(bob.ids, old + late)
        self.assertTrue(up_to_date(bob))

    def test_pushedTwice(self) -> None:
        """What was shown already is not shown again, whoever says that it has come."""
        bob = self.onlooker()
        ids = self.send(2)
        assert bob.feed is not None
        page, _ = self.world.result(self.world.mailroom.waiting(self.bob, 0, 0))
        bob.feed.push(page)
        self.assertEqual(bob.ids, ids)

    def test_cameBack(self) -> None:
        """A message that comes back to its sender arrives anew, behind all that came before, once."""
        alice = self.onlooker(self.alice)
        (sent,) = self.send(1)
        (to_self,) = self.send(1, "alice")
        self.world.delete(self.bob)
        (later,) = self.send(1, "alice")
        self.assertEqual(alice.ids, [to_self, sent, later])
        self.assertEqual([bool(each.returned) for each in alice.shown], [False, True, False])
        self.assertEqual(self.onlooker(self.alice).ids, [to_self, sent, later])

    def test_cameBackWhileReading(self) -> None:
        """The same when it comes back to a session that does not read as fast."""
        sent = self.send(3)
        old = self.send(2, "alice")
        alice = self.onlooker(self.alice, FullOnlooker)
        self.assertEqual(alice.ids, old)
        self.world.delete(self.bob)
        self.assertEqual(alice.ids, old)
        alice.look()
        self.assertEqual(alice.ids, old + sent)
        alice.look()
        self.assertEqual((alice.ids, up_to_date(alice)), (old + sent, True))


class AgainTests(FeedCase):
    """Whether a message may have been shown before."""

    def again(self, session: Onlooker) -> list[bool]:
        """The mark of each message shown."""
        return [message.again for message in session.shown]

    def test_firstTime(self) -> None:
        """The first session is shown nothing again, whether it waited or came."""
        self.send(2)
        bob = self.onlooker()
        self.send(2)
        self.assertEqual(self.again(bob), [False] * 4)

    def test_secondTime(self) -> None:
        """What was shown and not confirmed is shown again and marked; what is new is not marked."""
        self.send(1)
        bob = self.onlooker()
        self.send(1)
        bob.leave()
        self.send(1)
        self.assertEqual(self.again(self.onlooker()), [True, True, False])

    def test_notRead(self) -> None:
        """Of what lay in the store because the session did not read, only the first is marked later.

        The session might have begun to read by the time it heard of that one.
        """
        self.send(1)
        bob = self.onlooker(kind=FullOnlooker)
        self.send(1)
        self.send(1)
        bob.leave()
        self.assertEqual((bob.ids, self.again(self.onlooker())), ([1], [True, True, False]))

    def test_shownInOneGroup(self) -> None:
        """What was committed in one group with the last page that a session read was shown, too."""
        bob = Onlooker(self.world, self.bob)
        bob.arrive().drained()
        self.send(1)
        bob.leave()
        self.assertEqual((bob.ids, self.again(self.onlooker())), ([1], [True]))

    def test_cutOffWhileReading(self) -> None:
        """What comes while the store is asked what waits is not marked if its session hears of neither."""
        page: Deferred[Any] = Deferred()
        patched = self.patch(self.world.store, "waiting", lambda *arguments: page)
        bob = self.onlooker()
        self.send(1)
        bob.leave()
        patched.restore()
        self.assertEqual(self.again(self.onlooker()), [False])

    def test_otherAccounts(self) -> None:
        """That somebody else reads marks nothing."""
        self.onlooker(self.alice)
        self.send(1)
        self.assertEqual(self.again(self.onlooker()), [False])


class PaceTests(FeedCase):
    """A client that does not read costs a page, and nobody waits for it."""

    def test_doesNotRead(self) -> None:
        """While the client does not read nothing more is read for it; then all of it comes, in order."""
        self.patch(mailboxes, "PAGE_MESSAGES", 2)
        ids = self.send(5)
        bob = self.onlooker(kind=FullOnlooker)
        self.assertEqual((bob.ids, up_to_date(bob)), (ids[:2], False))
        ids += self.send(2)
        self.assertEqual(bob.ids, ids[:2])
        bob.look()
        self.assertEqual(bob.ids, ids[:4])
        for _ in range(3):
            bob.look()
        self.assertEqual((bob.ids, up_to_date(bob)), (ids, True))

    def test_pausedByAPush(self) -> None:
        """A live session that is full lets the next ones lie, and catches up."""
        bob = self.onlooker(kind=FullOnlooker)
        ids = self.send(1)
        self.assertEqual((bob.ids, up_to_date(bob)), (ids, False))
        bob.look()
        self.assertTrue(up_to_date(bob))
        ids += self.send(3)
        self.assertEqual(bob.ids, ids[:2])
        bob.look()
        self.assertEqual((bob.ids, up_to_date(bob)), (ids, False))
        bob.look()
        self.assertTrue(up_to_date(bob))

    def test_moreWhilePaused(self) -> None:
        """Being told of more changes nothing for a client that does not read."""
        ids = self.send(1)
        bob = self.onlooker(kind=FullOnlooker)
        bob.more()
        self.world.settle()
        self.assertEqual((bob.ids, up_to_date(bob)), (ids, False))
        bob.look()
        bob.look()
        self.assertEqual((bob.ids, up_to_date(bob)), (ids, True))


class StopTests(FeedCase):
    """A session that has left is shown nothing more."""

    def test_stopped(self) -> None:
        """Nothing comes after the end."""
        bob = self.onlooker()
        assert bob.feed is not None
        bob.feed.stop()
        self.send(1)
        bob.more()
        bob.look()
        self.assertEqual((bob.ids, up_to_date(bob)), ([], False))

    def test_stoppedWhileReading(self) -> None:
        """Not even what was being read at that moment; the connection may be another account's by now."""
        bob = self.onlooker(kind=FullOnlooker)
        self.send(1)
        self.send(1)
        self.assertEqual(bob.ids, [1])
        assert bob.feed is not None
        bob.paused = False
        bob.feed.drained()  # asks the store
        bob.feed.stop()
        self.world.settle()
        self.assertEqual((bob.ids, up_to_date(bob)), ([1], False))
        bob.more()
        bob.look()
        self.assertEqual((bob.ids, up_to_date(bob)), ([1], False))
        self.assertEqual(bob.errors, [])
