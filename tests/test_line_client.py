"""Tests for the terminal client: what a person sees and types."""

from __future__ import annotations

from chat.client.console import EndOfInput
from chat.messages import (
    Block,
    Blocked,
    Blocks,
    Frame,
    Login,
    Message,
    Recovery,
    RecoveryCodes,
    Unblock,
)
from tests.line_case import WHEN, LineTests
from tests.memory_server import MemorySession


def say_goodbye(session: MemorySession) -> bool:
    """End the connection as after a frame that is too large."""
    session.end("frame-too-large")
    return True


class LogInTests(LineTests):
    """Logging in and signing up at the console."""

    def test_log_in(self) -> None:
        """Name and password are asked, the password without showing it."""
        status = self.begin()
        self.assertEqual(self.console.shown, ["Connected to memory 1."])
        self.type("alice", "wonderland")
        self.assertEqual(self.console.asked, ["Username: ", "(Password: )"])
        self.assertEqual(
            self.console.shown[-1],
            "Welcome, alice. No messages are waiting. /help lists the commands.",
        )
        self.type("/quit")
        self.assertEqual(self.successResultOf(status), 0)

    def test_sign_up(self) -> None:
        """For a name that is free, the password of a new account is asked twice."""
        self.begin()
        self.type("carol", "secret word", "secret wort", "secret word", "secret word")
        self.assertEqual(
            self.console.asked,
            ["Username: ", "(New password: )", "(Again: )", "(New password: )", "(Again: )"],
        )
        self.assertEqual(self.server.accounts["carol"], "secret word")
        self.assertIn("Welcome, carol.", self.console.shown[-1])

    def test_mistyped_name(self) -> None:
        """Whoever sees that the name is free, and did not mean that, goes back with Enter."""
        self.begin()
        self.type("alcie", "", "alice", "wonderland")
        self.assertNotIn("alcie", self.server.accounts)
        self.assertIn("Welcome, alice.", self.console.shown[-1])

    def test_wrong_password(self) -> None:
        """After a wrong password the name is asked again."""
        self.begin()
        self.type("alice", "looking glass", "", "alice", "wonderland")
        self.assertIn("Not this one. (wrong-password)", self.console.shown)
        self.assertIn("Welcome, alice.", self.console.shown[-1])

    def test_no_text(self) -> None:
        """A name that is not UTF-8 is asked again."""
        self.begin()
        self.type(None, "alice", "wonderland")
        self.assertIn("Welcome, alice.", self.console.shown[-1])

    def test_impossible_name(self) -> None:
        """After a name that the server takes for an attack, the name is asked again."""
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Login) and len(frame.value) > 100 and say_goodbye(session)
            )
        )
        self.begin()
        self.type("x" * 5_000, "alice", "wonderland")
        self.assertIn("It is over. (frame-too-large)", self.console.shown)
        self.assertIn("Welcome, alice.", self.console.shown[-1])

    def test_given_name(self) -> None:
        """With a name on the command line, only the password is asked."""
        self.begin(username="alice")
        self.assertEqual(self.console.asked, ["(Password: )"])

    def test_typing_takes_time(self) -> None:
        """No connection is held while somebody thinks about a password."""
        self.begin()
        self.type("alice")
        self.run_for(300, 10)
        self.assertEqual([session for session in self.server.sessions if not session._over], [])
        self.type("wonderland")
        self.assertIn("Welcome, alice.", self.console.shown[-1])

    def test_unreachable(self) -> None:
        """A person is told once that there is no server, and it is tried again and again."""
        self.line.broken = True
        status = self.begin()
        self.run_for(2)
        self.assertGreater(self.line.attempts, 1)
        self.assertEqual(len(self.console.shown), 1)
        self.assertIn("refused", self.console.shown[0])
        self.assertIn("Trying again, first in 1 s.", self.console.shown[0])
        self.line.broken = False
        self.run_for(3)
        self.assertEqual(self.console.shown[-1], "Connected to memory 1.")
        self.assertNoResult(status)

    def test_end_of_input(self) -> None:
        """Ctrl-D at the login leaves."""
        status = self.begin()
        self.type(EndOfInput())
        self.assertEqual(self.successResultOf(status), 0)


class ConversationTests(LineTests):
    """Talking."""

    def test_what_came_while_away(self) -> None:
        """After the login, what was waiting is shown, and confirmed."""
        self.server.accept("bob", Message(recipient="alice", body="one\ntwo", subject="hi"))
        status = self.begin(username="alice", password="wonderland")
        self.assertEqual(
            self.console.shown[1:],
            [
                "Welcome, alice. 1 message is waiting. /help lists the commands.",
                f"#1 from bob, {WHEN}, subject: hi",
                "| one",
                "| two",
            ],
        )
        self.assertEqual(self.server.ledger[1].state, "delivered")
        self.assertNoResult(status)

    def test_control_characters(self) -> None:
        """Nothing that others send can drive the terminal."""
        self.alice()
        self.server.accounts["evil"] = "x"
        stored = self.server.accept(
            "evil", Message(recipient="alice", body="\x1b[2J\x07", subject="\x1b]0;gone\x07")
        )
        self.server.deliver(stored)
        self.flush()
        self.assertEqual(len(self.console.shown), 2)
        self.assertNotIn("\x1b", "".join(self.console.shown))
        self.assertNotIn("\x07", "".join(self.console.shown))

    def test_send(self) -> None:
        """A line goes to the one last written to, and its fate is told."""
        self.alice()
        self.type("/to bob hello", "and more")
        self.assertEqual(self.console.shown, ["#1 to bob: waiting", "#2 to bob: waiting"])
        self.bob()
        self.assertEqual(
            self.console.shown[2:],
            [
                f"#1 to bob: delivered {WHEN}",
                f"#2 to bob: delivered {WHEN}",
            ],
        )

    def test_comes_back(self) -> None:
        """A message to nobody comes back and is shown with the reason."""
        self.alice()
        self.type("/to nobody hello")
        self.assertEqual(self.console.shown[0], "#1 to nobody: came back")
        self.assertIn('#1 to "nobody" came back', self.console.shown[1])
        self.assertEqual(self.console.shown[2], "| hello")

    def test_reply(self) -> None:
        """C{/reply} goes to the sender of the last message shown."""
        self.alice()
        self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="hi")))
        self.flush()
        self.type("/reply hello")
        self.assertEqual(self.server.ledger[2].message.recipient, "bob")

    def test_write(self) -> None:
        """C{/write} asks for a subject and takes lines up to a dot."""
        self.alice()
        self.type("/write bob", "news", "one", "", "..three", ".")
        message = self.server.ledger[1].message
        self.assertEqual((message.subject, message.body), ("news", "one\n\n.three"))
        self.assertEqual(self.console.asked, ["Subject: "])

    def test_boxes(self) -> None:
        """The mailboxes are listed, messages read, recalled, and their states told."""
        self.alice()
        self.type("/to bob hello")
        self.console.shown.clear()
        self.type("/sent", "/status 1", "/inbox", "/read 9", "/delete 1 9", "/ping", "/status 1")
        self.assertEqual(
            [line[:34] for line in self.console.shown],
            [
                f"#1 to bob, {WHEN}, waiting"[:34],
                "#1 to bob: waiting",
                "Your inbox is empty.",
                "Not in your mailbox: message 9.",
                "Deleted: message 1.",
                "Not deleted: message 9. Neither in",
                "The server is there.",
                "#1 to bob: recalled",
            ],
        )

    def test_refused(self) -> None:
        """A refusal names what was refused and why, and the conversation goes on."""
        self.alice()
        self.type("/passwd", "wrong", "looking glass", "looking glass")
        self.assertIn("Failed: Not this one. (wrong-password)", self.console.shown)
        self.type("/to bob " + "x" * 600_000)
        self.assertIn("Not sent to bob: ", self.console.shown[-1])
        self.assertIn("too-large", self.console.shown[-1])

    def test_change_password(self) -> None:
        """C{/passwd} asks the present password and twice the new one."""
        self.alice()
        self.type("/passwd", "wonderland", "looking glass", "looking glass")
        self.assertEqual(self.console.asked, ["(Password: )", "(New password: )", "(Again: )"])
        self.assertEqual(self.server.accounts["alice"], "looking glass")
        self.assertEqual(self.console.shown[-1], "Your password is changed.")

    def test_token(self) -> None:
        """C{/token} shows a token for another program, and C{/logout} ends this login and its tokens."""
        self.alice()
        self.type("/token")
        self.assertRegex(self.console.shown[0], "^Token, until 2026-12-2[123] [0-9:]{5}: token 2$")
        self.console.shown.clear()
        self.type("/logout")
        self.assertEqual(self.console.shown, ["You are logged out."])
        self.assertEqual(self.server.tokens, {})
        self.assertEqual(self.console.asked[-1:], ["Username: "])

    def test_recovery_codes(self) -> None:
        """New recovery codes are asked for with the password, and shown."""
        self.alice()
        self.server.answers.append(
            lambda session, frame: (
                isinstance(frame, Recovery)
                and frame.password == "wonderland"
                and session.say(RecoveryCodes(codes=["f3x9-aaaa", "0k2m-bbbb"]))
            )
        )
        self.type("/recovery", "wonderland")
        self.assertEqual(self.console.asked, ["(Password: )"])
        self.assertEqual(self.console.shown[-2:], ["  f3x9-aaaa", "  0k2m-bbbb"])

    def test_blocks(self) -> None:
        """Whom one has blocked is shown after each change, and when it is asked."""
        self.alice()
        asked: list[Frame] = []

        def answer(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, (Block, Unblock, Blocks)):
                return False
            asked.append(frame)
            return session.say(Blocked(usernames=["m\u202eallory"]))

        self.server.answers.append(answer)
        for line in ("/block mallory", "/unblock eve", "/blocks"):
            self.type(line)
            self.assertEqual(self.console.shown[-1], r"Blocked: m\u202eallory.")
        self.assertEqual(asked, [Block(username="mallory"), Unblock(username="eve"), Blocks()])

    def test_log_out_without_connection(self) -> None:
        """To log out takes a connection; the conversation goes on."""
        self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/logout all")
        self.assertIn("no connection", self.console.shown[-1])

    def test_connection_lost(self) -> None:
        """What is typed while there is no connection is kept and sent once there is one."""
        self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.assertIn("The connection was lost", self.console.shown[0])
        self.assertIn("Trying again, first in", self.console.shown[0])
        self.type("/to bob hello", "/inbox")
        self.assertEqual(
            self.console.shown[1:],
            [
                "There is no connection; this will be sent as soon as there is one.",
                "Failed: There is no connection to the server at the moment.",
            ],
        )
        self.line.broken = False
        self.run_for(3)
        self.assertEqual(self.console.shown[-2:], ["Connected again.", "#1 to bob: waiting"])

    def test_leaving_without_connection(self) -> None:
        """A person who leaves while something is unsent is told so."""
        status = self.alice()
        self.line.broken = True
        self.session().cut()
        self.flush()
        self.type("/to bob hello", "/quit")
        self.assertEqual(self.successResultOf(status), 5)
        self.assertEqual(self.complaints, ["1 message is not known to be sent."])

    def test_delete_account(self) -> None:
        """After deleting the account, one is at the login again."""
        status = self.alice()
        self.type("/delete-account", "wrong")
        self.assertEqual(self.console.shown[-1], "Failed: Not this one. (wrong-password)")
        self.assertIn("alice", self.server.accounts)
        self.type("/delete-account", "wonderland")
        self.assertEqual(self.console.shown[-1], "Your account is deleted.")
        self.assertEqual(self.console.asked[-2:], ["(Password: )", "Username: "])
        self.type("bob", "correct horse")
        self.assertIn("Welcome, bob.", self.console.shown[-1])
        self.type(EndOfInput())
        self.assertEqual(self.successResultOf(status), 0)

    def test_account_gone(self) -> None:
        """An account deleted elsewhere ends the conversation; one is at the login again."""
        status = self.alice()
        self.session().end("account-gone")
        self.flush()
        self.assertIn("account-gone", self.console.shown[-1])
        self.assertEqual(self.console.asked, ["Username: "])
        self.assertNoResult(status)

    def test_nobody_reads(self) -> None:
        """What could not be shown is not confirmed, and the program ends."""
        status = self.alice()
        self.console.broken = True
        self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="hi")))
        self.flush()
        self.assertEqual(self.successResultOf(status), 1)
        self.assertEqual(self.server.ledger[1].state, "waiting")
