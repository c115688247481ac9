"""Tests for a session: greeting, login and order."""

from __future__ import annotations

from typing import Any, Sequence

from twisted.internet.defer import Deferred

from chat.codes import RECOVERY_CODES
from chat.course import State
from chat.errors import Code, Refusal, account_gone
from chat.messages import (
    LOGIN_FRAME_BYTES,
    USER_FRAME_BYTES,
    Answer,
    Created,
    Delete,
    DeleteAccount,
    Delivered,
    Failed,
    Fatal,
    Incoming,
    List,
    Login,
    Logout,
    Message,
    Ping,
    Quit,
    Read,
    Received,
    Username,
    Version,
)
from tests.network import SERVER
from tests.session_case import TIME, Connection, SessionTestCase, standing
from tests.talker import password


class GreetingTests(SessionTestCase):
    """What a session says before it is asked."""

    def test_greeting(self) -> None:
        """The server speaks first: its version, then the prompt."""
        connection = Connection()
        self.network.converse(connection).start()
        self.assertEqual(connection.frames, [Version(protocol=1, server=SERVER), Username()])

    def test_limits(self) -> None:
        """A frame may have 4 KiB before the login, and 512 KiB after it."""
        session, _ = self.session()
        self.assertEqual((session.limit, session.logged_in), (4096, False))
        self.assertEqual(LOGIN_FRAME_BYTES, 4096)
        session, _ = self.user()
        self.assertEqual((session.limit, session.logged_in), (524288, True))
        self.assertEqual(USER_FRAME_BYTES, 524288)


class LoginTests(SessionTestCase):
    """From the first prompt to the welcome."""

    def test_recoveryCodes(self) -> None:
        """Who asks for them with the password of a new account is told its recovery codes."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="newcomer"))
        self.tell(session, Login(field="password", value="long enough", codes=True))
        created = connection.frames[1]
        assert isinstance(created, Created)
        self.assertEqual(len(set(created.recovery)), RECOVERY_CODES)

    def test_createdThenUsername(self) -> None:
        """A new account is not logged in: the user name is asked again, and the new name is known."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="Newcomer"))
        self.assertEqual(connection.heard(), "new-password")
        self.tell(session, Login(field="password", value="long enough"))
        self.assertEqual(connection.frames, [Created(username="newcomer"), Username()])
        connection.frames.clear()
        self.tell(session, Login(field="username", value="NEWCOMER"))
        self.assertEqual(connection.heard(), "password")

    def test_refusals(self) -> None:
        """A name that can be none, a wrong or a bad password: the reason, then the user name again."""
        self.user("known")
        session, connection = self.session()
        for name in ("", "two words", "x" * 65, "nul\0", "a/\u2028b", "\ud800"):
            self.tell(session, Login(field="username", value=name))
            self.assertEqual(connection.heard(), "failed bad-name, username", repr(name))
        for name, chosen, refusal in (
            ("known", "wrong password", "wrong-password"),
            ("known", "", "wrong-password"),
            ("known", "x" * 1025, "wrong-password"),
            ("unknown", "1234567", "bad-password"),
            ("unknown", "x" * 1025, "bad-password"),
            ("unknown", "bell\a and whistle", "bad-password"),
        ):
            self.tell(session, Login(field="username", value=name))
            connection.frames.clear()
            self.tell(session, Login(field="password", value=chosen))
            self.assertEqual(connection.heard(), f"failed {refusal}, username", repr(chosen))
            self.assertIs(standing(session), Username)

    def test_recoveryForgotten(self) -> None:
        """Whoever has shown a recovery code and begins again with a new name makes an account of that."""
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        self.tell(session, Login(field="password", value=password("known"), codes=True))
        created = connection.frames[1]
        assert isinstance(created, Created)
        connection.frames.clear()
        self.tell(session, Login(field="username", value="known"))
        self.tell(session, Login(field="recovery", value=created.recovery[0]))
        self.tell(session, Login(field="password", value="short"))
        self.assertEqual(connection.heard(), "password, new-password, failed bad-password, username")
        self.tell(session, Login(field="username", value="newcomer"))
        self.tell(session, Login(field="password", value="long enough"))
        self.assertEqual(connection.heard(), "new-password, created, username")
        self.user("known")

    def test_slowDown(self) -> None:
        """When too many log in at once, the session says when to come back."""

        async def offer(name: str, invitation: bytes | None, network: str | None) -> bool:
            raise Refusal(Code.SLOW_DOWN, "Too many.", seconds=7)

        self.patch(self.network.accounts, "offer", offer)
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        self.assertEqual(
            connection.frames, [Failed(code="slow-down", reason="Too many.", seconds=7), Username()]
        )

    def test_goneWhileHashing(self) -> None:
        """An account that is deleted while its password is checked lets nobody in."""
        other, _ = self.user("known")
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        connection.frames.clear()
        self.network.hashing.slow = True
        self.tell(session, Login(field="password", value=password("known")))
        self.network.hashing.slow = False
        self.tell(other, DeleteAccount(password=password("known")))
        self.network.hashing.finish()
        self.settle()
        self.assertEqual(connection.heard(), "failed wrong-password, username")

    def test_goneWhileEntering(self) -> None:
        """An account that is deleted between the password and the welcome ends the session."""
        session, connection = self.session()
        self.user("known")
        self.tell(session, Login(field="username", value="known"))
        connection.frames.clear()
        waiting: Deferred[Any] = Deferred()

        async def mailbox(account: object) -> Any:
            return await waiting

        self.patch(self.network.mailroom, "mailbox", mailbox)
        self.tell(session, Login(field="password", value=password("known")))
        session.expel(account_gone())
        self.assertEqual(connection.heard(), "")
        waiting.callback(None)
        self.assertEqual(connection.heard(), "fatal account-gone")
        self.assertTrue(connection.closed)

    def test_noticeBeforeWelcome(self) -> None:
        """A session is told of no delivery before it is welcome."""
        self.user("known")
        session, connection = self.session()
        self.tell(session, Login(field="username", value="known"))
        connection.frames.clear()
        waiting: Deferred[Any] = Deferred()
        mailbox = self.network.mailroom.mailbox

        async def slow(account: Any) -> Any:
            await waiting
            return await mailbox(account)

        self.patch(self.network.mailroom, "mailbox", slow)
        self.tell(session, Login(field="password", value=password("known")))
        session.notify(Delivered(ids=[1], time=TIME))
        session.push([])
        session.more()
        self.assertFalse(session.live)
        self.assertEqual(connection.heard(), "")
        waiting.callback(None)
        self.settle()
        self.assertEqual(connection.heard(), "welcome")


class OrderTests(SessionTestCase):
    """Answers come in the order of the frames, whatever each of them takes."""

    def test_mixed(self) -> None:
        """Sends, refused sends, pings, lists, deletes and bad frames, all in one go."""
        session, connection = self.user()
        good = Message(recipient="nobody", body="hi")
        long = Message(recipient="nobody", body="x" * 65537)
        frames: list[Incoming] = [
            good,
            good,
            long,
            Ping(),
            long,
            List(box="sent"),
            Answer(Failed(code="bad-frame", reason="No frame.")),
            List(box="attic"),
            good,
            Received(ids=[5]),
            Delete(ids=[99]),
            Read(ids=[99]),
            long,
            Ping(),
        ]
        session.receive(frames)
        self.settle()
        connection.frames = [frame for frame in connection.frames if not isinstance(frame, Message)]
        self.assertEqual(
            connection.heard(),
            "accepted, accepted, failed too-large, pong, failed too-large, listing, failed bad-frame,"
            " failed bad-frame, accepted, deleted, messages, failed too-large, pong",
        )
        self.assertEqual(connection.failures, [])

    def test_manyRefusedCommands(self) -> None:
        """As many commands as one read can hold, each refused without asking the store."""
        session, connection = self.user()
        session.receive([List(box="attic")] * 2000)
        self.settle()
        self.assertEqual(connection.failures, [])
        self.assertEqual(connection.heard(), ", ".join(["failed bad-frame"] * 2000))

    def test_answeredAtOnce(self) -> None:
        """What the connection hands in while a refusal is said comes after what came before it."""
        session, connection = self.user()
        session.receive([List(box="inbox")])
        session.receive([Message(recipient="nobody", body="x" * 65537), Ping()])
        more: list[Incoming] = [List(box="attic")]

        def hand_in() -> None:
            if more and session.ready:
                session.receive([more.pop()])

        connection.when_resumed = hand_in
        self.settle()
        self.assertEqual(connection.heard(), "listing, failed too-large, pong, failed bad-frame")

    def test_lastMessagesAnsweredAtOnce(self) -> None:
        """What is handed in while the last frame is refused is not forgotten."""
        session, connection = self.user()
        more: list[Incoming] = [Ping()]

        def hand_in() -> None:
            if more:
                session.receive([more.pop()])

        connection.when_resumed = hand_in
        many = 17  # bodies that are more together than may be under way: the session asks for more after them
        session.receive([Message(recipient="nobody", body="x" * 65537)] * many)
        self.assertEqual(connection.heard(), "failed too-large, " * many + "pong")

    def test_oneKind(self) -> None:
        """Messages that arrive together go to the mailroom together, be they alone or among others."""
        session, connection = self.user()
        sizes: list[int] = []
        accept = self.network.mailroom.accept

        def counted(sender: Any, messages: Sequence[Message], *rest: Any) -> None:
            sizes.append(len(messages))
            accept(sender, messages, *rest)

        self.patch(self.network.mailroom, "accept", counted)
        message = Message(recipient="nobody", body="hi")
        for batch in ([message], [message] * 3, [message] * 2 + [Ping()] + [message]):
            session.receive(batch)
            self.settle()
        self.assertEqual(sizes, [1, 3, 2, 1])
        connection.frames = [frame for frame in connection.frames if not isinstance(frame, Message)]
        self.assertEqual(connection.heard(), "accepted, " * 6 + "pong, accepted")

    def test_behindReceipt(self) -> None:
        """What arrives together with a receipt is answered."""
        session, connection = self.user()
        session.receive([Received(ids=[1]), Ping(), Received(ids=[2])])
        self.assertEqual(connection.heard(), "pong")

    def test_behindDeletion(self) -> None:
        """What arrives while the account is being deleted is taken once it is gone."""
        session, connection = self.user("alice")
        session.receive([DeleteAccount(password=password("alice"))])
        session.receive([Message(recipient="nobody", body="hi")])
        self.settle()
        self.assertEqual(connection.heard(), "account-deleted, username, failed bad-state, username")

    def test_behindOthers(self) -> None:
        """What arrives is taken behind what waits, and only once the client reads what it is told."""
        session, connection = self.user()
        refused = Message(recipient="nobody", body="x" * 65537)
        for held in (List(box="sent"), None):
            if held is not None:
                session.receive([held])
            connection.paused = held is None
            session.receive([refused])
            session.receive([Received(ids=[1])])
            session.receive([refused, refused])
            session.receive([Ping()])
            self.assertEqual(connection.heard(), "")
            connection.paused = False
            session.drained()
            self.settle()
            first = "" if held is None else "listing, "
            self.assertEqual(connection.heard(), first + "failed too-large, " * 3 + "pong")
        session.receive([refused])
        self.assertEqual(connection.heard(), "failed too-large")

    def test_malformedAfterGood(self) -> None:
        """What came before a malformed frame is answered, then the session ends; what follows is nothing."""
        session, connection = self.user()
        session.receive(
            [
                Message(recipient="nobody", body="hi"),
                List(box="sent"),
                Ping(),
                Answer(Fatal(code="malformed-frame", reason="No JSON.")),
                Ping(),
            ]
        )
        self.assertFalse(connection.closed)
        self.settle()
        self.assertEqual(connection.heard(), "accepted, message, listing, pong, fatal malformed-frame")
        self.assertTrue(connection.closed)

    def test_byeAfterAll(self) -> None:
        """C{bye} comes after the answers to everything asked before it, and nothing after it."""
        session, connection = self.user()
        session.receive([Message(recipient="nobody", body="hi"), Quit(), Ping()])
        session.receive([Ping()])
        self.assertEqual(connection.heard(), "")
        self.settle()
        self.assertEqual(connection.heard(), "accepted, bye")
        self.assertTrue(connection.closed)
        self.assertIs(session.state, State.CLOSED)

    def test_pipelinedLogin(self) -> None:
        """Frames behind the password wait for the welcome."""
        self.user("known")
        session, connection = self.session()
        session.receive(
            [
                Login(field="username", value="known"),
                Login(field="password", value=password("known")),
                Message(recipient="nobody", body="hi"),
                Ping(),
            ]
        )
        self.settle()
        self.assertEqual(connection.heard(), "password, welcome, accepted, pong, message")

    def test_pipelinedLogout(self) -> None:
        """Whoever logs out while the mailbox is being read is shown nothing of it any more."""
        known, _ = self.user("known")
        known.receive([Message(recipient="known", body="hi")])
        self.settle()
        session, connection = self.session()
        session.receive(
            [
                Login(field="username", value="known"),
                Login(field="password", value=password("known")),
                Logout(),
            ]
        )
        self.settle()
        self.assertEqual(connection.heard(), "password, welcome, logged-out, username")

    def test_pipelinedBehindWrongPassword(self) -> None:
        """Frames behind a password that is wrong are refused, each with the prompt."""
        self.user("known")
        session, connection = self.session()
        session.receive(
            [
                Login(field="username", value="known"),
                Login(field="password", value="not the password"),
                Message(recipient="nobody", body="hi", ref="c1"),
                Ping(),
            ]
        )
        self.settle()
        self.assertEqual(connection.frames[3].ref, "c1")  # type: ignore[attr-defined]
        self.assertEqual(
            connection.heard(),
            "password, failed wrong-password, username, failed bad-state, username,"
            " failed bad-state, username",
        )
