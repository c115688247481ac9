"""Tests for a session: its bounds and its ends."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.internet.task import deferLater

from chat.course import BYTES_UNDER_WAY, ID_BYTES, SENDS_UNDER_WAY, State
from chat.errors import Code, FatalError, account_gone
from chat.limits.allowance import UNLIMITED, Allowance, Rate
from chat.messages import (
    ChangePassword,
    Delete,
    DeleteAccount,
    Delivered,
    Frame,
    Incoming,
    List,
    Login,
    Logout,
    Message,
    Ping,
    Quit,
    Read,
    Received,
    Token,
)
from chat.notices import NOTICE_BYTES, NOTICED_BYTES, NOTICES_KEPT
from tests.session_case import TIME, SessionTestCase
from tests.talker import password


class BoundTests(SessionTestCase):
    """What one session may have under way."""

    def test_sends(self) -> None:
        """So many sends, and no more frames are taken until some are answered."""
        session, _ = self.user()
        message = Message(recipient="nobody", body="")
        session.receive([message] * (SENDS_UNDER_WAY - 1))
        self.assertTrue(session.ready)
        session.receive([message])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_bytes(self) -> None:
        """The same for the bytes of their bodies."""
        session, _ = self.user()
        message = Message(recipient="nobody", body="x" * 65536)
        session.receive([message] * (BYTES_UNDER_WAY // 65536 - 1))
        self.assertTrue(session.ready)
        session.receive([message])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_receipts(self) -> None:
        """The same for receipts, by the number of their ids."""
        session, _ = self.user()
        for _ in range(BYTES_UNDER_WAY // ID_BYTES // 1000):
            self.assertTrue(session.ready)
            session.receive([Received(ids=list(range(1000)))])
        session.receive([Received(ids=list(range(1000)))])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_sendsAndCommand(self) -> None:
        """When the sends are answered and a command is not, frames wait still; nobody is told otherwise."""
        session, connection = self.user()
        resumed: list[bool] = []
        connection.when_resumed = lambda: resumed.append(session.ready)
        message = Message(recipient="nobody", body="x" * 65536)
        session.receive([message] * (BYTES_UNDER_WAY // 65536) + [Read(ids=[1])])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)
        self.assertEqual(set(resumed), {True})

    def test_command(self) -> None:
        """While a command is carried out no more frames are taken."""
        session, _ = self.user()
        session.receive([List(box="inbox")])
        self.assertFalse(session.ready)
        self.settle()
        self.assertTrue(session.ready)

    def test_rests(self) -> None:
        """Who sends far too much in one go rests for as long as all of it asks for."""
        clock = self.network.clock
        self.network.mailroom._allowance = Allowance(clock.seconds, Rate(1000, 1), UNLIMITED)
        session, connection = self.user()
        refused = Message(recipient="nobody", body="", ref="x" * 65)
        more: list[list[Incoming]] = [[refused] * SENDS_UNDER_WAY, [refused] * SENDS_UNDER_WAY]

        def hand_in() -> None:
            if more and session.ready:
                session.receive(more.pop())

        connection.when_resumed = hand_in
        self.patch(connection, "wait", lambda seconds: deferLater(clock, seconds))
        session.receive([refused] * SENDS_UNDER_WAY)
        clock.pump([0.1] * 14)
        self.assertEqual((more, session.ready), ([], False))
        clock.pump([0.1] * 2)
        self.assertTrue(session.ready)


class NoticeTests(SessionTestCase):
    """Who is told that a message was delivered, and when."""

    def test_atOnce(self) -> None:
        """A client that reads is told at once."""
        session, connection = self.user()
        session.notify(Delivered(ids=[1, 2], time=TIME))
        self.assertEqual(connection.frames, [Delivered(ids=[1, 2], time=TIME)])

    def test_kept(self) -> None:
        """For one that does not read, notices are kept and said when it does, as far as it does."""
        session, connection = self.user()
        connection.paused = True
        later = TIME.replace("123", "124")
        session.notify(Delivered(ids=[1], time=TIME))
        session.notify(Delivered(ids=[2], time=TIME))
        session.notify(Delivered(ids=[3], time=later))
        session.drained()
        self.assertEqual(connection.frames, [])
        self.assertEqual(connection.kept, 2 * NOTICE_BYTES + 3 * NOTICED_BYTES)
        connection.paused = False
        send = connection.send

        def full(frames: Sequence[Frame]) -> None:
            send(frames)
            connection.paused = True

        self.patch(connection, "send", full)
        session.drained()
        self.assertEqual(connection.frames, [Delivered(ids=[1, 2], time=TIME)])
        connection.paused = False
        session.drained()
        self.assertEqual(connection.frames[1:], [Delivered(ids=[3], time=later)])
        self.assertEqual(connection.kept, 0)
        connection.paused = False
        session.drained()
        self.assertEqual(len(connection.frames), 2)

    def test_bounded(self) -> None:
        """One that never reads is hung up when there is too much to keep."""
        session, connection = self.user()
        connection.paused = True
        most = (NOTICES_KEPT - NOTICE_BYTES) // NOTICED_BYTES
        session.notify(Delivered(ids=list(range(most)), time=TIME))
        self.assertFalse(connection.closed)
        self.assertEqual(connection.kept, NOTICE_BYTES + most * NOTICED_BYTES)
        session.notify(Delivered(ids=[1], time=TIME))
        self.assertEqual(connection.heard(), "fatal slow-down")
        self.assertTrue(connection.closed)

    def test_forgotten(self) -> None:
        """A session that is gone keeps nothing."""
        session, connection = self.user()
        connection.paused = True
        session.notify(Delivered(ids=[1], time=TIME))
        session.lost()
        connection.paused = False
        session.drained()
        self.assertEqual(connection.heard(), "")


class EndTests(SessionTestCase):
    """How a session ends."""

    STOP = FatalError(Code.SHUTTING_DOWN, "The server is shutting down.")

    def test_afterAnswersDue(self) -> None:
        """The last word comes after the answers to what was asked; what is asked later has none."""
        session, connection = self.user()
        session.receive([Message(recipient="nobody", body="hi")])
        session.end(self.STOP)
        session.receive([Ping()])
        self.assertEqual(connection.heard(), "")
        self.settle()
        self.assertEqual(connection.heard(), "accepted, fatal shutting-down")
        self.assertTrue(connection.closed)

    def test_once(self) -> None:
        """It ends once: the first reason counts."""
        session, connection = self.user()
        session.end(self.STOP)
        session.expel(account_gone())
        self.assertEqual(connection.heard(), "fatal shutting-down")

    def test_whileHashing(self) -> None:
        """A login under way is answered first, and leaves no session behind."""
        for secret, said in (
            (password("known"), "fatal shutting-down"),
            ("not the password", "failed wrong-password, username, fatal shutting-down"),
        ):
            self.user("known")[0].lost()
            session, connection = self.session()
            self.tell(session, Login(field="username", value="known"))
            connection.frames.clear()
            self.network.hashing.slow = True
            self.tell(session, Login(field="password", value=secret))
            session.end(self.STOP)
            self.assertEqual(connection.heard(), "")
            self.network.hashing.finish()
            self.network.hashing.slow = False
            self.settle()
            self.assertEqual(connection.heard(), said)
            self.assertIs(session.state, State.CLOSED)
            self.assertEqual(self.network.directory.sessions(1), ())

    def test_whileSigningUp(self) -> None:
        """A sign-up under way is completed and told, and then the session ends."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="newcomer"))
        session.receive([Login(field="password", value="long enough")])
        session.end(self.STOP)
        self.settle()
        self.assertEqual(connection.heard(), "new-password, created, username, fatal shutting-down")
        self.assertTrue(connection.closed)

    def test_whileDeletingAccount(self) -> None:
        """A deletion under way is completed and told, and then the session ends."""
        session, connection = self.user("known")
        session.receive([DeleteAccount(password=password("known"))])
        session.end(self.STOP)
        self.settle()
        self.assertEqual(connection.heard(), "account-deleted, username, fatal shutting-down")
        self.assertIs(session.state, State.CLOSED)

    def test_whileLoggingOut(self) -> None:
        """A logout under way is completed and told, and then the session ends."""
        session, connection = self.user("known")
        self.tell(session, Token())
        session.receive([Logout()])
        session.end(self.STOP)
        self.settle()
        self.assertEqual(connection.heard(), "token-issued, logged-out, username, fatal shutting-down")
        self.assertIs(session.state, State.CLOSED)

    def test_noRoomToLogOut(self) -> None:
        """Tokens that cannot be revoked are not called revoked: the session stays logged in."""
        session, connection = self.user("known")
        self.tell(session, Token())
        disk = self.network.disk.connect()
        disk.execute(
            "CREATE TEMP TRIGGER full BEFORE DELETE ON passwords.tokens BEGIN"
            " SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        self.tell(session, Logout(), Ping())
        self.assertEqual(connection.heard(), "token-issued, failed storage-full, pong")
        disk.execute("DROP TRIGGER full")
        self.tell(session, Logout())
        self.assertEqual(connection.heard(), "logged-out, username")

    def test_lostWhileIssuing(self) -> None:
        """A connection that is lost while a token is made for it harms nobody."""
        session, connection = self.user("known")
        session.receive([Token()])
        session.lost()
        self.settle()
        self.assertEqual(connection.failures, [])
        self.assertEqual(self.network.directory.sessions(1), ())

    def test_twoDeleteTheAccount(self) -> None:
        """Of two sessions that delete their account at once, one does, and the other is told it is gone."""
        first, first_connection = self.user("known")
        second, second_connection = self.user("known")
        first.receive([DeleteAccount(password=password("known"))])
        second.receive([DeleteAccount(password=password("known")), Ping()])
        self.settle()
        self.assertEqual(first_connection.heard(), "account-deleted, username")
        self.assertEqual(second_connection.heard(), "fatal account-gone")
        self.assertTrue(second_connection.closed)

    def test_accountGoneUnderSends(self) -> None:
        """A send of an account that is gone by the time it would be stored ends the session."""
        self.user("other")
        session, connection = self.user("known")
        session.receive([Message(recipient="other", body="before")])
        account = session.account
        assert account is not None
        self.network.store.leave(account)
        session.receive([Message(recipient="other", body="after"), Ping()])
        self.settle()
        self.assertEqual(connection.heard(), "accepted, fatal account-gone")
        self.assertTrue(connection.closed)
        self.assertEqual(self.network.directory.sessions(account.id), ())

    def test_lost(self) -> None:
        """A connection that is lost at any moment of anything: late answers are harmless."""
        known, new = Login(field="username", value="known"), Login(field="username", value="new")
        right = Login(field="password", value="the password")
        cases: list[tuple[bool, list[Incoming]]] = [
            (False, [known]),
            (False, [known, Login(field="password", value="no, it is not")]),
            (False, [known, right]),
            (False, [new, right]),
            (True, [Message(recipient="known", body="hi"), List(box="sent"), Ping()]),
            (True, [Message(recipient="nobody", body="hi"), Read(ids=[1])]),
            (True, [Delete(ids=[1]), Received(ids=[1])]),
            (True, [ChangePassword(password="the password", new="the password")]),
            (True, [DeleteAccount(password="the password")]),
        ]
        for number, (logged_in, frames) in enumerate(cases):
            for milliseconds in range(0, 15, 2):
                self.begin()
                self.user("known", "the password")[0].lost()
                session, connection = self.user("user", "the password") if logged_in else self.session()
                self.network.disk.seconds = 0.002
                session.receive(frames)
                self.network.clock.advance(0)
                self.network.clock.pump([0.001] * milliseconds)
                session.lost()
                connection.closed = True
                for _ in range(30):
                    self.network.clock.advance(0.001)
                case = f"{number} after {milliseconds} ms"
                self.assertEqual(connection.failures, [], case)
                self.assertIsNone(session.account)
                self.assertEqual(self.network.directory.sessions(2), (), case)
                self.assertFalse(session.live)
                self.assertFalse(session.ready, case)
                self.assertIs(session.state, State.CLOSED, case)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_fail(self) -> None:
        """After an error of the server's own the client is told so, at once, and the session ends."""
        session, connection = self.user()
        session.receive([Message(recipient="nobody", body="hi"), List(box="sent")])
        session.fail()
        self.assertEqual(connection.heard(), "fatal internal-error")
        self.assertTrue(connection.closed)
        self.settle()
        self.assertEqual(connection.heard(), "")
        self.assertEqual(connection.failures, [])

    def test_failAtTheEnd(self) -> None:
        """Even when the session was about to end for another reason, there is a last word."""
        session, connection = self.user()
        session.receive([List(box="sent"), Quit()])
        session.fail()
        self.assertEqual(connection.heard(), "fatal internal-error")
        self.assertTrue(connection.closed)


class AloneTests(SessionTestCase):
    """An error in one session is its own end, and nobody else's."""

    def setUp(self) -> None:
        """Two who talk, and one whose connection cannot say anything any more."""
        super().setUp()
        self.alice, self.alice_hears = self.user("alice")
        self.bob, self.bob_hears = self.user("bob")
        self.broken, self.broken_hears = self.user("bob")

        def send(frames: Sequence[Frame]) -> None:
            raise ZeroDivisionError

        self.broken_hears.send = send  # type: ignore[method-assign]

    def assertBroke(self) -> None:
        """The broken session failed, once, where its connection logs it."""
        self.assertEqual([failure.type for failure in self.broken_hears.failures], [ZeroDivisionError])

    def test_push(self) -> None:
        """A message that one session of the recipient cannot show is shown to the other one."""
        self.network.directory.discard(2, self.bob)
        self.network.directory.add(2, self.bob)  # behind the broken one
        self.alice.receive([Message(recipient="bob", body="hi")])
        self.settle()
        self.assertEqual(self.alice_hears.heard(), "accepted")
        self.assertEqual(self.bob_hears.heard(), "message")
        self.assertBroke()

    def test_answer(self) -> None:
        """A message whose acceptance cannot be told to its sender reaches its recipient."""
        self.broken.receive([Message(recipient="alice", body="hi")])
        self.settle()
        self.assertEqual(self.alice_hears.heard(), "message")
        self.assertBroke()

    def test_notify(self) -> None:
        """A delivery that one session of the sender cannot be told of is told to the other."""
        self.network.directory.discard(2, self.bob)
        self.network.directory.add(2, self.bob)
        self.bob.receive([Message(recipient="alice", body="hi", receipt=True)])
        self.settle()
        self.alice.receive([Received(ids=[1])])
        self.settle()
        self.assertEqual(self.bob_hears.heard(), "accepted, delivered")
        self.assertBroke()

    def test_accountGone(self) -> None:
        """A session that cannot be told that its account is gone does not stop the deletion."""
        self.bob.receive([DeleteAccount(password=password("bob"))])
        self.settle()
        self.assertEqual(self.bob_hears.heard(), "account-deleted, username")
        self.assertBroke()

    def test_more(self) -> None:
        """A session that cannot be shown what came back does not stop the deletion, either."""
        feed = self.broken._feed
        assert feed is not None

        def more() -> None:
            raise ZeroDivisionError

        self.patch(type(feed), "more", lambda _: more())
        for session in (self.bob, self.broken):
            session.receive([Message(recipient="alice", body="hi")])
        self.settle()
        self.alice.receive([DeleteAccount(password=password("alice"))])
        self.settle()
        self.assertIn("account-deleted, username", self.alice_hears.heard())

    def test_storeBroken(self) -> None:
        """What the store cannot do ends the session that asked, with nothing accepted."""

        def accept(*arguments: Any) -> None:
            arguments[-1](ZeroDivisionError())

        self.patch(self.network.store, "accept", accept)
        self.alice.receive([Message(recipient="bob", body="hi"), Ping()])
        self.assertEqual(self.alice_hears.heard(), "fatal internal-error")
        self.assertTrue(self.alice_hears.closed)

    def test_commandBroken(self) -> None:
        """A command that goes wrong is handed to the connection, to be logged."""

        async def listing(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(self.network.mailroom, "listing", listing)
        self.alice.receive([List(box="inbox"), Ping()])
        self.settle()
        self.assertEqual([failure.type for failure in self.alice_hears.failures], [ZeroDivisionError])
