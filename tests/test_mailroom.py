"""Tests for L{chat.mailroom}: accept, return and receipt."""

from __future__ import annotations

from typing import Any

from chat import mailroom
from chat.errors import Code
from chat.messages import (
    BODY_BYTES,
    RECIPIENT_BYTES,
    REF_BYTES,
    SUBJECT_BYTES,
    Accepted,
    Delivered,
    Failed,
    Fatal,
    Message,
)
from chat.store import returns
from chat.store.commit import RETRY_SECONDS
from chat.times import rfc3339
from tests.mailroom_case import NOW, MailroomCase
from tests.world import RESERVED, Onlooker


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


def fields(message: Message) -> dict[str, Any]:
    """The fields of a message."""
    return {name: getattr(message, name) for name in message.__struct_fields__}
