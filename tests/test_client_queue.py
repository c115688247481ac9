"""chat send --queue and chat outbox --send: a message that waits on this machine for the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from chat.client import letters
from chat.client.once import Order, Sender, send_kept, send_once
from chat.client.spool import Spool, waiting
from chat.client.state import State
from chat.messages import Failed, Message, TokenIssued
from tests.memory_server import ClientTests


class QueueTests(ClientTests):
    """C{chat send --queue}."""

    def setUp(self) -> None:
        """A profile."""
        super().setUp()
        self.state = State(Path(self.mktemp()).absolute())
        self.addCleanup(self.state.close)
        self.complaints: list[str] = []

    def spool(self) -> Spool:
        """The outbox."""
        return Spool(self.clock, self.state, "a:1", "alice")

    def sender(self, password: str | None) -> Sender:
        """Alice; without a password, by a token."""
        token = TokenIssued(value="token 1", expires="2026-12-22T21:07:00.000Z")
        return Sender(
            self.clock, self.line, self.codec, "alice", password, token if password is None else None
        )

    def send(self, body: str, password: str | None = "wonderland", **more: Any) -> Deferred[int]:
        """Begin to send."""
        order = Order(recipient="bob", body=body, **more)
        status = Deferred.fromCoroutine(
            send_once(self.sender(password), order, self.complaints.append, self.spool())
        )
        self.run_for(0.01)
        return status

    def send_kept(self, password: str | None = "wonderland") -> Deferred[int]:
        """Begin to send what is kept."""
        status = Deferred.fromCoroutine(
            send_kept(self.sender(password), self.spool(), 10, self.complaints.append)
        )
        self.run_for(0.01)
        return status

    def kept(self) -> list[str]:
        """What is in the outbox."""
        return [message.body for *_, message in waiting(self.state) if message]

    def sent(self) -> list[str]:
        """What the server has."""
        return [kept.message.body for kept in self.server.ledger.values()]

    def test_queued(self) -> None:
        """6: the server is away, and the message is kept; the next one takes it along, before itself."""
        self.line.broken = True
        status = self.send("one")
        self.run_for(11)
        self.assertEqual(self.successResultOf(status), 6)
        self.assertEqual(self.kept(), ["one"])
        self.line.broken = False
        status = self.send("two")
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(self.sent(), ["one", "two"])
        self.assertEqual(self.kept(), [])

    def test_own_ref(self) -> None:
        """The same again, with an identifier, is kept once and sent once."""
        self.line.broken = True
        for _ in range(2):
            status = self.send("one", ref="a")
            self.run_for(11)
            self.assertEqual(self.successResultOf(status), 6)
        self.assertEqual(self.kept(), ["one"])
        self.line.broken = False
        self.assertEqual(self.successResultOf(self.send("one", ref="a")), 0)
        self.assertEqual(self.sent(), ["one"])
        self.assertEqual(self.kept(), [])

    def test_refused(self) -> None:
        """1: what is refused is not kept."""
        self.assertEqual(self.successResultOf(self.send("one", password="wrong")), 1)
        self.assertEqual(self.kept(), [])
        self.assertEqual(self.successResultOf(self.send("\ud800")), 1)

    def test_token(self) -> None:
        """Who stays logged in needs no password; when that is over, it is refused."""
        self.server.tokens = {"token 1": "alice"}
        self.assertEqual(self.successResultOf(self.send("one", password=None)), 0)
        self.assertEqual(self.server.tokens, {"token 1": "alice"})
        self.server.tokens = {}
        self.assertEqual(self.successResultOf(self.send("two", password=None)), 1)
        self.assertEqual(self.sent(), ["one"])

    def test_send_kept(self) -> None:
        """C{chat outbox --send} sends what is kept, and nothing twice."""
        self.line.broken = True
        for body in ("one", "two"):
            status = self.send(body)
            self.run_for(11)
        self.complaints.clear()
        for broken, password, expected, left in (
            (True, "wonderland", 5, ["one", "two"]),
            (False, "wrong", 1, ["one", "two"]),
            (False, "wonderland", 0, []),
            (True, "wonderland", 0, []),
        ):
            self.line.broken = broken
            status = self.send_kept(password)
            self.run_for(11)
            self.assertEqual(self.successResultOf(status), expected)
            self.assertEqual(self.kept(), left)
        self.assertEqual(self.sent(), ["one", "two"])
        self.assertIn("refused", self.complaints[0])
        self.assertIn("wrong-password", self.complaints[1])

    def test_taken_ref(self) -> None:
        """1: an identifier that belongs to another message is refused, and that one is sent the next time."""
        self.line.broken = True
        status = self.send("one", ref="a")
        self.run_for(11)
        self.assertEqual(self.successResultOf(status), 6)
        self.line.broken = False
        self.assertEqual(self.successResultOf(self.send("two", ref="a")), 1)
        self.assertIn("another message", self.complaints[-1])
        self.assertEqual((self.kept(), self.sent()), (["one"], []))
        self.assertEqual(self.successResultOf(self.send("three")), 0)
        self.assertEqual(self.sent(), ["one", "three"])

    def test_full(self) -> None:
        """6: what the server has no room for stays here, and is sent when it has."""
        self.line.broken = True
        for body in ("one", "two"):
            status = self.send(body)
            self.run_for(11)
        self.line.broken = False
        codes = {"one": "storage-full", "two": "storage-full", "three": "storage-full"}

        def refuse(session: Any, frame: object) -> bool:
            if not isinstance(frame, Message) or frame.body not in codes:
                return False
            return bool(session.say(Failed(code=codes[frame.body], reason="No.", ref=frame.ref)))

        self.server.answers.append(refuse)
        self.assertEqual(self.successResultOf(self.send("three")), 6)
        self.assertEqual(self.kept(), ["one", "two", "three"])
        del codes["three"]
        self.assertEqual(self.successResultOf(self.send("four")), 0)
        self.assertIn("What was kept before is still unsent. No. (storage-full)", self.complaints)
        codes["two"] = "too-large"
        self.complaints.clear()
        status = self.send_kept()
        self.assertEqual(self.successResultOf(status), 5)
        self.assertEqual(self.kept(), ["one"])
        self.assertIn("Something is still unsent. No. (storage-full)", self.complaints)
        self.assertIn("Not sent, what was kept for bob: No. (too-large)", self.complaints)
        codes.clear()
        self.assertEqual(self.successResultOf(self.send_kept()), 0)
        self.assertEqual((self.kept(), self.sent()), ([], ["three", "four", "one"]))

    def test_many(self) -> None:
        """However much is kept, it is sent in order, as much at a time as the client takes."""
        self.patch(letters, "_MOST", 3)
        spool = self.spool()
        bodies = [str(number) for number in range(8)]
        for body in bodies:
            spool.keep(body, Message(recipient="bob", body=body, ref=body))
        self.clock.advance(0)
        spool.close()
        self.assertEqual(self.successResultOf(self.send("last")), 0)
        self.assertEqual((self.kept(), self.sent()), ([], [*bodies, "last"]))

    def test_portions(self) -> None:
        """Not too many together, and not too much; a message that is too much alone goes alone."""
        self.patch(letters, "_MOST", 3)
        self.patch(letters, "_MOST_CHARACTERS", 20)
        messages = [Message(recipient="bob", body="x" * length) for length in (1, 2, 3, 4, 30, 10, 10)]
        lengths = [[len(each.body) for each in portion] for portion in letters.portions(messages)]
        self.assertEqual(lengths, [[1, 2, 3], [4], [30], [10], [10]])
        self.assertEqual(list(letters.portions([])), [])

    def test_no_message(self) -> None:
        """Something in the outbox that is no message is named, and does not stop the others."""
        self.line.broken = True
        for body in ("one", "two"):
            status = self.send(body)
            self.run_for(11)
        self.successResultOf(status)
        with self.state.change() as connection:
            connection.execute("UPDATE outbox SET frame = 'x' WHERE number = 1")
        self.line.broken = False
        self.assertEqual(self.successResultOf(self.send_kept()), 0)
        self.assertIn("chat outbox --drop 1", self.complaints[-1])
        self.assertEqual(self.sent(), ["two"])
