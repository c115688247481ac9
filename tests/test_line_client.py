"""The program C{chat}: the line client and C{chat send}, in memory and against the real server."""

from __future__ import annotations

import atexit
import io
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Callable, Optional
from unittest import skipUnless

import pexpect
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from chat.client import Backoff, letters, places
from chat.client.console import Completions, EndOfInput, OutputGone, PlainConsole
from chat.client.echo import Echo
from chat.client.line import LineClient
from chat.client.look import Tone
from chat.client.main import main
from chat.client.once import Order, Sender, send_once
from chat.client.wording import Wording
from chat.messages import (
    Accepted,
    Block,
    Blocked,
    Blocks,
    Failed,
    Frame,
    List,
    Login,
    Message,
    Recovery,
    RecoveryCodes,
    Unblock,
    Welcome,
)
from tests.daemon import PATIENCE, free_port
from tests.terminals import left, put_away
from tests.test_client import TIME, ClientTests, MemorySession

#: Without it, as on Windows, nothing can be tried the way a person at a terminal does.
TERMINALS = hasattr(pexpect, "spawn")

#: How the one moment that the server in memory knows is told, wherever the tests run.
WHEN = Wording(lambda: 0.0).moment(TIME)
#: In the form of an invitation's; good for nothing.
CODE = "0000-" * 6 + "0000"

ROOT = Path(__file__).resolve().parent.parent


class ScriptedConsole:
    """A person who types what the test says, and remembers what was shown.

    @ivar asked: the prompts, those for hidden lines in parentheses.
    """

    def __init__(self, interactive: bool) -> None:
        self.interactive = interactive
        self.shown: list[str] = []
        self.asked: list[str] = []
        self.broken = False
        self.rung = 0
        self.offered: Completions | None = None
        self.unseen: Deferred[None] = succeed(None)
        self._lines: deque[str | Exception | None] = deque()
        self._waiter: Deferred[Optional[str]] | None = None

    def show(self, line: str, tone: Tone = Tone.PLAIN) -> None:
        """Remember it."""
        if self.broken:
            raise OutputGone("nobody reads")
        self.shown += line.split("\n")  # a body comes in one piece

    def seen(self) -> Deferred[None]:
        """At once, unless the test says something else."""
        return self.unseen

    def ring(self) -> None:
        """Count it."""
        self.rung += 1

    def offer(self, completions: Completions) -> None:
        """Remember them."""
        self.offered = completions

    def ask(self, prompt: str = "", hidden: bool = False) -> Deferred[Optional[str]]:
        """Answer with what was typed."""
        if prompt:
            self.asked.append(f"({prompt})" if hidden else prompt)
        if self._lines:
            line = self._lines.popleft()
            return fail(line) if isinstance(line, Exception) else succeed(line)
        self._waiter = Deferred()
        return self._waiter

    def type(self, *lines: str | Exception | None) -> None:
        """Type lines, or the end of the input."""
        for line in lines:
            waiter, self._waiter = self._waiter, None
            if waiter is None or waiter.called:
                self._lines.append(line)
            elif isinstance(line, Exception):
                waiter.errback(line)
            else:
                waiter.callback(line)

    def close(self) -> Deferred[None]:
        """Nothing to leave behind."""
        return succeed(None)


class LineTests(ClientTests):
    """What the tests of the line client in memory start from."""

    interactive = True

    def setUp(self) -> None:
        """A server, and somebody at a console."""
        super().setUp()
        self.console = ScriptedConsole(self.interactive)
        self.complaints: list[str] = []

    def begin(self, **more: Any) -> Deferred[int]:
        """Start the line client."""
        client = LineClient(
            self.clock,
            self.line,
            self.codec,
            self.console,
            complain=self.complaints.append,
            backoff=Backoff(chance=lambda: 1.0),
            **more,
        )
        status = Deferred.fromCoroutine(client.run())
        self.flush()
        return status

    def alice(self, **more: Any) -> Deferred[int]:
        """Start it and log in as Alice."""
        status = self.begin(username="alice", password="wonderland", **more)
        self.assertIn("Welcome, alice.", "".join(self.console.shown))
        self.console.shown.clear()
        return status

    def type(self, *lines: str | Exception | None) -> None:
        """Type lines and see what happens."""
        self.console.type(*lines)
        self.flush()


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


class ScriptTests(LineTests):
    """The same without a person."""

    interactive = False

    def test_waits_until_accepted(self) -> None:
        """The end of the input waits until what was sent is accepted."""
        held = [True]
        self.server.answers.append(lambda session, frame: isinstance(frame, Message) and held[0])
        status = self.alice()
        self.type("/to bob hello", EndOfInput())
        self.run_for(10)
        self.assertNoResult(status)
        held.clear()
        held.append(False)
        self.session().cut()
        self.run_for(10)
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(len(self.server.ledger), 1)

    def test_gives_up(self) -> None:
        """When the server does not come back, the script is told that something is unsent."""
        status = self.alice()
        self.line.broken = True
        self.session().cut()
        self.type("/to bob hello", EndOfInput())
        self.run_for(50)
        self.assertNoResult(status)
        self.run_for(20)
        self.assertEqual(self.successResultOf(status), 5)
        self.assertEqual(self.complaints, ["1 message is not known to be sent."])

    def test_fetches(self) -> None:
        """Without any input, what was waiting is shown before the program ends."""
        for number in range(3):
            self.server.accept("bob", Message(recipient="alice", body=f"body {number}"))
        self.console.type(EndOfInput())
        status = self.begin(username="alice", password="wonderland")
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(
            [line for line in self.console.shown if "body" in line],
            ["| body 0", "| body 1", "| body 2"],
        )
        self.assertTrue(all(kept.state == "delivered" for kept in self.server.ledger.values()))

    def test_fetches_what_takes_time(self) -> None:
        """What was waiting is waited for, also when it comes a little later than the welcome."""

        def slowly(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, Login) or frame.field != "password":
                return False
            session.name = "alice"
            return session.say(Welcome(username="alice", waiting=1))

        self.server.answers.append(slowly)
        self.console.type(EndOfInput())
        status = self.begin(username="alice", password="wonderland")
        self.run_for(4)
        self.assertNoResult(status)
        self.server.deliver(self.server.accept("bob", Message(recipient="alice", body="at last")))
        self.flush()
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(self.console.shown[-1], "| at last")
        self.assertEqual(self.server.ledger[1].state, "delivered")

    def test_fetches_no_more_than_there_is(self) -> None:
        """When somebody else has taken what was waiting, the program ends all the same."""
        self.server.accept("bob", Message(recipient="alice", body="x"))

        def gone(session: MemorySession, frame: Frame) -> bool:
            self.server.ledger.clear()
            return False

        self.server.answers.append(gone)
        self.console.type(EndOfInput())
        status = self.begin(username="alice", password="wonderland")
        self.run_for(6)
        self.assertEqual(self.successResultOf(status), 0)

    def test_unreachable(self) -> None:
        """A script is told at once that there is no server."""
        self.line.broken = True
        status = self.begin(username="alice", password="wonderland")
        self.assertEqual(self.successResultOf(status), 5)
        self.assertIn("cannot be reached", self.complaints[0])

    def test_refused(self) -> None:
        """A script whose password is wrong ends; nothing is asked."""
        status = self.begin(username="alice", password="looking glass")
        self.assertEqual(self.successResultOf(status), 1)
        self.assertEqual(self.complaints, ["Not this one. (wrong-password)"])
        self.assertEqual(self.console.asked, [])

    def test_sign_up(self) -> None:
        """A script signs up only when it is told to."""
        status = self.begin(username="carol", password="secret word")
        self.assertEqual(self.successResultOf(status), 1)
        self.assertIn("no account", self.complaints[0])
        self.begin(username="carol", password="secret word", sign_up=True)
        self.assertIn("Welcome, carol.", self.console.shown[-1])
        status = self.begin(username="dave")
        self.type("secret word", "secret word")
        self.assertEqual(self.successResultOf(status), 1)
        self.assertNotIn("dave", self.server.accounts)

    def test_typed_login(self) -> None:
        """A script may type the name and the password, too."""
        self.console.type("alice", "wonderland", "/to bob hi", EndOfInput())
        self.assertEqual(self.successResultOf(self.begin()), 0)
        self.assertEqual(self.server.ledger[1].message.body, "hi")

    def test_account_gone(self) -> None:
        """A script whose account is gone ends."""
        status = self.alice()
        self.session().end("account-gone")
        self.flush()
        self.assertEqual(self.successResultOf(status), 1)

    def test_account_gone_while_it_types(self) -> None:
        """A script ends, and is told why, also when so much is on its way that it has to wait."""
        self.patch(letters, "_MOST", 2)
        self.server.answers.append(lambda session, frame: isinstance(frame, Message))
        status = self.alice()
        self.type("/to bob one", "two", "three", EndOfInput())
        self.assertNoResult(status)
        self.session().end("account-gone")
        self.flush()
        self.assertEqual(self.successResultOf(status), 1)
        self.assertEqual(self.complaints, ["It is over. (account-gone)"])

    def test_input_ends_before_the_login(self) -> None:
        """Without a password nothing is done, which is not to be taken for success."""
        for lines in ((), ("",)):
            self.console.type(*lines, EndOfInput())
            status = self.begin(username="alice")
            self.assertEqual(self.successResultOf(status), 1)
            self.assertIn("before anybody was logged in", self.complaints.pop())

    def test_nobody_else_logs_in(self) -> None:
        """After a script has logged out, what comes is not taken for a name and a password."""
        status = self.alice()
        self.type("/logout", "/to bob hello", "secret word", "secret word")
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(self.console.asked, [])

    def test_refused_at_the_door(self) -> None:
        """A server that refuses before it is asked anything ends the program with its reason."""
        self.server.greeting = Failed(code="slow-down", reason="Not\x1bnow.")
        status = self.begin(username="alice", password="wonderland")
        self.assertEqual(self.successResultOf(status), 1)
        self.assertEqual(self.complaints, ["Not\\x1bnow. (slow-down)"])

    def test_types_faster_than_the_server(self) -> None:
        """More lines than may be under way at once are all sent."""
        status = self.alice()
        self.console.type("/to bob first", *["hello"] * 10_200, EndOfInput())
        self.flush()
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(len(self.server.ledger), 10_201)


class SendOnceTests(ClientTests):
    """C{chat send}: its exit status tells what became of the message."""

    def send(self, recipient: str = "bob", password: str = "wonderland", **more: Any) -> Deferred[int]:
        """Begin to send."""
        self.complaints: list[str] = []
        order = Order(recipient=recipient, body="hello", **more)
        status = Deferred.fromCoroutine(
            send_once(
                Sender(self.clock, self.line, self.codec, "alice", password), order, self.complaints.append
            )
        )
        self.flush()
        return status

    def test_accepted(self) -> None:
        """Without waiting, acceptance is enough."""
        status = self.send(subject="hi")
        self.assertEqual(self.successResultOf(status), 0)
        self.assertEqual(self.server.ledger[1].message.subject, "hi")
        self.assertEqual(self.complaints, [])

    def test_delivered(self) -> None:
        """With waiting, 0 means that the recipient has confirmed."""
        status = self.send(wait=30)
        self.run_for(20)
        self.assertNoResult(status)
        self.bob()
        self.assertEqual(self.successResultOf(status), 0)

    def test_automatic(self) -> None:
        """What no person writes is marked so."""
        for automatic in (True, False):
            self.assertEqual(self.successResultOf(self.send(automatic=automatic)), 0)
        self.assertEqual([each.message.automatic for each in self.server.ledger.values()], [True, False])

    def test_still_waiting(self) -> None:
        """3: accepted, and not delivered in time; it stays waiting."""
        status = self.send(wait=30)
        self.run_for(29)
        self.assertNoResult(status)
        self.run_for(2)
        self.assertEqual(self.successResultOf(status), 3)
        self.assertEqual(self.server.ledger[1].state, "waiting")

    def test_delivered_over_a_reconnect(self) -> None:
        """A lost connection does not disturb the waiting."""
        status = self.send(wait=30)
        self.session().cut()
        self.run_for(5)
        self.bob()
        self.assertEqual(self.successResultOf(status), 0)

    def test_returned(self) -> None:
        """4: it came back, and the reason is told, waiting or not; it stays in the mailbox."""
        for wait in (None, 0, 30):
            status = self.send("nobody", wait=wait)
            self.assertEqual(self.successResultOf(status), 4)
            self.assertIn("No such account. (unknown-recipient)", self.complaints[0])
        self.assertFalse(any(stored.gone for stored in self.server.ledger.values()))

    def test_reason_takes_time(self) -> None:
        """The reason of what came back at once is asked for, also without waiting."""
        held: list[tuple[MemorySession, Frame]] = []

        def slowly(session: MemorySession, frame: Frame) -> bool:
            if not isinstance(frame, List):
                return False
            held.append((session, frame))
            return True

        self.server.answers.append(slowly)
        # Without the message itself, which would tell the reason before it is asked.
        self.server.deliver = lambda stored: None  # type: ignore[method-assign]
        status = self.send("nobody")
        self.run_for(2)
        self.assertNoResult(status)
        for session, frame in held:
            session._answer(frame)
        self.flush()
        self.assertEqual(self.successResultOf(status), 4)
        self.assertIn("unknown-recipient", self.complaints[0])

    def test_comes_back_while_waiting(self) -> None:
        """4, too, when it comes back after some time."""
        status = self.send(wait=30)
        self.run_for(5)
        self.server.turn_back(1)
        self.flush()
        self.assertEqual(self.successResultOf(status), 4)
        self.assertIn("account-deleted", self.complaints[0])

    def test_strange_fate(self) -> None:
        """Whatever word a server has for it, it does not drive the terminal."""
        strange = Accepted(ref=None, id=1, time=TIME, state="\x1b[2J")
        self.server.answers.append(lambda session, frame: isinstance(frame, Message) and session.say(strange))
        self.assertEqual(self.successResultOf(self.send()), 4)
        self.assertEqual(self.complaints, ["Message 1 came back: it is \\x1b[2J"])

    def test_recalled(self) -> None:
        """4, too, when the sender recalls it elsewhere."""
        status = self.send(wait=200)
        self.connect().delete([1])
        self.run_for(61)
        self.assertEqual(self.successResultOf(status), 4)
        self.assertIn("recalled", self.complaints[0])

    def test_refused(self) -> None:
        """1: the server refuses the login or the message."""
        self.assertEqual(self.successResultOf(self.send(password="wrong")), 1)
        self.assertIn("wrong-password", self.complaints[0])
        self.assertEqual(self.successResultOf(self.send("x" * 600_000)), 1)
        self.assertIn("too-large", self.complaints[0])
        self.assertEqual(self.successResultOf(self.send("\ud800")), 1)

    def test_unreachable(self) -> None:
        """5: no server within the time given, although it was tried more than once."""
        self.line.broken = True
        status = self.send(patience=10)
        self.run_for(9)
        self.assertNoResult(status)
        self.run_for(2)
        self.assertEqual(self.successResultOf(status), 5)
        self.assertIn("refused", self.complaints[0])
        self.assertGreater(self.line.attempts, 2)

    def test_silent(self) -> None:
        """5: a server that says nothing."""
        self.server.mute = True
        status = self.send(patience=10)
        self.run_for(11)
        self.run_for(6)
        self.assertEqual(self.successResultOf(status), 5)
        self.assertIn("did not answer", self.complaints[0])

    def test_back_in_time(self) -> None:
        """A server that comes back in time is found."""
        self.line.broken = True
        status = self.send(patience=10)
        self.run_for(2)
        self.line.broken = False
        self.run_for(5)
        self.assertEqual(self.successResultOf(status), 0)

    def test_again_with_ref(self) -> None:
        """The same command with the same identifier sends once."""
        for _ in range(2):
            self.assertEqual(self.successResultOf(self.send(ref="backup-1")), 0)
        self.assertEqual(len(self.server.ledger), 1)
        self.bob()
        self.assertEqual(self.successResultOf(self.send(ref="backup-1", wait=0)), 0)

    def test_mailbox_is_left_alone(self) -> None:
        """What waits for the sender is not taken away by sending."""
        self.server.accept("bob", Message(recipient="alice", body="for a person"))
        self.send()
        self.assertEqual(self.server.ledger[1].state, "waiting")


class DirectReactor:
    """Hands what a thread says to the test."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[Callable[..., object], tuple[object, ...]]] = queue.Queue()

    def callFromThread(self, call: Callable[..., object], *what: object) -> None:
        """See L{twisted.internet.interfaces.IReactorFromThreads.callFromThread}."""
        self.calls.put((call, what))

    def run_one(self) -> None:
        """Do the next call, once there is one."""
        call, what = self.calls.get(timeout=PATIENCE)
        call(*what)


class PlainConsoleTests(SynchronousTestCase):
    """Lines from a pipe."""

    def setUp(self) -> None:
        """A console whose lines come from a pipe."""
        self.reactor = DirectReactor()
        source, self.typed = os.pipe()
        self.out = io.StringIO()
        self.console = PlainConsole(self.reactor, source, self.out)
        self.addCleanup(os.close, source)
        self.addCleanup(self.console.close)

    def test_lines(self) -> None:
        """Lines come one by one, with any line end, the last one without."""
        os.write(self.typed, "one\r\nzwölf\nthr".encode())
        first = self.console.ask()
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(first), "one")
        self.assertEqual(self.successResultOf(self.console.ask()), "zwölf")
        last = self.console.ask()
        os.write(self.typed, b"ee")
        os.close(self.typed)
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(last), "three")
        for _ in range(2):
            end = self.console.ask()
            self.reactor.run_one()
            self.failureResultOf(end, EndOfInput)

    def test_no_text(self) -> None:
        """A line that is not UTF-8 is told apart, and the next one is read."""
        os.write(self.typed, b"\xff\xfe\nfine\n")
        first = self.console.ask()
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(first), None)
        self.assertEqual(self.successResultOf(self.console.ask()), "fine")
        os.close(self.typed)

    def test_cancelled(self) -> None:
        """A line typed to a question that was cancelled answers the next one."""
        cancelled = self.console.ask()
        cancelled.cancel()
        self.failureResultOf(cancelled)
        os.write(self.typed, b"hello\n")
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(self.console.ask()), "hello")
        os.close(self.typed)

    def test_prompts(self) -> None:
        """A script is shown no prompts, only lines."""
        self.console.ask("Username: ")
        self.console.show("Connected.")
        self.assertEqual(self.out.getvalue(), "Connected.\n")
        os.close(self.typed)

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_hidden(self) -> None:
        """What is typed is not shown from the prompt on; it is again after the line, or without one."""
        import termios

        far, near = os.openpty()
        self.addCleanup(os.close, far)
        self.addCleanup(os.close, near)
        seen: list[tuple[str, bool]] = []

        def write(text: str) -> int:
            seen.append((text, bool(termios.tcgetattr(near)[3] & termios.ECHO)))
            return len(text)

        self.out.write = write  # type: ignore[method-assign]
        console = PlainConsole(self.reactor, near, self.out)
        secret = console.ask("Password: ", hidden=True)
        self.assertEqual(seen, [("Password: ", False)])
        os.write(far, b"secret\n")
        self.reactor.run_one()
        self.assertEqual(self.successResultOf(secret), "secret")
        unwanted = console.ask("Password: ", hidden=True)
        unwanted.cancel()
        self.failureResultOf(unwanted)
        console.ask("Username: ")
        os.write(far, b"alice\n")
        self.reactor.run_one()
        off_and_on = [("Password: ", False), ("\n", True)]
        self.assertEqual(seen, [*off_and_on, *off_and_on, ("Username: ", True)])
        os.close(self.typed)

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_terminal_gone(self) -> None:
        """A terminal that is gone cannot be put back as it was, which is no reason for a traceback."""
        far, near = os.openpty()
        self.addCleanup(os.close, far)
        echo = Echo(near)
        echo.off()
        os.close(near)
        echo.restore()
        os.close(self.typed)

    def test_output_gone(self) -> None:
        """When nobody reads, that is said clearly."""

        def broken(text: str) -> int:
            raise BrokenPipeError("gone")

        self.out.write = broken  # type: ignore[method-assign]
        self.assertRaises(OutputGone, self.console.show, "hello")
        os.close(self.typed)


def run_main(*arguments: str) -> tuple[int, str, str]:
    """Run the program with these arguments: the exit status and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return status, out.getvalue(), err.getvalue()


class CommandLineTests(SynchronousTestCase):
    """What the program takes on its command line."""

    run_main = staticmethod(run_main)

    def setUp(self) -> None:
        """Nothing of the settings of who runs the tests."""
        home = str(Path(self.mktemp()).absolute())
        names = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA")
        environ = {**os.environ, **dict.fromkeys(names, home)}
        for name in ("CHAT_PROFILE", "CHAT_PASSWORD_FILE"):
            environ.pop(name, None)
        self.patch(os, "environ", environ)

    def test_help(self) -> None:
        """The help says how to begin, and what each exit status means."""
        status, out, _ = self.run_main("--help")
        self.assertEqual(status, 0)
        for word in ("HOST:PORT", "unix:PATH", "--codec", "exit status", "chat send", "--plain", "--trust"):
            self.assertIn(word, out)
        status, out, _ = self.run_main("send", "--help")
        self.assertEqual(status, 0)
        for word in ("--wait", "--subject", "standard input", "5  the server could not be reached"):
            self.assertIn(word, out)

        for command, words in (
            ("join", ("LINE", "--user", "certificate")),
            ("recover", ("recovery", "--accept-new")),
            ("trust", ("--remove", "known_servers", "exit status", "eight words")),
        ):
            status, out, _ = self.run_main(command, "--help")
            self.assertEqual([word for word in words if word not in out], [])

    def test_usage(self) -> None:
        """Wrong usage is one line, a hint, and status 2."""
        for arguments, word in (
            (["somewhere"], "HOST:PORT"),
            (["--plain", "trust"], "comes first"),
            (["recover", "join"], "comes first"),
            (["a.example", "--trust", "abandon ability"], "words"),
            (["a.example", "--plaintext", "--trust", "SHA256:" + "00" * 32], "--plaintext"),
            (["unix:/tmp/x", "--trust", "SHA256:" + "00" * 32], "HOST:PORT"),
            (["join", "chat://a.example"], "Paste the whole"),
            (["join", f"chat://a.example:1/?code={CODE}&pin={'0' * 64}", "--plaintext"], "--plaintext"),
            (["recover", "--sign-up"], "--sign-up"),
            (["trust", "somewhere"], "HOST:PORT"),
            (["trust", "a.example:0"], "65535"),
            (["trust", "a.example", "abandon"], "words"),
            (["trust", "--remove"], "forgotten"),
            (["--codec", "der", "send"], "comes first"),
            (["127.0.0.1:99999"], "65535"),
            (["--codec", "xml"], "xml"),
            (["send"], "NAME"),
            (["send", "bob"], "--user"),
            (["send", "bob", "--user", "a", "--wait", "long"], "wait"),
            (["send", "bob", "--user", "a", "--server", "somewhere"], "HOST:PORT"),
            (["send", "bob", "--user", "a", "--password-file", "/nowhere"], "/nowhere"),
            (["--password-file", os.devnull, "--user", "a"], "empty"),
            (["--user", "al\udcff"], "UTF-8"),
            (["send", "bob", "--user", "al\udcff"], "UTF-8"),
        ):
            status, _, err = self.run_main(*arguments)
            self.assertEqual((status, err.count("\n")), (2, 2), err)
            self.assertIn(word, err)

    def test_password_needs_a_user(self) -> None:
        """A password file without a name is of no use, and that is said."""
        path = self.mktemp()
        Path(path).write_text("secret word\n")
        status, _, err = self.run_main("--password-file", path)
        self.assertEqual(status, 2)
        self.assertIn("--user", err)

    def test_password_file_of_the_environment(self) -> None:
        """CHAT_PASSWORD_FILE names the file, too, and does not disturb who types a password."""
        self.patch(os, "environ", {**os.environ, "CHAT_PASSWORD_FILE": "/nowhere/at/all"})
        status, _, err = self.run_main("send", "bob", "--user", "a")
        self.assertEqual(status, 2)
        self.assertIn("/nowhere/at/all", err)
        status, _, err = self.run_main("127.0.0.1:0")
        self.assertIn("port", err)

    def test_invitation_is_typed(self) -> None:
        """Without the line it is asked, so that it need not be an argument; but not of a script."""
        terminal = io.StringIO("chat://a.example\n")
        self.patch(sys, "stdin", terminal)
        status, _, err = self.run_main("join")
        self.assertEqual((status, "there is no terminal" in err), (2, True))
        self.patch(terminal, "isatty", lambda: True)
        status, out, err = self.run_main("join")
        self.assertEqual((status, out), (2, "Invitation: "))
        self.assertIn("Paste the whole line", err)
        status, _, err = self.run_main("join")  # the end of the input
        self.assertEqual(status, 2)

    def test_known_servers(self) -> None:
        """What is known is listed and forgotten; and while it is, there is no way without TLS."""
        config = Path(self.mktemp()).absolute()
        self.patch(os, "environ", {**os.environ, "XDG_CONFIG_HOME": str(config), "APPDATA": str(config)})
        status, out, _ = self.run_main("trust")
        self.assertEqual(status, 0)
        self.assertIn(str(config / "chat" / "known_servers"), out)
        (config / "chat").mkdir(parents=True)
        (config / "chat" / "known_servers").write_text("a.example:5311 authorities\n")
        self.assertEqual(self.run_main("trust")[1], "a.example:5311 authorities\n")
        for arguments in (
            ["a.example", "--plaintext"],
            ["send", "b", "--server", "a.example", "--plaintext"],
        ):
            status, _, err = self.run_main(*arguments, "--user", "a", "--password-file", __file__)
            self.assertEqual((status, "chat trust --remove a.example:5311" in err), (1, True), err)
        self.assertEqual(
            self.run_main("trust", "--remove", "A.example")[:2], (0, "a.example:5311 is forgotten.\n")
        )
        self.assertEqual(self.run_main("trust", "--remove", "a.example")[0], 1)
        (config / "chat" / "known_servers").write_text("nonsense\n")
        status, _, err = self.run_main("trust")
        self.assertEqual((status, "Line 1" in err), (1, True))

    def test_narrow_help(self) -> None:
        """On 40 columns the help says the same, and is broken at spaces."""
        for command in ("", "send", "outbox", "join", "recover", "profile", "trust"):
            texts = []
            for columns in ("100", "40"):
                self.patch(os, "environ", {**os.environ, "COLUMNS": columns})
                status, text, _ = self.run_main(*filter(None, (command, "--help")))
                self.assertEqual(status, 0)
                texts.append(text.partition("\n\n")[2])  # what is below the usage
            wide, narrow = texts
            self.assertEqual(narrow.split(), wide.split())
            broad = [line for line in narrow.split("\n") if len(line) > 40]
            self.assertEqual([line for line in broad if " " in line.strip()], [])

    def test_no_home(self) -> None:
        """Where nothing can be kept, what is of no use without an outbox says so."""

        def none(profile: str) -> Path:
            raise places.Homeless("XDG_STATE_HOME")

        self.patch(places, "state", none)
        for arguments in (("send", "bob", "--queue"), ("outbox",), ("outbox", "--send")):
            status, _, err = self.run_main(*arguments, *(("-u", "a") if len(arguments) > 1 else ()))
            self.assertEqual(status, 2)
            self.assertIn("set XDG_STATE_HOME", err)

    def test_no_password_option(self) -> None:
        """A password cannot be given as an argument."""
        status, _, _ = self.run_main("send", "bob", "--user", "a", "--password", "secret")
        self.assertEqual(status, 2)


class Daemon:
    """The real server, in a process and a directory of its own."""

    def __init__(self, *options: str) -> None:
        """
        @param options: further ones of the server.
        """
        self._options = options
        self._directory = tempfile.TemporaryDirectory(prefix="chat-test-")
        self.directory = Path(self._directory.name)
        self.socket = f"unix:{self.directory / 'sock'}"
        port = free_port()
        self.addresses = {"json": f"127.0.0.1:{port}"}
        self._doors = ["--json", f"tcp:{port}:interface=127.0.0.1", "--json", self.socket]
        self.environment = dict(os.environ, PYTHONPATH=str(ROOT), TERM="xterm", PYTHONUTF8="1")
        for name in ("CHAT_PASSWORD_FILE", "CHAT_PROFILE", "NO_COLOR"):
            self.environment.pop(name, None)
        for kind in ("CONFIG", "STATE"):
            self.environment[f"XDG_{kind}_HOME"] = str(self.directory / kind.lower())
        for name in ("alice", "bob"):
            (self.directory / name).write_text(f"password of {name}\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._log = self.directory / "log"
        self._log.write_text("")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "twisted", "--log-format=text", f"--log-file={self._log}"),
                *("chat", "--bcrypt-rounds", "4", "--data", str(self.directory / "data")),
                *(*self._doors, "--der", "tcp:0:interface=127.0.0.1", *self._options),
            ],
            env=self.environment,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found = self._wait_for(r"der door listening on (\S+)")
        self.addresses["der"] = found[1]

    def _wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(pattern, self._log.read_text())
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"the server does not start: {self._log.read_text()}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop it, as an operator would."""
        self._process.terminate()
        self._process.wait(PATIENCE)

    def close(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        self._directory.cleanup()

    def command(self, *arguments: str) -> list[str]:
        """The command line of the client."""
        return ["-m", "chat.client.main", *arguments]

    def user(self, name: str) -> list[str]:
        """The options that log a user in."""
        return ["--user", name, "--password-file", str(self.directory / name)]

    def chat(self, *arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the client with this input, to its end."""
        return subprocess.run(
            [sys.executable, *self.command(*arguments)],
            input=typed,
            capture_output=True,
            env=self.environment,
            timeout=PATIENCE,
        )

    def terminal(self, *arguments: str, columns: int = 100, **environment: str) -> Any:
        """Run the client on a terminal."""
        return pexpect.spawn(
            sys.executable,
            self.command(*arguments),
            env={**self.environment, **environment},
            encoding="utf-8",
            timeout=PATIENCE,
            dimensions=(24, columns),
        )


_DAEMONS: list[Daemon] = []


def shared_daemon() -> Daemon:
    """One server for all tests that may share it, with the accounts of Alice and Bob."""
    if not _DAEMONS:
        daemon = Daemon()
        atexit.register(daemon.close)
        for name in ("alice", "bob"):
            done = daemon.chat(daemon.addresses["json"], *daemon.user(name), "--sign-up")
            assert done.returncode == 0, done
        _DAEMONS.append(daemon)
    return _DAEMONS[0]


class RealServerTests(SynchronousTestCase):
    """The program against the real server, over real sockets."""

    def setUp(self) -> None:
        """A server with two accounts."""
        self.daemon = shared_daemon()

    def send(self, *arguments: str, body: bytes = b"hello\n", codec: str = "json") -> tuple[int, str]:
        """C{chat send} as Alice: exit status and standard error."""
        done = self.daemon.chat(
            "send",
            *arguments,
            "--server",
            self.daemon.addresses[codec],
            "--codec",
            codec,
            *self.daemon.user("alice"),
            typed=body,
        )
        return done.returncode, done.stderr.decode()

    def test_send_and_fetch(self) -> None:
        """What one script sends, in either codec, another fetches: once."""
        fetch = [self.daemon.addresses["der"], "--codec", "der", *self.daemon.user("bob")]
        self.daemon.chat(*fetch)  # what others left
        bodies = ["first", "über", "two\nlines"]
        for body, codec in zip(bodies, ("json", "der", "json")):
            self.assertEqual(self.send("bob", body=body.encode() + b"\n", codec=codec), (0, ""))
        status, err = self.send("bob", "-s", "urgent", "--wait", "0.5")
        self.assertEqual(status, 3, err)
        done = self.daemon.chat(*fetch)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        bodies = [line for line in done.stdout.decode().splitlines() if line.startswith("| ")]
        self.assertEqual(bodies, ["| first", "| über", "| two", "| lines", "| hello"])
        self.assertIn("subject: urgent", done.stdout.decode())
        self.assertNotIn(b"\n| ", self.daemon.chat(*fetch).stdout)

    def test_delivered(self) -> None:
        """C{--wait} ends as soon as somebody has read it."""
        listener = subprocess.Popen(
            [
                sys.executable,
                *self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("bob")),
            ],
            env=self.daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert listener.stdin is not None and listener.stdout is not None
        self.addCleanup(listener.stdout.close)
        self.addCleanup(listener.wait, PATIENCE)
        self.addCleanup(listener.stdin.close)
        self.assertEqual(self.send("bob", "--wait", "30"), (0, ""))

    def test_refusals(self) -> None:
        """Returned, refused and unreachable have their own statuses, and a reason."""
        status, err = self.send("nobody", "--wait", "30")
        self.assertEqual(status, 4)
        self.assertIn("unknown-recipient", err)
        status, err = self.send("bob", body=b"x" * 70_000)
        self.assertEqual(status, 1)
        self.assertIn("too-large", err)
        status, err = self.send("bob", body=b"a" + "é".encode() * 1_100_000)
        self.assertEqual(status, 1)
        self.assertIn("too-large", err)
        status, err = self.send("bob", body=b"\xff")
        self.assertEqual(status, 1)
        self.assertIn("UTF-8", err)
        done = self.daemon.chat(
            "send", "bob", "--server", "127.0.0.1:1", "--timeout", "0.5", *self.daemon.user("alice")
        )
        self.assertEqual(done.returncode, 5)
        done = self.daemon.chat("127.0.0.1:1", "--json")
        self.assertEqual(done.returncode, 5)
        self.assertTrue(done.stdout.startswith(b'{"event": "over", "reason": "The server cannot be'), done)
        self.assertIn(b"cannot be reached", done.stderr)

    def test_unix_socket(self) -> None:
        """C{unix:PATH} works like any address."""
        done = self.daemon.chat(self.daemon.socket, *self.daemon.user("alice"), typed=b"/ping\n")
        self.assertIn(b"The server is there.", done.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    @skipUnless(os.name == "posix", "Elsewhere a shell cannot close them.")
    def test_no_standard_streams(self) -> None:
        """Who starts it without an input, or without an output, is shown no traceback."""
        command = self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("alice"))
        for redirection in ("<&-", ">&- </dev/null"):
            done = subprocess.run(
                ["sh", "-c", f'exec "$0" "$@" {redirection}', sys.executable, *command],
                capture_output=True,
                env=self.daemon.environment,
                timeout=PATIENCE,
            )
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_output_closed(self) -> None:
        """A reader that goes away ends the program without a traceback."""
        running = subprocess.Popen(
            [
                sys.executable,
                *self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("alice")),
            ],
            env=self.daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert running.stdin and running.stdout and running.stderr
        running.stdout.readline()
        running.stdout.close()
        running.stdin.write(b"/help\n" * 3)
        running.stdin.flush()
        _, err = running.stderr, running.stderr.read()
        running.stdin.close()
        self.assertEqual(running.wait(PATIENCE), 1)
        running.stderr.close()
        self.assertEqual(err, b"")

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_terminal(self) -> None:
        """On a terminal: sign up, be written to while typing, write, delete the account, leave."""
        person = self.daemon.terminal(self.daemon.addresses["json"])
        self.addCleanup(put_away, person)
        for prompt, line in (
            ("Username:", "dave"),
            ("New password:", "secret word"),
            ("Again:", "secret word"),
        ):
            person.expect(prompt)
            person.send(line + "\r")
        person.expect("Welcome, dave")
        person.send("/to alice half a li")
        person.expect("half a li")
        self.assertEqual(self.send("dave", "--wait", "30", body=b"wake up \x1b[31m"), (0, ""))
        person.expect(r"from alice")
        person.expect(r"\| wake up \\x1b\[31m\r\n")
        person.expect("half a li")  # the line being typed is whole again
        person.send("ne\r")
        person.expect(r"#\d+ to alice: waiting")
        person.send("/delete-account\r")
        person.expect("Password:")
        person.send("secret word\r")
        person.expect("Your account is deleted")
        person.expect("Username:")
        person.sendcontrol("d")
        person.expect(pexpect.EOF)
        self.assertEqual((left(person), person.signalstatus), (0, None))

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_plain_terminal(self) -> None:
        """With C{--plain} nothing is redrawn, and the password is not shown."""
        person = self.daemon.terminal(self.daemon.addresses["json"], "--plain")
        self.addCleanup(put_away, person)
        person.logfile_read = screen = io.StringIO()
        for prompt, line in (("Username: ", "alice"), ("Password: ", "password of alice")):
            person.expect(prompt)
            person.send(line + "\n")
        person.expect("Welcome, alice")
        person.send("/quit\n")
        person.expect(pexpect.EOF)
        self.assertEqual(left(person), 0)
        self.assertNotIn("password of", screen.getvalue())
        self.assertNotIn("\x1b", screen.getvalue())

    @skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
    def test_killed(self) -> None:
        """A client that is told to end while it reads a password leaves the terminal as it was."""
        import termios

        for more in ([], ["--plain"]):
            person = self.daemon.terminal(self.daemon.addresses["json"], "-u", "alice", *more)
            self.addCleanup(put_away, person)
            self.assertTrue(termios.tcgetattr(person.child_fd)[3] & termios.ECHO)
            person.expect("Password:")
            self.assertTrue(person.waitnoecho(PATIENCE))
            person.kill(signal.SIGTERM)
            person.expect(pexpect.EOF)
            modes = termios.tcgetattr(person.child_fd)[3]
            self.assertTrue(modes & termios.ECHO and modes & termios.ICANON, more)
            self.assertEqual(left(person), 130)

    def test_restart(self) -> None:
        """A client that stays keeps what is typed over a restart of the server, and sends it once."""
        running = subprocess.Popen(
            [
                sys.executable,
                *self.daemon.command(self.daemon.addresses["json"], *self.daemon.user("alice")),
            ],
            env=self.daemon.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert running.stdin and running.stdout
        self.addCleanup(running.stdout.close)

        def read_until(word: str) -> None:
            assert running.stdout
            for line in running.stdout:
                if word in line:
                    return
            raise AssertionError(f"it did not say {word!r}")

        read_until("Welcome")
        self.daemon.stop()
        read_until("Trying again")
        running.stdin.write("/to bob over the restart\n")
        running.stdin.flush()
        read_until("no connection")
        self.daemon.start()
        read_until("Connected again")
        running.stdin.close()
        self.assertEqual(running.wait(PATIENCE), 0)
        done = self.daemon.chat(self.daemon.addresses["json"], *self.daemon.user("bob"))
        self.assertEqual(done.stdout.count(b"| over the restart"), 1)
