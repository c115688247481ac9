"""Sessions that are shown only a part of their mailbox: L{chat.session.Session.shown_after}."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chat.messages import Login, Message, Ping, Received
from chat.session import Session
from tests.session_case import Connection, SessionTestCase
from tests.talker import password


class QuietTests(SessionTestCase):
    """A session that is shown only a part of its mailbox, or nothing of it."""

    def enter(self, after: int | None) -> tuple[Session, Connection]:
        """A session of bob's with this part."""
        session, connection = self.session()
        session.shown_after = after
        session.receive([Login(field="username", value="bob")])
        self.settle()
        session.receive([Login(field="password", value=password("bob"))])
        self.settle()
        return session, connection

    def messages(self, connection: Connection) -> list[int]:
        """The ids of what it was shown since this was last asked."""
        frames, connection.frames = connection.frames, []
        return [frame.id for frame in frames if isinstance(frame, Message)]

    def setUp(self) -> None:
        """Two messages wait for bob."""
        super().setUp()
        self.network.user("bob").hang_up()
        self.alice = self.network.user("alice")
        self.alice.send("bob", "one")
        self.alice.send("bob", "two")
        self.alice.hear()

    def test_all(self) -> None:
        """Unless a door decides otherwise, all that waits is shown."""
        self.assertEqual(self.messages(self.enter(0)[1]), [1, 2])

    def test_behind(self) -> None:
        """Only what arrived behind a message is shown."""
        self.assertEqual(self.messages(self.enter(1)[1]), [2])

    def test_nothing(self) -> None:
        """Nothing is shown, neither what waits nor what comes, and it is answered all the same."""
        session, connection = self.enter(None)
        self.alice.send("bob", "three")
        self.alice.hear()
        session.more()
        session.drained()
        session.receive([Ping()])
        self.settle()
        self.assertTrue(connection.heard().endswith("welcome, pong"))
        self.assertFalse(session.live)

    def test_notices(self) -> None:
        """Of its own messages it is told all the same."""
        session, connection = self.enter(None)
        session.receive([Message(recipient="alice", body="hello", receipt=True)])
        self.settle()
        connection.heard()
        self.alice.received(3)
        self.alice.hear()
        self.assertEqual(connection.heard(), "delivered")

    def test_lost_meanwhile(self) -> None:
        """Who hangs up while it is looked where to go on is not shown anything."""
        session, connection = self.session()
        session.shown_after = 1
        session.receive([Login(field="username", value="bob")])
        self.settle()
        session.receive([Login(field="password", value=password("bob"))])
        answer: Deferred[int] = Deferred()
        self.network.mailroom.position = lambda account, id: answer  # type: ignore[method-assign, return-value, assignment]
        self.settle()
        session.lost()
        answer.callback(0)
        self.settle()
        self.assertEqual(self.messages(connection), [])

    def test_settling(self) -> None:
        """While a receipt is not on disk yet, the session says so."""
        session, _ = self.enter(0)
        self.assertFalse(session.settling)
        session.receive([Received(ids=[1, 2])])
        self.assertTrue(session.settling)
        self.settle()
        self.assertFalse(session.settling)
        session.receive([Message(recipient="alice", body="hello")])
        self.assertTrue(session.settling)
        self.settle()
        self.assertFalse(session.settling)
