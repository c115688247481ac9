"""Tests for the client library: logging in and signing up."""

from __future__ import annotations

from chat.client import (
    NoSuchAccount,
    NotChat,
    Refused,
    Stopped,
)
from chat.messages import (
    Created,
    Failed,
    Frame,
    Login,
    PasswordChanged,
    TokenIssued,
    Username,
    Version,
    Welcome,
)
from chat.wire import Codec
from tests.memory_server import ClientTests, MemorySession


class LoginTests(ClientTests):
    """Connecting and logging in."""

    def test_welcome(self) -> None:
        """After the login the client knows its prepared name and the server's."""
        welcomes: list[Welcome] = []
        client = self.client("Alice", on_connected=welcomes.append)
        started = client.start()
        self.assertFalse(client.connected)
        self.flush()
        self.assertEqual(self.successResultOf(started), Welcome(username="alice", waiting=0))
        self.assertEqual(welcomes, [Welcome(username="alice", waiting=0)])
        self.assertEqual((client.username, client.server), ("alice", "memory 1"))
        self.assertTrue(client.connected)

    def test_no_text(self) -> None:
        """What cannot be written in UTF-8 is refused at once, and not repeated: it may be a secret."""
        for more in (
            {"name": "al\udcff"},
            {"password": "won\udcff"},
            {"invite": "\udcff"},
            {"recovery": "\udcff"},
        ):
            error = self.assertRaises(ValueError, self.client, **more)
            self.assertNotIn("\udcff", repr(error) + repr(vars(error)))
            self.assertIsNone(error.__context__)

    def test_welcome_unasked(self) -> None:
        """A server that lets in whoever comes does no harm to who has no password."""
        self.server.greeting = Welcome(username="alice", waiting=0)
        token = TokenIssued(value="token 1", expires="2026-12-22T21:07:00.000Z")
        client = self.client(password=None, token=token)
        started = client.start()
        self.flush()
        self.assertEqual(self.successResultOf(started).username, "alice")

    def test_password_waits_for_its_prompt(self) -> None:
        """For a name that is free, the password is not sent, so that no account is made."""
        client = self.client("carol", "secret word")
        started = client.start()
        self.flush()
        self.failureResultOf(started, NoSuchAccount)
        self.assertEqual(self.server.frames(Login), [Login(field="username", value="carol")])
        self.assertNotIn("carol", self.server.accounts)
        self.assertIsInstance(self.stopped[0], NoSuchAccount)
        self.run_for(300)
        self.assertEqual(self.line.attempts, 1)

    def test_sign_up(self) -> None:
        """With C{create} an account is made and logged in to."""
        self.connect("carol", "secret word", create=True)
        self.assertEqual(self.server.accounts["carol"], "secret word")

    def test_sign_up_once(self) -> None:
        """An account that has vanished is not made again by a client that had logged in."""
        self.connect("carol", "secret word", create=True)
        del self.server.accounts["carol"]
        self.session().cut()
        self.run_for(5)
        self.assertIsInstance(self.stopped[0], NoSuchAccount)
        self.assertNotIn("carol", self.server.accounts)

    def test_sign_up_cut_anywhere(self) -> None:
        """A connection that breaks at any frame of the sign-up ends in a login all the same."""
        for cut in range(1, 20):
            self.setUp()
            self.server.cuts = {cut}
            started = self.client("carol", "secret word", create=True).start()
            self.run_for(5)
            self.assertEqual(self.successResultOf(started).username, "carol", cut)

    def test_invited(self) -> None:
        """With the code of an invitation an account is made where not everybody may."""
        self.server.invites = {"7q2m"}
        self.connect("carol", "secret word", create=True, invite="7q2m")
        fields = [(frame.field, frame.value) for frame in self.server.frames(Login)]
        self.assertEqual(fields[:3], [("invite", "7q2m"), ("username", "carol"), ("password", "secret word")])
        self.assertEqual([field for field, _ in fields[3:]], ["username", "password"])
        self.assertEqual(self.server.accounts["carol"], "secret word")
        self.assertEqual(self.server.invites, set())

    def test_invited_cut_anywhere(self) -> None:
        """Nor is an account lost that was made with a code just before the connection broke."""
        for cut in range(1, 24):
            self.setUp()
            self.server.cuts = {cut}
            self.server.invites = {"7q2m"}
            started = self.client("carol", "secret word", create=True, invite="7q2m").start()
            self.run_for(5)
            self.assertEqual(self.successResultOf(started).username, "carol", cut)

    def test_wrong_invitation(self) -> None:
        """A code that is not good stops the client before a name or a password is said."""
        self.server.invites = {"7q2m"}
        started = self.client("carol", "secret word", create=True, invite="x0vd").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-invite")
        self.assertEqual([frame.field for frame in self.server.frames(Login)], ["invite"])

    def test_code_lost_to_another(self) -> None:
        """Who is too late with a code is told so, though the name was asked and the password sent."""
        self.server.invites = {"7q2m"}

        def too_late(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, Login) or frame.field != "password":
                return False
            return session.say(Failed(code="wrong-invite", reason="It is used up."), Username())

        self.server.answers.append(too_late)
        started = self.client("carol", "secret word", create=True, invite="7q2m").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-invite")

    def test_recovery_codes_of_a_new_account(self) -> None:
        """Who signs up is told the recovery codes."""
        self.server.recovery_codes = ["f3x9", "0k2m"]
        created: list[Created] = []
        self.connect("carol", "secret word", create=True, on_created=created.append)
        self.assertEqual([frame.recovery for frame in created], [["f3x9", "0k2m"]])

    def test_recovered(self) -> None:
        """With a recovery code the password is replaced, and logged in with."""
        self.server.recoveries = {"f3x9": "alice"}
        self.connect("alice", "looking glass", recovery="f3x9")
        self.assertEqual(self.server.accounts["alice"], "looking glass")
        self.assertEqual(self.server.recoveries, {})
        self.session().cut()
        self.run_for(5)  # and again, without the code
        self.assertEqual(len(self.server.online("alice")), 1)

    def test_recovered_cut_anywhere(self) -> None:
        """Wherever the connection breaks, the new password is in force in the end."""
        for cut in range(1, 24):
            self.setUp()
            self.server.cuts = {cut}
            self.server.recoveries = {"f3x9": "alice"}
            started = self.client("alice", "looking glass", recovery="f3x9").start()
            self.run_for(5)
            self.assertEqual(self.successResultOf(started).username, "alice", cut)
            self.assertEqual(self.server.accounts["alice"], "looking glass", cut)

    def test_wrong_recovery_code(self) -> None:
        """A recovery code that is not good stops the client, and the password is not said."""
        started = self.client("alice", "looking glass", recovery="f3x9").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-recovery")
        self.assertNotIn("password", [frame.field for frame in self.server.frames(Login)])

    def test_recover_nobody(self) -> None:
        """Where the name is free, there is nothing to recover, and no account is made."""
        started = self.client("carol", "looking glass", recovery="f3x9").start()
        self.flush()
        self.failureResultOf(started, NoSuchAccount)
        self.assertNotIn("carol", self.server.accounts)

    def test_no_answer_before_the_login(self) -> None:
        """A server that says a password is changed that nobody asked to change speaks something else."""
        self.server.greeting = PasswordChanged()
        started = self.client().start()
        self.flush()
        self.failureResultOf(started, NotChat)

    def test_wrong_password(self) -> None:
        """A wrong password stops the client; it does not try for ever."""
        started = self.client("alice", "looking glass").start()
        self.flush()
        self.assertEqual(self.failureResultOf(started, Refused).value.code, "wrong-password")
        self.assertEqual([type(error) for error in self.stopped], [Refused])
        self.run_for(300)
        self.assertEqual(self.line.attempts, 1)

    def test_no_secret_in_an_error(self) -> None:
        """What a refused login says does not hold the password."""
        started = self.client("alice", "looking glass").start()
        self.flush()
        self.assertNotIn("looking", str(self.failureResultOf(started, Refused).value))

    def test_slow_down(self) -> None:
        """A server that is busy with logins is left alone for as long as it says."""
        answers = [Failed(code="slow-down", reason="Busy.", seconds=20)]

        def busy(session: MemorySession, frame: Frame) -> bool:
            if isinstance(frame, Login) and frame.field == "password" and answers:
                session.say(answers.pop(), Username())
                return True
            return False

        self.server.answers.append(busy)
        started = self.client().start()
        self.run_for(19.5)
        self.assertNoResult(started)
        self.assertEqual(self.line.attempts, 1)
        self.run_for(1)
        self.successResultOf(started)

    def test_other_version(self) -> None:
        """A server of another protocol version is not talked to."""
        self.server.greeting = Version(protocol=2, server="memory 2")
        started = self.client().start()
        self.flush()
        self.failureResultOf(started, NotChat)

    def test_other_codec(self) -> None:
        """A server that speaks another codec is told apart at once, not after a time-out."""
        for mine, other in ((Codec.JSON, Codec.DER), (Codec.DER, Codec.JSON)):
            self.setUp()
            started = self.client(line=self.line, codec=mine)
            self.line.codec = other
            outcome = started.start()
            self.flush()
            self.failureResultOf(outcome, NotChat)

    def test_account_gone(self) -> None:
        """When the account is deleted elsewhere, the client stops and says so."""
        client = self.connect()
        waiting = client.delivered(1)
        self.session().end("account-gone")
        self.flush()
        self.assertEqual(self.stopped[0].code, "account-gone")  # type: ignore[union-attr]
        self.failureResultOf(waiting)
        self.failureResultOf(client.send("bob", "hello"), Stopped)
        self.run_for(300)
        self.assertEqual(self.line.attempts, 1)

    def test_started_once(self) -> None:
        """A client is started once."""
        client = self.connect()
        self.assertRaises(RuntimeError, client.start)

    def test_start_cancelled(self) -> None:
        """Who no longer waits for the login stops the client."""
        client = self.client()
        started = client.start()
        started.cancel()
        self.failureResultOf(started, Stopped)
        self.run_for(100)
        self.assertTrue(client.stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
