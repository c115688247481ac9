"""Tests for L{bench}: it measures, and it notices a server that does something wrong."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import load, run, tls
from bench.doors import DOORS, Fields, Incoming
from chat import messages
from chat.messages import Accepted, Failed, Frame, Message, Pong, Version, Welcome
from chat.wire import Codec
from chat.wire.text import TextTranslator
from chat.wire.translator import FrameTranslator, Translator


def call(main: Callable[[Sequence[str]], int], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a program."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as end:
            assert isinstance(end.code, int)
            status = end.code
    return status, out.getvalue(), err.getvalue()


class SmokeTests(SynchronousTestCase):
    """A very small series of measurements."""

    def setUp(self) -> None:
        """Nobody waits long for servers to rest."""
        self.patch(load, "RESTS", 0.05)

    def measure(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of one call."""
        small = ["--runs", "1", "--senders", "2", "--messages", "20", "--collect", "600"]
        return call(run.main, *small, "--rate", "100", "--seconds", "0.2", *arguments)

    def test_bareLoop(self) -> None:
        """Every scenario works against the bare loop, and the figures are written down."""
        figures = Path(self.mktemp())
        scenarios = ["pipelined", "steady", "offline", "collect", "disk"]
        status, table, notes = self.measure("--only-bare", "--json", str(figures), *scenarios)
        self.assertEqual(status, 0, notes)
        values = json.loads(figures.read_text())["figures"]
        for scenario in ("100 in flight", "20 in flight", "1 in flight", "steady 100/s"):
            self.assertIn(scenario, table)
            self.assertGreater(values[scenario]["bare loop"]["cpu"][0], 0)
        self.assertEqual(values["login that collects"]["bare loop"]["messages"], [600])
        self.assertGreater(values["disk, each message"]["bare loop"]["bytes"][0], 200)

    def test_compared(self) -> None:
        """Every door is measured beside the bare loop, idle sessions too; the table has the ratio."""
        doors = ["--codec", "json", "der", "text", "--compare"]
        idle = ["--idle", "10", "--settle", "0.1"]
        scenarios = ["pipelined", "offline", "collect", "idle"]
        status, table, notes = self.measure(*doors, *idle, "--at-most", "1000", *scenarios)
        self.assertEqual(status, 0, notes)
        for name in ("chat", "chat, DER", "chat, text"):
            figures = r"[0-9.,]+ +[0-9.,-]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ "
            self.assertRegex(table, rf"100 in flight +{name} +40 +{figures}")
            self.assertRegex(table, rf"login that collects +{name} +600 ")
            self.assertRegex(table, rf"each of 10 idle sessions \(KiB\) +{name} ")
            self.assertRegex(table, rf"CPU of 10 idle sessions \(ms a second\) +{name} ")
        self.assertRegex(table, r"20 in flight: [0-9.]+ times the bare loop, at most 1000: good")

    def test_encrypted(self) -> None:
        """The same load through TLS, and what a connection costs."""
        few = ["--runs", "1", "--senders", "2", "--messages", "400", "--connections", "4"]
        status, table, notes = call(tls.main, *few)
        self.assertEqual(status, 0, notes)
        for name in ("chat", r"chat, TLS \(ec\)", r"chat, TLS \(rsa\)"):
            self.assertRegex(table, rf"100 in flight +{name} +800 +[0-9.,]+ ")
            self.assertRegex(table, rf"connection and login +{name} +4 +[0-9.,]+ ")

    def test_usage(self) -> None:
        """What cannot be measured is said before anything is."""
        for arguments, said in (
            (["sideways"], "no such scenario: sideways"),
            (["--at-most", "2", "pipelined"], "--at-most needs --compare"),
            (["--at-most", "2", "--compare", "idle"], "--at-most needs --compare and the scenario pipelined"),
        ):
            status, _, notes = self.measure(*arguments)
            self.assertEqual(status, 2)
            self.assertIn(said, notes)

    def test_noListener(self) -> None:
        """A server that ends before it listens is one line with its last words."""
        dead = "raise SystemExit('out of order')"
        self.patch(run, "COMMANDS", {run.CHAT: lambda data, codec: [sys.executable, "-c", dead]})
        status, _, notes = self.measure("steady")
        self.assertEqual(status, 1)
        self.assertIn("bench.run: chat does not listen; its last words: out of order", notes)


class GuardTests(SynchronousTestCase):
    """C{--at-most}: the guard against a server that has become slow."""

    def guard(self, cpu: float) -> tuple[int, str]:
        """Exit status and output, at a bound of 2, for a server of this cost beside a floor of 20.

        In one of three runs the machine was slow, in another one the server.
        """
        figures = run.Figures()
        for scenario in ("100 in flight", "20 in flight"):
            for server, values in ((run.BARE, [20.0, 80.0, 20.0]), (run.CHAT, [cpu, cpu * 4, 1000.0])):
                for value in values:
                    figures.add(scenario, server, cpu=value)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            return run.guard(figures, 2.0), out.getvalue()

    def test_good(self) -> None:
        """At the bound it passes; each run is compared with itself, and outliers do not count."""
        status, said = self.guard(40.0)
        self.assertEqual(status, 0)
        self.assertIn("100 in flight: 2.00 times the bare loop, at most 2: good", said)

    def test_slow(self) -> None:
        """Beyond the bound it fails, and says by how much."""
        status, said = self.guard(41.0)
        self.assertEqual(status, 1)
        self.assertIn("20 in flight: 2.05 times the bare loop, at most 2: TOO SLOW", said)


class DoorTests(SynchronousTestCase):
    """The generator understands what the server says at each door, however it is cut."""

    TIME = "2026-11-22T21:07:00.123Z"

    def said(self, codec: str, frames: Sequence[Frame]) -> bytes:
        """What the server says at a door, to somebody who has logged in."""
        translator: Translator = TextTranslator() if codec == "text" else FrameTranslator(Codec(codec))
        if codec != "text":
            return translator.render(frames)
        translator.render([messages.Username()])
        translator.feed(b"bob\r\n")  # so it is known to be telnet
        translator.next(4096)
        welcome = translator.render(frames[:1])
        translator.feed(b"/to alice 000000000\r\n")  # so that it has something to accept
        translator.next(4096)
        return welcome + translator.render(frames[1:])

    def heard(self, codec: str, wire: bytes, size: int) -> list[tuple[object, ...]]:
        """What the generator makes of it, in pieces of so many bytes."""
        door = DOORS[codec]()
        heard: list[Incoming] = []
        rest = b""
        for at in range(0, len(wire), size):
            frames, rest = door.cut(rest + wire[at : at + size])
            heard += frames
        self.assertEqual(rest, b"")
        return [
            (frame.type, frame.data.keyword, frame.data.id, frame.data.body, frame.data.state)
            for frame in heard
            if frame.type != "mark"
        ]

    def test_understood(self) -> None:
        """A welcome, messages long and short, an answer and a pong, whole and byte by byte."""
        long = "000000001 " + "x" * 190
        frames = [
            Welcome(username="bob", waiting=2),
            Message(id=17, sender="alice", recipient="bob", time=self.TIME, body=long),
            Message(id=300, sender="alice", recipient="bob", time=self.TIME, body="000000002"),
            Accepted(id=70000, time=self.TIME, state="waiting", ref="run-000000000"),
            Pong(),
        ]
        expected = [
            ("system", "welcome", 0, "", ""),
            ("message", "", 17, long, ""),
            ("message", "", 300, "000000002", ""),
            ("system", "accepted", 70000, "", "waiting"),
            ("system", "pong", 0, "", ""),
        ]
        for codec in DOORS:
            wire = self.said(codec, frames)
            for size in (len(wire), 1, 7):
                self.assertEqual(self.heard(codec, wire, size), expected, f"{codec}, {size} bytes at a time")

    def test_refusals(self) -> None:
        """A refusal is heard as one."""
        for codec in DOORS:
            wire = self.said(codec, [Failed(code="slow-down", reason="Too many.")])
            self.assertEqual([heard[1] for heard in self.heard(codec, wire, len(wire))], ["failed"], codec)

    def test_unknownLines(self) -> None:
        """At the text door, a line that is not known is a failure: nothing is passed over by mistake."""
        wire = self.said("text", [Version(protocol=1, server="chat 1.0")])
        self.assertEqual(self.heard("text", wire, len(wire)), [])
        for line in (
            b"What is this?\r\n",
            b"Message 17 to bob, perhaps\r\n",
            b'Message 18 to "b" came back\r\n',
        ):
            self.assertEqual(self.heard("text", line, len(line)), [("system", "failed", 0, "", "")])

    def test_marks(self) -> None:
        """A recipient at the text door answers each mark, and asks behind the last one only."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        loop = load.Loop()
        self.addCleanup(loop.close)
        recipient = load.Recipient(loop, DOORS["text"](), listener.getsockname(), "bob")
        peer, _ = listener.accept()
        self.addCleanup(peer.close)
        peer.settimeout(10)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.assertEqual(peer.recv(1000), b"bob\r\ncorrect horse battery\r\n")
        recipient.ready = True
        recipient.prepare(2)
        mark, answer = b"\xff\xfd\x06", b"\xff\xfc\x06"
        for number, wire, answered in (
            (0, mark, answer),
            (1, b"", b""),
            (None, mark, answer + b"/ping\r\n"),
        ):
            if number is not None:
                body = f"{number:09d} x"
                wire = b"Message %d from alice, now\r\n| %b\r\n%b" % (number + 1, body.encode(), wire)
            peer.send(wire)
            recipient.read()
            if answered:
                self.assertEqual(peer.recv(1000), answered)


class FaultTests(SynchronousTestCase):
    """A server that is fast because it is wrong gets no figures."""

    def setUp(self) -> None:
        """Listen, so that sessions have something to connect to."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.loop = load.Loop()
        self.addCleanup(self.loop.close)

    def recipient(self) -> load.Recipient:
        """One that expects three messages."""
        address = self.listener.getsockname()
        recipient = load.Recipient(self.loop, DOORS["json"](), address, "bob")
        recipient.prepare(3)
        return recipient

    def deliveries(self, numbers: Sequence[int]) -> list[Incoming]:
        """Messages with these sequence numbers."""
        return [Incoming("message", Fields(id=n + 1, body=f"{n:09d} x")) for n in numbers]

    def test_inOrder(self) -> None:
        """What comes in order is counted; only the answer to the ping settles it."""
        recipient = self.recipient()
        recipient.talk(self.deliveries([0, 1, 2]))
        self.assertEqual((recipient.arrived, recipient.settled), (3, False))
        recipient.talk([Incoming("system", Fields(keyword="pong"))])
        self.assertTrue(recipient.settled)

    def test_wrongDeliveries(self) -> None:
        """A message lost, doubled or out of order is an error."""
        for numbers in ([0, 2], [0, 0], [1, 0]):
            error = self.assertRaises(load.LoadError, self.recipient().talk, self.deliveries(numbers))
            self.assertIn("was due", str(error))

    def test_wrongAnswers(self) -> None:
        """A refusal, an answer to another send, or a returned message is an error."""
        sender = load.Sender(self.loop, DOORS["json"](), self.listener.getsockname(), "alice")
        good = Fields(keyword="accepted", id=5, ref="run-000000000", state="waiting")
        wrong = [
            Fields(keyword="failed", code="slow-down"),
            Fields(keyword="accepted", id=5, ref="run-000000001", state="waiting"),
            Fields(keyword="accepted", id=5, ref="run-000000000", state="returned"),
            Fields(keyword="accepted", id=0, ref="run-000000000", state="waiting"),
        ]
        for fields in wrong:
            sender.prepare("bob", 200, "run-")
            self.assertRaises(load.LoadError, sender.talk, [Incoming("system", fields)])
        sender.prepare("bob", 200, "run-")
        sender.talk([Incoming("system", good)])
        self.assertEqual(sender.accepted, 1)
        stale = Fields(keyword="accepted", id=5, ref="run-000000001", state="waiting")
        error = self.assertRaises(load.LoadError, sender.talk, [Incoming("system", stale)])
        self.assertIn("message 5 was accepted behind 5", str(error))

    def test_hungUp(self) -> None:
        """A connection that the server closes is an error."""
        recipient = self.recipient()
        peer, _ = self.listener.accept()
        peer.shutdown(socket.SHUT_WR)
        self.addCleanup(peer.close)
        error = self.assertRaises(load.LoadError, self.loop.run, lambda: False)
        self.assertIn("hung up on bob", str(error))
        self.assertFalse(recipient.settled)
