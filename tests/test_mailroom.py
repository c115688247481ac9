"""Tests for L{chat.mailroom}: accept, deliver, receipt, return, recall, remove, list and read."""

from __future__ import annotations

import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chat import mailroom
from chat.errors import Code, Refusal
from chat.ledger import Account
from chat.letters import NOTES
from chat.messages import (
    BODY_BYTES,
    READ_IDS,
    RECIPIENT_BYTES,
    REF_BYTES,
    SUBJECT_BYTES,
    Accepted,
    Deleted,
    Delivered,
    Entry,
    Failed,
    Fatal,
    Listing,
    Message,
    Messages,
    Returned,
)
from chat.store import returns
from chat.store.commit import RETRY_SECONDS
from chat.times import rfc3339
from tests.world import BEGINNING, RESERVED, Onlooker, open_world

#: The time at which the world begins, as the wire has it.
NOW = rfc3339(BEGINNING * 1000)


class MailroomCase(SynchronousTestCase):
    """Alice, Bob and Carol write to each other."""

    def setUp(self) -> None:
        """Sign them up."""
        self.world = open_world(self)
        self.mailroom = self.world.mailroom
        self.alice, self.bob, self.carol = self.world.sign_up("alice", "bob", "carol")

    def online(self, account: Account) -> Onlooker:
        """A session of the account that reads everything."""
        return Onlooker(self.world, account).enter()

    def read(self, account: Account, *ids: int) -> Messages:
        """Whole messages."""
        return self.world.result(self.mailroom.read(account, ids))

    def remove(self, account: Account, *ids: int) -> Deleted:
        """Remove or recall."""
        return self.world.result(self.mailroom.remove(account, ids))

    def listing(self, account: Account, box: str, after: int = 0, limit: int = 100) -> Listing:
        """A part of a box."""
        return self.world.result(self.mailroom.listing(account, box, after, limit))

    def states(self, account: Account, box: str) -> dict[int, str]:
        """The state of each message in a box."""
        return {entry.id: entry.state for entry in self.listing(account, box).messages}

    def returned(self, recipient: str, code: Code) -> Returned:
        """What a message says that came back."""
        return Returned(code=code.value, recipient=recipient, note=NOTES[code])


class AcceptTests(MailroomCase):
    """The answer to a send, and where the message is then."""

    def test_accepted(self) -> None:
        """The answer has the ref, id, time and state; the message waits for its recipient."""
        answer = self.world.send(self.alice, "Bob", "text", subject="s", ref="c1")
        self.assertEqual(answer, Accepted(ref="c1", id=1, time=NOW, state="waiting"))
        self.assertEqual(
            self.online(self.bob).shown,
            [Message(id=1, sender="alice", recipient="bob", time=NOW, subject="s", body="text")],
        )

    def test_withoutAnything(self) -> None:
        """A message needs a recipient and a body, which may be empty."""
        answer = self.world.send(self.alice, "bob", "")
        self.assertEqual(answer, Accepted(id=1, time=NOW, state="waiting"))
        (shown,) = self.online(self.bob).shown
        self.assertEqual((shown.subject, shown.body), (None, ""))

    def test_unaltered(self) -> None:
        """Subject and body are nobody's business: they arrive as they were sent."""
        odd = "\x00\x1b[2J\r\n\u202e\ufeff\U0001f600 e\u0301"
        self.world.send(self.alice, "bob", odd, subject=odd)
        (shown,) = self.online(self.bob).shown
        self.assertEqual((shown.subject, shown.body), (odd, odd))

    def test_time(self) -> None:
        """The time is that of the acceptance, in milliseconds."""
        self.world.clock.advance(1.2345)
        self.assertEqual(self.world.send(self.alice, "bob").time, "2026-11-22T21:07:01.234Z")

    def test_toSelf(self) -> None:
        """A message to oneself is one message, in both boxes."""
        alice = self.online(self.alice)
        id = self.world.send(self.alice, "alice", receipt=True).id
        self.assertEqual(alice.ids, [id])
        self.world.confirm(self.alice, id)
        self.assertEqual(alice.notices, [Delivered(ids=[id], time=NOW)])
        self.assertEqual(self.states(self.alice, "sent"), {id: "delivered"})
        self.assertEqual(self.states(self.alice, "inbox"), {id: "delivered"})

    def test_limits(self) -> None:
        """What is as large as allowed is accepted; a byte more is C{too-large}, and nothing is cut."""
        for field, limit in (
            ("ref", REF_BYTES),
            ("subject", SUBJECT_BYTES),
            ("body", BODY_BYTES),
            ("recipient", RECIPIENT_BYTES),
        ):
            for letter, count in (("x", limit), ("\u20ac", limit // 3), ("\U0001f600", limit // 4)):
                text = letter * count + "x" * (limit - len((letter * count).encode()))
                fields: dict[str, Any] = {"recipient": "bob", "body": "b", field: text}
                (answer,) = self.world.accept(self.alice, Message(**fields))
                self.assertIsInstance(answer, Accepted)
                fields[field] = text + "x"
                (answer,) = self.world.accept(self.alice, Message(**fields))
                assert isinstance(answer, Failed)
                self.assertEqual((answer.code, answer.ref), ("too-large", None))
                self.assertIn(f"{field} of a message has at most {limit} bytes", answer.reason)

    def test_refusalNamesItsRef(self) -> None:
        """A refusal says which message it is about."""
        (answer,) = self.world.accept(
            self.alice, Message(recipient="bob", body="x" * (BODY_BYTES + 1), ref="c1")
        )
        assert isinstance(answer, Failed)
        self.assertEqual((answer.code, answer.ref), ("too-large", "c1"))

    def test_batch(self) -> None:
        """Of messages sent together each gets its own answer, in order."""
        answers = self.world.accept(
            self.alice,
            Message(recipient="bob", body="1", ref="a"),
            Message(recipient="bob", body="x", ref="y" * 65),
            Message(recipient="nobody", body="2", ref="b"),
            Message(recipient="bob", body="changed", ref="a"),
            Message(recipient="bob", body="1", ref="a"),
            Message(recipient="bob", body="3"),
        )
        self.assertEqual(
            [(type(each).__name__, getattr(each, "ref", None)) for each in answers],
            [
                ("Accepted", "a"),
                ("Failed", None),
                ("Accepted", "b"),
                ("Failed", "a"),
                ("Accepted", "a"),
                ("Accepted", None),
            ],
        )
        self.assertEqual([each.id for each in answers if isinstance(each, Accepted)], [1, 2, 1, 3])
        self.assertEqual(
            [each.code for each in answers if isinstance(each, Failed)], ["too-large", "ref-reused"]
        )
        self.assertEqual([message.body for message in self.online(self.bob).shown], ["1", "3"])

    def test_allRefused(self) -> None:
        """Where nothing is to be accepted nothing is asked of the store."""
        self.patch(self.world.store, "accept", self.fail)
        answers = self.world.accept(self.alice, *[Message(recipient="bob", body="x", ref="y" * 65)] * 2)
        self.assertEqual([type(each) for each in answers], [Failed, Failed])

    def test_pushedOnce(self) -> None:
        """A message goes to each session of its recipient when it is committed; its repetition does not."""
        first, second, other = self.online(self.bob), self.online(self.bob), self.online(self.carol)
        for _ in range(2):
            self.world.send(self.alice, "bob", "text", ref="r")
        self.assertEqual((first.ids, second.ids, other.ids), ([1], [1], []))
        self.patch(first, "push", self.fail)
        self.world.send(self.alice, "bob", "text", ref="r")

    def test_repeatedState(self) -> None:
        """The answer to a repetition tells the state that the message is in now."""
        sent: dict[str, Any] = {"body": "text", "ref": "r"}
        first = self.world.send(self.alice, "bob", **sent)
        self.world.clock.advance(60)
        self.world.confirm(self.bob, first.id)
        again = self.world.send(self.alice, "bob", **sent)
        self.assertEqual(again, Accepted(ref="r", id=first.id, time=first.time, state="delivered"))
        self.remove(self.bob, first.id)
        self.assertEqual(self.world.send(self.alice, "bob", **sent), again)
        other = self.world.send(self.alice, "bob", "other", ref="s")
        self.remove(self.alice, other.id)
        self.assertEqual(self.world.send(self.alice, "bob", "other", ref="s").state, "recalled")
        back = self.world.send(self.alice, "nobody", "back", ref="t")
        self.world.confirm(self.alice, back.id)
        self.assertEqual(self.world.send(self.alice, "nobody", "back", ref="t"), back)

    def test_goneSender(self) -> None:
        """An account that exists no longer is told so, once, whatever it sent."""
        self.world.result(self.world.store.leave(self.alice))
        (answer,) = self.world.accept(self.alice, *[Message(recipient="bob", body="text")] * 3)
        assert isinstance(answer, Fatal)
        self.assertEqual(answer.code, "account-gone")

    def test_noRoom(self) -> None:
        """On a full disk each message is refused with its own ref; the same works when there is room."""
        batch = [
            Message(recipient="bob", body="1", ref="a"),
            Message(recipient="bob", body="2", ref="b" * 65),
            Message(recipient="nobody", body="3", ref="c"),
        ]
        self.world.pool.room = 0
        answers = self.world.accept(self.alice, *batch)
        failures = [(each.code, each.ref) for each in answers if isinstance(each, Failed)]
        self.assertEqual(failures, [("storage-full", "a"), ("too-large", None), ("storage-full", "c")])
        self.assertEqual(self.online(self.bob).ids, [])
        self.world.pool.room = None
        answers = self.world.accept(self.alice, *batch)
        self.assertEqual([each.id for each in answers if isinstance(each, Accepted)], [1, 2])

    def test_brokenStore(self) -> None:
        """An error of the store that is nobody's fault here is not an answer."""
        for room, step in (
            ("_intake", lambda: self.world.accept(self.alice, Message(recipient="bob", body="text"))),
            ("_settlement", lambda: self.world.confirm(self.bob, 1)),
        ):
            self.patch(getattr(self.world.store, room), "_now", lambda: 1 // 0)
            self.assertRaises(ZeroDivisionError, step)
            self.flushLoggedErrors(ZeroDivisionError)


class ReturnTests(MailroomCase):
    """A message that cannot be delivered comes back to its sender, durably, with the reason."""

    def test_unknownRecipient(self) -> None:
        """It comes back at once, like any other message, and is confirmed like any other."""
        alice = self.online(self.alice)
        answer = self.world.send(self.alice, "Nobody", "text", subject="s", ref="r", receipt=True)
        self.assertEqual(answer.state, "returned")
        back = Message(
            id=answer.id,
            sender="alice",
            recipient="alice",
            time=NOW,
            subject="s",
            body="text",
            returned=self.returned("nobody", Code.UNKNOWN_RECIPIENT),
        )
        self.assertEqual(alice.shown, [back])
        self.assertEqual(self.online(self.alice).ids, [answer.id])
        self.world.confirm(self.alice, answer.id)
        self.assertEqual(self.online(self.alice).ids, [])
        self.assertEqual(alice.notices, [])

    def test_sameFromTheStore(self) -> None:
        """What comes back is the same whether it is pushed or read later."""
        alice = self.online(self.alice)
        self.world.send(self.alice, "nobody", "text")
        (pushed,) = alice.shown
        alice.leave()
        (read,) = Onlooker(self.world, self.alice).enter().shown
        self.assertTrue(read.again)
        self.assertEqual(read, Message(**{**fields(pushed), "again": True}))

    def test_noPossibleName(self) -> None:
        """A recipient that no account could be called comes back as it was written."""
        for name in ("", "x" * 300, "two words", "nul\0", "\x1b[2J", "\u202e", "x" * RECIPIENT_BYTES):
            alice = self.online(self.alice)
            id = self.world.send(self.alice, name).id
            self.assertEqual(alice.shown[-1].returned, self.returned(name, Code.UNKNOWN_RECIPIENT))
            (entry,) = self.listing(self.alice, "sent", id - 1).messages
            self.assertEqual((entry.recipient, entry.state), (name, "returned"))
            alice.leave()

    def test_deletedRecipient(self) -> None:
        """Mail to a leaving or deleted account comes back with C{account-deleted} while its name is kept."""
        alice = self.online(self.alice)
        self.world.result(self.world.store.leave(self.bob))
        expected = self.returned("bob", Code.ACCOUNT_DELETED)
        self.world.send(self.alice, "bob")
        self.world.result(self.mailroom.turn_round(self.bob))
        self.world.result(self.world.store.free(self.bob))
        self.world.send(self.alice, "bob")
        self.world.clock.advance(RESERVED / 1000 - 1)
        self.world.send(self.alice, "bob")
        self.assertEqual([message.returned for message in alice.shown], [expected] * 3)
        self.world.clock.advance(1)
        self.world.send(self.alice, "bob")
        self.assertEqual(alice.shown[-1].returned, self.returned("bob", Code.UNKNOWN_RECIPIENT))

    def test_somebodyNew(self) -> None:
        """Who takes a name that has become free sees nothing of the old account: no mail, no box, no refs."""
        self.world.send(self.alice, "bob", "for the old one", ref="r")
        mine = self.world.send(self.bob, "alice", "from the old one", ref="mine")
        self.world.send(self.bob, "nobody", "came back to the old one")
        read = self.world.send(self.alice, "bob", "read by the old one")
        self.world.confirm(self.bob, read.id)
        self.world.delete(self.bob)
        self.world.clock.advance(RESERVED / 1000)
        (new,) = self.world.sign_up("bob")
        bob = self.online(new)
        self.assertEqual(self.world.result(self.mailroom.mailbox(new)), (0, 0))
        self.assertEqual(bob.ids, [])
        for box in ("inbox", "sent"):
            self.assertEqual(self.listing(new, box).messages, [])
        self.assertEqual(self.read(new, *range(1, 9)).messages, [])
        self.assertEqual(self.remove(new, *range(1, 9)).ids, [])
        again = self.world.send(new, "alice", "something else", ref="mine")
        self.assertNotEqual(again.id, mine.id)
        self.world.send(self.alice, "bob", "for the new one")
        self.assertEqual([message.body for message in bob.shown], ["for the new one"])

    def test_turnedRound(self) -> None:
        """What waited for a deleted account comes back: same id, time and contents, anew for its sender."""
        self.patch(returns, "TURNED_AT_ONCE", 2)
        alice, carol = self.online(self.alice), self.online(self.carol)
        sent = [self.world.send(self.alice, "bob", f"{n}", subject="s", receipt=True).id for n in range(5)]
        theirs = self.world.send(self.carol, "bob", "from carol").id
        late = self.world.send(self.carol, "alice", "later").id
        self.world.clock.advance(60)
        self.world.delete(self.bob)
        self.assertEqual(alice.ids, [late, *sent])
        self.assertEqual(carol.ids, [theirs])
        self.assertEqual(
            alice.shown[1],
            Message(
                id=1,
                sender="alice",
                recipient="alice",
                time=NOW,
                subject="s",
                body="0",
                returned=self.returned("bob", Code.ACCOUNT_DELETED),
            ),
        )
        self.assertEqual(self.online(self.alice).ids, [late, *sent])
        self.assertEqual(self.states(self.alice, "sent"), dict.fromkeys(sent, "returned"))
        self.world.confirm(self.alice, *sent)
        self.assertEqual((alice.notices, self.online(self.alice).ids), ([], [late]))

    def test_manyChunks(self) -> None:
        """A large mailbox is emptied in many small transactions, and others get between them."""
        self.patch(returns, "TURNED_AT_ONCE", 3)
        batch = [Message(recipient="bob", body="text")] * 20
        self.world.accept(self.alice, *batch)
        read = [each.id for each in self.world.accept(self.carol, *batch) if isinstance(each, Accepted)]
        self.world.confirm(self.bob, *read)
        self.world.result(self.world.store.leave(self.bob))
        done: list[str] = []
        self.world.start(self.mailroom.turn_round(self.bob)).addCallback(lambda _: done.append("turned"))
        self.world.start(self.mailroom.mailbox(self.alice)).addCallback(lambda _: done.append("mailbox"))
        self.world.settle()
        self.assertEqual(done, ["mailbox", "turned"])
        self.assertEqual(
            self.world.sql("SELECT sender, recipient, state, count(body) FROM ledger GROUP BY 1, 2, 3"),
            [(self.alice.id, self.alice.id, 0, 20), (self.carol.id, self.bob.id, 2, 0)],
        )
        self.assertEqual(self.world.result(self.mailroom.mailbox(self.bob)).waiting, 0)

    def test_turnedRoundTwice(self) -> None:
        """Emptying a mailbox once more changes nothing."""
        self.world.send(self.alice, "bob")
        self.world.result(self.world.store.leave(self.bob))
        found = []
        for _ in range(2):
            self.world.result(self.mailroom.turn_round(self.bob))
            found.append(self.world.sql("SELECT * FROM ledger") + self.world.sql("SELECT * FROM mailboxes"))
        self.assertEqual(found[0], found[1])

    def test_erased(self) -> None:
        """The content of what the deleted account had received goes; its senders are not told."""
        id = self.world.send(self.alice, "bob", "secret", subject="secret").id
        self.world.confirm(self.bob, id)
        self.world.delete(self.bob)
        self.assertEqual(self.world.sql("SELECT state, subject, body FROM ledger"), [(2, None, None)])
        self.assertEqual(self.states(self.alice, "sent"), {id: "delivered"})

    def test_sentStays(self) -> None:
        """What the deleted account had sent is delivered all the same, under its name."""
        self.world.send(self.bob, "alice", "last words", receipt=True)
        self.world.delete(self.bob)
        alice = self.online(self.alice)
        self.assertEqual([(each.sender, each.body) for each in alice.shown], [("bob", "last words")])
        self.world.confirm(self.alice, *alice.ids)

    def test_deadLetters(self) -> None:
        """What would come back to somebody who is gone, too, is dead: kept, and in nobody's mailbox."""
        back = self.world.send(self.alice, "nobody", "came back").id
        mine = self.world.send(self.alice, "alice", "to myself").id
        theirs = self.world.send(self.bob, "alice", "from bob").id
        sent = self.world.send(self.alice, "bob", "to bob").id
        self.world.delete(self.alice)
        self.world.delete(self.bob)
        self.assertEqual(
            self.world.sql("SELECT id, state, code, addressee, recipient = sender, body FROM ledger"),
            [
                (back, 4, "unknown-recipient", "nobody", 1, "came back"),
                (mine, 4, "account-deleted", "alice", 1, "to myself"),
                (theirs, 4, "account-deleted", "alice", 1, "from bob"),
                (sent, 4, "account-deleted", "bob", 1, "to bob"),
            ],
        )
        self.assertEqual(self.world.sql("SELECT * FROM mailboxes WHERE waiting != 0"), [])


class ReceiptTests(MailroomCase):
    """Only the recipient's receipt makes a message delivered."""

    def test_inPieces(self) -> None:
        """A receipt for many messages is done when all of it is on disk."""
        self.patch(mailroom, "CONFIRMED_AT_ONCE", 2)
        ids = [self.world.send(self.alice, "bob", str(each)).id for each in range(5)]
        done: list[Any] = []
        waiting = "SELECT count(*) FROM ledger WHERE state = 0"
        self.world.mailroom.confirm(self.bob, ids, lambda: done.append(self.world.sql(waiting)), self.fail)
        self.world.settle()
        self.assertEqual(done, [[(0,)]])

    def test_inPiecesWithoutRoom(self) -> None:
        """Not before: a piece that finds no room is waited for, though the ones behind it need none."""
        self.patch(mailroom, "CONFIRMED_AT_ONCE", 2)
        ids = [self.world.send(self.alice, "bob", str(each)).id for each in range(2)]
        done: list[None] = []
        self.world.pool.room = 0
        self.world.mailroom.confirm(self.bob, [*ids, 99, 98, 97], lambda: done.append(None), self.fail)
        self.world.settle()
        self.assertEqual(done, [])
        self.world.pool.room = None
        self.world.clock.advance(RETRY_SECONDS)
        self.world.settle()
        self.assertEqual(done, [None])
        self.assertEqual(self.states(self.bob, "inbox"), dict.fromkeys(ids, "delivered"))

    def test_ofNothing(self) -> None:
        """A receipt for no message is done, too."""
        done: list[None] = []
        self.world.mailroom.confirm(self.bob, [], lambda: done.append(None), self.fail)
        self.world.settle()
        self.assertEqual(done, [None])

    def test_notice(self) -> None:
        """Who asked for it is told of the delivery, in each session; who did not is not."""
        first, second = self.online(self.alice), self.online(self.alice)
        asked = self.world.send(self.alice, "bob", receipt=True).id
        plain = self.world.send(self.alice, "bob").id
        self.world.clock.advance(5)
        self.world.confirm(self.bob, plain, asked)
        expected = [Delivered(ids=[asked], time=rfc3339(self.world.now()))]
        self.assertEqual((first.notices, second.notices), (expected, expected))
        self.assertEqual(self.states(self.alice, "sent"), {asked: "delivered", plain: "delivered"})

    def test_manySenders(self) -> None:
        """Each sender is told of their own messages, together."""
        alice, carol = self.online(self.alice), self.online(self.carol)
        mine = [self.world.send(self.alice, "bob", receipt=True).id for _ in range(2)]
        theirs = self.world.send(self.carol, "bob", receipt=True).id
        self.world.confirm(self.bob, *mine, theirs)
        self.assertEqual([sorted(notice.ids) for notice in alice.notices], [mine])
        self.assertEqual([notice.ids for notice in carol.notices], [[theirs]])

    def test_senderAway(self) -> None:
        """A sender who was away finds the state in the sent box."""
        id = self.world.send(self.alice, "bob", receipt=True).id
        self.world.confirm(self.bob, id)
        alice = self.online(self.alice)
        self.assertEqual((alice.notices, self.states(self.alice, "sent")), ([], {id: "delivered"}))

    def test_ignored(self) -> None:
        """A receipt for an id that is unknown, another's or settled already does nothing."""
        alice = self.online(self.alice)
        id = self.world.send(self.alice, "bob", receipt=True).id
        recalled = self.world.send(self.alice, "bob", receipt=True).id
        self.remove(self.alice, recalled)
        self.world.confirm(self.carol, id)
        self.world.confirm(self.alice, id)
        self.world.confirm(self.bob, 0, 99, 2**63 - 1, recalled)
        self.world.confirm(self.bob)
        self.assertEqual((alice.notices, self.states(self.alice, "sent")[id]), ([], "waiting"))
        self.world.confirm(self.bob, id, id)
        self.world.confirm(self.bob, id)
        self.assertEqual([notice.ids for notice in alice.notices], [[id]])
        self.remove(self.bob, id)
        self.world.confirm(self.bob, id)
        self.assertEqual(len(alice.notices), 1)

    def test_ofAReturn(self) -> None:
        """To confirm what came back is no delivery."""
        alice = self.online(self.alice)
        id = self.world.send(self.alice, "nobody", receipt=True).id
        self.world.confirm(self.alice, id)
        self.assertEqual((alice.notices, self.states(self.alice, "sent")), ([], {id: "returned"}))
        self.assertEqual(self.states(self.alice, "inbox"), {id: "delivered"})

    def test_twoSessions(self) -> None:
        """The first receipt of any session settles the message for all of them."""
        self.online(self.bob)
        id = self.world.send(self.alice, "bob").id
        self.world.confirm(self.bob, id)
        self.assertEqual(self.online(self.bob).ids, [])


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


def fields(message: Message) -> dict[str, Any]:
    """The fields of a message."""
    return {name: getattr(message, name) for name in message.__struct_fields__}
