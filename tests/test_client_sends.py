"""Tests for the client library: what is sent, and what becomes of it."""

from __future__ import annotations

from typing import Any

from chat.client import (
    Client,
    Ended,
    Fate,
    OutboxFull,
    Refused,
    Stopped,
    UnknownMessage,
)
from chat.messages import (
    Deleted,
    Failed,
    Frame,
    List,
    Message,
    Returned,
)
from tests.memory_server import TIME, ClientTests, Line, MemorySession


class SendTests(ClientTests):
    """Sending, and knowing what became of it."""

    def test_accepted(self) -> None:
        """A send fires once the server has accepted it."""
        client = self.connect()
        sent = client.send("bob", "Dinner at eight?", "tonight")
        self.assertNoResult(sent)
        self.flush()
        self.assertEqual(self.successResultOf(sent).id, 1)
        message = self.server.ledger[1].message
        self.assertEqual((message.subject, message.body), ("tonight", "Dinner at eight?"))

    def test_before_the_login(self) -> None:
        """What is sent before there is a connection goes out in order after the login."""
        client = self.client()
        sent = [client.send("bob", str(number)) for number in range(5)]
        client.start()
        self.flush()
        self.assertEqual([self.successResultOf(each).id for each in sent], [1, 2, 3, 4, 5])
        self.assertEqual([stored.message.body for stored in self.server.ledger.values()], list("01234"))

    def test_refs(self) -> None:
        """Each message has a C{ref} of its own, of at most 64 bytes, that others cannot guess."""
        for _ in range(2):
            client = self.connect()
            client.send("bob", "one")
            client.send("bob", "two")
        self.flush()
        refs = {message.ref for message in self.server.frames(Message)}
        self.assertEqual(len(refs), 4)
        self.assertTrue(all(32 < len(ref) <= 64 for ref in refs))

    def test_own_ref(self) -> None:
        """An application that keeps its own C{ref} may send again after it was restarted."""
        for _ in range(2):
            sent = self.connect().send("bob", "once", ref="order-66")
            self.flush()
            self.assertEqual(self.successResultOf(sent).id, 1)
        client = self.connect()
        client.send("bob", "x", ref="order-67")
        self.assertRaises(ValueError, client.send, "bob", "x", ref="order-67")

    def test_refused(self) -> None:
        """A refusal fails this send with code and reason, and no other."""

        def full(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Message) and frame.body == "two":
                session.say(Failed(code="storage-full", reason="The disk is full.", ref=frame.ref))
                return True
            return False

        self.server.answers.append(full)
        client = self.connect()
        one, two, three = [client.send("bob", body) for body in ("one", "two", "three")]
        self.flush()
        self.assertEqual(self.successResultOf(one).id, 1)
        refused = self.failureResultOf(two, Refused).value
        self.assertEqual((refused.code, refused.reason), ("storage-full", "The disk is full."))
        self.assertEqual(self.successResultOf(three).id, 2)
        self.assertEqual(client.unaccepted, 0)

    def test_too_large_for_a_frame(self) -> None:
        """What would make the server close the connection is refused here."""
        client = self.connect()
        refused = self.failureResultOf(client.send("bob", "x" * 600_000), Refused).value
        self.assertEqual(refused.code, "too-large")
        self.assertEqual(client.unaccepted, 0)

    def test_lone_surrogate(self) -> None:
        """Text that UTF-8 cannot carry is a mistake of the caller."""
        client = self.connect()
        self.assertRaises(ValueError, client.send, "bob", "\ud800")
        self.assertEqual(client.unaccepted, 0)

    def test_slow_down(self) -> None:
        """After C{slow-down} nothing is written for so long, then everything in order."""
        left = [1]

        def busy(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Message) and left:
                left.pop()
                session.say(Failed(code="slow-down", reason="Slow.", ref=frame.ref, seconds=7))
                return True
            return False

        self.server.answers.append(busy)
        client = self.connect()
        one = client.send("bob", "one")
        self.flush()
        two = client.send("bob", "two")
        self.run_for(6.5)
        self.assertNoResult(one)
        self.assertNoResult(two)
        self.run_for(1)
        self.assertEqual((self.successResultOf(one).id, self.successResultOf(two).id), (1, 2))

    def test_outbox_is_bounded(self) -> None:
        """When too much waits to be accepted, a send is refused clearly and keeps nothing."""
        client = self.client(most_unaccepted=2)
        client.send("bob", "one")
        client.send("bob", "two")
        self.assertRaises(OutboxFull, client.send, "bob", "three")
        self.assertEqual(client.unaccepted, 2)
        client.start()
        self.flush()
        client.send("bob", "three")
        self.flush()
        self.assertEqual(len(self.server.ledger), 3)

    def test_outbox_is_bounded_in_bytes(self) -> None:
        """The bytes of what waits are bounded, and given back."""
        client = self.connect(most_unaccepted_bytes=1000)
        for _ in range(3):
            client.send("bob", "x" * 700)
            self.assertRaises(OutboxFull, client.send, "bob", "y" * 700)
            self.flush()
        self.assertEqual(len(self.server.ledger), 3)

    def test_cancelled(self) -> None:
        """A send that is cancelled before it was written is never sent."""
        client = self.client()
        sent = client.send("bob", "never mind")
        sent.cancel()
        self.failureResultOf(sent)
        other = client.send("bob", "this")
        client.start()
        self.flush()
        self.successResultOf(other)
        self.assertEqual([frame.body for frame in self.server.frames(Message)], ["this"])

    def test_cancelled_under_way(self) -> None:
        """A send cancelled under way is not repeated, and its answer disturbs nothing."""
        client = self.connect()
        sent, other = client.send("bob", "never mind"), client.send("bob", "this")
        sent.cancel()
        self.failureResultOf(sent)
        self.flush()
        self.assertEqual(self.successResultOf(other).id, 2)

    def test_stopped(self) -> None:
        """What is not accepted when the client stops fails, and so does what is sent later."""
        client = self.client()
        sent = client.send("bob", "too late")
        client.close()
        self.failureResultOf(sent, Stopped)
        self.failureResultOf(client.send("bob", "later"), Stopped)
        self.failureResultOf(client.delivered(1), Stopped)
        self.failureResultOf(client.ping(), Stopped)

    def test_poison(self) -> None:
        """A message at which the server fails again and again is given back; others go on."""

        def fails(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Message) and frame.body == "poison":
                session.end("internal-error")
                return True
            return False

        self.server.answers.append(fails)
        client = self.connect()
        sent = [client.send("bob", body) for body in ("one", "poison", "two", "three")]
        self.run_for(30)
        self.assertEqual(self.failureResultOf(sent.pop(1), Ended).value.code, "internal-error")
        self.assertEqual([self.successResultOf(each).id for each in sent], [1, 2, 3])
        under_way: list[Frame] = []

        def held(session: MemorySession, frame: Frame) -> bool:
            under_way.append(frame)
            return True

        self.server.answers[:] = [held]
        client.send("bob", "four")
        client.send("bob", "five")
        self.flush()
        self.assertEqual(len(under_way), 2)


class FateTests(ClientTests):
    """Waiting for what becomes of a message."""

    def accepted(self, client: Client, recipient: str = "bob", **more: Any) -> int:
        """Send something; its id."""
        sent = client.send(recipient, "hello", **more)
        self.flush()
        return self.successResultOf(sent).id

    def test_delivered(self) -> None:
        """The sender who waits is told when the recipient has confirmed."""
        client = self.connect()
        fate = client.delivered(self.accepted(client, receipt=True))
        self.flush()
        self.assertNoResult(fate)
        self.bob()
        self.assertEqual(self.successResultOf(fate), Fate(1, "delivered", time=TIME))

    def test_delivered_before_asking(self) -> None:
        """It does not matter that the delivery was told before anyone asked."""
        client = self.connect()
        self.bob()
        fate = client.delivered(self.accepted(client, receipt=True))
        self.flush()
        self.assertEqual(self.successResultOf(fate).state, "delivered")

    def test_without_receipt(self) -> None:
        """Of a message sent without a receipt the fate is learnt too, if later."""
        client = self.connect(idle=60)
        fate = client.delivered(self.accepted(client))
        self.flush()
        self.bob()
        self.assertNoResult(fate)
        self.run_for(61)
        self.assertEqual(self.successResultOf(fate).state, "delivered")

    def test_while_away(self) -> None:
        """What was delivered while the sender was away is asked for after the next login."""
        client = self.connect()
        fate = client.delivered(self.accepted(client, receipt=True))
        self.flush()
        self.session().cut()
        self.line.broken = True
        self.flush()
        line = Line(self.server)
        self.lines.append(line)
        self.bob(line=line)
        self.assertNoResult(fate)
        self.line.broken = False
        self.run_for(4)
        self.assertEqual(self.successResultOf(fate).state, "delivered")

    def test_unknown_recipient(self) -> None:
        """A message that comes back settles the wait, with the reason."""
        got: list[Message] = []
        client = self.connect(on_message=got.append)
        fate = client.delivered(self.accepted(client, "nobody"))
        self.flush()
        returned = Returned(code="unknown-recipient", recipient="nobody", note="No such account.")
        self.assertEqual(self.successResultOf(fate), Fate(1, "returned", returned))
        self.assertEqual([message.returned for message in got], [returned])

    def test_comes_back_later(self) -> None:
        """A message that turns round while its sender waits settles the wait."""
        client = self.connect()
        fate = client.delivered(self.accepted(client))
        self.flush()
        self.server.turn_back(1)
        self.flush()
        self.assertEqual(self.successResultOf(fate).returned.code, "account-deleted")  # type: ignore[union-attr]

    def test_recalled(self) -> None:
        """A message that the sender recalls settles the wait."""
        client = self.connect()
        fate = client.delivered(self.accepted(client))
        self.flush()
        deleted = client.delete([1, 2])
        self.flush()
        self.assertEqual(self.successResultOf(deleted), Deleted(ids=[1], missing=[2]))
        self.assertEqual(self.successResultOf(fate).state, "recalled")

    def test_unknown_message(self) -> None:
        """Waiting for a message that was never sent fails."""
        client = self.connect()
        self.accepted(client)
        unknown = client.delivered(7)
        self.flush()
        self.failureResultOf(unknown, UnknownMessage)

    def test_asked_meanwhile(self) -> None:
        """Who begins to wait while others' fates are being looked up is not forgotten."""
        client = self.connect()
        self.bob()
        for _ in range(5):
            self.accepted(client)
        later, earlier = client.delivered(5), client.delivered(1)
        self.flush()
        self.assertEqual(self.successResultOf(later).state, "delivered")
        self.assertEqual(self.successResultOf(earlier).state, "delivered")

    def test_many(self) -> None:
        """Many waits are looked up with few questions."""
        client = self.connect()
        for _ in range(250):
            client.send("bob", "hello", receipt=True)
        self.flush()
        fates = [client.delivered(id) for id in range(1, 251)]
        self.flush()
        self.session().cut()
        self.line.broken = True
        self.flush()
        line = Line(self.server)
        self.lines.append(line)
        self.bob(line=line)
        self.server.heard.clear()
        self.line.broken = False
        self.run_for(4)
        for fate in fates:
            self.assertEqual(self.successResultOf(fate).state, "delivered")
        self.assertEqual(len(self.server.frames(List)), 3)

    def test_one_after_another(self) -> None:
        """However many wait, one more costs one question; the others are looked up at intervals."""
        client = self.connect(idle=60)
        fates = []
        for _ in range(12):
            self.run_for(5)
            fates.append(client.delivered(self.accepted(client)))
            self.flush()
        asked = self.server.frames(List)
        self.assertEqual([(each.after, each.limit) for each in asked], [(number, 1) for number in range(12)])
        self.bob()
        self.run_for(6)
        self.assertEqual({self.successResultOf(fate).state for fate in fates}, {"delivered"})

    def test_cancelled(self) -> None:
        """Who waits no longer is forgotten; others are told."""
        client = self.connect()
        id = self.accepted(client, receipt=True)
        first, second = client.delivered(id), client.delivered(id)
        first.cancel()
        self.failureResultOf(first)
        self.flush()
        self.bob()
        self.successResultOf(second)
