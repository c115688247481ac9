"""Tests for the terminal client: what scripts do with it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from chat.client import letters
from chat.client.console import EndOfInput
from chat.client.once import Order, Sender, send_once
from chat.messages import (
    Accepted,
    Failed,
    Frame,
    List,
    Login,
    Message,
    Welcome,
)
from tests.line_case import LineTests
from tests.memory_server import TIME, ClientTests, MemorySession


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
