"""What arrives while somebody is typing: nothing that is shown is ever changed by it."""

from __future__ import annotations

import io
from unittest import skipUnless

import pexpect
import pyte
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chat.client.arrivals import PAUSE_SECONDS, Arrivals
from chat.client.console import OutputGone
from chat.messages import Message
from tests.line_case import TERMINALS, LineTests, shared_daemon
from tests.terminals import put_away


class Line:
    """A line that is typed, and all that happens on its terminal."""

    def __init__(self) -> None:
        self.begun = False
        self.broken = False
        self.seen: list[str] = []

    def leave(self) -> None:
        """The cursor goes below it."""
        self.seen.append("(left)")

    def resume(self) -> None:
        """It is there again."""
        self.seen.append("(again)")

    def write(self, text: str) -> None:
        """Lines come."""
        if self.broken:
            raise OutputGone("nobody reads")
        self.seen += text.splitlines()


class ArrivalsTests(SynchronousTestCase):
    """When what arrives is shown, and when the line that is being typed."""

    def setUp(self) -> None:
        """Somebody at a terminal, who has typed nothing yet."""
        self.clock = Clock()
        self.line = Line()
        self.arrivals = Arrivals(self.clock, self.line, self.line.write)

    def press(self, begun: bool = True) -> None:
        """Press a key, after which the line has something in it, or nothing."""
        self.line.begun = begun
        self.arrivals.pressed()

    def test_nothing_typed(self) -> None:
        """While nothing is typed, it is shown at once, and nothing else happens."""
        for text in ("one", "two\nlines"):
            self.arrivals.show(text)
            self.successResultOf(self.arrivals.seen())
        self.assertEqual(self.line.seen, ["one", "two", "lines"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pause(self) -> None:
        """While keys are pressed, it waits for a pause; then the line is left as it is, and shown again."""
        self.press()
        self.clock.advance(PAUSE_SECONDS / 2)
        self.arrivals.show("one")
        seen = self.arrivals.seen()
        self.press()
        self.arrivals.show("two")
        self.clock.advance(PAUSE_SECONDS * 0.9)
        self.assertNoResult(seen)
        self.assertEqual(self.line.seen, [])
        self.clock.advance(PAUSE_SECONDS * 0.2)
        self.successResultOf(seen)
        self.assertEqual(self.line.seen, ["(left)", "one", "two"])
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.line.seen, ["(left)", "one", "two", "(again)"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_after_another(self) -> None:
        """However many come one after another, the line is shown again once, after the last."""
        self.press()
        self.clock.advance(PAUSE_SECONDS)
        for text in "abc":
            self.arrivals.show(text)
            self.clock.advance(PAUSE_SECONDS / 2)
        self.assertEqual(self.line.seen, ["(left)", "a", "b", "c"])
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.line.seen[4:], ["(again)"])

    def test_next_key(self) -> None:
        """The next key shows the line again by itself."""
        self.press()
        self.clock.advance(PAUSE_SECONDS)
        self.arrivals.show("one")
        self.press()
        self.clock.advance(10 * PAUSE_SECONDS)
        self.assertEqual(self.line.seen, ["(left)", "one"])
        self.arrivals.show("two")
        self.assertEqual(self.line.seen[2:], ["(left)", "two"])

    def test_done(self) -> None:
        """What waits is shown as soon as the line is complete, or empty again."""
        self.press()
        self.arrivals.show("one")
        self.press()  # Enter: the line is still to be seen
        self.assertEqual(self.line.seen, [])
        self.line.begun = False
        self.arrivals.done()
        self.assertEqual(self.line.seen, ["one"])
        self.press()
        self.arrivals.show("two")
        self.press(begun=False)
        self.assertEqual(self.line.seen, ["one", "two"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_done_while_left(self) -> None:
        """A line that comes to its end while it stands further above is not shown again."""
        self.press()
        self.clock.advance(PAUSE_SECONDS)
        self.arrivals.show("one")
        self.line.begun = False
        self.arrivals.done()
        self.clock.advance(10 * PAUSE_SECONDS)
        self.assertEqual(self.line.seen, ["(left)", "one"])

    def test_left(self) -> None:
        """A line that was left because the terminal has another size is shown again after a moment, too."""
        self.press()
        self.arrivals.left()
        self.arrivals.show("one")
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.line.seen, ["one"])
        self.clock.advance(PAUSE_SECONDS)
        self.assertEqual(self.line.seen, ["one", "(again)"])

    def test_terminal_gone(self) -> None:
        """Where nothing can be shown any more, whoever shows something is told, now or then."""
        self.line.broken = True
        self.assertRaises(OutputGone, self.arrivals.show, "one")
        self.press()
        self.arrivals.show("two")
        seen = self.arrivals.seen()
        self.clock.advance(PAUSE_SECONDS)
        self.failureResultOf(seen, OutputGone)


class UnseenTests(LineTests):
    """A message is only confirmed once somebody can see it."""

    def deliver(self, sender: str) -> None:
        """Somebody writes to Alice."""
        self.server.deliver(self.server.accept(sender, Message(recipient="alice", body="hi")))
        self.flush()

    def test_confirmed_when_seen(self) -> None:
        """While it waits for a pause it stays with the server, and C{/reply} means the one before."""
        self.alice()
        self.deliver("bob")
        self.console.unseen = Deferred()
        self.server.accounts["carol"] = "x"
        self.deliver("carol")
        self.type("/reply to bob")
        states = [self.server.ledger[number].state for number in (1, 2)]
        self.assertEqual(states, ["delivered", "waiting"])
        self.console.unseen.callback(None)
        self.type("/reply to carol")
        self.assertEqual(self.server.ledger[2].state, "delivered")
        self.assertEqual(
            [self.server.ledger[number].message.recipient for number in (3, 4)], ["bob", "carol"]
        )

    def test_never_seen(self) -> None:
        """What could not be shown stays with the server, and the program ends."""
        status = self.alice()
        self.console.unseen = Deferred()
        self.deliver("bob")
        self.console.unseen.errback(OutputGone("the terminal is gone"))
        self.flush()
        self.assertEqual(self.successResultOf(status), 1)
        self.assertEqual(self.server.ledger[1].state, "waiting")


class Screen(io.StringIO):
    """What is on a terminal, with all that has left it at the top."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self._screen = pyte.Screen(columns, 300)
        self._stream = pyte.Stream(self._screen)

    def write(self, text: str) -> int:
        """Something comes."""
        self._stream.feed(text)
        return len(text)

    @property
    def lines(self) -> list[str]:
        """Those that there are."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip().split("\n")


@skipUnless(TERMINALS, "There are no pseudo-terminals on this system.")
class TerminalTests(SynchronousTestCase):
    """The real program on a real terminal."""

    def test_only_appended(self) -> None:
        """On 40 columns, with a long line being typed: nothing above it ever changes."""
        daemon = shared_daemon()
        user = daemon.user("alice")
        person = daemon.terminal(daemon.addresses["json"], *user, columns=40)
        self.addCleanup(put_away, person)
        person.logfile_read = screen = Screen(40)
        settled: list[list[str]] = []

        def write(body: str) -> None:
            # The line as it is now stays; what is typed later stands further below.
            settled.append(screen.lines)
            send = ("send", "alice", "--server", daemon.addresses["json"], *daemon.user("bob"))
            self.assertEqual(daemon.chat(*send, typed=body.encode()).returncode, 0)
            person.expect(rf"\| {body}\r*\n")
            settled.append(screen.lines[: screen.lines.index(f"| {body}") + 1])

        person.expect("Welcome")
        person.expect_exact("\x1b[?25h")
        write("one")
        long = "/to alice 漢字 and-so-on,-longer-than-the-terminal-is-wide"
        person.send(long)
        person.expect("wide")
        write("two")
        person.send("!")
        person.expect("!")
        person.setwinsize(30, 40)
        person.expect("!")
        write("three")
        person.send("\x01\x7f\x05?\r")
        person.expect(r"#\d+ to alice: waiting")
        person.sendcontrol("d")
        person.expect(pexpect.EOF)
        for lines in settled:
            self.assertEqual(screen.lines[: len(lines)], lines)
        text = "".join(screen.lines)
        self.assertIn(f"one> {long}#", text)  # no empty prompt before it
        self.assertIn(f"two> {long}!> {long}!#", text)
        self.assertIn(f"three> {long}!?#", text)
