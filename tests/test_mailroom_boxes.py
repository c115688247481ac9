"""Tests for L{chat.mailroom}: remove, list and read, and who is there."""

from __future__ import annotations

import sqlite3

from chat.errors import Code, Refusal
from chat.messages import (
    READ_IDS,
    Deleted,
    Delivered,
    Entry,
    Listing,
    Message,
    Messages,
)
from tests.mailroom_case import NOW, MailroomCase


class RemoveTests(MailroomCase):
    """Remove from the own mailbox, or take back what still waits."""

    def kept(self, id: int) -> tuple[int, str | None, str | None]:
        """State and content in the ledger."""
        ((state, subject, body),) = self.world.sql("SELECT state, subject, body FROM ledger WHERE id = ?", id)
        return state, subject, body

    def test_delivered(self) -> None:
        """A delivered message that is removed is gone from the mailbox, and its content from the disk."""
        id = self.world.send(self.alice, "bob", "text", subject="s").id
        self.world.confirm(self.bob, id)
        self.assertEqual(self.remove(self.bob, id), Deleted(ids=[id], missing=[]))
        self.assertEqual(self.kept(id), (2, None, None))
        self.assertEqual(self.states(self.bob, "inbox"), {})
        self.assertEqual(self.states(self.alice, "sent"), {id: "delivered"})
        self.assertEqual(self.remove(self.bob, id), Deleted(ids=[], missing=[id]))

    def test_waiting(self) -> None:
        """Deleting what still waits confirms it first: its sender is told."""
        alice = self.online(self.alice)
        id = self.world.send(self.alice, "bob", receipt=True).id
        self.assertEqual(self.remove(self.bob, id).ids, [id])
        self.assertEqual(alice.notices, [Delivered(ids=[id], time=NOW)])
        self.assertEqual(self.states(self.alice, "sent"), {id: "delivered"})
        self.assertEqual(self.world.result(self.mailroom.mailbox(self.bob)).waiting, 0)

    def test_recalled(self) -> None:
        """What still waits can be taken back, even if it was shown already; then it comes no more."""
        bob = self.online(self.bob)
        id = self.world.send(self.alice, "bob", "text", subject="s", receipt=True).id
        self.assertEqual(bob.ids, [id])
        self.assertEqual(self.remove(self.alice, id), Deleted(ids=[id], missing=[]))
        self.assertEqual(self.kept(id), (3, None, None))
        self.assertEqual(self.states(self.alice, "sent"), {id: "recalled"})
        self.assertEqual(self.online(self.bob).ids, [])
        self.assertEqual(self.states(self.bob, "inbox"), {})
        self.assertEqual(self.remove(self.bob, id).missing, [id])

    def test_tooLate(self) -> None:
        """After the receipt it cannot be taken back."""
        id = self.world.send(self.alice, "bob", "text").id
        self.world.confirm(self.bob, id)
        self.assertEqual(self.remove(self.alice, id), Deleted(ids=[], missing=[id]))
        self.assertEqual(self.kept(id), (1, None, "text"))

    def test_cameBack(self) -> None:
        """What came back is in the own mailbox: it is removed, not recalled, and nobody is told."""
        alice = self.online(self.alice)
        id = self.world.send(self.alice, "nobody", receipt=True).id
        self.assertEqual(self.remove(self.alice, id).ids, [id])
        self.assertEqual((self.kept(id)[0], alice.notices), (2, []))
        self.assertEqual(self.states(self.alice, "sent"), {id: "returned"})

    def test_toSelf(self) -> None:
        """A message to oneself is removed, not recalled."""
        id = self.world.send(self.alice, "alice").id
        self.assertEqual(self.remove(self.alice, id).ids, [id])
        self.assertEqual(self.states(self.alice, "sent"), {id: "delivered"})

    def test_notMine(self) -> None:
        """Other people's messages and ids that do not exist are missing; each id is answered once."""
        waiting = self.world.send(self.alice, "bob").id
        delivered = self.world.send(self.alice, "bob").id
        self.world.confirm(self.bob, delivered)
        mine = self.world.send(self.bob, "carol").id
        asked = [99, mine, waiting, delivered, mine, 99, 0]
        self.assertEqual(self.remove(self.carol, 99, waiting, delivered).missing, [99, waiting, delivered])
        self.assertEqual(
            self.remove(self.bob, *asked), Deleted(ids=[mine, waiting, delivered], missing=[99, 0])
        )
        self.assertEqual(self.remove(self.bob), Deleted(ids=[], missing=[]))


class ListingTests(MailroomCase):
    """The boxes."""

    def test_inbox(self) -> None:
        """What is in the mailbox: waiting, delivered, and what came back; ascending by id."""
        waiting = self.world.send(self.alice, "bob", subject="hi").id
        delivered = self.world.send(self.alice, "bob").id
        removed = self.world.send(self.alice, "bob").id
        back = self.world.send(self.bob, "nobody").id
        self.world.confirm(self.bob, delivered)
        self.remove(self.bob, removed)
        self.assertEqual(
            self.listing(self.bob, "inbox"),
            Listing(
                box="inbox",
                messages=[
                    Entry(
                        id=waiting, sender="alice", recipient="bob", time=NOW, subject="hi", state="waiting"
                    ),
                    Entry(id=delivered, sender="alice", recipient="bob", time=NOW, state="delivered"),
                    Entry(
                        id=back,
                        sender="bob",
                        recipient="bob",
                        time=NOW,
                        state="waiting",
                        returned=self.returned("nobody", Code.UNKNOWN_RECIPIENT),
                    ),
                ],
                more=False,
            ),
        )

    def test_byIdNotByArrival(self) -> None:
        """A message that came back stands where its id belongs."""
        sent = self.world.send(self.alice, "bob").id
        late = self.world.send(self.carol, "alice").id
        self.world.delete(self.bob)
        self.assertEqual(list(self.states(self.alice, "inbox")), [sent, late])

    def test_sent(self) -> None:
        """The fate of each message that the account has sent, under the name it was sent to."""
        ids = [
            self.world.send(self.alice, name).id for name in ("bob", "bob", "bob", "bob", "nobody", "carol")
        ]
        self.world.confirm(self.bob, ids[1])
        self.remove(self.bob, ids[2])
        self.remove(self.alice, ids[3])
        self.world.delete(self.carol)
        self.assertEqual(
            [(entry.id, entry.recipient, entry.state) for entry in self.listing(self.alice, "sent").messages],
            [
                (ids[0], "bob", "waiting"),
                (ids[1], "bob", "delivered"),
                (ids[2], "bob", "delivered"),
                (ids[3], "bob", "recalled"),
                (ids[4], "nobody", "returned"),
                (ids[5], "carol", "returned"),
            ],
        )

    def test_pages(self) -> None:
        """A listing ends at its limit and says whether more follow; C{after} itself is excluded."""
        ids = [self.world.send(self.alice, "bob").id for _ in range(5)]
        for account, box in ((self.bob, "inbox"), (self.alice, "sent")):
            for after, limit, expected, more in (
                (0, 100, ids, False),
                (0, 5, ids, False),
                (0, 4, ids[:4], True),
                (1, 2, ids[1:3], True),
                (3, 2, ids[3:], False),
                (5, 1, [], False),
                (2**63 - 1, 1000, [], False),
            ):
                found = self.listing(account, box, after, limit)
                self.assertEqual(([entry.id for entry in found.messages], found.more), (expected, more))

    def test_latest(self) -> None:
        """From the newest message back, and not from both ends at once."""
        ids = [self.world.send(self.alice, "bob").id for _ in range(3)]
        for before, limit, wanted, more in ((0, 2, ids[:0:-1], True), (ids[1], 2, ids[:1], False)):
            found = self.world.result(self.mailroom.listing(self.bob, "inbox", 0, limit, before))
            self.assertEqual(([entry.id for entry in found.messages], found.more), (wanted, more))
        both = self.mailroom.listing(self.bob, "inbox", 1, 2, 3)
        refusal = self.assertRaises(Refusal, self.world.result, both)
        self.assertEqual(refusal.code, Code.BAD_FRAME)

    def test_noSuchBox(self) -> None:
        """There are two boxes."""
        for box in ("", "Inbox", "outbox", "x" * 10_000):
            refusal = self.assertRaises(Refusal, self.listing, self.alice, box)
            self.assertEqual(refusal.code, Code.BAD_FRAME)

    def test_dead(self) -> None:
        """A dead letter is in no box of anybody."""
        self.world.send(self.bob, "alice")
        self.world.delete(self.bob)
        self.world.delete(self.alice)
        for account in (self.alice, self.carol):
            self.assertEqual(self.listing(account, "inbox").messages, [])
        self.assertEqual(self.states(self.bob, "sent"), {1: "dead"})


class ReadTests(MailroomCase):
    """Whole messages."""

    def test_own(self) -> None:
        """Messages in the own mailbox, whole, in the order asked, each once."""
        first = self.world.send(self.alice, "bob", "1", subject="s", receipt=True, ref="r").id
        second = self.world.send(self.alice, "bob", "2").id
        self.world.confirm(self.bob, second)
        self.assertEqual(
            self.read(self.bob, second, first, second),
            Messages(
                messages=[
                    Message(
                        id=second, sender="alice", recipient="bob", time=NOW, body="2", state="delivered"
                    ),
                    Message(
                        id=first,
                        sender="alice",
                        recipient="bob",
                        time=NOW,
                        subject="s",
                        body="1",
                        state="waiting",
                    ),
                ],
                missing=[],
            ),
        )

    def test_changesNothing(self) -> None:
        """To read is not to confirm."""
        id = self.world.send(self.alice, "bob").id
        self.read(self.bob, id)
        self.assertEqual(self.states(self.alice, "sent"), {id: "waiting"})

    def test_sent(self) -> None:
        """What the account has sent, with its fate, as long as there is content."""
        waiting, delivered, removed, recalled = (self.world.send(self.alice, "bob").id for _ in range(4))
        self.world.confirm(self.bob, delivered)
        self.remove(self.bob, removed)
        self.remove(self.alice, recalled)
        found = self.read(self.alice, waiting, delivered, removed, recalled)
        self.assertEqual(
            [(each.id, each.recipient, each.state) for each in found.messages],
            [(waiting, "bob", "waiting"), (delivered, "bob", "delivered")],
        )
        self.assertEqual(found.missing, [removed, recalled])

    def test_cameBack(self) -> None:
        """What came back says so, and why."""
        id = self.world.send(self.alice, "nobody", "text").id
        (message,) = self.read(self.alice, id).messages
        self.assertEqual((message.recipient, message.state, message.body), ("alice", "waiting", "text"))
        self.assertEqual(message.returned, self.returned("nobody", Code.UNKNOWN_RECIPIENT))

    def test_notMine(self) -> None:
        """Other people's messages and ids that do not exist are missing alike."""
        id = self.world.send(self.alice, "bob").id
        self.assertEqual(self.read(self.carol, id, 99, 0, id), Messages(messages=[], missing=[id, 99, 0]))

    def test_limit(self) -> None:
        """At most a hundred ids at once."""
        self.assertEqual(len(self.read(self.alice, *range(READ_IDS)).missing), READ_IDS)
        refusal = self.assertRaises(Refusal, self.read, self.alice, *range(READ_IDS + 1))
        self.assertEqual(refusal.code, Code.TOO_LARGE)


class PresenceTests(MailroomCase):
    """Who is here."""

    def test_enterAndLeave(self) -> None:
        """What is committed goes to whoever is here at that moment."""
        bob = self.online(self.bob)
        self.world.send(self.alice, "bob")
        bob.leave()
        self.world.send(self.alice, "bob")
        self.assertEqual(bob.ids, [1])
        self.assertEqual(self.world.result(self.mailroom.mailbox(self.bob)), (2, 1))

    def test_waiting(self) -> None:
        """A page of what waits, as the store has it."""
        self.world.send(self.alice, "bob", "text")
        self.world.send(self.alice, "bob", "more")
        page, more = self.world.result(self.mailroom.waiting(self.bob, 0, 1))
        shown = [(position, message.body, message.again) for position, message in page]
        self.assertEqual((shown, more), ([(1, "text", True), (2, "more", False)], False))

    def test_survives(self) -> None:
        """Everything told as accepted is there after the server was killed."""
        ids = [self.world.send(self.alice, "bob").id for _ in range(3)]
        self.world.confirm(self.bob, ids[0])
        world = self.world.crash(self.mktemp())
        self.addCleanup(world.close)
        self.assertEqual([letter.id for letter in world.waiting(self.bob)], ids[1:])
        connection = sqlite3.connect(world.path / "messages.db")
        self.addCleanup(connection.close)
        self.assertEqual(connection.execute("PRAGMA integrity_check").fetchone(), ("ok",))
